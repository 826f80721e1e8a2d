# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device, or a file that stands for one."""

from __future__ import annotations

import os
import stat
import threading
from typing import Any, Optional

from ...common.errors import Permanent, Refused

_BLOCK = 4096  # bytes: what a filesystem or EBS can leave out
_ZEROS = bytes(_BLOCK)


class DeviceTarget:
    """`size` bytes from `start` of the device or file at `path`.

    blank: it is known to hold nothing but zeros, so zero blocks are not written. A file that does not exist is made, of
    exactly that size, and is blank; one that does exist is refused unless `overwrite`. Anything else gets every byte.
    Raises Refused if it cannot be opened or is smaller.
    """

    in_order = False

    def __init__(self, path: str, size: int, start: int = 0, blank: bool = False, overwrite: bool = False) -> None:
        self.written = 0
        self._path = os.fsencode(path)
        self._start = start
        self._size = size
        self._lock = threading.Lock()
        self._fd, fresh = _opened(path, overwrite)
        self._blank = blank or fresh
        try:
            self._check(path, fresh)
        except BaseException:
            self.close()
            if fresh:
                os.unlink(path)
            raise

    def _check(self, path: str, fresh: bool) -> None:
        if fresh:
            os.ftruncate(self._fd, self._start + self._size)
            return
        available = os.lseek(self._fd, 0, os.SEEK_END)
        is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        if is_file and self._start + self._size > available:
            os.ftruncate(self._fd, self._start + self._size)
        elif self._start + self._size > available:
            raise Refused(
                f"{path} holds {available} bytes, {self._start + self._size} are needed", "Use a larger volume.", path=path
            )

    def write(self, offset: int, data: Any) -> None:
        view = memoryview(data)
        if offset + len(view) > self._size:
            raise Permanent("the archive is longer than what it is restored to", path=self._path, offset=offset)
        for begin, end in runs(view) if self._blank else [(0, len(view))]:
            self._write_all(view[begin:end], self._start + offset + begin)

    def _write_all(self, view: memoryview, at: int) -> None:
        done = 0
        while done < len(view):
            try:
                done += os.pwrite(self._fd, view[done:], at + done)
            except OSError as error:
                raise Permanent(f"writing fails: {error.strerror}", path=self._path, offset=at + done) from error
        with self._lock:
            self.written += done

    def finish(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise Permanent(f"writing fails: {error.strerror}", path=self._path) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def runs(view: memoryview) -> list[tuple[int, int]]:
    """(begin, end) of the stretches of whole blocks that are not all zero."""
    found: list[tuple[int, int]] = []
    begin: Optional[int] = None
    for at in range(0, len(view), _BLOCK):
        block = view[at : at + _BLOCK]
        if block == _ZEROS[: len(block)]:
            if begin is not None:
                found.append((begin, at))
                begin = None
        elif begin is None:
            begin = at
    if begin is not None:
        found.append((begin, len(view)))
    return found


def _opened(path: str, overwrite: bool) -> tuple[int, bool]:
    """(descriptor, whether the file was made just now)."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), True
        except FileExistsError:
            form = os.stat(path).st_mode
            if stat.S_ISREG(form) and not overwrite:
                raise Refused(f"{path} exists", "Remove it, name another file, or allow overwrite.", path=path) from None
            if not (stat.S_ISREG(form) or stat.S_ISBLK(form)):
                raise Refused(f"{path} is neither a block device nor a file", path=path) from None
            # O_EXCL on a block device fails while anything of it is mounted or in use by the kernel.
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_EXCL if stat.S_ISBLK(form) else 0)), False
    except OSError as error:
        raise Refused(f"{path} cannot be opened for writing: {error.strerror}", path=path) from error
