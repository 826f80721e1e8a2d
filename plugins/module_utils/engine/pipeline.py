# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only owner of threads.

`ordered_map` runs a function over items in parallel and yields the results in the order of the items. It guarantees:
  - at most `window` items are taken and not yet yielded, so memory is bounded whatever the number of items;
  - items are taken in the caller's thread, so a source plans while its chunks are processed;
  - the first error in time wins, and nothing new is started after it or after a stop;
  - when it ends, for whatever reason, all its threads have ended. If you keep it in a variable, close it: one that a traceback
    still refers to ends wherever the garbage collector finds it, which may be in a thread that is being started, and Python
    deadlocks.
`ticker` calls a function at intervals; `background` runs a function beside the caller.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Callable, TypeVar

from ..common.memory import reuse_large_blocks
from ..common.stop import Stop

T = TypeVar("T")
R = TypeVar("R")
_LOOK = 0.2  # seconds between checks for a stop while waiting for a result


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int, window: int, stop: Stop) -> Generator[R, None, None]:
    """Yield function(item) for each item, in order. Raises Stopped, or the first error of function or items."""
    failures: list[BaseException] = []
    pending: deque[Future[R]] = deque()

    def guarded(item: T) -> R:
        try:
            return function(item)
        except BaseException as error:
            failures.append(error)
            raise

    def look() -> None:
        stop.check()
        if failures:
            raise failures[0]

    def oldest() -> R:
        look()
        while not wait([pending[0]], timeout=_LOOK).done:
            look()
        if pending[0].exception() is not None:
            look()  # the first failure says why
        return pending.popleft().result()

    reuse_large_blocks()
    executor = ThreadPoolExecutor(workers)
    try:
        for item in items:
            pending.append(executor.submit(guarded, item))
            if len(pending) >= window:
                yield oldest()
        while pending:
            yield oldest()
    finally:
        for future in pending:
            future.cancel()
        executor.shutdown(wait=True)
        close = getattr(items, "close", None)
        if close is not None:
            close()


@contextmanager
def ticker(function: Callable[[], None], seconds: float, stop: Stop) -> Iterator[None]:
    """Call function every so many seconds while the body runs. If it fails, that is a stop."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            try:
                function()
            except Exception as error:
                stop.request(str(error))
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def background(function: Callable[[Stop], None], stop: Stop) -> Iterator[None]:
    """Run function beside the body, which need not wait for it: when the body ends, function is stopped.

    If function fails, that is a stop of the job.
    """
    own = Stop()

    def run() -> None:
        try:
            function(own)
        except Exception as error:
            if not own.requested:
                stop.request(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        own.request("its job has ended")
        thread.join()
