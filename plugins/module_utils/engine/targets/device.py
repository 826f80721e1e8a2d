# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device, or a file used like one."""

from __future__ import annotations

import os
import stat
import threading
from typing import Any, Optional

from ...common.errors import Permanent, Refused

_BLOCK = 4096  # bytes: the unit a filesystem or EBS can leave out
_ZEROS = bytes(_BLOCK)
_HEAD = 1024 * 1024  # bytes: every filesystem, partition table and LVM label starts within
_INCOMPLETE = ".incomplete"


class DeviceTarget:
    """The first `size` bytes of the device or file at `path`.

    A file is created beside its place and moved there at the end; an existing one is refused unless `overwrite`. On a device the
    first MiB is written last, so that an incomplete one has no filesystem or partition table. blank: the device is known to hold
    only zeros, so blocks of zeros are not written; a new file is blank. Raises Refused if it cannot be opened or is too small.
    """

    in_order = False

    def __init__(self, path: str, size: int, blank: bool = False, overwrite: bool = False) -> None:
        self.written = 0
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._head = bytearray(min(_HEAD, size))
        self._new = "" if _is_device(path, overwrite) else path + _INCOMPLETE
        self._blank = blank or bool(self._new)
        # O_EXCL on a block device fails while anything of it is mounted or in use by the kernel.
        flags = os.O_CREAT | os.O_TRUNC if self._new else os.O_EXCL
        try:
            self._fd = os.open(self._new or path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        except OSError as error:
            raise Refused(f"{path} cannot be opened for writing: {error.strerror}", path=path) from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        if self._new:
            os.ftruncate(self._fd, self._size)
            return
        available = os.lseek(self._fd, 0, os.SEEK_END)
        if self._size > available:
            raise Refused(
                f"{self._path} has {available} bytes, but {self._size} are needed", "Use a larger volume.", path=self._path
            )
        if not self._blank:
            self._write_all(memoryview(bytes(len(self._head))), 0)

    def write(self, offset: int, data: Any) -> None:
        view = memoryview(data)
        if offset + len(view) > self._size:
            raise Permanent("the archive is larger than the target", path=self._path, offset=offset)
        if offset < len(self._head):
            kept = view[: len(self._head) - offset]
            self._head[offset : offset + len(kept)] = kept
            view, offset = view[len(kept) :], offset + len(kept)
        for begin, end in runs(view) if self._blank else [(0, len(view))]:
            self._write_all(view[begin:end], offset + begin)

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
            for begin, end in runs(memoryview(self._head)) if self._blank else [(0, len(self._head))]:
                self._write_all(memoryview(self._head)[begin:end], begin)
            os.fsync(self._fd)
            if self._new:
                os.replace(self._new, self._path)
        except OSError as error:
            raise Permanent(f"writing fails: {error.strerror}", path=self._path) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def runs(view: memoryview) -> list[tuple[int, int]]:
    """(begin, end) of the ranges of whole blocks that are not all zero."""
    found: list[tuple[int, int]] = []
    begin: Optional[int] = None
    for at in range(0, len(view), _BLOCK):
        block = view[at : at + _BLOCK]
        # Bytes, because views are compared item by item, fifty times as slowly. Most blocks show at once that they are not zero.
        if not block[0] and bytes(block) == _ZEROS[: len(block)]:
            if begin is not None:
                found.append((begin, at))
                begin = None
        elif begin is None:
            begin = at
    if begin is not None:
        found.append((begin, len(view)))
    return found


def _is_device(path: str, overwrite: bool) -> bool:
    """Raises Refused for anything that is neither a block device nor a file that may be created."""
    if not os.path.lexists(path):
        return False
    form = os.stat(path).st_mode
    if stat.S_ISREG(form) and not overwrite:
        raise Refused(f"{path} exists", "Remove it, name another file, or set overwrite (coldstore_restore_overwrite).", path=path)
    if not (stat.S_ISREG(form) or stat.S_ISBLK(form)):
        raise Refused(f"{path} is neither a block device nor a file", path=path)
    return stat.S_ISBLK(form)
