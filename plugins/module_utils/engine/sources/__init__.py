# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something whose bytes can be read in chunks, in any order unless it says otherwise.

    for chunk in source.plan(on_member):     # the layout; no contents are read
        data = source.read(chunk)            # from any thread, any chunk, as often as you like

source   a filesystem as a tar (tar.py), a device or a stretch of one (device.py), an archive (../archives)
plan     its chunks one after the other, and the members they lie in
piece    what a chunk is made of: literal bytes, a range of a file, or what is stored in a bucket
row      chunks that are stored side by side and fetched as one request (rows.py)

A plan is the same every time as long as what it plans does not change. A source does not promise that it does not
change: it promises to raise an error when it sees that it did. One that is `in_order` reads while it plans: to have a part of
it is to have read all that lies before.
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
    """A hole of a file: `length` zeros from `start` that a stream leaves out, here."""

    path: bytes
    size: int
    start: int
    length: int


class Stored(NamedTuple):
    """What a chunk is stored as: `length` bytes at `offset` of an object, and their digest where somebody knows it."""

    position: int
    key: str
    version: str
    offset: int
    length: int
    digest: str = ""


Piece = Union[Bytes, Range, Gap, Stored]


class Chunk(NamedTuple):
    """`length` bytes at `offset` of the source, and what they are made of, where that takes more than their place to know.

    hole: nothing is stored of it; it is zeros.
    """

    offset: int
    length: int
    pieces: tuple[Piece, ...] = ()
    hole: bool = False

    def fingerprint(self) -> str:
        """Equal for chunks that were planned alike: 32 hex digits."""
        said = [b"chunk offset=%d length=%d\n" % (self.offset, self.length), *map(_spelled, self.pieces)]
        return hashlib.sha256(b"".join(said)).hexdigest()[:32]  # FIPS has SHA-2 alone


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
    """Something of the source that is not in the archive.

    what: 'content', `length` bytes at `offset` that are zeros instead; 'attributes', one extended attribute of a file or
    all of them; 'entry', a name of which nothing could be read; 'names', a directory whose list of names has gaps;
    'filesystem', damage that the kernel noticed and that nobody knows the place of (length: how often). offset and length
    are 0 where they mean nothing.
    """

    path: bytes
    offset: int
    length: int
    reason: str
    what: str = "content"


def ignore(member: Member) -> None:
    """For callers that want chunks only."""


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
        """Whoever does not use a plan up closes it."""

    def read(self, chunk: Chunk) -> Any:
        """The chunk's bytes, exactly chunk.length. Thread-safe. Raises Permanent naming path and offset."""

    def fetch(self, row: Sequence[Chunk]) -> Read:
        """Get at once what chunks that are stored side by side have in common; gives what reads each of them. Thread-safe."""

    def remarks(self) -> Mapping[str, Any]:
        """What a manifest says of it besides, once it was planned."""

    def check(self) -> None:
        """After everything was read: damage that was noticed and that no read said is a problem, too."""

    def leave_out(self, listed: Iterable[Problem]) -> None:
        """Take these bytes for zeros and do not read them: they could not be read when the archive was made."""

    def close(self) -> None: ...
