# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted directories (fscrypt). Without the key, the kernel lists made-up names and returns no contents.

Source: Linux, Documentation/filesystems/fscrypt.rst.
"""

from __future__ import annotations

import fcntl
import os
import struct

_GET_POLICY = 0xC0096616  # FS_IOC_GET_ENCRYPTION_POLICY_EX
_GET_KEY_STATUS = 0xC080661A  # FS_IOC_GET_ENCRYPTION_KEY_STATUS
_POLICY_BYTES, _STATUS_BYTES = 32, 128
_OF_KEY = {0: (1, 4, 8), 2: (2, 8, 16)}  # version of a policy -> type of its key's name, where that is in it, how long
_PRESENT = 2


def is_locked(path: bytes) -> bool:
    """Whether a directory is encrypted and its key is missing. Raises OSError if that cannot be found out."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        argument = bytearray(_POLICY_BYTES)
        struct.pack_into("=Q", argument, 0, _POLICY_BYTES - 8)
        fcntl.ioctl(descriptor, _GET_POLICY, argument)
        policy = argument[8:]
        kind, start, length = _OF_KEY[policy[0]]
        status = bytearray(_STATUS_BYTES)
        struct.pack_into("=II", status, 0, kind, 0)
        status[8 : 8 + length] = policy[start : start + length]
        fcntl.ioctl(descriptor, _GET_KEY_STATUS, status)
        (said,) = struct.unpack_from("=I", status, 64)
        return bool(said != _PRESENT)
    finally:
        os.close(descriptor)
