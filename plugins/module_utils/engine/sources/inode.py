# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lstat does not say of a file, and what is kept of it where some of that cannot be read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Callable, Optional

from ...common.errors import printable
from . import Problem, pax
from .status import Status

_SMALL = 64 << 20  # bytes
Extents = list[tuple[int, int]]
Note = Callable[[Problem, bool], None]  # a problem without its path, and whether it is damage; may raise


def look(path: bytes, form: int, status: Status, note: Note) -> tuple[pax.Records, str, Optional[bytes], Extents]:
    """Extended attributes and their digest, a link's target, and (offset, length) of where a file has data.

    Raises OSError if a link's target cannot be read: there is nothing else to keep of it.
    """
    extra, digest = _xattrs(path, note)
    target = os.readlink(path) if form == stat.S_IFLNK else None
    holes = form == stat.S_IFREG and status.st_blocks * 512 < status.st_size
    return extra, digest, target, _extents(path, status, note) if holes else [(0, status.st_size)]


def _xattrs(path: bytes, note: Note) -> tuple[pax.Records, str]:
    """The records of all extended attributes in byte order, and a digest of them ('' without)."""
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
            reason = "its extended attributes come to more than 15 MiB; an image of the disk keeps the rest"
            note(Problem(b"", 0, 0, reason, "attributes"), False)
            break
        pairs.append((name, value))
    digest = hashlib.sha256(repr(pairs).encode()).hexdigest()[:32]
    return [record for name, value in pairs for record in pax.xattr_records(name, value)], digest


def _without(note: Note, failed: str, error: OSError) -> None:
    if error.errno == errno.E2BIG:
        # No damage: listxattr(2) ends at 64 KiB of names, getxattr(2) at 64 KiB of value, whatever the filesystem holds.
        reason = f"{failed}: there is more of them than Linux hands out (64 KiB); an image of the disk keeps them"
        note(Problem(b"", 0, 0, reason, "attributes"), False)
    else:
        note(Problem(b"", 0, 0, f"{failed}: {error.strerror}", "attributes"), True)


def _extents(path: bytes, status: Status, note: Note) -> Extents:
    """(offset, length) of the data in a file with holes, and of what is taken for data because nobody can tell."""
    size = status.st_size
    extents: Extents = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        note(Problem(b"", 0, size, f"opening fails: {error.strerror}"), True)
        return []
    try:
        end = 0
        while end < size:
            try:
                start = os.lseek(descriptor, end, os.SEEK_DATA)
                stop = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole from here on
                    break
                start, stop = end, _known_again(descriptor, end, size)
                if stop - start > max(status.st_blocks * 512, _SMALL):
                    # More than the file ever had: what could be read between the holes is not worth reading all of it.
                    note(Problem(b"", start, stop - start, f"where it has data cannot be read: {error.strerror}"), True)
                    end = stop
                    continue
            extents.append((start, stop - start))
            end = stop
    finally:
        os.close(descriptor)
    return extents


def _known_again(descriptor: int, offset: int, size: int) -> int:
    """An offset behind this one from which on the kernel knows where the file has data; at most twice as far as need be."""
    step = 4096
    while offset + step < size:
        try:
            os.lseek(descriptor, offset + step, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                step *= 2
                continue
        return offset + step
    return size
