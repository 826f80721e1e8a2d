# SPDX-License-Identifier: GPL-3.0-or-later
"""Every seeded snapshot: volume -> archive -> new volume, equal in every attribute; and what goes wrong on the way back."""

import json
import subprocess

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
