# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bytes of a device a mounted filesystem uses. Free space need not be fetched from a snapshot.

ext     its block bitmaps (Linux: Documentation/filesystems/ext4), read here: a damaged bitmap does not hurt a reader of files, but
        the kernel would count it as an error of the filesystem
xfs     GETFSMAP (linux/fsmap.h; man 2 ioctl_getfsmap)
btrfs   what it has allocated, from the chunk tree that it read when it was mounted (linux/btrfs.h, linux/btrfs_tree.h); the extent
        tree is more exact, but an error in it would be counted, too
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import Optional

Stretch = tuple[int, int]  # offset and length from the start of the filesystem, bytes

_GETFSMAP = 0xC0C0583B
_MAP_HEAD = struct.Struct("=IIII48x")  # flags in and out, room, records
_MAP = struct.Struct("=IIQQQQ24x")  # device, flags, physical, owner, offset, length
_MAPS_AT_ONCE = 512
_SPECIAL, _LAST = 0x10, 0x20
_NOT_READ = frozenset([1, 0x58 << 32 | 2])  # owners: what is free, and the log

_EXT = frozenset(["ext2", "ext3", "ext4"])
_64BIT, _META_BG = 0x80, 0x10  # of the superblock's incompatible features
_BIGALLOC = 0x200  # of the read-only compatible features
_BLOCK_UNINIT = 0x2  # a flag of a group: its bitmap is not initialised, and nothing is in use

_TREE_SEARCH = 0xD0009411
_SEARCH = struct.Struct("=7Q4I32x")
_ITEM = struct.Struct("=QQQII")  # transid, objectid, offset, type, length
_CHUNK_TREE, _CHUNK = 3, 228
_MOST = (1 << 64) - 1
_STRIPED = 0x8 | 0x40 | 0x80 | 0x100  # RAID0, 10, 5, 6; not the copies that a single device can have


class InUse:
    """What a mounted filesystem uses. kind: its type. path: where it is mounted."""

    def __init__(self, kind: str, device: str, path: str) -> None:
        self._kind = kind
        self._device = device
        self._path = path
        self._chunks: Optional[list[tuple[int, int, int]]] = None

    def stretches(self) -> Iterator[Stretch]:
        """The ranges in use. Raises OSError if that cannot be found out."""
        ext = self._kind in _EXT
        descriptor = os.open(self._device if ext else self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if ext:
                yield from _bitmaps(descriptor)
            elif self._kind == "btrfs":
                yield from ((physical, length) for _logical, length, physical in _chunks(descriptor))
            else:
                yield from _mapped(descriptor)
        finally:
            os.close(descriptor)

    def place(self, address: int) -> int:
        """Where an address from FIEMAP lies on the device; -1 if that is not known."""
        if self._kind != "btrfs":
            return address
        if self._chunks is None:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._chunks = sorted(_chunks(descriptor))
            finally:
                os.close(descriptor)
        at = bisect_right(self._chunks, (address, _MOST, _MOST)) - 1
        if at < 0:
            return -1
        logical, length, physical = self._chunks[at]
        return physical + address - logical if address < logical + length else -1


def _bitmaps(descriptor: int) -> Iterator[Stretch]:
    """In units of eight blocks or clusters. Offsets: struct ext4_super_block and ext4_group_desc (fs/ext4/ext4.h)."""
    head = os.pread(descriptor, 1024, 1024)
    low, first, shift, cluster_shift = (struct.unpack_from("<I", head, at)[0] for at in (4, 20, 24, 28))
    (per_group,) = struct.unpack_from("<I", head, 32)
    incompatible, read_only = struct.unpack_from("<II", head, 96)
    wide = bool(incompatible & _64BIT)
    if incompatible & _META_BG or not per_group:
        raise OSError(errno.EOPNOTSUPP, "the groups are described elsewhere")
    block = 1024 << shift
    unit = 1024 << cluster_shift if read_only & _BIGALLOC else block
    length = struct.unpack_from("<H", head, 254)[0] if wide else 32
    blocks = low | (struct.unpack_from("<I", head, 336)[0] << 32 if wide else 0)
    for group in range(-(-(blocks - first) // per_group)):
        described = os.pread(descriptor, length, (first + 1) * block + group * length)
        if len(described) < length or struct.unpack_from("<H", described, 18)[0] & _BLOCK_UNINIT:
            continue
        where = struct.unpack_from("<I", described)[0] | (struct.unpack_from("<I", described, 32)[0] << 32 if wide else 0)
        here = min(per_group, blocks - first - group * per_group)  # beyond the end all bits are set
        bitmap = os.pread(descriptor, -(-here * block // (unit * 8)), where * block)
        begin = (first + group * per_group) * block
        for run in re.finditer(rb"[^\0]+", bitmap):
            yield begin + run.start() * 8 * unit, (run.end() - run.start()) * 8 * unit


def _mapped(descriptor: int) -> Iterator[Stretch]:
    """Everything except the owners that are not read. What no record covers counts as in use."""
    end = 0
    low = _MAP.pack(0, 0, 0, 0, 0, 0)
    high = _MAP.pack(0xFFFFFFFF, 0xFFFFFFFF, _MOST, _MOST, _MOST, 0)
    while True:
        head = _MAP_HEAD.pack(0, 0, _MAPS_AT_ONCE, 0) + low + high
        buffer = bytearray(head + bytes(_MAPS_AT_ONCE * _MAP.size))
        fcntl.ioctl(descriptor, _GETFSMAP, buffer)
        count = _MAP_HEAD.unpack_from(buffer)[3]
        for number in range(count):
            _device, flags, physical, owner, _offset, length = _MAP.unpack_from(buffer, len(head) + number * _MAP.size)
            if physical > end:
                yield end, physical - end
            end = max(end, physical + length)
            if not (flags & _SPECIAL and owner in _NOT_READ):
                yield physical, length
            if flags & _LAST:
                return
        if not count:
            return
        begin = len(head) + (count - 1) * _MAP.size
        low = bytes(buffer[begin : begin + _MAP.size])


def _chunks(descriptor: int) -> Iterator[tuple[int, int, int]]:
    """(logical address, length, place on the device) of each chunk that is stored on this device unchanged."""
    for kind, _object, logical, data in _items(descriptor, _CHUNK_TREE, _CHUNK, _CHUNK):
        if kind == _CHUNK:
            length, _owner, _stripe, flags = struct.unpack_from("<4Q", data)
            if not flags & _STRIPED:
                yield logical, length, struct.unpack_from("<Q", data, 56)[0]


def _items(descriptor: int, tree: int, first: int, last: int) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, objectid, offset, data) of the items of a btrfs tree, including other types that lie in between."""
    low = (0, first, 0)
    while True:
        buffer = bytearray(4096)
        _SEARCH.pack_into(buffer, 0, tree, low[0], _MOST, low[2], _MOST, 0, _MOST, low[1], last, 4096, 0)
        fcntl.ioctl(descriptor, _TREE_SEARCH, buffer)
        count = _SEARCH.unpack_from(buffer)[9]
        if not count:
            return
        at = _SEARCH.size
        for _each in range(count):
            _transid, number, offset, kind, length = _ITEM.unpack_from(buffer, at)
            at += _ITEM.size
            yield kind, number, offset, bytes(buffer[at : at + length])
            at += length
        low = (number, kind, offset + 1) if offset < _MOST else (number + 1, first, 0)
