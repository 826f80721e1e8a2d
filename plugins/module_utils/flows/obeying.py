# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run can archive a snapshot as its own tags say, before it is claimed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NamedTuple, Optional

from ..common import advised
from ..common.advised import Advice
from ..common.errors import Permanent, Refused
from ..common.snapshot import Snapshot
from ..engine.bucket import probe, sleeping
from ..engine.bucket.objects import Store

FORMATS = ("tar", "image")
_CHOICES: Mapping[str, tuple[str, ...]] = {"storage_class": sleeping.CLASSES, "format": FORMATS}


class Run(NamedTuple):
    """What a run does with what says nothing of its own. obeys: whether it does what tags say."""

    prefix: str
    tag: str
    storage_class: str
    validate_first: bool
    obeys: bool


class Obedience:
    """What a run has found out of the bucket, class by class, so that it asks once for many snapshots."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self._run = store, run
        self._lock = threading.Lock()
        self._found: dict[str, Optional[Refused]] = {run.storage_class: None}  # which preflight has looked at

    def __call__(self, snapshot: Snapshot, taken_with: Optional[Mapping[str, str]]) -> dict[str, str]:
        """What is to be obeyed, by advised.FIELDS. Raises Refused if it is nothing that this run can do.

        taken_with: what the lane obeyed whose work is gone on with, whatever the tags say by now; None if there is none.
        """
        if not self._run.obeys:
            return {}
        advice = advised.read(self._run.tag, snapshot.tags) if taken_with is None else Advice(**taken_with)
        for field, value in advice.said().items():
            if value not in _CHOICES[field]:
                choices = ", ".join(_CHOICES[field])
                raise Refused(f"the tag {self._tag(field)} says {value!r}", f"It has to be one of {choices}. {_HOW}")
        if advice.storage_class is not None:
            self._check_class(advice.storage_class)
        return advice.said()

    def _tag(self, field: str) -> str:
        return advised.tag_of(self._run.tag, field)

    def _check_class(self, storage_class: str) -> None:
        with self._lock:
            if storage_class not in self._found:
                self._found[storage_class] = self._look(storage_class)
            refusal = self._found[storage_class]
        if refusal is not None:
            raise refusal

    def _look(self, storage_class: str) -> Optional[Refused]:
        """What the bucket has against a class. It is said without the call that failed: it is this snapshot's matter alone."""
        try:
            if self._run.validate_first and sleeping.sleeps(storage_class):
                sleeping.check_rule(self._store, self._run.prefix, storage_class)
            else:
                probe.check_class(self._store, self._run.prefix, storage_class)
        except (Refused, Permanent) as error:
            said = f"the tag {self._tag('storage_class')} says {storage_class}"
            return Refused(f"{said}, but {error.message}", f"{error.advice} {_HOW}")
        return None


_HOW = "Correct the tag, or remove it; with obey_advice: false (coldstore_obey_advice) tags are not looked at."
