# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a partition table again from the output of `sfdisk --json`: type, UUID, name, attributes, place."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from ..common.clock import Clock
from ..common.errors import Permanent, Refused
from ..common.stop import Stop
from .attached import SECTOR, Disk, Run, inspect, needed, run

_EXTENDED = frozenset(["5", "f", "85"])  # MBR types that only hold other partitions
_PATIENCE = 30.0  # seconds for the kernel and udev to show new partitions
_GPT = struct.Struct("<8sIIIIQQQQ16sQIII")  # UEFI specification, table 5-5: the header without what is reserved
_BOOT_CODE = 446  # bytes before the table in an MBR
_MOST_ENTRIES = 1 << 20  # bytes: the kernel's own limit is no higher
Table = Mapping[str, Any]


def script(table: Table, device: str, grow: bool) -> str:
    """The input for sfdisk. grow: the last partition extends to the end of the disk."""
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
    """Write the table, keep the boot code, and wait until the kernel shows the partitions. Raises Permanent if sfdisk fails."""
    with open(device, "rb") as disk:
        code = disk.read(_BOOT_CODE)
    arguments = ["sfdisk", "--quiet", "--wipe", "never", "--wipe-partitions", "never", "--no-reread", "--no-tell-kernel", device]
    done = needed(command, arguments, script(table, device, grow))
    if done.returncode:
        raise Permanent(f"sfdisk rejects the partition table: {' '.join(done.stderr.split())}", device=device)
    if table["label"] == "gpt":  # sfdisk keeps all but the last bytes, a signature; in an MBR those are the table's id
        with open(device, "r+b") as disk:
            disk.write(code)
    return reread(device, stop, command)


def mirror(device: str, size: int, table: Table) -> bool:
    """Write the second copy of a GPT whose first copy is on the device unchanged. It goes where the first copy says, which is not
    the end of a disk that has grown. False if the first copy is damaged, or points to a place that something else may occupy.

    UEFI specification, 5.3.2: header in block 1; a second one whose entries lie before it, beyond the last usable block.
    """
    unit = int(table.get("sectorsize", SECTOR))
    with open(device, "r+b") as disk:
        disk.seek(unit)
        block = disk.read(unit)
        _signature, _revision, length, checksum, _zero, here, other, _first, last, _guid, at, count, each, of_entries = _GPT.unpack(
            block[: _GPT.size]
        )
        entries_blocks = -(-count * each // unit)
        header = bytearray(block[:length])
        header[16:20] = bytes(4)
        if not block.startswith(b"EFI PART") or not _GPT.size <= length <= unit or zlib.crc32(header) != checksum or here != 1:
            return False
        if count * each > _MOST_ENTRIES or at * unit > size or not last < other - entries_blocks or (other + 1) * unit > size:
            return False
        disk.seek(at * unit)
        entries = disk.read(count * each)
        if zlib.crc32(entries) != of_entries:
            return False
        struct.pack_into("<QQ", header, 24, other, here)
        struct.pack_into("<Q", header, 72, other - entries_blocks)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        disk.seek((other - entries_blocks) * unit)
        disk.write(entries.ljust(entries_blocks * unit, b"\0") + bytes(header).ljust(unit, b"\0"))
        disk.flush()
        os.fsync(disk.fileno())
    return True


def reread(device: str, stop: Stop, command: Run = run, pause: float = 0.2) -> Disk:
    """The disk, once the kernel shows exactly the partitions of its table. Raises Permanent if it does not."""
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
                f"the partitions have not appeared after {_PATIENCE:g} s", "Check `lsblk` and the kernel log.", device=device
            )
        # Not --update: with three partitions it looks only at numbers 1 to 3, not at 14 and 15, and it cannot create a partition
        # where an older one still lies. udev may do the same at this moment, or hold one open, hence the loop.
        if shown - wanted:
            command(["partx", "--delete", device])
        command(["partx", "--add", device])
        clock.sleep(pause, stop)


def _quoted(text: str) -> str:
    return re.sub(r'["\\\x00-\x1f]', lambda match: f"\\x{ord(match[0]):02x}", text)
