# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing archives back from the storage classes that cannot be read at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..common.errors import Corrupt, Refused
from .store import Store, Stored

GIB = 1024**3


class Class(NamedTuple):
    """What a tier costs, in dollars a GiB and for 1,000 requests, and how long S3 says it takes."""

    gib: float
    requests: float
    takes: str


# List prices of us-east-1, https://aws.amazon.com/s3/pricing as of November 2026; other regions differ by some percent.
CLASSES = {
    ("GLACIER", "Expedited"): Class(0.03, 10.0, "1 to 5 minutes"),
    ("GLACIER", "Standard"): Class(0.01, 0.05, "3 to 5 hours"),
    ("GLACIER", "Bulk"): Class(0.0, 0.0, "5 to 12 hours"),
    ("DEEP_ARCHIVE", "Standard"): Class(0.02, 0.10, "12 hours"),
    ("DEEP_ARCHIVE", "Bulk"): Class(0.0025, 0.025, "48 hours"),
}
ASLEEP = frozenset(storage_class for storage_class, _tier in CLASSES)


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


def price(asleep: Iterable[Sleeping], tier: str) -> dict[str, object]:
    """What thawing comes to: objects, bytes, dollars by list price (retrieval alone), how long it takes.

    Raises Refused for a tier that a storage class does not have.
    """
    dollars, size, count, takes = 0.0, 0, 0, ""
    classes = set()
    for each in asleep:
        known = CLASSES.get((each.storage_class, tier))
        if known is None:
            tiers = ", ".join(name for storage_class, name in CLASSES if storage_class == each.storage_class)
            raise Refused(f"{each.storage_class} cannot be thawed by tier {tier!r}; it has {tiers}", key=each.key)
        dollars += each.size / GIB * known.gib + known.requests / 1000
        size += each.size
        count += 1
        takes = max(takes, known.takes, key=_hours)
        classes.add(each.storage_class)
    return {
        "objects": count,
        "bytes": size,
        "storage_classes": sorted(classes),
        "tier": tier,
        "dollars": round(dollars, 4),
        "takes": takes,
    }


def wake(store: Store, asleep: Iterable[Sleeping], tier: str, days: int) -> int:
    """Ask S3 to thaw what it was not asked for yet; how many requests that took."""
    return sum(store.thaw(each.key, each.version, tier, days) for each in asleep if not each.under_way)


def wait(store: Store, asleep: list[Sleeping], seconds: float, pause: float) -> list[Sleeping]:
    """Until everything is readable or the time is over; what still sleeps. Raises Stopped on a stop."""
    end = store.clock.monotonic() + seconds
    while asleep and store.clock.monotonic() < end:
        store.stop.check()
        store.clock.sleep(min(pause, max(0.0, end - store.clock.monotonic())))
        asleep = sleeping(store, [(each.key, each.version) for each in asleep])
    return asleep


def _is_thawed(stored: Stored) -> bool:
    return 'ongoing-request="false"' in stored.thaw


def _hours(takes: str) -> float:
    words = takes.split()
    numbers = [float(word) for word in words if word.isdigit()]
    return (numbers or [0.0])[-1] / (60 if "minutes" in takes else 1)
