# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SHA-256 of stored frames: by hashlib, or several at once where that is faster.

OpenSSL, which is behind hashlib, does 1 to 2 GiB/s a core on a processor with instructions for SHA-256, and 0.4 on one
without (Xeons before Ice Lake), where it is a third of an archive's time. For those the role `worker` compiles
roles/worker/files/sha256.c into the virtual environment: eight messages side by side at 1.6 GiB/s. What it says is
compared with hashlib before it is used, and hashlib does it where it is missing or wrong.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Optional

LIBRARY = os.path.join(sys.prefix, "lib", "coldstore-sha256.so")
_WORTH = 3  # so many times the longest message: below, most lanes would idle, and hashlib is as fast


class Message(NamedTuple):
    """`length` bytes of data from `offset`."""

    data: bytes
    offset: int
    length: int


def at_once() -> int:
    """How many messages are worth one call of digests: 1 where hashlib does it."""
    library = _library(LIBRARY)
    return int(library.coldstore_sha256_lanes()) if library is not None else 1


def in_flight(threads: int) -> int:
    """How many such calls should be under way for so many threads; those of several messages hold much memory."""
    return threads + 1 if at_once() == 1 else threads // 4 + 1


def digests(messages: Sequence[Message]) -> list[str]:
    """The SHA-256 of each, in hexadecimal."""
    library = _library(LIBRARY)
    lengths = [message.length for message in messages]
    if library is None or sum(lengths) < _WORTH * max(lengths, default=0):
        return [hashlib.sha256(memoryview(data)[offset:][:length]).hexdigest() for data, offset, length in messages]
    return _side_by_side(library, messages)


def _side_by_side(library: Any, messages: Sequence[Message]) -> list[str]:
    count = len(messages)
    for data, offset, length in messages:
        if offset < 0 or length < 0 or offset + length > len(data):
            raise ValueError(f"{length} bytes at {offset} of {len(data)}")
    found = ctypes.create_string_buffer(32 * count)
    sizes = ctypes.c_size_t * count
    library.coldstore_sha256(
        ctypes.c_size_t(count),
        (ctypes.c_char_p * count)(*[message.data for message in messages]),
        sizes(*[message.offset for message in messages]),
        sizes(*[message.length for message in messages]),
        found,
    )
    text = found.raw.hex()
    return [text[at : at + 64] for at in range(0, 64 * count, 64)]


@cache
def _library(path: str) -> Optional[Any]:
    """None where it is missing, does not load, finds no instructions that it needs, or is wrong."""
    try:
        library = ctypes.CDLL(path)
        if not library.coldstore_sha256_lanes():
            return None
    except (OSError, AttributeError):
        return None
    noise = bytes(range(256)) * 5
    samples = [Message(noise, at, length) for at, length in enumerate((1000, 0, 1, 55, 56, 63, 64, 119, 120, 128, 1279 - 11))]
    wanted = [hashlib.sha256(noise[at : at + length]).hexdigest() for _noise, at, length in samples]
    return library if _side_by_side(library, samples) == wanted else None
