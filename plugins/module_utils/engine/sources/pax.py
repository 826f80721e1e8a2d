# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of the POSIX.1-2001 pax interchange format, with the extensions that GNU tar and bsdtar restore.

Beyond POSIX, SCHILY.xattr.<name> holds a raw extended attribute (ACLs and capabilities are attributes, too),
SCHILY.acl.access and SCHILY.acl.default hold the ACLs again as text,
GNU.sparse.* 1.0 holds holes (tar manual, "Storing Sparse Files"), and hdrcharset=BINARY says that a name is not UTF-8.
Owners are only numbers: the names belong to the snapshot's machine, not to the one that writes the archive.
"""

from __future__ import annotations

import contextlib
import stat
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Optional

from .. import acl
from ..spool import Extents

BLOCK = 512  # bytes
END = bytes(2 * BLOCK)
HARDLINK = b"1"
TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
# Limits of one member. Writers and readers of the archive hold both in memory.
MOST_RECORDS = 16 << 20  # bytes of all its records
MOST_ATTRIBUTES = 15 << 20  # bytes of its extended attributes among these
LONGEST_PATH = 64 << 10  # bytes of its name; the kernel accepts 4,095 at a time, but trees are deeper
XATTR = b"SCHILY.xattr."
ACLS = {acl.ACCESS: b"SCHILY.acl.access", acl.DEFAULT: b"SCHILY.acl.default"}
_LINES = 4096  # of a map at a time
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777

Records = list[tuple[bytes, bytes]]


def header(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    mtime: int,
    size: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    extra: Optional[Records] = None,
    stored_name: Optional[bytes] = None,
) -> bytes:
    """The header blocks of one member, with a pax header before it where ustar's fields do not suffice.

    mtime in nanoseconds; size in bytes of the data that follows; extra: pax records to add; stored_name: the name in the
    ustar header, if it differs (for sparse members, whose name is in a record).
    """
    records: Records = []
    seconds, nanoseconds = divmod(mtime, 1_000_000_000)
    if nanoseconds and seconds >= 0:
        records.append((b"mtime", (b"%d.%09d" % (seconds, nanoseconds)).rstrip(b"0")))
    elif not 0 <= seconds <= _OCTAL_11:
        records.append((b"mtime", _decimal_time(mtime)))
    if stored_name is None and (len(name) > 100 or not name.isascii()):
        records.append((b"path", name))
    if link and (len(link) > 100 or not link.isascii()):
        records.append((b"linkpath", link))
    if records and not (_is_utf8(name) and _is_utf8(link)):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    if size > _OCTAL_11:
        records.append((b"size", b"%d" % size))
    if uid > _OCTAL_7:
        records.append((b"uid", b"%d" % uid))
    if gid > _OCTAL_7:
        records.append((b"gid", b"%d" % gid))
    if extra:
        records += extra
    short = name if stored_name is None else stored_name
    main = _ustar(short, kind, mode, uid, gid, seconds, size, link, device)
    if not records:
        return main
    body = b"".join([record(key, value) for key, value in records])
    pax_name = b"./PaxHeaders/" + short.rstrip(b"/").rpartition(b"/")[2][:80]
    pax = _ustar(pax_name, b"x", 0o644, 0, 0, max(0, min(seconds, _OCTAL_11)), len(body), b"", (0, 0))
    return b"".join((pax, body, bytes(-len(body) % BLOCK), main))


def record(key: bytes, value: bytes) -> bytes:
    """One pax record: its own length in decimal, a space, key=value and a newline."""
    rest = len(key) + len(value) + 3
    length = rest + len(b"%d" % rest)
    length = rest + len(b"%d" % length)
    return b"%d %b=%b\n" % (length, key, value)


def xattr_records(name: bytes, value: bytes) -> Records:
    """The raw record of an extended attribute; like GNU tar, it escapes the two characters that would break its key. For an ACL
    also its text: GNU tar with --acls, and bsdtar, look only for that."""
    records = [(XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D"), value)]
    if name in ACLS:
        with contextlib.suppress(ValueError):
            records.append((ACLS[name], acl.to_text(value)))
    return records


def sparse(name: bytes, size: int) -> tuple[bytes, Records]:
    """GNU.sparse 1.0: the ustar name and the records of a file with holes, whose data follows its `sparse_map`."""
    directory, _slash, base = name.rpartition(b"/")
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", b"%d" % size),
    ]
    return directory + b"/GNUSparseFile.0/" + base, records


def sparse_map(size: int, extents: Extents) -> Iterator[bytes]:
    """The map before the data, in texts that add up to whole blocks: the number of extents, then offset and length of each, one
    decimal number per line. A hole at the end is an empty extent at the file's size."""
    to_its_end = extents.end == size
    lines = [b"%d\n" % (len(extents) + (not to_its_end))]
    total = 0
    for extent in extents:
        lines.append(b"%d\n%d\n" % extent)
        if len(lines) >= _LINES:
            text = b"".join(lines)
            total += len(text)
            yield text
            lines = []
    if not to_its_end:
        lines.append(b"%d\n0\n" % size)
    text = b"".join(lines)
    yield text + bytes(-(total + len(text)) % BLOCK)


def _ustar(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, mtime: int, size: int, link: bytes, device: tuple[int, int]
) -> bytes:
    before = b"%b%b%011o\0%011o\0" % (
        name[:100].ljust(100, b"\0"),
        _owner(mode, uid, gid),
        size if size <= _OCTAL_11 else 0,
        mtime if 0 <= mtime <= _OCTAL_11 else 0,
    )
    behind = _behind(kind, link, device)
    # The checksum is the sum of all bytes, with eight spaces in its own place. The low half of an Adler-32 is one plus the
    # sum modulo 65521, which these bytes cannot reach: the two fields of arbitrary ones are 200 bytes long.
    checksum = (zlib.adler32(behind, zlib.adler32(before)) & 0xFFFF) - 1 + 8 * ord(" ")
    return b"%b%06o\0 %b" % (before, checksum, behind)


# On most disks, thousands of files in a row have the same values.


@lru_cache(maxsize=1024)
def _owner(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode, uid if uid <= _OCTAL_7 else 0, gid if gid <= _OCTAL_7 else 0)


@lru_cache(maxsize=1024)
def _behind(kind: bytes, link: bytes, device: tuple[int, int]) -> bytes:
    """What follows the checksum, without names of owner and group and without a prefix."""
    numbers = (device[0] & _OCTAL_7, device[1] & _OCTAL_7)
    return b"%b%bustar\00000%b%07o\0%07o\0%b" % (kind, link[:100].ljust(100, b"\0"), bytes(64), *numbers, bytes(167))


def _decimal_time(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return sign + (b"%d.%09d" % (seconds, rest)).rstrip(b"0").rstrip(b".")


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
