# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive without an index, decoded from its beginning to its end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any

from .layouts import FoundArchive
from .pipeline import ordered_map
from .store import MIB, Store

_FETCH = 8 * MIB


def decoded(store: Store, archive: FoundArchive, threads: int) -> IO[bytes]:
    """The decompressed stream, fetched ahead by range. Reading raises one of `damage()` if it does not decode."""
    ranges = [(at, min(_FETCH, archive.size - at)) for at in range(0, archive.size, _FETCH)]

    def fetch(piece: tuple[int, int]) -> bytes:
        return store.read(archive.key, *piece)

    raw: Any = _Blocks(ordered_map(fetch, ranges, threads, threads, store.stop))
    if archive.codec == "zstd":
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader, MIB)  # type: ignore[arg-type]
    import lz4.frame

    return lz4.frame.open(io.BufferedReader(raw, MIB))  # type: ignore[no-any-return]


def damage() -> tuple[type[Exception], ...]:
    """What lz4 and zstandard raise for a stream that was damaged or cut short."""
    import zstandard

    return (RuntimeError, EOFError, zstandard.ZstdError)


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
