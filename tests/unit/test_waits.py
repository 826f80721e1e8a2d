# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the collection waits for, it stops waiting as soon as there is a stop."""

import threading
import time

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.calls import Calls
from ansible_collections.coldstore.ebs.plugins.module_utils.common.clock import Clock
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Stopped, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.common.retry import Policy, retry
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import sleeping
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, partitions
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.attached import Disk

LONG = 600  # seconds


class Asleep:
    """An S3 whose one object sleeps."""

    def head_object(self, **_arguments):
        from datetime import datetime, timezone

        now = datetime.now(timezone.utc)
        return {
            "ContentLength": 1,
            "ETag": "e",
            "StorageClass": "GLACIER",
            "LastModified": now,
            "Restore": 'ongoing-request="true"',
        }


def refused(stop):
    def call():
        raise Transient("not now")

    retry(call, stop, policy=Policy(attempts=2, base=1e9, cap=1e9, seconds=1e10))


def polled(stop):
    Calls(None, stop, timeout=LONG, pause=LONG).wait("it is not there", lambda: False)


def thawing(stop):
    store = Store(Asleep(), "bucket", stop=stop)
    sleeping.wait(store, sleeping.asleep(store, [("key", "")]), LONG, LONG)


def without_device(stop):
    attached.wait_for_device("vol-0", "/dev/sdz", LONG, stop, pause=LONG)


def without_partitions(stop, monkeypatch):
    table = {"partitions": [{"node": "/dev/sdz1", "start": 1, "size": 1}]}
    monkeypatch.setattr(partitions, "inspect", lambda device, command: Disk(device, 1 << 30, table, ()))
    partitions.reread("/dev/sdz", stop, lambda arguments: None, pause=LONG)


@pytest.mark.parametrize("wait", [refused, polled, thawing, without_device, without_partitions])
def test_a_stop_ends_every_wait_at_once(wait, monkeypatch):
    """A pause after a refusal, between looks at EC2, S3 or the kernel: each would last ten minutes here."""
    stop = Stop()
    timer = threading.Timer(0.3, stop.request, ["enough"])
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Stopped, match="enough"):
        wait(stop, monkeypatch) if wait is without_partitions else wait(stop)
    assert time.monotonic() - begun < LONG / 10


def test_a_pause_without_a_stop_lasts():
    """And is no error."""
    begun = time.monotonic()
    Clock().sleep(0.05, Stop())
    assert time.monotonic() - begun >= 0.05
