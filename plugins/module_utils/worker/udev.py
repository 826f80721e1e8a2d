# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a worker leave temporary volumes alone when they appear.

The system acts on what udev finds on a new disk: LVM activates its volume groups, mdadm assembles its arrays (which writes to
them), btrfs is registered with the kernel, a mount in fstab that waits for a UUID is made, and links by UUID may point to a copy
of the worker's own disk. A rule that exists before the disk keeps udev from looking; links by id are made all the same. The flags
are those that device-mapper sets on private devices, and the rules of udev (60-persistent-storage), LVM (69), mdadm (64) and btrfs
(64) honour them. On Xen instances there is no serial to recognise a volume by.
"""

from __future__ import annotations

import os

from ..common.errors import Unfit
from .attached import Run, run

_RULE = (
    'SUBSYSTEM=="block", ATTRS{serial}=="%s", ENV{UDEV_DISABLE_PERSISTENT_STORAGE_BLKID_FLAG}="1", '
    'ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1", ENV{SYSTEMD_READY}="0"\n'
)


def ignore(volume_id: str, command: Run = run, root: str = "/") -> None:
    """Make udev ignore what is on a volume, before it is attached. A host without udev needs nothing.

    Raises Unfit if udev cannot be told. root is for tests.
    """
    if not os.path.exists(os.path.join(root, "run/udev/control")):
        return
    path = _path(volume_id, root)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(_RULE % volume_id.replace("-", ""))
        done = command(["udevadm", "control", "--reload"])
    except OSError as error:
        raise Unfit(f"udev cannot be told to ignore {volume_id}: {error}", "Run as root on the worker (become: true).") from error
    if done.returncode:
        raise Unfit(
            f"udev cannot be told to ignore {volume_id}: {' '.join(done.stderr.split())}", "Check that systemd-udevd is running."
        )


def forget(volume_id: str, root: str = "/") -> None:
    """Remove the rule of a volume that is gone."""
    path = _path(volume_id, root)
    if os.path.exists(path):
        os.unlink(path)


def _path(volume_id: str, root: str) -> str:
    # Before 60, which is where udev looks at what is on a disk.
    return os.path.join(root, f"run/udev/rules.d/59-coldstore-ebs-{volume_id}.rules")
