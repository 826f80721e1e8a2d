# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""lz4 and zstd, one complete frame per chunk.

`lz4 -d` and `zstd -d` decode concatenated frames. Each frame has its content size and checksum. A zstd archive ends with the
seek table of the zstd seekable format (zstd: contrib/seekable_format/zstd_seekable_compression_format.md).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar

from ..common.errors import Corrupt, Refused, Unfit

T = TypeVar("T", bytes, memoryview)
SUFFIXES = {"lz4": "lz4", "zstd": "zst"}
LEVELS = {"lz4": range(1, 10), "zstd": range(1, 20)}
_ZERO_FRAMES_KEPT = 8
# Magic, flags (independent blocks, content size, content checksum), block size and content size, header checksum; then the
# size of the first block, whose highest bit says that it is stored uncompressed. A zero and a checksum follow the last block.
_LZ4_ONE_BLOCK = struct.Struct("<IB10xI")
_AS_IT_IS = 1 << 31
_SEEK_FOOTER = struct.Struct("<IBI")
_ENTRIES = 8192  # of the seek table, a block


class Codec(Protocol):
    """Thread-safe. encode gives one frame; decode gives exactly `length` bytes or raises Corrupt.

    decode_proved does the same for a frame whose digest was already compared: it may skip the frame's own checksum, and
    return a view of the frame instead of a copy.
    """

    name: str
    level: int

    def encode(self, data: Any) -> bytes: ...

    def decode(self, frame: Any, length: int) -> bytes: ...

    def decode_proved(self, frame: Any, length: int) -> Any: ...


def codec(name: str, level: int = 1) -> Codec:
    """Raises Refused for an unknown name or level, or a library that is missing."""
    if name not in LEVELS:
        raise Refused(f"compression {name!r} is unknown; it has to be one of {', '.join(sorted(LEVELS))}")
    if level not in LEVELS[name]:
        raise Refused(f"{name} has no level {level}, only 1 to {LEVELS[name][-1]}")
    try:
        made: Codec = _CODECS[name](level)
        return made
    except ImportError as error:
        raise Unfit(f"the Python library {error.name} is missing", "The role coldstore.ebs.worker installs it.") from error


def seek_table(count: int, frames: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The skippable frame at the end of a seekable zstd file, in blocks: eight bytes for each of `count` frames, which are given
    in order as (stored bytes, raw bytes)."""
    yield struct.pack("<II", 0x184D2A5E, 8 * count + _SEEK_FOOTER.size)
    entries = iter(frames)
    while True:
        block = b"".join([struct.pack("<II", stored, raw) for stored, raw in islice(entries, _ENTRIES)])
        if not block:
            break
        yield block
    yield _SEEK_FOOTER.pack(count, 0, 0x8F92EAB1)


class _Lz4:
    name = "lz4"

    def __init__(self, level: int) -> None:
        import lz4.block
        import lz4.frame

        self.level = level
        self._lz4 = lz4.frame
        self._block = lz4.block
        self._zeros = _ZeroFrames()

    def encode(self, data: Any) -> bytes:
        return self._zeros.get(data) or self._zeros.keep(data, self._encode(data))

    def _encode(self, data: Any) -> bytes:
        # liblz4 switches to the slow high-compression search at 3, as the lz4 command does.
        level = self.level if self.level >= 3 else 0
        frame: bytes = self._lz4.compress(
            data, compression_level=level, block_size=self._lz4.BLOCKSIZE_MAX4MB, block_linked=False, content_checksum=True
        )
        return frame

    def decode(self, frame: Any, length: int) -> bytes:
        try:
            data: bytes = self._lz4.decompress(frame)
        except RuntimeError as error:
            raise Corrupt(f"cannot decode an lz4 frame: {error}") from error
        return _of_length(data, length)

    def decode_proved(self, frame: Any, length: int) -> Any:
        """Twice as fast: our frames have one block, which is decoded straight into place (lz4_Frame_format.md)."""
        if len(frame) < _LZ4_ONE_BLOCK.size:
            return self.decode(frame, length)
        magic, flags, said = _LZ4_ONE_BLOCK.unpack_from(frame)
        size = said & ~_AS_IT_IS
        if (magic, flags) != (0x184D2204, 0x6C) or _LZ4_ONE_BLOCK.size + size + 8 != len(frame):
            return self.decode(frame, length)  # it has several blocks, or is not ours
        block = memoryview(frame)[_LZ4_ONE_BLOCK.size :][:size]
        if said & _AS_IT_IS:
            return _of_length(block, length)
        try:
            data: bytes = self._block.decompress(block, uncompressed_size=length)
        except self._block.LZ4BlockError as error:
            raise Corrupt(f"cannot decode an lz4 block: {error}") from error
        return _of_length(data, length)


class _Zstd:
    name = "zstd"

    def __init__(self, level: int) -> None:
        import zstandard

        self.level = level
        self._zstd = zstandard
        self._local = threading.local()
        self._zeros = _ZeroFrames()

    def encode(self, data: Any) -> bytes:
        return self._zeros.get(data) or self._zeros.keep(data, self._encode(data))

    def _encode(self, data: Any) -> bytes:
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:  # a compressor serves one thread at a time
            compressor = self._zstd.ZstdCompressor(level=self.level, write_checksum=True, write_content_size=True)
            self._local.compressor = compressor
        frame: bytes = compressor.compress(data)
        # The library keeps memory as if the data did not compress, and hundreds of short frames wait until their part is
        # full. A copy takes only what it needs.
        return frame if 2 * len(frame) > len(data) else bytes(memoryview(frame))

    def decode(self, frame: Any, length: int) -> bytes:
        decompressor = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = self._zstd.ZstdDecompressor()
        try:
            data: bytes = decompressor.decompress(frame, max_output_size=max(length, 1))
        except self._zstd.ZstdError as error:
            raise Corrupt(f"cannot decode a zstd frame: {error}") from error
        return _of_length(data, length)

    decode_proved = decode  # the library checks it anyway


class _ZeroFrames:
    """Frames of only zeros, by length. They are most of a half-empty disk, and each is compressed once."""

    def __init__(self) -> None:
        self._frames: dict[int, tuple[bytes, bytes]] = {}

    def get(self, data: Any) -> bytes:
        known = self._frames.get(len(data))
        return known[1] if known is not None and data == known[0] else b""

    def keep(self, data: Any, frame: bytes) -> bytes:
        length = len(data)
        if length and length not in self._frames and len(self._frames) < _ZERO_FRAMES_KEPT and not data[0] and not data[-1]:
            zeros = bytes(length)
            if data == zeros:
                self._frames[length] = (zeros, frame)
        return frame


def _of_length(data: T, length: int) -> T:
    if len(data) != length:
        raise Corrupt(f"a frame decodes to {len(data)} bytes instead of {length}")
    return data


_CODECS: dict[str, Any] = {"lz4": _Lz4, "zstd": _Zstd}
