# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the chunks of a source in parallel, in the requested order. Adjacent chunks are one request.

chunks -> rows of neighbours -> fetched, in parallel -> what the caller does with each row, in parallel
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, Callable, NamedTuple, Optional, TypeVar

from ...common.errors import Corrupt
from ...common.stop import Stop
from ..pipeline import ordered_map
from . import Chunk, Read, Source, Stored

_FETCH = 8 << 20  # stored bytes a request, unless a single chunk has more
RAW = 256 << 20  # uncompressed bytes a request: a stop waits for them, and of a disk of zeros there are many in few stored ones
_BESIDE = 5000  # a request, of what comes with its chunks: plans of tiny files are larger than the frames they became
R = TypeVar("R")
Wanted = tuple[Chunk, Any]  # a chunk, and whatever the caller needs beside it


class Row(NamedTuple):
    """Adjacent chunks, and a function that reads each of them. It raises Corrupt if one is not what was written."""

    wanted: list[Wanted]
    read: Read


def each_row(
    source: Source,
    wanted: Iterable[Wanted],
    work: Callable[[Row], R],
    threads: int,
    stop: Stop,
    weigh: Callable[[Any], int] = lambda _beside: 0,
    most: Optional[int] = None,
) -> Generator[R, None, None]:
    """Yield work(row) for each row, in order. At most 2 * threads + 1 rows are held.

    weigh: the weight of what comes with a chunk; most: uncompressed bytes per row, unless a single chunk has more. If the bytes of
    a row are missing, only its first chunk is passed on, and cannot be read.
    """

    def fetch(row: list[Wanted]) -> Row:
        try:
            return Row(row, source.fetch([chunk for chunk, _beside in row]))
        except Corrupt as error:
            return Row(row[:1], _raising(error))

    return ordered_map(
        work, ordered_map(fetch, _rows(wanted, weigh, most or RAW), threads, threads, stop), threads, threads + 1, stop
    )


def _rows(wanted: Iterable[Wanted], weigh: Callable[[Any], int], most: int) -> Iterator[list[Wanted]]:
    """Adjacent chunks in rows worth a request, all others alone."""
    row: list[Wanted] = []
    stored = raw = weight = 0
    for chunk, beside in wanted:
        length = sum(piece.length for piece in chunk.pieces if isinstance(piece, Stored))
        if row and (
            not _touch(row[-1][0], chunk) or stored + length > _FETCH or raw + chunk.length > most or weight > _BESIDE
        ):  # fmt: skip
            yield row
            row, stored, raw, weight = [], 0, 0, 0
        row.append((chunk, beside))
        stored += length
        raw += chunk.length
        weight += weigh(beside)
    if row:
        yield row


def _touch(chunk: Chunk, following: Chunk) -> bool:
    """Whether the second is stored directly after the first."""
    if not chunk.pieces or not following.pieces:
        return False
    last, first = chunk.pieces[-1], following.pieces[0]
    if not isinstance(last, Stored) or not isinstance(first, Stored):
        return False
    return (last.key, last.version, last.offset + last.length) == (first.key, first.version, first.offset)


def _raising(error: Corrupt) -> Read:
    def read(_chunk: Chunk) -> Any:
        raise error

    return read
