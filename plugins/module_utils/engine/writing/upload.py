# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upload of an archive: a multipart upload for each of its objects, and the journal beside them.

A full object is followed by the next one. Parts are numbered through all objects, and each has whole frames. No object is completed
before every part was sent. So what an unfinished archive leaves is uploads, which the next run can continue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, NamedTuple, Optional

from ...common.errors import ColdstoreError, Lost
from ...common.lane import Lane
from ...common.stop import Stop
from ..bucket import uploads
from ..bucket.layouts import ours
from ..bucket.objects import Store, Stored
from ..bucket.uploads import MAX_PARTS, Joined, Part, Upload, adopt, part_size
from ..sources import Problem
from . import journal
from .frames import NOTHING, Done, Filled
from .journal import Journal, Recorder, Sent

_PARTS = MAX_PARTS  # an object


class Terms(NamedTuple):
    """What each object of an archive is made with. expected: roughly how many bytes all of it will have.

    recipe: what a journal must have been begun with to be gone on with.
    """

    storage_class: str
    metadata: Mapping[str, str]
    tagging: str
    expected: int
    recipe: Mapping[str, Any]


@dataclass
class ArchiveUpload:
    """start before anything is sent; send and part_size from any thread; complete or drop ends it."""

    store: Store
    key: str
    terms: Terms
    lane: Lane
    _objects: list[Upload] = field(default_factory=list)
    _parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._recorder = Recorder(self.store, self.key, self.lane)

    def resume(self, spool: Optional[str]) -> Done:
        """Take over what an earlier run left, after removing what is useless. Returns what need not be done again."""
        recorded = journal.records(self.store, self.key)
        found = journal.read(self.store, self.key, self.terms.recipe, self.lane.holder, spool) if recorded else None
        if found is not None:
            self._take_over(found)
        mine = {each.upload_id for each in self._objects}
        begun = [each for each in uploads.unfinished(self.store, self.key) if ours.is_object_of(each.key, self.key)]
        others = [Upload(self.store, each.key, each.upload_id) for each in begun if each.upload_id not in mine]
        stale = [each for each in recorded if not self._objects or journal.first_part(each) > len(self._parts)]
        if others or stale:
            self.lane.renew()
        for each in others:
            each.abort()
        self.store.delete(stale)
        if found is None or not self._objects:
            return NOTHING
        journal.begin(self.store, self.key, self._objects, self.terms.recipe, self.lane)
        problems = [problem for record in found.records for problem in record.problems]
        whole = bool(found.records) and found.records[-1].tail > 0
        return Done(len(self._parts), found.frames(), whole, problems)

    def _take_over(self, found: Journal) -> None:
        """Reduce a journal to what S3 still has. The uploads and parts to continue with, if there are any, are then ours."""
        recorded = [part for record in found.records for part in record.parts]
        there: set[Part] = set()
        complete = 0
        for number, upload_id in enumerate(found.uploads):
            upload = Upload(self.store, ours.object_key(self.key, number + 1), upload_id)
            first, of_object = number * _PARTS, _of_object(recorded, number)
            known = upload.parts()
            if known is None and (not of_object or adopt(self.store, upload.key, of_object) is None):
                break
            if known is None:
                complete = first + len(of_object)
            for part, numbered in zip(recorded[first:], of_object):
                if known is None or known.get(numbered.number) == (part.etag, part.size):
                    there.add(part)
            self._objects.append(upload)
        found.records = list(takewhile(lambda record: there.issuperset(record.parts), found.records))
        self._parts = [part for record in found.records for part in record.parts]
        del self._objects[max(1, -(-len(self._parts) // _PARTS)) :]
        if len(self._parts) < complete:  # a complete object accepts no more of them
            self._objects, self._parts = [], []

    def start(self) -> None:
        """Begin the first object, unless an earlier run's is continued."""
        if not self._objects:
            self._begin()

    def _begin(self) -> None:
        terms, key = self.terms, ours.object_key(self.key, len(self._objects) + 1)
        self._objects.append(uploads.begin(self.store, key, terms.storage_class, terms.metadata, terms.tagging))
        journal.begin(self.store, self.key, self._objects, terms.recipe, self.lane)

    def part_size(self, number: int) -> int:
        """The bytes that a part should have at least."""
        return part_size((number - 1) % _PARTS + 1, self.terms.expected)

    def placed(self, filled: Iterator[Filled]) -> Iterator[Filled]:
        """The same parts, each once there is an object for it."""
        for each in filled:
            if (each.number - 1) // _PARTS == len(self._objects):
                self._begin()
            yield each

    def send(self, filled: Filled) -> Sent:
        self.lane.check()
        upload, number = self._objects[(filled.number - 1) // _PARTS], (filled.number - 1) % _PARTS + 1
        if isinstance(filled.data, list):
            part = upload.send(number, Joined(filled.data), filled.size)
        else:
            with filled.data:
                part = upload.send(number, filled.data, filled.size)
        return Sent(part._replace(number=filled.number), filled.frames, filled.tail)

    def note(self, sent: Sent, problems: list[Problem]) -> None:
        """In the parts' order. problems: all that the source has so far."""
        self._parts.append(sent.part)
        self._recorder.add(sent, sent.part.number % _PARTS == 0, problems)

    def flush(self, problems: list[Problem]) -> None:
        """Every part was sent."""
        self._recorder.flush(problems)

    def complete(self) -> list[Stored]:
        """Publish the objects, as uploads.Upload.complete does each."""
        return [upload.complete(_of_object(self._parts, number)) for number, upload in enumerate(self._objects)]

    def drop(self, why: BaseException) -> None:
        """Abort the uploads and remove the journal, also after a stop. What cannot be removed is added to the error.

        Raises Lost if the claim is gone: then its holder continues or removes them.
        """
        calm = replace(self.store, stop=Stop())
        try:
            self.lane.renew()
            for each in self._objects:
                replace(each, store=calm).abort()
            journal.forget(calm, self.key)
        except Lost:
            raise
        except ColdstoreError as error:
            if isinstance(why, ColdstoreError):
                left = ", ".join(each.upload_id for each in self._objects)
                why.at(left_behind=f"upload {left} ({error.message})")
        self._objects, self._parts, self._recorder = [], [], Recorder(self.store, self.key, self.lane)


def _of_object(parts: list[Part], number: int) -> list[Part]:
    """The parts of one object, the first of which is 0, as S3 numbers them."""
    return [each._replace(number=n) for n, each in enumerate(parts[number * _PARTS : (number + 1) * _PARTS], 1)]
