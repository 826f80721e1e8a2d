# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""POSIX ACLs: the value of the attributes in which the kernel keeps them, and the text of tar's SCHILY.acl records.

The value is a version and entries of tag, permissions and id, little-endian (linux/posix_acl_xattr.h). The text is the
short form of acl(5), as star writes it. Ours has ids instead of names, which every reader accepts as a name that is a number.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_ORDER = (_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER)  # the only one the kernel accepts
_NAMES = {_USER_OBJ: b"user", _USER: b"user", _GROUP_OBJ: b"group", _GROUP: b"group", _MASK: b"mask", _OTHER: b"other"}
_TAGS = {b"user": _USER, b"u": _USER, b"group": _GROUP, b"g": _GROUP, b"mask": _MASK, b"m": _MASK, b"other": _OTHER, b"o": _OTHER}
_NO_ID = 0xFFFFFFFF
_TEXT = re.compile(rb"(\w+):([^:]*):([r-][w-][x-])(?::(\d{1,10}))?")
Entry = tuple[int, int, int]  # tag, permissions (0 to 7), id


def entries(value: bytes) -> list[Entry]:
    """Raises ValueError for anything that is not an ACL."""
    if value[:4] != _VERSION or len(value) % _ENTRY.size != 4:
        raise ValueError("this is not a POSIX ACL")
    return list(_ENTRY.iter_unpack(value[4:]))


def packed(found: list[Entry]) -> bytes:
    return _VERSION + b"".join([_ENTRY.pack(*entry) for entry in found])


@lru_cache(maxsize=512)
def of_mode(mode: int) -> bytes:
    """The ACL equivalent to the permission bits. The kernel stores it as these bits, replacing any other ACL."""
    return packed([(_USER_OBJ, mode >> 6 & 7, _NO_ID), (_GROUP_OBJ, mode >> 3 & 7, _NO_ID), (_OTHER, mode & 7, _NO_ID)])


def mode_of(value: bytes) -> int:
    """The permission bits of a file with this ACL; those of its group are the mask. Raises ValueError."""
    found = {tag: permissions for tag, permissions, _id in entries(value)}
    group = found.get(_MASK, found.get(_GROUP_OBJ, 0))
    return found.get(_USER_OBJ, 0) << 6 | group << 3 | found.get(_OTHER, 0)


def mode_without(value: bytes) -> int:
    """Permission bits for a file that cannot have this ACL. They give nobody more access. Raises ValueError."""
    found = {tag: permissions for tag, permissions, _id in entries(value)}
    group = found.get(_GROUP_OBJ, 0) & found.get(_MASK, 7)
    return found.get(_USER_OBJ, 0) << 6 | group << 3 | found.get(_OTHER, 0)


def for_another_group(value: bytes) -> bytes:
    """The ACL for a file that could not get its group: the group it has instead counts as others. Raises ValueError."""
    found = entries(value)
    others = sum(permissions for tag, permissions, _id in found if tag == _OTHER)
    return packed([(tag, bits & others if tag == _GROUP_OBJ else bits, who) for tag, bits, who in found])


def to_text(value: bytes) -> bytes:
    """The text as tar writes it. Raises ValueError."""
    return b",".join(
        [
            b"%b:%b:%b" % (_NAMES[tag], b"%d" % who if tag in (_USER, _GROUP) else b"", _letters(bits))
            for tag, bits, who in entries(value)
            if tag in _NAMES
        ]
    )


def from_text(text: bytes) -> bytes:
    """From tar's text, whose lines may end in commas or newlines. An id is a number instead of the name, or after the
    permissions (star). Raises ValueError for a name without an id: only the machine it came from knew whose it is."""
    found: list[Entry] = []
    for line in re.split(rb"[,\n]", text):
        words = line.partition(b"#")[0].strip()
        if not words:
            continue
        match = _TEXT.fullmatch(words)
        tag = _TAGS.get(match[1]) if match else None
        if match is None or tag is None:
            raise ValueError(f"{words[:60].decode('utf-8', 'replace')!r} is not an entry of an ACL")
        name, number = match[2], match[4]
        if name and number is None and not (name.isdigit() and len(name) <= 10):
            raise ValueError(f"the ACL names {name[:60].decode('utf-8', 'replace')!r} without an id")
        who = int(number or name) if name else _NO_ID
        if not name and tag in (_USER, _GROUP):
            tag = _USER_OBJ if tag == _USER else _GROUP_OBJ
        if who > _NO_ID:
            raise ValueError(f"{who} is not a valid id")
        found.append((tag, sum(bit for bit, letter in zip((4, 2, 1), match[3]) if letter != ord("-")), who))
    return packed(sorted(found, key=lambda entry: (_ORDER.index(entry[0]), entry[2])))


def _letters(bits: int) -> bytes:
    return bytes(letter if bits & bit else ord("-") for bit, letter in zip((4, 2, 1), b"rwx"))
