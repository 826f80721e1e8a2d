# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims under any order of what lanes do and how long they sleep: one lane has a snapshot, and its word is what stands."""

from contextlib import suppress

from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Lost
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims, document
from fakes import SNAPSHOT, MovedClock
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryS3

KEY = ours.claim_key("", SNAPSHOT.snapshot_id)
LEASE = 100
LANES = range(3)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["take", "renew", "fail", "release", "migrated"]), st.sampled_from(LANES)),
    st.tuples(st.just("sleep"), st.integers(1, 3 * LEASE)),
)


class Bench:
    """Three lanes, each of a run of its own, that know no more than what they wrote themselves."""

    def __init__(self):
        self.clock = MovedClock()
        self.store = Store(MemoryS3("b", clock=self.clock), "b", clock=self.clock)
        self.held = {}
        self.ended = []

    def step(self, what, who):
        if what == "sleep":
            self.clock.seconds += who
            return
        terms = claims.Terms(f"lane {who}", f"run {who} {len(self.ended)}", lease=LEASE, redo=("failed",), attempts=1000)
        with suppress(Lost):
            if what == "take":
                self.held[who] = claims.take(self.store, KEY, SNAPSHOT, terms)
                return
            claim = self.held.get(who)
            if claim is None:
                return
            if what == "renew":
                self.held[who] = claim.renew()
                return
            del self.held[who]
            if what == "migrated":
                claim.settle("migrated")
                self.ended.append(what)
            else:
                claim.release("it failed" if what == "fail" else "")
            return

    def sure(self):
        """The lanes that may go on, as far as they can know."""
        found = []
        for who, claim in self.held.items():
            with suppress(Lost):
                claim.check()
                found.append(who)
        return found

    def standing(self):
        there = self.store.get(KEY)
        return None if there is None else document.decode(there.body, "claim", 1)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_no_two_lanes_are_ever_sure_of_one_snapshot(steps):
    """Whoever sleeps through its lease knows that it did before another one can have taken over."""
    bench = Bench()
    for step in steps:
        bench.step(*step)
        sure = bench.sure()
        assert len(sure) <= 1
        if sure:
            assert bench.standing()["token"] == bench.held[sure[0]].token


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_what_was_migrated_stays_so_whoever_wakes_up(steps):
    """It is settled once, and no lane that held it before takes that back or takes it again."""
    bench = Bench()
    for step in steps:
        bench.step(*step)
        if bench.ended:
            assert bench.standing()["result"] == "migrated"
    assert len(bench.ended) <= 1
