# SPDX-License-Identifier: GPL-3.0-or-later
"""A damaged disk goes volume -> archive -> new volume: what is kept, what is said of the rest."""

import json
import os
import subprocess
import uuid

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import codecs, layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.jobs import archive, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from conftest import finished, start
from damage import BLOCK, bad_sectors, block_of, cool, ext4, spoil
from fakes import SNAPSHOT
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


def test_a_damaged_disk_fails_by_name_or_is_migrated_as_far_as_it_can_be(lab, bucket, venv, damaged):
    """By the playbook: the report says what is lost, so do manifest and receipt, and the archive is restored to its end."""
    output = finished(start(lab, bucket, venv, coldstore_snapshots=[damaged], coldstore_attempts=9), code=2)
    assert "the list of its names cannot be read to the end: Bad message (path dir)" in output
    assert lab.keys(bucket, "vol-") == []
    output = finished(start(lab, bucket, venv, coldstore_snapshots=[damaged], coldstore_on_read_error="zero"))
    assert "validated (lost: 1 directory has gaps, 1 attribute, " in output
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
    fresh = lab.attach(damaged, format="restore", size=1)
    try:
        done = lab.ok("snapshot_restore", bucket=bucket, snapshot_id=damaged, volume_id=fresh["volume_id"])
        assert done["loss"].startswith("1 directory has gaps, 1 attribute, ")
        assert done["loss"] in done["warnings"][0]
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


def test_bytes_that_could_not_be_read_are_not_read_again_by_a_validation(store, tmp_path):
    """They are taken for zeros, and the receipt counts them; damage that came later is a difference, with its place in the file."""
    with ext4(tmp_path / "img") as root:
        (root / "before").write_bytes(os.urandom(50_000))
        (root / "file").write_bytes(os.urandom(8 << 20))
    first, second, third = (block_of(tmp_path / "img", f"bmap /file {number}", r"(\d+)")[0] * BLOCK for number in (500, 1000, 1001))

    def archived_or_validated(stretches, job):
        with bad_sectors(tmp_path / "img", stretches) as device, mounted(device) as root:
            cool(device)
            return job(lambda chunk: TarSource(str(root), chunk_size=chunk, on_error="zero"))

    def archived(source):
        settings = archive.Settings(codecs.codec("lz4"), chunk=1 << 20)
        piece = archive.Piece(1, source(1 << 20), 9 << 20)
        return archive.archive_snapshot(store, SNAPSHOT, {}, "tar", [piece], settings)

    def validated(source):
        found = layouts.find(store, "", SNAPSHOT)
        return validate.validate_snapshot(
            store, SNAPSHOT, found, "full", validate.against(validate.Settings(), "volume", {1: source})
        )

    entry = archived_or_validated([(first, BLOCK)], archived).manifest["archives"][0]
    assert [(each["path"], each["offset"], each["length"]) for each in entry["problems"]] == [("file", 500 * BLOCK, BLOCK)]
    for bad in ([(first, BLOCK)], []):  # whether or not it can be read today
        receipt = archived_or_validated(bad, validated)
        assert (receipt["result"], receipt["lost"]["bytes"], receipt["lost"]["files"]) == ("equal", BLOCK, 1)
    receipt = archived_or_validated([(second, BLOCK), (third, BLOCK)], validated)
    assert receipt["result"] == "different"
    assert {(each["path"], each["attribute"], each["offset"]) for each in receipt["differences"]} == {
        ("file", "content", 1000 * BLOCK),
    }  # fmt: skip
