# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Touching every block of a cold volume once, many at a time.

A volume fresh from a snapshot fetches each 512 KiB block from S3 when it is first touched: tens of milliseconds each,
one after the other for a reader like tar. Touching them all ahead, 64 in flight, moves that wait out of the way.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Callable

from ..common.stop import Stop

BLOCK = 512 * 1024  # bytes, EBS's
IN_FLIGHT = 64
_TOUCH = 4096  # bytes: O_DIRECT's alignment; any part of a block brings in all of it
Map = Callable[[Callable[[int], None], Iterable[int], int, int, Stop], Iterator[None]]


def hydrate(device: str, in_order: Map, stop: Stop) -> None:
    """Touch each block of the device until done or stopped. in_order is the engine's parallel map.

    Read errors are left to whoever reads the bytes in earnest.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    local = threading.local()

    def touch(offset: int) -> None:
        if not hasattr(local, "page"):
            local.page = mmap.mmap(-1, _TOUCH)  # page-aligned, as O_DIRECT needs it
        with contextlib.suppress(OSError):
            os.preadv(descriptor, [local.page], offset)

    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        for _done in in_order(touch, range(0, size, BLOCK), IN_FLIGHT, 4 * IN_FLIGHT, stop):
            pass
    finally:
        os.close(descriptor)
