# SPDX-License-Identifier: GPL-3.0-or-later
"""Filesystems whose files come to more than they take on disk: which they are, and whether sharing is the reason."""

import os
import subprocess
import uuid

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import disk
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.whole_disk import check_room
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import sharing
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.attached import Filesystem
from trees import mounted

MIB = 1 << 20


def made(path, kind, *options):
    with open(path, "wb") as file:
        file.truncate(400 * MIB)
    subprocess.run([f"mkfs.{kind}", "-q", *options, path], check=True, capture_output=True)
    return Filesystem(None, str(path), 0, 400 * MIB, {"TYPE": kind})


def filled(root, mib=20):
    with open(root / "data", "wb") as file:
        for _each in range(mib):
            file.write(os.urandom(4096) * 256)


def why(filesystem, options="ro"):
    """(bytes of the files, why they should be an image)."""
    with mounted(filesystem.device, options) as root:
        source = TarSource(str(root), filesystem.type == "btrfs")
        files = source.allotted(lambda: None)
        return files, disk._too_large(filesystem, str(root), files)


@pytest.mark.parametrize("options", [[], ["-m", "reflink=0"], ["-m", "crc=0"]])
def test_an_xfs_shares_nothing_until_somebody_copies_by_reference(tmp_path, options):
    """Nor does one that cannot; it is not walked twice for that."""
    filesystem = made(tmp_path / "disk", "xfs", *options)
    assert not sharing.may_share(filesystem)
    if not options:
        with mounted(filesystem.device, "rw") as root:
            filled(root)
        assert not sharing.may_share(filesystem)
        with mounted(filesystem.device, "rw") as root:
            for number in range(3):
                subprocess.run(["cp", "--reflink=always", root / "data", root / f"copy {number}"], check=True)
        assert sharing.may_share(filesystem)
        files, reason = why(filesystem)
        assert files >= 80 * MIB
        assert f"its files would be {files} bytes although only" in reason


def test_snapshots_of_a_btrfs_make_it_an_image(tmp_path):
    """One more than what is used by half; a hard link is stored once, whatever number of names it has."""
    filesystem = made(tmp_path / "disk", "btrfs", "-U", str(uuid.uuid4()))
    with mounted(filesystem.device, "rw") as root:
        subprocess.run(["btrfs", "subvolume", "create", root / "@"], check=True, capture_output=True)
        filled(root / "@")
        for number in range(9):
            os.link(root / "@" / "data", root / "@" / f"name {number}")
    files, reason = why(filesystem)
    assert (files // MIB, reason) == (20, "")
    with mounted(filesystem.device, "rw") as root:
        subprocess.run(["btrfs", "subvolume", "snapshot", "-r", root / "@", root / "one"], check=True, capture_output=True)
    files, reason = why(filesystem)
    assert files // MIB == 40
    assert "shared_extents=tar archives files all the same" in reason
    assert "not fit" not in reason


def test_what_a_btrfs_compresses_is_archived_as_files_while_it_fits(tmp_path):
    """Nothing is shared. What would not fit again is an image."""
    filesystem = made(tmp_path / "disk", "btrfs", "-U", str(uuid.uuid4()))
    with mounted(filesystem.device, "rw,compress=zstd") as root, open(root / "data", "wb") as file:
        file.write(b"line after line\n" * (200 * MIB // 16))
    files, reason = why(filesystem)
    assert (files // MIB, reason) == (200, "")
    with mounted(filesystem.device, "rw,compress=zstd") as root, open(root / "more", "wb") as file:
        file.write(b"line after line\n" * (200 * MIB // 16))
    assert "not fit on a disk of its size" in why(filesystem)[1]


def body(*entries):
    filesystems = [{"partition": n, "start": n << 30, "size": 1 << 30} for n, _raw in entries]
    archives = [{"partition": n, "format": "tar", "raw_size": raw, "members": 1000} for n, raw in entries]
    return {"disk": {"size": 3 << 30, "filesystems": filesystems}, "archives": archives}


def test_what_cannot_fit_is_refused():
    """With the size that would do for the last partition; another one does not grow."""
    check_room(body((1, 1 << 30), (2, 1 << 30)), 3 << 30, False)
    with pytest.raises(Refused, match=r"Set size \(coldstore_restore_size\) to 5 GiB or more.* \(partition 2\)|to 5 GiB"):
        check_room(body((1, 1), (2, 5 << 29)), 3 << 30, True)
    check_room(body((1, 1), (2, 5 << 29)), 5 << 30, True)
    with pytest.raises(Refused, match="into a directory"):
        check_room(body((1, 5 << 29), (2, 1)), 9 << 30, True)
