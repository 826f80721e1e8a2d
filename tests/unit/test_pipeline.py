# SPDX-License-Identifier: GPL-3.0-or-later
"""What pipeline.py guarantees."""

import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Lost, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import pipeline
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.pipeline import background, ordered_map, ticker


def test_results_come_in_order_however_long_each_takes():
    """The first item finishes last and is still yielded first."""
    others = threading.Semaphore(0)

    def work(n):
        if n == 0:
            for _each in range(3):
                others.acquire(timeout=10)
        else:
            others.release()
        return n * n

    assert list(ordered_map(work, range(8), workers=4, window=4, stop=Stop())) == [n * n for n in range(8)]


def test_no_more_than_the_window_is_in_flight():
    """Items are taken only as results are yielded."""
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield n

    for yielded, _result in enumerate(ordered_map(lambda n: n, items(), workers=3, window=5, stop=Stop()), 1):
        assert len(taken) - yielded < 5


def test_the_first_error_in_time_wins_and_nothing_new_begins():
    """An error of a later item ends the map before an earlier, slower item is done."""
    failed = threading.Event()
    begun = []

    def work(n):
        begun.append(n)
        if n == 1:
            failed.set()
            raise ValueError("second item")
        failed.wait(10)
        return n

    with pytest.raises(ValueError, match="second item"):
        list(ordered_map(work, range(50), workers=2, window=4, stop=Stop()))
    assert max(begun) < 5


def test_an_error_of_the_items_ends_the_map_and_its_threads():
    """A plan that fails leaves no thread behind."""
    before = threading.active_count()

    def items():
        yield 1
        raise Lost("gone")

    with pytest.raises(Lost):
        list(ordered_map(lambda n: n, items(), workers=4, window=4, stop=Stop()))
    assert threading.active_count() == before


class Overtaken(Future):
    """Ends between two looks at it: whoever asks whether it is done, after waiting in vain, hears yes."""

    asked = threading.Event()

    def done(self):
        self.asked.set()
        with suppress(CancelledError):
            super().exception()
        return True


class Busy(ThreadPoolExecutor):
    """What a busy machine makes of a pool."""

    def submit(self, *arguments):
        future = super().submit(*arguments)
        future.__class__ = Overtaken
        return future


def test_a_result_that_comes_just_after_its_wait_has_ended_is_no_error(monkeypatch):
    """The caller may be preempted between its looks for longer than the function takes."""
    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Busy)
    monkeypatch.setattr(pipeline, "_LOOK", 0.01)

    def work(n):
        Overtaken.asked.wait(0.2)
        return n

    assert list(ordered_map(work, range(3), workers=1, window=1, stop=Stop())) == [0, 1, 2]


def test_an_error_that_is_a_timeout_is_the_functions_own():
    """A socket's, say: it is not taken for a result that is not there yet."""
    error = TimeoutError("the server is silent")

    def work(_n):
        raise error

    with pytest.raises(TimeoutError) as raised:
        list(ordered_map(work, range(3), workers=1, window=1, stop=Stop()))
    assert raised.value is error


def test_the_first_error_wins_though_the_oldest_item_fails_meanwhile(monkeypatch):
    """What fails because something else failed before it is not what anybody wants to read."""
    futures = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments):
            futures.append(super().submit(*arguments))
            return futures[-1]

    def work(n):
        time.sleep(0.1)  # until the map waits for the oldest item
        if n:
            raise ValueError("the cause")
        futures[1].exception()
        raise ValueError("what came of it")

    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(pipeline, "_LOOK", 60)  # so that the map wakes up because its oldest item is done
    with pytest.raises(ValueError, match="the cause"):
        list(ordered_map(work, range(2), workers=2, window=2, stop=Stop()))


def test_a_stop_ends_the_map():
    """Between two results the stop is seen."""
    stop = Stop()
    results = ordered_map(lambda n: n, iter(int, 1), workers=2, window=2, stop=stop)
    next(results)
    stop.request("for a test")
    with pytest.raises(Stopped, match="for a test"):
        next(results)


def test_abandoning_a_map_closes_its_items():
    """Maps are stacked: closing the outer one ends the inner one's threads."""
    before = threading.active_count()
    inner = ordered_map(lambda n: n, iter(int, 1), workers=2, window=4, stop=Stop())
    outer = ordered_map(lambda n: n, inner, workers=2, window=4, stop=Stop())
    next(outer)
    outer.close()
    assert threading.active_count() == before


def test_a_ticker_ticks_and_its_error_is_a_stop():
    """A claim that cannot be renewed ends the job."""
    stop = Stop()

    def tick():
        raise Lost("the claim is not ours any more")

    with ticker(tick, 0.001, stop):
        assert stop.wait(10)
    assert "not ours" in stop.reason


def test_background_work_ends_with_its_body():
    """Hydration that nobody needs any more is stopped, and that is no stop of the job."""
    stop, seen = Stop(), []

    def work(own):
        own.wait(10)
        seen.append(own.requested)

    with background(work, stop):
        pass
    assert seen == [True]
    assert not stop.requested
