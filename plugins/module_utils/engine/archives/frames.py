# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of an archive: fetched by range, several a request, and compared with the index before a byte of them is used.

groups -> requests, in parallel -> digests -> what the caller does with each frame
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NamedTuple, TypeVar, Union

from ...common.errors import Corrupt
from ..bucket.objects import MIB, Store
from ..documents.index import Frame
from ..hashing import hasher
from ..pipeline import ordered_map

_FETCH = 8 * MIB  # stored bytes a request, unless a single frame is larger
RAW = 256 * MIB  # decoded bytes a request: a stop waits for them, and of a disk of zeros there are many in few stored ones
_BESIDE = 5000  # a request, of what comes with its frames: plans of tiny files are larger than the frames they became
T = TypeVar("T")
R = TypeVar("R")


class Proved(NamedTuple):
    """A frame, what came with it, and its stored bytes: those that the index names, or why not."""

    frame: Frame
    beside: Any
    stored: Union[memoryview, Corrupt]

    def read(self) -> memoryview:
        """The stored bytes. Raises Corrupt unless they are those that the index names."""
        if isinstance(self.stored, Corrupt):
            raise self.stored
        return self.stored


class _Group(NamedTuple):
    """Neighbouring frames, fetched as one range, each with what comes with it."""

    frames: list[tuple[Frame, Any]]
    length: int


def each_group(
    store: Store,
    stored: Mapping[str, Any],
    frames: Iterable[tuple[Frame, T]],
    weigh: Callable[[T], int],
    most_raw: int,
    threads: int,
    digest: str,
    work: Callable[[int, list[Proved]], R],
) -> Iterator[R]:
    """Call work(bytes fetched, frames) for each request, in parallel; yields what it returns, in order.

    stored: the object, as the manifest names it. frames come in order, each with something of the weight that weigh
    says. most_raw: decoded bytes a request, unless a single frame has more. digest: which one the frames have. A request whose
    bytes are not there has one Proved, that of its first frame.
    """

    of = hasher(digest)

    def fetch(group: _Group) -> tuple[_Group, Union[bytes, Corrupt]]:
        try:
            return group, store.read(stored["key"], group.frames[0][0].offset, group.length, stored["version"])
        except Corrupt as error:
            return group, error

    def use(fetched: tuple[_Group, Union[bytes, Corrupt]]) -> R:
        group, data = fetched
        return work(group.length, _proved(group, data, of))

    fetched = ordered_map(fetch, _groups(frames, weigh, most_raw), threads, threads, store.stop)
    return ordered_map(use, fetched, threads, threads + 1, store.stop)


def _groups(frames: Iterable[tuple[Frame, T]], weigh: Callable[[T], int], most_raw: int) -> Iterator[_Group]:
    """Neighbouring frames in groups worth a request."""
    held: list[tuple[Frame, T]] = []
    stored = raw = weight = 0
    for frame, beside in frames:
        apart = held and held[-1][0].offset + held[-1][0].length != frame.offset
        if held and (apart or stored + frame.length > _FETCH or raw + frame.raw_length > most_raw or weight > _BESIDE):
            yield _Group(held, stored)
            held, stored, raw, weight = [], 0, 0, 0
        held.append((frame, beside))
        stored += frame.length
        raw += frame.raw_length
        weight += weigh(beside)
    if held:
        yield _Group(held, stored)


def _proved(group: _Group, data: Union[bytes, Corrupt], of: Callable[..., Any]) -> list[Proved]:
    """The group's frames, each compared with the index."""
    if isinstance(data, Corrupt):
        return [Proved(*group.frames[0], data)]
    base = group.frames[0][0].offset
    proved = []
    for frame, beside in group.frames:
        stored: Union[memoryview, Corrupt] = memoryview(data)[frame.offset - base :][: frame.length]
        if of(stored).hexdigest() != frame.digest:
            stored = Corrupt("a frame is not the one the index names: its digest differs")
        proved.append(Proved(frame, beside, stored))
    return proved
