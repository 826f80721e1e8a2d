# SPDX-License-Identifier: GPL-3.0-or-later
"""What would fail for every snapshot alike is refused before the first is claimed, in one sentence."""

import uuid

import pytest
from conftest import finished, start

KEY = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000"


@pytest.fixture
def key(lab):
    """A KMS key that exists, and what disables it."""
    import boto3

    kms = boto3.client(
        "kms", endpoint_url=lab.state["endpoint"], region_name=lab.state["region"], aws_access_key_id=lab.state["access_key"],
        aws_secret_access_key=lab.state["secret_key"],
    )  # fmt: skip
    made = kms.create_key()["KeyMetadata"]
    return made["Arn"], lambda: kms.disable_key(KeyId=made["KeyId"])


def test_what_is_right_is_let_through_and_leaves_nothing(lab, bucket, key):
    """Every storage class that can be begun in, a key, and a volume of each kind; also in check mode."""
    made, _disable = key
    for storage_class in ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"):
        assert not lab.ok("preflight", bucket=bucket, storage_class=storage_class, volumes=False)["changed"]
    kinds = (
        {},
        {"volume_type": "gp3", "iops": 4000, "throughput": 500, "initialization_rate": 300},
        {"volume_type": "io2", "iops": 100, "volume_kms_key_id": made, "sse": "aws:kms", "sse_kms_key_id": made, "prefix": "deep/"},
    )
    for kind in kinds:
        assert lab.ok("preflight", bucket=bucket, **kind)["instance_id"] == lab.state["instance_id"]
        assert not lab.module("preflight", bucket=bucket, check=True, **kind).get("failed")
    assert lab.keys(bucket) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"storage_class": "GLACER"}, "value of storage_class must be one of"),
        ({"storage_class": "DEEP_ARCHIVE", "validate_first": True}, "no lifecycle rule"),
        ({"sse": "aws:kms", "sse_kms_key_id": KEY}, "the bucket does not accept what would be written to it: AWS answers KMS.NotFound"),
        ({"sse_kms_key_id": KEY}, "sse_kms_key_id is for sse=aws:kms"),
        ({"volume_kms_key_id": KEY}, f"the KMS key {KEY} for volumes does not exist"),
        ({"prefix": "noslash"}, "does not end in a slash"),
        ({"mount_point": "/no/such/place"}, "mount_point /no/such/place is not a directory"),
        ({"spool": "/no/such/place"}, "spool /no/such/place is not a writable directory"),
        ({"volume_type": "io2"}, "volume type io2 needs iops"),
        ({"volume_type": "gp2", "iops": 3000}, "volume type gp2 has no iops"),
        ({"volume_type": "st1", "throughput": 300}, "volume type st1 has no throughput"),
        ({"throughput": 10}, "throughput of gp3 has to be at least 125"),
        ({"initialization_rate": 50}, "initialization_rate has to be 100 to 300"),
        ({"compression": "lz4", "compression_level": 12}, "lz4 has no level 12, only 1 to 9"),
        ({"threads": 0}, "threads has to be at least 1"),
        ({"streams": 0}, "streams has to be at least 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_one_sentence(lab, bucket, arguments, words):
    """Nothing is left in the bucket."""
    result = lab.module("preflight", bucket=bucket, **arguments)
    assert result["failed"]
    assert words in result["msg"]
    assert lab.keys(bucket) == []


def test_a_key_that_cannot_be_used_is_named_with_its_state(lab, bucket, key):
    """Disabled, for volumes and for the bucket."""
    made, disable = key
    disable()
    assert f"the KMS key {made} for volumes is Disabled" in lab.module("preflight", bucket=bucket, volume_kms_key_id=made)["msg"]
    assert "KMS.DisabledException" in lab.module("preflight", bucket=bucket, sse="aws:kms", sse_kms_key_id=made)["msg"]


def test_without_volumes_nothing_of_them_is_asked(lab, bucket):
    """A validation without one needs neither mount point nor EC2."""
    asked = {"volumes": False, "mount_point": "/no/such/place", "volume_kms_key_id": KEY, "region": lab.state["region"]}
    with lab.faults({"method": "GET", "path": "latest", "action": "status", "code": 404, "times": 99}):
        assert lab.ok("preflight", bucket=bucket, **asked)["instance_id"] == ""


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"coldstore_format": "zip"}, "value of coldstore_format must be one of: tar, image, got: zip"),
        ({"coldstore_storage_class": "GLACER"}, "value of coldstore_storage_class must be one of"),
        ({"coldstore_sse": "aws:kms", "coldstore_sse_kms_key_id": KEY}, "KMS.NotFoundException"),
        ({"coldstore_mount_point": "/no/such/place"}, "/no/such/place is not a directory"),
    ],
)
def test_a_run_that_is_set_up_wrongly_costs_no_snapshot_an_attempt(lab, bucket, venv, variables, words):
    """No claim, no tag, no volume: the run ends before it looks at the queue."""
    tag = f"q{uuid.uuid4().hex[:8]}"
    snapshot_id = lab.seed("empty")["empty"]
    lab.ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": tag, "Value": "migrate"}])
    try:
        output = finished(start(lab, bucket, venv, coldstore_tag=tag, **variables), code=2)
        tags = {
            pair["Key"]: pair["Value"] for pair in lab.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["Tags"]
        }
    finally:
        lab.ec2.delete_tags(Resources=[snapshot_id], Tags=[{"Key": tag}])
    assert words in " ".join(output.split())
    assert "argument_spec_data" not in output, "what the roles know of all variables"
    assert (tags[tag], lab.keys(bucket)) == ("migrate", [])
