# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Touching the blocks of a cold volume ahead of the reader, each once, many at a time.

A volume fresh from a snapshot fetches each 512 KiB block from S3 when it is first touched. That takes tens of milliseconds, and
a reader like tar waits for one block after the other. Blocks that are about to be read come first, then all others in use, in the
order in which they are archived. Free blocks are never touched.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Callable

from ..common.stop import Stop
from .extents import extents

BLOCK = 512 * 1024  # bytes, EBS's
FEWEST, MOST = 64, 256  # touches in flight
_SOON = 16 * 1024  # blocks that can be asked for ahead: 8 GiB
_TOUCH = 4096  # bytes: O_DIRECT's alignment; any part of a block brings in all of it
_LOOK = 0.2  # seconds between looks at the stop
_WORTH = 1.2  # times the previous rate; if more touches in flight bring less, they are useless
Stretch = tuple[int, int]  # offset and length on the device, bytes
Map = Callable[[Callable[[int], None], Iterable[int], int, int, Stop], Iterator[None]]


class Hydration:
    """The blocks of one device. `soon` may be called from other threads while `run` runs. clock gives seconds, for tests."""

    def __init__(self, device: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._count = -(-size // BLOCK)
        self._taken = bytearray(-(-self._count // 8))  # one bit per block
        self._soon: deque[int] = deque()
        self._local = threading.local()
        self._clock = clock
        self._pace = Pace(clock())
        self._ended = threading.Condition()
        self._flying = 0

    def soon(self, place: Callable[[int], int], path: bytes) -> None:
        """Announce a file that is about to be read. place: maps an address of FIEMAP to the device, -1 if that is not known."""
        with contextlib.suppress(OSError):  # the actual reader will report it
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                for each in extents(descriptor):
                    begin = place(each.physical) if each.physical >= 0 else -1
                    if begin >= 0:
                        blocks = range(begin // BLOCK, (begin + each.length - 1) // BLOCK + 1)
                        self._soon.extend(blocks[: max(0, _SOON - len(self._soon))])
            finally:
                os.close(descriptor)

    def run(self, stretches: Iterable[Stretch], in_order: Map, stop: Stop) -> None:
        """Touch everything in these ranges, and what is asked for meanwhile, until done or stopped.

        in_order is the engine's parallel map. Read errors are left to the actual reader.
        """
        for _done in in_order(self._touch, self._blocks(stretches, stop), MOST, 4 * MOST, stop):
            pass

    def close(self) -> None:
        os.close(self._descriptor)

    def _blocks(self, stretches: Iterable[Stretch], stop: Stop) -> Iterator[int]:
        """Each block once, no faster than the pace allows."""
        for begin, length in stretches:
            stop.check()
            # A damaged filesystem may claim to use any place.
            for block in range(begin // BLOCK, min((begin + length - 1) // BLOCK + 1, self._count)):
                while self._soon:
                    yield from self._once(self._soon.popleft(), stop)
                yield from self._once(block, stop)

    def _once(self, block: int, stop: Stop) -> Iterator[int]:
        byte, bit = divmod(block, 8)
        if block >= self._count or self._taken[byte] >> bit & 1:
            return
        self._taken[byte] |= 1 << bit
        with self._ended:
            while self._flying >= self._pace.limit:
                stop.check()
                self._ended.wait(_LOOK)
            self._flying += 1
        yield block

    def _touch(self, block: int) -> None:
        if not hasattr(self._local, "page"):
            self._local.page = mmap.mmap(-1, _TOUCH)  # page-aligned, as O_DIRECT needs it
        with contextlib.suppress(OSError):
            os.preadv(self._descriptor, [self._local.page], block * BLOCK)
        with self._ended:
            self._flying -= 1
            self._pace.ended(self._clock())
            self._ended.notify()


class Pace:
    """How many touches are in flight: more as long as that raises the total rate, between FEWEST and MOST."""

    def __init__(self, now: float) -> None:
        self.limit = FEWEST
        self._begun = now
        self._done = 0
        self._rate = 0.0
        self._settled = False

    def ended(self, now: float) -> None:
        self._done += 1
        if self._settled or self._done < 2 * self.limit:
            return
        rate = self._done / max(now - self._begun, 1e-6)
        if rate < self._rate * _WORTH or self.limit == MOST:
            self._settled = True
            return
        self._rate, self._begun, self._done = rate, now, 0
        self.limit = min(MOST, self.limit * 2)
