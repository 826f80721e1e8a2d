# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a volume id to the block device it became on this host, and what is on it.

On Nitro the NVMe serial is the volume id without its dash, and udev links it below /dev/disk/by-id. On Xen there is only the
name asked for at attachment, and /dev/sd? often appears as /dev/xvd?. Neither needs a command. Partitions come from sysfs, their
contents from `blkid -p` (which probes only this device), and the partition table from `sfdisk`.
"""

from __future__ import annotations

import glob
import json
import os
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..common.clock import Clock
from ..common.errors import Permanent, Refused, Unfit
from ..common.stop import Stop

SECTOR = 512  # bytes: the unit of sysfs, whatever the disk's own is
Run = Callable[..., "subprocess.CompletedProcess[str]"]  # like run, below


@dataclass(frozen=True)
class Filesystem:
    """A partition, or a disk without partitions (number None): where it is, in bytes, and what blkid says it holds."""

    number: Optional[int]
    device: str
    start: int
    size: int
    facts: Mapping[str, str]

    @property
    def type(self) -> str:
        """blkid's TYPE, '' if nothing was recognised."""
        return self.facts.get("TYPE", "")


@dataclass(frozen=True)
class Disk:
    """A whole disk. table: the output of `sfdisk --json`, None without a partition table."""

    device: str
    size: int
    table: Optional[Mapping[str, Any]]
    filesystems: tuple[Filesystem, ...]


def run(arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command without a shell, in the C locale, with this text as its input."""
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    return subprocess.run(
        arguments, input=text, capture_output=True, text=True, errors="surrogateescape", env=environment, check=False
    )


def device_of(volume_id: str, attached_as: str = "", root: str = "/") -> Optional[str]:
    """The device of an attached volume, or None if there is none yet. root is for tests."""
    serial = volume_id.replace("-", "")
    for path in sorted(glob.glob(os.path.join(root, "sys/block/nvme*/device/serial"))):
        with open(path, encoding="ascii") as file:
            if file.read().strip() == serial:
                return os.path.join(root, "dev", path.split("/")[-3])
    link = os.path.join(root, "dev/disk/by-id", f"nvme-Amazon_Elastic_Block_Store_{serial}")
    if os.path.exists(link):
        return os.path.realpath(link)
    name = os.path.basename(attached_as)
    candidates = [name, "xvd" + name[2:]] if name.startswith("sd") else [name]
    for candidate in candidates:
        if candidate and os.path.exists(os.path.join(root, "sys/block", candidate)):
            return os.path.join(root, "dev", candidate)
    return None


def wait_for_device(
    volume_id: str, attached_as: str, timeout: float, stop: Stop, clock: Optional[Clock] = None, pause: float = 0.2, root: str = "/"
) -> str:
    """The device, once it and its partitions are there. Raises Permanent after `timeout` seconds."""
    clock = clock or Clock()
    end = clock.monotonic() + timeout
    while True:
        device = device_of(volume_id, attached_as, root)
        if device is not None and _size(device, root) and _settled(device, root):
            return device
        if clock.monotonic() >= end:
            what = "its partitions have not appeared" if device else "no device has appeared"
            raise Permanent(
                f"{what} after {timeout:g} s", "Check `lsblk` and the kernel log on the worker.", volume=volume_id, device=device
            )
        clock.sleep(pause, stop)


def inspect(device: str, command: Run = run) -> Disk:
    """What is on a disk. Raises Unfit if a command is missing, Permanent if the disk cannot be read."""
    facts = probe(device, command)
    partitions = _partitions(device)
    table = _table(device, command) if partitions or facts.get("PTTYPE") else None
    if not partitions:
        return Disk(device, _size(device), table, (Filesystem(None, device, 0, _size(device), facts),))
    filesystems = [Filesystem(number, path, start, size, probe(path, command)) for number, path, start, size in sorted(partitions)]
    return Disk(device, _size(device), table, tuple(filesystems))


def check_size(disk: Disk, expected: int) -> None:
    """Raises Permanent unless the device is as large as the volume: another size is another disk."""
    if disk.size != expected:
        raise Permanent(
            f"{disk.device} has {disk.size} bytes, the snapshot's volume {expected}", "Check `lsblk`.", device=disk.device
        )


def check_alone(disk: Disk, root: str = "/") -> None:
    """Raises Unfit if LVM, md or the like uses the disk or one of its partitions, and may write to it. root is for tests."""
    for device in (disk.device, *(each.device for each in disk.filesystems)):
        holders = os.path.join(root, "sys/class/block", os.path.basename(device), "holders")
        held = sorted(os.listdir(holders)) if os.path.isdir(holders) else []
        if held:
            raise Unfit(
                f"{device} is in use by {held[0]}, which this host made from it",
                f"Check `lsblk {disk.device}`, and keep LVM, mdadm and the like from activating new disks.",
                device=device,
            )


def is_block_device(path: str) -> bool:
    return os.path.exists(path) and stat.S_ISBLK(os.stat(path).st_mode)


def check_unused(path: str, command: Run = run) -> None:
    """Raises Refused for a block device with a filesystem, a partition table or the like: that is somebody's data."""
    if not is_block_device(path):
        return
    facts = probe(path, command)
    if facts:
        what = facts.get("TYPE") or facts.get("PTTYPE") or "data of more than one kind"
        raise Refused(
            f"{path} holds {what}",
            "Name another device, or set overwrite (coldstore_restore_overwrite) if its contents may go.",
            device=path,
        )


def probe(device: str, command: Run = run) -> dict[str, str]:
    """blkid's low-level facts of one device; empty if it recognises nothing."""
    done = needed(command, ["blkid", "-p", "-o", "export", device])
    if done.returncode == 2:
        return {}
    if done.returncode == 8:
        return {"AMBIVALENT": done.stderr.strip()}
    if done.returncode:
        raise Permanent(f"blkid cannot read {device}: {done.stderr.strip()}", device=device)
    pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
    facts = {name: value for name, _equals, value in pairs if name != "DEVNAME"}
    if "LABEL" in facts:  # this output escapes it in ways that cannot be undone
        facts["LABEL"] = needed(command, ["blkid", "-p", "-o", "value", "-s", "LABEL", device]).stdout.removesuffix("\n")
    return facts


def _table(device: str, command: Run) -> Optional[dict[str, Any]]:
    done = needed(command, ["sfdisk", "--json", device])
    if done.returncode:
        return None
    table: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
    return {name: value for name, value in table.items() if name != "device"}


def needed(command: Run, arguments: list[str], *text: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is indispensable. Raises Unfit if it is not installed."""
    try:
        return command(arguments, *text)
    except FileNotFoundError as error:
        raise Unfit(f"{arguments[0]} is not installed on this host", "The role coldstore.ebs.worker installs it.") from error


def _partitions(device: str, root: str = "/") -> list[tuple[int, str, int, int]]:
    """(number, device, start, size) of each partition the kernel knows.

    A partition that starts where the disk starts is the disk itself: mkfs.vfat 4.2 writes such a table.
    """
    found = []
    base = os.path.join(root, "sys/class/block", os.path.basename(device))
    for path in glob.glob(os.path.join(glob.escape(os.path.realpath(base)), "*/partition")):
        here = os.path.dirname(path)
        name = os.path.join(root, "dev", os.path.basename(here))
        start = _number(here + "/start") * SECTOR
        if start:
            found.append((_number(path), name, start, _number(here + "/size") * SECTOR))
    return found


def _settled(device: str, root: str) -> bool:
    """Whether the kernel has read the partition table, and all its partitions have device nodes."""
    partitions = _partitions(device, root)
    if not all(os.path.exists(path) for _number, path, _start, _size in partitions):
        return False
    if partitions or root != "/":
        return True
    listed = run(["partx", "--show", "--noheadings", "--output", "NR", device])
    return listed.returncode != 0 or not listed.stdout.strip() or probe(device).get("PTTYPE") is None


def _size(device: str, root: str = "/") -> int:
    path = os.path.join(root, "sys/class/block", os.path.basename(device), "size")
    return _number(path) * SECTOR if os.path.exists(path) else 0


def _number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
