# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The analysis as one HTML page: the role's template with its data in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .advice import Plan
from .output import chain_row, listed, snapshot_rows

_SHOWN = (  # on the page
    "account", "region", "volume_id", "snapshot_id", "start_time", "state", "billed_gib", "cost", "change_percent",
    "frees_gib_least", "frees_gib_most", "advice", "storage_class", "keeper", "description",
)  # fmt: skip
_LINES = 40  # volumes on the plot of days


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
    yield _inert(json.dumps({**document, "columns": _SHOWN, "days": days, "daily": drawn})[:-1]) + ',"rows":[\n'
    yield from map(_inert, listed(_page_row(row) for plan in plans for row in snapshot_rows(plan)))
    yield '],"chains":[\n'
    yield from map(_inert, listed(chain_row(plan, brief=True) for plan in plans))
    yield "]}"
    yield after


def _page_row(row: Mapping[str, Any]) -> list[Any]:
    return [round(row[name], 6) if isinstance(row[name], float) else row[name] for name in _SHOWN]


def _inert(text: str) -> str:
    """Inside a script element nothing else could end it; a description may say anything."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
