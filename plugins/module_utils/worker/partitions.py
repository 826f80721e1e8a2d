# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A partition table made again from what `sfdisk --json` once said of it: type, UUID, name, attributes, place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..common.clock import Clock
from ..common.errors import Permanent, Refused
from ..common.stop import Stop
from .attached import SECTOR, Disk, Run, inspect, needed, run

_EXTENDED = frozenset(["5", "f", "85"])  # MBR types that only hold other partitions
_PATIENCE = 30.0  # seconds for the kernel and udev to show new partitions
Table = Mapping[str, Any]


def script(table: Table, device: str, grow: bool) -> str:
    """What sfdisk is to be told. grow: the last partition reaches to the end of the disk."""
    lines = [f"label: {table['label']}"]
    lines += [f"label-id: {table['id']}"] if table.get("id") else []
    lines.append("unit: sectors")
    wanted = [("firstlba", "first-lba"), ("table-length", "table-length")] + ([] if grow else [("lastlba", "last-lba")])
    lines += [f"{name}: {table[key]}" for key, name in wanted if key in table]
    last = max(table["partitions"], key=lambda each: int(each["start"]))
    for each in table["partitions"]:
        fields = [f"start={each['start']}"]
        if not grow or (each is not last and not is_extended(each)):
            fields.append(f"size={each['size']}")
        fields.append(f"type={each['type']}")
        fields += [f"uuid={each['uuid']}"] if each.get("uuid") else []
        fields += [f'name="{_quoted(each["name"])}"'] if each.get("name") else []
        fields += [f'attrs="{_quoted(each["attrs"])}"'] if each.get("attrs") else []
        fields += ["bootable"] if each.get("bootable") else []
        lines.append(f"{device}p{number_of(each)} : {', '.join(fields)}")
    return "\n".join(lines) + "\n"


def is_extended(partition: Table) -> bool:
    return str(partition["type"]).lower() in _EXTENDED


def number_of(partition: Table) -> int:
    match = re.search(r"(\d+)\Z", str(partition["node"]))
    if match is None:
        raise Refused(f"partition {partition['node']!r} has no number", "The manifest was not made by this collection.")
    return int(match[1])


def write(device: str, table: Table, grow: bool, stop: Stop, command: Run = run) -> Disk:
    """Write the table and wait until the kernel shows its partitions. Raises Permanent if sfdisk refuses it."""
    arguments = ["sfdisk", "--quiet", "--wipe", "never", "--wipe-partitions", "never", "--no-reread", "--no-tell-kernel", device]
    done = needed(command, arguments, script(table, device, grow))
    if done.returncode:
        raise Permanent(f"sfdisk refuses the partition table: {' '.join(done.stderr.split())}", device=device)
    return reread(device, stop, command)


def reread(device: str, stop: Stop, command: Run = run, pause: float = 0.2) -> Disk:
    """The disk once the kernel shows the partitions of its table and no others. Raises Permanent if it does not."""
    clock = Clock()
    end = clock.monotonic() + _PATIENCE
    while True:
        disk = inspect(device, command)
        wanted = {(number_of(each), int(each["start"]) * SECTOR) for each in (disk.table or {}).get("partitions", [])}
        shown = {(each.number, each.start) for each in disk.filesystems if each.number is not None}
        if shown == wanted:
            return disk
        if clock.monotonic() > end:
            raise Permanent(
                f"the partitions have not appeared after {_PATIENCE:g} s", "Look at `lsblk` and the kernel log.", device=device
            )
        # Not --update: it looks at as many numbers as there are partitions, so of 1, 14 and 15 at the first only, and cannot
        # make one where an older one still lies. udev may do the same at this moment, or hold one open, hence the loop.
        if shown - wanted:
            command(["partx", "--delete", device])
        command(["partx", "--add", device])
        clock.sleep(pause, stop)


def _quoted(text: str) -> str:
    return re.sub(r'["\\\x00-\x1f]', lambda match: f"\\x{ord(match[0]):02x}", text)
