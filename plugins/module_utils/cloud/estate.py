# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All snapshots, volumes and images of a region, page by page, and what two snapshots have in common."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from ..common.estate import BINNED, FAST, IMAGES, LOCKS, SNAPSHOTS, VOLUMES, Binned, Estate, Known
from ..common.retry import retry
from ..common.stop import Stop
from .pages import pages
from .questions import Questions
from .queue import snapshot_of


def regions(ec2: Any, stop: Stop) -> list[str]:
    """The regions that are switched on for this account."""
    reply: Mapping[str, Any] = retry(ec2.describe_regions, stop)
    return sorted(each["RegionName"] for each in reply["Regions"])


def read(questions: Questions, stop: Stop) -> Estate:
    """This account's snapshots in the region, the volumes that exist, and what stands against deleting, as far as EC2 answers."""
    ask = questions.ask
    snapshots = ask(SNAPSHOTS, "ec2:DescribeSnapshots", lambda ec2: _snapshots(ec2, stop))
    volumes = ask(VOLUMES, "ec2:DescribeVolumes", lambda ec2: _volumes(ec2, stop))
    images = ask(IMAGES, "ec2:DescribeImages", lambda ec2: _images(ec2, stop))
    fast = ask(FAST, "ec2:DescribeFastSnapshotRestores", lambda ec2: _fast(ec2, stop))
    locks = ask(LOCKS, "ec2:DescribeLockedSnapshots", lambda ec2: _locks(ec2, stop))
    binned = ask(BINNED, "ec2:ListSnapshotsInRecycleBin", lambda ec2: _binned(ec2, stop))
    account, region, _client = questions.access
    return Estate(
        account, region, snapshots or [], volumes or {}, images or {}, questions.not_asked, fast or {}, locks or {}, binned or {}
    )


def _snapshots(ec2: Any, stop: Stop) -> list[Known]:
    found = []
    for item in pages(ec2.describe_snapshots, "Snapshots", stop, MaxResults=1000, OwnerIds=["self"]):
        if item["State"] == "completed":
            full = item.get("FullSnapshotSizeInBytes")
            found.append(Known(snapshot_of(item), item.get("StorageTier", "standard"), None if full is None else int(full)))
    return found


def _volumes(ec2: Any, stop: Stop) -> dict[str, str]:
    found = pages(ec2.describe_volumes, "Volumes", stop, MaxResults=1000)
    return {item["VolumeId"]: item.get("SnapshotId") or "" for item in found}


def _images(ec2: Any, stop: Stop) -> dict[str, list[str]]:
    """Those that are disabled, too: they hold their snapshots as well."""
    found: dict[str, list[str]] = {}
    for image in pages(ec2.describe_images, "Images", stop, MaxResults=1000, Owners=["self"], IncludeDisabled=True):
        name = f"{image['ImageId']} (disabled)" if image.get("State") == "disabled" else image["ImageId"]
        for mapping in image.get("BlockDeviceMappings", []):
            if "SnapshotId" in mapping.get("Ebs", {}):
                found.setdefault(mapping["Ebs"]["SnapshotId"], []).append(name)
    return found


def _fast(ec2: Any, stop: Stop) -> dict[str, list[str]]:
    """The zones in which fast restore is on, or about to be, by snapshot."""
    states = [{"Name": "state", "Values": ["enabling", "optimizing", "enabled"]}]
    found: dict[str, list[str]] = {}
    for item in pages(ec2.describe_fast_snapshot_restores, "FastSnapshotRestores", stop, MaxResults=200, Filters=states):
        found.setdefault(item["SnapshotId"], []).append(item["AvailabilityZone"])
    return found


def _locks(ec2: Any, stop: Stop) -> dict[str, str]:
    """Until when each is locked."""
    found = pages(ec2.describe_locked_snapshots, "Snapshots", stop, MaxResults=1000)
    return {item["SnapshotId"]: item["LockExpiresOn"].date().isoformat() for item in found if item["LockState"] != "expired"}


def _binned(ec2: Any, stop: Stop) -> dict[str, Binned]:
    """What is in the Recycle Bin."""
    found = pages(ec2.list_snapshots_in_recycle_bin, "Snapshots", stop, MaxResults=1000)
    return {
        item["SnapshotId"]: Binned(
            item.get("VolumeId", ""), item.get("Description", ""), item["RecycleBinExitTime"].date().isoformat()
        )
        for item in found
    }


def shared(ec2: Any, snapshot_ids: Iterable[str], stop: Stop) -> dict[str, list[str]]:
    """With which accounts each of these snapshots is shared, 'everybody' among them; a request each. Others are left out."""
    found: dict[str, list[str]] = {}
    for snapshot_id in snapshot_ids:
        asked = functools.partial(ec2.describe_snapshot_attribute, SnapshotId=snapshot_id, Attribute="createVolumePermission")
        reply: Mapping[str, Any] = retry(asked, stop, snapshot=snapshot_id)
        if reply.get("CreateVolumePermissions"):
            found[snapshot_id] = [each.get("UserId", "everybody") for each in reply["CreateVolumePermissions"]]
    return found


def blocks(ebs: Any, first: str, second: str, stop: Stop) -> int:
    """How many blocks of the second snapshot differ from the first, by the EBS direct APIs; if first is '', how many it holds.

    Blocks that only the first one holds are not counted. One request returns up to 10,000.
    """
    if not first:
        return sum(1 for _block in pages(ebs.list_snapshot_blocks, "Blocks", stop, SnapshotId=second, MaxResults=10000))
    arguments: dict[str, Any] = {"FirstSnapshotId": first, "SecondSnapshotId": second, "MaxResults": 10000}
    return sum("SecondBlockToken" in block for block in pages(ebs.list_changed_blocks, "ChangedBlocks", stop, **arguments))
