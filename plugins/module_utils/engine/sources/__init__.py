# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources: what can be read in chunks, in any order unless it says otherwise.

    for chunk in source.plan(on_member):     # the layout; no contents are read
        data = source.read(chunk)            # from any thread, any chunk, as often as you like

source   a filesystem as a tar (tar.py), a device or a part of one (device.py), an archive (../archives)
plan     its chunks one after another, and the members they belong to
piece    what a chunk is made of: literal bytes, a range of a file, or what is stored in a bucket
row      adjacent chunks that are fetched as one request (rows.py)

A plan is the same every time as long as what it plans does not change. A source does not promise not to change: it promises to
raise an error when it notices that it did. A source that is `in_order` reads while it plans, so reading a part of it means reading
everything before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional, Protocol, Union

CHUNK = 4 * 1024 * 1024  # bytes; measured as fast as 16 MiB, and lighter


class Bytes(NamedTuple):
    """Literal bytes at a position in a chunk."""

    position: int
    data: bytes


class Range(NamedTuple):
    """`length` bytes from `start` of the file at `path`, whose size is `size`, at a position in a chunk."""

    position: int
    path: bytes
    size: int
    start: int
    length: int


class Gap(NamedTuple):
    """A hole of a file: `length` zeros from `start` that a stream leaves out at this place."""

    path: bytes
    size: int
    start: int
    length: int


class Stored(NamedTuple):
    """How a chunk is stored: `length` bytes at `offset` of an object, and their digest if it is known."""

    position: int
    key: str
    version: str
    offset: int
    length: int
    digest: str = ""


Piece = Union[Bytes, Range, Gap, Stored]


class Chunk(NamedTuple):
    """`length` bytes at `offset` of the source, and what they consist of, if their place does not tell.

    hole: it is zeros, and nothing is stored.
    """

    offset: int
    length: int
    pieces: tuple[Piece, ...] = ()
    hole: bool = False

    def fingerprint(self) -> str:
        """Equal for chunks that were planned alike: 32 hex digits."""
        said = [b"chunk offset=%d length=%d\n" % (self.offset, self.length), *map(_spelled, self.pieces)]
        return hashlib.sha256(b"".join(said)).hexdigest()[:32]  # FIPS only has SHA-2


def _spelled(piece: Piece) -> bytes:
    """A piece with all its fields, so that no two are spelled alike."""
    if isinstance(piece, Bytes):
        return b"bytes position=%d length=%d %b" % (piece.position, len(piece.data), piece.data)
    if isinstance(piece, Range):
        where = (piece.position, piece.size, piece.start, piece.length, len(piece.path), piece.path)
        return b"range position=%d size=%d start=%d length=%d path=%d %b\n" % where
    return repr(piece).encode("utf-8", "surrogateescape")


class Member(NamedTuple):
    """One file, directory or link of a tar plan.

    offset, length: its headers, data and padding in the stream, in bytes. size: the file's. mtime in nanoseconds.
    xattrs: 32 hex digits that change with any extended attribute, '' without. type: one of file, directory, symlink,
    hardlink, fifo, character, block, socket (a socket is not in the stream: tar cannot hold it).
    """

    path: bytes
    type: str
    offset: int
    length: int
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    link: Optional[bytes]
    xattrs: str


class Problem(NamedTuple):
    """Something in the source that is missing in the archive.

    what: 'content', `length` bytes at `offset` that are zeros instead; 'attributes', one extended attribute of a file or
    all of them; 'entry', a name of which nothing could be read; 'names', a directory whose list of names has gaps;
    'filesystem', damage that the kernel noticed at an unknown place (length: how often). offset and length are 0 if they do not
    apply.
    """

    path: bytes
    offset: int
    length: int
    reason: str
    what: str = "content"


def ignore(member: Member) -> None:
    """For callers that only want chunks."""


Read = Callable[[Chunk], Any]


class Source(Protocol):
    """kind is 'tar' or 'image'; problems grows while a plan runs and chunks are read. on_error: 'fail' or 'zero'.

    An image can be read at any Chunk(offset, length) inside of it, planned or not.
    """

    kind: str
    in_order: bool
    on_error: str
    problems: list[Problem]

    def plan(self, on_member: Callable[[Member], None] = ignore) -> Generator[Chunk, None, None]:
        """Close a plan that you do not exhaust."""

    def read(self, chunk: Chunk) -> Any:
        """The chunk's bytes, exactly chunk.length. Thread-safe. Raises Permanent naming path and offset."""

    def fetch(self, row: Sequence[Chunk]) -> Read:
        """Fetch adjacent chunks in one request. Returns a function that reads each of them. Thread-safe."""

    def remarks(self) -> Mapping[str, Any]:
        """Further facts for the manifest, once it was planned."""

    def check(self) -> None:
        """After everything was read: damage that was noticed but not reported by a read is a problem, too."""

    def leave_out(self, listed: Iterable[Problem]) -> None:
        """Treat these bytes as zeros and do not read them, because they could not be read when the archive was made."""

    def close(self) -> None: ...


class BaseSource:
    """What a source does whose chunks are fetched one by one, and that has nothing to add, to leave out or to close."""

    def read(self, chunk: Chunk) -> Any:
        raise NotImplementedError

    def fetch(self, row: Sequence[Chunk]) -> Read:
        return self.read

    def remarks(self) -> Mapping[str, Any]:
        return {}

    def check(self) -> None: ...

    def leave_out(self, listed: Iterable[Problem]) -> None: ...

    def close(self) -> None: ...
