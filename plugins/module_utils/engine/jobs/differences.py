# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation found, named by path and attribute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Optional

from ..index import Index, text
from ..sources import Member

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
        """expected: on the volume or in the manifest; found: in the archive. offset in bytes, of the archive or source."""
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
            if expected != found:
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


def unequal_blocks(archived: Any, fresh: Any, offset: int) -> list[int]:
    """Offsets, in the source, of the 512-byte blocks in which two chunks differ."""
    one, other = memoryview(archived), memoryview(fresh)
    length = max(len(one), len(other))
    return [offset + at for at in range(0, length, _BLOCK) if one[at : at + _BLOCK] != other[at : at + _BLOCK]]


def blame(fetched: Index, offsets: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Differences for unequal blocks, in order: one a member and part of it, or one a block of an image."""
    wanted = sorted(offsets)
    if not wanted:
        return
    if fetched.head["kind"] != "tar":
        for offset in wanted:
            yield {"attribute": "content", "expected": "the volume's block", "found": "another", "offset": offset}
        return
    members = fetched.members()
    member = next(members, None)
    seen: set[tuple[bytes, str]] = set()
    for offset in wanted:
        while member is not None and member.offset + member.length <= offset:
            member = next(members, None)
        if member is None:
            yield {"attribute": "end of archive", "expected": "zeros", "found": "other bytes", "offset": offset}
            return
        data = member.offset + member.length - (member.size + -member.size % _BLOCK)
        attribute = "content" if offset >= data else "header"
        if (member.path, attribute) not in seen:
            seen.add((member.path, attribute))
            yield {
                "path": text(member.path),
                "attribute": attribute,
                "expected": "as on the volume",
                "found": "other bytes",
                "offset": offset,
            }


def _order(path: bytes) -> list[bytes]:
    """Walk order: the root first, then depth first by names."""
    return [] if path == b"." else path.split(b"/")


def _plain(value: Any) -> Any:
    return text(value) if isinstance(value, bytes) else value
