# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary volumes: found again by their tags, marked, kept, removed.

A volume is ours if it has the tag coldstore.ebs:snapshot; no other volume is ever detached or deleted. Its tags also name the claim
it was made under, by the claim's object and token. Whoever holds the claim later reuses it instead of making another one, and
writes its own token; from then on the volume no longer belongs to the lane before. Two runs into two buckets have different claim
objects and never share a volume, and a volume to restore to belongs only to its maker. A call that fails removes what it made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ..common.errors import ColdstoreError, Lost, Refused
from ..common.lane import FREE, Holder, Lane
from .calls import Calls, describe, state_of, tags_of

SNAPSHOT_TAG = "coldstore.ebs:snapshot"
RESTORED_TAG = "coldstore.ebs:restored"
FORMAT_TAG = "coldstore.ebs:format"
MOUNTED_TAG = "coldstore.ebs:mounted"
CLAIM_TAG = "coldstore.ebs:claim"
HOLDER_TAG = "coldstore.ebs:token"
_OURS = (SNAPSHOT_TAG, FORMAT_TAG, MOUNTED_TAG, CLAIM_TAG, HOLDER_TAG)  # a volume that is kept loses them
_LONGEST = 256  # characters of a tag's value


def find(calls: Calls, snapshot_id: str) -> list[dict[str, Any]]:
    """Our volumes of a snapshot, as EC2 describes them."""
    filters = [{"Name": f"tag:{SNAPSHOT_TAG}", "Values": [snapshot_id]}]
    return [
        v for v in calls.pages("describe_volumes", "Volumes", Filters=filters) if v["State"] in ("creating", "available", "in-use")
    ]


def blanks(calls: Calls, snapshot_id: str) -> list[dict[str, Any]]:
    """Our volumes that were made empty, to restore a snapshot to."""
    return [volume for volume in find(calls, snapshot_id) if tags_of(volume).get(FORMAT_TAG) == "restore"]


def removable(calls: Calls, snapshot_id: str, holder: Holder = FREE.holder) -> list[str]:
    """Our volumes of a snapshot that were made or adopted under exactly this claim; without a claim, those made without one, but
    none to restore to: nobody knows whose it is."""
    made = [volume for volume in find(calls, snapshot_id) if holder.claim or tags_of(volume).get(FORMAT_TAG) != "restore"]
    return [str(volume["VolumeId"]) for volume in made if is_of(tags_of(volume), holder)]


def made_under(calls: Calls, volume_id: str) -> tuple[str, Holder]:
    """The snapshot of one of our volumes, and the claim it was made or adopted under; both empty for other volumes."""
    tags = tags_of(describe(calls, volume_id) or {})
    return tags.get(SNAPSHOT_TAG, ""), Holder(tags.get(CLAIM_TAG, ""), tags.get(HOLDER_TAG, ""))


def absent(calls: Calls, volume_id: str, lane: Lane = FREE, check: bool = False) -> bool:
    """Detach and delete one of our volumes. Returns whether there was anything to do. Raises Refused for a volume that is not ours.

    Raises Lost if it was made under another claim than the lane's, or if that claim is gone. check: change nothing.
    """
    volume = describe(calls, volume_id)
    if volume is None:
        return False
    tags = tags_of(volume)
    if SNAPSHOT_TAG not in tags:
        raise Refused(f"{volume_id} is not a temporary volume of coldstore.ebs: it lacks the tag {SNAPSHOT_TAG}")
    if CLAIM_TAG in tags and not is_of(tags, lane.holder):
        raise Lost(
            f"{volume_id} was made or is used under the claim {tags[CLAIM_TAG]}",
            "Only the holder of that claim may remove it; once nobody holds it, name its bucket, without a claim.",
            volume=volume_id,
        )
    if check:
        return True
    lane.renew()
    there = _detach(calls, volume)
    lane.check()
    if there:
        calls("delete_volume", VolumeId=volume_id)
    return True


def remove_after(why: BaseException, calls: Calls, volume_id: str, lane: Lane = FREE) -> bool:
    """Clean up after a failure or a stop. Returns whether the volume is gone; if it stays, the error says so."""
    try:
        absent(calls.calm(), volume_id, lane)
    except ColdstoreError as error:
        if isinstance(why, ColdstoreError):
            why.at(left_behind=f"{volume_id} ({error.message})")
        return False
    return True


def keep(calls: Calls, volume_id: str, check: bool = False) -> bool:
    """Keep a restored volume: detach it, and drop the tags that allow removing it. Returns whether there was anything to do.

    Raises Refused for a volume that was not made to restore to. check: change nothing.
    """
    volume = describe(calls, volume_id)
    tags = tags_of(volume or {})
    if volume is None or (RESTORED_TAG not in tags and tags.get(FORMAT_TAG) != "restore"):
        raise Refused(f"{volume_id} is not a volume that coldstore.ebs restored", "Correct volume_id.", volume=volume_id)
    todo = SNAPSHOT_TAG in tags or bool(volume.get("Attachments"))
    if check or not todo:
        return todo
    _detach(calls, volume)
    if SNAPSHOT_TAG in tags:
        calls("create_tags", Resources=[volume_id], Tags=[{"Key": RESTORED_TAG, "Value": tags[SNAPSHOT_TAG]}])
        calls("delete_tags", Resources=[volume_id], Tags=[{"Key": name} for name in _OURS])
    return True


def is_blank(calls: Calls, volume_id: str) -> bool:
    """Whether a volume was made empty by us, to restore this one snapshot to."""
    volume = describe(calls, volume_id)
    return volume is not None and {"Key": FORMAT_TAG, "Value": "restore"} in volume.get("Tags", [])


def mark_mounted(calls: Calls, volume_id: str) -> None:
    """Record that a volume may differ from the snapshot, because mounting may replay its journal."""
    calls("create_tags", Resources=[volume_id], Tags=[{"Key": MOUNTED_TAG, "Value": "true"}])


def was_mounted(calls: Calls, volume_id: str) -> bool:
    volume = describe(calls, volume_id)
    return volume is not None and MOUNTED_TAG in {tag["Key"] for tag in volume.get("Tags", [])}


def claim_value(claim: str) -> str:
    """A claim's object as the value of a tag. If it is too long, its end is replaced by a digest."""
    if len(claim) <= _LONGEST:
        return claim
    return claim[: _LONGEST - 65] + "#" + hashlib.sha256(claim.encode("utf-8")).hexdigest()


def _detach(calls: Calls, volume: Mapping[str, Any]) -> bool:
    """Whether it is still there, and not gone meanwhile."""
    volume_id = volume["VolumeId"]
    for attachment in volume.get("Attachments", []):
        if attachment["State"] != "detaching":
            calls("detach_volume", VolumeId=volume_id, InstanceId=attachment["InstanceId"])
    state = "in-use"

    def free() -> bool:
        nonlocal state
        state = state_of(calls, volume_id)
        return state in ("available", "")

    calls.wait("the volume is still being detached", free, volume=volume_id)
    return bool(state)


def is_of(tags: Mapping[str, str], holder: Holder) -> bool:
    return (tags.get(CLAIM_TAG, ""), tags.get(HOLDER_TAG, "")) == (claim_value(holder.claim), holder.token)


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
