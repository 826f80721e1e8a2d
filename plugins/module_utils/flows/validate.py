# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing archives with their manifest, their index, or a volume: claimed -> disk -> sources -> compare -> receipt."""

from __future__ import annotations

from typing import Any

from ..cloud import queue
from ..common.errors import Refused
from ..common.lane import FREE, Lane
from ..common.snapshot import Snapshot
from ..common.version import BY
from ..engine import differences
from ..engine import validate as engine
from ..engine.bucket import layouts
from ..engine.bucket.layouts import Found, ours
from ..engine.known import known
from ..engine.sources import losses
from ..worker import spool
from . import disk
from .job import Job, require_root
from .lane import claimed
from .volume import gone_after_a_stop

# What a result has of a receipt.
_SAID = ("result", "differences", "damaged_receipts", "difference_count", "bytes", "frames", "members", "lost", "seconds")


def validate(job: Job) -> dict[str, Any]:
    """The receipt, as a result. A difference is a failure, unless fail_on_difference is false."""
    if job.check_mode:
        return _validated(job, FREE)
    with claimed(job) as lane, gone_after_a_stop(job, lane, job.asked["volume_id"]):
        return _validated(job, lane)


def _validated(job: Job, lane: Lane) -> dict[str, Any]:
    asked, store = job.asked, job.store
    snapshot = _snapshot(job)
    found = layouts.find(store, asked["prefix"], snapshot)
    if not found.archives and not found.manifest:
        raise Refused(f"there is no archive of {snapshot.snapshot_id} in {asked['bucket']}", "Correct bucket and prefix.")
    if job.check_mode:
        fetched = 0 if asked["level"] == "quick" else sum(each.size for each in found.archives)
        would_be = ours.receipt_key(asked["prefix"], snapshot, store.clock.now(), asked["level"])
        return _report(engine.nothing("unknown", fetched), found, would_be)
    settings = engine.Settings(asked["prefix"], job.threads(4), asked["spool"], BY, before_receipt=lane.renew)
    receipt = _compared(job, snapshot, found, settings, lane)
    for key in receipt["damaged_receipts"]:
        job.warn(f"{key} is damaged and proves nothing; you can remove it")
    result = _report(receipt, found)
    if receipt["result"] == "equal" or not asked["fail_on_difference"]:
        return result
    first = differences.sentence(receipt["differences"][0])
    return {**result, "failed": True, "msg": f"differences found: {receipt['difference_count']}, the first: {first}"}


def _snapshot(job: Job) -> Snapshot:
    """The snapshot as it was claimed, or as EC2 has it, or as the bucket knows it."""
    if job.claim:
        return job.claim.origin
    asked = job.asked
    try:
        return queue.one(job.ec2.client, asked["snapshot_id"], asked["tag"], job.stop).snapshot
    except Refused as error:
        if asked["level"] in engine.WITH_VOLUME and not asked["volume_id"]:
            if "code" not in error.facts:  # AWS did not refuse to say: it is gone
                error.advice += " Levels quick and archive need no snapshot."
            raise
        there = known(job.store, asked["prefix"], [asked["snapshot_id"]])[0]
        if not there:
            raise
        return there[asked["snapshot_id"]]


def _compared(job: Job, snapshot: Snapshot, found: Found, settings: engine.Settings, lane: Lane) -> dict[str, Any]:
    """The receipt of a comparison at the level asked for; of archives that are not ours what it would say."""
    asked, level = job.asked, job.asked["level"]
    if level not in engine.WITH_VOLUME:
        return engine.validate_snapshot(job.store, snapshot, found, level, settings)
    if not asked["volume_id"]:
        raise Refused(f"level {level} needs volume_id", "Attach one with coldstore.ebs.ebs_temp_volume.")
    require_root()
    spool.check(asked["spool"])
    restored = level == "restored"
    there = disk.of_snapshot(job, None if restored else snapshot)
    form, forms = engine.forms_of(job.store, found)
    with disk.opened(job, lane, there, form, "zero", forms) as opened:
        what = f"{'restored volume' if restored else 'volume'} {asked['volume_id']}"
        settings = engine.against(settings, what, {number: factory for number, (factory, _size) in opened.sources.items()})
        return engine.validate_snapshot(job.store, snapshot, found, level, settings)


def _report(receipt: dict[str, Any], found: Found, would_be: str = "") -> dict[str, Any]:
    return {
        "changed": True,
        **{name: receipt[name] for name in _SAID},
        "receipt": receipt.get("key", ""),
        "loss": losses.sentence(receipt["lost"]),
        "archives": [each.key for each in found.archives],
        "diff": {"before": {}, "after": {"receipt": would_be or receipt.get("key", "")}},
    }
