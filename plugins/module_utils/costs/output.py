# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The analysis for programs: rows of plain data, csv and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from .advice import Plan
from .lineage import Held, gib
from .moves import Option

COLUMNS = (
    "account", "region", "volume_id", "volume_gone", "snapshot_id", "name", "start_time", "age_days", "state", "size_gib",
    "billed_blocks", "billed_gib", "average_gib", "full_gib", "full_known", "cost", "net_cost", "list_cost", "fast_monthly",
    "change_percent", "frees_gib_least", "frees_gib_most", "images", "keeper", "advice", "storage_class", "description",
)  # fmt: skip
_ASSUMED = (  # of what is moved, beside it in the csv
    "compression", "compression_measured", "months", "retrievals", "minimum_days", "hours_to_first_byte", "bring_back",
    "prices_as_of",
)  # fmt: skip
NOT_ASKED = "not asked"  # the state of what EC2 should have described and did not


def snapshot_rows(plan: Plan, tags: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A chain's snapshots, oldest first, by COLUMNS, and what these tags say. Dollars of the billing period."""
    moved = plan.moved
    for one in plan.chain.snapshots:
        row = _snapshot_row(plan, one, one.snapshot_id in moved)
        yield {**row, "tags": {tag: one.tags[tag] for tag in tags if tag in one.tags}}


def _snapshot_row(plan: Plan, one: Held, moved: bool) -> dict[str, Any]:
    return {
        "account": one.account,
        "region": one.region,
        "volume_id": one.volume_id,
        "volume_gone": plan.chain.volume_gone,
        "snapshot_id": one.snapshot_id,
        "name": one.tags.get("Name", ""),
        "start_time": one.start_time,
        "age_days": one.age_days,
        "state": state_of(plan, one),
        "size_gib": one.size_gib,
        "billed_blocks": one.billed,
        "billed_gib": gib(one.billed),
        "average_gib": round(gib(one.average), 9),
        "full_gib": gib(one.full),
        "full_known": one.full_known,
        "cost": round(one.cost, 10),
        "net_cost": round(one.net_cost, 10),
        "list_cost": round(one.list_cost, 10),
        "fast_monthly": round(one.fast, 6),
        "change_percent": None if one.change is None else round(one.change, 4),
        "frees_gib_least": gib(one.frees[0]),
        "frees_gib_most": gib(one.frees[1]),
        "images": one.images,
        "keeper": f"in the Recycle Bin until {one.until}" if one.state == "bin" else plan.kept_for.get(one.snapshot_id, ""),
        "advice": "move" if moved else "keep",
        "storage_class": plan.chosen.target if moved else "",
        "description": one.description,
    }


def state_of(plan: Plan, one: Held) -> str:
    return NOT_ASKED if plan.chain.unknown and one.state != "ended" else one.state


def option_row(option: Option) -> dict[str, Any]:
    """One option. In dollars a month, least and most, except once, thaw and total."""
    return {
        "target": option.target,
        "form": option.form,
        "which": option.which,
        "snapshots": len(option.snapshot_ids),
        "gib": round(option.gib, 6),
        "compression": round(option.compression, 6),
        "monthly_there": round(option.monthly, 6),
        "freed_gib_least": round(option.freed[0], 6),
        "freed_gib_most": round(option.freed[1], 6),
        "monthly_least": round(option.after[0], 6),
        "monthly_most": round(option.after[1], 6),
        "saving_least": round(option.saving[0], 6),
        "saving_most": round(option.saving[1], 6),
        "saving_likely": round(option.likely, 6),
        "once": round(option.once, 6),
        "once_of": {name: round(dollars, 6) for name, dollars in option.once_of.items()},
        "bring_back": round(option.bring_back, 6),
        "bring_back_one": round(option.bring_back_one, 6),
        "hours_to_first_byte": option.hours,
        "total": round(option.total, 6),
        "payback_months": None if option.payback is None else round(option.payback, 2),
        "minimum_days": option.minimum_days,
        "break_even_change_percent": _finite(option.break_even),
        "available": option.available,
    }


def _finite(percent: Optional[float]) -> Optional[float]:
    """A single snapshot has no change to break even at."""
    return None if percent is None or math.isinf(percent) else round(percent, 2)


def chain_row(plan: Plan, tags: Sequence[str] = (), brief: bool = False) -> dict[str, Any]:
    """One volume's snapshots and what to do with them; if brief, without each snapshot and without the other options."""
    chain = plan.chain
    row: dict[str, Any] = {
        "account": chain.account,
        "region": chain.region,
        "volume_id": chain.volume_id,
        "volume_gone": chain.volume_gone,
        "cold": plan.cold,
        "count": len(chain.snapshots),
        "billed_blocks": chain.billed,
        "billed_gib": gib(chain.billed),
        "cost": round(chain.cost, 10),
        "net_cost": round(sum(each.net_cost for each in chain.snapshots), 10),
        "list_cost": round(sum(each.list_cost for each in chain.snapshots), 10),
        "monthly": round(plan.now, 6),
        "average_change_percent": None if chain.average_change is None else round(chain.average_change, 4),
        "advice": plan.chosen.target,
        "reason": plan.reason,
        "chosen": option_row(plan.chosen),
        "not_asked": [str(each) for each in chain.not_asked],
        "sooner": plan.sooner and plan.sooner._asdict(),
        "deletion": plan.deletion and option_row(plan.deletion),
    }
    if not brief:
        row["options"] = [option_row(option) for option in plan.options]
        row["snapshots"] = list(snapshot_rows(plan, tags))
    return row


def as_csv(document: Mapping[str, Any], plans: Iterable[Plan]) -> Iterator[str]:
    """One line per snapshot, after a header, with what its figures are based on."""
    tags = document["tags"]
    yield _csv_line([*COLUMNS, *(f"tag:{tag}" for tag in tags), *_ASSUMED])
    for plan in plans:
        for row in snapshot_rows(plan, tags):
            own = row.pop("tags")
            assumed = _assumed(document, plan) if row["storage_class"] else [None] * len(_ASSUMED)
            cells = [" ".join(value) if isinstance(value, list) else value for value in row.values()]
            yield _csv_line([*cells, *(own.get(tag) for tag in tags), *assumed])


def _assumed(document: Mapping[str, Any], plan: Plan) -> list[Any]:
    given, chosen = document["assumptions"], plan.chosen
    return [
        round(chosen.compression, 6),
        plan.chain.volume_id in given["by_volume"] or given["measured"],
        given["months"],
        given["retrievals"],
        chosen.minimum_days,
        chosen.hours,
        round(chosen.bring_back_one, 6),
        document["prices"][plan.chain.region]["as_of"],
    ]


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def as_json(document: Mapping[str, Any], plans: Iterable[Plan]) -> Iterator[str]:
    """Everything, one volume at a time, because a bill can have a hundred thousand."""
    yield json.dumps(document, indent=1)[:-2] + ',\n "chains": [\n'
    yield from listed(chain_row(plan, document["tags"]) for plan in plans)
    yield "]}\n"


def listed(items: Iterable[Any]) -> Iterator[str]:
    """The text between the brackets of a JSON list."""
    for number, item in enumerate(items):
        yield f"{',' if number else ''}{json.dumps(item, separators=(',', ':'))}\n"
