# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation found, named by path and attribute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from ..common.errors import printable
from .documents.index import text
from .sources import Chunk, Member, Problem, Range, Source, losses

MOST = 1000
BLOCK = 512  # bytes


class Differences:
    """A list of differences that keeps counting when it is full."""

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
        """expected: on the volume or in the manifest; found: in the archive. offset in bytes: of different content, in the file or
        image; of a different header, in the tar stream; of damage, in the archive."""
        self.count += 1
        if len(self.listed) < MOST:
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
    """One difference as a sentence."""
    offset = difference["offset"]
    where = [] if offset is None else [f"at {offset}"]
    where += [f"of {printable(difference['path'])}"] if difference["path"] is not None else []
    what = " ".join([difference["attribute"], *where])
    said = f"{what} in {difference['archive']}: expected {difference['expected']}, found {difference['found']}"
    return said if said.isprintable() else ascii(said)


class Unequal(NamedTuple):
    """A block that differs: where it is in the source and, if it belongs to a file, in which file and where in it.

    key: of the object that it was read from; '' if nothing is stored.
    """

    offset: int
    path: Optional[bytes] = None
    at: int = 0
    key: str = ""


def unequal_blocks(
    archived: Any, fresh: Any, offset: int, chunk: Optional[Chunk] = None, key: str = "", block: int = BLOCK
) -> Iterator[Unequal]:
    """The blocks in which two chunks differ, in order; `offset` is that of the archived one, `chunk` the plan of the other."""
    one, other = memoryview(archived), memoryview(fresh)
    length = max(len(one), len(other))
    files = iter([piece for piece in chunk.pieces if isinstance(piece, Range)] if chunk is not None else [])
    file = next(files, None)
    for at in range(0, length, block):
        if bytes(one[at : at + block]) == bytes(other[at : at + block]):  # views are compared item by item, fifty times as slow
            continue
        while file is not None and file.position + file.length <= at:
            file = next(files, None)
        if file is not None and file.position <= at:
            yield Unequal(offset + at, file.path, file.start + at - file.position, key)
        else:
            yield Unequal(offset + at, key=key)


def blame(kind: str, members: Iterator[Member], unequal: Iterable[Unequal]) -> Iterator[dict[str, Any]]:
    """Differences for unequal blocks, in order: one a member and part of it, or one a block of an image, whose archive is named.

    members: those of the archive, where it lies as its source was planned.
    """
    wanted = sorted(unequal, key=lambda each: each.offset)
    if kind != "tar":
        for each in wanted:
            found = "another" if each.key else "no segment"
            where = {"archive": each.key} if each.key else {}
            yield {"attribute": "content", "expected": "the volume's block", "found": found, "offset": each.offset, **where}
        return
    member: Optional[Member] = None
    seen: set[tuple[bytes, str]] = set()
    for each in wanted:
        path, attribute, offset = each.path, "content", each.at
        if path is None:
            while member is None or member.offset + member.length <= each.offset:
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
    """After everything was read: what cannot be read on the volume, and is not listed with the archive, cannot be called equal."""
    source.check()
    known = {(each.path, each.what) for each in listed if each.what != "content"}
    for each in losses.merged(source.problems):
        if (each.path, each.what) not in known:
            offset = each.offset if each.what == "content" else None
            differences.add(archive, each.what, each.reason, "nothing that says so", path=text(each.path), offset=offset)


def _plain(value: Any) -> Any:
    return text(value) if isinstance(value, bytes) else value
