# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All snapshots, volumes and images of a region, page by page, and what two snapshots have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from ..common.inventory import Inventory, Known
from ..common.retry import retry
from ..common.stop import Stop
from .pages import pages
from .queue import snapshot_of


class Access(NamedTuple):
    """One account in one region. client: makes a client for a service, 'ec2' or 'ebs'."""

    account: str
    region: str
    client: Callable[[str], Any]


def regions(ec2: Any, stop: Stop) -> list[str]:
    """The regions that are switched on for this account."""
    reply: Mapping[str, Any] = retry(ec2.describe_regions, stop)
    return sorted(each["RegionName"] for each in reply["Regions"])


def read(ec2: Any, account: str, region: str, stop: Stop) -> Inventory:
    """This account's snapshots in the client's region, the volumes that exist, and which AMIs use which snapshot."""
    snapshots = []
    for item in pages(ec2.describe_snapshots, "Snapshots", stop, MaxResults=1000, OwnerIds=["self"]):
        if item["State"] == "completed":
            full = item.get("FullSnapshotSizeInBytes")
            snapshots.append(Known(snapshot_of(item), item.get("StorageTier", "standard"), None if full is None else int(full)))
    volumes = {
        item["VolumeId"]: item.get("SnapshotId") or "" for item in pages(ec2.describe_volumes, "Volumes", stop, MaxResults=1000)
    }
    images: dict[str, list[str]] = {}
    for image in pages(ec2.describe_images, "Images", stop, MaxResults=1000, Owners=["self"]):
        for mapping in image.get("BlockDeviceMappings", []):
            if "SnapshotId" in mapping.get("Ebs", {}):
                images.setdefault(mapping["Ebs"]["SnapshotId"], []).append(image["ImageId"])
    return Inventory(account, region, snapshots, volumes, images)


def blocks(ebs: Any, first: str, second: str, stop: Stop) -> int:
    """How many blocks of the second snapshot differ from the first's, by the EBS direct APIs; with '' how many it holds.

    Blocks that only the first holds are not counted. A request brings up to 10,000.
    """
    if not first:
        return sum(1 for _block in pages(ebs.list_snapshot_blocks, "Blocks", stop, SnapshotId=second, MaxResults=10000))
    arguments: dict[str, Any] = {"FirstSnapshotId": first, "SecondSnapshotId": second, "MaxResults": 10000}
    return sum("SecondBlockToken" in block for block in pages(ebs.list_changed_blocks, "ChangedBlocks", stop, **arguments))
