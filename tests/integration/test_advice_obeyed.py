# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bill to the class that was advised: analyze, apply, migrate, as users run them, against the lab."""

import uuid

import pytest
from bills import LAST_MONTH, Bill
from conftest import finished, start

SLEEP = {
    "ID": "sleep", "Status": "Enabled", "Filter": {"Tag": {"Key": "coldstore.ebs:class", "Value": "DEEP_ARCHIVE"}},
    "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}],
}  # fmt: skip


@pytest.fixture
def tag(lab, seeds):
    """A queue tag of the test's own, whose tags are gone afterwards."""
    tag = f"q{uuid.uuid4().hex[:8]}"
    yield tag
    lab.ec2.delete_tags(Resources=list(seeds.values()), Tags=[{"Key": f"{tag}{end}"} for end in ("", *SAID, "-reason")])


SAID = ("-storage-class", "-format")


def tags_of(lab, snapshot_id, tag):
    """Those of the queue, by what their keys have behind its own."""
    tags = lab.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["Tags"]
    return {pair["Key"][len(tag) :]: pair["Value"] for pair in tags if pair["Key"].startswith(tag)}


def archives(lab, bucket, snapshot_id):
    return [key for key in lab.keys(bucket) if snapshot_id in key and key.endswith((".tar.zst", ".img.zst"))]


def test_what_was_advised_is_what_is_done(lab, bucket, venv, seeds, tag, tmp_path):
    """Whatever class the inventory has: the archives go to the advised one once the rule moves them; done, the tags are gone."""
    mine = seeds["empty"]
    bill = Bill(LAST_MONTH)
    bill.snapshot(mine, 2048 * 500, account=lab.account, region=lab.state["region"])
    costs = {
        "coldstore_cost_report": str(bill.write(tmp_path, "cur2.csv.gz")), "coldstore_cost_refresh_prices": False,
        "coldstore_cost_apply": True, "coldstore_tag": tag,
    }  # fmt: skip
    output = " ".join(finished(start(lab, bucket, venv, "analyze", (), check=True, **costs)).split())
    assert f"DEEP_ARCHIVE, tar: {mine}" in output
    assert "1 snapshots would be tagged for migrate.yml" in output
    assert tags_of(lab, mine, tag) == {}
    finished(start(lab, bucket, venv, "analyze", (), **costs))
    assert tags_of(lab, mine, tag) == {"": "migrate", "-storage-class": "DEEP_ARCHIVE", "-format": "tar"}
    lab.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [SLEEP]})
    asked = {"coldstore_tag": tag, "coldstore_storage_class": "GLACIER_IR", "coldstore_format": "image"}
    output = " ".join(finished(start(lab, bucket, venv, check=True, **asked)).split())
    assert "in DEEP_ARCHIVE, tar (by its tags)" in output
    output = finished(start(lab, bucket, venv, **asked))
    line = next(line for line in output.split("\n") if mine in line and "validated" in line)
    assert "DEEP_ARCHIVE, tar (by its tags)" in line
    (archive,) = archives(lab, bucket, mine)
    assert archive.endswith(".tar.zst")
    labels = {pair["Key"]: pair["Value"] for pair in lab.s3.get_object_tagging(Bucket=bucket, Key=archive)["TagSet"]}
    assert labels["coldstore.ebs:class"] == "DEEP_ARCHIVE"  # the rule moves it
    assert not [key for key in labels if key.startswith(tag)]
    assert tags_of(lab, mine, tag) == {"": "validated"}
    output = " ".join(finished(start(lab, bucket, venv, "analyze", (), **costs)).split())
    assert "0 snapshots were tagged for migrate.yml" in output
    assert tags_of(lab, mine, tag) == {"": "validated"}


def test_each_goes_where_its_tags_say_and_one_that_cannot_holds_up_nobody(lab, bucket, venv, seeds, tag):
    """It is named before anything is claimed, in the report and in its tag; it counts as failed. The run's own class is for the rest."""
    own, wrong, plain = (seeds[name] for name in ("mbr", "tagged", "empty"))
    said = {own: ("STANDARD_IA", "image"), wrong: ("FROZEN", "tar"), plain: ()}
    for snapshot_id, values in said.items():
        pairs = [{"Key": f"{tag}{end}", "Value": value} for end, value in zip(("", *SAID), ("migrate", *values))]
        lab.ec2.create_tags(Resources=[snapshot_id], Tags=pairs)
    output = finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_storage_class="GLACIER_IR"), code=2)
    assert f"{tag}-storage-class says 'FROZEN'" in " ".join(output.split())
    assert "Failed snapshots: 1" in " ".join(output.split())
    classes = {
        snapshot_id: [lab.s3.head_object(Bucket=bucket, Key=key)["StorageClass"] for key in archives(lab, bucket, snapshot_id)]
        for snapshot_id in said
    }
    assert classes == {own: ["STANDARD_IA"], wrong: [], plain: ["GLACIER_IR"]}
    assert archives(lab, bucket, own)[0].endswith(".img.zst")
    assert not [key for key in lab.keys(bucket) if key.startswith(f"claims/{wrong}")]
    reason = tags_of(lab, wrong, tag)["-reason"]
    assert reason.startswith(f"the tag {tag}-storage-class says 'FROZEN'")
    assert tags_of(lab, own, tag) == {"": "validated"}
    asked = {"coldstore_tag": tag, "coldstore_obey_advice": False, "coldstore_storage_class": "ONEZONE_IA"}
    finished(start(lab, bucket, venv, **asked))
    assert [lab.s3.head_object(Bucket=bucket, Key=key)["StorageClass"] for key in archives(lab, bucket, wrong)] == ["ONEZONE_IA"]
    assert tags_of(lab, wrong, tag) == {"": "validated"}
