# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one signal that ends a job early, whoever gives it.

A job calls `stop.check()` between steps. Whoever wants the job to end calls `stop.request(reason)`. The first reason is kept and
later ones are ignored, so a second Ctrl+C cannot interrupt the cleanup.
"""

from __future__ import annotations

import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Optional

from .errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Thread-safe. Once requested, it stays requested.

    It has no lock, because a signal handler may request it while the main thread, which it interrupts, does the same or waits.
    """

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._news: SimpleQueue[None] = SimpleQueue()  # its put may interrupt any call of it

    def request(self, reason: str) -> None:
        self._reasons.append(reason)
        self._news.put(None)

    @property
    def requested(self) -> bool:
        return bool(self._reasons)

    @property
    def reason(self) -> str:
        return self._reasons[0] if self._reasons else ""

    def check(self) -> None:
        """Raises Stopped once a stop was requested."""
        if self.requested:
            raise Stopped(f"stopped: {self.reason}")

    def wait(self, seconds: float) -> bool:
        """Wait for a stop, for at most so many seconds. Returns whether there is one."""
        try:
            self._news.get(timeout=max(0.0, seconds))
        except Empty:
            return self.requested
        self._news.put(None)  # for the next who waits
        return True


@contextmanager
def after_a_stop(advice: str) -> Iterator[None]:
    """Give this advice if the body is stopped: what to do about the part that a stop does not undo."""
    try:
        yield
    except Stopped as error:
        error.advice = advice
        raise


@contextmanager
def on_signals(stop: Optional[Stop] = None) -> Iterator[Stop]:
    """Turn SIGINT, SIGTERM and SIGHUP into a stop; only from the main thread."""
    stop = stop or Stop()
    wanted = stop

    def handle(number: int, frame: Optional[FrameType]) -> None:
        wanted.request(f"received {signal.Signals(number).name}")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def when_output_closes(stop: Stop, descriptor: int = 1) -> None:
    """Request a stop if nobody reads our output any more.

    Over pipelined ssh, no signal arrives when the controller goes away. The closed pipe is the only sign of it.
    """
    poll = select.poll()
    poll.register(descriptor, 0)
    for _unused, events in poll.poll(0):
        if events & (select.POLLERR | select.POLLHUP):
            stop.request("the controller has gone away")
