# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2: the queue, and temporary volumes, against the strict lab."""

import uuid
from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud import attach, identity, queue, volumes
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.calls import Calls, attachment_of, device_name_of
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Lost, Permanent, Refused, Stopped, Unfit
from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE, Holder
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from botocore.exceptions import ClientError


@pytest.fixture
def calls(lab):
    return Calls(lab.ec2, Stop(), timeout=20, pause=0.05)


def wish(snapshot_id, form="tar"):
    return attach.Wish(snapshot_id, form)


def ignore(volume_id):
    """A host without udev."""


def instance(lab):
    return lab.state["instance_id"]


def test_a_volume_is_made_attached_used_again_and_removed(lab, calls, snapshot):
    """The ordinary life of one; the second call changes nothing."""
    snap = snapshot()
    with attach.attached(calls, wish(snap), instance(lab), ignore) as first:
        assert first.changed
    with attach.attached(calls, wish(snap), instance(lab), ignore) as second:
        assert (second.volume_id, second.changed) == (first.volume_id, False)
    described = lab.ec2.describe_volumes(VolumeIds=[first.volume_id])["Volumes"][0]
    assert described["VolumeType"] == "gp3"
    mapping = lab.ec2.describe_instances(InstanceIds=[instance(lab)])["Reservations"][0]["Instances"][0]["BlockDeviceMappings"]
    assert [m["Ebs"]["DeleteOnTermination"] for m in mapping if m["Ebs"]["VolumeId"] == first.volume_id] == [True]
    assert volumes.absent(calls, first.volume_id, check=True)
    assert volumes.absent(calls, first.volume_id)
    assert not volumes.absent(calls, first.volume_id)
    assert volumes.find(calls, snap) == []


def test_lanes_of_one_instance_get_different_device_names(lab, calls, snapshot):
    """Also when another takes the name between looking and asking."""
    seen = []
    real = lab.ec2.attach_volume

    class Racing:
        def __getattr__(self, name):
            return getattr(lab.ec2, name)

        def attach_volume(self, **arguments):
            if not seen:
                seen.append(arguments["Device"])
                other = lab.ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1)["VolumeId"]
                lab.ec2.get_waiter("volume_available").wait(VolumeIds=[other], WaiterConfig={"Delay": 1})
                real(VolumeId=other, InstanceId=arguments["InstanceId"], Device=arguments["Device"])
                seen.append(other)
            return real(**arguments)

    racing = Calls(Racing(), Stop(), timeout=20, pause=0.05)
    try:
        with attach.attached(racing, wish(snapshot()), instance(lab), ignore) as mine:
            assert mine.attached_as != seen[0]
        volumes.absent(calls, mine.volume_id)
    finally:
        calls.wait("attached", lambda: attachment_of(calls, seen[1]) == "attached")
        lab.ec2.detach_volume(VolumeId=seen[1])
        lab.ec2.delete_volume(VolumeId=seen[1])


@pytest.fixture
def full(lab):
    """The instance takes no volume more."""
    described = lab.ec2.describe_instances(InstanceIds=[instance(lab)])["Reservations"][0]["Instances"][0]
    lab.call("places", len(described["BlockDeviceMappings"]))
    yield
    lab.call("places", 27)


def test_a_worker_that_takes_no_more_volumes_is_unfit_and_leaves_none(lab, calls, snapshot, full):
    """Another may; it is no failure of the snapshot."""
    snap = snapshot()
    with pytest.raises(Unfit, match="AttachmentLimitExceeded") as raised:
        with attach.attached(calls, wish(snap), instance(lab), ignore):
            pass
    assert "fewer lanes" in str(raised.value)
    assert volumes.find(calls, snap) == []


def test_a_new_volume_stays_if_its_snapshot_is_gone_when_attaching_fails(lab, calls, snapshot):
    """It may be the last copy, and the error names it."""
    snap = snapshot()
    with pytest.raises(Stopped) as raised:
        with attach.attached(calls, wish(snap), instance(lab), ignore) as made:
            lab.ec2.delete_snapshot(SnapshotId=snap)
            raise Stopped("for a test")
    assert raised.value.facts["left_behind"] == f"{made.volume_id} ({snap} is gone from EC2)"
    assert [each["VolumeId"] for each in volumes.find(calls, snap)] == [made.volume_id]
    volumes.absent(calls, made.volume_id)


def test_a_worker_without_a_free_device_name_is_unfit(lab, calls, snapshot, monkeypatch):
    """All of those that AWS recommends are taken."""
    snap = snapshot()
    monkeypatch.setattr(attach, "_LETTERS", "")
    with pytest.raises(Unfit, match="no device name is free"):
        with attach.attached(calls, wish(snap), instance(lab), ignore):
            pass
    assert volumes.find(calls, snap) == []


def test_a_volume_is_announced_before_it_is_attached(lab, calls, snapshot):
    """udev has to know of it before its disk appears; not again while it stays attached."""
    snap = snapshot()
    states = []

    def announce(volume_id):
        states.append(device_name_of(calls, volume_id))

    for _time in range(2):
        with attach.attached(calls, wish(snap), instance(lab), announce) as volume:
            pass
    assert states == [""]
    volumes.absent(calls, volume.volume_id)


def test_a_failure_after_creation_removes_the_volume(lab, calls, snapshot):
    """No device in time, say: nothing is left that costs money."""
    snap = snapshot()
    with pytest.raises(Permanent, match="no device"):
        with attach.attached(calls, wish(snap), instance(lab), ignore):
            raise Permanent("no device")
    assert volumes.find(calls, snap) == []


def test_a_volume_whose_key_may_not_be_used_is_known_as_soon_as_it_is_gone(lab, calls, snapshot):
    """EC2 makes it, and lets it vanish without a word: the key is named, with what has to be allowed."""
    snap, key = snapshot(), "arn:aws:kms:eu-central-1:999999999999:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    lab.call("state", {"snapshot_id": snap, "set": {"encrypted": True, "kms_key_id": key, "lab_key_denied": True}})
    calls.timeout = 600
    for wanted, named in ((wish(snap), [key]), (replace(wish(snap), kms_key_id="alias/mine"), [key, "alias/mine"])):
        with pytest.raises(Refused) as caught:
            with attach.attached(calls, wanted, instance(lab), ignore):
                pass
        for word in (*named, "kms:CreateGrant", "kms:Decrypt"):
            assert word in str(caught.value)
        assert caught.value.facts["snapshot"] == snap
        assert "left_behind" not in caught.value.facts
    assert volumes.find(calls, snap) == []


def test_a_volume_that_is_not_to_be_seen_yet_is_waited_for(lab, calls, snapshot):
    """EC2 needs a moment to know everywhere what it has made."""
    snap, blind = snapshot(), [3]

    class Late:
        def __getattr__(self, name):
            return getattr(lab.ec2, name)

        def describe_volumes(self, **arguments):
            if blind[0] and "VolumeIds" in arguments:
                blind[0] -= 1
                arguments["VolumeIds"] = ["vol-0000000000000dead"]
            return lab.ec2.describe_volumes(**arguments)

    calls.client = Late()
    with attach.attached(calls, wish(snap), instance(lab), ignore) as volume:
        assert blind == [0]
    calls.client = lab.ec2
    volumes.absent(calls, volume.volume_id)


def test_a_volume_that_somebody_deletes_is_not_waited_for(lab, calls, snapshot):
    """Neither before it is attached nor after."""
    snap = snapshot()
    calls.timeout = 600

    class Deleting:
        def __getattr__(self, name):
            return getattr(lab.ec2, name)

        def attach_volume(self, **arguments):
            lab.ec2.delete_volume(VolumeId=arguments["VolumeId"])
            return {}

    calls.client = Deleting()
    with pytest.raises(Permanent, match="the volume is gone"):
        with attach.attached(calls, wish(snap), instance(lab), ignore):
            pass


def test_a_stop_while_waiting_removes_the_volume(lab, snapshot):
    """The clearing up runs without the stop that caused it."""
    snap, stop = snapshot(), Stop()
    calls = Calls(lab.ec2, stop, timeout=20, pause=0.05)

    class Stopping:
        def __getattr__(self, name):
            return getattr(lab.ec2, name)

        def attach_volume(self, **arguments):
            reply = lab.ec2.attach_volume(**arguments)
            stop.request("for a test")
            return reply

    calls.client = Stopping()
    with pytest.raises(Stopped):
        with attach.attached(calls, wish(snap), instance(lab), ignore):
            pass
    assert volumes.find(Calls(lab.ec2, Stop()), snap) == []


def test_a_volume_without_our_tag_is_never_touched(lab, calls):
    """Somebody's data is not ours to detach."""
    other = lab.ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1)["VolumeId"]
    with pytest.raises(Refused, match="not a temporary volume"):
        volumes.absent(calls, other)
    assert lab.ec2.describe_volumes(VolumeIds=[other])["Volumes"]
    lab.ec2.delete_volume(VolumeId=other)


def test_a_volume_that_was_mounted_is_not_used_for_an_image(lab, calls, snapshot):
    """Its journal may have been replayed."""
    snap = snapshot()
    with attach.attached(calls, wish(snap, "image"), instance(lab), ignore) as first:
        volumes.mark_mounted(calls, first.volume_id)
    assert volumes.was_mounted(calls, first.volume_id)
    assert attach.usable(calls, wish(snap, "image"), instance(lab)) is None
    volumes.absent(calls, first.volume_id)


def test_a_snapshot_or_instance_that_is_missing_is_refused(lab, calls, snapshot):
    """In one sentence, with nothing made."""
    with pytest.raises(Refused, match="snap-0000000000000dead does not exist"):
        with attach.attached(calls, wish("snap-0000000000000dead"), instance(lab), ignore):
            pass
    with pytest.raises(Refused, match="instance i-0123456789abcdef0"):
        with attach.attached(calls, wish(snapshot()), "i-0123456789abcdef0", ignore):
            pass


def test_the_queue_lists_what_waits_before_what_is_worked_on(lab, snapshot):
    """By tag; nothing else."""
    tag = uuid.uuid4().hex
    working, waiting, _done = snapshot(tags={tag: "migrating"}), snapshot(tags={tag: "migrate"}), snapshot(tags={tag: "migrated"})
    found = queue.waiting(lab.ec2, tag, "migrate", Stop())
    assert [each.snapshot.snapshot_id for each in found] == [waiting, working]
    assert found[0].snapshot.start_time == "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("purpose", "last"),
    [("migrate", ["migrating", "migrated", "validating", "validated"]), ("validate", ["validating", "validated"])],
)
def test_of_a_list_those_that_are_done_come_last(lab, snapshot, purpose, last):
    """A thousand snapshots would else have their claims read half a million times. What waits keeps the list's order."""
    tag = uuid.uuid4().hex
    ids = {
        mark: snapshot(tags={tag: mark} if mark else {})
        for mark in ("validated", "validating", "migrated", "migrating", "migrate", "failed", "")
    }
    found, missing = queue.listed(lab.ec2, ids.values(), tag, purpose, Stop())
    assert [each.mark for each in found] == [*(mark for mark in ids if mark not in last), *last]
    assert missing == {}


def test_of_a_list_those_that_cannot_be_had_are_named_and_end_nothing(lab, snapshot):
    """Missing, and of another account, among more than a filter holds."""
    mine, other = snapshot(), snapshot(owner="999999999999")
    strangers = [f"snap-{number:017x}" for number in range(0xD00, 0xDFF)]
    found, missing = queue.listed(lab.ec2, [*strangers, other, mine], "t", "migrate", Stop())
    assert [each.snapshot.snapshot_id for each in found] == [mine]
    assert missing.keys() == {*strangers, other}
    assert "belongs to account 999999999999" in str(missing[other])
    assert "does not exist in this region" in str(missing[strangers[-1]])


def test_more_snapshots_than_a_page_are_found():
    """Every page is asked for, an empty one too."""
    pages = [{"Snapshots": [], "NextToken": "a"}, {"Snapshots": [], "NextToken": "b"}, {"Snapshots": []}]
    asked = []

    class Paged:
        def describe_snapshots(self, **arguments):
            asked.append(arguments.get("NextToken"))
            return pages[len(asked) - 1]

    assert queue.waiting(Paged(), "t", "migrate", Stop()) == []
    assert asked == [None, "a", "b"]


def test_snapshots_that_cannot_be_read_are_refused(lab, snapshot):
    """Missing, of another account, pending, archived: each with what to do."""
    other = snapshot(owner="999999999999")
    with pytest.raises(Refused, match="belongs to account 999999999999"):
        queue.one(lab.ec2, other, "t", Stop())
    with pytest.raises(Refused, match="does not exist in this region"):
        queue.one(lab.ec2, "snap-0000000000000dead", "t", Stop())
    mine = snapshot()
    lab.call("state", {"snapshot_id": mine, "set": {"status": "error"}})
    with pytest.raises(Permanent, match="error, not completed"):
        queue.readable(queue.one(lab.ec2, mine, "t", Stop()))
    for change, words in (({"status": "pending"}, "pending, not completed"), ({"storage_tier": "archive"}, "archive tier")):
        before = {"status": "completed", "storage_tier": "standard"}
        lab.call("state", {"snapshot_id": mine, "set": change})
        with pytest.raises(Refused, match=words):
            queue.readable(queue.one(lab.ec2, mine, "t", Stop()))
        lab.call("state", {"snapshot_id": mine, "set": before})


def test_tags_mirror_and_a_failure_to_is_a_warning(lab, snapshot):
    """A claim stands whatever its tags say."""
    mine = snapshot(tags={"q": "migrate"})
    assert queue.mirror(lab.ec2, mine, "q", "failed", "r" * 300) is None
    tags = {t["Key"]: t["Value"] for t in lab.ec2.describe_snapshots(SnapshotIds=[mine])["Snapshots"][0]["Tags"]}
    assert tags == {"q": "failed", "q-reason": "r" * 256}
    assert queue.mirror(lab.ec2, mine, "q", "migrating") is None
    tags = {t["Key"]: t["Value"] for t in lab.ec2.describe_snapshots(SnapshotIds=[mine])["Snapshots"][0]["Tags"]}
    assert tags == {"q": "migrating"}

    class Denied:
        def create_tags(self, **_arguments):
            raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "CreateTags")

    assert "ec2:CreateTags is denied" in queue.mirror(Denied(), mine, "q", "migrated")


def test_a_snapshot_that_is_gone_has_no_tags_to_show(lab):
    """And nobody is warned of that."""
    assert queue.mirror(lab.ec2, "snap-0000000000000dead", "q", "migrated") is None


def test_any_reason_can_be_mirrored(lab, snapshot):
    """Names of files hold what they like: the state is shown all the same, in one line that can be read again."""
    mine = snapshot(tags={"q": "migrating"})
    assert queue.mirror(lab.ec2, mine, "q", "failed", "bad\x00file\x1b[31m\n\udcff" + "😀" * 200) is None
    tags = {t["Key"]: t["Value"] for t in lab.ec2.describe_snapshots(SnapshotIds=[mine])["Snapshots"][0]["Tags"]}
    assert tags == {"q": "failed", "q-reason": "bad file [31m  " + "😀" * 120}


@pytest.mark.parametrize("wrong", [{"aws:mine": "1"}, {"k" * 129: "1"}, {"k": "v" * 257}, {"k": "\x01"}])
def test_tags_that_ec2_refuses_are_refused_before_a_volume_is_made(lab, snapshot, wrong):
    """With what is allowed."""
    mine = snapshot()
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        lab.ec2.create_tags(Resources=[mine], Tags=[{"Key": key, "Value": value} for key, value in wrong.items()])
    assert "not a tag that EC2 accepts" in lab.module("ebs_temp_volume", snapshot_id=mine, volume_tags=wrong)["msg"]
    assert lab.volumes() == []


@pytest.mark.parametrize("tag", ["aws:queue", "q" * 122, "two\nlines"])
def test_a_queue_tag_that_ec2_would_refuse_is_refused_at_once(lab, tag):
    """Also where only the companion, which says why something failed, would be too long."""
    assert "not a tag that EC2 accepts" in lab.module("snapshot_claim", bucket="not looked at", tag=tag)["msg"]


def test_an_instance_knows_itself_by_imdsv2(lab, monkeypatch):
    """And elsewhere it is refused, with what to do."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", lab.state["endpoint"])
    assert identity.this_instance().instance_id == instance(lab)
    assert identity.this_instance().zone == "eu-central-1a"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Refused, match="or give instance_id"):
        identity.this_instance()


def lane_of(claim, token):
    return FREE._replace(holder=Holder(claim, token))


def test_a_volume_is_used_again_under_the_same_claim_only_and_then_is_its_next_holders(lab, calls, snapshot):
    """Whoever made it under that claim before is told whose it is, and removes nothing."""
    snap = snapshot()
    one, two, other = lane_of("b/claims/s.json", "one"), lane_of("b/claims/s.json", "two"), lane_of("c/claims/s.json", "three")
    made = []
    for lane in (one, other, FREE, two):
        with attach.attached(calls, wish(snap), instance(lab), ignore, lane) as volume:
            made.append(volume.volume_id)
    first, others, by_hand, second = made
    assert len({first, others, by_hand}) == 3
    assert first == second
    assert volumes.made_under(calls, first) == (snap, two.holder)
    for lane in (one, other, FREE):
        with pytest.raises(Lost, match=r"under the claim b/claims/s\.json"):
            volumes.absent(calls, first, lane)
    assert [volumes.removable(calls, snap, lane.holder) for lane in (one, two, other, FREE)] == [[], [first], [others], [by_hand]]
    for volume_id, lane in ((first, two), (others, other), (by_hand, FREE)):
        assert volumes.absent(calls, volume_id, lane)


def test_who_lost_the_claim_makes_and_removes_nothing(lab, calls, snapshot):
    """Told so by the renewal, before anything is done."""
    snap = snapshot()
    mine = lane_of("b/claims/s.json", "one")

    def gone():
        raise Lost("the claim is not ours any more")

    guest = mine._replace(renew=gone)
    with pytest.raises(Lost), attach.attached(calls, wish(snap), instance(lab), ignore, guest):
        pass
    assert volumes.find(calls, snap) == []
    with pytest.raises(Permanent) as raised, attach.attached(calls, wish(snap), instance(lab), ignore, mine) as volume:
        guest_now = mine._replace(renew=gone)
        with pytest.raises(Lost):
            volumes.absent(calls, volume.volume_id, guest_now)
        assert attachment_of(calls, volume.volume_id) == "attached"
        raise Permanent("for a test")
    assert "left_behind" not in raised.value.facts
    assert volumes.find(calls, snap) == []


def test_a_claim_of_a_long_prefix_fits_into_a_tag():
    """And is told from another that begins alike."""
    long = ["b/" + "p" * 900 + name for name in ("1", "2")]
    values = [volumes.claim_value(each) for each in long]
    assert max(map(len, values)) == 256
    assert len(set(values)) == 2
    assert volumes.claim_value(values[0]) == values[0]
    assert volumes.claim_value("b/claims/s.json") == "b/claims/s.json"
