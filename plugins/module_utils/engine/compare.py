# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing an archive with a source, or with its own digests.

archive's plan, each chunk beside what the source has in its place -> rows, fetched in parallel -> decoded, and compared with what
is read of the source -> differences, named by member and by offset

A difference is a result, not an error: the comparison continues to the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any, Callable, NamedTuple, Optional, Union

from ..common.errors import Corrupt
from ..common.stop import Stop
from .archives import Archive
from .differences import MOST, Differences, Unequal, blame, compare_losses, unequal_blocks
from .documents.index import text
from .members import Fresh, MemberComparison, NamedComparison
from .sources import Chunk, Member, Problem, Range, Source, Stored, ignore
from .sources.rows import Row, Wanted, each_row


class Checked(NamedTuple):
    """The result for one row: what cannot be read, the blocks that differ, and the uncompressed bytes compared."""

    damaged: list[Corrupt]
    unequal: list[Unequal]
    size: int


class Totals(NamedTuple):
    """Uncompressed bytes, frames (or segments) and members compared."""

    bytes: int = 0
    frames: int = 0
    members: int = 0


def compare(
    archive: Archive, source: Optional[Source], listed: list[Problem], differences: Differences, threads: int, stop: Stop
) -> Totals:
    """Compare all of an archive, and add what differs. source: planned with the archive's chunk size; without one the archive is
    compared with its own digests. listed: what could not be read of the source when it was archived.

    Raises Corrupt only if the archive's index is not the one its manifest names.
    """
    unequal: list[Unequal] = []
    size, broken = 0, False
    with ExitStack() as held:
        pairs, ended = _pairs(archive, source, differences, stop, held)
        rows = each_row(archive, pairs, _checker(archive, source), threads, stop, _weight)
        with closing(rows):
            for checked in rows:
                size += checked.size
                for error in checked.damaged:
                    _damaged(archive, error, differences)
                broken = broken or bool(checked.damaged)
                unequal += checked.unequal[: MOST - len(unequal)]
        moved = ended(broken)
        if source is not None:
            compare_losses(archive.key, source, listed, differences)
        for difference in blame(archive.kind, archive.members(), unequal if not moved else []):
            differences.add(**{"archive": archive.key, **difference})
        for attribute, expected, found, offset in archive.faults():
            differences.add(archive.key, attribute, expected, found, offset=offset)
        return Totals(size, archive.frame_count, archive.member_count)


def _damaged(archive: Archive, error: Corrupt, differences: Differences) -> None:
    attribute, expected = archive.unit
    path = error.facts.get("path")
    where = str(error.facts.get("key", archive.key))
    differences.add(where, attribute, expected, error.message, text(path) if path else None, error.facts.get("offset"))


# Called at the end of the archive, with whether some of it could not be read. Returns whether bytes are elsewhere than planned.
Ended = Callable[[bool], bool]
Pairs = tuple[Iterator[Wanted], Ended]


def _pairs(archive: Archive, source: Optional[Source], differences: Differences, stop: Stop, held: ExitStack) -> Pairs:
    """Each chunk of the archive with what of the source is compared with it, and what is to be called at the end."""
    if source is None:
        chunks = held.enter_context(closing(archive.plan(_read_through if archive.in_order else ignore)))
        return ((chunk, None) for chunk in chunks), lambda _broken: False
    if archive.kind != "tar":
        return _by_offset(archive, source, differences, held)
    if archive.exact:
        return _side_by_side(archive, source, differences, held)
    return _by_name(archive, source, differences, stop, held)


def _by_offset(archive: Archive, source: Source, differences: Differences, held: ExitStack) -> Pairs:
    """Each chunk of an image with what the source has at its place; nothing behind the source's end."""
    with closing(source.plan()) as planned:
        size = sum(chunk.length for chunk in planned)
    chunks = held.enter_context(closing(archive.plan()))
    end = 0

    def pairs() -> Iterator[Wanted]:
        nonlocal end
        for chunk in chunks:
            length = min(chunk.length, size - chunk.offset)
            yield chunk, Chunk(chunk.offset, length) if length > 0 else None
            end = max(end, chunk.offset + chunk.length)

    def ended(broken: bool) -> bool:
        if end != size and not (broken and archive.in_order):  # anything may come after damage
            differences.add(archive.key, "length", size, end)
        return False

    return pairs(), ended


def _side_by_side(archive: Archive, source: Source, differences: Differences, held: ExitStack) -> Pairs:
    """Each chunk with the one the source plans in its place, which is empty where it plans none."""
    members = MemberComparison(archive.key, archive.members(), differences)
    chunks = held.enter_context(closing(archive.plan()))
    fresh = held.enter_context(closing(source.plan(members.member)))
    end = planned = 0
    uneven = False

    def pairs() -> Iterator[Wanted]:
        nonlocal end, planned, uneven
        for chunk in chunks:
            beside = next(fresh, Chunk(chunk.offset, 0))
            yield chunk, beside
            end, planned = chunk.offset + chunk.length, planned + beside.length
            uneven = uneven or beside.length != chunk.length

    def ended(_broken: bool) -> bool:
        longer = sum(chunk.length for chunk in fresh)
        if longer or uneven:
            differences.add(archive.key, "length", planned + longer, end)
        members.finish()
        return members.moved

    return pairs(), ended


def _by_name(archive: Archive, source: Source, differences: Differences, stop: Stop, held: ExitStack) -> Pairs:
    """Each chunk with what the source's files hold of those that lie in it."""
    members = held.enter_context(closing(NamedComparison(archive.key, source, differences, stop)))
    chunks = held.enter_context(closing(archive.plan(members.member)))

    def ended(broken: bool) -> bool:
        if not broken:
            members.finish()
        return False

    return ((chunk, members.fresh(chunk)) for chunk in chunks), ended


def _weight(beside: Union[Chunk, Fresh, None]) -> int:
    if isinstance(beside, Fresh):
        return len(beside.chunk.pieces)
    return len(beside.pieces) if beside is not None else 0


def _checker(archive: Archive, source: Optional[Source]) -> Callable[[Row], Checked]:
    def check(row: Row) -> Checked:
        damaged: list[Corrupt] = []
        unequal: list[Unequal] = []
        size = 0
        for chunk, beside in row.wanted:
            try:
                raw = row.read(chunk)
            except Corrupt as error:
                damaged.append(error)
                continue
            size += len(raw)
            if source is not None and isinstance(beside, Chunk):
                unequal += _in_place(raw, chunk, archive, source, beside)
            elif source is not None and beside is not None:
                unequal += _in_files(raw, chunk, source, beside)
        return Checked(damaged, unequal, size)

    return check


def _in_place(raw: Any, chunk: Chunk, archive: Archive, source: Source, beside: Chunk) -> Iterator[Unequal]:
    """Where a chunk differs from one of the source, of which there may be less if it is an image."""
    fresh = source.read(beside) if beside.length else b""
    known = raw if not beside.length or len(fresh) == len(raw) else memoryview(raw)[: len(fresh)]
    if known != fresh:
        yield from unequal_blocks(known, fresh, chunk.offset, beside, _key_of(chunk, archive), archive.grain)


def _in_files(raw: Any, chunk: Chunk, source: Source, beside: Fresh) -> Iterator[Unequal]:
    """The files whose ranges differ from what lies in a chunk, or that have something in a hole of the archive."""
    fresh = source.read(beside.chunk) if beside.chunk.pieces else b""
    for piece in beside.chunk.pieces:
        if isinstance(piece, Range):
            begin, end = piece.position, piece.position + piece.length
            archived, there = raw[begin:end], fresh[begin:end]
            if archived != there:
                at = next((each.offset for each in unequal_blocks(archived, there, 0)), 0)
                yield Unequal(chunk.offset + begin + at, piece.path, piece.start + at)
    for hole in beside.holes:
        (piece,) = hole.pieces
        if isinstance(piece, Range) and bytes(source.read(hole)).strip(b"\0"):
            yield Unequal(chunk.offset, piece.path, piece.start)


def _key_of(chunk: Chunk, archive: Archive) -> str:
    """Of the object that a chunk was read from; '' for a hole."""
    stored = (piece.key for piece in chunk.pieces if isinstance(piece, Stored))
    return "" if chunk.hole else next(stored, archive.key)


def _read_through(_member: Member) -> None:
    """For a tar that has to be parsed although nobody needs its members."""
