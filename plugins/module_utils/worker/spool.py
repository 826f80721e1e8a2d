# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory for what does not belong in memory."""

from __future__ import annotations

import os

from ..common.errors import Unfit

_LEAST = 64 * 1024 * 1024  # bytes: the index of a million files, compressed, and its parts


def check(path: str, least: int = _LEAST) -> None:
    """Raises Unfit for a directory that is missing, not writable, or nearly full."""
    if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        raise Unfit(f"spool {path} is not a writable directory", "Create it, or name another.")
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    if free < least:
        raise Unfit(f"spool {path} has {free} bytes free, {least} are needed", "Free some space, or name another directory.")
