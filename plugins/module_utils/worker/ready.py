# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host needs for any snapshot: commands to look into disks, and a mount point."""

from __future__ import annotations

import os
import shutil

from ..common.errors import Unfit

_COMMANDS = ("blkid", "sfdisk", "mount", "umount")


def check_for_volumes(mount_point: str) -> None:
    """Raises Unfit if a command is missing, or the mount point is not a directory."""
    missing = [command for command in _COMMANDS if shutil.which(command) is None]
    if missing:
        raise Unfit(f"{', '.join(missing)} is not installed on this host", "The role coldstore.ebs.worker installs it.")
    if not os.path.isdir(mount_point):
        raise Unfit(f"mount_point {mount_point} is not a directory", "Create it, or name another.")
