# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing the members of an archive with those planned for a filesystem: in order if both were planned by us, by name if another
tool archived them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple, Optional

from ..common.stop import Stop
from .differences import Differences
from .documents.index import text
from .sources import CHUNK, Chunk, Gap, Member, Range, Source
from .spool import PathTable

_COMPARED = ("type", "size", "mode", "uid", "gid", "mtime", "link", "xattrs")
_SECOND = 10**9  # nanoseconds


class MemberComparison:
    """Compares planned members with those of an index. Both come in the same order, so neither is kept.

    moved: a difference was found, so the bytes after it are elsewhere and cannot be compared by offset.
    """

    def __init__(self, archive: str, archived: Iterator[Member], differences: Differences) -> None:
        self._archive = archive
        self._archived = archived
        self._next = next(archived, None)
        self._differences = differences
        self.moved = False

    def member(self, planned: Member) -> None:
        """The next member of the plan."""
        order = _order(planned.path)
        while self._next is not None and _order(self._next.path) < order:
            self._extra(self._next)
        if self._next is None or self._next.path != planned.path:
            self._report(planned.path, "member", "present", "missing")
            return
        for name in _COMPARED:
            expected, found = getattr(planned, name), getattr(self._next, name)
            if expected != found and not (name == "xattrs" and _of_other_kinds(expected, found)):
                self._report(planned.path, name, expected, found)
        self._next = next(self._archived, None)

    def finish(self) -> None:
        """The plan has ended. What is left in the index is not on the volume."""
        while self._next is not None:
            self._extra(self._next)

    def _extra(self, archived: Member) -> None:
        self._report(archived.path, "member", "absent", "present")
        self._next = next(self._archived, None)

    def _report(self, path: bytes, attribute: str, expected: Any, found: Any) -> None:
        self.moved = True
        self._differences.add(self._archive, attribute, expected, found, path=text(path))


class Fresh(NamedTuple):
    """What a source has for a chunk of another tool's tar: ranges of its files, at their places in the chunk, and chunks that have
    to be zeros, because the archive leaves them out."""

    chunk: Chunk
    holes: Iterator[Chunk]


class NamedComparison:
    """Compares the members of another tool's tar, as they come, with those of the same name in a source. What snap-to-s3 did not
    store, extended attributes and fractions of a second, is not compared.

    The source is planned first, into a table on disk.
    """

    def __init__(self, archive: str, source: Source, differences: Differences, stop: Stop) -> None:
        self._archive = archive
        self._source = source
        self._differences = differences
        self._planned = PathTable()
        self._seen = PathTable()
        self._last: tuple[bytes, Optional[Member]] = (b"", None)
        with closing(source.plan(self._plan)) as chunks:
            for _chunk in chunks:
                stop.check()

    def _plan(self, planned: Member) -> None:
        if planned.type != "socket":
            self._planned.first(planned.path, _spelled(planned))

    def member(self, archived: Member) -> None:
        """The next member of the archive."""
        self._seen.first(archived.path, b"")
        there = self._find(archived.path)
        if there is None:
            self._absent(archived.path)
            return
        if archived.type == "hardlink":
            other = self._find(archived.link or b"")
            if other is None or other.path != there.path:
                self._report(archived.path, "link", "another file", archived.link)
            return
        for name in ("type", "mode", "uid", "gid"):
            self._compare(archived.path, name, getattr(there, name), getattr(archived, name))
        self._compare(archived.path, "mtime", there.mtime // _SECOND, archived.mtime // _SECOND)
        if archived.type == "file":
            self._compare(archived.path, "size", there.size, archived.size)
        if archived.type == there.type == "symlink":
            self._compare(archived.path, "link", there.link, archived.link)

    def fresh(self, archived: Chunk) -> Optional[Fresh]:
        """What to compare a chunk of the archive with; None if it holds nothing of a file in the source."""
        ranges, gaps = [], []
        for piece in archived.pieces:
            if not isinstance(piece, (Range, Gap)):
                continue
            there = self._find(piece.path)
            if there is None or there.type != "file":
                continue
            length = min(piece.length, there.size - piece.start)
            if length > 0 and isinstance(piece, Range):
                ranges.append(Range(piece.position, piece.path, there.size, piece.start, length))
            elif length > 0:
                gaps.append(Range(0, piece.path, there.size, piece.start, length))
        if not ranges and not gaps:
            return None
        return Fresh(Chunk(archived.offset, archived.length, tuple(ranges)), _cut(gaps))

    def finish(self) -> None:
        """The archive has ended. What it did not have of the source is missing."""
        for path in self._planned:
            if path not in self._seen:
                self._report(path, "member", "present", "missing")

    def close(self) -> None:
        self._planned.close()
        self._seen.close()

    def _find(self, path: bytes) -> Optional[Member]:
        """What the source has under a name; for a hard link, what its first name has."""
        if path != self._last[0]:
            said = self._planned.get(path)
            there = None if said is None else _member(said)
            if there is not None and there.type == "hardlink" and there.link is not None:
                first = self._planned.get(there.link)
                there = None if first is None else _member(first)
            self._last = (path, there)
        return self._last[1]

    def _absent(self, path: bytes) -> None:
        for problem in self._source.problems:
            if (problem.path, problem.what) == (path, "entry"):
                self._report(path, "content", problem.reason, "present")
                return
        self._report(path, "member", "absent", "present")

    def _compare(self, path: bytes, attribute: str, expected: Any, found: Any) -> None:
        if expected != found:
            self._report(path, attribute, expected, found)

    def _report(self, path: bytes, attribute: str, expected: Any, found: Any) -> None:
        self._differences.add(self._archive, attribute, expected, found, path=text(path))


def _spelled(member: Member) -> bytes:
    link = None if member.link is None else text(member.link)
    return json.dumps([text(member.path), *member[1:9], link, member.xattrs]).encode("ascii")


def _member(said: bytes) -> Member:
    path, *rest, link, xattrs = json.loads(said)
    back = None if link is None else link.encode("utf-8", "surrogateescape")
    return Member._make([path.encode("utf-8", "surrogateescape"), *rest, back, xattrs])


def _cut(ranges: list[Range]) -> Iterator[Chunk]:
    """Ranges of files as separate chunks of ordinary length."""
    for each in ranges:
        for at in range(0, each.length, CHUNK):
            length = min(CHUNK, each.length - at)
            yield Chunk(0, length, (each._replace(start=each.start + at, length=length),))


def _order(path: bytes) -> list[bytes]:
    """Walk order: the root first, then depth first by names."""
    return [] if path == b"." else path.split(b"/")


def _of_other_kinds(one: str, other: str) -> bool:
    """Whether two digests cannot be compared: older archives have 16 digits of BLAKE2b. Their bytes are compared anyway."""
    return bool(one and other) and len(one) != len(other)
