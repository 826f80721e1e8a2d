# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All snapshots, volumes and images of a region, page by page, and what two snapshots have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.inventory import IMAGES, SNAPSHOTS, VOLUMES, Inventory, Known
from ..common.retry import retry
from ..common.stop import Stop
from .pages import pages
from .questions import Questions
from .queue import snapshot_of


def regions(ec2: Any, stop: Stop) -> list[str]:
    """The regions that are switched on for this account."""
    reply: Mapping[str, Any] = retry(ec2.describe_regions, stop)
    return sorted(each["RegionName"] for each in reply["Regions"])


def read(questions: Questions, stop: Stop) -> Inventory:
    """This account's snapshots in the region, the volumes that exist, and which AMIs use which snapshot, as far as EC2 answers."""
    ask = questions.ask
    snapshots = ask(SNAPSHOTS, "ec2:DescribeSnapshots", lambda ec2: _snapshots(ec2, stop))
    volumes = ask(VOLUMES, "ec2:DescribeVolumes", lambda ec2: _volumes(ec2, stop))
    images = ask(IMAGES, "ec2:DescribeImages", lambda ec2: _images(ec2, stop))
    account, region, _client = questions.access
    return Inventory(account, region, snapshots or [], volumes or {}, images or {}, questions.not_asked)


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
    found: dict[str, list[str]] = {}
    for image in pages(ec2.describe_images, "Images", stop, MaxResults=1000, Owners=["self"]):
        for mapping in image.get("BlockDeviceMappings", []):
            if "SnapshotId" in mapping.get("Ebs", {}):
                found.setdefault(mapping["Ebs"]["SnapshotId"], []).append(image["ImageId"])
    return found


def blocks(ebs: Any, first: str, second: str, stop: Stop) -> int:
    """How many blocks of the second snapshot differ from the first, by the EBS direct APIs; if first is '', how many it holds.

    Blocks that only the first one holds are not counted. One request returns up to 10,000.
    """
    if not first:
        return sum(1 for _block in pages(ebs.list_snapshot_blocks, "Blocks", stop, SnapshotId=second, MaxResults=10000))
    arguments: dict[str, Any] = {"FirstSnapshotId": first, "SecondSnapshotId": second, "MaxResults": 10000}
    return sum("SecondBlockToken" in block for block in pages(ebs.list_changed_blocks, "ChangedBlocks", stop, **arguments))
