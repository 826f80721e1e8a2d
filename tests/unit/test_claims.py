# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims: a bucket in memory with S3's conditions, and a clock that tests move."""

from dataclasses import replace

import botocore.exceptions
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Lost, Refused, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims, document
from fakes import SNAPSHOT


def snap(snapshot_id):
    return replace(SNAPSHOT, snapshot_id=snapshot_id)


def waiting(*snapshot_ids):
    return {each: snap(each) for each in snapshot_ids}


SNAP = snap("snap-1")
KEY = "claims/snap-1.json"
ONE = claims.Terms("one", "run1", lease=100)
TWO = claims.Terms("two", "run2", lease=100)


def away(operation, _arguments):
    error = {"Error": {"Code": "ServiceUnavailable"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    raise botocore.exceptions.ClientError(error, operation)


@pytest.fixture
def store(timed):
    return timed


def test_a_claim_is_taken_renewed_and_settled(store):
    """The ordinary life of one."""
    held = claims.take(store, KEY, SNAP, ONE)
    held = held.renew()
    held.check()
    assert held.attempts == 1
    assert held.settle("migrated").standing == "migrated"
    with pytest.raises(Lost, match="settled as migrated"):
        claims.take(store, KEY, SNAP, TWO)


def test_an_expired_claim_is_taken_over_and_its_holder_is_told(store, clock):
    """After the lease, by the server's clock; the first lane finds out at its next renewal."""
    first = claims.take(store, KEY, SNAP, ONE)
    clock.seconds += 100
    with pytest.raises(Lost, match="one holds"):
        claims.take(store, KEY, SNAP, TWO)
    clock.seconds += 1
    second = claims.take(store, KEY, SNAP, TWO)
    assert second.attempts == 2
    for act in (first.renew, first.release, lambda: first.settle("migrated")):
        with pytest.raises(Lost):
            act()
    second.renew()


def test_a_holder_gives_up_before_others_may_take_over(store, clock):
    """By its own monotonic clock, with a margin."""
    held = claims.take(store, KEY, SNAP, ONE)
    clock.seconds += 70
    held.check()
    clock.seconds += 10
    with pytest.raises(Lost, match="in time"):
        held.check()


def test_a_keeper_renews_in_time_and_outlasts_a_short_failure(store, clock):
    """S3 may be away for a while, but not for the whole lease."""
    keeper = claims.Keeper(claims.take(store, KEY, SNAP, ONE))
    clock.seconds += 30
    keeper.tick()
    store.client.before = away
    clock.seconds += 30
    keeper.tick()
    store.client.before = lambda *_call: None
    keeper.tick()
    store.client.before = away
    clock.seconds += 80
    with pytest.raises(Lost):
        keeper.tick()


def test_a_renewal_whose_reply_was_lost_is_no_loss(store):
    """The condition fails the second time, but what is there is what was written."""
    held = claims.take(store, KEY, SNAP, ONE)
    real, lost = store.client.put_object, []

    def put(**arguments):
        real(**arguments)
        if not lost:
            lost.append(1)
            raise botocore.exceptions.ConnectionClosedError(endpoint_url="x")
        return real(**arguments)

    store.client.put_object = put
    assert held.renew().token == held.token


def test_failures_are_counted_and_end_in_failed(store):
    """Three runs may try; the third settles it."""
    for number in range(1, 4):
        held = claims.take(store, KEY, SNAP, replace(ONE, run=f"run{number}"))
        assert held.attempts == number
        ended = held.fail("bad block", attempts=3)
    assert ended.standing == "failed"
    with pytest.raises(Lost, match="settled as failed"):
        claims.take(store, KEY, SNAP, replace(ONE, run="run4"))


def test_a_snapshot_is_tried_once_a_run(store):
    """What failed is left for the next run, so one bad snapshot does not hold up the others."""
    claims.take(store, KEY, SNAP, ONE).fail("bad block", attempts=3)
    with pytest.raises(Lost, match="in this run already: bad block"):
        claims.take(store, KEY, SNAP, ONE)
    claims.take(store, KEY, SNAP, TWO)


def test_what_was_settled_before_stands_when_nothing_comes_of_a_claim(store, clock):
    """Given back, it is as it was, also for the run that took it, and also after a lane that died; a failure is another matter."""
    claims.take(store, KEY, SNAP, ONE).settle("validated")
    again = replace(TWO, redo=("validated",))
    held = claims.take(store, KEY, SNAP, again)
    assert (held.before, held.release().standing) == ("validated", "validated")
    claims.take(store, KEY, SNAP, again)
    clock.seconds += 101
    assert claims.take(store, KEY, SNAP, again).release().standing == "validated"
    assert claims.take(store, KEY, SNAP, again).release("no").standing == "free"
    third = replace(again, run="run3")
    assert claims.take(store, KEY, SNAP, third).release().standing == "free"


def test_a_failure_that_is_begun_again_leaves_no_result_to_stand(store):
    """It is free when it is given back."""
    claims.take(store, KEY, SNAP, ONE).settle("failed", "r")
    held = claims.take(store, KEY, SNAP, replace(TWO, redo=("failed",)))
    assert (held.before, held.release().standing) == ("", "free")


def test_giving_back_without_a_reason_counts_no_attempt(store):
    """A stop is nobody's failure."""
    claims.take(store, KEY, SNAP, ONE).release()
    assert claims.take(store, KEY, SNAP, ONE).attempts == 1


def test_what_is_a_workers_fault_is_another_workers_turn_in_the_same_run(store):
    """However often: it counts as no attempt."""
    for _worker in range(5):
        held = claims.take(store, KEY, SNAP, ONE)
        assert held.attempts == 1
        assert held.fail("no device name is free", attempts=1, kind="unfit").standing == "free"


def test_what_was_refused_counts_no_attempt_and_waits_for_the_next_run(store):
    """The settings are the same for all snapshots, and for every turn of a run."""
    for number in range(5):
        terms = replace(ONE, run=f"run{number}")
        held = claims.take(store, KEY, SNAP, terms)
        assert held.attempts == 1
        assert held.fail("denied", attempts=1, kind="refused").standing == "free"
        with pytest.raises(Lost, match="in this run already: denied"):
            claims.take(store, KEY, SNAP, terms)


def test_a_retagged_failure_may_be_tried_again_from_the_start(store):
    """redo names the results that are no obstacle."""
    claims.take(store, KEY, SNAP, ONE).settle("failed", "x")
    again = claims.take(store, KEY, SNAP, replace(TWO, redo=("failed",)))
    assert again.attempts == 1


def test_lanes_that_die_again_and_again_are_not_replaced_for_ever(store, clock):
    """A snapshot that kills its lanes is given up after the same number of attempts."""
    for _attempt in range(3):
        claims.take(store, KEY, SNAP, ONE)
        clock.seconds += 101
    with pytest.raises(Lost, match="3 attempts did not succeed"):
        claims.take(store, KEY, SNAP, ONE)


def test_the_first_that_can_be_had_is_taken(store):
    """And why the others could not be had is known."""
    claims.take(store, KEY, SNAP, ONE)
    held, passed = claims.take_first(store, "", [SNAP, snap("snap-2")], TWO)
    assert held.body["snapshot_id"] == "snap-2"
    assert "one holds" in passed.taken["snap-1"]


def test_what_could_be_had_is_known_without_taking_it(store):
    """All that could, not only the first; and why the others could not."""
    claims.take(store, "claims/snap-2.json", snap("snap-2"), ONE)
    before = store.get("claims/snap-2.json").etag
    found, passed = claims.free(store, "", waiting("snap-1", "snap-2", "snap-3"), TWO)
    assert list(found) == ["snap-1", "snap-3"]
    assert "one holds" in passed.taken["snap-2"]
    assert store.get("claims/snap-2.json").etag == before
    assert store.get("claims/snap-1.json") is None


def test_a_claim_is_known_by_its_token(store):
    """Other modules of the same lane go on with it; others cannot."""
    taken = claims.take(store, KEY, SNAP, ONE)
    assert claims.held(store, KEY, taken.token).renew().token == taken.token
    with pytest.raises(Lost):
        claims.held(store, KEY, "guessed")


@pytest.mark.parametrize("wrong", [{"lease": 0}, {"attempts": 0}])
def test_terms_under_which_nothing_could_be_claimed_are_refused(wrong):
    """A lease that is over as it begins, or no attempt at all."""
    with pytest.raises(Refused, match="at least 1"):
        claims.Terms("one", "run1", **wrong)


def test_unknown_results_are_refused(store):
    """Results are words with a meaning."""
    with pytest.raises(Refused):
        claims.take(store, KEY, SNAP, ONE).settle("done")


def test_s3_being_away_is_not_losing_the_claim(store):
    """Only an answer can say that somebody else has it."""
    held = claims.take(store, KEY, SNAP, ONE)
    store.client.before = away
    with pytest.raises(Transient):
        held.renew()


def test_a_claim_knows_its_snapshot_without_ec2(store):
    """What settles or releases it may come when the snapshot was deleted."""
    taken = claims.take(store, KEY, SNAP, ONE)
    assert claims.held(store, KEY, taken.token).renew().origin == SNAP


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace(b"one", b"two"), "damaged"),
        (lambda _text: b"garbage", "this is not a claim"),
        (lambda _text: b"", "this is not a claim"),
        (lambda _text: document.encode("claim", 1, {}).replace(b'"version": 1', b'"version": 1 '), "damaged"),
    ],
)
def test_a_damaged_claim_ends_nothing_but_itself(store, damage, words):
    """It is passed over and named, with what to do about it: how to look at it, and how to remove it."""
    held = claims.take(store, KEY, SNAP, ONE)
    store.client.damage("b", KEY, body=damage(store.get(KEY).body))
    taken, passed = claims.take_first(store, "", [SNAP, snap("snap-2")], TWO)
    assert (taken.body["snapshot_id"], passed.taken, list(passed.unusable)) == ("snap-2", {}, ["snap-1"])
    for said in (passed.unusable["snap-1"], claims.free(store, "", waiting("snap-1", "snap-3"), TWO)[1].unusable["snap-1"]):
        assert words in said
        assert f"aws s3 rm s3://b/{KEY}" in said
        assert "archive it again" not in said
    assert list(claims.free(store, "", waiting("snap-1", "snap-3"), TWO)[0]) == ["snap-3"]
    with pytest.raises(Corrupt, match="aws s3 rm"):
        claims.held(store, KEY, held.token)


def test_a_claim_of_a_later_version_is_passed_over(store, monkeypatch):
    """A newer collection works on that snapshot; this one goes on with the others."""
    claims.take(store, KEY, SNAP, ONE)
    monkeypatch.setattr(claims, "_VERSION", 0)
    _taken, passed = claims.take_first(store, "", [SNAP], TWO)
    assert "Update coldstore.ebs" in passed.unusable["snap-1"]


VISIT = claims.Terms("three", "drill1", lease=100, redo=claims.REDO["drill"], visit=True)


def standing(store):
    """What a claim says that lasts."""
    body = document.decode(store.get(KEY).body, "claim", 1, KEY)
    return {name: body[name] for name in ("state", "result", "reason", "run", "attempts", "before")}


@pytest.mark.parametrize("end", [lambda held: held.leave(), lambda held: held.fail("worse", 1), lambda held: held.release("worse")])
def test_a_visit_leaves_a_claim_as_it_was(store, end):
    """Whatever it was, and however the visit ends; a second one waits for another run."""
    for before in (
        lambda: claims.take(store, KEY, SNAP, ONE).release("bad"),
        lambda: claims.take(store, KEY, SNAP, TWO).settle("validated"),
    ):
        before()
        there = standing(store)
        held = claims.take(store, KEY, SNAP, VISIT)
        assert held.visit
        with pytest.raises(Lost, match="three holds the claim"):
            claims.take(store, KEY, SNAP, TWO)
        end(held)
        assert standing(store) == there
        with pytest.raises(Lost, match="in this run"):
            claims.take(store, KEY, SNAP, VISIT)
        claims.take(store, KEY, SNAP, replace(VISIT, run="drill2")).leave()
        assert standing(store) == there


def test_what_was_never_claimed_may_be_visited(store):
    """And is free to be claimed afterwards, with all of its attempts. A worker that cannot do it leaves it to others at once."""
    claims.take(store, KEY, SNAP, VISIT).fail("no place", 3, "unfit")
    claims.take(store, KEY, SNAP, VISIT).leave()
    assert claims.take(store, KEY, SNAP, ONE).attempts == 1


def test_a_visit_that_died_counts_as_ended(store, clock):
    """Others visit the snapshot in the same run, or do what they would have done without it."""
    claims.take(store, KEY, SNAP, TWO).settle("migrated")
    there = standing(store)
    claims.take(store, KEY, SNAP, VISIT)
    clock.seconds += 101
    claims.take(store, KEY, SNAP, VISIT)
    clock.seconds += 101
    with pytest.raises(Lost, match="settled as migrated"):
        claims.take(store, KEY, SNAP, ONE)
    again = claims.take(store, KEY, SNAP, replace(ONE, redo=("migrated",)))
    assert (again.visit, again.before, again.attempts) == (False, "migrated", 1)
    again.release()
    assert {**standing(store), "before": {}, "attempts": 1} == {**there, "before": {}, "attempts": 1}
