# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tar stream that somebody else made against the files it was made of."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, Optional

from ..common.errors import Permanent
from .bucket.objects import MIB
from .differences import Differences
from .documents.index import text
from .spool import PathTable
from .targets.beneath import Beneath, parts_of
from .targets.headers import Entry
from .targets.untar import Consumer

_FORMS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo", stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
}  # fmt: skip


class FilesComparison(Consumer):
    """Compares each member, as it comes, with the file of its name below `root`; no link is followed on the way.

    totals counts members and bytes; seen gets the path of every member.
    """

    def __init__(self, root: bytes, key: str, differences: Differences, totals: dict[str, int], seen: PathTable) -> None:
        self._beneath = Beneath(os.fsdecode(root))
        self._key = key
        self._differences = differences
        self._totals = totals
        self._seen = seen
        self._path = b""
        self._file = -1
        self._size = 0
        self._at = 0  # up to where the file was compared

    def begin(self, entry: Entry) -> None:
        self._totals["members"] += 1
        self._totals["bytes"] += entry.size
        self._path = entry.name
        try:
            parts = parts_of(entry.name)
            self._path = b"/".join(parts) or b"."
            self._seen.first(self._path, self._path)
            above = self._beneath.enter(parts[:-1])
            name = parts[-1] if parts else b"."
            there = os.lstat(name, dir_fd=above)
        except (OSError, Permanent):
            self._differ("member", "absent", "present")
            return
        if entry.type == "hardlink":
            if not self._is(entry.link, there):
                self._differ("link", "another file", text(entry.link))
            return
        self._size = entry.size
        self._at = 0
        try:
            for attribute, (expected, found) in _attributes(entry, there, name, above).items():
                if expected != found:
                    self._differ(attribute, expected, found)
            if entry.type == "file" and stat.S_ISREG(there.st_mode):
                self._file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        except OSError as error:
            self._differ("content", f"reading fails: {error.strerror}", "present")

    def data(self, offset: int, view: memoryview) -> None:
        self._hole(offset)
        if self._file >= 0:
            self._at = offset + len(view)
            found = self._read(len(view), offset)
            if found is not None and found != view:
                self._unequal()

    def end(self) -> None:
        self._hole(self._size)
        self.close_file()

    def close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        self.close_file()
        self._beneath.close()

    def _hole(self, end: int) -> None:
        """From where the comparison is to `end` the archive has zeros."""
        while self._file >= 0 and self._at < end:
            try:
                self._at = os.lseek(self._file, self._at, os.SEEK_DATA)
            except OSError:  # no more data, or a hole beyond the end of the file, whose size is another then
                self._at = end
            length = min(end - self._at, MIB)
            if length > 0:
                if (self._read(length, self._at) or b"").strip(b"\0"):
                    self._unequal()
                self._at += length

    def _read(self, length: int, offset: int) -> Optional[bytes]:
        """None if the volume does not give it; that is a difference."""
        try:
            return os.pread(self._file, length, offset)
        except OSError as error:
            self._differ("content", f"reading fails: {error.strerror}", "present")
            self.close_file()
            return None

    def _unequal(self) -> None:
        self._differ("content", "as on the volume", "other bytes")
        self.close_file()

    def _is(self, link: bytes, there: os.stat_result) -> bool:
        try:
            *above, name = parts_of(link)
            descriptor = self._beneath.open(tuple(above))
        except (OSError, Permanent, ValueError):
            return False
        try:
            first = os.lstat(name, dir_fd=descriptor)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return (first.st_dev, first.st_ino) == (there.st_dev, there.st_ino)

    def _differ(self, attribute: str, expected: Any, found: Any) -> None:
        self._differences.add(self._key, attribute, expected, found, path=text(self._path))


def _attributes(entry: Entry, there: os.stat_result, name: bytes, above: int) -> Mapping[str, tuple[Any, Any]]:
    """name -> (on the volume, in the archive)."""
    compared: dict[str, tuple[Any, Any]] = {
        "type": (_FORMS.get(stat.S_IFMT(there.st_mode), "other"), entry.type),
        "mode": (stat.S_IMODE(there.st_mode), entry.mode),
        "uid": (there.st_uid, entry.uid),
        "gid": (there.st_gid, entry.gid),
        "mtime": (there.st_mtime_ns // 10**9, entry.mtime // 10**9),
    }
    if entry.type == "file":
        compared["size"] = (there.st_size, entry.size)
    if entry.type == "symlink" and stat.S_ISLNK(there.st_mode):
        compared["link"] = (text(os.readlink(name, dir_fd=above)), text(entry.link))
    return compared
