# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that snap-to-s3 left: found in every variant, read through, and compared with the snapshot member by member."""

import subprocess

import pytest
from trees import mounted


@pytest.fixture(scope="module")
def volume(lab, seeds):
    made = lab.attach(seeds["tagged"])
    yield made
    lab.detach(made["volume_id"])


def put(lab, bucket, snapshot_id, ending, command):
    data = subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, capture_output=True).stdout
    key = f"{snapshot_id.replace('snap', 'vol')}/2017-01-06T01:00:00+01:00 {snapshot_id} - nightly / big{ending}"
    lab.s3.put_object(Bucket=bucket, Key=key, Body=data)
    return key


def compare(lab, bucket, snapshot_id, volume, level="full"):
    found = lab.module(
        "snapshot_validate",
        bucket=bucket,
        snapshot_id=snapshot_id,
        level=level,
        volume_id=volume["volume_id"],
        fail_on_difference=False,
    )
    assert not found.get("failed"), found["msg"]
    return found


@pytest.mark.parametrize(("ending", "codec"), [(".tar.lz4", "lz4 -c"), (".tar.zstd", "zstd -qc")])
def test_a_tar_of_snap_to_s3_validates_in_full(lab, bucket, seeds, volume, ending, codec):
    """The compression is the object's, whatever the options say."""
    with mounted(volume["device"]) as root:
        key = put(lab, bucket, seeds["tagged"], ending, f"tar -c -C {root} . | {codec}")
    for level in ("archive", "full"):
        found = compare(lab, bucket, seeds["tagged"], volume, level)
        assert found["result"] == "equal", found["differences"]
        assert found["archives"] == [key]
        assert found["members"] > 120


def test_an_image_of_snap_to_s3_validates_in_full(lab, bucket, seeds):
    """Byte by byte."""
    fresh = lab.attach(seeds["unknown"], format="image")
    try:
        put(lab, bucket, seeds["unknown"], ".img.lz4", f"lz4 -c {fresh['device']}")
        assert compare(lab, bucket, seeds["unknown"], fresh)["result"] == "equal"
        lab.s3.delete_object(Bucket=bucket, Key=lab.keys(bucket)[0])
        put(lab, bucket, seeds["unknown"], ".img.lz4", f"head -c 500000000 {fresh['device']} | lz4 -c")
        assert compare(lab, bucket, seeds["unknown"], fresh)["result"] == "different"
    finally:
        lab.detach(fresh["volume_id"])


def test_every_attribute_that_differs_is_named(lab, bucket, seeds, volume, tmp_path):
    """Type, mode, owner, link, size, time, content, extra and missing: what snap-to-s3's own validation did not look at."""
    with mounted(volume["device"]) as root:
        subprocess.run(["cp", "-a", f"{root}/.", tmp_path / "copy"], check=True)
    copy = tmp_path / "copy"
    folder = copy / "dir1" / "sub1"
    (copy / "big").chmod(0o4644)
    subprocess.run(["touch", "-d", "2020-01-01", folder / "file 1"], check=True)
    subprocess.run(["chown", "7:8", folder / "file 22"], check=True)
    (copy / "extra").touch()
    (folder / "file 43").unlink()
    subprocess.run(["touch", "-r", copy / "dir2", folder], check=True)
    put(lab, bucket, seeds["tagged"], ".tar.lz4", f"tar -c -C {copy} . | lz4 -c")
    named = {(each["path"], each["attribute"]) for each in compare(lab, bucket, seeds["tagged"], volume)["differences"]}
    assert {
        ("big", "mode"), ("dir1/sub1/file 1", "mtime"), ("dir1/sub1/file 22", "uid"), ("dir1/sub1/file 22", "gid"),
        ("extra", "member"), ("dir1/sub1/file 43", "member"),
    } <= named  # fmt: skip


def test_damage_in_a_foreign_archive_is_a_difference_that_names_it(lab, bucket, seeds, volume):
    """A stream that does not decode."""
    with mounted(volume["device"]) as root:
        key = put(lab, bucket, seeds["tagged"], ".tar.lz4", f"tar -c -C {root} . | lz4 -c")
    lab.damage(bucket, key, 5_000_000)
    found = lab.module("snapshot_validate", bucket=bucket, snapshot_id=seeds["tagged"], level="archive", fail_on_difference=False)
    assert found["result"] == "different"
    assert ("stream", key) in {(each["attribute"], each["archive"]) for each in found["differences"]}


def test_an_encrypted_archive_is_refused(lab, bucket, seeds, volume):
    """It cannot be compared as it is, and is not called valid."""
    put(lab, bucket, seeds["tagged"], ".tar.lz4.gpg", "echo x")
    found = lab.module("snapshot_validate", bucket=bucket, snapshot_id=seeds["tagged"], level="archive")
    assert found["failed"]
    assert "encrypted with GPG" in found["msg"]
