# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image in segments, made by flexible-snapshot-proxy: one object each, with the SHA-256 of its raw bytes in its key.

What has no segment is zeros. There is no manifest, so a missing segment cannot be told from zeros.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Callable, Optional, cast

from ...common.errors import Corrupt
from ..bucket.layouts import FoundArchive, fsp
from ..bucket.objects import Store
from ..sources import CHUNK, BaseSource, Chunk, Member, Problem, Read, Stored, ignore
from ..spool import sorted_on_disk

_GIB = 1024**3


class SegmentsArchive(BaseSource):
    """All segments whose keys begin with `key`."""

    kind = "image"
    in_order = False
    on_error = "fail"
    unit = ("segment", "as its key says")
    exact = False
    grain = fsp.BLOCK
    member_count = 0

    def __init__(self, store: Store, key: str, spool: Optional[str] = None) -> None:
        self.key = key
        self.size = fsp.gib(key) * _GIB
        self.problems: list[Problem] = []
        self.fetched = 0
        self.frame_count = 0
        self._store = store
        self._spool = spool or "/var/tmp"
        self._lock = threading.Lock()

    def load(self) -> None:
        """Nothing has to be known beforehand."""

    def members(self, holding: bytes = b"") -> Iterator[Member]:
        return iter(())

    def plan(self, on_member: Callable[[Member], None] = ignore) -> Generator[Chunk, None, None]:
        """One chunk per segment, and holes between them. Objects that are not segments of the volume come first; they cannot be
        read."""
        odd: list[Stored] = []
        places = sorted_on_disk(self._places(odd), self._spool)
        for piece in odd:
            yield Chunk(0, fsp.BLOCK, (piece,))
        at = self.frame_count = 0
        for place in places:
            offset, length, size, key = place.split(b" ", 3)
            yield from _holes(at, int(offset))
            yield Chunk(int(offset), int(length), (Stored(0, key.decode(), "", 0, int(size)),))
            self.frame_count += 1
            at = max(at, int(offset) + int(length))
        yield from _holes(at, self.size)

    def _places(self, odd: list[Stored]) -> Iterator[bytes]:
        """Offset, length, stored size and key of each segment, such that they sort by offset."""
        for item in self._store.keys(self.key):
            segment = fsp.segment(item.key, item.size)
            if segment is None or not self._holds(segment):
                odd.append(Stored(0, item.key, "", 0, item.size))
            else:
                place = (segment.first * fsp.BLOCK, segment.blocks * fsp.BLOCK, item.size, item.key.encode())
                yield b"%016d %d %d %b" % place

    def _segment(self, piece: Stored) -> fsp.Segment:
        segment = fsp.segment(piece.key, piece.length)
        if segment is None or not self._holds(segment):
            raise Corrupt(
                "this is not a segment of the volume", "Move it elsewhere, or find out where it came from.", key=piece.key
            )
        return segment

    def _holds(self, segment: fsp.Segment) -> bool:
        return (segment.first + segment.blocks) * fsp.BLOCK <= self.size

    def read(self, chunk: Chunk) -> Any:
        return self.fetch([chunk])(chunk)

    def fetch(self, row: Sequence[Chunk]) -> Read:
        stored: dict[Chunk, bytes] = {}
        for chunk in row:
            for each in chunk.pieces:
                piece = cast(Stored, each)
                self._segment(piece)
                stored[chunk] = self._store.read(piece.key, 0, piece.length)
                with self._lock:
                    self.fetched += piece.length

        def read(chunk: Chunk) -> Any:
            return bytes(chunk.length) if chunk.hole else self._raw(chunk, stored[chunk])

        return read

    def _raw(self, chunk: Chunk, stored: bytes) -> bytes:
        """A segment's bytes. Raises Corrupt unless they have the SHA-256 in its key."""
        import zstandard

        piece = cast(Stored, chunk.pieces[0])
        segment = self._segment(piece)
        try:
            if zstandard.frame_content_size(stored) not in (-1, chunk.length):  # so much memory it would take
                raise zstandard.ZstdError("it claims a different length")
            raw: bytes = zstandard.ZstdDecompressor().decompress(stored, max_output_size=chunk.length)
        except zstandard.ZstdError as error:
            raise Corrupt(f"cannot decode the segment: {error}", key=piece.key) from error
        if len(raw) != chunk.length or hashlib.sha256(raw).digest() != segment.sha256:
            raise Corrupt("the segment does not match its key: its SHA-256 differs", key=piece.key)
        return raw

    def faults(self) -> Iterator[tuple[str, Any, Any, Optional[int]]]:
        return iter(())


def opened(store: Store, found: FoundArchive, _threads: int, spool: Optional[str], _thorough: bool) -> SegmentsArchive:
    return SegmentsArchive(store, found.key, spool)


def _holes(begin: int, end: int) -> Iterator[Chunk]:
    for at in range(begin, end, CHUNK):
        yield Chunk(at, min(CHUNK, end - at), hole=True)
