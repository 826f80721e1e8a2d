# SPDX-License-Identifier: GPL-3.0-or-later
"""What a boot loader left in the first bytes of a filesystem is put into another one, which stays whole."""

import random
import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import boot_block, filesystems

MAKE = {
    "ext4": (["mkfs.ext4", "-q", "-F"], ["e2fsck", "-fn"], 1024),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], ["btrfs", "check"], 65536),
    "swap": (["mkswap", "-q"], ["swaplabel"], 1024),
}


def made(path, command, mib=128):
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    subprocess.run([*command, path], check=True, capture_output=True)
    return str(path)


@pytest.mark.parametrize("kind", sorted(MAKE))
def test_all_before_the_superblock_is_kept_and_no_more(tmp_path, kind):
    """Of a fresh one there is nothing to keep."""
    command, check, length = MAKE[kind]
    one, other = made(tmp_path / "one", command), made(tmp_path / "other", command)
    assert boot_block.read(kind, one) == b""
    with open(other, "rb") as file:
        rest = file.read()[length:]
    code = random.Random(kind).randbytes(length - 8) + b"last"
    with open(one, "r+b") as file:
        file.write(code)
    block = boot_block.read(kind, one)
    assert block == code
    assert boot_block.is_code(kind, block)
    boot_block.put(kind, other, block)
    with open(other, "rb") as file:
        content = file.read()
    assert content == code.ljust(length, b"\0") + rest
    subprocess.run([*check, other], check=True, capture_output=True)


@pytest.mark.parametrize(("width", "code"), [("16", 62), ("32", 90)])
def test_of_a_vfat_the_code_is_kept_and_not_its_fields(tmp_path, width, code):
    """They are those of the new one; both boot sectors of FAT32 are the same, or fsck.vfat would say so."""
    one = made(tmp_path / "one", ["mkfs.vfat", "-F", width, "-i", "11111111"])
    other = made(tmp_path / "other", ["mkfs.vfat", "-F", width, "-i", "22222222", "--mbr=n"], 256)
    assert not boot_block.is_code("vfat", boot_block.read("vfat", one))
    with open(one, "r+b") as file:
        file.write(b"\xeb\x58\x90SYSLINUX")
        file.seek(code)
        file.write(b"c" * (510 - code))
    with open(other, "rb") as file:
        fields = file.read(512)[11:code]
    boot_block.put("vfat", other, boot_block.read("vfat", one))
    with open(other, "rb") as file:
        assert file.read(512) == b"\xeb\x58\x90SYSLINUX" + fields + b"c" * (510 - code) + b"\x55\xaa"
    checked = subprocess.run(["fsck.vfat", "-n", other], capture_output=True, text=True, check=False)
    assert (checked.returncode, "boot sector" in checked.stdout) == (0, False), checked.stdout


def test_xfs_has_no_place_for_one(tmp_path):
    """Its superblock is the first block."""
    assert boot_block.read("xfs", made(tmp_path / "one", ["mkfs.xfs", "-q"], 512)) == b""


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_swap_has_pages_of_the_size_it_had(tmp_path, page):
    """A kernel with larger pages does not take swap with those of this host."""
    one, other = made(tmp_path / "one", ["mkswap", "-p", str(page), "-L", "s"]), str(tmp_path / "other")
    made(other, ["true"])
    entry = {"type": "swap", "facts": {"LABEL": "s"}, "size": 128 << 20, "make": filesystems.describe("swap", one, "")}
    assert entry["make"] == {"page_size": page}
    filesystems.make(entry, other, 128 << 20)
    with open(other, "rb") as file:
        assert file.read(page).endswith(b"SWAPSPACE2")
