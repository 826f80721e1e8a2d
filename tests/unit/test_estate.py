# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 and the EBS direct APIs are asked, page by page."""

from datetime import datetime, timezone

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud import estate
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.questions import Access, Questions
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs as _costs


class Paged:
    """A client that gives two items a page, and remembers what was tagged."""

    def __init__(self, **lists):
        self.lists = lists
        self.tagged = []

    def page(self, name, **asked):
        at = int(asked.get("NextToken") or 0)
        items = self.lists.get(name, [])
        wanted = next((each["Values"] for each in asked.get("Filters", []) if each["Name"] == "snapshot-id"), None)
        items = [each for each in items if wanted is None or each["SnapshotId"] in wanted]
        more = {"NextToken": str(at + 2)} if at + 2 < len(items) else {}
        return {name: items[at : at + 2], **more}

    def describe_snapshots(self, **asked):
        return self.page("Snapshots", **asked)

    def describe_volumes(self, **asked):
        return self.page("Volumes", **asked)

    def describe_images(self, **asked):
        assert asked["IncludeDisabled"]
        return self.page("Images", **asked)

    def describe_fast_snapshot_restores(self, **asked):
        assert asked["Filters"] == [{"Name": "state", "Values": ["enabling", "optimizing", "enabled"]}]
        return self.page("FastSnapshotRestores", MaxResults=asked["MaxResults"], NextToken=asked.get("NextToken"))

    def describe_locked_snapshots(self, **asked):
        return {"Snapshots": self.page("Locked", **asked)["Locked"]}

    def list_snapshots_in_recycle_bin(self, **asked):
        return {"Snapshots": self.page("Binned", **asked)["Binned"]}

    def describe_snapshot_attribute(self, SnapshotId, Attribute):
        return {"CreateVolumePermissions": self.lists["Permissions"].get(SnapshotId, [])}

    def list_snapshot_blocks(self, **asked):
        return self.page("Blocks", **asked)

    def list_changed_blocks(self, **asked):
        return self.page("ChangedBlocks", **asked)

    def create_tags(self, Resources, Tags):
        self.tagged += [(resource, tag["Key"], tag["Value"]) for resource in Resources for tag in Tags]


def snapshot(number, **facts):
    start = datetime(2026, 1, number, tzinfo=timezone.utc)
    return {"SnapshotId": f"snap-{number}", "VolumeId": "vol-1", "StartTime": start, "VolumeSize": 8, "State": "completed", **facts}


def test_a_region_is_read_to_its_last_page():
    """Snapshots, volumes and images; the full size and the tier where EC2 says them; pending ones are left out."""
    image = {"ImageId": "ami-1", "BlockDeviceMappings": [{"Ebs": {"SnapshotId": "snap-2"}}, {"VirtualName": "ephemeral0"}]}
    disabled = {"ImageId": "ami-3", "State": "disabled", "BlockDeviceMappings": [{"Ebs": {"SnapshotId": "snap-2"}}]}
    client = Paged(
        Snapshots=[
            snapshot(1),
            snapshot(2, FullSnapshotSizeInBytes=5),
            snapshot(3, StorageTier="archive"),
            snapshot(4, State="pending"),
            snapshot(5),
        ],
        Volumes=[*({"VolumeId": f"vol-{number}"} for number in range(4)), {"VolumeId": "vol-4", "SnapshotId": "snap-2"}],
        Images=[{"ImageId": "ami-0"}, {"ImageId": "ami-2", "BlockDeviceMappings": []}, image, disabled],
        FastSnapshotRestores=[{"SnapshotId": "snap-1", "AvailabilityZone": f"eu-west-1{zone}"} for zone in "abc"],
        Locked=[
            {"SnapshotId": "snap-2", "LockState": "governance", "LockExpiresOn": datetime(2027, 1, 2, tzinfo=timezone.utc)},
            {"SnapshotId": "snap-3", "LockState": "expired"},
        ],
        Binned=[{"SnapshotId": "snap-9", "VolumeId": "vol-1", "RecycleBinExitTime": datetime(2026, 12, 5, tzinfo=timezone.utc)}],
    )
    found = estate.read(Questions(Access("1", "eu-west-1", lambda _service: client)), Stop())
    assert [(each.snapshot.snapshot_id, each.tier, each.full_bytes) for each in found.snapshots] == [
        ("snap-1", "standard", None), ("snap-2", "standard", 5), ("snap-3", "archive", None), ("snap-5", "standard", None),
    ]  # fmt: skip
    assert found.volumes == {"vol-0": "", "vol-1": "", "vol-2": "", "vol-3": "", "vol-4": "snap-2"}
    assert found.images == {"snap-2": ["ami-1", "ami-3 (disabled)"]}
    assert found.fast == {"snap-1": ["eu-west-1a", "eu-west-1b", "eu-west-1c"]}
    assert found.locks == {"snap-2": "2027-01-02"}
    assert found.binned == {"snap-9": ("vol-1", "", "2026-12-05")}


def test_with_whom_snapshots_are_shared_is_asked_of_each():
    """Accounts by number; a public one is shared with everybody."""
    client = Paged(Permissions={"snap-1": [{"UserId": "222222222222"}, {"Group": "all"}]})
    assert estate.shared(client, ["snap-1", "snap-2"], Stop()) == {"snap-1": ["222222222222", "everybody"]}


def test_blocks_are_counted_to_the_last_page():
    """Of two snapshots only those that the second holds."""
    changed = [{"BlockIndex": number, **({"SecondBlockToken": "x"} if number % 2 else {})} for number in range(7)]
    client = Paged(Blocks=[{"BlockIndex": number} for number in range(5)], ChangedBlocks=changed)
    assert estate.blocks(client, "", "snap-1", Stop()) == 5
    assert estate.blocks(client, "snap-1", "snap-2", Stop()) == 3


def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch):
    """The controller may not have polars."""
    import sys
    from datetime import date

    from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused

    (tmp_path / "bill.csv").write_text("x")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(Refused, match="Python library polars is missing"):
        _costs.read([str(tmp_path / "bill.csv")], "", "", str(tmp_path), None, date(2026, 11, 21), Stop())
