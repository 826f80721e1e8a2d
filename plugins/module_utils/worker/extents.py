# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a file's bytes lie on its filesystem (FIEMAP; Linux: Documentation/filesystems/fiemap.rst, linux/fiemap.h)."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterator
from typing import NamedTuple

SHARED = 0x2000
ENCODED = 0x8  # compressed, for instance: `length` is that of the decoded bytes
_NOWHERE = 0x2 | 0x4 | 0x200  # not known, not yet written, inside an inode
_LAST = 0x1
_IOCTL = 0xC020660B  # FS_IOC_FIEMAP
_HEAD = struct.Struct("=QQIIII")  # start, length, flags, mapped, room, reserved
_EXTENT = struct.Struct("=QQQ16xI12x")  # logical, physical, length, flags
_AT_ONCE = 256


class Extent(NamedTuple):
    """In bytes. physical: from the start of the filesystem (on btrfs, in its own addresses); -1 if there is no such place."""

    logical: int
    physical: int
    length: int
    flags: int


def extents(descriptor: int) -> Iterator[Extent]:
    """All extents of an open file, in order; none if the filesystem does not tell. Raises OSError if it cannot be read."""
    start = 0
    while True:
        buffer = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(buffer, 0, start, (1 << 64) - 1 - start, 0, 0, _AT_ONCE, 0)
        fcntl.ioctl(descriptor, _IOCTL, buffer)
        mapped = _HEAD.unpack_from(buffer)[3]
        for number in range(mapped):
            logical, physical, length, flags = _EXTENT.unpack_from(buffer, _HEAD.size + number * _EXTENT.size)
            yield Extent(logical, -1 if flags & _NOWHERE else physical, length, flags)
            if flags & _LAST:
                return
            start = logical + length
        if not mapped:
            return
