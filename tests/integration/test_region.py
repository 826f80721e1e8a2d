# SPDX-License-Identifier: GPL-3.0-or-later
"""Where modules take region and credentials from. In all other tests nothing but the metadata says the region."""

import pytest

NOBODY = "http://127.0.0.1:9"


def test_what_is_said_counts_more_than_where_the_instance_is(lab, seeds, bucket, monkeypatch):
    """The snapshot is in the region of the metadata, and in no other."""
    wanted = {"bucket": bucket, "snapshot_ids": [seeds["empty"]], "check": True}
    assert lab.ok("snapshot_claim", **wanted)["waiting"] == 1
    assert "does not exist in this region" in lab.ok("snapshot_claim", region="eu-west-1", **wanted)["unusable"][seeds["empty"]]
    monkeypatch.setitem(lab.environment, "AWS_REGION", "eu-west-1")
    assert "does not exist in this region" in lab.ok("snapshot_claim", **wanted)["unusable"][seeds["empty"]]
    assert lab.ok("snapshot_claim", region=lab.state["region"], **wanted)["waiting"] == 1


def test_a_plain_instance_has_nothing_but_its_metadata(lab, seeds, bucket, monkeypatch):
    """They say the region, and hold the credentials of its role."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delitem(lab.environment, name)
    assert not [name for name in lab.environment if "REGION" in name or "KEY" in name]
    assert lab.ok("snapshot_claim", bucket=bucket, snapshot_ids=[seeds["empty"]], check=True)["waiting"] == 1


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("ebs_temp_volume", {"state": "absent", "volume_id": "vol-0123456789abcdef0"}),
        ("snapshot_claim", {"check": True}),
        ("snapshot_archive_info", {}),
    ],
)
def test_where_nothing_says_the_region_one_sentence_does(lab, bucket, monkeypatch, module, arguments):
    """Neither an argument, nor the environment, nor a metadata service."""
    monkeypatch.setitem(lab.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT", NOBODY)
    result = lab.module(module, **arguments, **({} if module == "ebs_temp_volume" else {"bucket": bucket}))
    assert result["kind"] == "refused"
    assert result["msg"].startswith("the region is not known")
    assert "AWS_REGION" in result["msg"]


def test_a_bucket_of_a_known_owner_needs_no_region(lab, bucket, monkeypatch):
    """S3 says where a bucket is: looking into one works from anywhere."""
    monkeypatch.setitem(lab.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT", NOBODY)
    assert lab.ok("snapshot_archive_info", bucket=bucket, bucket_owner=lab.account)["archive_count"] == 0
