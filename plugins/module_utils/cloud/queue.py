# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots by tag, and the tags that mirror claims for people. Tags decide nothing; claims do.

The queue tag (default snap-to-s3) goes migrate -> migrating -> migrated -> validating -> validated, or failed, with the reason in
a second tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timezone
from typing import Any, Optional

from ..common.advised import Advice, as_tags
from ..common.errors import ColdstoreError, Permanent, Refused, Stopped
from ..common.retry import retry
from ..common.snapshot import Snapshot
from ..common.stop import Stop
from ..common.tags import readable as tag_value
from .pages import pages

# purpose -> (what waits in the queue, what is being worked on, the result)
STATES = {"migrate": ("migrate", "migrating", "migrated"), "validate": ("migrated", "validating", "validated")}
_ORDER = tuple(dict.fromkeys(mark for marks in STATES.values() for mark in marks))
_GONE = "InvalidSnapshot.NotFound"
_FILTER_VALUES = 200  # EC2's limit of values in one filter


@dataclass(frozen=True)
class Candidate:
    """A snapshot that might be worked on. state and tier are EC2's; mark is its queue tag, '' if it has none."""

    snapshot: Snapshot
    state: str
    tier: str
    mark: str


def waiting(ec2: Any, tag: str, purpose: str, stop: Stop) -> list[Candidate]:
    """This account's snapshots that are waiting by their tag, oldest first, then those that are being worked on by their tag."""
    queued, working, _done = STATES[purpose]
    found = _describe(ec2, stop, tag, OwnerIds=["self"], Filters=[{"Name": f"tag:{tag}", "Values": [queued, working]}])
    return sorted(found, key=lambda c: (c.mark == working, c.snapshot.start_time, c.snapshot.snapshot_id))


def listed(
    ec2: Any, snapshot_ids: Iterable[str], tag: str, purpose: str, stop: Stop
) -> tuple[list[Candidate], dict[str, ColdstoreError]]:
    """Snapshots by id, whatever their tag, and an error for each other id: it does not exist, or belongs to another account.

    Those that are being worked on or done, by their tag, come last. Otherwise each turn would look at all claims of a long list
    again.
    """
    wanted = list(dict.fromkeys(snapshot_ids))
    found = {each.snapshot.snapshot_id: each for some in _by_id(ec2, stop, tag, wanted, OwnerIds=["self"]) for each in some}
    missing = [snapshot_id for snapshot_id in wanted if snapshot_id not in found]
    shared = {each.snapshot.snapshot_id: each.snapshot for some in _by_id(ec2, stop, tag, missing) for each in some}
    last = _ORDER[_ORDER.index(STATES[purpose][1]) :]
    candidates = [found[snapshot_id] for snapshot_id in wanted if snapshot_id in found]
    candidates.sort(key=lambda c: last.index(c.mark) if c.mark in last else -1)
    return candidates, {snapshot_id: _missing(snapshot_id, shared.get(snapshot_id)) for snapshot_id in missing}


def one(ec2: Any, snapshot_id: str, tag: str, stop: Stop) -> Candidate:
    """A snapshot by id, whatever its tag. Raises Refused if it does not exist or belongs to another account."""
    candidates, missing = listed(ec2, [snapshot_id], tag, "migrate", stop)
    if missing:
        raise missing[snapshot_id]
    return candidates[0]


def exists(ec2: Any, snapshot_id: str, stop: Stop) -> bool:
    """Whether EC2 has the snapshot, of whatever account."""
    return any(found for found in _by_id(ec2, stop, "", [snapshot_id]))


def _missing(snapshot_id: str, shared: Optional[Snapshot]) -> ColdstoreError:
    if shared is not None:
        return Refused(f"{snapshot_id} belongs to account {shared.owner_id}", "Copy it into this account first (CopySnapshot).")
    return Refused(f"{snapshot_id} does not exist in this region", "Correct the id or the region.")


def readable(candidate: Candidate) -> Snapshot:
    """The snapshot, if volumes can be made from it now. Raises Refused with what to do, or Permanent if nothing helps."""
    snapshot = candidate.snapshot
    if candidate.tier == "archive":
        raise Refused(
            "the snapshot is in the archive tier and cannot be read",
            "Restore it first (aws ec2 restore-snapshot-tier; $0.03 a GiB, up to 72 hours).",
            snapshot=snapshot.snapshot_id,
        )
    if candidate.state == "error":
        raise Permanent(
            "the snapshot's state is error, not completed",
            "EC2 could not create it; it cannot be used.",
            snapshot=snapshot.snapshot_id,
        )
    if candidate.state != "completed":
        raise Refused(
            f"the snapshot's state is {candidate.state}, not completed", "Wait until it is.", snapshot=snapshot.snapshot_id
        )
    return snapshot


def mark_of(purpose: str, standing: str, before: str = "") -> str:
    """The value of the queue tag for the standing of a claim: held, free, or a result.

    before: what the tag said when the claim was taken, '' if nothing. A validation that is given back leaves it so: it proved
    nothing, and may not call a snapshot migrated.
    """
    queued, working, _done = STATES[purpose]
    if purpose == "validate" and standing == "free" and before != working:
        return before
    return {"held": working, "free": queued}.get(standing, standing)


def mirror(
    ec2: Any, snapshot_id: str, tag: str, mark: str, reason: str = "", clear: bool = True, done: Iterable[str] = ()
) -> Optional[str]:
    """Set the queue tag to `mark`, or remove it if that is '', and the second tag to the reason; without a reason remove it if
    `clear`. A warning if it fails.

    done: keys of further tags to remove, since what they ask for has been done.

    A claim holds whatever the tags say, so a denied or failed call ends nothing. A snapshot that is gone has no tags to set.
    """
    companion = f"{tag}-reason"
    tags = [{"Key": tag, "Value": mark}] if mark else []
    if reason:
        tags.append({"Key": companion, "Value": tag_value(reason)})
    try:
        if tags:
            retry(lambda: ec2.create_tags(Resources=[snapshot_id], Tags=tags), Stop(), snapshot=snapshot_id)
        over = [*([] if mark else [tag]), *([companion] if clear and not reason else []), *done]
        if over:
            keys = [{"Key": key} for key in over]
            retry(lambda: ec2.delete_tags(Resources=[snapshot_id], Tags=keys), Stop(), snapshot=snapshot_id)
    except ColdstoreError as error:
        return None if error.facts.get("code") == _GONE else _unseen(snapshot_id, error)
    return None


def back_in_line(ec2: Any, snapshot: Snapshot, tag: str, reason: str, standing: str = "free") -> Optional[str]:
    """Set the tag of a snapshot whose claim was given back to what is waiting, whatever was being done, or to the result that still
    holds. snapshot: as it was when claimed. A warning if it fails."""
    snapshot_id = snapshot.snapshot_id
    waiting_for = {
        working: mark_of(purpose, standing, snapshot.tags.get(tag, "")) for purpose, (_queued, working, _done) in STATES.items()
    }
    try:
        marks = [each.mark for found in _by_id(ec2, Stop(), tag, [snapshot_id], OwnerIds=["self"]) for each in found]
    except ColdstoreError as error:
        return _unseen(snapshot_id, error)
    warnings = [mirror(ec2, snapshot_id, tag, waiting_for[mark], reason) for mark in marks if mark in waiting_for]
    return warnings[0] if warnings else None


def _unseen(snapshot_id: str, error: ColdstoreError) -> str:
    return f"the tags of {snapshot_id} could not be updated and do not show its state: {error.message}"


def note(ec2: Any, snapshot_id: str, tag: str, reason: str) -> Optional[str]:
    """Say beside the queue tag why a snapshot was passed over; a warning if it fails."""
    tags = [{"Key": f"{tag}-reason", "Value": tag_value(reason)}]
    try:
        retry(lambda: ec2.create_tags(Resources=[snapshot_id], Tags=tags), Stop(), snapshot=snapshot_id)
    except ColdstoreError as error:
        return _unseen(snapshot_id, error)
    return None


def enqueue(
    ec2: Any, snapshot_ids: Iterable[str], tag: str, advice: Advice, check: bool, stop: Stop
) -> tuple[list[str], dict[str, str]]:
    """Tag those snapshots for migration, as advised, that have no queue tag yet. Returns them, and why others could not be tagged.
    With `check` nothing is tagged.

    A snapshot with a queue tag, whatever its value, waits, is being migrated, failed or is done, and stays as it is. Snapshots that
    no longer exist are left out.
    """
    pairs = [{"Key": key, "Value": value} for key, value in wanted_tags(tag, advice).items()]
    added: list[str] = []
    failed: dict[str, str] = {}
    for found in _by_id(ec2, stop, tag, list(dict.fromkeys(snapshot_ids)), OwnerIds=["self"]):
        fresh = [each.snapshot.snapshot_id for each in found if not each.mark]
        refused = _set_tags(ec2, fresh, pairs, stop) if fresh and not check else {}
        added += [each for each in fresh if each not in refused]
        failed.update(refused)
    return added, failed


def wanted_tags(tag: str, advice: Advice) -> dict[str, str]:
    """What a snapshot that is to be migrated has, as advised."""
    return {tag: STATES["migrate"][0], **as_tags(tag, advice)}


def _set_tags(ec2: Any, snapshot_ids: list[str], pairs: list[dict[str, str]], stop: Stop) -> dict[str, str]:
    """Why some could not be tagged. One that has too many tags, or is gone since, keeps none of the others from theirs."""
    try:
        retry(lambda: ec2.create_tags(Resources=snapshot_ids, Tags=pairs), stop)
    except Stopped:
        raise
    except ColdstoreError as error:
        if isinstance(error, Permanent) and len(snapshot_ids) > 1:
            return {each: why for one in snapshot_ids for each, why in _set_tags(ec2, [one], pairs, stop).items()}
        return dict.fromkeys(snapshot_ids, str(error))
    return {}


def _by_id(ec2: Any, stop: Stop, tag: str, snapshot_ids: list[str], **whose: Any) -> Iterator[list[Candidate]]:
    """The snapshots among these that exist and are visible, as many at a time as fit in a filter."""
    for at in range(0, len(snapshot_ids), _FILTER_VALUES):
        ids = [{"Name": "snapshot-id", "Values": snapshot_ids[at : at + _FILTER_VALUES]}]
        yield _describe(ec2, stop, tag, Filters=ids, **whose)


def _describe(ec2: Any, stop: Stop, tag: str, **arguments: Any) -> list[Candidate]:
    return [_candidate(item, tag) for item in pages(ec2.describe_snapshots, "Snapshots", stop, MaxResults=1000, **arguments)]


def snapshot_of(item: Mapping[str, Any]) -> Snapshot:
    """A snapshot, from an item of DescribeSnapshots."""
    start = item["StartTime"].astimezone(timezone.utc).replace(microsecond=0)
    return Snapshot(
        snapshot_id=item["SnapshotId"],
        volume_id=item["VolumeId"],
        start_time=start.isoformat(),
        size_gib=int(item["VolumeSize"]),
        description=item.get("Description", ""),
        owner_id=item.get("OwnerId", ""),
        encrypted=bool(item.get("Encrypted", False)),
        kms_key_id=item.get("KmsKeyId", ""),
        tags={pair["Key"]: pair["Value"] for pair in item.get("Tags", [])},
    )


def _candidate(item: Mapping[str, Any], tag: str) -> Candidate:
    snapshot = snapshot_of(item)
    return Candidate(snapshot, item["State"], item.get("StorageTier", "standard"), snapshot.tags.get(tag, ""))
