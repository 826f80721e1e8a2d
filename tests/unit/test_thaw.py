# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that sleep: found, woken once, and waited for."""

from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Asleep, Corrupt, Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import sleeping
from fakes import MovedClock
from memory import THAWING, MemoryS3


@pytest.fixture
def store(memory):
    """Three objects, two of which sleep, and a clock that waiting moves."""
    clock = MovedClock()
    s3 = MemoryS3("b", clock=clock)
    for key, storage_class in (("awake", "STANDARD"), ("cold", "GLACIER"), ("deep", "DEEP_ARCHIVE")):
        s3.put_object(Bucket="b", Key=key, Body=b"body", StorageClass=storage_class)
    return replace(memory, client=s3, clock=clock)


ALL = [("awake", ""), ("cold", ""), ("deep", "")]


def test_what_sleeps_is_found_and_asked_for_once(store):
    """A second look sees that it is under way; a third, that it is done."""
    asleep = sleeping.asleep(store, ALL)
    assert [(each.key, each.storage_class, each.under_way) for each in asleep] == [
        ("cold", "GLACIER", False),
        ("deep", "DEEP_ARCHIVE", False),
    ]
    assert sleeping.wake(store, asleep, "Bulk", 3) == 2
    assert sleeping.wake(store, asleep, "Bulk", 3) == 0  # somebody else asked meanwhile
    asleep = sleeping.asleep(store, ALL)
    assert [each.under_way for each in asleep] == [True, True]
    assert sleeping.wake(store, asleep, "Bulk", 3) == 0
    assert sleeping.wait(store, asleep, 60, 1) == []
    assert sleeping.asleep(store, ALL) == []
    assert store.read("deep", 0, 4) == b"body"


def test_waiting_ends_with_its_time(store):
    """And says what still sleeps."""
    asleep = sleeping.asleep(store, ALL)
    sleeping.wake(store, asleep[:1], "Bulk", 3)
    begun = store.clock.seconds
    assert [each.key for each in sleeping.wait(store, asleep, 10, 4)] == ["deep"]
    assert store.clock.seconds - begun == 10
    assert sleeping.wait(store, [], 10, 4) == []
    assert store.clock.seconds - begun == 10


def test_waiting_ends_with_a_stop(store):
    """Between two looks; what was asked for is paid for and comes, so nothing is said to be undone."""
    asleep = sleeping.asleep(store, ALL)
    store.stop.request("for a test")
    with pytest.raises(Stopped, match="The thaw continues in S3"):
        sleeping.wait(store, asleep, THAWING * 100, 1)


def test_an_object_that_is_missing_is_no_sleeper(store):
    """It would be waited for in vain."""
    with pytest.raises(Corrupt, match="missing"):
        sleeping.asleep(store, [("gone", "")])


@pytest.mark.parametrize(
    ("keys", "tier", "said"),
    [
        (["cold"], "Expedited", "1 to 5 minutes"),
        (["cold"], "Standard", "3 to 5 hours"),
        (["cold", "deep"], "Standard", "12 hours"),
        (["cold", "deep"], "Bulk", "48 hours"),
        ([], "Bulk", ""),
    ],
)
def test_the_slowest_says_how_long_it_takes(store, keys, tier, said):
    """By class and tier, as S3 has it."""
    assert sleeping.takes(sleeping.asleep(store, [(key, "") for key in keys]), tier) == said


def test_a_tier_that_a_class_does_not_have_is_refused(store):
    """With those that it has, before anything is asked for."""
    with pytest.raises(Refused, match="only with Standard, Bulk"):
        sleeping.takes(sleeping.asleep(store, ALL), "Expedited")


def rule(tag="GLACIER", to="GLACIER", days=1, prefix=None, status="Enabled", **more):
    """A lifecycle rule, as the bucket returns it."""
    chosen = {"Tag": {"Key": sleeping.TAG, "Value": tag}} if tag else {}
    if prefix is not None or more:
        chosen = {"And": {"Tags": [chosen["Tag"]] if tag else [], **({"Prefix": prefix} if prefix is not None else {}), **more}}
    return {"ID": "nightly", "Status": status, "Filter": chosen, "Transitions": [{"Days": days, "StorageClass": to}]}


@pytest.mark.parametrize(
    ("there", "moves"),
    [
        (rule(), True),
        (rule(prefix="some/"), True),
        (rule(ObjectSizeGreaterThan=128 * 1024), True),
        (rule(prefix="other/"), False),
        (rule(status="Disabled"), False),
        (rule(days=0), False),  # before it is validated
        (rule(tag="DEEP_ARCHIVE"), False),
        (rule(to="DEEP_ARCHIVE"), False),
        (rule(tag=""), False),
        (rule(ObjectSizeGreaterThan=1 << 20), False),
        (rule(ObjectSizeLessThan=1 << 30), False),
    ],
)
def test_the_rule_that_moves_archives_has_to_take_them_all(store, there, moves):
    """Those with our tag, of any size worth moving, after they were validated."""
    store.client.rules = [there]
    if moves:
        sleeping.check_rule(store, "some/", "GLACIER")
    else:
        with pytest.raises(Refused, match=r"no lifecycle rule that moves objects tagged coldstore\.ebs:class=GLACIER"):
            sleeping.check_rule(store, "some/", "GLACIER")


def test_a_class_that_is_read_at_once_needs_no_rule(store):
    """Nor is the bucket asked for any."""
    sleeping.check_rule(store, "", "GLACIER_IR")
    assert "GetBucketLifecycleConfiguration" not in store.client.calls
    with pytest.raises(Refused):
        sleeping.check_rule(store, "", "GLACIER")  # there is no rule at all


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (rule(tag=""), True),
        (rule(tag="", prefix="so"), True),
        (rule(tag="", prefix="some/vol-1/"), True),
        (rule(tag="", prefix="other/"), False),
        (rule(tag="", to="GLACIER_IR"), False),
        (rule(tag="", status="Disabled"), False),
        (rule(), False),
    ],
)
def test_a_rule_that_takes_manifests_along_is_named(store, there, named):
    """Before, to warn of it; and afterwards, when one of them sleeps."""
    store.client.rules = [there]
    assert ("lifecycle rule nightly of bucket b" in sleeping.takes_along(store, "some/")) == named
    with pytest.raises(Asleep) as raised, sleeping.kept_awake(store, "some/vol-1/a.manifest.json"):
        raise Asleep("it sleeps")
    assert ("Lifecycle rule nightly" in raised.value.advice) == named
