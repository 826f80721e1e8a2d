# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CRCs that S3 checks, each of which can be combined from the CRCs of pieces.

CRC64NVME comes from awscrt (9 GiB/s a core); where that is missing CRC32 comes from zlib (2 GiB/s), which has no
combine function in Python, so that is here: appending n zero bytes to a message is a linear map over GF(2), and the
map for 2n is the map for n applied twice (zlib's crc32_combine works the same way).
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class Checksum:
    """name is S3's; update(data, crc) continues crc; combine(a, b, length of b) is the CRC of both in a row."""

    name: str
    width: int
    update: Callable[[Any, int], int]
    combine: Callable[[int, int, int], int]

    @property
    def field(self) -> str:
        """The parameter and reply field of the S3 API."""
        return "Checksum" + self.name

    def text(self, crc: int) -> str:
        """As S3 writes it: base64 of the big-endian value."""
        return base64.b64encode(crc.to_bytes(self.width, "big")).decode()

    def value(self, text: str) -> int:
        return int.from_bytes(base64.b64decode(text), "big")


def combine_crc32(first: int, second: int, length: int) -> int:
    """CRC-32 of a message and one of `length` bytes appended, from their CRCs."""
    matrix = _squared(_squared(_squared(_ONE_ZERO_BIT)))  # one zero byte
    while length:
        if length & 1:
            first = _times(matrix, first)
        matrix = _squared(matrix)
        length >>= 1
    return first ^ second


def best() -> Checksum:
    """CRC64NVME if this host can compute it, else CRC32."""
    try:
        return by_name("CRC64NVME")
    except ImportError:
        return by_name("CRC32")


def by_name(name: str) -> Checksum:
    """Raises ImportError if CRC64NVME is asked for and awscrt is missing."""
    if name == "CRC32":
        return Checksum("CRC32", 4, zlib.crc32, combine_crc32)
    from awscrt import checksums as crt

    return Checksum("CRC64NVME", 8, crt.crc64nvme, crt.combine_crc64nvme)


_ONE_ZERO_BIT = [0xEDB88320] + [1 << bit for bit in range(31)]


def _times(matrix: list[int], vector: int) -> int:
    result = 0
    for column in matrix:
        if not vector:
            break
        if vector & 1:
            result ^= column
        vector >>= 1
    return result


def _squared(matrix: list[int]) -> list[int]:
    return [_times(matrix, column) for column in matrix]
