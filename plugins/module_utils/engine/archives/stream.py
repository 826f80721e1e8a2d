# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive without an index, as snap-to-s3 left it: decoded from its beginning to its end.

Its chunks hold their bytes from when they are planned. Where members are asked for, the tar is taken apart on the way, and a chunk
also says which ranges of which files lie in it, as the plan of a filesystem does.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import IO, Any, Callable, NamedTuple, Optional, cast

from ...common.errors import Corrupt, Permanent
from ..bucket.layouts import FoundArchive, snap_to_s3
from ..bucket.objects import MIB, Store
from ..pipeline import ordered_map
from ..sources import CHUNK, BaseSource, Bytes, Chunk, Gap, Member, Piece, Problem, Range, ignore
from ..targets.beneath import parts_of
from ..targets.headers import Entry
from ..targets.untar import Consumer, Untar

_FETCH = 8 * MIB
_LZ4_ERRORS = (RuntimeError, EOFError)  # for a stream that was damaged or cut short


class StreamArchive(BaseSource):
    """open_stream: gives the decompressed stream from its beginning. stored: the object's bytes. size: bytes that an image has to
    have, 0 where nothing says so.

    A stream that does not decode, that ends too early, or that is no tar where members are asked for, ends in a chunk that
    cannot be read: reading it raises Corrupt.
    """

    in_order = True
    on_error = "fail"
    unit = ("stream", "one that can be read")
    exact = False
    grain = CHUNK
    frame_count = 0

    def __init__(
        self, key: str, kind: str, open_stream: Callable[[], IO[bytes]], stored: int = 0, size: int = 0, spool: Optional[str] = None
    ) -> None:
        self.key = key
        self.kind = kind
        self.size = size
        self.problems: list[Problem] = []
        self.fetched = 0
        self.member_count = 0
        self._open = open_stream
        self._stored = stored
        self._spool = spool
        self._error = Corrupt("nothing was read yet", key=key)

    def load(self) -> None:
        """Nothing is known before."""

    def members(self, holding: bytes = b"") -> Iterator[Member]:
        """None are known before it is read."""
        return iter(())

    def plan(self, on_member: Callable[[Member], None] = ignore) -> Generator[Chunk, None, None]:
        taken_apart = None
        if self.kind == "tar" and on_member is not ignore:
            taken_apart = _Members(on_member, self._spool)
        at = 0
        error: Optional[Corrupt] = None
        try:
            with self._open() as stream:
                for data in iter(lambda: stream.read(CHUNK), b""):
                    pieces: list[Piece] = [Bytes(0, data)]
                    if taken_apart is not None:
                        pieces += taken_apart.feed(at, data)
                    yield Chunk(at, len(data), tuple(pieces))
                    at += len(data)
            self._end(taken_apart, at)
        except Corrupt as known:
            known.at(key=self.key)
            error = known
        except (*_LZ4_ERRORS, _zstd_error()) as unknown:
            error = Corrupt(f"the archive does not decode behind its first {at} bytes: {unknown}", key=self.key)
        finally:
            self.fetched = self._stored
            self.member_count = taken_apart.count if taken_apart is not None else 0
        if error is not None:
            self._error = error
            yield Chunk(at, CHUNK)

    def _end(self, taken_apart: Optional[_Members], at: int) -> None:
        if taken_apart is not None:
            taken_apart.finish()
        if self.kind == "image" and self.size and at != self.size:
            raise Corrupt(f"the archive is cut short: {at} of {self.size} bytes are there", key=self.key)

    def read(self, chunk: Chunk) -> Any:
        if not chunk.pieces:
            raise self._error
        return cast(Bytes, chunk.pieces[0]).data

    def faults(self) -> Iterator[tuple[str, Any, Any, Optional[int]]]:
        return iter(())


def opened(store: Store, found: FoundArchive, threads: int, spool: Optional[str], _thorough: bool) -> StreamArchive:
    size = 0
    if found.format == "image" and found.partition is None:
        there = store.head(found.key)
        size = snap_to_s3.volume_size(there.metadata) if there else 0
    return StreamArchive(found.key, found.format, lambda: decoded(store, found, threads), found.size, size, spool)


class _Members(Consumer):
    """Takes a tar apart as it comes, and says what lies in each stretch of it."""

    def __init__(self, on_member: Callable[[Member], None], spool: Optional[str]) -> None:
        self.count = 0
        self._on_member = on_member
        self._untar = Untar(self, spool=spool)
        self._pieces: list[Piece] = []
        self._begin = 0  # of the stretch in the stream
        self._path = b""
        self._size = 0
        self._at = 0  # in the file

    def feed(self, offset: int, data: bytes) -> list[Piece]:
        """The ranges of files that lie in the next stretch, and the holes before and behind them."""
        self._begin, self._pieces = offset, []
        self._untar.feed(data)
        return self._pieces

    def finish(self) -> None:
        self._untar.finish()

    def begin(self, entry: Entry) -> None:
        self.count += 1
        self._path, self._size, self._at = _path(entry.name), entry.size, 0
        link = _path(entry.link) if entry.type == "hardlink" else entry.link if entry.type == "symlink" else None
        owners = (entry.mode, entry.uid, entry.gid, entry.mtime)
        self._on_member(Member(self._path, entry.type, self._untar.at, 0, entry.size, *owners, link, ""))

    def data(self, offset: int, view: memoryview) -> None:
        self._hole(offset)
        self._pieces.append(Range(self._untar.at - self._begin, self._path, self._size, offset, len(view)))
        self._at = offset + len(view)

    def end(self) -> None:
        self._hole(self._size)

    def _hole(self, end: int) -> None:
        if self._at < end:
            self._pieces.append(Gap(self._path, self._size, self._at, end - self._at))


def _path(name: bytes) -> bytes:
    """As plans have it; what leads out of the tree stays as it is written, and is the name of nothing."""
    try:
        return b"/".join(parts_of(name)) or b"."
    except Permanent:
        return name


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


def decoded(store: Store, archive: FoundArchive, threads: int) -> IO[bytes]:
    """The decompressed stream, fetched ahead by range."""
    ranges = [(at, min(_FETCH, archive.size - at)) for at in range(0, archive.size, _FETCH)]

    def fetch(place: tuple[int, int]) -> bytes:
        return store.read(archive.key, *place)

    blocks = ordered_map(fetch, ranges, threads, threads, store.stop)
    if archive.codec == "zstd":
        import zstandard

        raw: Any = _Blocks(_whole_frames(blocks))
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader, MIB)  # type: ignore[arg-type]
    import lz4.frame

    return lz4.frame.open(io.BufferedReader(_Blocks(blocks), MIB))  # type: ignore[no-any-return]


def _whole_frames(blocks: Generator[bytes, None, None]) -> Iterator[bytes]:
    """The same blocks of a zstd stream. Raises ZstdError if it ends within a frame, where zstandard's reader just stops."""
    import zstandard

    steps, wanted = _begun()
    held, begun = b"", False
    with closing(blocks):
        for block in blocks:
            held, at, begun = held + block if held else block, 0, True
            while len(held) - at >= wanted.length:
                piece = held[at : at + wanted.length] if wanted.read else b""
                at += wanted.length
                wanted = steps.send(piece)
            if wanted.read:
                held = held[at:]
            else:
                wanted, held = wanted._replace(length=wanted.length - (len(held) - at)), b""
            yield block
    if held or not wanted.begins or not begun:
        raise zstandard.ZstdError("it ends within a frame")


class _Step(NamedTuple):
    """Read or skip so many of the next bytes. begins: a frame begins with them."""

    length: int
    read: bool
    begins: bool = False


def _begun() -> tuple[Generator[_Step, bytes, None], _Step]:
    steps = _steps()
    return steps, next(steps)


def _steps() -> Generator[_Step, bytes, None]:
    """What a zstd stream is made of, frame by frame (RFC 8878, 3.1): from each step on, what it read is sent."""
    while True:
        magic = int.from_bytes((yield _Step(4, True, True)), "little")
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # a skippable frame
            yield _Step(int.from_bytes((yield _Step(4, True)), "little"), False)
            continue
        said = (yield _Step(1, True))[0]
        single = said >> 5 & 1
        yield _Step((0, 1, 2, 4)[said & 3] + (single, 2, 4, 8)[said >> 6] + 1 - single, False)  # window, dictionary, size
        last = 0
        while not last:
            block = int.from_bytes((yield _Step(3, True)), "little")
            last = block & 1
            yield _Step(1 if block >> 1 & 3 == 1 else block >> 3, False)
        if said >> 2 & 1:
            yield _Step(4, False)  # the checksum


class _Blocks(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if not len(self._rest):
            self._rest = memoryview(next(self._blocks, b""))
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Also ends what is being fetched ahead."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        super().close()
