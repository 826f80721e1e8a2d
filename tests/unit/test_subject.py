# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a snapshot's archives a restore means."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import FoundArchive, described
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import subject as _subject

EFI = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def disk(*partitions):
    """A subject of partitions (number, format, blkid's partition type, size, label); the boot area beside them."""
    entries = [{"partition": 0, "format": "image", "codec": "lz4", "key": "key.0", "objects": [{"key": "key.0", "size": 1}]}]
    filesystems = []
    for number, form, kind, size, label in partitions:
        there = {"key": f"key.{number}", "size": 1}
        entries.append({"partition": number, "format": form, "codec": "lz4", "key": there["key"], "objects": [there]})
        facts = {"PART_ENTRY_TYPE": kind, **({"LABEL": label} if label else {})}
        reason = "" if form == "tar" else "LVM2_member is not a filesystem that can be mounted"
        there = {
            "partition": number,
            "type": "ext4" if form == "tar" else "LVM2_member",
            "size": size,
            "facts": facts,
            "reason": reason,
        }
        filesystems.append(there)
    body = {"disk": {"filesystems": filesystems}, "archives": entries}
    return _subject.Subject("snap-1", "ours", "key.manifest.json", body, [described(each) for each in entries])


def others(*archives):
    found = [FoundArchive(f"key.{n}.{form}", n, form, "lz4", encrypted, 1) for n, form, encrypted in archives]
    return _subject.Subject("snap-1", "snap_to_s3", "", None, found)


ROOT = disk((1, "tar", LINUX, 10 << 30, "root"), (14, "image", LINUX, 4 << 20, ""), (15, "tar", EFI, 106 << 20, "UEFI"))
SEVERAL = disk((1, "tar", EFI, 1 << 20, ""), (2, "tar", LINUX, 1 << 30, "boot"), (3, "tar", LINUX, 3 << 29, "root"))
IMAGES = disk((1, "image", LINUX, 1 << 30, ""))


@pytest.mark.parametrize(
    ("subject", "partition", "keys", "left_out"),
    [
        (ROOT, "", ["key.1"], [14, 15]),
        (ROOT, "15", ["key.15"], []),
        (ROOT, "all", ["key.1", "key.15"], [14]),
        (disk((1, "tar", "0xef", 1, ""), (2, "tar", "0x83", 1, "")), "", ["key.2"], [1]),
        (disk((1, "tar", EFI, 1, "")), "", ["key.1"], []),
        (SEVERAL, "3", ["key.3"], []),
        (SEVERAL, "all", ["key.1", "key.2", "key.3"], []),
        (others((None, "tar", False)), "", ["key.None.tar"], []),
        (others((1, "tar", False), (2, "tar", False)), "all", ["key.1.tar", "key.2.tar"], []),
    ],
)
def test_files_for_a_directory(subject, partition, keys, left_out):
    """The one partition that is not EFI's, the one asked for, or all; what else there is gets named."""
    choice = _subject.for_directory(subject, partition)
    assert [each.key for each in choice.archives] == keys
    assert [each["partition"] for each in choice.left_out] == left_out


@pytest.mark.parametrize(
    ("subject", "partition", "words"),
    [
        (
            SEVERAL,
            "",
            "there are 0 (image, boot area), 1 (ext4, EFI, 1 MiB), 2 (ext4, 1 GiB, label boot), 3 (ext4, 1.5 GiB, label root)",
        ),
        (SEVERAL, "7", "there is no archive of partition 7 of snap-1; there are"),
        (
            ROOT,
            "14",
            "partition 14 of snap-1 is an image: LVM2_member is not a filesystem that can be mounted. Restore it to a device or file with device",
        ),
        (IMAGES, "", "has no archive of files"),
        (IMAGES, "all", "has no archive of files"),
        (others((1, "tar", False), (2, "tar", False)), "", "several partitions of snap-1 hold files"),
        (others((1, "tar", True)), "", "encrypted with GPG"),
        (others((1, "tar", False), (2, "tar", True)), "all", "encrypted with GPG"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_there_is(subject, partition, words):
    """Sizes and labels are what people know partitions by."""
    with pytest.raises(Refused) as refused:
        _subject.for_directory(subject, partition)
    assert words in str(refused.value)


def test_an_image_for_a_device():
    """The only one, or the one asked for; a partition of files is none."""
    assert [each.key for each in _subject.for_device(ROOT, "14").archives] == ["key.14"]
    assert [each.key for each in _subject.for_device(others((None, "image", False)), "").archives] == ["key.None.image"]
    for partition, words in (
        ("1", "was archived as files"),
        ("", "2 archives of snap-1 hold an image"),
        ("3", "no archive of partition 3"),
    ):
        with pytest.raises(Refused) as refused:
            _subject.for_device(ROOT, partition)
        assert words in str(refused.value)


@pytest.mark.parametrize(
    ("partition", "directory", "words"),
    [
        ("all", False, "all needs a directory"),
        ("p1", True, "neither a number nor 'all'"),
        ("-1", True, "neither"),
        ("²", True, "neither"),
    ],
)
def test_a_partition_is_a_number_or_all(partition, directory, words):
    """Of all only a directory has room."""
    with pytest.raises(Refused) as refused:
        _subject.check_partition(partition, directory)
    assert words in str(refused.value)


def test_one_archive_by_its_key_makes_no_disk():
    """The others would be restored without having been thawed, or asked for."""
    assert ROOT.makes_a_disk
    assert not _subject.Subject("snap-1", "ours", "", ROOT.body, ROOT.archives[:1]).makes_a_disk
