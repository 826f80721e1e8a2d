# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacking a tar stream as it comes in, in steps of any size. headers.py reads the headers."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, Optional

from ...common.errors import Corrupt
from ..sources.pax import BLOCK, END
from ..spool import Extents
from . import headers
from .headers import SAYING, Entry, Said, SparseMap, checked

_NOTHING = END[:BLOCK]
_OF_A_MAP = 64 << 10  # bytes that are unpacked at a time


class Consumer:
    """Called for each member: begin, then data for files in order, then end. Override what you need."""

    def begin(self, entry: Entry) -> None: ...

    def data(self, offset: int, view: memoryview) -> None:
        """Bytes of the current file, and where in it they belong."""

    def end(self) -> None: ...


class Untar:
    """Feed it the stream; it calls the consumer. Both methods raise Corrupt naming the member and its offset in the
    stream; `finish` if the stream stopped in the middle.

    cut: the stream may be single members, or parts of them, cut out of an archive, without its end. spool: for the maps of files
    with very many holes.
    """

    def __init__(self, consumer: Consumer, cut: bool = False, spool: Optional[str] = None) -> None:
        self._consumer = consumer
        self._cut = cut
        self._spool = spool
        self._waiting: deque[memoryview] = deque()
        self._view = memoryview(b"")
        self._at = 0
        self._base = 0  # of _view in the stream
        self._ended = False
        self._between = True
        self._name: Optional[bytes] = None  # of the current member
        self._begun = 0  # where its header is
        self._machine = self._run()
        next(self._machine)

    @property
    def at(self) -> int:
        """The position in the stream; while the consumer is given data, where these begin."""
        return self._base + self._at

    def feed(self, data: Any) -> None:
        if len(data) and not self._ended:
            self._waiting.append(memoryview(data))
            try:
                next(self._machine, None)
            except Corrupt as error:
                raise error.at(path=self._name, offset=self._begun) from error.__cause__

    def finish(self) -> None:
        if not self._between or not (self._ended or self._cut):
            raise Corrupt("the tar stream is cut short", path=self._name, offset=self._base + self._at)

    def _run(self) -> Iterator[None]:
        """Unpacks members, and yields whenever it needs more bytes."""
        said = Said()
        while True:
            self._between = not said
            if len(self._view) - self._at < BLOCK:
                yield from self._more(BLOCK)
            block = bytes(self._view[self._at : self._at + BLOCK])
            if block == _NOTHING:
                self._at += BLOCK
                self._ended = True
                return
            self._between = False
            self._name, self._begun = None, self._base + self._at
            size = checked(block)
            self._at += BLOCK
            if block[156] in SAYING:
                said.room(size)
                padded = size + -size % BLOCK
                if self._left() < padded:
                    yield from self._more(padded)
                said.add(block[156], bytes(self._view[self._at : self._at + size]))
                self._at += padded
                continue
            records = said.take()
            self._name = name = headers.name_of(block, records)
            stored = headers.stored_size(size, records)
            whole = headers.sparse_size(records)
            extents: Optional[Extents] = None
            if whole is not None:
                extents, used = yield from self._map(whole, stored)
                stored -= used
            entry = headers.entry(name, block, records, stored, whole, extents)
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
        """A file's data, and the padding after it."""
        for start, length in extents if extents is not None else [(0, stored)]:
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

    def _map(self, size: int, stored: int) -> Generator[None, None, tuple[Extents, int]]:
        """Where a file has data, and the size of its map, padded to a block."""
        found = SparseMap(size, stored, self._spool)
        used = 0
        while True:
            if self._left() < BLOCK:
                yield from self._more(BLOCK)
            length = min(_OF_A_MAP, self._left() // BLOCK * BLOCK)
            behind = found.feed(bytes(self._view[self._at : self._at + length]))
            taken = length - max(behind, 0) // BLOCK * BLOCK
            self._at += taken
            used += taken
            if behind >= 0:
                break
            if used >= stored:
                raise Corrupt("the map of a sparse file does not end")
        if found.extents.total != stored - used:
            raise Corrupt("the map of a sparse file does not fit its data")
        return found.extents, used

    def _left(self) -> int:
        return len(self._view) - self._at

    def _more(self, wanted: int) -> Iterator[None]:
        """Wait until so many bytes are there, in one view."""
        views = [self._view[self._at :]]
        left = len(views[0])
        self._base += self._at
        self._view, self._at = views[0], 0
        while left < wanted:
            while not self._waiting:
                yield
            views.append(self._waiting.popleft())
            left += len(views[-1])
        views = [each for each in views if len(each)]
        self._view = views[0] if len(views) == 1 else memoryview(b"".join(views))
