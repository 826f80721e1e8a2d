# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a file has data. A database that punches holes into its pages has millions of extents, so they are never all in memory."""

from __future__ import annotations

import errno
import os
from typing import Callable, Optional

from ..spool import Extents
from . import Problem
from .status import Status

_SMALL = 64 << 20  # bytes
Note = Callable[[Problem, bool], None]  # a problem without its path, and whether it is damage; may raise


def extents_of(path: bytes, status: Status, note: Note, spool: str) -> Optional[Extents]:
    """(offset, length) of the data in a file with holes, and of what counts as data because it is not known; None for a file
    without holes."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return None
    extents = Extents(spool)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        note(Problem(b"", 0, size, f"opening fails: {error.strerror}"), True)
        return extents
    try:
        end = 0
        while end < size:
            try:
                start = os.lseek(descriptor, end, os.SEEK_DATA)
                stop = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole from here on
                    break
                start, stop = end, _known_again(descriptor, end, size)
                if stop - start > max(status.st_blocks * 512, _SMALL):
                    # More than the file ever had: reading all of it is not worth what could be read between the holes.
                    note(Problem(b"", start, stop - start, f"the places where it has data cannot be read: {error.strerror}"), True)
                    end = stop
                    continue
            extents.add(start, stop - start)
            end = stop
    finally:
        os.close(descriptor)
    return None if len(extents) == 1 and extents.total == size else extents


def _known_again(descriptor: int, offset: int, size: int) -> int:
    """A later offset from which on the kernel knows where the file has data; at most twice as far away as necessary."""
    step = 4096
    while offset + step < size:
        try:
            os.lseek(descriptor, offset + step, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                step *= 2
                continue
        return offset + step
    return size
