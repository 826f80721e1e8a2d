# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that a tar stream is extracted into, with every attribute as it was.

Nothing is ever written outside of it: each step of a path is taken separately and does not follow links (beneath.py). A name
that leads out is an error; a link that leads out is created but not followed. Until `finish`, the directory holds a marker
that says that it is incomplete.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, Callable, Optional

from ...common.errors import Permanent, Refused, advice_on
from ..selection import Selection
from . import Trouble, untar
from .attributes import Attributes, shut
from .beneath import Beneath, Parts, parts_of
from .headers import Entry

MARKER = b".coldstore-ebs.incomplete"
_MOST = 1000  # how many troubles and skipped members are listed
_LARGE = 1 << 20  # bytes of a file
_NODES = {"fifo": stat.S_IFIFO, "character": stat.S_IFCHR, "block": stat.S_IFBLK, "socket": stat.S_IFSOCK}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def begin(root: str, overwrite: bool) -> bool:
    """Create the directory, private, if it is missing, and mark it as incomplete. Returns whether existing files may be replaced.
    Raises Refused for a directory that is not empty, unless an unfinished restore left it.
    """
    if not os.path.isdir(root):
        os.makedirs(root, mode=0o700)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            shut(descriptor)
        finally:
            os.close(descriptor)
    names = set(os.listdir(os.fsencode(root)))
    if names and MARKER not in names and not overwrite:
        raise Refused(
            f"{root} is not empty",
            "Name an empty directory, or set overwrite (coldstore_restore_overwrite) to replace what is there.",
            path=root,
        )
    marker = os.path.join(os.fsencode(root), MARKER)
    os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    return overwrite or MARKER in names


class DirectoryTarget(untar.Consumer):
    """The directory at `root`, which is made if it is missing.

    strip: how many leading components to leave out. owners: restore owners; needs root. devices: make device nodes; otherwise they
    are listed in skipped. overwrite: the directory need not be empty, and what is in the way of a file is replaced. renamed: path
    in the archive -> path to restore it to. make_directory: called with the descriptor above, the name and the path in the archive
    if mkdir is not enough (btrfs subvolumes). cut: the input is stretches of single members. spool: for maps of very many holes.
    Raises Refused for a directory that is not empty, unless an unfinished restore left it.
    """

    in_order = True

    def __init__(
        self,
        root: str,
        selection: Optional[Selection] = None,
        strip: int = 0,
        owners: bool = True,
        devices: bool = False,
        overwrite: bool = False,
        renamed: Optional[Mapping[bytes, bytes]] = None,
        make_directory: Optional[Callable[[int, bytes, bytes], None]] = None,
        cut: bool = False,
        spool: Optional[str] = None,
    ) -> None:
        self.written = 0
        self.members = 0
        self.skipped: list[Trouble] = []
        self.troubles: list[Trouble] = []
        self.trouble_count = 0
        self._selection = selection or Selection()
        self._strip = strip
        self._devices = devices
        self._renamed = renamed or {}
        self._make_directory = make_directory
        self._attributes = Attributes(owners, self._trouble, self._skip)
        self._untar = untar.Untar(self, cut, spool)
        self._fd = -1
        self._entry: Optional[Entry] = None
        self._path = b""
        self._heir = True
        self._overwrite = begin(root, overwrite)
        self._beneath = Beneath(root, self._make)

    def write(self, offset: int, data: Any) -> None:
        try:
            self._untar.feed(data)
        except OSError as error:
            raise Permanent(f"it cannot be restored: {error.strerror}", advice_on(error), path=self._path) from error

    def add(self, entry: Entry) -> None:
        """A member that is not in the stream: a socket, which tar does not support."""
        self.begin(entry)
        self.end()

    def finish(self) -> None:
        self._untar.finish()
        os.unlink(MARKER, dir_fd=self._beneath.enter(()))
        self._beneath.leave_all()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._beneath.close()

    # What the stream says, member by member

    def begin(self, entry: Entry) -> None:
        self._entry = None
        archived = parts_of(entry.name)
        path = b"/".join(archived) or b"."
        renamed = self._renamed.get(path)
        if renamed is None and not self._selection.wants(path):
            return
        parts = (archived if renamed is None else parts_of(renamed))[self._strip :]
        if not parts and (self._strip or entry.type != "directory"):
            return
        self._path = path
        if entry.type in ("character", "block") and not self._devices:
            self._skip(path, "device", "device nodes are only made if allow_devices is set")
            return
        self.members += 1
        if entry.type == "directory":
            descriptor = self._beneath.enter(parts)
            there = not self._beneath.is_new
            if there:
                self._attributes.set_early(entry, path, descriptor)
            self._beneath.on_leaving(lambda descriptor: self._attributes.set(entry, path, descriptor, there))
            return
        above = self._beneath.enter(parts[:-1])
        self._heir = not self._beneath.is_new
        name = parts[-1]
        if entry.type == "hardlink":
            self._link(entry, above, name)
            return
        self._entry = entry
        if entry.type == "file":
            try:
                self._fd = os.open(name, _NEW, 0o600, dir_fd=above)
                return
            except FileExistsError:
                pass
        self._new(above, name, lambda: self._place(entry, above, name))

    def data(self, offset: int, view: memoryview) -> None:
        if self._fd < 0:
            return
        done = 0
        while done < len(view):
            done += os.pwrite(self._fd, view[done:], offset + done)
        self.written += done

    def end(self) -> None:
        entry = self._entry
        if entry is None:
            return
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            try:
                if entry.extents is not None:
                    os.ftruncate(descriptor, entry.size)
                if entry.size >= _LARGE:  # start writing to disk: an ext4 that gets full waits for all it holds back
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._attributes.set(entry, self._path, descriptor, self._heir)
            finally:
                os.close(descriptor)
        self._entry = None

    def _place(self, entry: Entry, above: int, name: bytes) -> None:
        """Make a file, link or node. All except files get their attributes at once."""
        if entry.type == "file":
            self._fd = os.open(name, _NEW, 0o600, dir_fd=above)
            return
        if entry.type == "symlink":
            os.symlink(entry.link, name, dir_fd=above)
            self._attributes.set_by_name(entry, self._path, above, name)
            return
        os.mknod(name, _NODES[entry.type] | 0o600, os.makedev(*entry.device), dir_fd=above)
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            if stat.S_IFMT(os.fstat(descriptor).st_mode) != _NODES[entry.type]:
                raise Permanent("somebody else is changing the target directory", "Name another.", path=self._path)
            self._attributes.set(entry, self._path, b"/proc/self/fd/%d" % descriptor, self._heir)
        finally:
            os.close(descriptor)

    def _new(self, above: int, name: bytes, make: Callable[[], None]) -> None:
        """Make something under a name. What already has that name is replaced if that is allowed."""
        try:
            make()
        except FileExistsError:
            if not self._overwrite:
                raise
            if stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode):
                raise Permanent("a directory is in the way of a file", "Remove it first.", path=self._path) from None
            os.unlink(name, dir_fd=above)
            make()

    def _link(self, entry: Entry, above: int, name: bytes) -> None:
        target = parts_of(entry.link)
        renamed = self._renamed.get(b"/".join(target))
        target = (target if renamed is None else parts_of(renamed))[self._strip :]
        if renamed is not None and parts_of(renamed) == parts_of(entry.name):
            self.members -= 1
            return  # the contents were restored under this very name
        try:
            source = self._beneath.open(target[:-1])
        except FileNotFoundError:
            raise self._nothing_to_link(entry) from None
        try:
            self._new(above, name, lambda: os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False))
        except (FileNotFoundError, IndexError):
            raise self._nothing_to_link(entry) from None
        finally:
            os.close(source)

    def _nothing_to_link(self, entry: Entry) -> Permanent:
        other = os.fsdecode(entry.link)
        return Permanent("it is a hard link to a file that is not restored", f"Restore {other!r} as well.", path=self._path)

    def _make(self, above: int, parts: Parts) -> None:
        """A directory on the way, private until its own member, if there is one, says otherwise."""
        if self._make_directory is not None:
            self._make_directory(above, parts[-1], b"/".join(parts))
        else:
            os.mkdir(parts[-1], 0o700, dir_fd=above)

    def _skip(self, path: bytes, attribute: str, reason: str) -> None:
        if len(self.skipped) < _MOST:
            self.skipped.append(Trouble(path, attribute, reason))

    def _trouble(self, path: bytes, attribute: str, reason: str) -> None:
        self.trouble_count += 1
        if len(self.troubles) < _MOST:
            self.troubles.append(Trouble(path, attribute, reason))
