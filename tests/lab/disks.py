# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files as block devices: what EC2 does with a volume, done with loop devices.

A device gets the link that udev makes on a Nitro instance. The kernel here may lack partition parsers, so partx adds
the partitions; on EC2 the kernel does.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

BY_ID = Path("/dev/disk/by-id")
CLONE_NEWNS = 0x00020000
MS_REC, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 19, 1 << 20
_LOOP = threading.Lock()  # losetup -f looks first and takes then


def clone(source, target):
    """A sparse copy that shares blocks where the filesystem can."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


def attach(image, volume_id):
    """Make a block device of an image; returns its path."""
    device = _connect(image)
    BY_ID.mkdir(parents=True, exist_ok=True)
    link = link_of(volume_id)
    link.unlink(missing_ok=True)
    link.symlink_to(device)
    return device


def detach(device, volume_id):
    """Undo attach; False while somebody uses the device."""
    if _busy(device):
        return False
    link_of(volume_id).unlink(missing_ok=True)
    _disconnect(device)
    return True


@contextmanager
def attached(image):
    """The block device of an image, with its partitions, while the body runs; no volume."""
    device = _connect(image)
    try:
        yield device
    finally:
        _disconnect(device)


def link_of(volume_id):
    return BY_ID / f"nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def attached_below(directory):
    """{device: image} of all loop devices whose image lies below a directory."""
    listed = json.loads(_out("losetup", "--list", "--json", "--output", "NAME,BACK-FILE") or '{"loopdevices": []}')
    root = str(Path(directory).resolve()) + "/"
    return {
        item["name"]: item["back-file"].removesuffix(" (deleted)")
        for item in listed["loopdevices"]
        if item["back-file"].startswith(root)
    }


def clear(directory):
    """Detach everything below a directory and remove it, whatever state a killed lab left it in."""
    detach_below(directory)
    shutil.rmtree(directory, ignore_errors=True)


def detach_below(directory):
    """Unmount and detach every device whose image lies below a directory; one that is still used goes with its last user."""
    devices = attached_below(directory)
    root = str(Path(directory).resolve()) + "/"
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        source, point = line.split(" ")[:2]
        device = re.match(r"(/dev/loop\d+)(p\d+)?$", source)
        if point.startswith(root) or (device and device[1] in devices):
            subprocess.run(["umount", "--lazy", point.encode().decode("unicode_escape")], capture_output=True, check=False)
    for device, image in devices.items():
        link_of(Path(image).stem).unlink(missing_ok=True)
        subprocess.run(["partx", "--delete", device], capture_output=True, check=False)
        subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)


def _connect(image):
    with _LOOP:
        device = _out("losetup", "--find", "--show", image)
    subprocess.run(["partx", "--add", device], capture_output=True, check=False)
    return device


def _disconnect(device):
    subprocess.run(["partx", "--delete", device], capture_output=True, check=False)
    subprocess.run(["losetup", "--detach", device], check=True)


def _busy(device):
    """Whether the device or a partition of it is mounted (in any mount namespace) or held open exclusively."""
    names = [device, *(str(path) for path in Path("/dev").glob(Path(device).name + "p*"))]
    for name in names:
        try:
            os.close(os.open(name, os.O_RDONLY | os.O_EXCL))
        except OSError:
            return True
    return False


def own_mounts():
    """Give this process, and what it starts, mounts of its own that are shared among them, as systemd shares a host's.

    A mount that another run's job had copied with the host's would stay busy when it is unmounted here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or any(libc.mount(b"none", b"/", None, MS_REC | flag, None) for flag in (MS_SLAVE, MS_SHARED)):
        raise OSError(ctypes.get_errno(), "no mount namespace")


def _out(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()
