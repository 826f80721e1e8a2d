# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume's disk: found, mounted, and turned into sources."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, NamedTuple, Optional

from ..cloud import volumes
from ..common.lane import Lane
from ..common.snapshot import Snapshot
from ..engine.archive import Section
from ..engine.documents.index import text
from ..engine.sources import Source
from ..engine.sources.device import DeviceSource
from ..engine.sources.tar import TarSource
from ..worker import attached, boot_block, sharing
from ..worker.attached import Disk, Filesystem
from ..worker.in_use import InUse
from ..worker.mounts import Treatment, mounted
from ..worker.noticed import errors as noticed_errors
from .job import Job

BOOT = 0  # the number of the area before the first partition
_LARGER = 1.5  # times the space used: beyond that, an image is the better archive
_FULL = 0.95  # of a filesystem; the rest is its own
Factory = Callable[[int], Source]  # chunk size -> source


Soon = Callable[[Callable[[int], int], bytes], None]


class Opened(NamedTuple):
    """sources: by partition (factory, expected bytes). facts: what the manifest says of the disk. in_use: what will be read of the
    device, (offset, length) in bytes."""

    sources: dict[Optional[int], tuple[Factory, int]]
    facts: dict[str, Any]
    in_use: Iterator[tuple[int, int]]


def of_snapshot(job: Job, snapshot: Optional[Snapshot]) -> Disk:
    """The disk of the volume in the arguments, once the kernel has it. With a snapshot, it has to be as large as that."""
    asked = job.asked
    disk = attached.inspect(attached.wait_for_device(asked["volume_id"], asked["attached_as"], asked["timeout"], job.stop))
    attached.check_alone(disk)
    if snapshot is not None:
        attached.check_size(disk, snapshot.size_gib << 30)
    return disk


@contextmanager
def opened(
    job: Job,
    lane: Lane,
    disk: Disk,
    form: str,
    on_error: str,
    forms: Optional[Mapping[Optional[int], str]] = None,
    shared_extents: str = "tar",
    soon: Optional[Soon] = None,
) -> Iterator[Opened]:
    """What of the disk of the volume in the arguments is to be archived, or compared.

    form 'image' mounts nothing; otherwise the volume is marked as one that may have changed. forms: what partitions were archived
    as, where that is settled. shared_extents 'image': where snapshots or reflinks would make files much larger than what is used,
    the partition is an image. soon: told of large files before they are read.
    """
    if form == "image":
        whole: dict[Optional[int], tuple[Factory, int]] = {None: (_device(disk.device, disk.size, on_error), disk.size)}
        yield Opened(whole, _facts(disk, []), iter([(0, disk.size)]))
        return
    lane.check()
    volumes.mark_mounted(job.ec2, job.asked["volume_id"])
    spool, stop = job.asked["spool"], job.stop
    since = int(time.time())
    allotted: dict[Optional[int], int] = {}

    def doubt(filesystem: Filesystem, path: str) -> str:
        source = TarSource(path, filesystem.type == "btrfs", on_error="zero", spool=spool)
        allotted[filesystem.number] = source.allotted(stop.check)
        return _too_large(filesystem, path, allotted[filesystem.number]) if shared_extents == "image" else ""

    with mounted(disk, stop, job.asked["mount_point"], forms=forms, doubt=None if forms else doubt) as treatments:
        sources: dict[Optional[int], tuple[Factory, int]] = {}
        starts = [each.filesystem.start for each in treatments if each.filesystem.number is not None]
        if starts:
            sources[BOOT] = (_device(disk.device, min(starts), on_error), min(starts))
        for each in treatments:
            where = each.filesystem
            if each.form == "tar":
                expected = max(_used(each.path), allotted.get(where.number, 0))
                sources[where.number] = (_tar(each, on_error, spool, soon, since), expected)
            elif each.form == "image":
                sources[where.number] = (_device(where.device, where.size, on_error), where.size)
        yield Opened(sources, _facts(disk, treatments), _in_use(treatments, min(starts, default=0)))


def _in_use(treatments: list[Treatment], boot: int) -> Iterator[tuple[int, int]]:
    """What will be read, in the order of the archives: an image completely, of a filesystem only what it uses."""
    if boot:
        yield 0, boot
    for each in treatments:
        where = each.filesystem
        if each.form == "image":
            yield where.start, where.size
        elif each.form == "tar":
            try:
                for offset, length in _known(each).stretches():
                    yield where.start + offset, length
            except OSError:  # this kernel cannot tell
                yield where.start, where.size


def _known(each: Treatment) -> InUse:
    return InUse(each.filesystem.type, each.filesystem.device, each.path)


@contextmanager
def sections(sources: dict[Optional[int], tuple[Factory, int]], chunk: int) -> Iterator[list[Section]]:
    """The sources to archive. They are closed at the end: a device that is held open cannot be detached."""
    found = [Section(number, factory(chunk), expected) for number, (factory, expected) in sources.items()]
    try:
        yield found
    finally:
        for each in found:
            each.source.close()


def _device(path: str, length: int, on_error: str) -> Factory:
    return lambda chunk: DeviceSource(path, 0, length, chunk, on_error)


def _tar(each: Treatment, on_error: str, spool: Optional[str], soon: Optional[Soon], since: int) -> Factory:
    where = each.filesystem
    noticed = noticed_errors(where.type, where.device, each.path, since)
    known = _known(each)

    def place(address: int) -> int:
        found = known.place(address)
        return where.start + found if found >= 0 else -1

    ahead = None if soon is None else partial(soon, place)
    return lambda chunk: TarSource(each.path, where.type == "btrfs", chunk, on_error, spool, noticed, ahead)


def _used(path: str) -> int:
    status = os.statvfs(path)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _too_large(filesystem: Filesystem, path: str, files: int) -> str:
    """Why a filesystem whose files add up to so many bytes should be an image; '' if it should not.

    Files that btrfs compresses are larger, too, but that does no harm as long as they fit.
    """
    status = os.statvfs(path)
    used, room = _used(path), status.f_blocks * status.f_frsize
    fits = files <= max(used, room * _FULL)
    if fits and files <= used * _LARGER:
        return ""
    if fits and filesystem.type == "btrfs" and not sharing.shares_more_than(path, int(used * (_LARGER - 1))):
        return ""
    return (
        f"its files would be {files} bytes although only {used} are in use, because snapshots or reflinks share them"
        f"{'' if fits else ', and would not fit on a disk of its size'}; shared_extents=tar archives files all the same"
    )


def _facts(disk: Disk, treatments: list[Treatment]) -> dict[str, Any]:
    """How to rebuild the disk: its size, its partition table from sfdisk, and every filesystem."""
    treated = {each.filesystem.device: each for each in treatments}
    filesystems = []
    for each in disk.filesystems:
        treatment = treated.get(each.device)
        filesystems.append(
            {
                "partition": each.number,
                "start": each.start,
                "size": each.size,
                "type": each.type,
                "facts": {name: text(os.fsencode(value)) for name, value in sorted(each.facts.items())},
                "archived": treatment.form if treatment else "image",
                "reason": treatment.reason if treatment else "an image of the whole disk was asked for",
                "journal": treatment.journal if treatment else "",
                "make": dict(treatment.make) if treatment else {},
                "boot_block": _boot_block(treatment),
            }
        )
    return {"size": disk.size, "table": disk.table, "filesystems": filesystems}


def _boot_block(treatment: Optional[Treatment]) -> str:
    """What a boot loader left at the start of a filesystem, as base64; an image has it anyway."""
    if treatment is None or treatment.form == "image":
        return ""
    return base64.b64encode(boot_block.read(treatment.filesystem.type, treatment.filesystem.device)).decode()
