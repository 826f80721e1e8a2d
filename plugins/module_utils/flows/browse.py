# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the bucket: by key, with details from manifests, by path in indexes, and as a census."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from ..common.errors import Refused
from ..engine.bucket import census, listing, search
from ..engine.selection import Selection
from ..worker import spool
from .job import Job

_COUNTED = ("objects", "unknown", "volumes", "storage_classes", "orphans", "orphan_count")


def browse(job: Job) -> dict[str, Any]:
    """The archives that pass the filters, and whatever else was requested."""
    asked, limit = job.asked, job.asked["limit"]
    if asked["sample"] is not None and asked["sample"] < 1:
        raise Refused(f"a sample of {asked['sample']} archives is none", "Choose 1 or more (coldstore_drill_sample).")
    selection = Selection(asked["paths"] or [], asked["exclude"] or [])
    counted = census.Census() if asked["census"] else None
    found = _matching(job, counted)
    result = {"changed": False, "archive_count": len(found), "truncated": len(found) > limit}
    if asked["paths"]:
        spool.check(asked["spool"])
        result.update(search.members(job.store, found, selection, limit, asked["threads"], asked["spool"]))
        result["truncated"] = result["truncated"] or result["member_count"] > limit
    result["archives"] = [_described(each, asked["details"] or asked["tags"]) for each in found[:limit]]
    asleep = [sentence for each in found for sentence in each.asleep]
    if asleep:
        job.warn(f"sleeping manifests, receipts or indexes: {len(asleep)}, so some facts are not known; the first: {asleep[0]}")
    for each in found:
        for what in each.damaged:
            job.warn(f"{each.snapshot_id}: {what}")
    if counted is not None:
        result["census"] = {
            **{name: getattr(counted, name) for name in _COUNTED},
            "bytes": counted.size,
            "uploads": census.unfinished(job.store, asked["prefix"], job.store.clock.now()),
        }
    return result


def _matching(job: Job, counted: Optional[census.Census]) -> list[listing.Kept]:
    """What passes the filters, with details if they are requested or needed."""
    asked, store = job.asked, job.store
    wanted = listing.Filter(
        frozenset(asked["snapshot_ids"] or ()),
        asked["volume_id"],
        listing.moment(asked["before"]) if asked["before"] else None,
        listing.moment(asked["after"]) if asked["after"] else None,
        asked["state"] or "",
        asked["format"] or "",
        asked["awake"],
    )
    found: Iterable[listing.Kept] = listing.kept(store, asked["prefix"], wanted, counted)
    tags = {str(key): str(value) for key, value in asked["tags"].items()}
    if tags:
        detailed = listing.with_details(store, found, asked["threads"])
        return _fewer(job, (each for each in detailed if tags.items() <= each.details.get("tags", {}).items()))
    chosen = _fewer(job, found)
    return list(listing.with_details(store, chosen, asked["threads"])) if asked["details"] or asked["paths"] else chosen


def _fewer(job: Job, found: Iterable[listing.Kept]) -> list[listing.Kept]:
    """The matches that are wanted."""
    if job.asked["newest"]:
        found = listing.newest(found)
    if job.asked["sample"] is not None:
        found = listing.drawn(found, job.asked["sample"], job.asked["seed"])
    return list(found)


def _described(each: listing.Kept, details: Any) -> dict[str, Any]:
    return {
        "snapshot_id": each.snapshot_id,
        "volume_id": each.volume_id,
        "start_time": each.start_time,
        "state": each.state,
        "layout": each.layout,
        "formats": sorted(each.formats),
        "partitions": each.partitions,
        "manifest": each.manifest,
        "keys": each.keys,
        "objects": each.objects,
        "size": each.size,
        "storage_classes": sorted(each.storage_classes),
        "awake": each.awake,
        "encrypted": each.encrypted,
        "receipts": sorted(each.receipts),
        "asleep": each.asleep,
        "details": each.details if details else {},
        "damaged": each.damaged,
    }
