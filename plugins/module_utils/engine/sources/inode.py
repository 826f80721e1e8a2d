# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lstat does not tell about a file, and what is kept of it if some of that cannot be read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Optional

from ...common.errors import printable
from ..spool import Extents
from . import Problem, pax
from .extents import Note, extents_of
from .status import Status


def look(
    path: bytes, form: int, status: Status, note: Note, spool: str
) -> tuple[pax.Records, str, Optional[bytes], Optional[Extents]]:
    """Extended attributes and their digest, a link's target, and (offset, length) of where a file with holes has data.

    Raises OSError if a link's target cannot be read, because then there is nothing to keep.
    """
    extra, digest = _xattrs(path, note)
    target = os.readlink(path) if form == stat.S_IFLNK else None
    return extra, digest, target, extents_of(path, status, note, spool) if form == stat.S_IFREG else None


def _xattrs(path: bytes, note: Note) -> tuple[pax.Records, str]:
    """The records of all extended attributes in byte order, and a digest of them ('' if there are none)."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            _without(note, "its extended attributes cannot be listed", error)
        return [], ""
    if not names:
        return [], ""
    pairs = []
    room = pax.MOST_ATTRIBUTES
    for name in sorted(os.fsencode(name) for name in names):
        try:
            value = os.getxattr(path, name, follow_symlinks=False)
        except OSError as error:
            _without(note, f"its extended attribute {printable(name)} cannot be read", error)
            continue
        room -= len(name) + len(value)
        if room < 0:
            reason = "its extended attributes exceed 15 MiB; an image of the disk keeps the rest"
            note(Problem(b"", 0, 0, reason, "attributes"), False)
            break
        pairs.append((name, value))
    digest = hashlib.sha256(repr(pairs).encode()).hexdigest()[:32]
    return [record for name, value in pairs for record in pax.xattr_records(name, value)], digest


def _without(note: Note, failed: str, error: OSError) -> None:
    if error.errno == errno.E2BIG:
        # Not damage: listxattr(2) ends at 64 KiB of names, getxattr(2) at 64 KiB of value, whatever the filesystem holds.
        reason = f"{failed}: there are more than Linux returns (64 KiB); an image of the disk keeps them"
        note(Problem(b"", 0, 0, reason, "attributes"), False)
    else:
        note(Problem(b"", 0, 0, f"{failed}: {error.strerror}", "attributes"), True)
