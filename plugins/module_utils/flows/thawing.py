# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be thawed before it can be read, what that costs, and how long it takes."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..costs import price_table, prices
from ..engine.bucket import sleeping
from ..engine.bucket.layouts import FoundArchive
from ..engine.bucket.objects import Store
from .job import Job


class Woken(NamedTuple):
    """asleep: what cannot be read yet. price: of all that slept, {} if nothing did. requested: how many objects were asked for."""

    asleep: list[sleeping.Sleeping]
    price: dict[str, Any]
    requested: int


def objects(archives: list[FoundArchive], store: Store) -> list[tuple[str, str]]:
    """(key, version) of what will be read of archives, their indexes too, which a lifecycle rule may have taken along; of segments
    only those that by a listing may sleep."""
    keys = []
    for each in archives:
        if each.entry is not None:
            keys += [(there["key"], there["version"]) for there in [*each.entry["objects"], each.entry["index"]]]
        elif each.layout == "fsp":
            keys += [(item.key, "") for item in store.keys(each.key) if item.storage_class in sleeping.MAY_SLEEP]
        else:
            keys.append((each.key, ""))
    return keys


def brought_back(job: Job, wanted: list[tuple[str, str]]) -> Woken:
    """Thaw what sleeps among these (key, version) pairs, and wait for it if requested. In check mode only tell the price."""
    asked, store = job.asked, job.store
    asleep = sleeping.asleep(store, wanted)
    price = _price(asleep, asked["thaw_tier"]) if asleep else {}
    if job.check_mode or not asleep:
        return Woken(asleep, price, 0)
    requested = sleeping.wake(store, asleep, asked["thaw_tier"], asked["thaw_days"])
    if asked["wait"]:
        asleep = sleeping.wait(store, asleep, asked["wait_timeout"], asked["wait_interval"])
    return Woken(asleep, price, requested)


def _price(asleep: list[sleeping.Sleeping], tier: str) -> dict[str, Any]:
    takes = sleeping.takes(asleep, tier)
    dollars = prices.thaw(prices.table(price_table.BASE), [(each.storage_class, each.size) for each in asleep], tier)
    return {
        "objects": len(asleep),
        "bytes": sum(each.size for each in asleep),
        "storage_classes": sorted({each.storage_class for each in asleep}),
        "tier": tier,
        "dollars": round(dollars, 4),
        "takes": takes,
    }
