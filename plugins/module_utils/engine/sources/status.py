# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""lstat that also returns a file's flags: statx(2), since Linux 4.11, which Python supports from 3.15 on.

It is called by number, because glibc has it only since 2.28. It takes a microsecond longer than os.lstat; getting the flags
separately (FS_IOC_GETFLAGS) takes four.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Callable, NamedTuple

# stx_attributes that chattr sets and that a tar cannot hold. There are others that statx does not return (no copy on
# write, no access time, synchronous writes).
ENCRYPTED = 0x800
FLAGS = {0x4: "compressed", 0x10: "immutable", 0x20: "append", 0x40: "nodump", ENCRYPTED: "encrypted", 0x100000: "verity"}
FLAGGED = sum(FLAGS)
_BYTES = 256
# struct statx up to stx_dev_minor: mask and block size; attributes; nlink uid gid mode; ino size blocks and the mask of
# attributes; times of access, birth and change; of modification; rdev and dev.
_LAYOUT = struct.Struct("=8xQIIIH2xQQQ8x48xqI4xIIII")
_NUMBER = 332 if os.uname().machine == "x86_64" else 291  # the same on every younger architecture
_AT_FDCWD = -100
_NO_FOLLOW_NO_SYNC = 0x100 | 0x4000
_BASIC = 0x7FF


class Status(NamedTuple):
    """What we need of os.lstat; st_dev and st_rdev are (major, minor). flags: of FLAGGED."""

    st_mode: int
    st_ino: int
    st_dev: tuple[int, int]
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_blocks: int
    st_mtime_ns: int
    st_rdev: tuple[int, int]
    flags: int


def reader() -> Callable[[bytes], Status]:
    """lstat for one thread at a time, since it has its own buffer. Raises OSError like os.lstat."""
    buffer = bytearray(_BYTES)
    address = ctypes.addressof((ctypes.c_char * _BYTES).from_buffer(buffer))
    number, directory, how = ctypes.c_long(_NUMBER), ctypes.c_int(_AT_FDCWD), ctypes.c_int(_NO_FOLLOW_NO_SYNC)
    wanted, into = ctypes.c_uint(_BASIC), ctypes.c_void_p(address)
    call = ctypes.CDLL(None, use_errno=True).syscall
    unpack, new = _LAYOUT.unpack_from, tuple.__new__

    def lstat(path: bytes) -> Status:
        if call(number, directory, path, how, wanted, into):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        flags, nlink, uid, gid, mode, ino, size, blocks, seconds, rest, rmajor, rminor, major, minor = unpack(buffer)
        mtime = seconds * 1_000_000_000 + rest
        fields = (mode, ino, (major, minor), nlink, uid, gid, size, blocks, mtime, (rmajor, rminor), flags & FLAGGED)
        return new(Status, fields)  # Status(...) would call a function in Python

    return lstat
