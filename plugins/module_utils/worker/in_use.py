# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bytes of a device a mounted filesystem uses, by what the kernel says: what is free need not be fetched from a snapshot.

ext4, xfs   GETFSMAP (linux/fsmap.h; man 2 ioctl_getfsmap), in the device's order
btrfs       the extent tree, through the chunk tree, by TREE_SEARCH (linux/btrfs.h, linux/btrfs_tree.h)
"""

from __future__ import annotations

import fcntl
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import Optional

Stretch = tuple[int, int]  # offset and length from the filesystem's beginning, bytes

_GETFSMAP = 0xC0C0583B
_MAP_HEAD = struct.Struct("=IIII48x")  # flags in and out, room, records
_MAP = struct.Struct("=IIQQQQ24x")  # device, flags, physical, owner, offset, length
_MAPS_AT_ONCE = 512
_SPECIAL, _LAST = 0x10, 0x20
# Owners: what is free, xfs's log, and of ext4 what is reserved for growth and the bitmaps that say all this.
_NOT_READ = frozenset([1, 0x58 << 32 | 2, 0x66 << 32 | 2, 0x66 << 32 | 3, 0x66 << 32 | 4])

_TREE_SEARCH = 0xD0009411
_SEARCH = struct.Struct("=7Q4I32x")
_ITEM = struct.Struct("=QQQII")  # transid, objectid, offset, type, length
_EXTENT_TREE, _CHUNK_TREE = 2, 3
_CHUNK, _EXTENT, _METADATA = 228, 168, 169
_MOST = (1 << 64) - 1
_STRIPED = 0x8 | 0x40 | 0x80 | 0x100  # RAID0, 10, 5, 6: not the copies that one device can have


class InUse:
    """A mounted filesystem's own knowledge. path: where it is mounted; kind: its type. node: btrfs's bytes a tree block."""

    def __init__(self, kind: str, path: str, node: int = 16384) -> None:
        self._kind = kind
        self._path = path
        self._node = node
        self._chunks: Optional[list[tuple[int, int, int]]] = None

    def stretches(self) -> Iterator[Stretch]:
        """What is in use. Raises OSError where the kernel does not say."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._kind == "btrfs":
                yield from self._btrfs(descriptor)
            else:
                yield from _mapped(descriptor)
        finally:
            os.close(descriptor)

    def place(self, address: int) -> int:
        """Where an address that FIEMAP gives lies on the device; -1 if that is not known."""
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

    def _btrfs(self, descriptor: int) -> Iterator[Stretch]:
        for kind, begin, offset, _data in _items(descriptor, _EXTENT_TREE, _EXTENT, _METADATA):
            if kind in (_EXTENT, _METADATA):
                where = self.place(begin)
                if where >= 0:
                    yield where, offset if kind == _EXTENT else self._node


def _mapped(descriptor: int) -> Iterator[Stretch]:
    """All but what is not read; ext4 leaves out stretches of data, so what no record is about is in use."""
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
    """(logical address, length, place on the device) of what lies on this device as it is."""
    for kind, _object, logical, data in _items(descriptor, _CHUNK_TREE, _CHUNK, _CHUNK):
        if kind == _CHUNK:
            length, _owner, _stripe, flags = struct.unpack_from("<4Q", data)
            if not flags & _STRIPED:
                yield logical, length, struct.unpack_from("<Q", data, 56)[0]


def _items(descriptor: int, tree: int, first: int, last: int) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, objectid, offset, data) of a btrfs tree's items; of other types, too, that lie between."""
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
