# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be read at once, though nobody meant it to sleep: tiers that no listing shows, and rules that take too much."""

import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import sleeping
from conftest import finished, start

RULE = {"ID": "all-to-glacier", "Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]}


@pytest.fixture
def sleeper(lab, bucket, seeds):
    """An archive, and a function that puts objects to sleep whose keys end so."""
    volume = lab.attach(seeds["empty"], format="image")
    where = {"bucket": bucket, "snapshot_id": seeds["empty"], "volume_id": volume["volume_id"]}
    try:
        lab.ok("snapshot_archive_s3", compression="lz4", **where)
        lab.ok("snapshot_validate", level="archive", bucket=bucket, snapshot_id=seeds["empty"])
    finally:
        lab.detach(volume["volume_id"])

    def put_to_sleep(*endings, storage_class="GLACIER"):
        keys = [key for key in lab.keys(bucket) if key.endswith(endings)]
        assert keys
        for key in keys:
            lab.call("sleep", {"bucket": bucket, "key": key, "storage_class": storage_class})
        return keys

    return put_to_sleep


def test_what_intelligent_tiering_has_archived_does_not_count_as_awake(lab, bucket, seeds, sleeper):
    """A drill asks for what is awake; the listing shows the class, not the tier. The class alone is no sleep."""
    sleeper(".lz4", storage_class="INTELLIGENT_TIERING")
    ask = {"bucket": bucket, "snapshot_ids": [seeds["empty"]]}
    assert lab.ok("snapshot_archive_info", awake=True, **ask)["archive_count"] == 1
    assert lab.ok("snapshot_archive_info", details=True, **ask)["archives"][0]["awake"]
    sleeper(".lz4", storage_class="DEEP_ARCHIVE_ACCESS")
    assert lab.ok("snapshot_archive_info", awake=True, **ask)["archive_count"] == 0
    assert not lab.ok("snapshot_archive_info", details=True, **ask)["archives"][0]["awake"]


def test_validating_what_intelligent_tiering_has_archived_says_that_it_sleeps(lab, bucket, seeds, sleeper):
    """Not that it is damaged."""
    sleeper(".lz4", storage_class="ARCHIVE_ACCESS")
    result = lab.module("snapshot_validate", level="archive", bucket=bucket, snapshot_id=seeds["empty"])
    assert result["failed"]
    assert (result["kind"], "sleeps" in result["msg"]) == ("refused", True), result["msg"]


def blanket(lab, bucket):
    lab.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [RULE]})


@pytest.mark.parametrize("endings", [(".manifest.json",), (".index.zst",), (".manifest.json", ".index.zst", ".lz4", ".json")])
def test_what_a_rule_took_along_is_thawed_with_the_archive(lab, bucket, seeds, sleeper, tmp_path, endings):
    """One thaw for all that sleeps of the snapshot, and the rule is named; also in check mode, which asks for nothing."""
    blanket(lab, bucket)
    slept = [key for key in sleeper(*endings, ".tar.lz4") if key.endswith((".manifest.json", ".index.zst", ".lz4"))]
    target = tmp_path / "out"

    def run(check=False, **arguments):
        return lab.module("snapshot_restore", check, bucket=bucket, snapshot_id=seeds["empty"], directory=str(target), **arguments)

    foreseen = run(True)
    assert (foreseen["pending"], foreseen["thaw"]["objects"]) == (True, len(slept)), foreseen
    assert "all-to-glacier" in str(foreseen["warnings"])
    with lab.thawing(600):
        first = run()
        assert (first["pending"], first["changed"], first["target"]) == (True, True, str(target))
        assert (run()["pending"], run()["changed"]) == (True, False)
    assert not target.exists()
    assert not run()["pending"]
    assert subprocess.run(["ls", "-A", target], check=True, capture_output=True, text=True).stdout.split()


def test_what_a_rule_took_along_is_waited_for_in_one_run(lab, bucket, seeds, sleeper, tmp_path):
    """By the key of the manifest, and by a partition: nothing else is asked for."""
    sleeper(".manifest.json", ".index.zst", ".lz4")
    (key,) = [key for key in lab.keys(bucket) if key.endswith(".manifest.json")]
    done = lab.ok(
        "snapshot_restore", bucket=bucket, key=key, directory=str(tmp_path / "out"), wait=True, wait_timeout=60, wait_interval=1
    )
    assert (done["pending"], done["changed"], done["unchecked"]) == (False, True, [])


def test_a_rule_that_takes_everything_is_named_wherever_it_strikes(lab, bucket, seeds, sleeper):
    """Validating, searching, listing, claiming: in a sentence, with what to do; one snapshot's sleep does not end a search."""
    blanket(lab, bucket)
    ask = {"bucket": bucket, "snapshot_ids": [seeds["empty"]]}
    claim = lab.ok("snapshot_claim", purpose="validate", **ask)["claim"]
    sleeper(".index.zst")
    searched = lab.ok("snapshot_archive_info", paths=["**"], **ask)
    assert (searched["member_count"], len(searched["archives"][0]["asleep"])) == (0, 1)
    assert "all-to-glacier" in str(searched["warnings"])
    sleeper(".json")
    listed = lab.ok("snapshot_archive_info", details=True, **ask)
    assert (listed["archives"][0]["details"], len(listed["archives"][0]["asleep"])) == ({}, 1)
    validated = lab.module("snapshot_validate", level="archive", bucket=bucket, snapshot_id=seeds["empty"])
    assert "Lifecycle rule all-to-glacier of the bucket moved it there" in validated["msg"]
    assert "coldstore.ebs:class" in validated["msg"]
    released = lab.module("snapshot_claim", state="released", snapshot_id=seeds["empty"], bucket=bucket, claim=claim)
    assert "aws s3 rm" in released["msg"]
    passed = lab.module("snapshot_claim", **ask)
    assert "all-to-glacier" in str(passed)
    denied = {"method": "GET", "path": "lifecycle", "action": "status", "code": 403, "error": "AccessDenied", "times": 99}
    with lab.faults(denied):
        validated = lab.module("snapshot_validate", level="archive", bucket=bucket, snapshot_id=seeds["empty"])
    assert "A lifecycle rule of the bucket moved it there" in validated["msg"]


@pytest.mark.parametrize(
    ("changes", "prefix", "warned"),
    [
        ({}, "", True),
        ({"Filter": {"Prefix": "deep/er/"}}, "deep/", True),
        ({"Filter": {"Prefix": "deep/"}}, "deep/er/", True),
        ({"Filter": {"Prefix": "logs/"}}, "deep/", False),
        ({"Status": "Disabled"}, "", False),
        ({"Filter": {"Tag": {"Key": "coldstore.ebs:class", "Value": "GLACIER"}}}, "", False),
        ({"Transitions": [{"Days": 30, "StorageClass": "GLACIER_IR"}]}, "", False),
    ],
)
def test_a_rule_that_will_take_everything_is_told_of_before_it_strikes(store, lab, changes, prefix, warned):
    """By its name, if it can strike below the prefix; one for our tag, or to where all can be read, is none of these."""
    assert sleeping.takes_along(store, prefix) == ""
    lab.s3.put_bucket_lifecycle_configuration(Bucket=store.bucket, LifecycleConfiguration={"Rules": [dict(RULE, **changes)]})
    assert ("all-to-glacier" in sleeping.takes_along(store, prefix)) == warned
    if not changes:
        result = lab.ok("preflight", bucket=store.bucket, volumes=False)
        assert "rule all-to-glacier" in str(result["warnings"])


def test_a_whole_disk_comes_back_though_its_manifest_slept(lab, bucket, venv, seeds, sleeper):
    """By playbook: the first run asks for everything, a later one knows the size, makes the volume and fills it."""
    sleeper(".manifest.json", ".index.zst", ".lz4")
    volumes = len(lab.ec2.describe_volumes()["Volumes"])
    with lab.thawing(600):
        assert "still thawing" in finished(start(lab, bucket, venv, "restore", coldstore_restore_snapshot=seeds["empty"]))
    assert len(lab.ec2.describe_volumes()["Volumes"]) == volumes
    sleeper(".manifest.json", ".index.zst", ".lz4")
    waiting = {"coldstore_thaw_wait": True, "coldstore_thaw_interval": 1, "coldstore_thaw_timeout": 60}
    output = finished(start(lab, bucket, venv, "restore", coldstore_restore_snapshot=seeds["empty"], **waiting))
    assert "still thawing" not in output
    filters = [{"Name": "tag:coldstore.ebs:restored", "Values": ["*"]}, {"Name": "status", "Values": ["available"]}]
    made = [each for each in lab.ec2.describe_volumes(Filters=filters)["Volumes"] if seeds["empty"] in str(each["Tags"])]
    assert made
    for each in made:
        lab.ec2.delete_volume(VolumeId=each["VolumeId"])
