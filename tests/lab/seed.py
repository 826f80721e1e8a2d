# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's snapshots: real partition tables, real filesystems, awkward content; the same every time.

Images are built once and kept in .build/seed, named for this file's hash.
"""

import fcntl
import hashlib
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import disks

CACHE = Path(__file__).resolve().parents[2] / ".build" / "seed"
GIB = 1 << 30
MIB = 1 << 20
TIME = 1483228800_123456789  # 2017-01-01T00:00:00.123456789Z


def into(call, state, names=()):
    """Put the seeds (all, or those named) into a lab; yields (name, snapshot id). Labs that need them at once take turns."""
    with alone():
        yield from _into(call, state, names)


@contextmanager
def alone():
    """Nobody else makes seeds while the body runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE.with_suffix(".lock"), "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _into(call, state, names):
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    cache = CACHE / version
    if not cache.exists():
        shutil.rmtree(CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    for number, (name, build) in enumerate(BUILDERS.items()):
        if names and name not in names:
            continue
        image = cache / f"{name}.img"
        if not image.exists():
            new = image.with_suffix(".new")
            build(new)
            new.rename(image)
        copy = Path(state) / f"{name}.img"
        disks.clone(image, copy)
        if name == "btrfs":  # the kernel takes disks with the same UUID for one, and a lab beside this one has another copy
            _run("btrfstune", "-f", "-u", copy)
        snapshot_id = f"snap-{number + 1:017x}"
        call(
            "snapshot",
            {
                "snapshot_id": snapshot_id,
                "volume_id": f"vol-{number + 1:017x}",
                "size": -(-image.stat().st_size // GIB),
                "description": DESCRIPTIONS.get(name, f"seed {name}"),
                "start_time": f"2017-01-{number + 1:02d}T00:00:00+00:00",
                "tags": dict(TAGS.get(name, {}), **{"snap-to-s3": "migrate"}),
                "image": str(copy),
            },
        )
        yield name, snapshot_id


def gpt(path):
    """BIOS boot + ext4 with a dirty journal + xfs + swap, with boot code in the first sectors."""
    _empty(path, GIB)
    _table(
        path,
        "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n"
        "size=2048, type=21686148-6449-6E6F-744E-656564454649, name=bios\n"
        "size=409600, type=L, name=root\nsize=819200, type=L, name=data\nsize=131072, type=S, name=swap\n",
    )
    with open(path, "r+b") as file:
        file.write(random.Random(1).randbytes(440))  # boot code
        file.seek(34 * 512)
        file.write(random.Random(2).randbytes(4096))  # what a boot loader leaves behind the table
    with disks.attached(path) as device:
        with open(f"{device}p1", "wb") as file:
            file.write(random.Random(3).randbytes(MIB))
        _run("mkfs.ext4", "-q", "-L", "root", "-U", _uuid(1), "-E", f"hash_seed={_uuid(2)}", f"{device}p2")
        _run("mkfs.xfs", "-q", "-L", "data", "-m", f"uuid={_uuid(3)}", f"{device}p3")
        _run("mkswap", "-q", "-U", _uuid(4), f"{device}p4")
        with _mounted(f"{device}p3") as root:
            _tree(root, 3, files=300)
        with _mounted(f"{device}p2") as root:
            _tree(root, 2, files=300)
            os.sync()
            for number in range(20):  # these are in the journal when the disk is copied
                _write(root / f"late-{number}", b"written last\n" * number)
            os.sync()
            dirty = Path(f"{path}.dirty")
            disks.clone(path, dirty)
    dirty.rename(path)


def btrfs(path):
    """A whole-disk btrfs with nested subvolumes, whose default subvolume is not the root."""
    _empty(path, GIB)
    _run("mkfs.btrfs", "-q", "-L", "subvolumes", path)
    with disks.attached(path) as device, _mounted(device) as root:
        for name in ("@", "@home", "@/var", "@home/snapshots"):
            _run("btrfs", "subvolume", "create", root / name)
            _tree(root / name, len(name), files=20)
        _run("btrfs", "subvolume", "snapshot", "-r", root / "@home", root / "@home/snapshots/one")
        _write(root / "beside", b"at the top level\n")
        _run("btrfs", "subvolume", "set-default", root / "@")


def awkward(path):
    """ext4 with every awkward name and type."""
    _empty(path, 2 * GIB)
    _run("mkfs.ext4", "-q", "-L", "awkward", "-U", _uuid(6), "-E", f"hash_seed={_uuid(7)}", "-N", "60000", path)
    with disks.attached(path) as device, _mounted(device) as root:
        base = os.fsencode(root)
        names = [b"new\nline", b"\xff\xfe not utf-8", b"n" * 255, "größe ☃".encode(), b" leading", b"trailing ", b"-dash",
                 b"quote'\"", b"back\\slash", b"tab\t", b"star*", b"%percent=", b"\x01control", "e\u0301".encode()]  # fmt: skip
        for number, name in enumerate(names):
            _write(base + b"/" + name, b"%d\n" % number)
        deep = base
        for number in range(30):
            deep += b"/" + b"d" * 200
            if number < 15:
                os.mkdir(deep)
        _write(base + b"/first", b"one inode, three names\n")
        os.link(base + b"/first", base + b"/second")
        os.mkdir(base + b"/links")
        os.link(base + b"/first", base + b"/links/third")
        os.symlink(b"nowhere/" + b"x" * 200, base + b"/long link")
        os.link(base + b"/long link", base + b"/long link too", follow_symlinks=False)
        os.symlink(b"\xff\xfe not utf-8", base + b"/raw link")
        os.mkfifo(base + b"/fifo", 0o640)
        os.mknod(base + b"/null", 0o20666, os.makedev(1, 3))
        os.mknod(base + b"/loop", 0o60660, os.makedev(7, 300))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(base + b"/socket")
        listener.close()
        _write(base + b"/setuid", b"#!/bin/sh\n")
        os.chmod(base + b"/setuid", 0o6755)
        os.mkdir(base + b"/sticky")
        os.chmod(base + b"/sticky", 0o1777)
        _write(base + b"/owned", b"")
        os.chown(base + b"/owned", 4000000000, 3000000)
        os.setxattr(base + b"/first", b"user.comment", b"\x00raw\n\xff")
        os.setxattr(base + b"/first", b"user.with=equals%", b"v")
        os.setxattr(base + b"/first", b"trusted.only root", b"t" * 2000)
        # CAP_NET_RAW, permitted and effective (linux/capability.h, VFS_CAP_REVISION_2)
        os.setxattr(base + b"/setuid", b"security.capability", struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0))
        _run("setfacl", "-m", "u:1000:rwx,g:2000:r-x", os.fsdecode(base + b"/second"))
        _run("setfacl", "-d", "-m", "u:1000:rwx", os.fsdecode(base + b"/links"))
        _write(base + b"/empty", b"")
        _islands(base + b"/sparse", 5 * GIB, [(0, 100), (MIB, 5 * MIB), (3 * GIB + 4096, 8192), (5 * GIB - 10, 10)])
        _islands(base + b"/all hole", 64 * MIB, [])
        _islands(base + b"/hole at end", 8 * MIB, [(0, 4096)])
        os.mkdir(base + b"/many")
        for number in range(20_000):
            _write(base + b"/many/%05d" % number, b"%d" % number)
        for where, when in (
            (b"/before 1970", -86400_000000001),
            (b"/after 2242", 8589934592_000000000),
            (b"/whole second", 10**18),
        ):
            _write(base + where, b"time\n")
            os.utime(base + where, ns=(when, when))


def mbr(path):
    """Two xfs partitions that share a UUID, as two copies of one disk image do."""
    _empty(path, GIB)
    _table(path, "label: dos\nlabel-id: 0xc01d5708\nsize=655360, type=83, bootable\nsize=655360, type=83\n")
    with disks.attached(path) as device:
        for number in (1, 2):
            _run("mkfs.xfs", "-q", "-m", f"uuid={_uuid(8)}", f"{device}p{number}")
            with _mounted(f"{device}p{number}", "nouuid") as root:
                _tree(root, 40 + number, files=50)


def vfat(path):
    """A whole-disk vfat; where the kernel has no driver for it, it becomes an image."""
    _empty(path, GIB)
    _run("mkfs.vfat", "-n", "FAT", "-i", "c01d5708", "--mbr=n", path)
    with open(path, "r+b") as file:
        file.seek(300 * MIB)
        file.write(random.Random(5).randbytes(MIB))


def tagged(path):
    """A small ext4; what is special is on the snapshot: 32 tags, one with a tab, and a description that is not ASCII."""
    _empty(path, GIB)
    _run("mkfs.ext4", "-q", "-U", _uuid(9), "-E", f"hash_seed={_uuid(10)}", path)
    with disks.attached(path) as device, _mounted(device) as root:
        _tree(root, 6, files=100)


def empty(path):
    """An empty filesystem."""
    _empty(path, GIB)
    _run("mkfs.ext4", "-q", "-U", _uuid(11), "-E", f"hash_seed={_uuid(12)}", path)


def unknown(path):
    """A disk with nothing recognisable on it."""
    _empty(path, GIB)
    with open(path, "r+b") as file:
        file.write(random.Random(8).randbytes(8 * MIB))
        file.seek(GIB - 4096)
        file.write(random.Random(9).randbytes(4096))


BUILDERS = {
    "gpt": gpt, "btrfs": btrfs, "awkward": awkward, "mbr": mbr, "vfat": vfat, "tagged": tagged, "empty": empty, "unknown": unknown,
}  # fmt: skip
DESCRIPTIONS = {"tagged": "Größe: nächtliche Sicherung / Täglich ☃"}
TAGS = {"tagged": {f"tag {number:02d} ü?" if number % 3 else f"tag{number:02d}": "v" * number for number in range(30)}}
TAGS["tagged"].update({"a tab": "a\tb", "a wide space": "a\u3000b"})


def _tree(root, seed, files):
    """Directories and files of mixed sizes and kinds of content."""
    chance = random.Random(seed)
    for number in range(files):
        folder = Path(root) / f"dir{number % 7}" / f"sub{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        size = chance.choice((0, 1, 511, 512, 513, 4096, 20_000, 100_000))
        content = chance.randbytes(size) if number % 2 else b"text line %d\n" % number * (size // 12 + 1)
        _write(folder / f"file {number}", content)
        os.chmod(folder / f"file {number}", chance.choice((0o600, 0o644, 0o755)))
        os.chown(folder / f"file {number}", chance.randrange(3000), chance.randrange(3000))
    _write(Path(root) / "big", chance.randbytes(9 * MIB))


def _write(path, content):
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, ns=(TIME, TIME + len(content)))


def _islands(path, size, extents):
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, length in extents:
            file.seek(offset)
            file.write(random.Random(offset).randbytes(length))


def _empty(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


def _table(path, script):
    subprocess.run(["sfdisk", "--quiet", path], input=script, text=True, check=True)


def _uuid(number):
    return f"c01d5708-0000-4000-8000-{number:012d}"


@contextmanager
def _mounted(device, options="rw"):
    with tempfile.TemporaryDirectory() as point:
        _run("mount", "-o", options, device, point)
        try:
            yield Path(point)
        finally:
            _run("umount", point)


def _run(*arguments):
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
