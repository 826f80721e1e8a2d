# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own bill: what AWS would have billed for its snapshots in the last complete month."""

import sys
from pathlib import Path

import boto3

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bills import LAST_MONTH, Bill


def into(state, environment, file):
    """Write a CUR 2.0 (csv.gz) into a file; a block is billed with the oldest snapshot of a volume that holds it."""
    spec = {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": state["region"],
        "aws_access_key_id": state["access_key"],
        "aws_secret_access_key": state["secret_key"],
    }
    ec2, ebs = boto3.client("ec2", **spec), boto3.client("ebs", **spec)
    bill = Bill(LAST_MONTH)
    last = {}
    snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    for snapshot in sorted(snapshots, key=lambda each: (each["StartTime"], each["SnapshotId"])):
        before = last.get(snapshot["VolumeId"])
        blocks = _blocks(ebs, before, snapshot["SnapshotId"])
        last[snapshot["VolumeId"]] = snapshot["SnapshotId"]
        bill.snapshot(snapshot["SnapshotId"], blocks, account=state["account"], region=state["region"])
    bill.noise()
    file = Path(file)
    bill.write(file.parent, "cur2.csv.gz", file.name).rename(file)


def _blocks(ebs, before, snapshot_id):
    if before is None:
        call, name, arguments = ebs.list_snapshot_blocks, "Blocks", {"SnapshotId": snapshot_id}
    else:
        call, name = ebs.list_changed_blocks, "ChangedBlocks"
        arguments = {"FirstSnapshotId": before, "SecondSnapshotId": snapshot_id}
    count = 0
    while True:
        reply = call(**arguments)
        count += sum(name == "Blocks" or "SecondBlockToken" in block for block in reply[name])
        if not reply.get("NextToken"):
            return count
        arguments["NextToken"] = reply["NextToken"]
