# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive without an index, decoded from its beginning to its end."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import IO, Any, NamedTuple

from ..bucket.layouts import FoundArchive
from ..bucket.objects import MIB, Store
from ..pipeline import ordered_map

_FETCH = 8 * MIB


def decoded(store: Store, archive: FoundArchive, threads: int) -> IO[bytes]:
    """The decompressed stream, fetched ahead by range. Reading raises one of `damage()` if it does not decode."""
    ranges = [(at, min(_FETCH, archive.size - at)) for at in range(0, archive.size, _FETCH)]

    def fetch(piece: tuple[int, int]) -> bytes:
        return store.read(archive.key, *piece)

    blocks = ordered_map(fetch, ranges, threads, threads, store.stop)
    if archive.codec == "zstd":
        import zstandard

        raw: Any = _Blocks(_whole_frames(blocks))
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader, MIB)  # type: ignore[arg-type]
    import lz4.frame

    return lz4.frame.open(io.BufferedReader(_Blocks(blocks), MIB))  # type: ignore[no-any-return]


def damage() -> tuple[type[Exception], ...]:
    """What lz4 and zstandard raise for a stream that was damaged or cut short."""
    import zstandard

    return (RuntimeError, EOFError, zstandard.ZstdError)


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
    """So many of the next bytes are to be read, or passed over; begins: a frame begins with them."""

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
