# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 with retries, a stop and a deadline, and what it says about one volume or one instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

from ..common.clock import Clock
from ..common.errors import Permanent, Refused
from ..common.retry import retry
from ..common.stop import Stop
from .pages import pages

_PAUSE = 2.0  # seconds between checks of a state


class Calls:
    """The EC2 client with retries, a stop and a deadline."""

    def __init__(self, client: Any, stop: Stop, clock: Optional[Clock] = None, timeout: float = 600, pause: float = _PAUSE) -> None:
        self.client = client
        self.stop = stop
        self.clock = clock or Clock()
        self.timeout = timeout
        self.pause = pause
        self.instances: dict[str, dict[str, Any]] = {}  # described so far

    def calm(self) -> Calls:
        """The same without the stop, to clean up after it."""
        return Calls(self.client, Stop(), self.clock, self.timeout, self.pause)

    def __call__(self, name: str, **arguments: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {"volume": arguments.get("VolumeId"), "snapshot": arguments.get("SnapshotId")}
        return retry(lambda: getattr(self.client, name)(**arguments), self.stop, self.clock, **facts)

    def pages(self, name: str, field_name: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        return pages(getattr(self.client, name), field_name, self.stop, self.clock, **arguments)

    def wait(self, what: str, look: Callable[[], bool], **facts: Any) -> None:
        """Wait until look() is true. Raises Permanent after the timeout, Stopped on a stop."""
        end = self.clock.monotonic() + self.timeout
        while not look():
            self.stop.check()
            if self.clock.monotonic() >= end:
                raise Permanent(f"{what} after {self.timeout:g} s", "Check it in the EC2 console, then run again.", **facts)
            self.clock.sleep(self.pause, self.stop)


def describe(calls: Calls, volume_id: str) -> Optional[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = calls("describe_volumes", VolumeIds=[volume_id])["Volumes"]
    except Permanent as error:
        if error.facts.get("code") == "InvalidVolume.NotFound":
            return None
        raise
    return found[0] if found else None


def state_of(calls: Calls, volume_id: str) -> str:
    """EC2's state, '' if the volume is gone."""
    volume = describe(calls, volume_id)
    return str(volume["State"]) if volume else ""


def attachment_of(calls: Calls, volume_id: str) -> str:
    volume = describe(calls, volume_id)
    if volume is None:
        raise Permanent("the volume is gone", "Somebody deleted it. Run again.", volume=volume_id)
    return "".join(attachment["State"] for attachment in volume.get("Attachments", []))


def device_name_of(calls: Calls, volume_id: str) -> str:
    volume = describe(calls, volume_id) or {}
    return "".join(attachment["Device"] for attachment in volume.get("Attachments", []))


def zone_of(calls: Calls, instance_id: str) -> str:
    return str(instance_of(calls, instance_id)["Placement"]["AvailabilityZone"])


def instance_of(calls: Calls, instance_id: str) -> dict[str, Any]:
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


def tags_of(volume: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}
