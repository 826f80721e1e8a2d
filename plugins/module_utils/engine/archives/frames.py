# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of an archive: fetched by range, several a request, and compared with the index before a byte of them is used.

groups -> requests, in parallel -> SHA-256, several frames at once -> what the caller does with each frame
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NamedTuple, TypeVar, Union

from ...common.errors import Corrupt
from .. import sha256
from ..bucket.store import MIB, Store
from ..documents.index import Frame
from ..pipeline import in_batches, ordered_map

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


class _Fetched(NamedTuple):
    group: _Group
    data: Union[bytes, Corrupt]


def each_group(
    store: Store,
    stored: Mapping[str, Any],
    frames: Iterable[tuple[Frame, T]],
    weigh: Callable[[T], int],
    most_raw: int,
    threads: int,
    work: Callable[[int, list[Proved]], R],
) -> Iterator[R]:
    """Call work(bytes fetched, frames) for each request, in parallel; yields what it returns, in order.

    stored: the object, as the manifest names it. frames come in order, each with something of the weight that weigh
    says. most_raw: decoded bytes a request, unless a single frame has more. A request whose bytes are not there has one
    Proved, that of its first frame.
    """

    def fetch(group: _Group) -> _Fetched:
        try:
            data = store.read(stored["key"], group.frames[0][0].offset, group.length, stored["version"])
            return _Fetched(group, data)
        except Corrupt as error:
            return _Fetched(group, error)

    def use(batch: list[_Fetched]) -> list[R]:
        return [work(length, proved) for length, proved in _prove(batch)]

    fetched = ordered_map(fetch, _groups(frames, weigh, most_raw), threads, threads, store.stop)
    return in_batches(
        use, fetched, sha256.at_once(), lambda done: len(done.group.frames), threads, sha256.in_flight(threads), store.stop
    )


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


def _prove(batch: list[_Fetched]) -> Iterator[tuple[int, list[Proved]]]:
    """Each group's length and frames, once all of them are compared with the index."""
    messages = [_messages(group, data) if isinstance(data, bytes) else [] for group, data in batch]
    digests = sha256.digests([message for some in messages for message in some])
    done = 0
    for (group, data), some in zip(batch, messages):
        if isinstance(data, Corrupt):
            yield group.length, [Proved(*group.frames[0], data)]
            continue
        proved = []
        for (frame, beside), message, digest in zip(group.frames, some, digests[done:]):
            stored: Union[memoryview, Corrupt] = memoryview(data)[message.offset :][: message.length]
            if digest != frame.sha256:
                stored = Corrupt("a frame is not the one the index names: its SHA-256 differs")
            proved.append(Proved(frame, beside, stored))
        done += len(some)
        yield group.length, proved


def _messages(group: _Group, data: bytes) -> list[sha256.Message]:
    base = group.frames[0][0].offset
    return [sha256.Message(data, frame.offset - base, frame.length) for frame, _beside in group.frames]
