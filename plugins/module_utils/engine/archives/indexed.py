# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of ours: its index says where each frame is, and what it has to be.

Adjacent frames are fetched as one range. The frames of an archive continue over its objects; offsets in the index count over all of
them in a row.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Callable, NamedTuple, Optional, cast

from ...common.errors import Corrupt
from ..bucket.layouts import FoundArchive
from ..bucket.objects import Store
from ..codecs import codec
from ..documents import index
from ..documents.index import Index
from ..hashing import hasher
from ..sources import BaseSource, Chunk, Member, Problem, Read, Stored, ignore


class _Object(NamedTuple):
    """One object of an archive, and where in the archive it begins and ends."""

    key: str
    version: str
    begin: int
    end: int


class IndexedArchive(BaseSource):
    """entry: its entry in the manifest. The index is fetched when it is first needed; whatever needs it raises Corrupt unless it is
    the one named in the manifest."""

    in_order = False
    on_error = "fail"
    unit = ("frame", "as in the index")
    exact = True
    grain = 512

    def __init__(self, store: Store, entry: Mapping[str, Any], spool: Optional[str] = None, thorough: bool = False) -> None:
        self.kind: str = entry["format"]
        self.problems: list[Problem] = []
        self.size: int = entry["raw_size"]
        self.fetched = 0
        self._store = store
        self._entry = entry
        self._spool = spool
        decoder = codec(entry["codec"])
        self._decode = decoder.decode if thorough else decoder.decode_proved
        self._objects = list(_laid_out(entry["objects"]))
        self.key = self._objects[0].key
        self._index: Optional[Index] = None
        self._hasher: Callable[..., Any] = hasher("sha256")  # until the index says which
        self._lock = threading.Lock()

    def load(self) -> None:
        if self._index is None:
            wanted = self._entry["index"]
            facts = (wanted["key"], wanted["size"], wanted["sha256"], wanted["version"])
            fetched = index.fetch(self._store, *facts, self._spool)
            try:
                if fetched.foot.get("raw") != self.size:
                    raise Corrupt("the manifest names another size than the index", key=wanted["key"])
                self._hasher = hasher(fetched.head.get("digest", ""))
            except BaseException:
                fetched.close()
                raise
            self._index = fetched
            self._count(wanted["size"])

    @property
    def index(self) -> Index:
        self.load()
        return cast(Index, self._index)

    @property
    def frame_count(self) -> int:
        return int(self.index.foot["frames"])

    @property
    def member_count(self) -> int:
        return int(self.index.foot["members"])

    def members(self, holding: bytes = b"") -> Iterator[Member]:
        return self.index.members(holding)

    def plan(self, on_member: Callable[[Member], None] = ignore) -> Generator[Chunk, None, None]:
        """One chunk per frame."""
        members = iter(()) if on_member is ignore else self.members()
        member = next(members, None)
        here, *others = self._objects
        rest = iter(others)
        for frame in self.index.frames():
            while frame.offset >= here.end:
                there = next(rest, None)
                if there is None:
                    break
                here = there
            while member is not None and member.offset < frame.raw_offset + frame.raw_length:
                on_member(member)
                member = next(members, None)
            piece = Stored(0, here.key, here.version, frame.offset - here.begin, frame.length, frame.digest)
            yield Chunk(frame.raw_offset, frame.raw_length, (piece,))
        while member is not None:  # sockets, which take no bytes, at the end
            on_member(member)
            member = next(members, None)

    def read(self, chunk: Chunk) -> Any:
        return self.fetch([chunk])(chunk)

    def fetch(self, row: Sequence[Chunk]) -> Read:
        first, last = _stored(row[0]), _stored(row[-1])
        length = last.offset + last.length - first.offset
        data = self._store.read(first.key, first.offset, length, first.version)
        self._count(length)
        return partial(self._read, data, first.offset)

    def _read(self, data: bytes, begin: int, chunk: Chunk) -> Any:
        """A chunk from a range of its object. Raises Corrupt unless its frame is the one in the index."""
        stored = _stored(chunk)
        at = stored.offset - begin
        try:
            frame = memoryview(data)[at : at + stored.length]
            if self._hasher(frame).hexdigest() != stored.digest:
                raise Corrupt("a frame is not the one in the index: its digest differs")
            return self._decode(frame, chunk.length)
        except Corrupt as error:
            raise error.at(key=stored.key, offset=stored.offset) from None

    def faults(self) -> Iterator[tuple[str, Any, Any, Optional[int]]]:
        """Checks the seek table after the last frame, and that nothing follows it."""
        offset, length, wanted = self.index.foot["tail"]
        end = self._objects[-1].end
        if self.index.foot["stored"] != end:
            yield "size", self.index.foot["stored"], end, None
        if length:
            digest = self._hasher()
            found = "other bytes"
            try:
                for block in self._blocks(offset, offset + length):
                    digest.update(block)
            except Corrupt as error:
                found = error.message
            if digest.hexdigest() != wanted:
                yield "seek table", wanted, found, offset

    def _blocks(self, begin: int, end: int) -> Iterator[bytes]:
        """Bytes of the archive, wherever its objects begin and end."""
        for each in self._objects:
            first, last = max(begin, each.begin), min(end, each.end)
            if first < last:
                yield from self._store.blocks(each.key, first - each.begin, last - first, each.version)
        if end > self._objects[-1].end:
            raise Corrupt("the archive is shorter than its index says", key=self._objects[-1].key)

    def _count(self, length: int) -> None:
        with self._lock:
            self.fetched += length

    def remarks(self) -> Mapping[str, Any]:
        return {"subvolumes": self._entry["subvolumes"], "flags": self._entry["flags"]}

    def close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None


def opened(store: Store, found: FoundArchive, _threads: int, spool: Optional[str], thorough: bool) -> IndexedArchive:
    if found.entry is None:
        raise Corrupt("the manifest does not describe this archive", key=found.key)
    return IndexedArchive(store, found.entry, spool, thorough)


def _laid_out(objects: Iterable[Mapping[str, Any]]) -> Iterator[_Object]:
    begin = 0
    for each in objects:
        yield _Object(each["key"], each["version"], begin, begin + each["size"])
        begin += each["size"]


def _stored(chunk: Chunk) -> Stored:
    (piece,) = chunk.pieces
    return cast(Stored, piece)
