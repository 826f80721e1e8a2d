# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing archives back from where they cannot be read at once: two storage classes, and two tiers of INTELLIGENT_TIERING.

A class is left for some days, by a copy; from a tier the object itself comes back, to be moved there again when it is not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...common.errors import Corrupt, Refused
from ...common.stop import after_a_stop
from .store import Store, Stored

_TIERS = frozenset(["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])
# What S3 says a thaw takes, by storage class (or tier of INTELLIGENT_TIERING) and tier of the retrieval: S3 user guide,
# "Archive retrieval options".
TAKES = {
    ("GLACIER", "Expedited"): "1 to 5 minutes",
    ("GLACIER", "Standard"): "3 to 5 hours",
    ("GLACIER", "Bulk"): "5 to 12 hours",
    ("DEEP_ARCHIVE", "Standard"): "12 hours",
    ("DEEP_ARCHIVE", "Bulk"): "48 hours",
    ("ARCHIVE_ACCESS", "Expedited"): "1 to 5 minutes",
    ("ARCHIVE_ACCESS", "Standard"): "3 to 5 hours",
    ("ARCHIVE_ACCESS", "Bulk"): "5 to 12 hours",
    ("DEEP_ARCHIVE_ACCESS", "Standard"): "12 hours",
    ("DEEP_ARCHIVE_ACCESS", "Bulk"): "48 hours",
}
ASLEEP = frozenset(storage_class for storage_class, _tier in TAKES)
MAY_SLEEP = ASLEEP | {"INTELLIGENT_TIERING"}  # by what a listing says, which knows no tiers


class Sleeping(NamedTuple):
    """An object that has to be thawed; under_way: S3 was asked already. storage_class may be a tier of INTELLIGENT_TIERING."""

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
        where = rests_in(there)
        if where:
            found.append(Sleeping(key, version, there.size, where, 'ongoing-request="true"' in there.thaw))
    return found


def rests_in(stored: Stored) -> str:
    """The storage class or tier in which it cannot be read now; '' if it can be."""
    if stored.archive_tier or stored.storage_class not in ASLEEP:
        return stored.archive_tier
    return "" if 'ongoing-request="false"' in stored.thaw else stored.storage_class


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
    wanted = [each for each in asleep if not each.under_way]
    return sum(store.thaw(each.key, each.version, tier, None if each.storage_class in _TIERS else days) for each in wanted)


def wait(store: Store, asleep: list[Sleeping], seconds: float, pause: float) -> list[Sleeping]:
    """Until everything is readable or the time is over; what still sleeps. Raises Stopped on a stop."""
    end = store.clock.monotonic() + seconds
    with after_a_stop("What was asked for is thawed all the same; run again to go on."):
        while asleep and store.clock.monotonic() < end:
            store.clock.sleep(min(pause, max(0.0, end - store.clock.monotonic())), store.stop)
            asleep = sleeping(store, [(each.key, each.version) for each in asleep])
    return asleep


def _hours(text: str) -> float:
    words = text.split()
    numbers = [float(word) for word in words if word.isdigit()]
    return (numbers or [0.0])[-1] / (60 if "minutes" in text else 1)
