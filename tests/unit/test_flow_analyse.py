# SPDX-License-Identifier: GPL-3.0-or-later
"""The analysis from its arguments to its result, with EC2 in memory: everything is asked, and the files have what was found."""

from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.analyse import analyse
from bills import LAST_MONTH, Bill
from jobs import job

A, B = (f"snap-{number:017x}" for number in (1, 2))
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


def snapshot(snapshot_id, volume, **tags):
    facts = {"VolumeId": volume, "StartTime": START, "VolumeSize": 100, "State": "completed", "FullSnapshotSizeInBytes": 100 << 30}
    return {"SnapshotId": snapshot_id, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()], **facts}


class Ec2:
    """One account's snapshots; A is shared with another."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, call):
        replies = {
            "describe_snapshots": {"Snapshots": [snapshot(A, "vol-1", Name="a", Owner="ops"), snapshot(B, "vol-2", Name="b")]},
            "describe_snapshot_attribute": lambda asked: {
                "CreateVolumePermissions": [{"UserId": "222222222222"}] if asked["SnapshotId"] == A else []
            },
        }

        def answer(**asked):
            self.asked.append(call)
            reply = replies.get(call, {})
            return reply(asked) if callable(reply) else reply

        return answer


@pytest.fixture
def report(tmp_path):
    bill = Bill(LAST_MONTH)
    for snapshot_id in (A, B):
        bill.snapshot(snapshot_id, 100 * 2048)
    return str(bill.write(tmp_path, "legacy.csv"))


def analysed(report, **given):
    sts = SimpleNamespace(get_caller_identity=lambda: {"Arn": "arn:aws:sts::111111111111:user/me", "Account": "111111111111"})
    ec2 = Ec2()
    arguments = {"report": [report], "refresh_prices": False, "spool": "/var/tmp", **given}
    return analyse(job("cost_report_analyze", {"ec2": ec2, "sts": sts, "s3": None}, **arguments)), ec2


def test_everything_is_asked_and_what_is_shared_stays(report, tmp_path):
    """B goes; A is another's, too. The csv has names and tags."""
    result, ec2 = analysed(report, tags=["Owner"], outputs={"csv": str(tmp_path / "out.csv")}, restore_within="6h")
    assert set(ec2.asked) == {
        "describe_snapshots", "describe_volumes", "describe_images", "describe_fast_snapshot_restores", "describe_locked_snapshots",
        "list_snapshots_in_recycle_bin", "describe_snapshot_attribute",
    }  # fmt: skip
    advice = {chain["volume_id"]: (chain["advice"], chain["reason"]) for chain in result["chains"]}
    assert advice["vol-1"] == ("keep", "no snapshot can be moved: shared with 222222222222")
    assert advice["vol-2"][0] == "GLACIER"
    assert [group["snapshot_ids"] for group in result["migrations"]] == [[B]]
    assert result["assumptions"]["restore_within"] == 6
    assert result["not_asked"] == []
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert "tag:Owner" in lines[0]
    assert ",ops," in next(line for line in lines if A in line)


def test_a_time_that_is_none_is_refused_before_anything_is_read():
    """In one sentence."""
    with pytest.raises(Refused, match="restore_within is 'soon', not a time such as 30m, 12h or 2d"):
        analysed("/nonexistent", restore_within="soon")
