# SPDX-License-Identifier: GPL-3.0-or-later
"""A btrfs whose snapshots share what they hold goes volume -> archive -> new volume."""

import json
import subprocess
import uuid

import disks
import pytest
from trees import mounted


@pytest.fixture(scope="module")
def snapshot(lab, tmp_path_factory):
    """140 MiB, and eight snapshots of them: as files more than the disk."""
    image = tmp_path_factory.mktemp("btrfs") / "disk.img"
    with open(image, "wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["mkfs.btrfs", "-q", "-U", str(uuid.uuid4()), image], check=True)
    with disks.attached(image) as device, mounted(device, "rw") as root:
        subprocess.run(["btrfs", "subvolume", "create", root / "@"], check=True, capture_output=True)
        (root / "@" / "data").write_bytes(bytes(range(1, 256)) * ((140 << 20) // 255))
        for number in range(8):
            subprocess.run(
                ["btrfs", "subvolume", "snapshot", "-r", root / "@", root / f"{number}"], check=True, capture_output=True
            )
    made = f"snap-{uuid.uuid4().hex[:17]}"
    facts = {"volume_id": f"vol-{uuid.uuid4().hex[:17]}", "size": 1, "start_time": "2017-02-03T00:00:00+00:00", "tags": {}}
    lab.call("snapshot", {"snapshot_id": made, "description": "snapshots", "image": str(image), **facts})
    yield made
    lab.ec2.delete_snapshot(SnapshotId=made)


def body(lab, bucket):
    key = next(key for key in lab.keys(bucket) if key.endswith(".manifest.json"))
    return json.loads(lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read())["body"]


def test_what_snapshots_share_is_not_multiplied(lab, bucket, snapshot):
    """It is an image of what nobody has written to, with the reason; validated, restored and validated again as one."""
    volume = lab.attach(snapshot)
    try:
        before = subprocess.run(["b2sum", volume["device"]], check=True, capture_output=True, text=True).stdout
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=snapshot, volume_id=volume["volume_id"])
        assert subprocess.run(["b2sum", volume["device"]], check=True, capture_output=True, text=True).stdout == before
        asked = {"bucket": bucket, "snapshot_id": snapshot}
        assert lab.ok("snapshot_validate", level="full", volume_id=volume["volume_id"], **asked)["result"] == "equal"
    finally:
        lab.detach(volume["volume_id"])
    there = body(lab, bucket)
    assert there["format"] == "tar"
    assert [(each["format"], each["raw_size"]) for each in there["archives"]] == [("image", 1 << 30)]
    assert "snapshots or reflinks share them, and would not fit" in there["disk"]["filesystems"][0]["reason"]
    fresh = lab.attach(snapshot, format="restore", size=1)
    try:
        done = lab.ok("snapshot_restore", volume_id=fresh["volume_id"], **asked)
        assert subprocess.run(["b2sum", done["device"]], check=True, capture_output=True, text=True).stdout.split()[0] in before
        assert lab.ok("snapshot_validate", level="restored", volume_id=fresh["volume_id"], **asked)["result"] == "equal"
    finally:
        lab.detach(fresh["volume_id"])


def test_files_that_cannot_fit_are_refused_before_a_volume_is_paid_for(lab, bucket, snapshot):
    """They are archived as files only because that was asked for; a larger volume is named, and the module looks at the real one."""
    volume = lab.attach(snapshot)
    asked = {"bucket": bucket, "snapshot_id": snapshot}
    try:
        lab.ok("snapshot_archive_s3", volume_id=volume["volume_id"], shared_extents="tar", **asked)
    finally:
        lab.detach(volume["volume_id"])
    assert [each["format"] for each in body(lab, bucket)["archives"]] == ["tar"]
    refused = lab.module("snapshot_restore", thaw_only=True, size=1, **asked)
    assert "Set size (coldstore_restore_size) to 2 GiB or more" in refused["msg"]
    assert lab.ok("snapshot_restore", thaw_only=True, size=2, **asked)["pending"] is False
    fresh = lab.attach(snapshot, format="restore", size=1)
    try:
        refused = lab.module("snapshot_restore", volume_id=fresh["volume_id"], **asked)
        assert "coldstore_restore_size" in refused["msg"]
        with open(fresh["device"], "rb") as device:
            assert device.read(1 << 20) == bytes(1 << 20)
    finally:
        lab.detach(fresh["volume_id"])
