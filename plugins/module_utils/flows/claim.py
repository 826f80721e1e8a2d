# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claim the next snapshot, give a claim back, or settle it with what the bucket proves; the tags say the same for people."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from ..cloud import queue
from ..common.snapshot import Snapshot
from ..engine import origin
from ..engine.bucket.layouts import ours
from ..engine.documents import claims
from ..engine.known import known
from ..engine.settle import give_back, proved, settle
from .job import Job


class _Outcome(NamedTuple):
    """wait: how many snapshots are waiting. before, after: the state of claims, by snapshot; in check mode, after is what it would
    be.

    held: the claim, if there is one. waiting: in check mode, the snapshots that could be claimed, in order.
    """

    wait: int
    after: Mapping[str, str]
    held: Optional[claims.Claim] = None
    before: Mapping[str, str] = {}
    passed: claims.Passed = claims.Passed({}, {})
    waiting: tuple[Snapshot, ...] = ()


def claim(job: Job) -> dict[str, Any]:
    """As state says: claimed, released or settled."""
    asked = job.asked
    done = _take(job) if asked["state"] == "claimed" else _end(job)
    if done.held is not None and asked["purpose"] in queue.STATES and not job.check_mode:
        _mirror(job, done.held)
    return _report(done)


def _mirror(job: Job, held: claims.Claim) -> None:
    """Make the queue tag show the state of the claim."""
    asked, snapshot, tag = job.asked, held.origin, job.asked["tag"]
    mark = queue.mark_of(asked["purpose"], held.standing)
    clear = asked["state"] != "claimed" or f"{tag}-reason" in snapshot.tags
    warning = queue.mirror(job.ec2.client, snapshot.snapshot_id, tag, mark, asked["reason"], clear)
    if warning:
        job.warn(warning)


def _take(job: Job) -> _Outcome:
    asked, store = job.asked, job.store
    snapshots, missing = _candidates(job)
    owner = asked["owner"] or socket.gethostname()
    redo, visit = claims.REDO[asked["purpose"]], asked["purpose"] not in queue.STATES
    terms = claims.Terms(owner, asked["run_id"], asked["lease"], redo, asked["attempts"], visit)
    count = len(snapshots)
    if job.check_mode:
        free, passed = claims.free(store, asked["prefix"], snapshots, terms)
        passed.unusable.update(missing)
        waiting = tuple(snapshots[snapshot_id] for snapshot_id in free)
        return _Outcome(count, dict.fromkeys(free[:1], "held"), passed=passed, waiting=waiting)
    held, passed = claims.take_first(store, asked["prefix"], snapshots.values(), terms)
    passed.unusable.update(missing)
    after = {} if held is None else {held.origin.snapshot_id: held.standing}
    return _Outcome(count, after, held, passed=passed)


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


def _report(done: _Outcome) -> dict[str, Any]:
    held = done.held
    state = "" if held is None else "".join(done.after.values())
    return {
        "changed": bool(done.after),
        "claimed": state == "held",
        "claim": held.token if held is not None and state == "held" else "",
        "snapshot": {} if held is None else origin.facts(held.origin),
        "attempts": 0 if held is None else held.attempts,
        "result": state,
        "waiting": done.wait,
        "queue": [origin.facts(each) for each in done.waiting],
        "passed": {**done.passed.taken, **done.passed.unusable},
        "unusable": done.passed.unusable,
        "diff": {"before": done.before, "after": done.after},
    }
