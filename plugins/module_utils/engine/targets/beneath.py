# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walking below a directory so that nothing can lead out of it.

Every step is one name, opened relative to the directory above it with O_NOFOLLOW: a link is never followed, wherever it
came from and whenever it was put there. Names come as tuples of single components.
"""

from __future__ import annotations

import contextlib
import os
from typing import Callable, Optional

from ...common.errors import Permanent

Parts = tuple[bytes, ...]
_DEEPEST = 4096
_HELD = 128  # directories held open at a time, however deep the tree
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(name: bytes) -> Parts:
    """The components of a name; a leading slash counts for nothing, `..` is refused. Raises Permanent."""
    parts = tuple([part for part in name.split(b"/") if part not in (b"", b".")])
    if b".." in parts or b"\0" in name:
        raise Permanent("the archive names a path that leads out of the target", "It was not made by this collection.", path=name)
    if len(parts) > _DEEPEST:
        raise Permanent(f"a path of {len(parts)} levels", "It was not made by this collection.", path=name[:200])
    return parts


class _Level:
    """One directory on the way down. settle is called when it is left for good."""

    def __init__(self, name: bytes, descriptor: int, settle: Callable[[int], None]) -> None:
        self.name = name
        self.descriptor = descriptor
        self.settle = settle


class Beneath:
    """The directory `root`, and a place below it that moves. make(parent, name) makes a directory, raising OSError.

    A directory that is left gets back the modification time it had when it was entered, unless `on_leaving` gave it
    something better to do.
    """

    def __init__(self, root: str, make: Callable[[int, Parts], None]) -> None:
        self._make = make
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._levels = [_Level(b"", descriptor, _as_it_was(descriptor))]
        self._where: Optional[Parts] = ()

    def enter(self, parts: Parts, create: bool = True) -> int:
        """A descriptor of this directory, good until the next call. Raises Permanent if something else is in the way,
        FileNotFoundError if it is not there and not to be made."""
        if parts == self._where:
            return self._here()
        self._where = None
        same = 0
        for level, part in zip(self._levels[1:], parts):
            if level.name != part:
                break
            same += 1
        while len(self._levels) - 1 > same:
            self._leave()
        for depth in range(same, len(parts)):
            self._step(parts[: depth + 1], create)
        self._where = parts
        return self._here()

    def on_leaving(self, settle: Callable[[int], None]) -> None:
        """What to do with the directory entered last when it is left; it gets a descriptor of it."""
        self._levels[-1].settle = settle

    def leave_all(self) -> None:
        """Settle everything up to the root, and the root."""
        self._where = None
        while len(self._levels) > 1:
            self._leave()
        self._levels[0].settle(self._levels[0].descriptor)

    def close(self) -> None:
        """Let go without settling anything."""
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

    def _step(self, parts: Parts, create: bool) -> None:
        above = self._here()
        try:
            descriptor = os.open(parts[-1], _OPEN, dir_fd=above)
        except FileNotFoundError:
            if not create:
                raise
            self._make(above, parts)
            descriptor = os.open(parts[-1], _OPEN, dir_fd=above)
        except OSError as error:
            raise _in_the_way(parts, error) from error
        self._levels.append(_Level(parts[-1], descriptor, _as_it_was(descriptor)))
        if len(self._levels) > _HELD:
            shallow = self._levels[len(self._levels) - _HELD]
            if shallow.descriptor >= 0:
                os.close(shallow.descriptor)
                shallow.descriptor = -1

    def _leave(self) -> None:
        descriptor = self._here()
        level = self._levels.pop()
        try:
            level.settle(descriptor)
        finally:
            os.close(descriptor)


def _as_it_was(descriptor: int) -> Callable[[int], None]:
    status = os.fstat(descriptor)

    def settle(again: int) -> None:
        with contextlib.suppress(PermissionError):  # a directory that is somebody else's
            os.utime(again, ns=(status.st_atime_ns, status.st_mtime_ns))

    return settle


def _in_the_way(parts: Parts, error: OSError) -> Permanent:
    path: Optional[bytes] = b"/".join(parts)
    return Permanent(
        f"something that is no directory is in the way: {error.strerror}", "Restore into an empty directory.", path=path
    )
