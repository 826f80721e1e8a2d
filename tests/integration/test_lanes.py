# SPDX-License-Identifier: GPL-3.0-or-later
"""A lane that sleeps beyond its lease wakes up as a guest: what it made is its successor's, and stays."""

import signal
import time

import pytest
from conftest import result_of

SEED = "unknown"
LEASE = 10  # seconds; a quarter of it before its end a claim counts as lost, and a module takes seconds to start


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


class Lane:
    """One snapshot, by the modules and in the order of the role migrate."""

    def __init__(self, lab, bucket, snapshot_id, **claim):
        self.lab, self.snapshot_id = lab, snapshot_id
        taken = lab.ok("snapshot_claim", bucket=bucket, snapshot_ids=[snapshot_id], tag="lanes", **claim)
        assert taken["claimed"], taken
        self.common = {"bucket": bucket, "snapshot_id": snapshot_id, "claim": taken["claim"], "tag": "lanes"}
        self.volume = ""

    def present(self, **options):
        made = self.lab.ok("ebs_temp_volume", format="image", poll_interval=0.1, **self.common, **options)
        self.volume = made["volume_id"]
        return made

    def archive(self):
        return self.lab.ok("snapshot_archive_s3", volume_id=self.volume, format="image", compression="lz4", **self.common)

    def validate(self):
        return self.lab.ok("snapshot_validate", volume_id=self.volume, level="full", **self.common)

    def absent(self):
        return self.lab.module("ebs_temp_volume", state="absent", poll_interval=0.1, **self.common)

    def settle(self):
        return self.lab.module("snapshot_claim", state="settled", result="validated", **self.common)

    def release(self):
        return self.lab.module("snapshot_claim", state="released", reason="for a test", **self.common)

    def finish(self):
        """From its volume to the end; nothing is left but the archive."""
        assert self.archive()["archives"]
        assert self.validate()["result"] == "equal"
        assert not self.absent().get("failed")
        assert self.settle()["result"] == "validated"
        bucket = self.common["bucket"]
        assert self.lab.uploads(bucket) == []
        assert not [key for key in self.lab.keys(bucket) if ".journal/" in key]
        assert self.volume not in self.lab.volumes()


def clears_up_nothing(lane, mark):
    """What the role does about a failure, done by a guest: each step says whose it is, and nothing changes."""
    before = lane.lab.keys(lane.common["bucket"]), lane.lab.uploads(lane.common["bucket"]), lane.lab.volumes(), tags(lane)
    for result in (lane.absent(), lane.release(), lane.settle()):
        assert (result["failed"], result["kind"]) == (True, "lost"), result
        assert "not ours any more" in result["msg"]
    assert before == (lane.lab.keys(lane.common["bucket"]), lane.lab.uploads(lane.common["bucket"]), lane.lab.volumes(), tags(lane))
    assert tags(lane)["lanes"] == mark


def tags(lane):
    found = lane.lab.ec2.describe_snapshots(SnapshotIds=[lane.snapshot_id])["Snapshots"][0]
    return {pair["Key"]: pair["Value"] for pair in found["Tags"]}


@pytest.fixture
def asleep(lab):
    """A function that has a lane's module sleep until its lease is over; all of them are ended with the test."""
    started = []

    def fall(process, when):
        started.append(process)
        wait_for(when)
        process.send_signal(signal.SIGSTOP)
        time.sleep(LEASE + 1.2)
        return process

    yield fall
    lab.call("faults", [])
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def mine(lab, seeds):
    """The snapshot; no volume of it is left at the end."""
    yield seeds[SEED]
    for each in lab.ec2.describe_volumes(Filters=[{"Name": "tag:coldstore.ebs:snapshot", "Values": [seeds[SEED]]}])["Volumes"]:
        if each["Attachments"]:
            lab.ec2.detach_volume(VolumeId=each["VolumeId"])
        wait_for(lambda volume=each["VolumeId"]: lab.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available")
        lab.ec2.delete_volume(VolumeId=each["VolumeId"])
    lab.ec2.delete_tags(Resources=[seeds[SEED]], Tags=[{"Key": "lanes"}, {"Key": "lanes-reason"}])


def awake(process):
    process.send_signal(signal.SIGCONT)
    result = result_of(process)
    assert (result["failed"], result["kind"]) == (True, "lost"), result
    return result


def test_a_guest_that_was_about_to_attach_leaves_the_volume(lab, bucket, mine, asleep):
    """It made the volume, fell asleep, and its successor has attached it."""
    first = Lane(lab, bucket, mine, lease=LEASE)
    before = set(lab.call("status")["volumes"])
    # Several calls lie between making a volume and attaching it: they take long enough to be seen between.
    lab.call("faults", [{"method": "POST", "path": r"^/\?$", "action": "delay", "seconds": 1, "times": 99}])
    process = lab.start_module("ebs_temp_volume", format="image", poll_interval=0.1, **first.common)
    asleep(process, lambda: set(lab.call("status")["volumes"]) - before)
    lab.call("faults", [])
    second = Lane(lab, bucket, mine, run_id="second")
    second.present()
    assert {second.volume} == set(lab.call("status")["volumes"]) - before
    awake(process)
    clears_up_nothing(first, "migrating")
    second.finish()


def test_a_guest_that_archived_leaves_volume_upload_and_journal(lab, bucket, mine, asleep):
    """Its successor goes on with all three."""
    first = Lane(lab, bucket, mine, lease=LEASE)
    first.present()
    lab.call("faults", [{"method": "PUT", "path": "partNumber=1", "action": "delay", "seconds": 1, "times": 99}])
    process = lab.start_module("snapshot_archive_s3", volume_id=first.volume, format="image", compression="lz4", **first.common)
    asleep(process, lambda: lab.call("faults")["hits"])
    lab.call("faults", [])
    second = Lane(lab, bucket, mine, run_id="second")
    assert not second.present()["changed"]
    assert second.volume == first.volume
    awake(process)
    assert len(lab.uploads(bucket)) == 1
    assert [key for key in lab.keys(bucket) if ".journal/" in key]
    assert not [key for key in lab.keys(bucket) if key.endswith(("lz4", "manifest.json"))]
    clears_up_nothing(first, "migrating")
    second.finish()


def test_a_guest_that_was_about_to_settle_leaves_volume_and_claim(lab, bucket, mine):
    """Everything was done but the last two steps; its successor finds it so, and takes them."""
    first = Lane(lab, bucket, mine, lease=LEASE)
    first.present()
    first.archive()
    first.validate()
    time.sleep(LEASE + 1.2)
    second = Lane(lab, bucket, mine, run_id="second")
    second.present()
    assert second.volume == first.volume
    clears_up_nothing(first, "migrating")
    second.finish()


def test_a_guest_publishes_no_receipt(lab, bucket, mine, asleep):
    """Not even one that would be right: it read a volume that is another lane's."""
    first = Lane(lab, bucket, mine, lease=LEASE)
    first.present()
    first.archive()
    lab.call("faults", [{"method": "GET", "path": "lz4", "action": "delay", "seconds": 1, "times": 99}])
    process = lab.start_module("snapshot_validate", volume_id=first.volume, level="full", **first.common)
    asleep(process, lambda: lab.call("faults")["hits"])
    lab.call("faults", [])
    Lane(lab, bucket, mine, run_id="second").present()
    awake(process)
    assert not [key for key in lab.keys(bucket) if ".receipt." in key]


def test_a_guest_that_is_stopped_leaves_everything(lab, bucket, mine, asleep):
    """Ctrl+C at a lane whose claim another has: the stop clears up nothing."""
    first = Lane(lab, bucket, mine, lease=LEASE)
    first.present()
    lab.call("faults", [{"method": "PUT", "path": "partNumber=1", "action": "delay", "seconds": 1, "times": 99}])
    process = lab.start_module("snapshot_archive_s3", volume_id=first.volume, format="image", compression="lz4", **first.common)
    asleep(process, lambda: lab.call("faults")["hits"])
    lab.call("faults", [])
    Lane(lab, bucket, mine, run_id="second").present()
    process.send_signal(signal.SIGTERM)
    awake(process)
    assert len(lab.uploads(bucket)) == 1
    assert first.volume in lab.volumes()


def test_two_runs_into_two_buckets_have_a_volume_each(lab, bucket, mine):
    """On one instance, of one snapshot: what one of them removes is its own, though it failed and names no volume."""
    one, two = Lane(lab, bucket, mine), Lane(lab, lab.new_bucket(), mine)
    one.present()
    two.present()
    assert one.volume != two.volume
    one.archive()
    assert not one.absent().get("failed")
    assert not one.release().get("failed")
    assert one.volume not in lab.volumes()
    two.finish()


def test_a_volume_under_a_claim_is_not_for_who_has_none(lab, bucket, mine):
    """By hand, without a claim: another volume is made, the lane's stays, whoever asks; and its snapshot is not archived."""
    lane = Lane(lab, bucket, mine)
    lane.present()
    by_hand = lab.attach(mine, format="image")
    assert by_hand["volume_id"] != lane.volume
    lab.ok("ebs_temp_volume", state="absent", snapshot_id=mine, poll_interval=0.1)
    assert by_hand["volume_id"] not in lab.volumes()
    for options in ({}, {"bucket": bucket}, {"bucket": lab.new_bucket()}, {"bucket": bucket, "prefix": "other/"}):
        refused = lab.module("ebs_temp_volume", state="absent", volume_id=lane.volume, poll_interval=0.1, **options)
        assert refused.get("kind") == "lost", (options, refused)
        assert ("holds the claim" in refused["msg"]) is (options == {"bucket": bucket})
    refused = lab.module("snapshot_archive_s3", bucket=bucket, snapshot_id=mine, volume_id=lane.volume, format="image")
    assert "holds the claim" in refused["msg"]
    assert lane.volume in lab.volumes()
    assert not lane.release().get("failed")
    lab.ok("ebs_temp_volume", state="absent", volume_id=lane.volume, bucket=bucket, poll_interval=0.1)
    assert lane.volume not in lab.volumes()


def test_what_one_lane_restores_to_is_no_other_lanes(lab, bucket, mine):
    """Two drills of one snapshot on one instance: two volumes, the second says that the first is there, and each removes its own."""
    asked = {"snapshot_id": mine, "format": "restore", "size": 1, "poll_interval": 0.1}
    one, two = lab.ok("ebs_temp_volume", **asked), lab.ok("ebs_temp_volume", **asked)
    assert one["volume_id"] != two["volume_id"]
    assert one["volume_id"] in str(two["warnings"])
    lane = Lane(lab, bucket, mine)
    lane.present()
    assert not lane.absent().get("failed")
    lab.ok("ebs_temp_volume", state="absent", snapshot_id=mine, poll_interval=0.1)
    lab.detach(one["volume_id"])
    assert two["volume_id"] in lab.volumes()
    lab.detach(two["volume_id"])


def test_a_snapshot_that_is_deleted_meanwhile_is_archived_from_its_volume(lab, bucket, snapshot):
    """It may be the last copy. Validated against the volume, and settled, all without EC2's snapshot."""
    lane = Lane(lab, bucket, snapshot())
    lane.present()
    lab.ec2.delete_snapshot(SnapshotId=lane.snapshot_id)
    lane.finish()
