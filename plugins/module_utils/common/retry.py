# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that retries anything.

botocore would retry throttling and broken connections by itself, and its attempts would multiply with ours, so our clients let
it try only once. What may work a second time is retried here, with full jitter and a limit. Nothing is retried for ever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

from .clock import Clock
from .errors import Silent, Transient, classify
from .stop import Stop

T = TypeVar("T")


@dataclass(frozen=True)
class Policy:
    """attempts: in all. The pause before attempt n is random in [0, min(cap, base * 2**n)] seconds.

    seconds: no attempt starts later than this after the first. silence: the same for an endpoint that does not answer.
    """

    attempts: int = 8
    base: float = 0.25
    cap: float = 20.0
    seconds: float = 60.0
    silence: float = 30.0


def retry(call: Callable[[], T], stop: Stop, clock: Optional[Clock] = None, policy: Policy = Policy(), **facts: Any) -> T:
    """Run `call` until it returns, fails for good, or the policy is used up. facts go into the error.

    Raises Stopped between attempts, the classified ColdstoreError, or whatever call raised if we do not know it.
    """
    clock = clock or Clock()
    begun = clock.monotonic()
    for attempt in range(1, policy.attempts + 1):
        stop.check()
        try:
            return call()
        except Exception as error:
            known = classify(error, **facts)
            if known is None:
                raise
            pause = random.uniform(0, min(policy.cap, policy.base * 2**attempt))
            limit = policy.silence if isinstance(known, Silent) else policy.seconds
            late = clock.monotonic() + pause - begun >= limit
            if not isinstance(known, Transient) or attempt == policy.attempts or late:
                known.at(attempts=attempt if attempt > 1 else None)
                if known is error:
                    raise
                raise known from error
            clock.sleep(pause, stop)
    raise AssertionError("a policy has at least one attempt")
