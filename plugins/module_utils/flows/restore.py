# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From archives back to files or a disk: found -> chosen -> awake -> device -> restored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, Optional

from ..cloud import volumes
from ..common.errors import Asleep, Refused
from ..common.stop import after_a_stop
from ..engine import copy as engine
from ..engine.selection import Selection
from ..engine.sources import losses
from ..worker import attached, spool
from . import subject as subjects
from . import whole_disk
from .job import Job, require_root
from .lane import claimed
from .restored import Restored
from .subject import Choice, Subject
from .thawing import Woken, brought_back, objects
from .to_device import size_of, to_device
from .to_directory import Wanted, matching, survey, to_directory
from .volume import gone_after_a_stop


class _Plan(NamedTuple):
    """What there is, what of it will be read, and in check mode how much that is."""

    subject: Subject
    choice: Choice
    comes_to: Restored


def restore(job: Job) -> dict[str, Any]:
    """Restore what was requested to the target. What sleeps is thawed first; then the result is pending."""
    asked = job.asked
    _check(asked)
    settings = engine.Settings(job.threads(4), asked["spool"])
    if job.check_mode:
        return _restored(job, settings, False)
    with claimed(job) as lane:
        mine = bool(asked["volume_id"]) and volumes.is_blank(job.ec2.calm(), asked["volume_id"])
        with gone_after_a_stop(job, lane, asked["volume_id"] if mine else None):
            return _restored(job, settings, mine)


def _restored(job: Job, settings: engine.Settings, mine: bool) -> dict[str, Any]:
    """mine: the volume was made for this."""
    asked = job.asked
    try:
        plan = _planned(job, settings)
    except Asleep as error:
        job.warn(str(error))
        subject = subjects.asleep(job.store, asked["prefix"], *_named(asked), asked["partition"] or "")
        woken = brought_back(job, subjects.unread(subject))
        if woken.asleep:
            return _report(asked, _Plan(subject, Choice([], []), Restored()), woken, bool(woken.requested))
        plan = _planned(job, settings)
    woken = brought_back(job, objects(plan.choice.archives, job.store))
    restores = _restores(asked)
    if job.check_mode:
        return _report(asked, plan, woken, bool(restores or woken.asleep), plan.comes_to)
    if woken.asleep or not restores:
        return _report(asked, plan, woken, bool(woken.requested))
    begun = job.store.clock.monotonic()
    done, device = _run(job, plan, settings, mine)
    seconds = round(job.store.clock.monotonic() - begun, 3)
    result = {**_report(asked, plan, woken, True, done), "device": device, "seconds": seconds}
    _warn(job, done, result["loss"])
    return result


def _warn(job: Job, done: Restored, loss: str) -> None:
    """Warnings: what a successful restore could not do."""
    for warning in done.warnings:
        job.warn(warning)
    if done.problem_count:
        first = "{attribute} of {path}: {reason}".format(**done.problems[0])
        job.warn(f"attributes that could not be restored: {done.problem_count}, the first: {first}")
    if loss:
        job.warn(f"some content is missing because it could not be read when it was archived: {loss}; the manifest lists it")


def _check(asked: Mapping[str, Any]) -> None:
    if not _target(asked) and not asked["thaw_only"]:
        return
    if asked["directory"] and not os.path.isabs(asked["directory"]):
        raise Refused(f"the directory {asked['directory']} is not an absolute path", "Name it from the root of the worker.")
    if asked["directory"] and asked["owners"] and os.geteuid():
        raise Refused("restoring owners needs root", "Set become: true, or owners: false.")
    if not asked["directory"]:
        require_root()
    if not asked["directory"] and (asked["paths"] or asked["exclude"] or asked["strip_components"]):
        raise Refused("paths, exclude and strip_components need a directory", "Name one, or leave them out.")
    spool.check(asked["spool"])


def _target(asked: Mapping[str, Any]) -> str:
    return asked["directory"] or asked["device"] or asked["volume_id"] or ""


def _restores(asked: Mapping[str, Any]) -> bool:
    return bool(_target(asked)) and not asked["thaw_only"]


def _named(asked: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is to be restored, by snapshot or by key."""
    return asked["snapshot_id"] or "", asked["key"] or "", asked["source_volume_id"]


def _wanted(asked: Mapping[str, Any]) -> Wanted:
    return Wanted(
        asked["directory"] or "",
        asked["partition"] or "",
        Selection(asked["paths"] or [], asked["exclude"] or []),
        asked["strip_components"],
        asked["owners"],
        asked["allow_devices"],
        asked["overwrite"],
    )


def _planned(job: Job, settings: engine.Settings) -> _Plan:
    """From manifest and indexes."""
    subject = subjects.find(job.store, job.asked["prefix"], *_named(job.asked))
    choice = _chosen(job, subject, settings)
    foreseen = job.check_mode and _restores(job.asked)
    return _Plan(subject, choice, _comes_to(job, choice, settings) if foreseen else Restored())


def _chosen(job: Job, subject: Subject, settings: engine.Settings) -> Choice:
    """What will be read."""
    asked, partition = job.asked, job.asked["partition"] or ""
    subjects.check_partition(partition, bool(asked["directory"]))
    if not _target(asked) and not asked["thaw_only"] and not partition:
        return Choice(subject.archives, [])
    if asked["directory"]:
        return matching(job.store, subjects.for_directory(subject, partition), _wanted(asked), settings)
    if _makes_a_disk(asked, subject):
        if asked["device"] and not attached.is_block_device(asked["device"]):
            raise Refused(
                f"{asked['device']} is not a block device, and a disk can only be rebuilt on one",
                "Name a partition to restore its image.",
            )
        body = subject.body or {}
        whole_disk.check_disk(body)
        if asked["size"]:
            size = asked["size"] << 30
            whole_disk.check_room(body, size, size > body["disk"]["size"])
        return Choice(subject.archives, [])
    return subjects.for_device(subject, partition)


def _makes_a_disk(asked: Mapping[str, Any], subject: Subject) -> bool:
    """Whether to rebuild a disk from the archives of its partitions."""
    return not asked["directory"] and not asked["partition"] and subject.makes_a_disk


def _comes_to(job: Job, choice: Choice, settings: engine.Settings) -> Restored:
    """What a restore would write, as far as that is known beforehand."""
    if not job.asked["directory"]:
        members = sum(each.entry["members"] for each in choice.archives if each.entry)
        return Restored(bytes_written=sum(size_of(each, job.store) for each in choice.archives), members=members)
    total = Restored()
    for each in choice.archives:
        total.add(survey(job.store, each, _wanted(job.asked), settings))
    return total


def _run(job: Job, plan: _Plan, settings: engine.Settings, mine: bool) -> tuple[Restored, str]:
    """What was done, and the device it was done to, '' for a directory."""
    asked = job.asked
    if asked["directory"]:
        return to_directory(job.store, plan.choice.archives, _wanted(asked), settings), ""
    stays = after_a_stop(
        f"What was written so far stays on {asked['volume_id'] or asked['device']}. Restore again, with overwrite: true."
    )
    if not asked["volume_id"]:
        with stays:
            return _onto(job, plan, settings, asked["device"], asked["blank"], False)
    with nullcontext() if mine else stays:
        device = attached.wait_for_device(asked["volume_id"], asked["attached_as"], asked["timeout"], job.stop)
        return _onto(job, plan, settings, device, mine, mine)


def _onto(job: Job, plan: _Plan, settings: engine.Settings, device: str, blank: bool, mine: bool) -> tuple[Restored, str]:
    """mine: the device is a volume that was made for this."""
    asked = job.asked
    if not mine and not asked["overwrite"]:
        attached.check_unused(device)
    if _makes_a_disk(asked, plan.subject):
        done = whole_disk.to_disk(job.store, plan.subject, device, settings, asked["grow"], blank, asked["mount_point"])
    else:
        done = to_device(job.store, plan.choice.archives[0], device, settings, blank, asked["overwrite"] or mine)
    return done, device


def _report(asked: Mapping[str, Any], plan: _Plan, woken: Woken, changed: bool, done: Optional[Restored] = None) -> dict[str, Any]:
    subject, choice, _comes = plan
    target = _target(asked)
    after = {"restored": target, "snapshot": subject.snapshot_id} if changed and target else {}
    place = _wanted(asked).place
    return {
        "changed": changed,
        "pending": bool(woken.asleep),
        "thaw": woken.price,
        "snapshot_id": subject.snapshot_id,
        "manifest": subject.manifest_key,
        "target": target,
        "device": "",
        "archives": [{"partition": each.partition, "key": each.key, "directory": place(each)} for each in choice.archives],
        "left_out": choice.left_out,
        "seconds": 0.0,
        "unchecked": subject.unchecked,
        "loss": losses.sentence(losses.summed(each.entry for each in choice.archives if each.entry is not None)),
        "diff": {"before": {}, "after": after},
        **(done or Restored()).as_dict(),
    }
