# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a root disk as people have them: a GPT with boot loader, EFI system partition and root."""

import random
import subprocess
import uuid

import disks
import pytest
from conftest import finished, start
from trees import mounted

# As images of Ubuntu and Debian have it. The EFI partition is ext2, which every kernel of a test can mount.
TABLE = """label: gpt
14: start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649
15: start=10240, size=65536, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
16: start=75776, size=8192, type=S
1: start=83968, type=L
"""


def root_disk(path):
    """On a volume that was made larger afterwards, which nobody has told the table; with boot code wherever there can be some."""
    chance = random.Random(14)
    with open(path, "wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["sfdisk", "--quiet", path], input=TABLE, text=True, check=True)
    with open(path, "r+b") as file:
        file.write(chance.randbytes(446))
        file.truncate(1 << 30)
    with disks.attached(path) as device:
        subprocess.run(["mkswap", "-q", "-p", "65536", "-L", "swap", f"{device}p16"], check=True, capture_output=True)
        for number, name, directory in ((15, "BOOTX64.EFI", "EFI/BOOT"), (1, "fstab", "etc")):
            subprocess.run(["mkfs.ext2", "-q", "-L", f"label{number}", f"{device}p{number}"], check=True)
            with mounted(f"{device}p{number}", "rw") as root:
                (root / directory).mkdir(parents=True)
                (root / directory / name).write_text(f"of partition {number}\n")
        for number in (1, 15, 16):
            with open(f"{device}p{number}", "r+b") as file:
                file.write(chance.randbytes(1024))


@pytest.fixture(scope="module")
def archived(lab, tmp_path_factory):
    """(snapshot id, bucket) of a root disk that was archived."""
    image = tmp_path_factory.mktemp("root") / "root.img"
    root_disk(image)
    snapshot, bucket = f"snap-{uuid.uuid4().hex[:17]}", lab.new_bucket()
    facts = {"volume_id": f"vol-{uuid.uuid4().hex[:17]}", "size": 1, "start_time": "2017-02-02T00:00:00+00:00", "tags": {}}
    lab.call("snapshot", {"snapshot_id": snapshot, "description": "a root disk", "image": str(image), **facts})
    volume = lab.attach(snapshot)
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=snapshot, volume_id=volume["volume_id"])
    finally:
        lab.detach(volume["volume_id"])
    yield snapshot, bucket
    lab.ec2.delete_snapshot(SnapshotId=snapshot)


def found(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def restored(lab, venv, archived, directory, code=0, check=False, **variables):
    """The playbook's output, wrapped lines joined."""
    given = {"coldstore_restore_snapshot": archived[0], "coldstore_restore_directory": str(directory), **variables}
    return " ".join(finished(start(lab, archived[1], venv, "restore", check=check, **given), code).split())


def test_the_root_is_what_is_meant_beside_an_efi_partition(lab, venv, archived, tmp_path):
    """Nobody has to be asked; what is left out is named, and one can have it."""
    target = tmp_path / "out"
    output = restored(lab, venv, archived, target, check=True)
    assert "Partitions: 1. Left out: " in output
    assert not target.exists()
    output = restored(lab, venv, archived, target)
    assert found(target) == ["etc/fstab"]
    assert "s. Partitions: 1. Left out: " in output, "one line"
    assert "15: the EFI system partition was not asked for" in output
    assert "14: a BIOS boot partition holds no filesystem" in output
    output = restored(lab, venv, archived, tmp_path / "efi", coldstore_restore_partition=15)
    assert found(tmp_path / "efi") == ["EFI/BOOT/BOOTX64.EFI"]
    assert "Left out" not in output


def test_all_partitions_are_restored_below_their_numbers(lab, archived, tmp_path):
    """One that was interrupted is run again; what is whole is not written over."""
    snapshot, bucket = archived
    asked = {"bucket": bucket, "snapshot_id": snapshot, "directory": str(tmp_path / "all"), "partition": "all"}
    foreseen = lab.module("snapshot_restore", True, **asked)
    done = lab.ok("snapshot_restore", **asked)
    assert found(tmp_path / "all") == ["1/etc/fstab", "15/EFI/BOOT/BOOTX64.EFI"]
    assert (done["members"], done["bytes_written"]) == (foreseen["members"], foreseen["bytes_written"])
    assert [(each["partition"], each["directory"]) for each in done["archives"]] == [
        (1, str(tmp_path / "all" / "1")),
        (15, str(tmp_path / "all" / "15")),
    ]
    assert [each["partition"] for each in done["left_out"]] == [14]
    assert "is not empty" in lab.module("snapshot_restore", **asked)["msg"]
    (tmp_path / "all" / ".coldstore-ebs.incomplete").touch()
    lab.ok("snapshot_restore", **asked)
    assert found(tmp_path / "all") == ["1/etc/fstab", "15/EFI/BOOT/BOOTX64.EFI"]
    some = lab.ok("snapshot_restore", **dict(asked, directory=str(tmp_path / "some"), paths=["etc"]))
    assert found(tmp_path / "some") == ["1/etc/fstab"]
    assert {each["partition"]: each["reason"] for each in some["left_out"]}[15] == "it has nothing at these paths"
    assert (
        "nothing in the archive matches" in lab.module("snapshot_restore", **dict(asked, paths=["no/such"], overwrite=True))["msg"]
    )


def test_only_what_is_read_is_thawed(lab, venv, archived, tmp_path):
    """Not the archives of other partitions; and an image that cannot go into a directory is refused before a thaw."""
    snapshot, bucket = archived
    copy = lab.new_bucket()
    for key in lab.keys(bucket):
        more = {"StorageClass": "GLACIER", "MetadataDirective": "COPY"} if key.endswith((".img.zst", ".tar.zst")) else {}
        lab.s3.copy({"Bucket": bucket, "Key": key}, copy, key, ExtraArgs=more)
    output = restored(lab, venv, (snapshot, copy), tmp_path / "out", check=True)
    assert "(objects: 1)" in output
    asked = {"coldstore_restore_partition": 14, "coldstore_thaw_wait": True}
    output = restored(lab, venv, (snapshot, copy), tmp_path / "out", **asked, code=2)
    assert output.count("partition 14 of") == 1, "the reason, once"
    assert "is an image: a BIOS boot partition holds no filesystem. Restore it to a device or file with device" in output
    assert "still thawing" in restored(lab, venv, (snapshot, copy), tmp_path / "out")
    asleep = [key for key in lab.keys(copy) if key.endswith((".img.zst", ".tar.zst"))]
    asked = [key for key in asleep if "Restore" in lab.s3.head_object(Bucket=copy, Key=key)]
    assert [key.endswith(f"{snapshot}.1.tar.zst") for key in asked] == [True]
    assert not (tmp_path / "out").exists()


def begin(device, length, offset=0):
    with open(device, "rb") as disk:
        disk.seek(offset)
        return disk.read(length)


def verified(device):
    return subprocess.run(["sgdisk", "-v", device], capture_output=True, text=True, check=False).stdout.replace(device, "")


def test_the_table_of_a_grown_volume_comes_back_as_it_was_or_whole(lab, archived):
    """On a volume of the same size every byte of both copies; on a larger one sgdisk finds nothing wrong, and the boot code is there."""
    snapshot, bucket = archived
    original = lab.attach(snapshot)
    backup = ((256 << 20) - 33 * 512, 33 * 512)
    try:
        device = original["device"]
        area, second, said = begin(device, 2048 * 512), begin(device, backup[1], backup[0]), verified(device)
        blocks = {number: begin(f"{device}p{number}", 1024) for number in (1, 15, 16)}
        swap = begin(f"{device}p16", 4096, 65536 - 4096)
    finally:
        lab.detach(original["volume_id"])
    assert second[-512:].startswith(b"EFI PART")
    for size in (1, 2):
        fresh = lab.attach(snapshot, format="restore", size=size)
        try:
            done = lab.ok("snapshot_restore", bucket=bucket, snapshot_id=snapshot, volume_id=fresh["volume_id"], grow=size == 2)
            device = done["device"]
            assert {number: begin(f"{device}p{number}", 1024) for number in blocks} == blocks
            assert begin(f"{device}p16", 4096, 65536 - 4096) == swap
            if size == 1:
                assert begin(device, 2048 * 512) == area
                assert begin(device, backup[1], backup[0]) == second
                assert verified(device) == said
                validated = {"level": "restored", "volume_id": fresh["volume_id"]}
                assert lab.ok("snapshot_validate", bucket=bucket, snapshot_id=snapshot, **validated)["result"] == "equal"
            else:
                assert "No problems found" in verified(device)
                assert begin(device, 446) == area[:446]
                assert begin(f"{device}p14", 4 << 20) == bytes(4 << 20)
            for number in (1, 15):
                subprocess.run(["e2fsck", "-fn", f"{device}p{number}"], check=True, capture_output=True)
        finally:
            lab.detach(fresh["volume_id"])
