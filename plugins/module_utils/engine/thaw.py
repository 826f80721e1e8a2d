# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing archives back from the storage classes that cannot be read at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..common.errors import Corrupt, Refused
from .store import Store, Stored

# What S3 says a thaw takes, by storage class and tier: S3 user guide, "Archive retrieval options".
TAKES = {
    ("GLACIER", "Expedited"): "1 to 5 minutes",
    ("GLACIER", "Standard"): "3 to 5 hours",
    ("GLACIER", "Bulk"): "5 to 12 hours",
    ("DEEP_ARCHIVE", "Standard"): "12 hours",
    ("DEEP_ARCHIVE", "Bulk"): "48 hours",
}
ASLEEP = frozenset(storage_class for storage_class, _tier in TAKES)


class Sleeping(NamedTuple):
    """An object that has to be thawed; under_way: S3 was asked already."""

    key: str
    version: str
    size: int
    storage_class: str
    under_way: bool


def sleeping(store: Store, objects: Iterable[tuple[str, str]]) -> list[Sleeping]:
    """Which of these (key, version) cannot be read now. Raises Corrupt if one is not there at all."""
    found = []
    for key, version in objects:
        there = store.head(key, version)
        if there is None:
            raise Corrupt("the object is missing", "Look for another version of it, or another copy.", key=key)
        if there.storage_class in ASLEEP and not _is_thawed(there):
            found.append(Sleeping(key, version, there.size, there.storage_class, 'ongoing-request="true"' in there.thaw))
    return found


def takes(asleep: Iterable[Sleeping], tier: str) -> str:
    """How long the slowest of these takes to thaw. Raises Refused for a tier that a storage class does not have."""
    slowest = ""
    for each in asleep:
        known = TAKES.get((each.storage_class, tier))
        if known is None:
            tiers = ", ".join(name for storage_class, name in TAKES if storage_class == each.storage_class)
            raise Refused(f"{each.storage_class} cannot be thawed by tier {tier!r}; it has {tiers}", key=each.key)
        slowest = max(slowest, known, key=_hours)
    return slowest


def wake(store: Store, asleep: Iterable[Sleeping], tier: str, days: int) -> int:
    """Ask S3 to thaw what it was not asked for yet; how many requests that took."""
    return sum(store.thaw(each.key, each.version, tier, days) for each in asleep if not each.under_way)


def wait(store: Store, asleep: list[Sleeping], seconds: float, pause: float) -> list[Sleeping]:
    """Until everything is readable or the time is over; what still sleeps. Raises Stopped on a stop."""
    end = store.clock.monotonic() + seconds
    while asleep and store.clock.monotonic() < end:
        store.clock.sleep(min(pause, max(0.0, end - store.clock.monotonic())), store.stop)
        asleep = sleeping(store, [(each.key, each.version) for each in asleep])
    return asleep


def _is_thawed(stored: Stored) -> bool:
    return 'ongoing-request="false"' in stored.thaw


def _hours(text: str) -> float:
    words = text.split()
    numbers = [float(word) for word in words if word.isdigit()]
    return (numbers or [0.0])[-1] / (60 if "minutes" in text else 1)
