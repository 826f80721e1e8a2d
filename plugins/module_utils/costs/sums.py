# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The totals of the bill, and of following the advice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Optional

from ..common.estate import NotAsked
from .advice import KEEP, Plan
from .lineage import Held, gib
from .reports import Report
from .rows import ARCHIVED, COPIED, DELETED_EARLY, FAST, RETRIEVED, STORED

_SUMS = (
    "chains", "snapshots", "gib", "saving_least", "saving_likely", "saving_most", "once", "bring_back_one", "hours_to_first_byte",
)  # fmt: skip
_LINES = {
    STORED: "storage, standard tier",
    ARCHIVED: "storage, archive tier",
    FAST: "fast snapshot restore",
    RETRIEVED: "retrievals from the archive tier",
    DELETED_EARLY: "deleted early from the archive tier",
    COPIED: "copies to other regions (transfer)",
}
_YEAR = 365  # days


def line_of(kind: Optional[str]) -> str:
    """A kind of line on the bill, for people; one that is not known keeps AWS's word."""
    if kind and kind.startswith("directAPI"):
        return f"EBS direct API requests ({kind.rpartition('.')[2]})"
    return _LINES.get(kind or "", kind or "unknown")


def savings(plans: Sequence[Plan]) -> dict[str, Any]:
    """What following all the advice saves, in dollars a month, except once. first_year is after the one-time costs.

    deletions: what keeping only the newest of each chain would save instead; fast: what switching off fast restore would save.
    """
    targets: dict[str, dict[str, Any]] = {}
    for option in (plan.chosen for plan in plans if plan.chosen.target != KEEP):
        target = targets.setdefault(option.target, dict.fromkeys(_SUMS, 0))
        target["chains"] += 1
        target["snapshots"] += len(option.snapshot_ids)
        target["gib"] += option.gib
        target["saving_least"] += option.saving[0]
        target["saving_likely"] += option.likely
        target["saving_most"] += option.saving[1]
        target["once"] += option.once
        target["bring_back_one"] = max(target["bring_back_one"], option.bring_back_one)
        target["hours_to_first_byte"] = option.hours
    names = ("saving_least", "saving_likely", "saving_most", "once")
    total = {name: sum(target[name] for target in targets.values()) for name in names}
    return dict(
        total,
        first_year=12 * total["saving_likely"] - total["once"],
        later_year=12 * total["saving_likely"],
        since=_since(plans),
        monthly=sum(plan.now for plan in plans),
        chains=sum(target["chains"] for target in targets.values()),
        snapshots=sum(target["snapshots"] for target in targets.values()),
        targets=targets,
        deletions=_deletions(plans),
        fast=sum(one.fast for plan in plans for one in plan.chain.snapshots),
    )


def _since(plans: Sequence[Plan]) -> dict[str, Any]:
    """What was deleted and made since the bill. What is in the Recycle Bin costs until it leaves."""
    held = [(plan, one) for plan in plans for one in plan.chain.snapshots]
    went = [(plan, one) for plan, one in held if one.state == "gone"]
    binned = [(plan, one) for plan, one in held if one.state == "bin"]
    return {
        "gone": len(went),
        "gone_monthly": sum(plan.monthly(one) for plan, one in went),
        "new": sum(one.stored and not one.on_bill for _plan, one in held),
        "binned": len(binned),
        "binned_monthly": sum(plan.monthly(one) for plan, one in binned),
        "binned_until": max((one.until for _plan, one in binned), default=""),
    }


def _deletions(plans: Iterable[Plan]) -> dict[str, Any]:
    found = [plan.deletion for plan in plans if plan.deletion]
    return {
        "chains": len(found),
        "snapshots": sum(len(option.snapshot_ids) for option in found),
        "saving_least": sum(option.saving[0] for option in found),
        "saving_likely": sum(option.likely for option in found),
        "saving_most": sum(option.saving[1] for option in found),
    }


def fast_rows(plans: Iterable[Plan]) -> list[dict[str, Any]]:
    """Every snapshot whose fast restore is on, or was billed on the last day, the most expensive first."""
    found = [
        {
            "account": one.account,
            "region": one.region,
            "snapshot_id": one.snapshot_id,
            "name": one.tags.get("Name", ""),
            "zones": one.zones,
            "monthly": round(one.fast, 6),
        }
        for plan in plans
        for one in plan.chain.snapshots
        if one.zones or one.fast
    ]
    return sorted(found, key=lambda row: (-float(row["monthly"]), row["snapshot_id"]))


def not_asked_rows(not_asked: Iterable[NotAsked], plans: Iterable[Plan]) -> list[dict[str, Any]]:
    """What could not be asked, with how many snapshots of the bill are affected, and their dollars a month."""
    touched: dict[NotAsked, list[float]] = {}
    for plan in plans:
        for each in plan.chain.not_asked:
            sums = touched.setdefault(each, [0, 0.0])
            sums[0] += len(plan.chain.snapshots)
            sums[1] += plan.now
    return [
        {**each._asdict(), "snapshots": int(touched.get(each, [0])[0]), "monthly": touched.get(each, [0, 0.0])[1]}
        for each in not_asked
    ]


def totals(report: Report, plans: Sequence[Plan]) -> dict[str, Any]:
    """Dollars of the period: all of the bill = snapshots, which are the sum of their kinds of line, + what was not analysed.

    average_month: what storage and fast restore of an average day come to in a month.
    """
    return {
        "bill": report.total,
        "snapshots": sum(plan.chain.cost for plan in plans),
        "average_month": report.average_month,
        "not_analysed": [dict(row, what=line_of(row["what"])) for row in report.others],
        "kinds": _kinds(report),
        "ages": _ages(plans),
        "regions": _regions(plans),
    }


def _regions(plans: Iterable[Plan]) -> list[dict[str, Any]]:
    regions: dict[tuple[str, str], dict[str, Any]] = {}
    for plan in plans:
        place = (plan.chain.account, plan.chain.region)
        empty = {"account": place[0], "region": place[1], "volumes": 0, "snapshots": 0, "gib": 0.0, **_no_dollars()}
        region = regions.setdefault(place, empty)
        region["volumes"] += 1
        for one in plan.chain.snapshots:
            _add(region, one)
    return [regions[place] for place in sorted(regions)]


def _ages(plans: Iterable[Plan]) -> list[dict[str, Any]]:
    """The snapshots under a year old, older ones, and those of unknown age. monthly: dollars of what they are billed for."""
    found: dict[str, dict[str, Any]] = {
        age: {"age": age, "snapshots": 0, "gib": 0.0, "monthly": 0.0, **_no_dollars()} for age in ("under", "over", "unknown")
    }
    for plan in plans:
        for one in plan.chain.snapshots:
            age = "unknown" if one.age_days is None else "over" if one.age_days >= _YEAR else "under"
            _add(found[age], one)
            found[age]["monthly"] += plan.monthly(one)
    return [row for row in found.values() if row["snapshots"]]


def _no_dollars() -> dict[str, float]:
    return {"cost": 0.0, "net_cost": 0.0, "list_cost": 0.0}


def _add(row: dict[str, Any], one: Held) -> None:
    row["snapshots"] += 1
    row["gib"] += gib(one.billed)
    row["cost"] += one.cost
    row["net_cost"] += one.net_cost
    row["list_cost"] += one.list_cost


def _kinds(report: Report) -> list[dict[str, Any]]:
    """Every kind of line that names a snapshot, storage first."""
    kinds: dict[str, dict[str, Any]] = {}
    columns = ("kind", "quantity", "cost", "net_cost", "list_cost")
    for kind, quantity, *dollars in report.snapshots.select(columns).iter_rows():
        row = kinds.setdefault(
            kind or "unknown", {"kind": kind or "unknown", "what": line_of(kind), "quantity": 0.0, **_no_dollars()}
        )
        for name, value in zip(columns[1:], (quantity, *dollars)):
            row[name] += value
    order = [*_LINES]
    return sorted(kinds.values(), key=lambda row: (order.index(row["kind"]) if row["kind"] in order else len(order), row["kind"]))
