# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the headers of a tar stream to entries. Everything an archive claims is range-checked here, once: beyond this file, sizes
are not negative, chown accepts the owners, the kernel accepts the times, names contain no NUL, and what is kept of headers is
bounded.

It reads ustar, pax (with SCHILY.xattr and GNU.sparse 1.0, which our archives use) and GNU tar's long names and large numbers, which
archives of snap-to-s3 use. Source: POSIX.1-2001 pax; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import zlib
from typing import NamedTuple, Optional

from ...common.errors import Corrupt
from .. import acl
from ..sources.pax import ACLS, LONGEST_PATH, MOST_RECORDS, XATTR
from ..spool import Extents

SAYING = frozenset(b"xgLK")  # pax headers, and GNU tar's long names: they describe the members that follow
_NAMES = {
    ord("0"): "file", 0: "file", ord("7"): "file", ord("1"): "hardlink", ord("2"): "symlink", ord("3"): "character",
    ord("4"): "block", ord("5"): "directory", ord("6"): "fifo",
}  # fmt: skip
_KEPT = frozenset([b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"])
_MOST_GLOBAL = 64 << 10  # bytes kept of what applies to all members
_MOST_IN_A_HEADER = 20_000  # records: the kernel lists up to 64 KiB of names of attributes
# The largest of their kind. The smallest time is as far below zero; all others are not negative.
_SIZE = (1 << 63) - 1
_OWNER = (1 << 32) - 2  # for chown, the one above means "leave it"
_SECOND = (1 << 63) - 1
_MAJOR = (1 << 12) - 1
_MINOR = (1 << 20) - 1
_ADVICE = "Unpack it with GNU tar, if you trust it."
Records = dict[bytes, bytes]


class Entry(NamedTuple):
    """One member as the stream describes it. name and link are as written there; mtime in nanoseconds.

    size: of the whole file. extents: where its data belongs, None for a file without holes. xattrs may contain a record
    SCHILY.acl.* that could not be converted to an attribute.
    """

    name: bytes
    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    link: bytes
    device: tuple[int, int]
    xattrs: list[tuple[bytes, bytes]]
    extents: Optional[Extents]


class Said:
    """What pax headers and long names say about the next member, and about all that follow."""

    def __init__(self) -> None:
        self._all: Records = {}
        self._next: Records = {}
        self._size = 0

    def __bool__(self) -> bool:
        """Whether a member is described that has not come yet."""
        return bool(self._size)

    def room(self, size: int) -> None:
        """Raises Corrupt if a header of this size exceeds the limit for one member."""
        if self._size + size > MOST_RECORDS:
            raise Corrupt(f"headers of {self._size + size} bytes for one member, more than the limit of {MOST_RECORDS}", _ADVICE)

    def add(self, kind: int, body: bytes) -> None:
        if kind == ord("g"):
            _parse(body, self._all)
            if sum(len(key) + len(value) for key, value in self._all.items()) > _MOST_GLOBAL:
                raise Corrupt(f"global headers of more than {_MOST_GLOBAL} bytes", _ADVICE)
            return
        self._size += len(body) + 1
        if kind == ord("x"):
            _parse(body, self._next)
            if len(self._next) > _MOST_IN_A_HEADER:
                raise Corrupt(f"pax headers of more than {_MOST_IN_A_HEADER} records for one member", _ADVICE)
        else:
            self._next[b"path" if kind == ord("L") else b"linkpath"] = body.rstrip(b"\0")

    def take(self) -> Records:
        """Everything that applies to the next member."""
        said = {**self._all, **self._next} if self._all else self._next
        self._next, self._size = {}, 0
        return said


def checked(block: bytes) -> int:
    """The size in a header. Raises Corrupt if the header's checksum is wrong: the sum of its bytes, with spaces for the
    checksum itself. The low half of an Adler-32 is one plus that sum modulo 65521, and much faster to compute."""
    field = block[148:156]
    total = (zlib.adler32(block) & 0xFFFF) - 1 - sum(field) + 8 * ord(" ")
    if (total - _number(field, _SIZE)) % 65521:
        raise Corrupt("this is not a tar header")
    return _number(block[124:136], _SIZE)


def name_of(block: bytes, said: Records) -> bytes:
    """A member's name. Raises Corrupt if it is missing, or impossible for a file."""
    name = said.get(b"GNU.sparse.name") or said.get(b"path")
    if not name:
        name = _text(block[:100])
        if block[345] and block[257:263] == b"ustar\0":
            name = _text(block[345:500]) + b"/" + name
    if not name:
        raise Corrupt("a tar member without a name")
    return _name(name)


def stored_size(size: int, said: Records) -> int:
    """The number of bytes after the header: ustar's size, unless a record says otherwise."""
    return _decimal(said[b"size"], _SIZE) if said.get(b"size") else size


def sparse_size(said: Records) -> Optional[int]:
    """The whole size of a file with holes, whose data starts with their map; None for any other member."""
    if b"GNU.sparse.major" in said:
        if said[b"GNU.sparse.major"] != b"1" or said.get(b"GNU.sparse.minor") != b"0":
            raise Corrupt("a file with holes in an unsupported version of GNU.sparse", _ADVICE)
        return _decimal(said.get(b"GNU.sparse.realsize", b""), _SIZE)
    for key in said:
        if key.startswith(b"GNU.sparse."):
            raise Corrupt("a file with holes in an old, unsupported version of GNU.sparse", _ADVICE)
    return None


def entry(name: bytes, block: bytes, said: Records, stored: int, size: Optional[int], extents: Optional[Extents]) -> Entry:
    """The member that a header describes. stored, size: from stored_size and sparse_size."""
    kind = _NAMES.get(block[156])
    if kind is None:
        raise Corrupt(f"a tar member of an unsupported type, {block[156:157].decode('latin-1')!r}", _ADVICE)
    if kind == "file" and name.endswith(b"/"):
        kind = "directory"  # from before ustar
    if extents is not None and kind != "file":
        raise Corrupt(f"a {kind} with holes")
    return Entry(
        name,
        kind,
        _number(block[100:108], _SIZE) & 0o7777,
        _decimal(said[b"uid"], _OWNER) if said.get(b"uid") else _number(block[108:116], _OWNER),
        _decimal(said[b"gid"], _OWNER) if said.get(b"gid") else _number(block[116:124], _OWNER),
        _nanoseconds(said[b"mtime"]) if said.get(b"mtime") else _number(block[136:148], _SECOND, -_SECOND - 1) * 1_000_000_000,
        (stored if size is None else size) if kind == "file" else 0,
        _name(said.get(b"linkpath") or (_text(block[157:257]) if block[157] else b"")),
        (_number(block[329:337], _MAJOR), _number(block[337:345], _MINOR)) if kind in ("character", "block") else (0, 0),
        _attributes(said),
        extents,
    )


class SparseMap:
    """The map before the data of a file with holes, while it is read: the number of extents, then offset and length of each, one
    number per line. They are in order, do not overlap, and end within `size`."""

    def __init__(self, size: int, stored: int, spool: Optional[str]) -> None:
        self.extents = Extents(spool)
        self._size = size
        self._stored = stored
        self._missing = -1  # numbers; how many there are is the first
        self._numbers: list[int] = []
        self._rest = b""
        self._end = 0

    def feed(self, text: bytes) -> int:
        """How many of these bytes come after the map; -1 if the map continues. Raises Corrupt."""
        *lines, self._rest = (self._rest + text).split(b"\n")
        behind = len(self._rest)
        if self._missing < 0 and lines:
            count = _decimal(lines.pop(0), _SIZE)
            if 4 * count > self._stored:
                raise Corrupt("the map of a sparse file is longer than what is stored")
            self._missing = 2 * count
        if self._missing >= 0:
            behind += sum(len(line) + 1 for line in lines[self._missing :])
            self._take(lines[: self._missing])
        if self._missing == 0:
            return behind
        if len(self._rest) > 20:
            raise Corrupt("the map of a sparse file contains something that is not a number")
        return -1

    def _take(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if not b"".join(lines).isdigit() or max(map(len, lines)) > 20 or not all(lines):
            raise Corrupt("the map of a sparse file contains something that is not a number")
        self._missing -= len(lines)
        numbers = self._numbers + list(map(int, lines))
        self._numbers = [numbers.pop()] if len(numbers) % 2 else []
        each = iter(numbers)
        for offset, length in zip(each, each):
            if offset < self._end or offset + length > self._size:
                raise Corrupt("the map of a sparse file is out of order, or extends beyond the end of the file")
            self._end = offset + length
            if length:
                self.extents.add(offset, length)


def _parse(body: bytes, into: Records) -> None:
    """pax records: their own length in decimal, a space, key=value and a newline. Useless ones are skipped."""
    at = count = 0
    try:
        while at < len(body):
            count += 1
            if count > _MOST_IN_A_HEADER:
                raise Corrupt(f"a pax header of more than {_MOST_IN_A_HEADER} records", _ADVICE)
            space = body.index(b" ", at, at + 20)
            end = at + _decimal(body[at:space], _SIZE)
            equals = body.index(b"=", space, end)
            if body[end - 1 : end] != b"\n":
                raise ValueError
            key = body[space + 1 : equals]
            if key in _KEPT or key.startswith((XATTR, b"SCHILY.acl.", b"GNU.sparse.")):
                into[key] = body[equals + 1 : end - 1]
            at = end
    except ValueError as error:
        raise Corrupt("a pax header is damaged") from error


def _number(field: bytes, most: int, least: int = 0) -> int:
    """A number field: octal digits, or, if these do not suffice, base 256 (GNU): its first bit is set, the second is the sign."""
    digits = field.strip(b"\0 ")
    if digits.isdigit():
        try:
            value = int(digits, 8)
        except ValueError:
            raise Corrupt("a tar header lacks a number where one belongs") from None
    elif not digits:
        return 0
    elif field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        value = value if field[0] & 0x40 else value + (1 << (8 * len(field) - 1))
    else:
        raise Corrupt("a tar header lacks a number where one belongs")
    return value if least <= value <= most else _beyond(value, most, least)


def _decimal(text: bytes, most: int) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Corrupt(f"{text[:40].decode('latin-1')!r} instead of a number in a tar archive")
    value = int(text)
    return value if value <= most else _beyond(value, most, 0)


def _beyond(value: int, most: int, least: int) -> int:
    raise Corrupt(f"the number {value} in a tar header is not between {least} and {most}")


def _nanoseconds(text: bytes) -> int:
    """Decimal seconds, exactly."""
    whole, _dot, fraction = text.partition(b".")
    digits = whole[1:] if whole[:1] == b"-" else whole
    if not digits.isdigit() or len(digits) > 19 or not (fraction.isdigit() or not fraction):
        raise Corrupt(f"{text[:40].decode('latin-1')!r} instead of a time in a tar archive")
    value = int(digits) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    value = value if digits is whole else -value
    return value if -_SECOND - 1 <= value // 1_000_000_000 <= _SECOND else _beyond(int(whole), _SECOND, -_SECOND - 1)


def _name(name: bytes) -> bytes:
    if b"\0" in name or len(name) > LONGEST_PATH:
        raise Corrupt(f"a tar archive contains a name of {len(name)} bytes, or one with a NUL", path=name[:200])
    return name


def _attributes(said: Records) -> list[tuple[bytes, bytes]]:
    """Extended attributes by name. An ACL that is only there as text is converted to one. If that is impossible, it stays as it is,
    under the name of its record."""
    found = [(_attribute(key), value) for key, value in said.items() if key.startswith(XATTR)]
    for name, key in ACLS.items():
        text = said.get(key)
        if text and all(name != other for other, _value in found):
            try:
                found.append((name, acl.from_text(text)))
            except ValueError:
                found.append((key, text))
    return found


def _attribute(key: bytes) -> bytes:
    name = key[len(XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")
    if not name or b"\0" in name:
        raise Corrupt("a tar archive contains an extended attribute without a name, or with a NUL in its name")
    return name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
