# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copying a source to targets.

plan -> the chunks with wanted bytes -> rows, fetched in parallel -> decoded -> written: in any order by any thread, or, if a target
needs it, in order by the caller's thread
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Optional

from ..common.errors import Refused
from ..common.stop import Stop
from .archives import Archive
from .selection import Selection
from .sources import Chunk, Member, Source
from .sources.rows import RAW, Row, each_row
from .spool import PathTable
from .targets import Target
from .targets.beneath import parts_of
from .targets.directory import DirectoryTarget
from .targets.headers import Entry

_RAW_HELD = 8 << 20  # uncompressed bytes a row, where they have to wait for their turn
Cut = tuple[int, int]  # begin and end in the source, bytes
Decoded = tuple[int, Any]  # where in the source, and the bytes


class Settings(NamedTuple):
    """threads fetch and decode; spool is a directory for indexes."""

    threads: int = 4
    spool: Optional[str] = None


class Survey(NamedTuple):
    """How much a selection is, according to the members. size: bytes of the files; of a sparse one of its data and headers, since
    the members do not say where it has data. raw: of their ranges in the stream.

    renamed: the path of a file that is only wanted under another of its names -> that name. The caller closes it.
    """

    members: int
    size: int
    raw: int
    renamed: PathTable


def survey(archive: Archive, selection: Selection, strip: int = 0, devices: bool = True) -> Survey:
    """Count what is wanted, and find unwanted files that hard links need. Raises Refused if nothing is wanted.

    strip: so many leading components of each path are removed, and what has no more is left out. devices: they are made.
    """
    found = False
    members = size = raw = 0
    needed = PathTable()
    for member in archive.members(selection.hint()):
        if selection.wants(member.path):
            found = True
            if (strip and len(parts_of(member.path)) <= strip) or (not devices and member.type in ("character", "block")):
                continue
            members += 1
            size += min(member.size, member.length)
            raw += member.length
            if member.type == "hardlink" and member.link is not None and not selection.wants(member.link):
                needed.first(member.link, member.path)
    if not found:
        raise Refused(
            f"nothing in the archive matches {selection.patterns}",
            "Search for it with coldstore.ebs.snapshot_archive_info.",
            key=archive.key,
        )
    if needed:
        for member in archive.members():
            if member.path in needed:
                size += min(member.size, member.length)
                raw += member.length
    return Survey(members, size, raw, needed)


def copy(source: Source, targets: Sequence[Target], threads: int, stop: Stop, cuts: Optional[Iterator[Cut]] = None) -> None:
    """Write a source to each target: all of it, or what lies in the cuts, which come in order. Holes of a source are not written;
    the caller makes sure that the target of an image has zeros there.

    Raises Corrupt, naming key and offset, if something is not what was written. Then what was copied stays, and no target is
    finished.
    """

    def decoded(row: Row) -> Iterator[Decoded]:
        for chunk, parts in row.wanted:
            raw = memoryview(row.read(chunk))
            for begin, end in parts:
                yield begin, raw[begin - chunk.offset : end - chunk.offset]

    def write(offset: int, data: Any) -> None:
        for target in targets:
            target.write(offset, data)

    def write_all(row: Row) -> list[Decoded]:
        for offset, data in decoded(row):
            write(offset, data)
        return []

    def hold(row: Row) -> list[Decoded]:
        return list(decoded(row))

    in_order = any(target.in_order for target in targets)
    work, most = (hold, _RAW_HELD) if in_order else (write_all, RAW)
    with (
        closing(source.plan()) as chunks,
        closing(each_row(source, _wanted(chunks, cuts), work, threads, stop, len, most)) as rows,
    ):
        for row in rows:
            for offset, data in row:
                write(offset, data)


def stretches(archive: Archive, selection: Selection, renamed: Mapping[bytes, bytes]) -> Iterator[Cut]:
    """Where the wanted members are in the stream. Neighbours are joined."""
    begin = end = -1
    for member in archive.members(b"" if renamed else selection.hint()):
        if not member.length or not (selection.wants(member.path) or member.path in renamed):
            continue
        if member.offset != end:
            if end > begin:
                yield begin, end
            begin = member.offset
        end = member.offset + member.length
    if end > begin:
        yield begin, end


def add_sockets(archive: Archive, target: DirectoryTarget) -> None:
    """Sockets are only in the index, because tar cannot hold them."""
    for member in archive.members(b'"socket"'):
        if member.type == "socket":
            target.add(_socket(member))


def _wanted(chunks: Iterator[Chunk], cuts: Optional[Iterator[Cut]]) -> Iterator[tuple[Chunk, list[Cut]]]:
    """The chunks that overlap with the cuts, and the overlap; both come in order."""
    if cuts is None:
        yield from ((chunk, [(chunk.offset, chunk.offset + chunk.length)]) for chunk in chunks if not chunk.hole)
        return
    cut = next(cuts, None)
    for chunk in chunks:
        if cut is None:
            return
        end = chunk.offset + chunk.length
        parts = []
        while cut is not None and cut[0] < end:
            parts.append((max(cut[0], chunk.offset), min(cut[1], end)))
            if cut[1] > end:
                break
            cut = next(cuts, None)
        if parts and not chunk.hole:
            yield chunk, parts


def _socket(member: Member) -> Entry:
    return Entry(member.path, "socket", member.mode, member.uid, member.gid, member.mtime, 0, b"", (0, 0), [], None)
