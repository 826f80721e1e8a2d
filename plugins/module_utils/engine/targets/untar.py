# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a tar stream apart as it comes in, in pieces of any size.

What is understood: ustar, pax (with SCHILY.xattr and GNU.sparse 1.0, which our archives use) and GNU tar's long names
and large numbers, which archives of snap-to-s3 use. Headers are checked by their checksum. Source: POSIX.1-2001 pax;
GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from ...common.errors import Corrupt
from ..sources.pax import BLOCK, END

_NAMES = {
    ord("0"): "file", 0: "file", ord("7"): "file", ord("1"): "hardlink", ord("2"): "symlink", ord("3"): "character",
    ord("4"): "block", ord("5"): "directory", ord("6"): "fifo",
}  # fmt: skip
_XATTR = b"SCHILY.xattr."
_LONGEST = 64 << 20  # bytes of records or of a sparse map: no honest header is longer
Extents = list[tuple[int, int]]


class Entry(NamedTuple):
    """One member as the stream describes it. name and link are as they are written there; mtime in nanoseconds.

    size: of the file when it is whole. extents: where its data belongs, None for a file without holes.
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


class Consumer:
    """What is told of each member: begin, then data for files in order, then end. Override what is of interest."""

    def begin(self, entry: Entry) -> None: ...

    def data(self, offset: int, view: memoryview) -> None:
        """Bytes of the file that was begun, and where in it they belong."""

    def end(self) -> None: ...


class Untar:
    """Feed it the stream; it calls the consumer. `finish` raises Corrupt if the stream stopped in the middle.

    pieces: the stream may be stretches of members, cut out one by one, without the end of an archive.
    """

    def __init__(self, consumer: Consumer, pieces: bool = False) -> None:
        self._consumer = consumer
        self._pieces = pieces
        self._waiting: deque[memoryview] = deque()
        self._view = memoryview(b"")
        self._at = 0
        self._base = 0  # of _view in the stream
        self._ended = False
        self._between = True
        self._machine = self._run()
        next(self._machine)

    @property
    def offset(self) -> int:
        """Bytes of the stream taken apart so far."""
        return self._base + self._at

    def feed(self, data: Any) -> None:
        if len(data) and not self._ended:
            self._waiting.append(memoryview(data))
            try:
                next(self._machine, None)
            except Corrupt as error:
                raise error.at(offset=self.offset) from error.__cause__

    def finish(self) -> None:
        if not self._between or not (self._ended or self._pieces):
            raise Corrupt("the tar stream is cut short", offset=self.offset)

    def _run(self) -> Iterator[None]:
        """Takes members apart; yields whenever more bytes have to come first."""
        common: dict[bytes, bytes] = {}  # what global pax headers said
        records: dict[bytes, bytes] = {}  # what was said of the next member
        while True:
            self._between = not records
            if len(self._view) - self._at < BLOCK:
                yield from self._more(BLOCK)
            block = bytes(self._view[self._at : self._at + BLOCK])
            if block == _NOTHING:
                self._at += BLOCK
                self._ended = True
                return
            self._between = False
            size = _checked(block)
            self._at += BLOCK
            if block[156] in _SAYING:
                padded = size + -size % BLOCK
                if size > _LONGEST:
                    raise Corrupt(f"a tar header of {size} bytes")
                if self._left() < padded:
                    yield from self._more(padded)
                _say(block[156], bytes(self._view[self._at : self._at + size]), common, records)
                self._at += padded
                continue
            said = {**common, **records} if common else records
            stored = int(said[b"size"]) if b"size" in said else size
            extents: Optional[Extents] = None
            if b"GNU.sparse.major" in said:
                extents, used = yield from self._sparse(stored)
                stored -= used
            entry = _entry(block, said, stored, extents)
            records = {}
            self._consumer.begin(entry)
            if stored and entry.type == "file":
                padded = stored + -stored % BLOCK
                if extents is None and self._left() >= padded:
                    self._consumer.data(0, self._view[self._at : self._at + stored])
                    self._at += padded
                else:
                    yield from self._contents(extents, stored)
            self._consumer.end()

    def _contents(self, extents: Optional[Extents], stored: int) -> Iterator[None]:
        """A file's data, and the padding behind it."""
        if extents is None:
            extents = [(0, stored)]
        elif sum(length for _start, length in extents) != stored:
            raise Corrupt("a sparse file's map does not fit its data")
        for start, length in extents:
            done = 0
            while done < length:
                if not self._left():
                    yield from self._more(1)
                view = self._view[self._at : self._at + length - done]
                self._consumer.data(start + done, view)
                self._at += len(view)
                done += len(view)
        padding = -stored % BLOCK
        if self._left() < padding:
            yield from self._more(padding)
        self._at += padding

    def _sparse(self, stored: int) -> Any:
        """(extents, bytes the map took): decimal numbers, a line each, padded to a block."""
        text = b""
        while True:
            numbers = text.split(b"\n")[:-1]
            if numbers and len(numbers) > 2 * _number(numbers[0]):
                values = [_number(number) for number in numbers]
                return [(values[n], values[n + 1]) for n in range(1, 2 * values[0], 2)], len(text)
            if len(text) >= min(stored, _LONGEST):
                raise Corrupt("a sparse file's map does not end")
            if self._left() < BLOCK:
                yield from self._more(BLOCK)
            text += self._take(BLOCK)

    def _left(self) -> int:
        return len(self._view) - self._at

    def _more(self, wanted: int) -> Iterator[None]:
        """Until so many bytes are there, in one piece."""
        while True:
            while self._waiting:
                left = self._left()
                self._base += self._at
                following = self._waiting.popleft()
                self._view = memoryview(bytes(self._view[self._at :]) + following) if left else following
                self._at = 0
                if self._left() >= wanted:
                    return
            yield

    def _take(self, length: int) -> bytes:
        taken = bytes(self._view[self._at : self._at + length])
        self._at += length
        return taken


_NOTHING = END[:BLOCK]
_SAYING = frozenset(b"xgLK")  # pax headers, and GNU tar's long names


def _checked(block: bytes) -> int:
    """The size in a header. Raises Corrupt if the header's checksum is wrong: the sum of its bytes, with spaces for the
    checksum itself. The low half of an Adler-32 is one plus that sum modulo 65521, and much faster to get."""
    field = block[148:156]
    total = (zlib.adler32(block) & 0xFFFF) - 1 - sum(field) + 8 * ord(" ")
    if (total - _octal(field)) % 65521:
        raise Corrupt("this is no tar header")
    return _octal(block[124:136])


def _octal(field: bytes) -> int:
    """A number field: octal digits, or base 256 for what these cannot hold (GNU)."""
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        if field[0] & 0x80:
            return int.from_bytes(field[1:], "big") if field[0] == 0x80 else int.from_bytes(field, "big", signed=True)
        raise Corrupt("a tar header holds no number where one belongs") from error


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Corrupt("a sparse file's map holds something that is no number")
    return int(text)


def _say(kind: int, body: bytes, common: dict[bytes, bytes], records: dict[bytes, bytes]) -> None:
    """Take in a header that describes the next member, or all that follow."""
    if kind == ord("L"):
        records[b"path"] = body.rstrip(b"\0")
    elif kind == ord("K"):
        records[b"linkpath"] = body.rstrip(b"\0")
    else:
        _parse(body, common if kind == ord("g") else records)


def _parse(body: bytes, into: dict[bytes, bytes]) -> None:
    """pax records: their own length in decimal, a space, key=value and a newline."""
    at = 0
    try:
        while at < len(body):
            space = body.index(b" ", at)
            end = at + int(body[at:space])
            equals = body.index(b"=", space, end)
            if body[end - 1 : end] != b"\n":
                raise ValueError
            into[body[space + 1 : equals]] = body[equals + 1 : end - 1]
            at = end
    except ValueError as error:
        raise Corrupt("a pax header is damaged") from error


def _entry(block: bytes, said: dict[bytes, bytes], stored: int, extents: Optional[Extents]) -> Entry:
    kind = _NAMES.get(block[156])
    if kind is None:
        raise Corrupt(f"a tar member of unknown type {block[156:157]!r}")
    name = said.get(b"GNU.sparse.name") or said.get(b"path")
    if name is None:
        name = _text(block[:100])
        if block[345] and block[257:263] == b"ustar\0":
            name = _text(block[345:500]) + b"/" + name
    if kind == "file" and name.endswith(b"/"):
        kind = "directory"  # from before ustar
    link = said.get(b"linkpath")
    if link is None:
        link = _text(block[157:257]) if block[157] else b""
    try:
        size = int(said[b"GNU.sparse.realsize"]) if extents is not None else stored
        uid = int(said[b"uid"]) if b"uid" in said else _octal(block[108:116])
        gid = int(said[b"gid"]) if b"gid" in said else _octal(block[116:124])
        mtime = _nanoseconds(said[b"mtime"]) if b"mtime" in said else _octal(block[136:148]) * 1_000_000_000
    except (ValueError, KeyError) as error:
        raise Corrupt("a pax header is damaged") from error
    return Entry(
        name,
        kind,
        _octal(block[100:108]) & 0o7777,
        uid,
        gid,
        mtime,
        size if kind == "file" else 0,
        link,
        (_octal(block[329:337]), _octal(block[337:345])) if kind in ("character", "block") else (0, 0),
        [(_xattr_name(key), value) for key, value in said.items() if key.startswith(_XATTR)],
        extents,
    )


def _xattr_name(key: bytes) -> bytes:
    return key[len(_XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _nanoseconds(text: bytes) -> int:
    """Decimal seconds, exactly."""
    whole, _dot, fraction = text.partition(b".")
    value = abs(int(whole)) * 1_000_000_000 + int((fraction + b"000000000")[:9])
    return -value if whole.startswith(b"-") else value
