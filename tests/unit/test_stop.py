# SPDX-License-Identifier: GPL-3.0-or-later
"""The one signal that ends a job, also when it comes at an awkward moment."""

import subprocess
import sys
import threading

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from conftest import TREE

# Two signals at each step, down to the standard library's, of what the main thread does with its stop; a new stop for each.
STRIKE = """
import itertools, signal, sys
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import on_signals

def strike(frame, event, argument):
    global left
    left -= 1
    if not left:
        sys.settrace(None)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    return strike

for step in itertools.count(1):
    left = step
    with on_signals() as stop:
        sys.settrace(strike)
        {what}
        sys.settrace(None)
        if left > 0:
            break
        print(stop.requested, stop.reason)
"""


@pytest.mark.parametrize(
    ("what", "reasons"), [("stop.wait(0.1)", {"received SIGTERM"}), ("stop.request('our own')", {"received SIGTERM", "our own"})]
)
def test_a_signal_at_any_moment_is_a_stop_and_never_a_standstill(what, reasons):
    """The handler runs in the main thread, between two steps of whatever that does: also of waiting, or of another stop."""
    command = [sys.executable, "-c", STRIKE.format(what=what)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(TREE)}, check=True)
    struck = ran.stdout.splitlines()
    assert len(struck) >= 3
    assert set(struck) == {f"True {reason}" for reason in reasons}


def test_a_stop_wakes_everybody_who_waits_and_the_first_reason_is_kept():
    """Also who comes later; a wait without a stop ends when its time is over."""
    stop = Stop()
    assert not stop.wait(0)
    assert not stop.wait(-1)
    stop.check()
    woken = []
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(60))) for _number in range(5)]
    for thread in threads:
        thread.start()
    stop.request("the first")
    stop.request("the second")
    for thread in threads:
        thread.join(30)
    assert woken == [True] * 5
    assert stop.wait(60)
    with pytest.raises(Stopped, match="the first"):
        stop.check()
