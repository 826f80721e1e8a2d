# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage that the kernel noticed in a mounted filesystem.

Not every error reaches the reader: ext4 leaves out a directory block whose checksum is wrong, and reports that only in the log.
But it counts errors. Sources: Linux, Documentation/ABI/testing/sysfs-fs-ext4; linux/btrfs.h. xfs counts nothing and reports every
error to the reader; vfat does neither.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Callable

_BTRFS_FS_INFO = 0x8400941F
_BTRFS_DEV_STATS = 0xC4089434
_FS_INFO_BYTES = 1024
_DEV_STATS_BYTES = 1032
_DEV_STATS = struct.Struct("=3Q5Q")  # devid, values, flags; errors of write, read, flush, corruption, generation


def errors(kind: str, device: str, path: str, since: int) -> Callable[[], int]:
    """A function that returns how many errors of a filesystem the kernel has counted from now on; 0 if it does not count.

    path: where it is mounted. since: a time before that, in seconds since the epoch: ext4 stops counting after the first error of a
    mount, which may have occurred while mounting.
    """
    if kind in ("ext2", "ext3", "ext4"):
        count, last = (
            f"/sys/fs/ext4/{os.path.basename(os.path.realpath(device))}/{name}" for name in ("errors_count", "last_error_time")
        )
        if not os.path.exists(count):
            return lambda: 0
        before = _number(count)
        return lambda: max(_number(count) - before, int(_number(last) >= since))
    if kind == "btrfs":
        known = _btrfs(path)
        return lambda: _btrfs(path) - known
    return lambda: 0


def _number(file: str) -> int:
    with open(file, encoding="ascii") as opened:
        return int(opened.read())


def _btrfs(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        info = bytearray(_FS_INFO_BYTES)
        fcntl.ioctl(descriptor, _BTRFS_FS_INFO, info)
        (highest,) = struct.unpack_from("=Q", info)
        return sum(_of_device(descriptor, number) for number in range(1, highest + 1))
    finally:
        os.close(descriptor)


def _of_device(descriptor: int, number: int) -> int:
    stats = bytearray(_DEV_STATS_BYTES)
    _DEV_STATS.pack_into(stats, 0, number, 5, 0, 0, 0, 0, 0, 0)
    try:
        fcntl.ioctl(descriptor, _BTRFS_DEV_STATS, stats)
    except OSError:
        return 0  # numbers of removed devices are not reused
    _number, _values, _flags, _write, read, _flush, corruption, generation = _DEV_STATS.unpack_from(stats)
    return int(read + corruption + generation)
