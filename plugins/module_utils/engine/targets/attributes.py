# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owner, attributes and permissions of what is restored, in the only order in which nobody has more access than the archive
says, at any moment:

    creation            private: mode 0600 or 0700, with which the mask of an inherited ACL is empty, too
    owner               chown clears capabilities and setuid, so it comes first
    attributes          labels and capabilities, while nobody else has access
    ACL or permissions  only now it is accessible. If an ACL may have been inherited, permissions are set as an ACL, which replaces
                        the inherited one at the same time; in a new and private directory none can have been inherited, and
                        chmod takes half the time
    setuid and the like last, if there are any

`where` is a descriptor, or /proc/self/fd/N for one that cannot be written to (O_PATH).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any, Callable, Union

from .. import acl
from ..sources.pax import ACLS
from .headers import Entry

_CANNOT = frozenset(
    [errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.E2BIG, errno.ENOSPC, errno.ERANGE, errno.EROFS]
)
_ANYBODY = (b"user.", b"system.posix_acl_")  # what can be set without privileges
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
Where = Union[int, bytes]
Note = Callable[[bytes, str, str], None]  # path, attribute, reason


def shut(descriptor: int) -> None:
    """Make a new directory private, so that what is made in it inherits nothing."""
    with contextlib.suppress(OSError):  # it has none, or the filesystem does not support them
        os.removexattr(descriptor, acl.DEFAULT)
    with contextlib.suppress(OSError):
        os.setxattr(descriptor, acl.ACCESS, acl.of_mode(0o700))
    os.chmod(descriptor, 0o700)


class Attributes:
    """owners: restore owners. What the filesystem cannot hold, or we may not set, is reported to `troubles`; what was not
    requested to `skipped`."""

    def __init__(self, owners: bool, troubles: Note, skipped: Note) -> None:
        self._owners = owners
        self._troubles = troubles
        self._skipped = skipped

    def set(self, entry: Entry, path: bytes, where: Where, heir: bool) -> None:
        """Set those of a file, directory or node that nobody else can use yet. heir: it may have inherited an ACL."""
        if self._owners and not entry.xattrs and not heir:  # nearly always, and it nearly always succeeds
            try:
                self._give(entry, where)
                os.chmod(where, entry.mode)
                os.utime(where, ns=(entry.mtime, entry.mtime))
                return
            except OSError:
                pass  # one by one, then, to see which
        self._set(entry, path, where)
        os.utime(where, ns=(entry.mtime, entry.mtime))

    def set_early(self, entry: Entry, path: bytes, descriptor: int) -> None:
        """Set those of a directory that existed before: from now on it is as the archive says. What is made in it inherits nothing,
        and we can write to it. What cannot be set is reported when it is set again at the end."""
        with contextlib.suppress(OSError):
            os.removexattr(descriptor, acl.DEFAULT)
        ours = 0 if os.geteuid() == 0 else stat.S_IRWXU
        kept = [each for each in entry.xattrs if each[0] != acl.DEFAULT]
        Attributes(self._owners, _untold, _untold)._set(entry._replace(mode=entry.mode | ours, xattrs=kept), path, descriptor)

    def set_by_name(self, entry: Entry, path: bytes, above: int, name: bytes) -> None:
        """Set those of a symbolic link, which has no permissions of its own."""
        if self._owners:
            self._try(path, "owner", lambda: os.chown(name, entry.uid, entry.gid, dir_fd=above, follow_symlinks=False))
        for key, value in entry.xattrs:
            self._xattr(path, key, value, b"/proc/self/fd/%d/%b" % (above, name), False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=above, follow_symlinks=False)

    def _set(self, entry: Entry, path: bytes, where: Where) -> None:
        if self._owners:
            self._try(path, "owner", lambda: self._give(entry, where))
        access = b""
        mode = entry.mode
        for name, value in entry.xattrs:
            if name == acl.ACCESS:
                access = value
            elif name in ACLS.values():
                self._troubles(path, name.decode(), "it names users or groups of another machine without their ids")
                if name == ACLS[acl.ACCESS]:  # the bits of the group may be the mask
                    mode &= ~0o070 | (mode & 0o007) << 3
            else:
                self._xattr(path, name, value, where, True)
        status = os.stat(where)
        if status.st_uid != entry.uid:
            mode &= ~stat.S_ISUID
        if status.st_gid != entry.gid:
            mode &= ~(stat.S_ISGID | 0o070) | (mode & 0o007) << 3  # the group it has counts as others
            access = _understood(access, acl.for_another_group)
        if mode != entry.mode:
            self._skipped(path, "mode", f"{entry.mode:04o} became {mode:04o}, because owner, group or ACL differ from the archive")
        self._open(path, where, mode, access, stat.S_ISDIR(status.st_mode))

    def _give(self, entry: Entry, where: Where) -> None:
        private = 0o700 if entry.type == "directory" else 0o600
        if private & ~entry.mode and entry.uid != os.geteuid():  # its owner may have fewer rights than its creator
            os.chmod(where, entry.mode & private)
        os.chown(where, entry.uid, entry.gid)

    def _open(self, path: bytes, where: Where, mode: int, access: bytes, is_directory: bool) -> None:
        """Set the ACL, or else the permissions; then what only chmod can set or clear (such as an inherited setgid)."""
        if access:
            try:
                os.setxattr(where, acl.ACCESS, access)
                mode = mode & _SPECIAL | acl.mode_of(access)
            except (OSError, ValueError) as error:
                self._cannot(path, os.fsdecode(acl.ACCESS), error)
                mode = mode & (_SPECIAL | _understood_mode(access))
                access = b""
        done = bool(access)
        if not access:
            try:
                os.setxattr(where, acl.ACCESS, acl.of_mode(mode & 0o777))
                done = True
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
        if not done or is_directory or mode & _SPECIAL:
            self._try(path, "mode", lambda: os.chmod(where, mode))

    def _xattr(self, path: bytes, name: bytes, value: bytes, where: Any, follow: bool) -> None:
        if not self._owners and not name.startswith(_ANYBODY):
            self._skipped(path, os.fsdecode(name), "owners and privileged attributes were not requested")
            return
        self._try(path, os.fsdecode(name), lambda: os.setxattr(where, name, value, follow_symlinks=follow))

    def _try(self, path: bytes, attribute: str, act: Callable[[], None]) -> None:
        """What the target's filesystem cannot hold, or we may not set, is listed; anything else is an error."""
        try:
            act()
        except OSError as error:
            self._cannot(path, attribute, error)

    def _cannot(self, path: bytes, attribute: str, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno not in _CANNOT:
            raise error
        self._troubles(path, attribute, str(getattr(error, "strerror", None) or error))


def _untold(_path: bytes, _attribute: str, _reason: str) -> None: ...


def _understood(access: bytes, change: Callable[[bytes], bytes]) -> bytes:
    try:
        return change(access) if access else access
    except ValueError:
        return access  # the kernel will report what is wrong with it


def _understood_mode(access: bytes) -> int:
    try:
        return acl.mode_without(access)
    except ValueError:
        return 0o700
