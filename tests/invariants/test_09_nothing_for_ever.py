# SPDX-License-Identifier: GPL-3.0-or-later
"""9. No error is retried for ever: throttling and 5xx back off with a limit, the rest fails at once."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.calls import Calls
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent, Refused, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from fakes import MovedClock
from helpers import archived


@pytest.mark.parametrize(("code", "error"), [(503, "SlowDown"), (500, "InternalError"), (400, "ExpiredToken")])
def test_invariant_9_a_bucket_that_never_recovers_ends_the_job(store, lab, code, error):
    """After a bounded number of attempts, counted at the server. What was sent waits for the next run."""
    with lab.faults({"path": "partNumber=1", "action": "status", "code": code, "error": error, "times": 999}) as hits:
        with pytest.raises(Transient):
            archived(store)
        assert 4 <= len(hits()) <= store.patience.attempts * 2
    assert len(lab.uploads(store.bucket)) == 1


def test_invariant_9_denial_fails_at_once(store, lab):
    """AccessDenied will not change by asking again."""
    with lab.faults({"path": "partNumber=1", "action": "status", "code": 403, "error": "AccessDenied", "times": 999}) as hits:
        with pytest.raises(Refused, match="s3:PutObject is denied"):
            archived(store)
        assert len(hits()) == 1


def test_invariant_9_a_state_that_never_comes_is_not_waited_for_for_ever():
    """A volume that stays `creating` ends in an error after the timeout, by a clock moved by hand."""
    clock = MovedClock()
    calls = Calls(None, Stop(), clock, timeout=300, pause=2)
    with pytest.raises(Permanent, match="after 300 s"):
        calls.wait("the volume is not available", lambda: False)
    assert 300 <= clock.seconds - 1000 <= 302
