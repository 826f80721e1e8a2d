# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding a whole disk from its manifest and the archives of its partitions."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ..common.errors import Corrupt, Refused
from ..engine import copy as engine
from ..engine.archives import opened
from ..engine.bucket.layouts import FoundArchive
from ..engine.bucket.objects import Store
from ..engine.targets.directory import DirectoryTarget
from ..worker import attached, boot_block, filesystems, mounts, partitions
from .disk import BOOT
from .restored import GIB, Restored, of_directory
from .subject import Entry, Subject
from .to_device import to_device

_MORE = "Set a larger size (coldstore_restore_size), or restore them into a directory."
_HEADERS = 2048  # bytes of a tar member besides its contents; a few have more, most have less
_BOOT_BLOCK = (
    "the boot block of this filesystem was restored, but its files lie elsewhere now; a boot loader that finds them by their "
    "block numbers (extlinux, LILO, GRUB in a partition) has to be installed again"
)


def check_disk(body: Mapping[str, Any]) -> None:
    """Raises Refused if the disk of this manifest cannot be rebuilt, before anything is written."""
    present = {entry["partition"] for entry in body["archives"]}
    for each in body["disk"]["filesystems"]:
        if each["archived"] != "record" and each["partition"] not in present:
            raise Corrupt("the manifest does not name an archive of a partition", partition=each["partition"])
        if each["archived"] == "tar" and not filesystems.can_make(each["type"]):
            raise Refused(
                f"a filesystem of type {each['type']} cannot be rebuilt", "Restore its files into a directory.",
                partition=each["partition"],
            )  # fmt: skip


def check_room(body: Mapping[str, Any], size: int, grow: bool) -> None:
    """Raises Refused if the files of a partition cannot fit on a disk of so many bytes, before anything is written.

    It counts the least that they take: no padding, and no space for the filesystem itself.
    """
    known = {each["partition"]: each for each in body["disk"]["filesystems"]}
    last: Mapping[str, Any] = max(known.values(), key=lambda each: int(each["start"]), default={})
    more = size - int(body["disk"]["size"]) if grow else 0
    for entry in body["archives"]:
        if entry["format"] != "tar":
            continue
        there = known[entry["partition"]]
        grows = there is last
        gib = -(-(int(body["disk"]["size"]) + (_least(entry) - int(there["size"])) * 5 // 4) // GIB)
        advice = f"Set size (coldstore_restore_size) to {gib} GiB or more." if grows else "Restore them into a directory."
        _check_fits(entry, int(there["size"]) + (more if grows else 0), advice)


def _least(entry: Entry) -> int:
    return int(entry["raw_size"]) - int(entry["members"]) * _HEADERS


def _check_fits(entry: Entry, room: int, advice: str) -> None:
    if _least(entry) > room:
        raise Refused(
            f"the files take {_least(entry)} bytes, but there is only room for {room}; shared data became copies",
            advice,
            partition=entry["partition"],
        )


def to_disk(
    store: Store, subject: Subject, device: str, settings: engine.Settings, grow: bool, blank: bool, mount_point: str
) -> Restored:
    """Restore a whole disk: boot area, partition table, and each partition's files, image or swap.

    Raises Refused before anything is written if the device is too small or something cannot be rebuilt.
    """
    body = subject.body or {}
    check_disk(body)
    facts = body["disk"]
    archives = {each.partition: each for each in subject.archives}
    disk = attached.inspect(device)
    size = disk.size
    if size < facts["size"]:
        raise Refused(f"{device} has {size} bytes, but the disk had {facts['size']}", "Use a larger volume.", device=device)
    check_room(body, size, grow)
    total = Restored()

    def boot() -> None:
        # What the new table is written over is no longer blank.
        total.add(to_device(store, archives[BOOT], device, settings, False, True))

    table = facts["table"] if (facts["table"] or {}).get("partitions") else None
    if table:
        boot()
        if size == facts["size"] and partitions.mirror(device, size, table):
            disk = partitions.reread(device, store.stop)
        else:
            disk = partitions.write(device, table, grow, store.stop)
            if size == facts["size"]:
                boot()
    there = {each.number: each for each in disk.filesystems}
    extended = {partitions.number_of(each) for each in (table or {}).get("partitions", []) if partitions.is_extended(each)}
    for each in facts["filesystems"]:
        if each["partition"] in extended:
            continue  # its one sector is part of the table
        where = there[each["partition"]]
        if each["archived"] == "image":
            total.add(to_device(store, archives[each["partition"]], where.device, settings, blank, True))
            continue
        warning = filesystems.make(each, where.device, where.size if grow else min(where.size, each["size"]))
        total.warnings += [warning] if warning else []
        if each["archived"] == "tar":
            total.add(_fill(store, archives[each["partition"]], each, where.device, settings, mount_point))
        block = base64.b64decode(each.get("boot_block", ""))
        boot_block.put(each["type"], where.device, block)
        if boot_block.is_code(each["type"], block):
            total.warnings.append(f"{where.device}: {_BOOT_BLOCK}")
    return total


def _fill(
    store: Store, found: FoundArchive, each: Mapping[str, Any], device: str, settings: engine.Settings, mount_point: str
) -> Restored:
    """Restore the files of one partition to the filesystem that was made for them."""
    entry = found.entry or {}
    subvolumes = {os.fsencode(path) for path in entry["subvolumes"]}

    def make_directory(above: int, name: bytes, path: bytes) -> None:
        if path in subvolumes:
            filesystems.make_subvolume(above, name)
        else:
            os.mkdir(name, 0o700, dir_fd=above)

    with closing(opened(store, found, settings.threads, settings.spool)) as archive:
        archive.load()
        with mounts.mounted_empty(each["type"], device, mount_point) as path:
            if os.path.isdir(os.path.join(path, "lost+found")):
                os.rmdir(os.path.join(path, "lost+found"))  # the archive has its own, unless the snapshot had none
            room = os.statvfs(path)
            _check_fits(entry, room.f_bfree * room.f_frsize, _MORE)
            with closing(DirectoryTarget(path, devices=True, make_directory=make_directory, spool=settings.spool)) as target:
                engine.copy(archive, [target], settings.threads, store.stop)
                engine.add_sockets(archive, target)
                target.finish()
            filesystems.finish(each, path)
        return of_directory(target, archive.fetched)
