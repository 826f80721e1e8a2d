# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The analysis as one HTML page: the role's template with its data in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .advice import KEEP, Plan
from .cautions import cautions
from .output import chain_row, listed, option_row, snapshot_rows

_SHOWN = (  # of a snapshot
    "account", "region", "volume_id", "snapshot_id", "name", "tags", "start_time", "state", "billed_gib", "cost", "net_cost",
    "list_cost", "fast_monthly", "change_percent", "frees_gib_least", "frees_gib_most", "advice", "storage_class", "keeper",
    "description",
)  # fmt: skip
_OPTIONS = (
    "target", "which", "saving_least", "saving_likely", "once", "hours_to_first_byte", "bring_back", "minimum_days", "total",
)  # fmt: skip
_LINES = 40  # volumes on the plot of days
_DETAILED = 2000  # volumes with all their options, the most expensive ones


def as_page(
    template: str, document: Mapping[str, Any], plans: Sequence[Plan], daily: Sequence[tuple[str, str, float]]
) -> Iterator[str]:
    """The HTML page: rows as lists, volumes briefly, and the days of those that cost most."""
    dearest = [plan.chain.volume_id for plan in plans if plan.chain.volume_id][:_LINES]
    days = sorted({day for _volume, day, _cost in daily})
    at = {day: number for number, day in enumerate(days)}
    lines: dict[str, list[float]] = {volume: [0.0] * len(days) for volume in [*dearest, "others"]}
    for volume, day, cost in daily:
        lines[volume if volume in lines else "others"][at[day]] += cost
    drawn = [{"volume": volume, "costs": [round(cost, 6) for cost in costs]} for volume, costs in lines.items() if any(costs)]
    before, _place, after = template.partition("@DATA@")
    yield before
    whole = {
        **document,
        "cautions": list(cautions(document)),
        "columns": _SHOWN,
        "option_columns": _OPTIONS,
        "days": days,
        "daily": drawn,
    }
    yield _inert(json.dumps(whole)[:-1]) + ',"rows":[\n'
    yield from map(_inert, listed(_rounded(row, _SHOWN) for plan in plans for row in snapshot_rows(plan, document["tags"])))
    yield '],"chains":[\n'
    yield from map(_inert, listed(_page_chain(plan, number < _DETAILED) for number, plan in enumerate(plans)))
    yield "]}"
    yield after


def _rounded(row: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    return [round(row[name], 6) if isinstance(row[name], float) else row[name] for name in names]


def _page_chain(plan: Plan, detailed: bool) -> dict[str, Any]:
    """name: the newest of its snapshots' names. first: the oldest. copy: of no volume. whole: none of its snapshots has to stay.

    options: what could be done, by _OPTIONS.
    """
    snapshots = plan.chain.snapshots
    names = [one.tags["Name"] for one in snapshots if one.tags.get("Name")]
    row = {
        **chain_row(plan, brief=True),
        "name": names[-1] if names else "",
        "first": snapshots[0].snapshot_id,
        "copy": not plan.chain.volume_id and bool(snapshots[0].start_time),
        "whole": not plan.kept_for,
    }
    if detailed:
        possible = [option_row(option) for option in plan.options if option.available and option.target != KEEP]
        row["options"] = [_rounded(option, _OPTIONS) for option in possible]
    return row


def _inert(text: str) -> str:
    """Inside a script element nothing else could end it; a description may say anything."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
