# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claim the next snapshot, give a claim back, or settle it with what the bucket proves; the tags say the same for people."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Optional

from ..cloud import queue
from ..common import advised
from ..common.snapshot import Snapshot
from ..common.tags import readable
from ..engine import origin
from ..engine.bucket import sleeping
from ..engine.bucket.layouts import ours
from ..engine.documents import claims
from ..engine.known import known
from ..engine.settle import give_back, proved, settle
from . import obeying
from .job import Job
from .obeying import Obedience, Run

CLASSES, FORMATS = list(sleeping.CLASSES), list(obeying.FORMATS)


class _Outcome(NamedTuple):
    """wait: how many snapshots are waiting. before, after: the state of claims, by snapshot; in check mode, after is what it would
    be.

    held: the claim, if there is one. waiting: in check mode the snapshots that could be claimed, in order, and how they would be
    archived.
    """

    wait: int
    after: Mapping[str, str]
    held: Optional[claims.Claim] = None
    before: Mapping[str, str] = {}
    passed: claims.Passed = claims.Passed({}, {})
    waiting: tuple[Mapping[str, Any], ...] = ()


def claim(job: Job) -> dict[str, Any]:
    """As state says: claimed, released or settled."""
    asked = job.asked
    done = _take(job) if asked["state"] == "claimed" else _end(job)
    if done.held is not None and asked["purpose"] in queue.STATES and not job.check_mode:
        _mirror(job, done.held)
    return _report(asked, done)


def _mirror(job: Job, held: claims.Claim) -> None:
    """Make the queue tag show the state of the claim."""
    asked, snapshot, tag = job.asked, held.origin, job.asked["tag"]
    mark = queue.mark_of(asked["purpose"], held.standing, snapshot.tags.get(tag, ""))
    clear = asked["state"] != "claimed" or f"{tag}-reason" in snapshot.tags
    said = advised.as_tags(tag, advised.read(tag, snapshot.tags))
    done = said if held.standing in ("migrated", "validated") else ()
    warning = queue.mirror(job.ec2.client, snapshot.snapshot_id, tag, mark, asked["reason"], clear, done)
    if warning:
        job.warn(warning)


def _take(job: Job) -> _Outcome:
    asked, store = job.asked, job.store
    snapshots, missing = _candidates(job)
    owner = asked["owner"] or socket.gethostname()
    redo, visit = claims.REDO[asked["purpose"]], asked["purpose"] not in queue.STATES
    terms = claims.Terms(owner, asked["run_id"], asked["lease"], redo, asked["attempts"], visit)
    if asked["purpose"] == "migrate":
        run = Run(asked["prefix"], asked["tag"], asked["storage_class"], asked["validate_first"], asked["obey_advice"])
        terms = replace(terms, advice=Obedience(store, run))
    count = len(snapshots)
    if job.check_mode:
        free, passed = claims.free(store, asked["prefix"], snapshots, terms)
        passed.unusable.update(missing)
        waiting = tuple({**origin.facts(snapshots[each]), **_archived_as(asked, advice)} for each, advice in free.items())
        return _Outcome(count, dict.fromkeys([*free][:1], "held"), passed=passed, waiting=waiting)
    held, passed = claims.take_first(store, asked["prefix"], snapshots.values(), terms)
    for snapshot_id, why in passed.unusable.items():
        _note(job, snapshots[snapshot_id], why)
    passed.unusable.update(missing)
    after = {} if held is None else {held.origin.snapshot_id: held.standing}
    return _Outcome(count, after, held, passed=passed)


def _note(job: Job, snapshot: Snapshot, why: str) -> None:
    """Let the tag of what was passed over say what has to be done, unless it does already."""
    tag = job.asked["tag"]
    if snapshot.tags.get(f"{tag}-reason") != readable(why):
        warning = queue.note(job.ec2.client, snapshot.snapshot_id, tag, why)
        if warning:
            job.warn(warning)


def _candidates(job: Job) -> tuple[dict[str, Snapshot], dict[str, str]]:
    """{id: snapshot} in the order to claim them, and {id: reason} for those that cannot be claimed."""
    if job.asked["purpose"] == "drill":
        return _archived(job)
    asked, ec2 = job.asked, job.ec2.client
    if not asked["snapshot_ids"]:
        waiting = [each.snapshot for each in queue.waiting(ec2, asked["tag"], asked["purpose"], job.stop)]
        return {each.snapshot_id: each for each in waiting}, {}
    found, missing = queue.listed(ec2, asked["snapshot_ids"], asked["tag"], asked["purpose"], job.stop)
    snapshots = {each.snapshot.snapshot_id: each.snapshot for each in found}
    if missing and not asked["needs_snapshot"]:
        archived, unreadable = known(job.store, asked["prefix"], missing)
        snapshots.update(archived)
        missing.update(unreadable)
    return snapshots, {snapshot_id: str(why) for snapshot_id, why in missing.items() if snapshot_id not in snapshots}


def _archived(job: Job) -> tuple[dict[str, Snapshot], dict[str, str]]:
    """The same of snapshots whose archives are all that counts."""
    asked = job.asked
    wanted = list(dict.fromkeys(asked["snapshot_ids"] or []))
    there, unreadable = known(job.store, asked["prefix"], wanted)
    below = f" below {asked['prefix']}" if asked["prefix"] else ""
    missing = {each: f"there is no complete archive of it in {asked['bucket']}{below}" for each in wanted if each not in there}
    missing.update({each: str(why) for each, why in unreadable.items()})
    return {each: there[each] for each in wanted if each in there}, missing


def _end(job: Job) -> _Outcome:
    """Uses only the bucket, because EC2 may not have the snapshot any more."""
    asked, store, snapshot_id = job.asked, job.store, job.asked["snapshot_id"]
    held = claims.held(store, ours.claim_key(asked["prefix"], snapshot_id), asked["claim"])
    before = {snapshot_id: held.standing}
    if asked["state"] == "settled":
        if job.check_mode:
            state = proved(store, asked["prefix"], held.origin, asked["result"])
        else:
            held = settle(store, asked["prefix"], held.origin, held, asked["result"])
            state = held.standing
    else:
        state = "failed" if asked["reason"] and held.spent(asked["attempts"], asked["kind"]) else "free"
        if not job.check_mode:
            held = give_back(store, asked["prefix"], held, asked["reason"], asked["attempts"], asked["kind"])
            state = held.standing
    return _Outcome(1, {snapshot_id: state}, held, before)


def _archived_as(asked: Mapping[str, Any], advice: Optional[Mapping[str, str]]) -> dict[str, Any]:
    """What the snapshot says, and else the run; nothing without a claim, and where nothing is archived."""
    if advice is None or asked["purpose"] != "migrate":
        return {"storage_class": "", "format": "", "advised": {}}
    return {"storage_class": asked["storage_class"], "format": asked["format"], **advice, "advised": dict(advice)}


def _report(asked: Mapping[str, Any], done: _Outcome) -> dict[str, Any]:
    held = done.held
    state = "" if held is None else "".join(done.after.values())
    return {
        "changed": bool(done.after),
        "claimed": state == "held",
        "claim": held.token if held is not None and state == "held" else "",
        "snapshot": {} if held is None else origin.facts(held.origin),
        **_archived_as(asked, held.advice if held is not None and state == "held" else None),
        "attempts": 0 if held is None else held.attempts,
        "result": state,
        "waiting": done.wait,
        "queue": list(done.waiting),
        "passed": {**done.passed.taken, **done.passed.unusable},
        "unusable": done.passed.unusable,
        "diff": {"before": done.before, "after": done.after},
    }
