# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounting the filesystems of a snapshot where nobody else sees them and nothing on them can act.

The calling thread gets its own mount namespace, so its mounts disappear with the process, whatever happens to it, SIGKILL
included. Types come from the list here, never from guessing, and every mount is read-only, nosuid, nodev and noexec. A read-only
mount still replays a dirty journal, on the temporary volume; if that fails, it is mounted without the journal. What the filesystem
asks for is overridden: a superblock can say "panic on errors".

If the host's mounts are shared (as systemd makes them), what the host unmounts meanwhile is unmounted here, too. So a job of hours
does not hold on to a disk that somebody removes from the worker.

The kernel identifies a btrfs by its UUID, which snapshots of one volume share. Before Linux 6.7 it mounts only one of them at a
time, and remembers one that is gone. So mounts of one UUID on a host wait for each other.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from subprocess import CompletedProcess
from typing import Any, Callable, Optional

from ..common.errors import Permanent, Refused, Unfit
from ..common.stop import Stop
from .attached import Disk, Filesystem, Run, run
from .filesystems import describe
from .sharing import may_share

_ALWAYS = "ro,nosuid,nodev,noexec"
_EXT = ["errors=remount-ro", "errors=remount-ro,noload"]
_VFAT = "utf8,tz=UTC"  # whatever the kernel's defaults: names and times have to be the same on every worker
# Type -> options, in the order they are tried. The second entry does without the journal.
_OPTIONS = {
    "ext2": ["errors=remount-ro"],
    "ext3": _EXT,
    "ext4": _EXT,
    "xfs": ["nouuid", "nouuid,norecovery"],
    "btrfs": ["subvolid=5", "subvolid=5,rescue=nologreplay"],
    "vfat": [_VFAT],
}
_TO_FILL = {
    "xfs": "nouuid",
    "btrfs": "subvolid=5",
    "vfat": _VFAT,
}  # in addition to those of every mount, for a filesystem to be filled
# Linux can read it, but a tar cannot hold its permissions and streams, and its disk could not be made again.
_IMAGED = {"ntfs": "a tar would lose the permissions and streams of ntfs"}
Doubt = Callable[[Filesystem, str], str]
_LOCKS = "/run/coldstore-ebs"
_CLONE_NEWNS = 0x00020000
_MS_REC_SLAVE = (1 << 14) | (1 << 19)  # mount(2): changes here stay here, changes outside come in


@dataclass(frozen=True)
class Treatment:
    """What becomes of a filesystem: 'tar' from `path`, 'image', or 'record'; the reason, if not tar; and the state of its journal:
    'clean', 'replayed', 'skipped' (it could not be replayed), 'unknown' (the kernel replays it if necessary), or '' without one.
    make: what filesystems.make needs to make one like it."""

    filesystem: Filesystem
    form: str
    path: str = ""
    reason: str = ""
    journal: str = ""
    make: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def private_namespace() -> Iterator[None]:
    """Move this thread, and threads and processes it starts, into a mount namespace of its own, for good.

    Raises Unfit if it may not (CAP_SYS_ADMIN).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC_SLAVE, None):
        reason = os.strerror(ctypes.get_errno())
        raise Unfit(f"cannot create a private mount namespace: {reason}", "Run as root on the worker (become: true).")
    yield


@contextmanager
def mounted(
    disk: Disk,
    stop: Stop,
    mount_point: str = "/mnt",
    command: Run = run,
    forms: Optional[Mapping[Optional[int], str]] = None,
    doubt: Optional[Doubt] = None,
) -> Iterator[list[Treatment]]:
    """Mount what can be mounted of a disk below `mount_point`, inside a private namespace, while the body runs.

    forms: how the partitions were archived; then an 'image' is not mounted, and a 'tar' has to be. doubt: called for a filesystem
    whose files may share data, while it is mounted in a way that writes nothing; returns why it should be an image, '' if it
    should not. Waits for another job on this host that has a btrfs with the same UUID mounted. Raises Stopped if it is stopped
    meanwhile, Refused for a filesystem that was archived as files and cannot be mounted.
    """
    with _base(mount_point, command), ExitStack() as alone:
        for uuid in sorted({each.facts.get("UUID", "") for each in disk.filesystems if each.type == "btrfs"}):
            alone.enter_context(_alone(uuid, stop))
        treatments = []
        try:
            for filesystem in disk.filesystems:
                treatments.append(_treat(filesystem, mount_point, command, (forms or {}).get(filesystem.number, ""), doubt))
            yield treatments
        finally:
            for treatment in reversed(treatments):
                if treatment.path:
                    _unmount(treatment.path, command)


@contextmanager
def mounted_empty(kind: str, device: str, mount_point: str, command: Run = run) -> Iterator[str]:
    """Mount a filesystem that was just made, to fill it, in a private namespace. Yields where.

    It is unmounted, and so written to disk, before this returns. Raises Permanent if either fails.
    """
    with _base(mount_point, command):
        path = os.path.join(mount_point, "new")
        os.mkdir(path)
        options = ",".join(["rw,nosuid,nodev,noexec", *filter(None, [_TO_FILL.get(kind)])])
        done = _mount(kind, options, device, path, command)
        if done.returncode:
            raise Permanent(f"the new {kind} cannot be mounted: {' '.join(done.stderr.split())}", device=device)
        try:
            yield path
        except BaseException:
            _unmount(path, command)
            raise
        done = command(["umount", path])
        if done.returncode:
            raise Permanent(f"the new {kind} cannot be unmounted: {' '.join(done.stderr.split())}", device=device)


@contextmanager
def _base(mount_point: str, command: Run) -> Iterator[None]:
    """A directory of our own over the mount point, which nobody else can see."""
    with private_namespace():
        if not os.path.isdir(mount_point):
            raise Unfit(f"mount point {mount_point} is not a directory", "Create it, or name another.")
        made = command(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "coldstore", mount_point])
        if made.returncode:
            raise Unfit(f"nothing can be mounted at {mount_point}: {made.stderr.strip()}")
        try:
            yield
        finally:
            _unmount(mount_point, command)


def classify(filesystem: Filesystem) -> Optional[Treatment]:
    """What to do with a filesystem that is not mounted; None if mounting can be tried."""
    kind = filesystem.type
    if kind == "swap":
        return Treatment(filesystem, "record", reason="swap holds nothing worth keeping; its place and UUID are recorded")
    if kind in _OPTIONS:
        return None
    if kind:
        return Treatment(filesystem, "image", reason=_IMAGED.get(kind, f"{kind} is not a filesystem that can be mounted"))
    if filesystem.facts.get("PART_ENTRY_TYPE", "").lower() == "21686148-6449-6e6f-744e-656564454649":
        return Treatment(filesystem, "image", reason="a BIOS boot partition holds no filesystem")
    if filesystem.facts.get("AMBIVALENT"):
        return Treatment(filesystem, "image", reason="it has signatures of more than one filesystem")
    return Treatment(filesystem, "image", reason="nothing on it was recognised")


def _treat(filesystem: Filesystem, mount_point: str, command: Run, form: str = "", doubt: Optional[Doubt] = None) -> Treatment:
    settled = classify(filesystem)
    if form == "image":
        return settled or Treatment(filesystem, "image", reason="it was archived as an image")
    if settled is not None:
        if settled.form == "record":
            return replace(settled, make=describe(filesystem.type, filesystem.device, "", command))
        return settled
    path = os.path.join(mount_point, "disk" if filesystem.number is None else str(filesystem.number))
    os.mkdir(path)
    reason = _doubts(filesystem, path, command, doubt) if doubt else ""
    if reason:
        return Treatment(filesystem, "image", reason=reason)
    dirty = _journal(filesystem)
    reasons = []
    for attempt, options in enumerate(_OPTIONS[filesystem.type]):
        done = _mount(filesystem.type, f"{_ALWAYS},{options}", filesystem.device, path, command)
        if not done.returncode:
            journal = dirty if not attempt else "skipped"
            made = describe(filesystem.type, filesystem.device, path, command)
            return Treatment(filesystem, "tar", path, journal=journal, make=made)
        reasons.append(" ".join(done.stderr.split()))
    if form == "tar":
        raise Refused(
            f"it was archived as files and cannot be mounted here: {reasons[0]}",
            "Use a worker whose kernel can mount it.",
            partition=filesystem.number,
        )
    return Treatment(filesystem, "image", reason=f"{filesystem.type} cannot be mounted here: {reasons[0]}")


def _doubts(filesystem: Filesystem, path: str, command: Run, doubt: Doubt) -> str:
    """Why it should be an image after all. Mounted without its journal, since nothing may be written before taking an image."""
    if not may_share(filesystem):
        return ""
    if _mount(filesystem.type, f"{_ALWAYS},{_OPTIONS[filesystem.type][-1]}", filesystem.device, path, command).returncode:
        return ""
    try:
        return doubt(filesystem, path)
    finally:
        _unmount(path, command)


def _mount(kind: str, options: str, device: str, path: str, command: Run) -> CompletedProcess[str]:
    arguments = ["mount", "-t", kind, "-o", options, device, path]
    done = command(arguments)
    if kind == "btrfs" and "File exists" in done.stderr:
        try:
            command(["btrfs", "device", "scan", "--forget"])  # those that are not mounted
            done = command(arguments)
            command(["btrfs", "device", "scan"])  # a filesystem of several disks has to be registered again
        except FileNotFoundError:
            pass  # the first answer stands
    return done


@contextmanager
def _alone(uuid: str, stop: Stop) -> Iterator[None]:
    os.makedirs(_LOCKS, mode=0o700, exist_ok=True)
    with open(os.path.join(_LOCKS, f"btrfs.{uuid}"), "w", encoding="ascii") as turn:
        while True:
            stop.check()
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stop.wait(1)
        yield


def _unmount(path: str, command: Run) -> None:
    """Unmount at once if nothing is open below it, otherwise as soon as that is closed."""
    if command(["umount", path]).returncode:
        command(["umount", "--lazy", path])


def _journal(filesystem: Filesystem) -> str:
    """What a read-only mount will do to the journal. For ext: the needs_recovery bit of the superblock's incompatible
    features (Linux: Documentation/filesystems/ext4/super.rst, offset 0x60, bit 0x4)."""
    if filesystem.type not in ("ext3", "ext4"):
        return "unknown" if filesystem.type in ("xfs", "btrfs") else ""
    with open(filesystem.device, "rb") as device:
        device.seek(1024 + 0x60)
        features = int.from_bytes(device.read(4), "little")
    return "replayed" if features & 0x4 else "clean"
