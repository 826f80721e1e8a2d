# SPDX-License-Identifier: GPL-3.0-or-later
"""Every seeded snapshot: volume -> archive -> new volume, equal in every attribute; and what goes wrong on the way back."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import time

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import filesystems
from trees import described, differences, mounted

SEEDS = ("gpt", "btrfs", "awkward", "mbr", "vfat", "tagged", "empty", "unknown")
OPTIONS = {"xfs": "ro,nouuid", "btrfs": "ro,subvolid=5", "ext4": "ro"}
FSCK = {"xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check", "--readonly"], "ext4": ["e2fsck", "-fn"]}


def out(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def archived(lab, seeds):
    """Archive each seed once, in its own bucket: name -> bucket. The volumes are gone again."""
    done = {}
    for name in SEEDS:
        done[name] = lab.new_bucket()
        volume = lab.attach(seeds[name])
        try:
            lab.ok("snapshot_archive_s3", bucket=done[name], snapshot_id=seeds[name], volume_id=volume["volume_id"])
        finally:
            lab.detach(volume["volume_id"])
    return done


def facts(device):
    """What blkid says of a device, but for what is new in every filesystem."""
    text = subprocess.run(["blkid", "-p", "-o", "export", device], capture_output=True, text=True, check=False).stdout
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: value for name, value in pairs.items() if name not in ("DEVNAME", "UUID_SUB", "PART_ENTRY_DISK")}


def table(device):
    done = subprocess.run(["sfdisk", "--json", device], capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)["partitiontable"] if not done.returncode else {}
    said.pop("device", None)
    for each in said.get("partitions", []):
        each["node"] = each["node"].rpartition("p")[2]
    return said


def subvolumes(root):
    """btrfs: which there are, which one is the default, which are read-only."""
    names = ["list", "list", "get-default"]
    said = [out("btrfs", "subvolume", name, *(["-r"] if at else []), root) for at, name in enumerate(names[:2])]
    paths = [sorted(line.partition(" path ")[2] for line in text.splitlines()) for text in said]
    return [*paths, out("btrfs", "subvolume", "get-default", root).partition(" path ")[2]]


def portrait(device, numbers):
    """All there is to compare of a disk: table, boot area, types, UUIDs, labels, features, trees, images."""
    found = {"table": table(device)}
    if numbers:
        with open(device, "rb") as disk:
            found["boot area"] = disk.read(2048 * 512)
    for number in numbers or [None]:
        part = device if number is None else f"{device}p{number}"
        known = found[number, "facts"] = facts(part)
        kind = known.get("TYPE")
        if kind in OPTIONS:
            with mounted(part, OPTIONS[kind]) as root:
                found[number, "tree"] = described(root, holes=kind == "ext4")
                found[number, "features"] = filesystems.describe(kind, part, str(root))
                if kind == "btrfs":
                    found[number, "subvolumes"] = subvolumes(root)
        elif kind != "swap":
            found[number, "image"] = out("b2sum", part).split()[0]
    return found


def check_filesystems(device, numbers):
    """fsck has nothing to say."""
    for number in numbers or [None]:
        part = device if number is None else f"{device}p{number}"
        kind = facts(part).get("TYPE")
        if kind in FSCK:
            checked = subprocess.run([*FSCK[kind], part], capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_comes_back_on_a_new_volume(lab, seeds, archived, name):
    """Compared with the original in all there is, with fsck, and by a validation of the archive against it."""
    numbers = {"gpt": [1, 2, 3, 4], "mbr": [1, 2]}.get(name)
    original = lab.attach(seeds[name])
    try:
        before = portrait(original["device"], numbers)
    finally:
        lab.detach(original["volume_id"])
    fresh = lab.attach(seeds[name], format="restore", size=2 if name == "awkward" else 1)
    try:
        done = lab.ok("snapshot_restore", bucket=archived[name], snapshot_id=seeds[name], volume_id=fresh["volume_id"])
        assert (done["problems"], done["skipped"], done["unchecked"]) == ([], [], [])
        after = portrait(done["device"], numbers)
        for what, value in before.items():
            if "tree" in what:
                assert differences(value, after[what]) == [], what
            else:
                assert (what, after[what]) == (what, value)
        check_filesystems(done["device"], numbers)
        checked = lab.ok(
            "snapshot_validate", bucket=archived[name], snapshot_id=seeds[name], level="restored", volume_id=fresh["volume_id"]
        )
        assert checked["result"] == "equal"
    finally:
        lab.detach(fresh["volume_id"])


def restore(lab, archived, seeds, name, check=False, **arguments):
    return lab.module("snapshot_restore", check, bucket=archived[name], snapshot_id=seeds[name], **arguments)


@pytest.fixture(scope="module")
def tagged_tree(lab, seeds):
    """What the seed `tagged` holds, described."""
    volume = lab.attach(seeds["tagged"])
    try:
        with mounted(volume["device"]) as root:
            return described(root)
    finally:
        lab.detach(volume["volume_id"])


def entries(lab, bucket):
    key = next(key for key in lab.keys(bucket) if key.endswith(".manifest.json"))
    return json.loads(lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read())["body"]["archives"]


def test_all_files_come_back_into_a_directory(lab, seeds, archived, tagged_tree, tmp_path):
    """Equal in every attribute; check mode says beforehand how many and how large; the second time is refused."""
    target = tmp_path / "out"
    foreseen = restore(lab, archived, seeds, "tagged", True, directory=str(target))
    assert not target.exists()
    done = restore(lab, archived, seeds, "tagged", directory=str(target))
    assert not done.get("failed"), done["msg"]
    assert differences(tagged_tree, described(target)) == []
    assert (done["members"], done["bytes_written"]) == (foreseen["members"], foreseen["bytes_written"])
    assert done["diff"]["after"]["restored"] == str(target)
    assert "not empty" in restore(lab, archived, seeds, "tagged", directory=str(target))["msg"]
    assert not restore(lab, archived, seeds, "tagged", directory=str(target), overwrite=True).get("failed")
    assert differences(tagged_tree, described(target)) == []


def test_one_file_costs_the_index_and_the_frames_it_lies_in(lab, seeds, archived, tmp_path):
    """The result says how many bytes were fetched, and S3 agrees."""
    entry = entries(lab, archived["tagged"])[0]
    done = restore(lab, archived, seeds, "tagged", directory=str(tmp_path / "out"), paths=["big"])
    assert done["members"] == 1
    index = lab.s3.get_object(Bucket=archived["tagged"], Key=entry["index"]["key"])["Body"].read()
    lines = subprocess.run(["zstd", "-dc"], input=index, capture_output=True, check=True).stdout.splitlines()
    frames = [json.loads(line) for line in lines if line.startswith(b'["f"')]
    member = next(item for item in map(json.loads, lines[1:-1]) if item[0] == "m" and item[1] == "big")
    needed = [frame for frame in frames if frame[3] < member[3] + member[4] and frame[3] + frame[4] > member[3]]
    assert done["bytes_fetched"] == len(index) + sum(frame[2] for frame in needed)
    small = restore(lab, archived, seeds, "tagged", directory=str(tmp_path / "small"), paths=["dir1/sub1/file 1"])
    assert small["bytes_fetched"] <= len(index) + 2 * max(frame[2] for frame in frames)
    assert (tmp_path / "small" / "dir1" / "sub1" / "file 1").is_file()


def test_a_hard_link_alone_brings_its_contents(lab, seeds, archived, tmp_path):
    """The first of its names was not asked for; several of its other names stay one file."""
    done = restore(lab, archived, seeds, "awkward", directory=str(tmp_path / "out"), paths=["**/second", "**/third"])
    assert not done.get("failed"), done["msg"]
    found = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [path.name for path in found] == ["third", "second"] or len(found) == 2
    assert len({path.stat().st_ino for path in found}) == 1
    assert found[0].read_bytes() == b"one inode, three names\n"


def test_a_bare_key_is_enough(lab, seeds, archived, tagged_tree, tmp_path):
    """Of a manifest or of an archive; with the manifest found, everything is checked."""
    entry = entries(lab, archived["tagged"])[0]
    for number, key in enumerate((entry["objects"][0]["key"], entry["objects"][0]["key"].replace(".tar.zst", ".manifest.json"))):
        target = tmp_path / str(number)
        done = lab.ok("snapshot_restore", bucket=archived["tagged"], key=key, directory=str(target))
        assert done["unchecked"] == []
        assert differences(tagged_tree, described(target)) == []


def test_one_of_several_partitions_is_named(lab, seeds, archived, tmp_path):
    """Otherwise the module says which there are."""
    refused = restore(lab, archived, seeds, "gpt", directory=str(tmp_path / "out"))
    there = "0 (image, boot area), 1 (image, 1 MiB), 2 (ext4, 200 MiB, label root), 3 (xfs, 400 MiB, label data)"
    assert f"hold files; there are {there}. Choose one with partition" in refused["msg"]
    assert not restore(lab, archived, seeds, "gpt", directory=str(tmp_path / "out"), partition=3).get("failed")
    done = restore(lab, archived, seeds, "gpt", device=str(tmp_path / "bios.img"), partition=1)
    assert (tmp_path / "bios.img").stat().st_size == 1 << 20
    assert done["bytes_written"] == 1 << 20


def test_an_image_into_a_file_writes_no_zero_range(lab, seeds, archived, tmp_path):
    """8 MiB of a GiB hold something; the file is as sparse as that, and equal."""
    path = tmp_path / "disk.img"
    done = lab.ok("snapshot_restore", bucket=archived["unknown"], snapshot_id=seeds["unknown"], device=str(path))
    assert path.stat().st_size == 1 << 30
    assert done["bytes_written"] == (8 << 20) + 4096
    assert path.stat().st_blocks * 512 <= (8 << 20) + 65536
    volume = lab.attach(seeds["unknown"])
    try:
        assert subprocess.run(["cmp", path, volume["device"]], check=False).returncode == 0
    finally:
        lab.detach(volume["volume_id"])


def test_a_larger_volume_grows_the_last_partition(lab, seeds, archived):
    """With grow; the second copy of the table goes to the new end, and the filesystem fills its partition."""
    fresh = lab.attach(seeds["gpt"], format="restore", size=2)
    try:
        done = lab.ok("snapshot_restore", bucket=archived["gpt"], snapshot_id=seeds["gpt"], volume_id=fresh["volume_id"], grow=True)
        said = table(done["device"])
        assert [each["size"] for each in said["partitions"]][:3] == [2048, 409600, 819200]
        assert said["partitions"][3]["size"] > 2 * 1024 * 1024
        assert (
            "PMBR" not in subprocess.run(["sfdisk", "--verify", done["device"]], capture_output=True, text=True, check=True).stderr
        )
        check_filesystems(done["device"], [2, 3])
    finally:
        lab.detach(fresh["volume_id"])
    fresh = lab.attach(seeds["tagged"], format="restore", size=2)
    try:
        for grow, blocks in ((False, 262144), (True, 524288)):
            done = lab.ok(
                "snapshot_restore", bucket=archived["tagged"], snapshot_id=seeds["tagged"], volume_id=fresh["volume_id"], grow=grow
            )
            assert filesystems.describe("ext4", done["device"], "")["blocks"] == blocks
            check_filesystems(done["device"], None)
    finally:
        lab.detach(fresh["volume_id"])


def test_a_restored_volume_can_be_kept(lab, seeds, archived):
    """It is detached, loses the tags that would let it be removed, and nothing of ours touches it again."""
    fresh = lab.attach(seeds["empty"], format="restore", size=1, encrypted=True)
    lab.ok("snapshot_restore", bucket=archived["empty"], snapshot_id=seeds["empty"], volume_id=fresh["volume_id"])
    for changed in (True, False):
        assert lab.ok("ebs_temp_volume", state="kept", volume_id=fresh["volume_id"], poll_interval=0.1)["changed"] is changed
    volume = lab.ec2.describe_volumes(VolumeIds=[fresh["volume_id"]])["Volumes"][0]
    try:
        assert (volume["State"], volume["Encrypted"]) == ("available", True)
        assert {"Key": "coldstore.ebs:restored", "Value": seeds["empty"]} in volume["Tags"]
        refused = lab.module("ebs_temp_volume", state="absent", volume_id=fresh["volume_id"])
        assert "not a temporary volume" in refused["msg"]
    finally:
        lab.ec2.delete_volume(VolumeId=fresh["volume_id"])
    temporary = lab.attach(seeds["empty"])
    try:
        assert (
            "not a volume that coldstore.ebs restored"
            in lab.module("ebs_temp_volume", state="kept", volume_id=temporary["volume_id"])["msg"]
        )
    finally:
        lab.detach(temporary["volume_id"])


def copied(lab, archived, name):
    """The bucket of a seed, copied: to be damaged."""
    bucket = lab.new_bucket()
    for key in lab.keys(archived[name]):
        lab.s3.copy({"Bucket": archived[name], "Key": key}, bucket, key)
    return bucket


@pytest.mark.parametrize("what", ["flipped", "truncated", "missing", "foreign", "no index", "index flipped", "manifest flipped"])
def test_damage_is_refused_by_name_and_never_looks_whole(lab, seeds, archived, tmp_path, what):
    """In the archive, the index or the manifest: the error names key and offset, and the directory keeps its marker."""
    bucket = copied(lab, archived, "tagged")
    entry = entries(lab, bucket)[0]
    key, size = entry["objects"][0]["key"], entry["objects"][0]["size"]
    body = lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    broken, words = key, "digest differs"
    if what == "flipped":
        lab.damage(bucket, key, size * 3 // 4)
    elif what == "truncated":
        lab.s3.put_object(Bucket=bucket, Key=key, Body=body[: size // 2])
        words = "shorter than its manifest says|bytes are there"
    elif what == "missing":
        lab.s3.delete_object(Bucket=bucket, Key=key)
        words = "the object is missing"
    elif what == "foreign":
        lab.s3.put_object(Bucket=bucket, Key=key, Body=os.urandom(size))
    elif what == "no index":
        broken, words = entry["index"]["key"], "missing"
        lab.s3.delete_object(Bucket=bucket, Key=broken)
    elif what == "index flipped":
        broken, words = entry["index"]["key"], "SHA-256 differs from the manifest's"
        lab.damage(bucket, broken, 100)
    else:
        broken, words = key.replace(".tar.zst", ".manifest.json"), "damaged"
        lab.damage(bucket, broken, 100)
    target = tmp_path / "out"
    found = lab.module("snapshot_restore", bucket=bucket, snapshot_id=seeds["tagged"], directory=str(target))
    assert found["failed"]
    assert found["kind"] == "corrupt"
    assert any(each in found["msg"] for each in words.split("|")), found["msg"]
    assert broken in found["msg"]
    if what in ("flipped", "foreign", "truncated"):
        assert "offset" in found["msg"]
        assert ".coldstore-ebs.incomplete" in os.listdir(target)
    else:
        assert not target.exists()


def test_a_killed_restore_is_run_again(lab, seeds, archived, tmp_path):
    """SIGKILL leaves the marker; the next run replaces what is there and takes the marker away. A signal ends in order."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        target = tmp_path / number.name
        with lab.faults({"method": "GET", "path": r"awkward|\.tar\.zst(\?|$)", "action": "delay", "seconds": 3, "times": 100}):
            running = lab.start_module(
                "snapshot_restore", bucket=archived["awkward"], snapshot_id=seeds["awkward"], directory=str(target)
            )
            for _try in range(200):
                if (target / ".coldstore-ebs.incomplete").exists():
                    break
                time.sleep(0.05)
            time.sleep(0.3)
            running.send_signal(number)
            output, _errors = running.communicate(timeout=60)
        assert running.returncode != 0
        assert number == signal.SIGKILL or ("received SIGTERM" in output and "which is incomplete" in output)
        assert (target / ".coldstore-ebs.incomplete").exists()
    done = restore(lab, archived, seeds, "awkward", directory=str(target))
    assert not done.get("failed"), done["msg"]
    assert not (target / ".coldstore-ebs.incomplete").exists()
    assert sum(len(names) for _path, _folders, names in os.walk(os.fsencode(target))) > 20_000


@pytest.mark.parametrize("why", ["received SIGTERM", "the controller has gone away"])
def test_a_stopped_restore_leaves_no_volume_to_pay_for(lab, seeds, archived, why):
    """No later task would remove what is half a disk."""
    fresh = lab.attach(seeds["tagged"], format="restore", size=1)
    with lab.faults({"method": "GET", "path": r"\.tar\.zst(\?|$)", "action": "delay", "seconds": 3, "times": 100}) as struck:
        running = lab.start_module(
            "snapshot_restore", bucket=archived["tagged"], snapshot_id=seeds["tagged"], volume_id=fresh["volume_id"]
        )
        for _try in range(400):
            if struck():
                break
            time.sleep(0.05)
        if "SIGTERM" in why:
            running.send_signal(signal.SIGTERM)
            assert why in running.communicate(timeout=60)[0]
        else:
            running.stdout.close()
            running.wait(60)
    assert fresh["volume_id"] not in lab.volumes()


def test_who_waits_for_a_thaw_notices_that_nobody_listens(lab, seeds, archived, tmp_path):
    """Over pipelined ssh no signal tells that the controller is gone, and the next look is five minutes away."""
    bucket = copied(lab, archived, "tagged")
    key = entries(lab, bucket)[0]["objects"][0]["key"]
    lab.s3.copy({"Bucket": bucket, "Key": key}, bucket, key, ExtraArgs={"StorageClass": "GLACIER", "MetadataDirective": "COPY"})
    with lab.faults({"method": "POST", "path": "restore", "action": "delay", "seconds": 0}) as struck:
        running = lab.start_module(
            "snapshot_restore", bucket=bucket, snapshot_id=seeds["tagged"], directory=str(tmp_path / "out"), wait=True
        )
        for _try in range(400):
            if struck():
                break
            time.sleep(0.05)
        running.stdout.close()
        assert running.wait(60) != 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])
def test_an_archive_that_sleeps_is_thawed(lab, seeds, archived, tagged_tree, tmp_path, storage_class):
    """Check mode names the price; the first run asks S3; a run in between finds that under way; then it is there. The tiers of
    INTELLIGENT_TIERING take no days and come back for good."""
    bucket = copied(lab, archived, "tagged")
    key = entries(lab, bucket)[0]["objects"][0]["key"]
    lab.call("sleep", {"bucket": bucket, "key": key, "storage_class": storage_class})

    def run(check=False, **arguments):
        return lab.module(
            "snapshot_restore", check, bucket=bucket, snapshot_id=seeds["tagged"], directory=str(tmp_path / "out"), **arguments
        )

    if "DEEP" in storage_class:
        assert "only with Standard, Bulk" in run(thaw_tier="Expedited")["msg"]
    foreseen = run(True, thaw_tier="Bulk")
    assert foreseen["pending"]
    assert foreseen["thaw"]["storage_classes"] == [storage_class]
    assert foreseen["thaw"]["dollars"] == (0 if storage_class != "DEEP_ARCHIVE" else pytest.approx(0.000025, abs=1e-3))
    assert foreseen["thaw"]["takes"].endswith("hours")
    only = lab.ok("snapshot_restore", bucket=archived["tagged"], snapshot_id=seeds["tagged"])
    assert (only["pending"], only["changed"], only["target"], only["bytes_fetched"]) == (False, False, "", 0)
    with lab.thawing(600):
        first = run()
        assert (first["pending"], first["changed"]) == (True, True)
        again = run()
        assert (again["pending"], again["changed"]) == (True, False)
        assert not (tmp_path / "out").exists()
    done = run(wait=True, wait_timeout=30, wait_interval=1)
    assert not done.get("failed"), done["msg"]
    assert not done["pending"]
    assert differences(tagged_tree, described(tmp_path / "out")) == []


@pytest.mark.parametrize(("ending", "codec"), [(".tar.lz4", "lz4 -c"), (".tar.zstd", "zstd -qc"), (".1.tar.lz4", "lz4 -9 -c")])
def test_a_tar_of_snap_to_s3_is_restored(lab, bucket, seeds, tmp_path, ending, codec):
    """As far as GNU tar wrote it down; what could not be checked is said. Cut short, it is refused."""
    snapshot_id = "snap-0000000000000cafe"
    key = f"vol-0000000000000cafe/2017-01-06T01:00:00+01:00 {snapshot_id} - nightly / big{ending}"
    volume = lab.attach(seeds["tagged"])
    try:
        with mounted(volume["device"]) as root:
            command = f"tar --format=gnu -c -C {root} . | {codec}"
            data = subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, capture_output=True).stdout
            (tmp_path / "theirs").mkdir()
            subprocess.run(f"tar --format=gnu -c -C {root} . | tar -x -p -C {tmp_path}/theirs", shell=True, check=True)
    finally:
        lab.detach(volume["volume_id"])
    lab.s3.put_object(Bucket=bucket, Key=key, Body=data)
    for number, by in enumerate(({"snapshot_id": snapshot_id}, {"key": key})):
        done = lab.ok("snapshot_restore", bucket=bucket, directory=str(tmp_path / str(number)), **by)
        assert "codec's own checksums" in done["unchecked"][0]
        assert differences(described(tmp_path / "theirs", holes=False), described(tmp_path / str(number), holes=False)) == []
    done = lab.ok(
        "snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, directory=str(tmp_path / "one"), paths=["dir1/sub1/file 1"]
    )
    assert done["members"] == 1
    lab.s3.put_object(Bucket=bucket, Key=key, Body=data[: len(data) // 2])
    cut = lab.module("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, directory=str(tmp_path / "cut"))
    assert cut["kind"] == "corrupt"
    assert ".coldstore-ebs.incomplete" in os.listdir(tmp_path / "cut")
    refused = lab.module("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, device=str(tmp_path / "disk"))
    assert "hold an image" in refused["msg"]


def test_what_is_encrypted_is_refused_with_what_to_do(lab, bucket, tmp_path):
    """Before anything is written."""
    snapshot_id = "snap-0000000000000cafe"
    lab.s3.put_object(Bucket=bucket, Key=f"vol-0000000000000cafe/2017-01-06T00:00:00+00:00 {snapshot_id}.tar.lz4.gpg", Body=b"x")
    refused = lab.module("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, directory=str(tmp_path / "out"))
    assert "encrypted with GPG" in refused["msg"]
    assert not (tmp_path / "out").exists()


def test_an_image_of_snap_to_s3_is_restored(lab, bucket, seeds, tmp_path):
    """Its length is in the metadata; one cut short is refused, though its codec does not notice."""
    snapshot_id = "snap-0000000000000beef"
    key = f"vol-0000000000000beef/2017-01-06T00:00:00+00:00 {snapshot_id}.img.zstd"
    volume = lab.attach(seeds["unknown"])
    try:
        data = subprocess.run(f"zstd -qc < {volume['device']}", shell=True, check=True, capture_output=True).stdout
        lab.s3.put_object(Bucket=bucket, Key=key, Body=data, Metadata={"snapshot-volumesize": "1"})
        done = lab.ok("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, device=str(tmp_path / "disk"))
        assert done["bytes_written"] == (8 << 20) + 4096
        assert subprocess.run(["cmp", tmp_path / "disk", volume["device"]], check=False).returncode == 0
    finally:
        lab.detach(volume["volume_id"])
    lab.s3.put_object(Bucket=bucket, Key=key, Body=data[:100_000], Metadata={"snapshot-volumesize": "1"})
    cut = lab.module("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, device=str(tmp_path / "cut"))
    assert cut["kind"] == "corrupt"


def segments(data, first=0):
    """Keys and bodies as flexible-snapshot-proxy's movetos3 writes them: segments of up to 64 blocks, zeros left out."""
    block = 512 * 1024
    for at in range(0, len(data), 64 * block):
        piece = data[at : at + 64 * block]
        if piece.strip(b"\0"):
            digest = base64.urlsafe_b64encode(hashlib.sha256(piece).digest()).decode()
            body = subprocess.run(["zstd", "-qc"], input=piece, capture_output=True, check=True).stdout
            yield f"{first + at // block}.{digest}.{len(piece) // block}.zstd", body


def test_segments_of_flexible_snapshot_proxy_are_restored_and_validated(lab, bucket, seeds, tmp_path):
    """Each against the digest in its key; a segment that is missing cannot be told from zeros, and that is said."""
    snapshot_id = seeds["unknown"]
    volume = lab.attach(snapshot_id, format="image")
    try:
        with open(volume["device"], "rb") as device:
            data = device.read()
        keys = []
        for name, body in segments(data):
            keys.append(f"{snapshot_id}.1/{name}")
            lab.s3.put_object(Bucket=bucket, Key=keys[-1], Body=body)
        assert keys
        done = lab.ok("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, device=str(tmp_path / "disk"))
        assert "cannot be told from zeros" in done["unchecked"][0]
        assert subprocess.run(["cmp", tmp_path / "disk", volume["device"]], check=False).returncode == 0
        for level in ("archive", "full"):
            found = lab.ok("snapshot_validate", bucket=bucket, snapshot_id=snapshot_id, level=level, volume_id=volume["volume_id"])
            assert found["result"] == "equal"
            assert found["bytes"] > 0
        fresh = lab.attach(snapshot_id, format="restore", size=1)
        try:
            lab.ok("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, volume_id=fresh["volume_id"])
            assert subprocess.run(["cmp", fresh["device"], volume["device"]], check=False).returncode == 0
        finally:
            lab.detach(fresh["volume_id"])
        lab.damage(bucket, keys[0], 1000)
        broken = lab.module("snapshot_restore", bucket=bucket, snapshot_id=snapshot_id, device=str(tmp_path / "broken"))
        assert (broken["kind"], keys[0] in broken["msg"]) == ("corrupt", True)
        found = lab.module("snapshot_validate", bucket=bucket, snapshot_id=snapshot_id, level="archive", fail_on_difference=False)
        assert [each["archive"] for each in found["differences"]] == [keys[0]]
        lab.s3.delete_object(Bucket=bucket, Key=keys[0])
        lab.s3.put_object(Bucket=bucket, Key=f"{snapshot_id}.1/2047.{'A' * 43}=.1.zstd", Body=b"x")
        found = lab.module(
            "snapshot_validate", bucket=bucket, snapshot_id=snapshot_id, level="full", volume_id=volume["volume_id"],
            fail_on_difference=False,
        )  # fmt: skip
        assert {each["attribute"] for each in found["differences"]} >= {"segment", "content"}
    finally:
        lab.detach(volume["volume_id"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"snapshot_id": "snap-00000000000000bad", "directory": "/tmp/x"}, "there is no archive of snap-00000000000000bad"),
        ({"directory": "/tmp/x", "paths": ["no/such/file"]}, "nothing in the archive matches ['no/such/file']"),
        ({"directory": "/tmp/x", "paths": ["../etc"]}, "is not a path inside an archive"),
        ({"device": "/tmp", "overwrite": True}, "/tmp is not a block device"),
        ({"device": "/tmp/x"}, "/tmp/x is not a block device"),
        ({"device": "/dev/null", "partition": "1"}, "there is no archive of partition 1"),
        ({"device": "/dev/null", "partition": "all"}, "all needs a directory"),
        ({"directory": "/tmp/x", "partition": "one"}, "neither a number nor 'all'"),
        ({"device": "/tmp/x", "paths": ["a"]}, "need a directory"),
        ({"directory": "/proc/x"}, "the operating system reports"),
        ({"directory": "/tmp/x", "spool": "/nowhere"}, "spool /nowhere is not a writable directory"),
        ({"directory": "/tmp/x", "key": "vol-1/nothing"}, "is not an archive or manifest"),
        ({"directory": "/tmp/x", "device": "/tmp/y"}, "mutually exclusive"),
        ({"snapshot_id": None}, "one of the following is required"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(lab, seeds, archived, arguments, words):
    """Before anything is made."""
    given = {"snapshot_id": seeds["tagged"], **arguments}
    given = {name: value for name, value in given.items() if value is not None}
    found = lab.module("snapshot_restore", bucket=archived["tagged"], **given)
    assert found.get("failed"), found
    assert words in found["msg"]
    assert not os.path.exists("/tmp/x")


def test_somebodys_data_is_not_written_over(lab, seeds, archived):
    """A device that holds something, and a volume that is too small, are refused; untouched."""
    volume = lab.attach(seeds["empty"])
    try:
        before = out("b2sum", volume["device"])
        for where in ({"device": volume["device"]}, {"volume_id": volume["volume_id"]}):
            refused = restore(lab, archived, seeds, "tagged", **where)
            assert "holds ext4" in refused["msg"]
        refused = restore(lab, archived, seeds, "awkward", device=volume["device"], overwrite=True)
        assert "the disk had 2147483648" in refused["msg"]
        assert out("b2sum", volume["device"]) == before
    finally:
        lab.detach(volume["volume_id"])
