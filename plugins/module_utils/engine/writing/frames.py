# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chunks -> frames -> parts: whole frames, gathered until they are worth a request."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Callable, NamedTuple, Optional, Union

from ..bucket.objects import MIB
from ..bucket.uploads import S3_SMALLEST_PART
from ..codecs import Codec, seek_table
from ..documents.index import IndexWriter
from ..hashing import hasher
from ..sources import Chunk, Problem, Source

_PART_IN_MEMORY = 16 * MIB
_FRAMES_HELD = 5000  # of one part: those of a disk of zeros are so short that millions would go into it


class Noted(NamedTuple):
    """What journal and index note of a frame, and the fingerprint of the chunk it holds. Lengths in bytes."""

    length: int
    raw_length: int
    digest: str
    fingerprint: str


class Made(NamedTuple):
    """A frame, as it is about to be sent."""

    data: bytes
    noted: Noted


class Filled(NamedTuple):
    """A part to send. number: through all objects of the archive, from 1. tail: bytes of it behind its last frame."""

    number: int
    data: Union[list[bytes], IO[bytes]]
    size: int
    frames: list[Noted]
    tail: int


class Done(NamedTuple):
    """What a killed run left that need not be done again: so many parts, and their frames. whole: the seek table is among them.
    problems: what could not be read of them."""

    parts: int
    frames: Iterator[Noted]
    whole: bool
    problems: list[Problem]


NOTHING = Done(0, iter(()), False, [])


class PlanChanged(Exception):
    """The source is not planned as it was when its journal was written."""


def maker(source: Source, codec: Codec, digest: str) -> Callable[[Chunk], Made]:
    """What makes the frame of a chunk, from any thread."""
    of = hasher(digest)

    def make(chunk: Chunk) -> Made:
        frame = codec.encode(source.read(chunk))
        return Made(frame, Noted(len(frame), chunk.length, of(frame).hexdigest(), chunk.fingerprint()))

    return make


def after(chunks: Iterator[Chunk], done: Iterator[Noted], writer: IndexWriter) -> Iterator[Chunk]:
    """The chunks whose frames are not stored yet; those that are go straight into the index."""
    for frame in done:
        chunk = next(chunks, None)
        if chunk is None or chunk.fingerprint() != frame.fingerprint:
            raise PlanChanged
        writer.frame(frame.length, frame.raw_length, frame.digest)
    yield from chunks


def parts(
    frames: Iterator[Made], done: Done, size_of: Callable[[int], int], codec: Codec, spool: Optional[str], writer: IndexWriter
) -> Iterator[Filled]:
    """Frames, gathered into parts of at least size_of(number) bytes, behind what is done; the seek table goes into the last."""
    number, held, size = done.parts + 1, list[Noted](), 0
    data = _room(size_of(number), spool)
    for frame in frames:
        if done.whole:
            raise PlanChanged
        _add(data, frame.data)
        held.append(frame.noted)
        size += len(frame.data)
        writer.frame(*frame.noted[:3])
        if size >= size_of(number) or (size >= S3_SMALLEST_PART and len(held) >= _FRAMES_HELD):
            yield Filled(number, data, size, held, 0)
            number, held, size = number + 1, [], 0
            data = _room(size_of(number), spool)
    tail = 0
    if codec.name == "zstd":
        for block in seek_table(writer.frames, writer.frame_sizes()):
            writer.behind(block)
            _add(data, block)
            tail += len(block)
    if size + tail and not done.whole:
        yield Filled(number, data, size + tail, held, tail)


def _room(size: int, spool: Optional[str]) -> Union[list[bytes], IO[bytes]]:
    """Parts of ordinary size are gathered in memory; those of huge volumes on disk, so that memory stays bounded."""
    return [] if size <= _PART_IN_MEMORY else tempfile.TemporaryFile(dir=spool)


def _add(data: Union[list[bytes], IO[bytes]], frame: bytes) -> None:
    if isinstance(data, list):
        data.append(frame)
    else:
        data.write(frame)
