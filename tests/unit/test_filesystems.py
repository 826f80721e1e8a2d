# SPDX-License-Identifier: GPL-3.0-or-later
"""Filesystems as years of tools have made them, made again so that the system they belong to still mounts them."""

import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, filesystems
from trees import mounted

SIZE = 400 << 20


@pytest.fixture
def device(tmp_path):
    """A blank disk of 400 MiB."""
    with open(tmp_path / "disk", "wb") as file:
        file.truncate(SIZE)
    command = ["losetup", "--find", "--show", tmp_path / "disk"]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def described(kind, device):
    if kind == "xfs":  # xfs_info takes either
        return filesystems.describe(kind, device, device)
    with mounted(device) as root:
        return filesystems.describe(kind, device, str(root))


def entry(kind, device):
    """What a manifest says of the filesystem on a device."""
    facts = attached.probe(device)
    facts.pop("UUID_SUB", None)  # of the disk, not of the btrfs
    return {"type": kind, "facts": facts, "make": described(kind, device), "size": SIZE}


KINDS = {
    "ext4 of RHEL 6": ("ext4", ["-O", "^metadata_csum,^64bit"]),
    "ext4 of small files": ("ext4", ["-b", "1024", "-I", "128", "-O", "^extra_isize", "-i", "4096", "-m", "0"]),
    "ext4 of big clusters": ("ext4", ["-O", "bigalloc", "-C", "32768"]),
    "ext4 with quotas": ("ext4", ["-O", "quota,project,inline_data,ea_inode,large_dir"]),
    "ext4 without a journal": ("ext4", ["-O", "^has_journal,meta_bg,^resize_inode,sparse_super2"]),
    "ext4 that grew": ("ext4", ["-J", "size=5", "-m", "0"]),
    "ext3": ("ext3", []),
    "ext2": ("ext2", []),
    "xfs of RHEL 5": ("xfs", ["-m", "crc=0,finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0", "-i", "sparse=0", "-n", "ftype=0"]),
    "xfs of RHEL 7": ("xfs", ["-m", "finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0", "-i", "sparse=0"]),
    "xfs with everything": ("xfs", ["-m", "rmapbt=1,reflink=1", "-i", "nrext64=1,size=1024", "-b", "size=2048", "-n", "size=8192"]),
    "xfs that grew": ("xfs", ["--unsupported", "-l", "size=10m"]),
    "xfs for Samba": ("xfs", ["-n", "version=ci"]),
    "btrfs of SLES 12": ("btrfs", ["-O", "^no-holes,^skinny-metadata", "-R", "^free-space-tree", "-m", "single"]),
    "btrfs of today": ("btrfs", ["-O", "no-holes", "-R", "free-space-tree", "--csum", "xxhash"]),
    "btrfs, mixed": ("btrfs", ["-M", "-d", "dup", "-m", "dup"]),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_filesystem_is_made_again_as_it_was(device, name):
    """Features, sizes and all: the kernel of the system it belongs to may know no others."""
    kind, options = KINDS[name]
    subprocess.run([f"mkfs.{kind}", "-q", *options, device], check=True)
    there = entry(kind, device)
    subprocess.run(["wipefs", "--all", "--quiet", device], check=True)
    assert filesystems.make(there, device, SIZE) is None
    assert entry(kind, device) == there


def test_a_feature_that_the_manifest_does_not_know_is_off(device):
    """The tools that described it were older than the feature; today's mkfs switches it on by itself."""
    subprocess.run(["mkfs.xfs", "-q", "-m", "bigtime=0,inobtcount=0", device], check=True)
    there = entry("xfs", device)
    of_old_tools = {name: value for name, value in there["make"].items() if name not in ("bigtime", "inobtcount", "nrext64")}
    assert filesystems.make(dict(there, make=of_old_tools), device, SIZE) is None
    assert described("xfs", device) == there["make"]


@pytest.mark.parametrize(("kind", "feature"), [("xfs", {"exchange": 1}), ("btrfs", {"features": ["raid-stripe-tree"]})])
def test_a_feature_that_mkfs_does_not_know_is_said(device, kind, feature):
    """The filesystem is made all the same, with what this mkfs likes."""
    subprocess.run([f"mkfs.{kind}", "-q", device], check=True)
    there = entry(kind, device)
    subprocess.run(["wipefs", "--all", "--quiet", device], check=True)
    warning = filesystems.make(dict(there, make=dict(there["make"], **feature)), device, SIZE)
    assert f"some defaults of mkfs.{kind} were used, because it says" in warning
    assert "Usage" not in warning
    assert attached.probe(device)["UUID"] == there["facts"]["UUID"]


@pytest.mark.parametrize(("kind", "options"), [("ext4", ["-J", "size=5"]), ("xfs", ["--unsupported", "-l", "size=10m"])])
def test_a_larger_filesystem_gets_a_journal_of_its_size(device, kind, options):
    """There is room for it."""
    subprocess.run([f"mkfs.{kind}", "-q", *options, device], check=True)
    there = entry(kind, device)
    subprocess.run(["wipefs", "--all", "--quiet", device], check=True)
    assert filesystems.make(dict(there, size=SIZE // 2), device, SIZE) is None
    sizes = [made.get("journal") or made["log_blocks"] for made in (described(kind, device), there["make"])]
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize(("version", "meant"), [("5.10.0", False), ("5.19.0", True), ("6.1.0", True)])
def test_a_small_xfs_is_meant_only_where_mkfs_understands_that(version, meant):
    """It came with 5.19; older ones make small ones without being told."""
    asked = []

    def command(arguments):
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, f"mkfs.xfs version {version}\n", "")

    filesystems.make({"type": "xfs", "facts": {"UUID": "x"}, "make": {}, "size": 200 << 20}, "/dev/x", 200 << 20, command)
    assert ("--unsupported" in asked[-1]) is meant


def test_a_feature_that_is_off_is_not_asked_of_a_mkfs_that_does_not_know_it():
    """It would refuse, and everything else would be lost with it."""
    asked = []

    def command(arguments):
        asked.append(arguments)
        return subprocess.CompletedProcess(
            arguments, 0, "mkfs.xfs version 5.10.0", "Usage: [-m crc=0|1,bigtime=0|1] [-i sparse=0|1]"
        )

    made = {"crc": 1, "bigtime": 1, "reflink": 0, "sparse": 0, "nrext64": 0, "isize": 512, "bsize": 4096, "sectsz": 512}
    filesystems.make({"type": "xfs", "facts": {"UUID": "x"}, "make": made, "size": SIZE}, "/dev/x", SIZE, command)
    assert asked[-1][5:] == [
        "-m",
        "uuid=x,crc=1,bigtime=1",
        "-i",
        "size=512,sparse=0",
        "-b",
        "size=4096",
        "-s",
        "size=512",
        "/dev/x",
    ]


def test_a_mkfs_that_is_missing_is_refused(device):
    """Before it is asked what it can do."""

    def missing(arguments):
        raise FileNotFoundError(arguments[0])

    made = {"features": [], "isize": 512, "bsize": 4096, "sectsz": 512}
    for kind in ("ext4", "xfs", "btrfs", "vfat"):
        with pytest.raises(filesystems.Refused, match="is not installed on this host"):
            filesystems.make(
                {"type": kind, "facts": {"TYPE": kind, "UUID": "x"}, "make": made if kind != "ext4" else {}, "size": 1},
                device,
                SIZE,
                missing,
            )
