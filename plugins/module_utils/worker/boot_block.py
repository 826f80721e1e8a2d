# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first bytes of a filesystem, which it leaves to a boot loader. They are not a file, so a tar does not have them.

ext    1,024 bytes before the superblock (Linux: Documentation/filesystems/ext4/overview.rst)
btrfs  64 KiB before the superblock, where GRUB may lie (btrfs-man5, "bootloader support")
vfat   the boot sector around the fields that describe the filesystem (Microsoft, "FAT32 File System Specification", 3)
swap   1,024 bytes (Linux: include/linux/swap.h, union swap_header)

XFS begins with its superblock and has none.
"""

from __future__ import annotations

import os

_LENGTHS = {"ext2": 1024, "ext3": 1024, "ext4": 1024, "btrfs": 64 * 1024, "swap": 1024, "vfat": 512}
_SECTOR = 512


def read(kind: str, device: str) -> bytes:
    """The block without the zeros at its end; b'' if there is nothing."""
    length = _LENGTHS.get(kind, 0)
    if not length:
        return b""
    with open(device, "rb") as file:
        return file.read(length).rstrip(b"\0")


def put(kind: str, device: str, block: bytes) -> None:
    """Put it into a filesystem that was just made and is not mounted. On vfat it goes around the fields of the filesystem."""
    if not block:
        return
    with open(device, "r+b") as file:
        if kind == "vfat":
            _put_vfat(file.fileno(), block.ljust(_SECTOR, b"\0"))
        else:
            os.pwrite(file.fileno(), block, 0)
        os.fsync(file.fileno())


def is_code(kind: str, block: bytes) -> bool:
    """Whether it is more than what mkfs puts there: the code of mkfs.vfat only says that the disk cannot be booted."""
    return bool(block) and not (kind == "vfat" and b"This is not a bootable disk" in block)


def _put_vfat(descriptor: int, block: bytes) -> None:
    """Jump instruction, OEM name and code. FAT32 has a second boot sector, which has to be identical."""
    made = os.pread(descriptor, _SECTOR, 0)
    wide = int.from_bytes(made[22:24], "little") == 0  # sectors per FAT: FAT32 has it elsewhere
    code = 90 if wide else 62
    sector = block[:11] + made[11:code] + block[code:]
    os.pwrite(descriptor, sector, 0)
    second = int.from_bytes(made[50:52], "little") if wide else 0
    if second:
        os.pwrite(descriptor, sector, second * int.from_bytes(made[11:13], "little"))
