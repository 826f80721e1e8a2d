# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects beside an unfinished archive that say which frames each finished part holds.

    <archive>.journal/00000    the uploads' ids, one an object; their recipe, and the claim they are worked on under
    <archive>.journal/00001    part 1 and those that follow it in this record: ETag, CRC, size and frames
    <archive>.journal/00017    the next record, if the first one holds 16 parts

Parts are numbered through all objects of the archive. S3 cannot append, so each record is an object, of as many parts as are worth
a request. After a kill the plan is made again, and as long as its chunks have the fingerprints written here, their frames need not
be read, compressed or sent again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, Optional

from ...common.errors import Corrupt
from ...common.lane import Holder, Lane
from ..bucket import checksums
from ..bucket.objects import MIB, Store
from ..bucket.uploads import Part, Upload
from ..documents import document
from ..sources import Problem, losses
from .frames import Noted

_NAME = "journal"
_RECORD = 256 * MIB  # stored bytes, or
_RECORD_FRAMES = 5000  # where they are many: frames of zeros are small


class Sent(NamedTuple):
    """A finished part, its number through all objects, and its frames; tail: bytes of it behind the last of them."""

    part: Part
    frames: list[Noted]
    tail: int


def begin(store: Store, archive: str, uploads: list[Upload], recipe: Mapping[str, Any], lane: Lane) -> None:
    """Record that these uploads, one per object, belong to this lane, which began or continues them."""
    body = {"uploads": [each.upload_id for each in uploads], "recipe": dict(recipe), "holder": lane.holder._asdict()}
    store.put_over(_key(archive, 0), document.encode(_NAME, 1, body), lane.renew)


class Recorder:
    """Writes down what was sent, in order, and what could not be read; flush before the uploads are completed."""

    def __init__(self, store: Store, archive: str, lane: Lane) -> None:
        self._store = store
        self._archive = archive
        self._lane = lane
        self._held: list[Sent] = []
        self._told = 0

    def add(self, sent: Sent, ends: bool, problems: list[Problem]) -> None:
        """ends: it is the last part of an object, and of its record. problems: all there are so far."""
        self._held.append(sent)
        frames = sum(len(each.frames) for each in self._held)
        if ends or frames >= _RECORD_FRAMES or sum(each.part.size for each in self._held) >= _RECORD:
            self.flush(problems)

    def flush(self, problems: list[Problem]) -> None:
        if not self._held:
            return
        self._lane.check()
        # The problems of reading these parts are known by now. A run that continues here does not read them again.
        until = len(problems)
        body = {
            "parts": [
                {
                    "part": [part.number, part.etag, checksums.text(part.crc), part.size],
                    "frames": [list(frame) for frame in frames],
                    "tail": tail,
                }
                for part, frames, tail in self._held
            ],
            "problems": [losses.as_dict(problem) for problem in problems[self._told : until]],
        }
        first = self._held[0].part.number
        self._store.put_over(_key(self._archive, first), document.encode(_NAME, 1, body), self._lane.renew)
        self._told, self._held = until, []


class Record(NamedTuple):
    """Finished parts, one behind the other; tail: bytes behind the last frame of the last of them. problems: of these parts,
    and perhaps of some behind them."""

    parts: list[Part]
    tail: int
    problems: list[Problem]


class Journal:
    """What was recorded of an archive's uploads: parts from 1 without a gap, and on disk their frames, which may be millions."""

    def __init__(self, uploads: list[str], spool: Optional[str]) -> None:
        self.uploads = uploads
        self.records: list[Record] = []
        self._frames = tempfile.TemporaryFile(dir=spool)

    def add(self, parts: list[Sent], problems: list[Problem]) -> None:
        self.records.append(Record([each.part for each in parts], parts[-1].tail, problems))
        self._frames.write(json.dumps([list(frame) for each in parts for frame in each.frames]).encode("ascii") + b"\n")

    def frames(self) -> Iterator[Noted]:
        """Those of all records, in order. Once."""
        with self._frames:
            self._frames.seek(0)
            for line in islice(self._frames, len(self.records)):
                yield from (Noted(*frame) for frame in json.loads(line))


def read(store: Store, archive: str, recipe: Mapping[str, Any], holder: Holder, spool: Optional[str]) -> Optional[Journal]:
    """The journal of the uploads that were begun with this recipe, without a claim or under the object of this one, up to what is
    damaged; or None."""
    head = _document(store, _key(archive, 0))
    under = head.get("holder", {}).get("claim", "")
    if head.get("recipe") != dict(recipe) or under not in ("", holder.claim):
        return None
    found = Journal(head["uploads"], spool)
    following = 1
    while True:
        body = _document(store, _key(archive, following))
        parts = []
        for entry in body.get("parts", []):  # a record of another kind does not count
            number, etag, crc, size = entry["part"]
            frames = [Noted(*frame) for frame in entry["frames"]]
            parts.append(Sent(Part(number, etag, checksums.value(crc), size), frames, entry["tail"]))
        if not parts:
            return found
        found.add(parts, [losses.from_dict(each) for each in body.get("problems", [])])
        following += len(parts)


def _document(store: Store, key: str) -> dict[str, Any]:
    """Empty if it is not there, or was damaged: what it said can be done again."""
    content = store.get(key)
    try:
        return {} if content is None else document.decode(content.body, _NAME, 1, key)
    except Corrupt:
        return {}


def records(store: Store, archive: str) -> list[str]:
    """The keys of the journal; a folder that was made in a console, say, is none of ours."""
    keys = [item.key for item in store.keys(_key(archive, None))]
    return [key for key in keys if key.rpartition("/")[2].isdigit()]


def first_part(key: str) -> int:
    """The number of the first part that a record is about; 0 for the head of the journal."""
    return int(key.rpartition("/")[2])


def forget(store: Store, archive: str) -> None:
    """Remove the journal."""
    store.delete(records(store, archive))


def _key(archive: str, number: Optional[int]) -> str:
    return f"{archive}.journal/" + ("" if number is None else f"{number:05d}")
