# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walking below a directory in a way that nothing can lead out of it.

Every step is one name, opened relative to the directory above it with O_NOFOLLOW: a link is never followed, wherever it
came from and whenever it appeared. Names are tuples of single components.
"""

from __future__ import annotations

import contextlib
import os
from typing import Callable, Optional

from ...common.errors import Permanent
from .attributes import shut

Parts = tuple[bytes, ...]
_HELD = 128  # directories held open at the same time, however deep the tree
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(name: bytes) -> Parts:
    """The components of a name. A leading slash is ignored. Raises Permanent for `..`."""
    parts = tuple([part for part in name.split(b"/") if part not in (b"", b".")])
    if b".." in parts or b"\0" in name:
        raise Permanent("the archive names a path that leads out of the target", "It was not made by this collection.", path=name)
    return parts


Identity = tuple[int, int]  # device and inode
Settle = Callable[[int], None]


class _Level:
    """A directory on the way down. settle is called when it is left for good."""

    def __init__(self, name: bytes, descriptor: int, is_new: bool, identity: Identity, settle: Settle) -> None:
        self.name = name
        self.is_new = is_new
        self.descriptor = descriptor
        self.identity = identity
        self.settle = settle


class Beneath:
    """The directory `root`, and a current place below it. make(parent, path) makes a directory, raising OSError; the directory is
    private from the start. Without make, nothing below the root is made or changed.

    When a directory is left, it gets back the modification time it had when it was entered, unless `on_leaving` sets something
    else. However deep a tree is, few directories are held open.
    """

    def __init__(self, root: str, make: Optional[Callable[[int, Parts], None]] = None) -> None:
        self._make = make
        self._levels: list[_Level] = []
        self._push(b"", os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._where: Optional[Parts] = ()

    def enter(self, parts: Parts) -> int:
        """A descriptor of this directory, valid until the next call. Raises Permanent if something else is in the way,
        FileNotFoundError if it is missing and cannot be made."""
        if parts == self._where:
            return self._here()
        before, self._where = self._where, None
        if before is not None and parts[: len(before)] == before:
            same = len(before)
        else:
            same = 0
            for level, part in zip(self._levels[1:], parts):
                if level.name != part:
                    break
                same += 1
        while len(self._levels) - 1 > same:
            self._leave()
        for depth in range(same, len(parts)):
            self._step(parts[: depth + 1])
        self._where = parts
        return self._here()

    @property
    def is_new(self) -> bool:
        """Whether the directory entered last was made, private, when it was entered."""
        return self._levels[-1].is_new

    def on_leaving(self, settle: Settle) -> None:
        """Set what to do with the directory entered last when it is left; that is called with a descriptor of it."""
        self._levels[-1].settle = settle

    def leave_all(self) -> None:
        """Settle everything up to and including the root."""
        self._where = None
        while len(self._levels) > 1:
            self._leave()
        self._levels[0].settle(self._levels[0].descriptor)

    def close(self) -> None:
        """Close everything without settling anything."""
        for level in self._levels:
            if level.descriptor >= 0:
                os.close(level.descriptor)
        self._levels = []

    def open(self, parts: Parts) -> int:
        """A new descriptor of a directory, without moving there. The caller closes it."""
        descriptor = os.dup(self._levels[0].descriptor)
        for depth, part in enumerate(parts):
            try:
                following = os.open(part, _OPEN, dir_fd=descriptor)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise _in_the_way(parts[: depth + 1], error) from error
            finally:
                os.close(descriptor)
            descriptor = following
        return descriptor

    def _here(self) -> int:
        level = self._levels[-1]
        if level.descriptor < 0:
            level.descriptor = self.open(tuple(each.name for each in self._levels[1:]))
        return level.descriptor

    def _step(self, parts: Parts) -> None:
        above = self._here()
        try:
            descriptor = os.open(parts[-1], _OPEN, dir_fd=above)
            is_new = False
        except FileNotFoundError:
            if self._make is None:
                raise
            self._make(above, parts)
            descriptor = os.open(parts[-1], _OPEN, dir_fd=above)
            is_new = True
        except OSError as error:
            raise _in_the_way(parts, error) from error
        self._push(parts[-1], descriptor, is_new)
        if is_new:
            shut(descriptor)
        if len(self._levels) > _HELD:
            shallow = self._levels[len(self._levels) - _HELD]
            if shallow.descriptor >= 0:
                os.close(shallow.descriptor)
                shallow.descriptor = -1

    def _push(self, name: bytes, descriptor: int, is_new: bool = False) -> None:
        status = os.fstat(descriptor)
        settle = _ignore if self._make is None else _as_it_was(status)
        self._levels.append(_Level(name, descriptor, is_new, (status.st_dev, status.st_ino), settle))

    def _leave(self) -> None:
        descriptor = self._here()
        level = self._levels.pop()
        try:
            self._reopen_above(descriptor)
            level.settle(descriptor)
        finally:
            os.close(descriptor)

    def _reopen_above(self, descriptor: int) -> None:
        """Go up with `..`, if that leads to where we came from: from the root it would be a long way each time."""
        level = self._levels[-1]
        if level.descriptor < 0:
            above = os.open(b"..", _OPEN, dir_fd=descriptor)
            status = os.fstat(above)
            if (status.st_dev, status.st_ino) == level.identity:
                level.descriptor = above
            else:
                os.close(above)


def _ignore(_descriptor: int) -> None: ...


def _as_it_was(status: os.stat_result) -> Settle:
    def settle(descriptor: int) -> None:
        with contextlib.suppress(PermissionError):  # a directory that belongs to somebody else
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))

    return settle


def _in_the_way(parts: Parts, error: OSError) -> Permanent:
    path: Optional[bytes] = b"/".join(parts)
    return Permanent(
        f"something that is not a directory is in the way: {error.strerror}", "Restore into an empty directory.", path=path
    )
