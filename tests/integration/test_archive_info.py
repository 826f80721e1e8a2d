# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding archives, and files in them, without thawing anything."""

from dataclasses import replace

import pytest
from fakes import SNAPSHOT
from helpers import archived, validated


@pytest.fixture(scope="module")
def bucket(lab, seeds):
    """Two snapshots, archived and asleep, and an upload that nobody completed."""
    name = lab.new_bucket()
    for seed in ("tagged", "gpt"):
        volume = lab.attach(seeds[seed])
        try:
            lab.ok(
                "snapshot_archive_s3", bucket=name, prefix="a/", snapshot_id=seeds[seed], volume_id=volume["volume_id"],
                storage_class="DEEP_ARCHIVE",
            )  # fmt: skip
        finally:
            lab.detach(volume["volume_id"])
    lab.ok("snapshot_validate", bucket=name, prefix="a/", snapshot_id=seeds["tagged"], level="quick")
    upload = lab.s3.create_multipart_upload(Bucket=name, Key="a/left")
    lab.s3.upload_part(Bucket=name, Key="a/left", UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 1000)
    return name


def info(lab, bucket, **arguments):
    return lab.ok("snapshot_archive_info", bucket=bucket, prefix="a/", **arguments)


def test_what_is_archived_is_listed_with_its_state(lab, bucket, seeds):
    """By volume and time; the module never changes anything."""
    found = info(lab, bucket)
    assert not found["changed"]
    assert [(each["snapshot_id"], each["state"]) for each in found["archives"]] == [
        (seeds["gpt"], "complete"), (seeds["tagged"], "complete"),
    ]  # fmt: skip
    assert found["archives"][0]["partitions"] == [0, 1, 2, 3]
    assert found["archives"][0]["storage_classes"] == ["DEEP_ARCHIVE"]
    assert found["archive_count"] == 2
    assert not found["truncated"]
    assert info(lab, bucket, awake=True)["archives"] == []
    drawn = [info(lab, bucket, sample=1, seed=seed)["archives"] for seed in ("a", "a", "b", "c", "d", "e")]
    assert [len(each) for each in drawn] == [1] * 6
    assert drawn[0] == drawn[1]
    assert {each[0]["snapshot_id"] for each in drawn} == {seeds["gpt"], seeds["tagged"]}
    short = info(lab, bucket, limit=1)
    assert (len(short["archives"]), short["archive_count"], short["truncated"]) == (1, 2, True)


def test_tags_and_details_come_from_manifests(lab, bucket, seeds):
    """All thirty tags can be asked for, also those S3 cannot hold."""
    found = info(lab, bucket, tags={"tag 01 ü?": "v"})
    assert [each["snapshot_id"] for each in found["archives"]] == [seeds["tagged"]]
    details = found["archives"][0]["details"]
    assert details["description"].startswith("Größe")
    assert details["validated"] is False
    assert info(lab, bucket, tags={"tag 01 ü?": "w"})["archives"] == []
    lab.ok("snapshot_validate", bucket=bucket, prefix="a/", snapshot_id=seeds["gpt"], level="quick")
    assert info(lab, bucket, details=True, snapshot_ids=[seeds["gpt"]])["archives"][0]["details"]["size_gib"] == 1


def test_files_are_found_across_sleeping_archives(lab, bucket, seeds):
    """By glob; each match says where it is, and what to restore it with."""
    found = info(lab, bucket, paths=["**/file 1"])
    assert found["searched"] == 3
    assert not any(each["details"] for each in found["archives"]), "nobody asked for them"
    assert found["member_count"] == len(found["members"]) == 3
    assert {each["snapshot_id"] for each in found["members"]} == {seeds["gpt"], seeds["tagged"]}
    one = info(lab, bucket, snapshot_ids=[seeds["tagged"]], paths=["dir1/sub1"])
    assert one["members"][0]["type"] == "directory"
    assert {each["path"].rpartition("/")[0] for each in one["members"][1:]} == {"dir1/sub1"}
    everything = info(lab, bucket, snapshot_ids=[seeds["tagged"]], paths=["**"], limit=2)
    assert (len(everything["members"]), everything["truncated"]) == (2, True)
    assert everything["member_count"] > 100


def test_the_census_shows_what_is_paid_for_and_unseen(lab, bucket, seeds):
    """Unfinished uploads with age and bytes, objects and bytes by class."""
    census = info(lab, bucket, census=True, limit=0)["census"]
    assert [(each["key"], each["bytes"]) for each in census["uploads"]] == [("a/left", 1000)]
    assert census["uploads"][0]["age_days"] > 0  # moto says 2010 of every upload
    assert census["storage_classes"]["DEEP_ARCHIVE"]["objects"] == 5
    assert set(census["volumes"]) == {seeds["gpt"].replace("snap", "vol"), seeds["tagged"].replace("snap", "vol")}
    assert census["orphans"] == []
    total = sum(item["Size"] for item in lab.s3.list_objects_v2(Bucket=bucket)["Contents"])
    assert census["bytes"] == total


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"before": "tomorrow"}, "is not a date or time"),
        ({"paths": ["../x"]}, "is not a path inside an archive"),
        ({"bucket": "does-not-exist"}, "does not exist"),
        ({"state": "good"}, "value of state must be one of"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(lab, bucket, arguments, words):
    """As everywhere."""
    given = {"bucket": bucket, "prefix": "a/", **arguments}
    assert words in lab.module("snapshot_archive_info", **given)["msg"]


def test_damaged_documents_are_warned_of(lab, store):
    """By the module that lists them, and by the one that validates anew; nothing fails because of them."""
    store = replace(store, bucket=lab.new_bucket())
    archived(store)

    def look():
        found = lab.ok("snapshot_archive_info", bucket=store.bucket, details=True)
        return found["archives"][0], str(found.get("warnings"))

    key = validated(store, "archive")["key"]
    given = {"bucket": store.bucket, "snapshot_id": SNAPSHOT.snapshot_id, "level": "archive"}
    assert look()[0]["damaged"] == []
    body = bytearray(store.get(key).body)
    body[-20] ^= 1
    lab.s3.put_object(Bucket=store.bucket, Key=key, Body=bytes(body))
    there, warned = look()
    assert (there["details"]["validated"], there["damaged"]) == (False, [f"{key} is damaged and proves nothing"])
    assert key in warned
    said = lab.ok("snapshot_validate", **given)
    assert (said["result"], said["damaged_receipts"]) == ("equal", [key])
    assert key in str(said["warnings"])
    assert look()[0]["details"]["validated"]
    lab.s3.put_object(Bucket=store.bucket, Key=there["manifest"], Body=b"{}")
    damaged, warned = look()
    assert (damaged["details"], len(damaged["damaged"])) == ({}, 1)
    assert there["manifest"] in warned
