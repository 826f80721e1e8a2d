# SPDX-License-Identifier: GPL-3.0-or-later
"""4. Of the user's data nothing is written to but the temporary volume; an image is of one that was never mounted."""

import hashlib


def test_invariant_4_the_snapshot_is_what_it_was(lab, bucket, seeds):
    """Its dirty journal is replayed on the temporary volume, not on the snapshot."""
    image = lab.directory / "snapshots" / f"{seeds['gpt']}.img"
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    volume = lab.attach(seeds["gpt"])
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["gpt"], volume_id=volume["volume_id"])
    finally:
        lab.detach(volume["volume_id"])
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before


def test_invariant_4_no_image_is_taken_of_a_volume_that_was_mounted(lab, bucket, seeds):
    """Refused for that volume; the next one made for an image is another, and equals the snapshot bit for bit."""
    volume = lab.attach(seeds["gpt"])
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, prefix="tar/", snapshot_id=seeds["gpt"], volume_id=volume["volume_id"])
        refused = lab.module(
            "snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["gpt"], volume_id=volume["volume_id"], format="image"
        )
        assert "was mounted" in refused["msg"]
        assert lab.keys(bucket, "vol-") == []
        fresh = lab.attach(seeds["gpt"], format="image")
        assert fresh["volume_id"] != volume["volume_id"]
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["gpt"], volume_id=fresh["volume_id"], format="image")
        with open(fresh["device"], "rb") as device:
            now = hashlib.sha256(device.read()).hexdigest()
        assert now == hashlib.sha256((lab.directory / "snapshots" / f"{seeds['gpt']}.img").read_bytes()).hexdigest()
    finally:
        for each in lab.volumes():
            lab.detach(each)
