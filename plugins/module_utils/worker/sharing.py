# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filesystems whose files can add up to more than they take on disk, because several share their data: snapshots, reflinks."""

from __future__ import annotations

import os
import stat
import struct

from .attached import Filesystem
from .extents import SHARED, extents

_REFLINK = 0x4  # XFS_SB_FEAT_RO_COMPAT_REFLINK
_VERSION_5 = 5


def may_share(filesystem: Filesystem) -> bool:
    """Whether to walk through its files: any btrfs, and an xfs with shared extents. Raises OSError if it cannot be read."""
    if filesystem.type == "btrfs":
        return True
    return filesystem.type == "xfs" and _xfs_shares(filesystem.device)


def _xfs_shares(device: str) -> bool:
    """Whether the reference count tree of any allocation group has a record.

    Source: Linux, fs/xfs/libxfs/xfs_format.h: struct xfs_dsb, xfs_agf, xfs_btree_block.
    """
    with open(device, "rb") as disk:
        head = disk.read(512)
        (block,) = struct.unpack_from(">I", head, 4)
        blocks, groups = struct.unpack_from(">II", head, 84)
        version, sector = struct.unpack_from(">HH", head, 100)
        (features,) = struct.unpack_from(">I", head, 212)
        if not head.startswith(b"XFSB") or version & 0xF != _VERSION_5 or not features & _REFLINK:
            return False
        for group in range(groups):
            begin = group * blocks * block
            disk.seek(begin + sector)
            root, level = struct.unpack_from(">II", disk.read(sector), 88)
            disk.seek(begin + root * block)
            (records,) = struct.unpack_from(">H", disk.read(8), 6)
            if level > 1 or records:
                return True
    return False


def shares_more_than(root: str, most: int) -> bool:
    """Whether files below a directory share more than so many bytes with others. Stops looking once they do."""
    found = 0
    pending = [os.fsencode(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        found += _shared(entry.path)
                        if found > most:
                            return True
        except OSError:
            continue  # archiving reports what cannot be read
    return False


def _shared(path: bytes) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return 0
        return sum(each.length for each in extents(descriptor) if each.flags & SHARED)
    finally:
        os.close(descriptor)
