# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are damaged in one place, the rest of them sound."""

import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import disks
from trees import mounted

BLOCK = 4096


@contextmanager
def ext4(path, size=64 << 20, features="metadata_csum"):
    """A new ext4 in an image, mounted to be filled while the body runs; yields its root."""
    made(path, size, "mkfs.ext4", "-q", "-F", "-b", str(BLOCK), "-O", features)
    with disks.attached(path) as device, mounted(device, "rw") as root:
        yield root


def made(path, size, *command):
    with open(path, "wb") as file:
        file.truncate(size)
    subprocess.run([*command, path], check=True, capture_output=True)


def block_of(image, question, pattern):
    """A block's number, as debugfs answers a question."""
    said = subprocess.run(["debugfs", "-R", question, image], check=True, capture_output=True, text=True).stdout
    return [int(number) for number in re.findall(pattern, said)]


def spoil(image, block, at=40):
    """Write into a block of metadata, whose checksum is wrong from then on."""
    with open(image, "r+b") as file:
        file.seek(block * BLOCK + at)
        file.write(b"damage")


@contextmanager
def bad_sectors(image, stretches):
    """A loop device with the image's bytes, (offset, length) of which give EIO, in whole blocks of 4 KiB.

    The image lies in a file on a btrfs whose checksums for these bytes are wrong: an error of the device below, for whoever
    reads the loop device, that no cache takes away.
    """
    with tempfile.TemporaryDirectory(dir=Path(image).parent) as directory:
        below = Path(directory) / "btrfs.img"
        made(below, os.path.getsize(image) + (256 << 20), "mkfs.btrfs", "-q", "-m", "single")
        with disks.attached(below) as device, mounted(device, "rw") as root:
            subprocess.run(["cp", "--sparse=never", image, root / "disk"], check=True)
            os.sync()
            places = [place for stretch in stretches for place in physical(root / "disk", device, *stretch)]
        with open(below, "r+b") as file:
            for place in places:
                file.seek(place)
                block = file.read(BLOCK)
                file.seek(place)
                file.write(bytes(byte ^ 255 for byte in block))
        with disks.attached(below) as device, mounted(device, "rw") as root, disks.attached(root / "disk") as bad:
            yield bad


def physical(file, device, offset, length):
    """Where blocks of a file lie on the device of its btrfs."""
    listed = subprocess.run(["filefrag", "-v", f"-b{BLOCK}", file], check=True, capture_output=True, text=True).stdout
    extents = [[int(n) for n in each] for each in re.findall(r"(\d+)\.\. *(\d+): *(\d+)\.\.", listed)]
    for block in range(offset // BLOCK, (offset + length) // BLOCK):
        (logical,) = [(start + block - first) * BLOCK for first, last, start in extents if first <= block <= last]
        command = ["btrfs-map-logical", "-l", str(logical), device]
        said = subprocess.run(command, check=False, capture_output=True, text=True).stdout  # its exit code means nothing
        yield int(re.search(r"physical (\d+) ", said)[1])


def cool(device):
    """Nothing of it is cached."""
    subprocess.run(["blockdev", "--flushbufs", device], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("1")
