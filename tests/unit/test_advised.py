# SPDX-License-Identifier: GPL-3.0-or-later
"""What was advised goes with the snapshot: tags are set, checked, obeyed, carried by the claim, and gone once it is done."""

from dataclasses import replace
from datetime import date, datetime, timezone

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.questions import Access
from ansible_collections.coldstore.ebs.plugins.module_utils.common import advised
from ansible_collections.coldstore.ebs.plugins.module_utils.common.advised import Advice
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import Estate, Known
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import advice, lineage, prices, reports
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import labels
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import applying, obeying
from bills import Bill
from botocore.exceptions import ClientError
from fakes import SNAPSHOT

KEY = f"claims/{SNAPSHOT.snapshot_id}.json"
RULE = {
    "ID": "sleep", "Status": "Enabled", "Filter": {"Tag": {"Key": "coldstore.ebs:class", "Value": "DEEP_ARCHIVE"}},
    "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}],
}  # fmt: skip


@pytest.fixture
def store(timed):
    return timed


def tagged(number=1, **said):
    tags = {advised.tag_of("q", field): value for field, value in said.items()}
    return replace(SNAPSHOT, snapshot_id=f"snap-{number}", tags={"q": "migrate", "Name": "db", **tags})


def terms(store, run="run1", obeys=True, validate_first=False, storage_class="STANDARD"):
    obeying_run = obeying.Run("", "q", storage_class, validate_first, obeys)
    return claims.Terms("one", run, lease=100, advice=obeying.Obedience(store, obeying_run))


def refuse(code):
    def before(operation, arguments):
        if operation == "CreateMultipartUpload" and arguments["StorageClass"] == "GLACIER_IR":
            error = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(error, "CreateMultipartUpload")

    return before


def test_a_claim_says_what_the_snapshot_says(store):
    """And nothing where it says nothing: then it is as the run says."""
    assert claims.take(store, "claims/1", tagged(storage_class="GLACIER_IR", format="image"), terms(store)).advice == {
        "storage_class": "GLACIER_IR", "format": "image",
    }  # fmt: skip
    assert claims.take(store, "claims/2", tagged(format="tar"), terms(store)).advice == {"format": "tar"}
    assert claims.take(store, "claims/3", tagged(), terms(store)).advice == {}
    assert claims.take(store, "claims/4", tagged(storage_class="GLACIER_IR"), terms(store, obeys=False)).advice == {}
    assert store.client.keys("b") == [f"claims/{number}" for number in (1, 2, 3, 4)]  # nothing is left of the tries


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"storage_class": "FROZEN"}, "q-storage-class says 'FROZEN'. It has to be one of STANDARD, "),
        ({"storage_class": ""}, "q-storage-class says ''"),
        ({"format": "delta"}, "q-format says 'delta'. It has to be one of tar, image"),
        ({"storage_class": "GLACIER_IR"}, "q-storage-class says GLACIER_IR, but the bucket does not accept"),
    ],
)
def test_what_cannot_be_done_is_passed_over_and_the_next_is_claimed(store, said, words):
    """Named, with what to do; nothing is claimed, and none of its attempts is spent."""
    store.client.before = refuse("InvalidStorageClass")
    wrong, right = tagged(1, **said), tagged(2, storage_class="STANDARD_IA")
    held, passed = claims.take_first(store, "", [wrong, right], terms(store))
    assert (held.origin.snapshot_id, held.advice) == ("snap-2", {"storage_class": "STANDARD_IA"})
    assert words in passed.unusable["snap-1"]
    assert "coldstore_obey_advice" in passed.unusable["snap-1"]
    assert store.client.keys("b") == ["claims/snap-2.json"]
    found, passed = claims.free(store, "", {"snap-1": wrong, "snap-3": tagged(3)}, terms(store))
    assert (found, list(passed.unusable)) == ({"snap-3": {}}, ["snap-1"])


def test_what_is_done_or_taken_need_not_be_possible(store):
    """It is passed over for that, and is no failure."""
    claims.take(store, "claims/snap-1.json", tagged(), terms(store))
    _held, passed = claims.take_first(store, "", [tagged(1, storage_class="FROZEN")], terms(store, "run2"))
    assert (list(passed.taken), passed.unusable) == (["snap-1"], {})


def test_what_is_to_sleep_needs_a_rule_where_it_is_validated_first(store):
    """The rule of its own class; it is asked for once, however many snapshots wait."""
    waiting = {f"snap-{number}": tagged(number, storage_class="DEEP_ARCHIVE") for number in range(5)}
    found, passed = claims.free(store, "", waiting, terms(store, validate_first=True))
    assert found == {}
    assert "has no lifecycle rule that moves objects tagged coldstore.ebs:class=DEEP_ARCHIVE" in passed.unusable["snap-4"]
    assert store.client.calls.count("GetBucketLifecycleConfiguration") == 1
    assert list(claims.free(store, "", waiting, terms(store))[0]) == list(waiting)
    store.client.rules = [RULE]
    assert list(claims.free(store, "", waiting, terms(store, validate_first=True))[0]) == list(waiting)


def test_the_class_of_the_run_was_looked_at_before(store):
    """Preflight has written to it: no snapshot asks again."""
    claims.take(store, "claims/1", tagged(storage_class="GLACIER_IR"), terms(store, storage_class="GLACIER_IR"))
    assert "CreateMultipartUpload" not in store.client.calls


def test_who_takes_over_goes_on_with_the_same_class(store, clock):
    """Half of it may be there. A tag that was corrected counts for what begins anew."""
    claims.take(store, KEY, tagged(storage_class="STANDARD_IA"), terms(store))
    clock.seconds += 101
    other = tagged(storage_class="ONEZONE_IA")
    second = claims.take(store, KEY, other, terms(store, "run2"))
    assert second.advice == {"storage_class": "STANDARD_IA"}
    second.release("failed")
    third = claims.take(store, KEY, other, terms(store, "run3"))
    assert third.advice == {"storage_class": "ONEZONE_IA"}


def test_who_does_not_obey_takes_over_as_its_run_says(store, clock):
    """Somebody has said so."""
    claims.take(store, KEY, tagged(storage_class="STANDARD_IA"), terms(store))
    clock.seconds += 101
    assert claims.take(store, KEY, tagged(), terms(store, "run2", obeys=False)).advice == {}


def test_who_only_validates_hands_it_on(store, clock):
    """Between two lanes that migrate."""
    claims.take(store, KEY, tagged(storage_class="STANDARD_IA"), terms(store))
    clock.seconds += 101
    claims.take(store, KEY, tagged(), claims.Terms("one", "run2", lease=100))
    clock.seconds += 101
    assert claims.take(store, KEY, tagged(), terms(store, "run3")).advice == {"storage_class": "STANDARD_IA"}


def test_who_takes_over_what_was_not_advised_does_so_too(store, clock):
    """A tag that came later is for later."""
    claims.take(store, KEY, tagged(), terms(store))
    clock.seconds += 101
    assert claims.take(store, KEY, tagged(storage_class="STANDARD_IA"), terms(store, "run2")).advice == {}


def test_objects_do_not_carry_what_is_for_the_queue():
    """The manifest has all tags."""
    assert labels.tagging(tagged(storage_class="GLACIER_IR", format="tar").tags, "q", {}) == "Name=db"


class Ec2:
    """Snapshots with tags; `refused`: the error of CreateTags if one of these is among its resources."""

    def __init__(self, tags, **refused):
        self.tags, self.refused, self.calls = tags, refused, []

    def describe_snapshots(self, Filters, **_asked):
        start = datetime(2026, 1, 1, tzinfo=timezone.utc)
        facts = {"VolumeId": "vol-1", "StartTime": start, "VolumeSize": 1, "State": "completed"}
        return {
            "Snapshots": [
                {"SnapshotId": each, "Tags": [{"Key": key, "Value": value} for key, value in self.tags[each].items()], **facts}
                for each in Filters[0]["Values"]
                if each in self.tags
            ]
        }

    def create_tags(self, Resources, Tags):
        self.calls.append(Resources)
        for each in Resources:
            if each in self.refused:
                raise self.refused[each]
        for each in Resources:
            self.tags[each].update({pair["Key"]: pair["Value"] for pair in Tags})


def error(code):
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "CreateTags")


def group(*snapshot_ids, region="a", storage_class="DEEP_ARCHIVE"):
    return {"account": "1", "region": region, "storage_class": storage_class, "format": "tar", "snapshot_ids": list(snapshot_ids)}


def apply(clients, wanted, check=False):
    accesses = [Access("1", region, lambda _service, client=client: client) for region, client in clients.items()]
    return applying.apply(accesses, wanted, "q", check, Stop())


AS_ADVISED = {"q": "migrate", "q-storage-class": "DEEP_ARCHIVE", "q-format": "tar"}


def test_what_is_advised_is_tagged_where_it_is_and_once():
    """More than one filter holds, in two regions; what is gone is left out; a check says the same, and a second run nothing."""
    here, there = Ec2({f"snap-{number}": {} for number in range(450)}), Ec2({"snap-x": {"Name": "db"}})
    wanted = [group(*(f"snap-{number}" for number in range(451))), group("snap-x", region="b", storage_class="GLACIER_IR")]
    foreseen = apply({"a": here, "b": there}, wanted, check=True)
    assert (here.calls, there.calls) == ([], [])
    assert apply({"a": here, "b": there}, wanted) == foreseen
    assert here.tags == {f"snap-{number}": AS_ADVISED for number in range(450)}
    assert there.tags == {"snap-x": {"Name": "db", **AS_ADVISED, "q-storage-class": "GLACIER_IR"}}
    assert (len(here.calls), len(there.calls)) == (3, 1)
    assert apply({"a": here, "b": there}, wanted) == applying.Applied({}, {})


@pytest.mark.parametrize("mark", ["migrate", "migrating", "migrated", "validating", "validated", "failed", "on hold"])
def test_what_has_a_mark_is_left_alone(mark):
    """It waits, is worked on, failed, or is done; no tag of it is touched."""
    there = Ec2({"snap-1": {"q": mark, "q-storage-class": "GLACIER_IR"}})
    assert apply({"a": there}, [group("snap-1")]) == applying.Applied({}, {})
    assert there.tags == {"snap-1": {"q": mark, "q-storage-class": "GLACIER_IR"}}


def test_one_that_cannot_be_tagged_keeps_no_other_from_it():
    """Too many tags; the error names it. What is denied is denied for all of a region, and not tried one by one."""
    full = Ec2({f"snap-{number}": {} for number in range(3)}, **{"snap-1": error("TagLimitExceeded")})
    denied = Ec2({"snap-x": {}, "snap-y": {}}, **{"snap-x": error("UnauthorizedOperation")})
    applied = apply({"a": full, "b": denied}, [group("snap-x", "snap-y", region="b"), group("snap-0", "snap-1", "snap-2")])
    assert list(applied.tags) == ["snap-0", "snap-2"]
    assert sorted(applied.failed) == ["snap-1", "snap-x", "snap-y"]
    assert "TagLimitExceeded" in applied.failed["snap-1"]
    assert "ec2:CreateTags is denied" in applied.failed["snap-y"]
    assert len(denied.calls) == 1


def test_a_region_that_cannot_be_asked_keeps_no_other_from_it():
    """Its snapshots are named, and a stop is a stop."""

    class Away(Ec2):
        def describe_snapshots(self, **_asked):
            raise self.refused["all"]

    denied = ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "DescribeSnapshots")
    there = Ec2({"snap-x": {}})
    applied = apply({"a": Away({}, all=denied), "b": there}, [group("snap-1"), group("snap-x", region="b")])
    assert (list(applied.tags), list(applied.failed)) == (["snap-x"], ["snap-1"])
    with pytest.raises(Stopped):
        apply({"a": Away({}, all=Stopped("now"))}, [group("snap-1")])


def test_the_tags_are_such_as_every_partition_takes():
    """Letters, digits and hyphens, within what a key may have."""
    said = advised.as_tags("snap-to-s3", Advice("DEEP_ARCHIVE", "tar"))
    assert said == {"snap-to-s3-storage-class": "DEEP_ARCHIVE", "snap-to-s3-format": "tar"}
    assert advised.read("snap-to-s3", said) == Advice("DEEP_ARCHIVE", "tar")
    assert set(said) < set(advised.companions("snap-to-s3"))


def plans(tmp_path):
    """Two chains of one snapshot each of 100 GiB, both advised to go to DEEP_ARCHIVE."""
    bill, known = Bill("2026-10"), []
    for number in (1, 2):
        snapshot_id = f"snap-{number:017x}"
        bill.snapshot(snapshot_id, 100 * 2048)
        known.append(Known(Snapshot(snapshot_id, f"vol-{number}", "2026-01-01T00:00:00+00:00", 100), "standard", 100 << 30))
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), date(2026, 11, 21))
    chains = lineage.chains(report, [Estate("111111111111", "us-east-1", known, {}, {})], {}, date(2026, 11, 21))
    return advice.advise(chains, {"us-east-1": prices.table("us-east-1")}, {}, advice.Assumptions(), {})


def test_what_would_be_tagged_is_said_with_its_dollars(tmp_path):
    """100 GiB at $0.05 are $5.00; half of that at $0.00099 is $0.05 a month: $4.95 are saved, of each, and $4.90 if nothing gets smaller."""
    advised_plans = plans(tmp_path)
    (both,) = applying.migrations(advised_plans, "tar")
    assert both["saving_likely"] == pytest.approx(2 * (5 - 0.0495), abs=0.002)
    assert both["saving_least"] == pytest.approx(2 * (5 - 0.099), abs=0.002)
    (one,) = applying.migrations(advised_plans, "tar", {"snap-00000000000000002"})
    assert (one["snapshot_ids"], one["format"], one["storage_class"]) == (["snap-00000000000000002"], "tar", "DEEP_ARCHIVE")
    head, line, dollars, failure = applying.text([one], {"snap-x": "why"}, "USD", check=True)
    assert head == "Would be tagged for migrate.yml"
    assert "DEEP_ARCHIVE, tar: snap-00000000000000002 (us-east-1, account 111111111111)" in line
    assert dollars == "    saves about $4.95 a month once they are deleted, $4.90 to $5.00; costs $1.25 once"
    assert failure == "  not tagged: snap-x: why"
    assert "nothing: " in list(applying.text([], {}, "USD", check=False))[1]


def test_refusals_are_of_this_snapshot_alone(store):
    """S3's answer to the try is not taken for one that ends the queue."""
    store.client.before = refuse("AccessDenied")
    with pytest.raises(Refused) as caught:
        claims.take(store, KEY, tagged(storage_class="GLACIER_IR"), terms(store))
    assert "call" not in caught.value.facts
