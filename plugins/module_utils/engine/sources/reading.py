# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling memory from a descriptor, and finding out exactly which bytes cannot be read.

The page cache reads far more than requested, and returns an error for all of it. So what fails is read again around the cache
(O_DIRECT), in smaller and smaller blocks. What is lost is only what the device cannot read, whatever was cached.
"""

from __future__ import annotations

import errno
import mmap
import os
from functools import partial
from typing import Any, Callable

from . import Problem
from .losses import NOTHING, Stretches

_SIZES = (256 * 1024, 32 * 1024, 4096, 512)  # bytes; the last one is a sector, if the device has such small ones
_PAGE = 4096  # bytes: O_DIRECT's alignment on every device, and the page cache's unit
Again = Callable[[memoryview, int, int], int]  # into, offset, alignment -> bytes read, fewer at the end of the file


def read_new(descriptor: int, length: int, start: int, path: bytes, listed: Stretches = NOTHING) -> tuple[Any, list[Problem]]:
    """`length` bytes from `start` in new memory, which is cleared only if something cannot be read (read_range)."""
    if listed is NOTHING:
        try:
            data = os.pread(descriptor, length, start)
            if len(data) == length:
                return data, []
        except OSError:
            pass  # read_range finds out where
    cleared = bytearray(length)
    return cleared, read_range(descriptor, memoryview(cleared), start, path, listed)


def read_range(descriptor: int, into: memoryview, start: int, path: bytes, listed: Stretches = NOTHING) -> list[Problem]:
    """Fill `into` from `start`. Ranges that give an error, or are past the end, stay as they are and are returned.

    Listed ranges stay as they are, too, and are not read.
    """
    if listed is NOTHING:
        return _read(descriptor, into, start, path)
    problems: list[Problem] = []
    for begin, end in listed.between(start, start + len(into)):
        problems += _read(descriptor, into[begin - start : end - start], begin, path)
    return problems


def _read(descriptor: int, into: memoryview, start: int, path: bytes) -> list[Problem]:
    done = 0
    while done < len(into):
        try:
            count = os.preadv(descriptor, [into[done:]], start + done)
        except OSError:
            return _read_uncached(descriptor, into[done:], start + done, path)
        if not count:
            return [_shorter(path, start + done, len(into) - done)]
        done += count
    return []


def _read_uncached(descriptor: int, into: memoryview, start: int, path: bytes) -> list[Problem]:
    with mmap.mmap(-1, _SIZES[0] + 2 * _PAGE) as buffer, memoryview(buffer) as aligned:
        direct = _open_direct(descriptor)
        try:
            smallest = _smallest(direct, aligned)
            if smallest:
                sizes = tuple(size for size in _SIZES if size >= smallest)
                return _by_sizes(partial(_uncached, direct, aligned), into, start, path, sizes)
        finally:
            if direct >= 0:
                os.close(direct)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # at least without readahead
    return _by_sizes(partial(_cached, descriptor), into, start, path, _SIZES[:-1])


def _open_direct(descriptor: int) -> int:
    """-1 on a filesystem without direct reads."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return -1


def _smallest(direct: int, buffer: memoryview) -> int:
    """The smallest unit of direct reads; 0 if there are none. Unaligned reads fail before anything is read."""
    for size in (_SIZES[-1], _PAGE) if direct >= 0 else ():
        try:
            os.preadv(direct, [buffer[:size]], size)
        except OSError as error:
            if error.errno == errno.EINVAL:
                continue
        return size
    return 0


def _uncached(direct: int, buffer: memoryview, into: memoryview, offset: int, alignment: int) -> int:
    """Read whole blocks into aligned memory, and copy them from there."""
    begin = offset - offset % alignment
    end = offset + len(into)
    end += -end % alignment
    got = 0
    while got < end - begin:
        count = os.preadv(direct, [buffer[got : end - begin]], begin + got)
        got += count
        if not count or got % alignment:
            break  # the end of the file
    have = max(0, min(got - (offset - begin), len(into)))
    into[:have] = buffer[offset - begin : offset - begin + have]
    return have


def _cached(descriptor: int, into: memoryview, offset: int, _alignment: int) -> int:
    os.posix_fadvise(descriptor, offset, len(into), os.POSIX_FADV_DONTNEED)
    got = 0
    while got < len(into):
        count = os.preadv(descriptor, [into[got:]], offset + got)
        if not count:
            break
        got += count
    return got


def _by_sizes(again: Again, into: memoryview, start: int, path: bytes, sizes: tuple[int, ...]) -> list[Problem]:
    """Read in blocks of the first size, and what fails in blocks of the next."""
    size, smaller = sizes[0], sizes[1:]
    problems: list[Problem] = []
    done = 0
    while done < len(into):
        offset = start + done
        block = into[done : done + size - offset % size]
        try:
            count = again(block, offset, min(size, _PAGE))
        except OSError as error:
            if smaller:
                _append(problems, _by_sizes(again, block, offset, path, smaller))
            else:
                _append(problems, [Problem(path, offset, len(block), f"reading fails: {error.strerror}")])
        else:
            if count < len(block):
                _append(problems, [_shorter(path, offset + count, len(block) - count)])
        done += len(block)
    return problems


def _append(problems: list[Problem], found: list[Problem]) -> None:
    for bad in found:
        last = problems[-1] if problems else None
        if last and last.offset + last.length == bad.offset and last.reason == bad.reason:
            problems[-1] = last._replace(length=last.length + bad.length)
        else:
            problems.append(bad)


def _shorter(path: bytes, offset: int, length: int) -> Problem:
    return Problem(path, offset, length, "the file is shorter than it was when it was planned")
