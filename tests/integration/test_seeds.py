# SPDX-License-Identifier: GPL-3.0-or-later
"""Every seeded snapshot: archived, proved, and extracted again with stock tools, on real disks."""

import subprocess
from pathlib import Path

import pytest
from trees import compare, extract, mounted

SEEDS = ("gpt", "btrfs", "awkward", "mbr", "vfat", "tagged", "empty", "unknown")
OPTIONS = {"xfs": "ro,nouuid", "btrfs": "ro,subvolid=5", "ext4": "ro"}


@pytest.fixture(scope="module")
def archived(lab, seeds):
    """Archive each seed once, in its own bucket, and leave its volume attached: name -> (bucket, volume, result)."""
    done = {}
    try:
        for name in SEEDS:
            bucket = lab.new_bucket()
            volume = lab.attach(seeds[name])
            result = lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds[name], volume_id=volume["volume_id"])
            done[name] = (bucket, volume, result)
        yield done
    finally:
        for _bucket, volume, _result in done.values():
            lab.detach(volume["volume_id"])


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_validates_in_full(lab, seeds, archived, name):
    """Every byte of every archive is the volume's, and a receipt says so."""
    bucket, volume, result = archived[name]
    receipt = lab.ok("snapshot_validate", bucket=bucket, snapshot_id=seeds[name], level="full", volume_id=volume["volume_id"])
    assert receipt["result"] == "equal"
    assert receipt["bytes"] == result["bytes_in"]
    assert receipt["receipt"] in lab.keys(bucket)


@pytest.mark.parametrize("name", ["gpt", "btrfs", "awkward", "mbr", "tagged", "empty"])
def test_stock_tools_bring_back_a_tree_equal_in_every_attribute(lab, archived, name, tmp_path):
    """zstd -d and GNU tar, and nothing of ours."""
    bucket, volume, result = archived[name]
    tars = [entry for entry in result["archives"] if entry["format"] == "tar"]
    assert tars, lab.s3.get_object(Bucket=bucket, Key=result["manifest"])["Body"].read()
    for entry in tars:
        number = entry["partition"]
        device = volume["device"] if number is None else f"{volume['device']}p{number}"
        kind = subprocess.run(
            ["blkid", "-o", "value", "-s", "TYPE", device], capture_output=True, text=True, check=True
        ).stdout.strip()
        local = tmp_path / f"{number}.tar.zst"
        lab.s3.download_file(bucket, entry["objects"][0]["key"], str(local))
        extract(["zstd", "-dc", str(local)], tmp_path / f"out{number}", "tar")
        with mounted(device, OPTIONS[kind]) as original:
            # Which blocks a copied file leaves empty is up to xfs and btrfs; ext4 to ext4 is compared exactly.
            assert compare(original, tmp_path / f"out{number}", holes=kind == "ext4") == []


@pytest.mark.parametrize("name", ["vfat", "unknown"])
def test_an_image_is_the_disk_byte_for_byte(lab, archived, name, tmp_path):
    """What cannot be mounted, or recognised, is kept whole."""
    bucket, volume, result = archived[name]
    local = tmp_path / "image.zst"
    lab.s3.download_file(bucket, result["keys"][0], str(local))
    with subprocess.Popen(["zstd", "-dc", str(local)], stdout=subprocess.PIPE) as image:
        compared = subprocess.run(["cmp", "-", volume["device"]], stdin=image.stdout, capture_output=True, check=False)
    assert compared.returncode == 0, compared.stdout
    entry = manifest(lab, bucket, result)["disk"]["filesystems"][0]
    assert entry["archived"] == "image"
    assert (
        ("unknown filesystem" in entry["reason"] or "vfat" in entry["reason"])
        if name == "vfat"
        else "recognised" in entry["reason"]
    )


def manifest(lab, bucket, result):
    import json

    return json.loads(lab.s3.get_object(Bucket=bucket, Key=result["manifest"])["Body"].read())["body"]


def test_the_manifest_can_rebuild_a_partitioned_disk(lab, archived):
    """The table, boot area, filesystem types, UUIDs, labels, swap, and what happened to the journal."""
    bucket, _volume, result = archived["gpt"]
    disk = manifest(lab, bucket, result)["disk"]
    assert disk["table"]["label"] == "gpt"
    assert disk["table"]["id"] == "11111111-2222-3333-4444-555555555555"
    by_number = {each["partition"]: each for each in disk["filesystems"]}
    assert [by_number[n]["archived"] for n in (1, 2, 3, 4)] == ["image", "tar", "tar", "record"]
    assert by_number[2]["journal"] == "replayed"
    assert by_number[3]["facts"]["LABEL"] == "data"
    assert by_number[4]["facts"]["UUID"] == "c01d5708-0000-4000-8000-000000000004"
    assert [entry["partition"] for entry in result["archives"]] == [0, 1, 2, 3]


def test_all_subvolumes_of_a_btrfs_are_in_the_archive(lab, archived):
    """Not only those below the default one."""
    bucket, _volume, result = archived["btrfs"]
    assert manifest(lab, bucket, result)["archives"][0]["subvolumes"] == [
        "@", "@/var", "@home", "@home/snapshots", "@home/snapshots/one",
    ]  # fmt: skip


def test_tags_and_descriptions_of_any_kind_are_kept(lab, archived):
    """All 32 and the queue's own in the manifest, what S3 takes on the object: one has a tab."""
    bucket, _volume, result = archived["tagged"]
    kept = manifest(lab, bucket, result)["snapshot"]
    assert len(kept["tags"]) == 33
    assert kept["tags"]["a tab"] == "a\tb"
    assert kept["description"] == "Größe: nächtliche Sicherung / Täglich ☃"
    tags = {tag["Key"]: tag["Value"] for tag in lab.s3.get_object_tagging(Bucket=bucket, Key=result["keys"][0])["TagSet"]}
    assert (len(tags), "a tab" in tags, tags["a wide space"]) == (10, False, "a\u3000b")
    metadata = lab.s3.head_object(Bucket=bucket, Key=result["keys"][0])["Metadata"]
    assert set(metadata) == {
        "snapshot-starttime", "snapshot-snapshotid", "snapshot-volumesize", "snapshot-volumeid", "snapshot-description", "uncompressed-size",
    }  # fmt: skip


def test_nothing_stays_mounted_and_a_second_run_changes_nothing(lab, seeds, archived):
    """The mounts were private and are gone; the manifest is found."""
    bucket, volume, first = archived["tagged"]
    assert volume["device"] not in Path("/proc/mounts").read_text()
    again = lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["tagged"], volume_id=volume["volume_id"])
    assert not again["changed"]
    assert again["keys"] == first["keys"]


@pytest.mark.parametrize("name", ["tagged", "unknown"])
@pytest.mark.parametrize("where", [10, -1, 0.5])
@pytest.mark.parametrize("what", ["archive", "index", "manifest"])
def test_a_flipped_bit_is_found_wherever_it_is(lab, seeds, archived, name, where, what):
    """In any archive, index or manifest, behind S3's back; and named."""
    bucket, _volume, result = archived[name]
    key = {"archive": result["keys"][0], "index": result["keys"][0] + ".index.zst", "manifest": result["manifest"]}[what]
    size = lab.s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    offset = int(size * where) if isinstance(where, float) else where
    lab.damage(bucket, key, offset)
    try:
        found = lab.module("snapshot_validate", bucket=bucket, snapshot_id=seeds[name], level="archive")
        assert found["failed"]
        assert "damaged" in found["msg"] or found["difference_count"] >= 1
        assert key in str(found)
    finally:
        lab.damage(bucket, key, offset)
    assert lab.ok("snapshot_validate", bucket=bucket, snapshot_id=seeds[name], level="archive")["result"] == "equal"


def test_quick_validation_sees_a_replaced_object(lab, seeds, archived):
    """Size and checksum in S3 against the manifest, without fetching anything."""
    bucket, _volume, result = archived["empty"]
    assert lab.ok("snapshot_validate", bucket=bucket, snapshot_id=seeds["empty"], level="quick")["bytes"] == 0
    key = result["keys"][0]
    before = lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    lab.s3.put_object(Bucket=bucket, Key=key, Body=b"something else")
    found = lab.module("snapshot_validate", bucket=bucket, snapshot_id=seeds["empty"], level="quick", fail_on_difference=False)
    assert {each["attribute"] for each in found["differences"]} == {"size", "checksum"}
    lab.s3.delete_object(Bucket=bucket, Key=key)
    found = lab.module("snapshot_validate", bucket=bucket, snapshot_id=seeds["empty"], level="quick", fail_on_difference=False)
    assert found["differences"][0]["found"] == "missing"
    lab.s3.put_object(Bucket=bucket, Key=key, Body=before)


def test_an_archive_outlives_its_snapshot(lab, tmp_path):
    """Levels quick and archive need no snapshot; full does, and says so."""
    bucket = lab.new_bucket()
    image = lab.directory / "short-lived.img"
    subprocess.run(["mkfs.ext4", "-q", image, "1G"], check=True)
    snapshot_id = "snap-0000000000000feed"
    lab.call(
        "snapshot",
        {"snapshot_id": snapshot_id, "volume_id": "vol-0000000000000feed", "size": 1, "description": "", "tags": {},
         "start_time": "2020-01-01T00:00:00+00:00", "image": str(image)},
    )  # fmt: skip
    volume = lab.attach(snapshot_id)
    lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=snapshot_id, volume_id=volume["volume_id"])
    lab.detach(volume["volume_id"])
    lab.ec2.delete_snapshot(SnapshotId=snapshot_id)
    for level in ("quick", "archive"):
        assert lab.ok("snapshot_validate", bucket=bucket, snapshot_id=snapshot_id, level=level)["result"] == "equal"
    said = lab.module("snapshot_validate", bucket=bucket, snapshot_id=snapshot_id, level="full")["msg"]
    assert "does not exist" in said
    assert "Levels quick and archive need no snapshot." in said


def test_full_validation_names_what_differs_on_the_volume(lab, seeds):
    """Changed content, mode, an extra and a missing file: each by path and attribute."""
    bucket = lab.new_bucket()
    volume = lab.attach(seeds["tagged"])
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["tagged"], volume_id=volume["volume_id"])

        def differences(change):
            with mounted(volume["device"], "rw") as root:
                change(root)
            found = lab.module(
                "snapshot_validate", bucket=bucket, snapshot_id=seeds["tagged"], level="full",
                volume_id=volume["volume_id"], fail_on_difference=False,
            )  # fmt: skip
            return {(each["path"], each["attribute"]) for each in found["differences"]}

        def content(root):
            import os

            status = os.stat(root / "big")
            with open(root / "big", "r+b") as file:
                file.seek(5 << 20)
                file.write(b"!")
            os.utime(root / "big", ns=(status.st_atime_ns, status.st_mtime_ns))

        assert differences(content) == {("big", "content")}
        assert differences(lambda root: (root / "big").chmod(0o4711)) == {("big", "mode")}
        assert ("extra", "member") in differences(lambda root: (root / "extra").touch())
        assert ("big", "member") in differences(lambda root: (root / "big").unlink())
    finally:
        lab.detach(volume["volume_id"])
