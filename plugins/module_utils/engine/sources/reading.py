# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling memory from a descriptor, and finding out exactly which bytes cannot be had."""

from __future__ import annotations

import os
from typing import Any

from . import Problem

_BLOCK = 4096  # bytes: the smallest piece of a disk that fails alone


def read_new(descriptor: int, length: int, start: int, path: bytes) -> tuple[Any, list[Problem]]:
    """`length` bytes from `start` in memory of their own, which is cleared only if something cannot be had (read_range)."""
    try:
        data = os.pread(descriptor, length, start)
        if len(data) == length:
            return data, []
    except OSError:
        pass  # read_range finds out where
    cleared = bytearray(length)
    return cleared, read_range(descriptor, memoryview(cleared), start, path)


def read_range(descriptor: int, into: memoryview, start: int, path: bytes) -> list[Problem]:
    """Fill `into` from `start`. What gives an error or lies past the end stays as it is and is returned.

    After an error the range is read again block by block, so that one bad block costs one block.
    """
    done = 0
    while done < len(into):
        try:
            count = os.preadv(descriptor, [into[done:]], start + done)
        except OSError as error:
            if len(into) - done <= _BLOCK:
                return [Problem(path, start + done, len(into) - done, f"reading fails: {error.strerror}")]
            return _by_blocks(descriptor, into[done:], start + done, path)
        if not count:
            return [Problem(path, start + done, len(into) - done, "the file is shorter than it was when it was planned")]
        done += count
    return []


def _by_blocks(descriptor: int, into: memoryview, start: int, path: bytes) -> list[Problem]:
    problems: list[Problem] = []
    done = 0
    while done < len(into):
        block = min(_BLOCK - (start + done) % _BLOCK, len(into) - done)
        for bad in read_range(descriptor, into[done : done + block], start + done, path):
            last = problems[-1] if problems else None
            if last and last.offset + last.length == bad.offset and last.reason == bad.reason:
                problems[-1] = last._replace(length=last.length + bad.length)
            else:
                problems.append(bad)
        done += block
    return problems
