# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that are too long for the kernel."""

from __future__ import annotations

import os

LONG = 4000  # bytes; the kernel accepts paths of up to 4095


class Near:
    """A name for root/path that the kernel accepts. If the path is too long, it starts from a directory on the way."""

    def __init__(self, root: bytes, path: bytes) -> None:
        self._root = root
        self._path = path
        self._fd = -1

    def __enter__(self) -> bytes:
        full = self._root + b"/" + self._path if self._path else self._root
        if len(full) <= LONG:
            return full
        here, rest = b"/", full
        while len(here) + len(rest) > LONG:
            end = rest.rfind(b"/", 0, LONG // 2) + 1
            descriptor = os.open(here + rest[:end], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.__exit__()
            self._fd = descriptor
            here, rest = b"/proc/self/fd/%d/" % descriptor, rest[end:]
        return here + rest

    def __exit__(self, *_unused: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
