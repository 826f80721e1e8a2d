# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow is given, without Ansible and without AWS."""

import importlib
from datetime import datetime

from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.identity import Instance
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.job import Job
from conftest import MODULES
from memory import ACCOUNT


def asked(module, **given):
    """The arguments of a module: what is given, else its own defaults."""
    spec = importlib.import_module(f"{MODULES}.{module}").SPEC
    assert not set(given) - set(spec)
    return {name: given.get(name, each.get("default")) for name, each in spec.items()}


def job(module, clients=None, check=False, said=None, home="us-east-1", **given):
    """clients: what stands for AWS, by service. said: a list that takes warnings."""
    arguments = asked(module, **given)
    if "bucket" in given:
        arguments["bucket_owner"] = ACCOUNT
    made = clients or {}
    return Job(
        arguments,
        home,
        lambda service, *_config, **_where: made[service],
        Stop(),
        check,
        (said if said is not None else []).append,
        lambda: Instance("i-1", "us-east-1a", "us-east-1"),
    )


class MemoryEc2:
    """Snapshots and volumes as far as flows ask for them; calls: the names of all calls."""

    def __init__(self, *snapshots):
        self.snapshots = {each.snapshot_id: each for each in snapshots}
        self.tags = {each.snapshot_id: dict(each.tags) for each in snapshots}
        self.volumes = {}  # id -> tags
        self.attached = set()
        self.calls = []

    def _pairs(self, identity):
        return [{"Key": key, "Value": value} for key, value in self.tags[identity].items()]

    def describe_snapshots(self, Filters=(), **_whose):
        self.calls.append("describe_snapshots")
        found = []
        for identity, each in self.snapshots.items():
            values = {"snapshot-id": identity, **{f"tag:{key}": value for key, value in self.tags[identity].items()}}
            if all(values.get(wanted["Name"]) in wanted["Values"] for wanted in Filters):
                found.append(
                    {
                        "SnapshotId": identity, "VolumeId": each.volume_id, "VolumeSize": each.size_gib, "State": "completed",
                        "StartTime": datetime.fromisoformat(each.start_time), "OwnerId": each.owner_id, "Tags": self._pairs(identity),
                        "Description": each.description,
                    }
                )  # fmt: skip
        return {"Snapshots": found}

    def delete_snapshot(self, identity):
        del self.snapshots[identity]

    def create_tags(self, Resources, Tags):
        self.calls.append("create_tags")
        for identity in Resources:
            self.tags[identity].update({each["Key"]: each["Value"] for each in Tags})

    def delete_tags(self, Resources, Tags):
        self.calls.append("delete_tags")
        for identity in Resources:
            for each in Tags:
                self.tags[identity].pop(each["Key"], None)

    def add_volume(self, identity, attached=True, **tags):
        self.volumes[identity] = self.tags[identity] = {key.replace("_", ":"): value for key, value in tags.items()}
        if attached:
            self.attached.add(identity)

    def describe_volumes(self, VolumeIds):
        self.calls.append("describe_volumes")
        return {
            "Volumes": [
                {
                    "VolumeId": each, "State": "in-use" if each in self.attached else "available", "Tags": self._pairs(each),
                    "Attachments": [{"InstanceId": "i-1", "State": "attached", "Device": "/dev/sdf"}] if each in self.attached else [],
                }
                for each in VolumeIds
                if each in self.volumes
            ]
        }  # fmt: skip

    def detach_volume(self, VolumeId, InstanceId):
        self.calls.append("detach_volume")
        self.attached.discard(VolumeId)

    def delete_volume(self, VolumeId):
        self.calls.append("delete_volume")
        del self.volumes[VolumeId]
