# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a snapshot's volume into the bucket: claimed -> disk -> sources -> archives -> manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Optional

from ..cloud import queue, volumes
from ..common.errors import Refused
from ..common.lane import Lane
from ..common.snapshot import Snapshot
from ..common.version import BY
from ..engine import codecs, hashing
from ..engine.archive import Recipe, Result, archive_snapshot, existing, tidy
from ..engine.bucket import sleeping
from ..engine.bucket.layouts import ours
from ..engine.documents import claims
from ..engine.pipeline import background, ordered_map
from ..engine.sources import losses
from ..worker import spool
from ..worker.attached import Disk
from ..worker.hydrate import Hydration
from . import disk
from .job import Job, require_root
from .lane import claimed
from .volume import gone_after_a_stop


def archive(job: Job) -> dict[str, Any]:
    """Archive everything on the attached volume, unless the snapshot is archived already."""
    recipe = _recipe(job)
    if job.check_mode:
        return _predicted(job.asked, *_found(job, recipe))
    with claimed(job) as lane, gone_after_a_stop(job, lane, job.asked["volume_id"]):
        snapshot, there = _found(job, recipe)
        if job.claim is None:
            claims.refuse_held(job.store, ours.claim_key(recipe.prefix, snapshot.snapshot_id))
        if there is not None:
            lane.renew()
            tidy(job.store, there)
            return _predicted(job.asked, snapshot, there)
        _check(job)
        done = _archived(job, disk.of_snapshot(job, snapshot), snapshot, recipe, lane)
    return _report(done.manifest, done.key, done.changed)


def _found(job: Job, recipe: Recipe) -> tuple[Snapshot, Optional[dict[str, Any]]]:
    """The snapshot, and its manifest if it was archived already."""
    snapshot = _snapshot(job)
    if recipe.goes_to:
        sleeping.check_rule(job.store, recipe.prefix, recipe.goes_to)
    return snapshot, existing(job.store, snapshot, recipe)


def _recipe(job: Job) -> Recipe:
    asked = job.asked
    later = asked["validate_first"] and sleeping.sleeps(asked["storage_class"])
    return Recipe(
        codec=codecs.codec(asked["compression"], asked["compression_level"]),
        digest=hashing.fit(asked["digest"]),
        prefix=asked["prefix"],
        storage_class="STANDARD" if later else asked["storage_class"],
        goes_to=asked["storage_class"] if later else "",
        queue_tag=asked["tag"],
        threads=job.threads(),
        streams=asked["streams"],
        spool=asked["spool"],
        by=BY,
    )


def _snapshot(job: Job) -> Snapshot:
    """The snapshot as it was when claimed, because EC2 may have deleted it since. Without a claim, as EC2 has it now."""
    if job.claim and job.asked["volume_id"]:
        return job.claim.origin
    return queue.readable(queue.one(job.ec2.client, job.asked["snapshot_id"], job.asked["tag"], job.stop))


def _check(job: Job) -> None:
    asked = job.asked
    require_root()
    spool.check(asked["spool"])
    if not asked["volume_id"]:
        raise Refused("volume_id is missing", "Attach one with coldstore.ebs.ebs_temp_volume.")
    if asked["format"] == "image" and volumes.was_mounted(job.ec2, asked["volume_id"]):
        raise Refused(f"{asked['volume_id']} was mounted and may differ from its snapshot", "Make another volume for the image.")


def _archived(job: Job, there: Disk, snapshot: Snapshot, recipe: Recipe, lane: Lane) -> Result:
    asked = job.asked
    with _hydration(there.device, asked["hydrate"]) as ahead:
        soon = ahead.soon if ahead else None
        shared = asked["shared_extents"]
        with disk.opened(job, lane, there, asked["format"], asked["on_read_error"], shared_extents=shared, soon=soon) as opened:
            with _running(ahead, opened, job), disk.sections(opened.sources, recipe.chunk) as sections:
                return archive_snapshot(job.store, snapshot, opened.facts, asked["format"], sections, recipe, lane)


@contextmanager
def _hydration(device: str, wanted: bool) -> Iterator[Optional[Hydration]]:
    """Reads a cold volume ahead of the sources."""
    if not wanted:
        yield None
        return
    with closing(Hydration(device)) as ahead:
        yield ahead


@contextmanager
def _running(ahead: Optional[Hydration], opened: disk.Opened, job: Job) -> Iterator[None]:
    if ahead is None:
        yield
        return
    run = ahead.run
    with background(lambda stop: run(opened.in_use, ordered_map, stop), job.stop):
        yield


def _predicted(asked: Mapping[str, Any], snapshot: Snapshot, there: Optional[dict[str, Any]]) -> dict[str, Any]:
    """What check mode can know. The disk is not mounted, so partitions are not distinguished."""
    key = ours.archive_key(asked["prefix"], snapshot, None, asked["format"], asked["compression"])
    soon = {"key": key, "size": 0, "storage_class": asked["storage_class"]}
    entry = {"key": key, "raw_size": snapshot.size_gib << 30, "objects": [soon]}
    return _report(there or {"archives": [entry]}, ours.manifest_key(asked["prefix"], snapshot), there is None)


def _report(manifest: Mapping[str, Any], key: str, changed: bool) -> dict[str, Any]:
    entries = manifest["archives"]
    objects = [(entry, each) for entry in entries for each in entry["objects"]]
    keys = [each["key"] for _entry, each in objects]
    lost = losses.summed(entries)
    return {
        "changed": changed,
        "manifest": key,
        "archives": entries,
        "keys": keys,
        "bytes_in": sum(entry["raw_size"] for entry in entries),
        "storage_class": ", ".join(sorted({entry.get("goes_to") or each["storage_class"] for entry, each in objects})),
        "bytes_stored": sum(each["size"] for _entry, each in objects),
        "seconds": round(sum(entry.get("seconds", 0) for entry in entries), 3),
        "problems": [problem for entry in entries for problem in entry.get("problems", [])],
        "lost": lost,
        "loss": losses.sentence(lost),
        "diff": {"before": {"archives": [] if changed else keys}, "after": {"archives": keys}},
    }
