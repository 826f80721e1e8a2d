# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names in a damaged directory: those before the damage, and those after it.

readdir ends at the first block that cannot be read. Reading can continue from any position, so the next one that works is searched
for. What positions mean depends on the filesystem: bytes, numbers or hashes of names.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Callable, Optional

_EXT = 0xEF53  # f_type of ext2, 3 and 4 (linux/magic.h)
_BUFFER = 32 * 1024  # bytes; what glibc asks for
_LAST = (1 << 63) - 1
_HEAD = struct.Struct("=QqHB")  # of struct linux_dirent64: inode, position of the next one, record length, type


def readable_names(path: bytes, on_gap: Callable[[OSError], None]) -> Iterator[bytes]:
    """All readable names, in the filesystem's order. on_gap is called for each place that cannot be read.

    Raises OSError if the directory cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        unit = _unit(descriptor)
        while True:
            try:
                names = _some(descriptor)
            except OSError as error:
                on_gap(error)
                behind = _behind(descriptor, unit)
                if behind is None:
                    return
                os.lseek(descriptor, behind, os.SEEK_SET)
                continue
            if not names:
                return
            yield from names
    finally:
        os.close(descriptor)


def _some(descriptor: int) -> list[bytes]:
    """The next names; none at the end. getdents64(2), because glibc's function is newer than Amazon Linux 2."""
    buffer = ctypes.create_string_buffer(_BUFFER)
    libc = ctypes.CDLL(None, use_errno=True)
    number = 217 if os.uname().machine == "x86_64" else 61  # the same on every newer architecture
    length = libc.syscall(ctypes.c_long(number), ctypes.c_int(descriptor), buffer, ctypes.c_size_t(_BUFFER))
    if length < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    names = []
    data = buffer.raw[:length]
    at = 0
    while at < length:
        _inode, _next, size, _type = _HEAD.unpack_from(data, at)
        name = data[at + _HEAD.size : at + size].partition(b"\0")[0]
        if name not in (b".", b".."):
            names.append(name)
        at += size
    return names or (_some(descriptor) if length else [])


def _behind(descriptor: int, unit: int) -> Optional[int]:
    """The first readable position after the one that cannot be read; None if there is none.

    It is found by doubling the step, and then halving the gap, in about a hundred attempts.
    """
    here = os.lseek(descriptor, 0, os.SEEK_CUR)
    here -= here % unit
    most = (_LAST - here) // unit
    bad, good = 0, 1  # steps of a unit
    while not _works(descriptor, here + good * unit):
        if good == most:
            return None
        bad, good = good, min(2 * good, most)
    while good - bad > 1:
        middle = (bad + good) // 2
        if _works(descriptor, here + middle * unit):
            good = middle
        else:
            bad = middle
    return here + good * unit


def _works(descriptor: int, position: int) -> bool:
    try:
        os.lseek(descriptor, position, os.SEEK_SET)
        _some(descriptor)
    except OSError:
        return False
    return True


def _unit(descriptor: int) -> int:
    """The minimum distance of positions: for ext, one in the middle of a block of names would look like damage."""
    described = ctypes.create_string_buffer(256)  # struct statfs, which begins with f_type
    known = ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, described) == 0
    ext = known and ctypes.c_long.from_buffer(described).value == _EXT
    return os.fstatvfs(descriptor).f_bsize if ext else 1
