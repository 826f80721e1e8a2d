# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary volumes: attach one, remove some, keep one; and what happens to one when a flow is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Optional

from ..cloud import attach, queue, volumes
from ..common import tags
from ..common.errors import ColdstoreError, Refused, Stopped
from ..common.lane import FREE, Lane
from ..engine.bucket.layouts import ours
from ..engine.documents import claims
from ..engine.settle import proved
from ..worker import attached, udev
from .job import Job
from .lane import claimed


def volume(job: Job) -> dict[str, Any]:
    """As state says: present, absent or kept."""
    flow = {"present": _present, "absent": _absent, "kept": _kept}[job.asked["state"]]
    with claimed(job) as lane:
        return flow(job, lane)


@contextmanager
def gone_after_a_stop(job: Job, lane: Lane, *volume_ids: Optional[str]) -> Iterator[None]:
    """Remove the temporary volumes that the body uses after a stop, since no further task would. What stays is named, such as the
    last copy of a snapshot.

    If the lane's claim is gone they stay, because they belong to its successor.
    """
    try:
        yield
    except Stopped as error:
        for volume_id in filter(None, volume_ids):
            try:
                stays = LAST_COPY if last_copy(job, volume_id) else ""
            except ColdstoreError as failed:
                stays = failed.message
            if stays:
                error.at(left_behind=f"{volume_id} ({stays})")
            elif volumes.remove_after(error, job.ec2, volume_id, lane):
                udev.forget(volume_id)
        raise


LAST_COPY = "its snapshot is gone from EC2, and none of its archives is validated"


def last_copy(job: Job, volume_id: str) -> bool:
    """Whether a volume is all that is left of the snapshot whose claim is held: LAST_COPY."""
    if job.claim is None:
        return False
    calls, snapshot = job.ec2.calm(), job.claim.origin
    if queue.exists(calls.client, snapshot.snapshot_id, calls.stop) or volumes.is_blank(calls, volume_id):
        return False
    try:
        return proved(claims.calm(job.store), job.asked["prefix"], snapshot, "migrated") != "validated"
    except Refused:
        return True


def _present(job: Job, lane: Lane) -> dict[str, Any]:
    asked = job.asked
    further = {str(key): str(value) for key, value in asked["volume_tags"].items()}
    tags.check(further)
    wish = attach.Wish(
        asked["snapshot_id"],
        asked["format"],
        asked["volume_type"],
        asked["iops"],
        asked["throughput"],
        asked["initialization_rate"],
        asked["kms_key_id"] or "",
        further,
        asked["size"] if asked["format"] == "restore" else None,
        asked["encrypted"],
    )
    if asked["format"] != "restore":
        queue.readable(queue.one(job.ec2.client, wish.snapshot_id, "", job.stop))
    instance_id = asked["instance_id"] or job.instance().instance_id
    if job.check_mode:
        return _would_be_present(job, wish, instance_id, lane)
    if asked["format"] == "restore":
        _say_what_is_there(job)
    with attach.attached(job.ec2, wish, instance_id, udev.ignore, lane) as made:
        device = attached.wait_for_device(made.volume_id, made.attached_as, job.ec2.timeout, job.stop)
    return _report(made.changed, made.volume_id, device, made.attached_as, [], [made.volume_id])


def _would_be_present(job: Job, wish: attach.Wish, instance_id: str, lane: Lane) -> dict[str, Any]:
    there = attach.usable(job.ec2, wish, instance_id, lane.holder)
    volume_id = there["VolumeId"] if there else ""
    attached_as = "".join(each["Device"] for each in there["Attachments"]) if there else ""
    device = attached.device_of(volume_id, attached_as) or "" if attached_as else ""
    return _report(not attached_as, volume_id, device, attached_as, [], [volume_id or f"a new volume of {wish.snapshot_id}"])


def _say_what_is_there(job: Job) -> None:
    there = [each["VolumeId"] for each in volumes.blanks(job.ec2, job.asked["snapshot_id"])]
    if there:
        job.warn(
            f"{', '.join(there)}: made earlier to restore this snapshot to. If no restore is using it, remove it with"
            " state: absent and volume_id."
        )


def _absent(job: Job, lane: Lane) -> dict[str, Any]:
    asked = job.asked
    if asked["volume_id"] and asked["bucket"] and not asked["claim"]:
        lane = _abandoned(job, asked["volume_id"])
    wanted = [asked["volume_id"]] if asked["volume_id"] else volumes.removable(job.ec2, asked["snapshot_id"], lane.holder)
    spared = [volume_id for volume_id in wanted if last_copy(job, volume_id)] if asked["spare_last_copy"] else []
    wanted = [volume_id for volume_id in wanted if volume_id not in spared]
    with gone_after_a_stop(job, lane, *([] if job.check_mode else wanted)):
        removed = [volume_id for volume_id in wanted if volumes.absent(job.ec2, volume_id, lane, job.check_mode)]
    _forget(job, removed)
    return {**_report(bool(removed), "", "", "", removed, []), "spared": spared}


def _abandoned(job: Job, volume_id: str) -> Lane:
    """The right to remove a volume that was made under a claim in the bucket of the arguments, while nobody holds that claim.

    Raises Lost if somebody does.
    """
    snapshot_id, holder = volumes.made_under(job.ec2, volume_id)
    if not holder.claim:
        return FREE
    key = ours.claim_key(job.asked["prefix"], snapshot_id)
    if holder.claim != volumes.claim_value(claims.named(job.store, key)):
        return FREE
    nobody_has_it = partial(claims.refuse_held, job.store, key)
    nobody_has_it()
    return Lane(holder, nobody_has_it, nobody_has_it)


def _kept(job: Job, _lane: Lane) -> dict[str, Any]:
    volume_id = job.asked["volume_id"]
    changed = volumes.keep(job.ec2, volume_id, job.check_mode)
    _forget(job, [volume_id])
    return _report(changed, volume_id, "", "", [volume_id], [])


def _forget(job: Job, volume_ids: list[str]) -> None:
    if not job.check_mode:
        for volume_id in volume_ids:
            udev.forget(volume_id)


def _report(changed: bool, volume_id: str, device: str, attached_as: str, before: list[str], after: list[str]) -> dict[str, Any]:
    """before, after: the temporary volumes that are attached, if anything changes."""
    return {
        "changed": changed,
        "volume_id": volume_id,
        "device": device,
        "attached_as": attached_as,
        "spared": [],
        "diff": {"before": {"temporary": before if changed else after}, "after": {"temporary": after}},
    }
