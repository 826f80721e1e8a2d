# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary volume of a snapshot, attached to an instance while a body begins to use it.

Whoever holds the claim uses a volume again that was made under it, rather than making another, and writes its own token. What a
failed call made, it removes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional

from ..common.errors import ColdstoreError, Permanent, Refused, Unfit
from ..common.lane import FREE, Holder, Lane
from .calls import Calls, attachment_of, device_name_of, instance_of, state_of, tags_of, zone_of
from .queue import exists
from .volumes import CLAIM_TAG, FORMAT_TAG, HOLDER_TAG, MOUNTED_TAG, SNAPSHOT_TAG, claim_value, find, is_of, pairs, remove_after

_LETTERS = "fghijklmnop"  # AWS recommends /dev/sd[f-p] for data volumes
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


def usable(calls: Calls, wish: Wish, instance_id: str, holder: Holder = FREE.holder) -> Optional[dict[str, Any]]:
    """A volume that fits the wish and was made under the same claim's object (or also without one): of this format, free or
    attached to this instance, in its zone, and never mounted if it is for an image. An empty one never fits, since another lane may
    be restoring to it."""
    if wish.form == "restore":
        return None
    zone = zone_of(calls, instance_id)
    for volume in find(calls, wish.snapshot_id):
        tags = tags_of(volume)
        elsewhere = [a for a in volume.get("Attachments", []) if a["InstanceId"] != instance_id]
        if tags.get(FORMAT_TAG) != wish.form or elsewhere or volume["AvailabilityZone"] != zone:
            continue
        if wish.form == "image" and MOUNTED_TAG in tags:
            continue
        if tags.get(CLAIM_TAG, "") != claim_value(holder.claim):
            continue
        return volume
    return None


@contextmanager
def attached(calls: Calls, wish: Wish, instance_id: str, announce: Callable[[str], None], lane: Lane = FREE) -> Iterator[Volume]:
    """Attach a volume of the snapshot to the instance. A volume made here is removed if this or the body fails, unless its snapshot
    is gone from EC2 by then: it may be the last copy.

    announce is called with the volume's id before its disk appears. Raises Lost if the lane's claim is gone; then the volume stays
    for whoever holds the claim now.
    """
    lane.renew()
    volume = usable(calls, wish, instance_id, lane.holder)
    created = volume is None
    volume_id = _create(calls, wish, instance_id, lane.holder) if volume is None else str(volume["VolumeId"])
    if volume is not None and not is_of(tags_of(volume), lane.holder):
        calls("create_tags", Resources=[volume_id], Tags=pairs({HOLDER_TAG: lane.holder.token}))
    try:
        _wait_until_made(calls, wish, volume_id)
        attached_as = "" if created else device_name_of(calls, volume_id)
        detached = not attached_as
        if detached:
            announce(volume_id)
        lane.check()  # another lane may have attached it meanwhile
        if detached:
            attached_as = _attach(calls, volume_id, instance_id)
        calls.wait("the volume is not attached", lambda: attachment_of(calls, volume_id) == "attached", volume=volume_id)
        lane.check()
        mapping = {"DeviceName": attached_as, "Ebs": {"VolumeId": volume_id, "DeleteOnTermination": True}}
        calls("modify_instance_attribute", InstanceId=instance_id, BlockDeviceMappings=[mapping])
        yield Volume(volume_id, attached_as, created or detached)
    except BaseException as error:
        if created and not _may_be_last(error, calls, wish, volume_id):
            remove_after(error, calls, volume_id, lane)
        raise


def _may_be_last(why: BaseException, calls: Calls, wish: Wish, volume_id: str) -> bool:
    """Whether the volume may be all that is left of its snapshot; then the error says so. So it does if EC2 does not answer."""
    if wish.size_gib is not None:
        return False
    calm = calls.calm()
    try:
        reason = "" if exists(calm.client, wish.snapshot_id, calm.stop) else f"{wish.snapshot_id} is gone from EC2"
    except ColdstoreError as error:
        reason = error.message
    if reason and isinstance(why, ColdstoreError):
        why.at(left_behind=f"{volume_id} ({reason})")
    return bool(reason)


def _create(calls: Calls, wish: Wish, instance_id: str, holder: Holder) -> str:
    arguments: dict[str, Any] = {
        **({"SnapshotId": wish.snapshot_id} if wish.size_gib is None else {"Size": wish.size_gib}),
        "AvailabilityZone": zone_of(calls, instance_id),
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
        state = state_of(calls, volume_id)
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
        tags.update({CLAIM_TAG: claim_value(holder.claim), HOLDER_TAG: holder.token})
    return pairs(tags)


def _attach(calls: Calls, volume_id: str, instance_id: str) -> str:
    """Attach under a free name. If another lane of the same instance takes it first, try the next one."""
    taken: set[str] = set()
    while True:
        instance = instance_of(calls, instance_id)
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
