# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary volumes: made from a snapshot, attached, found again by their tags, removed.

A volume is ours if it has the tag coldstore.ebs:snapshot; no other volume is ever detached or deleted. Its tags also name the claim
it was made under, by the claim's object and token. Whoever holds the claim later reuses it instead of making another one, and
writes its own token; from then on the volume no longer belongs to the lane before. Two runs into two buckets have different claim
objects and never share a volume, and a volume to restore to belongs only to its maker. A call that fails removes what it made.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional

from ..common.clock import Clock
from ..common.errors import ColdstoreError, Lost, Permanent, Refused, Unfit
from ..common.lane import FREE, Holder, Lane
from ..common.retry import retry
from ..common.stop import Stop
from .pages import pages

SNAPSHOT_TAG = "coldstore.ebs:snapshot"
RESTORED_TAG = "coldstore.ebs:restored"
FORMAT_TAG = "coldstore.ebs:format"
MOUNTED_TAG = "coldstore.ebs:mounted"
CLAIM_TAG = "coldstore.ebs:claim"
HOLDER_TAG = "coldstore.ebs:token"
_OURS = (SNAPSHOT_TAG, FORMAT_TAG, MOUNTED_TAG, CLAIM_TAG, HOLDER_TAG)  # a volume that is kept loses them
_LONGEST = 256  # characters of a tag's value
_LETTERS = "fghijklmnop"  # AWS recommends /dev/sd[f-p] for data volumes
_PAUSE = 2.0  # seconds between looks at a state
_UNSEEN = 30.0  # seconds after which EC2 has to know a new volume everywhere


@dataclass(frozen=True)
class Wish:
    """The volume wanted. form: tar or image (made from the snapshot), or restore (empty, of size_gib).

    iops, throughput (MiB/s) and initialization_rate (MiB/s): None leaves AWS's default.
    """

    snapshot_id: str
    form: str
    volume_type: str = "gp3"
    iops: Optional[int] = None
    throughput: Optional[int] = None
    initialization_rate: Optional[int] = None
    kms_key_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    size_gib: Optional[int] = None
    encrypted: bool = False


class Volume(NamedTuple):
    """An attached temporary volume; changed says whether anything had to be done for it."""

    volume_id: str
    attached_as: str
    changed: bool


class Calls:
    """The EC2 client with retries, a stop and a deadline."""

    def __init__(self, ec2: Any, stop: Stop, clock: Optional[Clock] = None, timeout: float = 600, pause: float = _PAUSE) -> None:
        self.ec2 = ec2
        self.stop = stop
        self.clock = clock or Clock()
        self.timeout = timeout
        self.pause = pause
        self.instances: dict[str, dict[str, Any]] = {}  # described so far

    def calm(self) -> Calls:
        """The same without the stop: to clear up after it."""
        return Calls(self.ec2, Stop(), self.clock, self.timeout, self.pause)

    def __call__(self, name: str, **arguments: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {"volume": arguments.get("VolumeId"), "snapshot": arguments.get("SnapshotId")}
        return retry(lambda: getattr(self.ec2, name)(**arguments), self.stop, self.clock, **facts)

    def pages(self, name: str, field_name: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        return pages(getattr(self.ec2, name), field_name, self.stop, self.clock, **arguments)

    def wait(self, what: str, look: Callable[[], bool], **facts: Any) -> None:
        """Wait until look() is true. Raises Permanent after the timeout, Stopped on a stop."""
        end = self.clock.monotonic() + self.timeout
        while not look():
            self.stop.check()
            if self.clock.monotonic() >= end:
                raise Permanent(f"{what} after {self.timeout:g} s", "Check it in the EC2 console, then run again.", **facts)
            self.clock.sleep(self.pause, self.stop)


def find(calls: Calls, snapshot_id: str) -> list[dict[str, Any]]:
    """Our volumes of a snapshot, as EC2 describes them."""
    filters = [{"Name": f"tag:{SNAPSHOT_TAG}", "Values": [snapshot_id]}]
    return [
        v for v in calls.pages("describe_volumes", "Volumes", Filters=filters) if v["State"] in ("creating", "available", "in-use")
    ]


def blanks(calls: Calls, snapshot_id: str) -> list[dict[str, Any]]:
    """Our volumes that were made empty, to restore a snapshot to."""
    return [volume for volume in find(calls, snapshot_id) if _tags_of(volume).get(FORMAT_TAG) == "restore"]


def usable(calls: Calls, wish: Wish, instance_id: str, holder: Holder = FREE.holder) -> Optional[dict[str, Any]]:
    """A volume that fits the wish and was made under the same claim's object (or also without one): of this format, free or
    attached to this instance, in its zone, and never mounted if it is for an image. An empty one never fits, since another lane may
    be restoring to it."""
    if wish.form == "restore":
        return None
    zone = _zone(calls, instance_id)
    for volume in find(calls, wish.snapshot_id):
        tags = _tags_of(volume)
        elsewhere = [a for a in volume.get("Attachments", []) if a["InstanceId"] != instance_id]
        if tags.get(FORMAT_TAG) != wish.form or elsewhere or volume["AvailabilityZone"] != zone:
            continue
        if wish.form == "image" and MOUNTED_TAG in tags:
            continue
        if tags.get(CLAIM_TAG, "") != _claim(holder):
            continue
        return volume
    return None


def removable(calls: Calls, snapshot_id: str, holder: Holder = FREE.holder) -> list[str]:
    """Our volumes of a snapshot that were made or adopted under exactly this claim; without a claim, those made without one."""
    made = [volume for volume in find(calls, snapshot_id) if _tags_of(volume).get(FORMAT_TAG) != "restore"]
    return [str(volume["VolumeId"]) for volume in made if _is_of(_tags_of(volume), holder)]


@contextmanager
def attached(calls: Calls, wish: Wish, instance_id: str, announce: Callable[[str], None], lane: Lane = FREE) -> Iterator[Volume]:
    """Attach a volume of the snapshot to the instance. A volume made here is removed if this or the body fails.

    announce is called with the volume's id before its disk appears. Raises Lost if the lane's claim is gone; then the volume stays
    for whoever holds the claim now.
    """
    lane.renew()
    volume = usable(calls, wish, instance_id, lane.holder)
    created = volume is None
    volume_id = _create(calls, wish, instance_id, lane.holder) if volume is None else str(volume["VolumeId"])
    if volume is not None and not _is_of(_tags_of(volume), lane.holder):
        calls("create_tags", Resources=[volume_id], Tags=_pairs({HOLDER_TAG: lane.holder.token}))
    try:
        _wait_until_made(calls, wish, volume_id)
        attached_as = _attached_as(calls, volume_id)
        detached = not attached_as
        if detached:
            announce(volume_id)
        lane.check()  # another lane may have attached it meanwhile
        if detached:
            attached_as = _attach(calls, volume_id, instance_id)
        calls.wait("the volume is not attached", lambda: _attachment(calls, volume_id) == "attached", volume=volume_id)
        lane.check()
        mapping = {"DeviceName": attached_as, "Ebs": {"VolumeId": volume_id, "DeleteOnTermination": True}}
        calls("modify_instance_attribute", InstanceId=instance_id, BlockDeviceMappings=[mapping])
        yield Volume(volume_id, attached_as, created or detached)
    except BaseException as error:
        if created:
            _remove_quietly(calls, volume_id, lane, error)
        raise


def made_under(calls: Calls, volume_id: str) -> tuple[str, Holder]:
    """The snapshot of one of our volumes, and the claim it was made or adopted under; both empty for other volumes."""
    tags = _tags_of(_describe(calls, volume_id) or {})
    return tags.get(SNAPSHOT_TAG, ""), Holder(tags.get(CLAIM_TAG, ""), tags.get(HOLDER_TAG, ""))


def absent(calls: Calls, volume_id: str, lane: Lane = FREE, check: bool = False) -> bool:
    """Detach and delete one of our volumes. Returns whether there was anything to do. Raises Refused for a volume that is not ours.

    Raises Lost if it was made under another claim than the lane's, or if that claim is gone. check: change nothing.
    """
    volume = _describe(calls, volume_id)
    if volume is None:
        return False
    tags = _tags_of(volume)
    if SNAPSHOT_TAG not in tags:
        raise Refused(f"{volume_id} is not a temporary volume of coldstore.ebs: it lacks the tag {SNAPSHOT_TAG}")
    if CLAIM_TAG in tags and not _is_of(tags, lane.holder):
        raise Lost(
            f"{volume_id} was made or is used under the claim {tags[CLAIM_TAG]}",
            "Only the holder of that claim may remove it; once nobody holds it, name its bucket, without a claim.",
            volume=volume_id,
        )
    if check:
        return True
    lane.renew()
    _detach(calls, volume)
    lane.check()
    if _state(calls, volume_id):
        calls("delete_volume", VolumeId=volume_id)
    return True


def keep(calls: Calls, volume_id: str, check: bool = False) -> bool:
    """Keep a restored volume: detach it, and drop the tags that allow removing it. Returns whether there was anything to do.

    Raises Refused for a volume that was not made to restore to. check: change nothing.
    """
    volume = _describe(calls, volume_id)
    tags = _tags_of(volume or {})
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
    volume = _describe(calls, volume_id)
    return volume is not None and {"Key": FORMAT_TAG, "Value": "restore"} in volume.get("Tags", [])


def _detach(calls: Calls, volume: Mapping[str, Any]) -> None:
    volume_id = volume["VolumeId"]
    for attachment in volume.get("Attachments", []):
        if attachment["State"] != "detaching":
            calls("detach_volume", VolumeId=volume_id, InstanceId=attachment["InstanceId"])
    calls.wait("the volume is still being detached", lambda: _state(calls, volume_id) in ("available", ""), volume=volume_id)


def mark_mounted(calls: Calls, volume_id: str) -> None:
    """Record that a volume may differ from the snapshot, because mounting may replay its journal."""
    calls("create_tags", Resources=[volume_id], Tags=[{"Key": MOUNTED_TAG, "Value": "true"}])


def was_mounted(calls: Calls, volume_id: str) -> bool:
    volume = _describe(calls, volume_id)
    return volume is not None and MOUNTED_TAG in {tag["Key"] for tag in volume.get("Tags", [])}


def _create(calls: Calls, wish: Wish, instance_id: str, holder: Holder) -> str:
    arguments: dict[str, Any] = {
        **({"SnapshotId": wish.snapshot_id} if wish.size_gib is None else {"Size": wish.size_gib}),
        "AvailabilityZone": _zone(calls, instance_id),
        "VolumeType": wish.volume_type,
        "ClientToken": str(uuid.uuid4()),  # the same for every retry of this one request
        "TagSpecifications": [{"ResourceType": "volume", "Tags": _tags(wish, holder)}],
    }
    if wish.iops:
        arguments["Iops"] = wish.iops
    if wish.throughput:
        arguments["Throughput"] = wish.throughput
    if wish.initialization_rate:
        arguments["VolumeInitializationRate"] = wish.initialization_rate
    if wish.kms_key_id:
        arguments.update(Encrypted=True, KmsKeyId=wish.kms_key_id)
    elif wish.encrypted:
        arguments["Encrypted"] = True
    try:
        return str(calls("create_volume", **arguments)["VolumeId"])
    except Permanent as error:
        if error.facts.get("code") == "InvalidSnapshot.NotFound":
            raise Refused(f"{wish.snapshot_id} does not exist in this region", "Correct the id or the region.") from error
        raise


def _wait_until_made(calls: Calls, wish: Wish, volume_id: str) -> None:
    """Wait until EC2 has made the volume. If its key may not be used, the volume just vanishes some seconds later."""
    unseen_until = calls.clock.monotonic() + _UNSEEN

    def made() -> bool:
        nonlocal unseen_until
        state = _state(calls, volume_id)
        if state:
            unseen_until = 0.0
        if state == "error" or (not state and calls.clock.monotonic() > unseen_until):
            raise _unmade(calls, wish, volume_id)
        return state in ("available", "in-use")

    calls.wait("the volume is not available", made, volume=volume_id)


def _unmade(calls: Calls, wish: Wish, volume_id: str) -> ColdstoreError:
    """The error for a volume that EC2 could not create."""
    keys = [wish.kms_key_id] if wish.kms_key_id else []
    if wish.size_gib is None:
        reply = calls("describe_snapshots", SnapshotIds=[wish.snapshot_id])
        keys = [str(each["KmsKeyId"]) for each in reply["Snapshots"] if each.get("KmsKeyId")] + keys
    if not keys and not wish.encrypted:
        return Permanent("EC2 could not create the volume", "Look for the reason in the EC2 console.", volume=volume_id)
    named = f"the KMS key {' or '.join(keys)}" if keys else "the account's default KMS key for EBS"
    return Refused(
        f"EC2 could not create the volume: {named} may not be used, or is disabled",
        "Allow kms:CreateGrant, kms:Decrypt, kms:DescribeKey, kms:GenerateDataKeyWithoutPlaintext, kms:ReEncryptFrom and"
        " kms:ReEncryptTo in the worker's role and in the key's own policy (docs/permissions.md), then run again.",
        volume=volume_id,
        snapshot=wish.snapshot_id,
    )


def _tags(wish: Wish, holder: Holder) -> list[dict[str, str]]:
    tags = dict(wish.tags)
    tags.update({SNAPSHOT_TAG: wish.snapshot_id, FORMAT_TAG: wish.form, "Name": f"coldstore.ebs {wish.snapshot_id}"})
    if holder.claim:
        tags.update({CLAIM_TAG: _claim(holder), HOLDER_TAG: holder.token})
    return _pairs(tags)


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags_of(volume: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}


def _claim(holder: Holder) -> str:
    return claim_value(holder.claim)


def claim_value(claim: str) -> str:
    """A claim's object as the value of a tag. If it is too long, its end is replaced by a digest."""
    if len(claim) <= _LONGEST:
        return claim
    return claim[: _LONGEST - 65] + "#" + hashlib.sha256(claim.encode("utf-8")).hexdigest()


def _is_of(tags: Mapping[str, str], holder: Holder) -> bool:
    return (tags.get(CLAIM_TAG, ""), tags.get(HOLDER_TAG, "")) == (_claim(holder), holder.token)


def _attach(calls: Calls, volume_id: str, instance_id: str) -> str:
    """Attach under a free name. If another lane of the same instance takes it first, try the next one."""
    taken: set[str] = set()
    while True:
        instance = _instance(calls, instance_id)
        mapped = instance.get("BlockDeviceMappings", [])
        taken |= {str(mapping["DeviceName"])[-1:] for mapping in mapped if str(mapping["DeviceName"])[:7] in ("/dev/sd", "/dev/xv")}
        letter = next((each for each in _LETTERS if each not in taken), None)
        if letter is None:
            raise Unfit("no device name is free on the instance", "Use fewer lanes on it.", instance=instance_id)
        try:
            calls("attach_volume", VolumeId=volume_id, InstanceId=instance_id, Device=f"/dev/sd{letter}")
            return f"/dev/sd{letter}"
        except Permanent as error:
            if error.facts.get("code") != "InvalidParameterValue" or "in use" not in error.message:
                raise
            taken.add(letter)
            del calls.instances[instance_id]


def _remove_quietly(calls: Calls, volume_id: str, lane: Lane, why: BaseException) -> None:
    """Clean up after a failure or a stop. What could not be removed is added to the error."""
    try:
        absent(calls.calm(), volume_id, lane)
    except ColdstoreError as error:
        if isinstance(why, ColdstoreError):
            why.at(left_behind=f"{volume_id} ({error.message})")


def _describe(calls: Calls, volume_id: str) -> Optional[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = calls("describe_volumes", VolumeIds=[volume_id])["Volumes"]
    except Permanent as error:
        if error.facts.get("code") == "InvalidVolume.NotFound":
            return None
        raise
    return found[0] if found else None


def _state(calls: Calls, volume_id: str) -> str:
    """EC2's state, '' if the volume is gone."""
    volume = _describe(calls, volume_id)
    return str(volume["State"]) if volume else ""


def _attachment(calls: Calls, volume_id: str) -> str:
    volume = _describe(calls, volume_id)
    if volume is None:
        raise Permanent("the volume is gone", "Somebody deleted it. Run again.", volume=volume_id)
    return "".join(attachment["State"] for attachment in volume.get("Attachments", []))


def _attached_as(calls: Calls, volume_id: str) -> str:
    volume = _describe(calls, volume_id) or {}
    return "".join(attachment["Device"] for attachment in volume.get("Attachments", []))


def _zone(calls: Calls, instance_id: str) -> str:
    return str(_instance(calls, instance_id)["Placement"]["AvailabilityZone"])


def _instance(calls: Calls, instance_id: str) -> dict[str, Any]:
    """The instance, as it was when first described."""
    if instance_id in calls.instances:
        return calls.instances[instance_id]
    try:
        reply = calls("describe_instances", InstanceIds=[instance_id])
        found: dict[str, Any] = reply["Reservations"][0]["Instances"][0]
    except (Permanent, IndexError) as error:
        if isinstance(error, Permanent) and not str(error.facts.get("code")).startswith("InvalidInstanceID"):
            raise
        raise Refused(f"instance {instance_id} does not exist in this region", "Correct instance_id or the region.") from error
    calls.instances[instance_id] = found
    return found
