# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation found, named by path and attribute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from ..common.errors import printable
from .documents.index import Index, text
from .sources import Chunk, Member, Problem, Range, Source, losses

_MOST = 1000
_BLOCK = 512  # bytes
_COMPARED = ("type", "size", "mode", "uid", "gid", "mtime", "link", "xattrs")


class Differences:
    """A list of differences that counts on after it is full."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[dict[str, Any]] = []

    def add(
        self,
        archive: str,
        attribute: str,
        expected: Any,
        found: Any,
        path: Optional[str] = None,
        offset: Optional[int] = None,
    ) -> None:
        """expected: on the volume or in the manifest; found: in the archive. offset in bytes: of a difference in content in
        the file or image, of one in a header in the tar stream, of damage in the archive."""
        self.count += 1
        if len(self.listed) < _MOST:
            self.listed.append(
                {
                    "archive": archive,
                    "path": path,
                    "attribute": attribute,
                    "expected": _plain(expected),
                    "found": _plain(found),
                    "offset": offset,
                }
            )


def sentence(difference: Mapping[str, Any]) -> str:
    """One difference, as a person reads it."""
    offset = difference["offset"]
    where = [] if offset is None else [f"at {offset}"]
    where += [f"of {printable(difference['path'])}"] if difference["path"] is not None else []
    what = " ".join([difference["attribute"], *where])
    said = f"{what} in {difference['archive']}: expected {difference['expected']}, found {difference['found']}"
    return said if said.isprintable() else ascii(said)


class MemberComparison:
    """Compares members as they are planned with those of an index; both come in the same order, so neither is kept.

    moved: a difference was found, so bytes behind it lie elsewhere and cannot be compared by offset.
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
        """The plan has ended; what is left in the index is on no volume."""
        while self._next is not None:
            self._extra(self._next)

    def _extra(self, archived: Member) -> None:
        self._report(archived.path, "member", "absent", "present")
        self._next = next(self._archived, None)

    def _report(self, path: bytes, attribute: str, expected: Any, found: Any) -> None:
        self.moved = True
        self._differences.add(self._archive, attribute, expected, found, path=text(path))


class Unequal(NamedTuple):
    """A 512-byte block that differs: where it lies in the source and, if it is a file's, in which file and where in that."""

    offset: int
    path: Optional[bytes] = None
    at: int = 0


def unequal_blocks(archived: Any, fresh: Any, offset: int, chunk: Optional[Chunk] = None) -> Iterator[Unequal]:
    """The blocks in which two chunks differ, in order; `offset` is that of the archived one, `chunk` the plan of the other."""
    one, other = memoryview(archived), memoryview(fresh)
    length = max(len(one), len(other))
    files = iter([piece for piece in chunk.pieces if isinstance(piece, Range)] if chunk is not None else [])
    file = next(files, None)
    for at in range(0, length, _BLOCK):
        if one[at : at + _BLOCK] == other[at : at + _BLOCK]:
            continue
        while file is not None and file.position + file.length <= at:
            file = next(files, None)
        if file is not None and file.position <= at:
            yield Unequal(offset + at, file.path, file.start + at - file.position)
        else:
            yield Unequal(offset + at)


def blame(fetched: Index, unequal: Iterable[Unequal]) -> Iterator[dict[str, Any]]:
    """Differences for unequal blocks, in order: one a member and part of it, or one a block of an image."""
    wanted = sorted(unequal, key=lambda each: each.offset)
    if not wanted:
        return
    if fetched.head["kind"] != "tar":
        for each in wanted:
            yield {"attribute": "content", "expected": "the volume's block", "found": "another", "offset": each.offset}
        return
    members = fetched.members()
    member = next(members, None)
    seen: set[tuple[bytes, str]] = set()
    for each in wanted:
        path, attribute, offset = each.path, "content", each.at
        if path is None:
            while member is not None and member.offset + member.length <= each.offset:
                member = next(members, None)
            if member is None:
                yield {"attribute": "end of archive", "expected": "zeros", "found": "other bytes", "offset": each.offset}
                return
            path, attribute, offset = member.path, "header", each.offset
        if (path, attribute) not in seen:
            seen.add((path, attribute))
            yield {
                "path": text(path),
                "attribute": attribute,
                "expected": "as on the volume",
                "found": "other bytes",
                "offset": offset,
            }


def compare_losses(archive: str, source: Source, listed: Iterable[Problem], differences: Differences) -> None:
    """After everything was read: what cannot be read of the volume, and the archive does not know of, nobody can call equal."""
    source.check()
    known = {(each.path, each.what) for each in listed if each.what != "content"}
    for each in losses.merged(source.problems):
        if (each.path, each.what) not in known:
            offset = each.offset if each.what == "content" else None
            differences.add(archive, each.what, each.reason, "nothing that says so", path=text(each.path), offset=offset)


def _order(path: bytes) -> list[bytes]:
    """Walk order: the root first, then depth first by names."""
    return [] if path == b"." else path.split(b"/")


def _of_other_kinds(one: str, other: str) -> bool:
    """Whether two digests cannot be compared: older archives have 16 digits of BLAKE2b. Their bytes are compared anyway."""
    return bool(one and other) and len(one) != len(other)


def _plain(value: Any) -> Any:
    return text(value) if isinstance(value, bytes) else value
