# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills, stops, lost claims and failures in the middle: what is left, and how the next run ends."""

import signal
import time

import pytest
from conftest import result_of

SEED = "unknown"


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def claim(lab, bucket, snapshot_id, **options):
    return lab.ok("snapshot_claim", bucket=bucket, snapshot_ids=[snapshot_id], **options)


@pytest.fixture
def volume(lab, seeds):
    made = lab.attach(seeds[SEED], format="image")
    yield made
    lab.detach(made["volume_id"])


@pytest.fixture
def busy(lab, bucket, volume, seeds):
    """A function that begins an archive and returns once the request that matches `path` has reached a slow S3."""
    started = []

    def begin(path, seconds=3.0, **options):
        rule = {"method": options.pop("method", "PUT"), "path": path, "action": "delay", "seconds": seconds, "times": 99}
        lab.call("faults", [rule])
        process = lab.start_module(
            "snapshot_archive_s3",
            bucket=bucket,
            snapshot_id=seeds[SEED],
            volume_id=volume["volume_id"],
            compression="lz4",
            **options,
        )
        started.append(process)
        wait_for(lambda: lab.call("faults")["hits"] or process.poll() is not None)
        return process

    yield begin
    lab.call("faults", [])
    for process in started:
        process.kill()
        process.communicate()


def finish(lab, bucket, seeds, volume):
    """The rerun after a kill: archives and validates, and leaves nothing but the archive."""
    result = lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds[SEED], volume_id=volume["volume_id"], compression="lz4")
    receipt = lab.ok("snapshot_validate", bucket=bucket, snapshot_id=seeds[SEED], level="full", volume_id=volume["volume_id"])
    assert receipt["result"] == "equal"
    assert lab.uploads(bucket) == []
    assert not [key for key in lab.keys(bucket) if ".journal/" in key]
    return result


@pytest.mark.parametrize(
    ("stage", "method", "path"),
    [
        ("while parts are sent", "PUT", "partNumber=1"),
        ("while the journal is written", "PUT", "journal/00001"),
        ("before the index", "PUT", "index.zst"),
        ("before completion", "POST", "uploadId="),
        ("before the manifest", "PUT", "manifest.json"),
    ],
)
def test_a_rerun_after_kill_9_ends_well(lab, bucket, seeds, volume, busy, stage, method, path):
    """At every stage: one archive, whole, validated; no upload or journal left."""
    process = busy(path, method=method)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    lab.call("faults", [])
    time.sleep(3.2)  # what the killed run had sent is still on its way through the slow S3
    finish(lab, bucket, seeds, volume)


def test_a_rerun_does_not_send_again_what_is_there(lab, bucket, seeds, volume, busy):
    """The journal says which parts hold which frames, so finished parts are neither read nor sent again."""
    process = busy("uploadId=", method="POST")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(3.2)
    with lab.faults({"method": "PUT", "path": "partNumber=", "action": "delay", "seconds": 0, "times": 99}) as hits:
        finish(lab, bucket, seeds, volume)
        assert hits() == []


def tags(lab, snapshot_id):
    found = lab.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
    return {pair["Key"]: pair["Value"] for pair in found["Tags"]}


@pytest.mark.parametrize(
    ("number", "method", "path"),
    [
        (signal.SIGINT, "PUT", "partNumber=1"),
        (signal.SIGTERM, "POST", "uploads"),
        (signal.SIGHUP, "PUT", "journal/00000"),
    ],
)
def test_a_signal_ends_the_job_in_order(lab, bucket, seeds, volume, busy, number, method, path):
    """Upload aborted, claim given back without counting an attempt, its tag too, volume removed, reason told."""
    taken = claim(lab, bucket, seeds[SEED])
    assert tags(lab, seeds[SEED])["snap-to-s3"] == "migrating"
    process = busy(path, method=method, seconds=1.0, claim=taken["claim"])
    process.send_signal(number)
    process.send_signal(number)  # a second one does not interrupt the clearing up
    result = result_of(process)
    assert result["failed"]
    assert number.name in result["msg"]
    assert lab.uploads(bucket) == []
    assert [key for key in lab.keys(bucket) if not key.startswith("claims/")] == []
    assert volume["volume_id"] not in lab.volumes()
    assert tags(lab, seeds[SEED])["snap-to-s3"] == "migrate"
    assert number.name in tags(lab, seeds[SEED])["snap-to-s3-reason"]
    again = claim(lab, bucket, seeds[SEED])
    assert (again["claimed"], again["attempts"]) == (True, 1)


def test_a_closed_output_is_a_stop(lab, bucket, seeds, volume, busy):
    """Over pipelined ssh no signal arrives when the controller goes away."""
    process = busy("partNumber=1", seconds=2.5)
    process.stdout.close()
    assert process.wait(30) is not None
    assert lab.uploads(bucket) == []
    assert volume["volume_id"] not in lab.volumes()


def test_a_removal_is_finished_though_nobody_listens_any_more(lab, volume):
    """Half of it leaves a volume to pay for; the stop is reported all the same."""
    with lab.faults({"method": "POST", "path": r"^/\?$", "action": "delay", "seconds": 0.7, "times": 99}) as struck:
        process = lab.start_module("ebs_temp_volume", state="absent", volume_id=volume["volume_id"], poll_interval=0.1)
        wait_for(struck)
        process.stdout.close()
        assert process.wait(60) != 0
    assert volume["volume_id"] not in lab.volumes()


def test_a_claim_is_given_back_without_ec2(lab, bucket, snapshot):
    """The snapshot was deleted meanwhile; its tags cannot show it any more, and nothing else needs EC2."""
    gone = snapshot()
    taken = claim(lab, bucket, gone)
    lab.ec2.delete_snapshot(SnapshotId=gone)
    given = lab.ok("snapshot_claim", bucket=bucket, state="released", snapshot_id=gone, claim=taken["claim"], reason="gone")
    assert (given["result"], given["snapshot"]["volume_id"]) == ("free", taken["snapshot"]["volume_id"])
    assert "warnings" not in given


def test_an_upload_aborted_under_us_is_begun_again_once(lab, bucket, seeds, volume, busy):
    """By a lifecycle rule, or an operator."""
    process = busy("partNumber=1", seconds=1.0)
    for upload in lab.uploads(bucket):
        lab.s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    lab.call("faults", [])
    result = result_of(process)
    assert result["changed"], result
    finish(lab, bucket, seeds, volume)


def test_a_spool_that_fills_up_leaves_nothing_behind(lab, bucket, seeds, tmp_path):
    """The index does not fit: an error that says so; what was sent waits for a run with more room."""
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=65m", "tmpfs", small], check=True)
    try:
        (small / "filler").write_bytes(bytes(500_000))
        attached = lab.attach(seeds["awkward"])
        busy_disk = subprocess.Popen(
            ["sh", "-c", f"sleep 1.2; head -c 80000000 /dev/zero > {small}/more"], stderr=subprocess.DEVNULL
        )
        lab.call("faults", [{"method": "PUT", "path": "partNumber=1", "action": "delay", "seconds": 4, "times": 9}])
        result = lab.module(
            "snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["awkward"], volume_id=attached["volume_id"], spool=str(small)
        )
        lab.call("faults", [])
        busy_disk.wait()
        assert result["failed"]
        assert "No space left" in result["msg"] or "bytes free" in result["msg"]
        assert not [key for key in lab.keys(bucket) if "/" in key and ".journal/" not in key]
        assert "the next run continues" in result["msg"] or lab.uploads(bucket) == []
        lab.detach(attached["volume_id"])
    finally:
        subprocess.run(["umount", small], check=True)
