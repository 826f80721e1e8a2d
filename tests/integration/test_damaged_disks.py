# SPDX-License-Identifier: GPL-3.0-or-later
"""A damaged disk goes volume -> archive -> new volume: what is kept, what is said of the rest."""

import json
import os
import subprocess
import uuid

import pytest
from conftest import finished, start
from damage import BLOCK, block_of, ext4, spoil
from trees import mounted


@pytest.fixture
def damaged(lab, tmp_path):
    """The id of a snapshot of an ext4: a file with two names and bad attributes, a directory with a bad block, sound files."""
    image = tmp_path / "img"
    with ext4(image) as root:
        (root / "first").write_bytes(b"x" * 100_000)
        os.setxattr(root / "first", "user.big", b"y" * 2000)
        os.link(root / "first", root / "second")
        (root / "dir").mkdir()
        for number in range(400):
            (root / "dir" / f"{number:04}-{number:040}").write_text(str(number))
    blocks = subprocess.run(["debugfs", "-R", "blocks /dir", image], check=True, capture_output=True, text=True).stdout
    spoil(image, *block_of(image, "stat /first", r"File ACL: (\d+)"), at=3000)
    spoil(image, int(blocks.split()[-1]))
    snapshot_id = f"snap-{uuid.uuid4().hex[:17]}"
    facts = {"volume_id": f"vol-{uuid.uuid4().hex[:17]}", "size": 1, "start_time": "2017-02-01T00:00:00+00:00", "tags": {}}
    os.truncate(image, 1 << 30)
    lab.call("snapshot", {"snapshot_id": snapshot_id, "description": "a damaged disk", "image": str(image), **facts})
    yield snapshot_id
    lab.ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_damaged_disk_fails_by_name_or_is_migrated_as_far_as_it_can_be(lab, bucket, venv, damaged, tmp_path):
    """By the playbook: the report says what is lost, so do manifest and receipt, and the archive is restored to its end."""
    output = finished(start(lab, bucket, venv, coldstore_snapshots=[damaged], coldstore_attempts=9), code=2)
    assert "the list of its names cannot be read to the end: Bad message (path dir)" in output
    assert "b'" not in output
    assert lab.keys(bucket, "vol-") == []
    output = finished(start(lab, bucket, venv, coldstore_snapshots=[damaged], coldstore_on_read_error="zero"))
    assert "validated (could not be read when it was archived: 1 directory has gaps, 1 attribute, " in output
    manifest, receipt = documents(lab, bucket)
    (entry,) = manifest["archives"]
    assert [(each["path"], each["what"]) for each in entry["problems"]] == [
        (".", "filesystem"), ("dir", "names"), ("first", "attributes"),
    ]  # fmt: skip
    assert entry["lost"].pop("errors") > 0
    assert entry["lost"] == {"entries": 0, "directories": 1, "files": 0, "bytes": 0, "attributes": 1}
    assert receipt["lost"].pop("errors") > 0
    assert (receipt["result"], receipt["level"], receipt["lost"]) == ("equal", "full", entry["lost"])
    output = finished(start(lab, bucket, venv, "validate", coldstore_snapshots=[damaged], coldstore_validate_level="archive"))
    assert "(could not be read when it was archived: 1 directory has gaps, 1 attribute, " in output
    wanted = {"coldstore_restore_snapshot": damaged, "coldstore_restore_paths": ["second"]}
    output = finished(start(lab, bucket, venv, "restore", coldstore_restore_directory=str(tmp_path / "out"), **wanted))
    assert "Could not be read when it was archived: 1 directory has gaps, 1 attribute, " in output
    fresh = lab.attach(damaged, format="restore", size=1)
    try:
        done = lab.ok("snapshot_restore", bucket=bucket, snapshot_id=damaged, volume_id=fresh["volume_id"])
        assert done["loss"].startswith("1 directory has gaps, 1 attribute, ")
        assert done["loss"] in str(done["warnings"])
        with mounted(done["device"]) as root:
            assert (root / "second").read_bytes() == b"x" * 100_000
            assert (root / "first").stat().st_nlink == 2
            assert 400 - BLOCK // 56 <= len(os.listdir(root / "dir")) < 400
    finally:
        lab.detach(fresh["volume_id"])


def documents(lab, bucket):
    """Manifest and receipt."""
    found = []
    for ending in (".manifest.json", ".full.json"):
        key = next(key for key in lab.keys(bucket) if key.endswith(ending))
        found.append(json.loads(lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read())["body"])
    return found
