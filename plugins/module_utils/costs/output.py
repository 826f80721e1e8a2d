# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The analysis for people and for programs: plain data, text, rows of a table, and what an HTML page needs."""

from __future__ import annotations

import collections
import csv
import functools
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

from ..common.inventory import NotAsked
from ..common.report import table
from .advice import KEEP, Plan
from .lineage import Held, gib
from .moves import Option, hours_text
from .prices import amount
from .reports import Report

COLUMNS = (
    "account", "region", "volume_id", "volume_gone", "snapshot_id", "start_time", "age_days", "state", "size_gib", "billed_blocks",
    "billed_gib", "average_gib", "full_gib", "full_known", "cost", "net_cost", "list_cost", "change_percent", "frees_gib_least",
    "frees_gib_most", "images", "keeper", "advice", "storage_class", "description",
)  # fmt: skip
_ASSUMED = (  # of what is moved, beside it in the csv
    "compression", "compression_measured", "months", "retrievals", "minimum_days", "hours_to_first_byte", "bring_back",
    "prices_as_of",
)  # fmt: skip
_NOT_ASKED = "not asked"  # the state of what EC2 should have described and did not
_STATES = {
    _NOT_ASKED: _NOT_ASKED,
    "archive": "EBS archive",
    "ended": "ended in the period",
    "gone": "deleted since, or in the Recycle Bin",
}
_UNLIKE = 0.2  # of what an average day comes to, until the last one is said to be unlike it


def snapshot_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """A chain's snapshots, oldest first, by COLUMNS. Dollars of the billing period."""
    moved = plan.moved
    for one in plan.chain.snapshots:
        yield _snapshot_row(plan, one, one.snapshot_id in moved)


def _snapshot_row(plan: Plan, one: Held, moved: bool) -> dict[str, Any]:
    return {
        "account": one.account,
        "region": one.region,
        "volume_id": one.volume_id,
        "volume_gone": plan.chain.volume_gone,
        "snapshot_id": one.snapshot_id,
        "start_time": one.start_time,
        "age_days": one.age_days,
        "state": _state(plan, one),
        "size_gib": one.size_gib,
        "billed_blocks": one.billed,
        "billed_gib": gib(one.billed),
        "average_gib": round(gib(one.average), 9),
        "full_gib": gib(one.full),
        "full_known": one.full_known,
        "cost": round(one.cost, 10),
        "net_cost": round(one.net_cost, 10),
        "list_cost": round(one.list_cost, 10),
        "change_percent": None if one.change is None else round(one.change, 4),
        "frees_gib_least": gib(one.frees[0]),
        "frees_gib_most": gib(one.frees[1]),
        "images": one.images,
        "keeper": plan.kept_for.get(one.snapshot_id, ""),
        "advice": "move" if moved else "keep",
        "storage_class": plan.chosen.target if moved else "",
        "description": one.description,
    }


def _state(plan: Plan, one: Held) -> str:
    return _NOT_ASKED if plan.chain.unknown and one.state != "ended" else one.state


def option_row(option: Option) -> dict[str, Any]:
    """One thing to do; dollars a month, least and most, but for once, thaw and total."""
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
    """A lone snapshot has no change to break even at."""
    return None if percent is None or math.isinf(percent) else round(percent, 2)


def chain_row(plan: Plan, brief: bool = False) -> dict[str, Any]:
    """One volume's snapshots and what to do with them; briefly, without each of them and without what else could be done."""
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
        "monthly": round(plan.now, 6),
        "average_change_percent": None if chain.average_change is None else round(chain.average_change, 4),
        "advice": plan.chosen.target,
        "reason": plan.reason,
        "chosen": option_row(plan.chosen),
        "not_asked": [str(each) for each in chain.not_asked],
        "sooner": plan.sooner and plan.sooner._asdict(),
    }
    if not brief:
        row["options"] = [option_row(option) for option in plan.options]
        row["snapshots"] = list(snapshot_rows(plan))
    return row


_SUMS = (
    "chains", "snapshots", "gib", "saving_least", "saving_likely", "saving_most", "once", "bring_back_one", "hours_to_first_byte",
)  # fmt: skip


def savings(plans: Sequence[Plan]) -> dict[str, Any]:
    """What following all advice comes to; dollars a month, but for once."""
    chosen = [plan.chosen for plan in plans if plan.chosen.target != KEEP]
    targets: dict[str, dict[str, Any]] = {}
    for option in chosen:
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
    went = [(plan, one) for plan in plans for one in plan.chain.snapshots if one.state == "gone"]
    return dict(
        total,
        since={
            "gone": len(went),
            "gone_monthly": sum(gib(one.billed) * plan.rate for plan, one in went),
            "new": sum(one.stored and not one.on_bill for plan in plans for one in plan.chain.snapshots),
        },
        monthly=sum(plan.now for plan in plans),
        chains=sum(target["chains"] for target in targets.values()),
        snapshots=sum(target["snapshots"] for target in targets.values()),
        targets=targets,
    )


def not_asked_rows(not_asked: Iterable[NotAsked], plans: Iterable[Plan]) -> list[dict[str, Any]]:
    """What could not be asked, with how many snapshots of the bill are concerned, and the dollars a month of these."""
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
    """Dollars of the period: all of the bill = snapshots + other kinds of snapshot lines + what was not analysed.

    average_month: what the storage of an average day comes to in a month.
    """
    analysed = sum(plan.chain.cost for plan in plans)
    regions: dict[tuple[str, str], dict[str, Any]] = {}
    for plan in plans:
        place = (plan.chain.account, plan.chain.region)
        empty = {"account": place[0], "region": place[1], "volumes": 0, "snapshots": 0, "gib": 0.0, "cost": 0.0}
        region = regions.setdefault(place, empty)
        region["volumes"] += 1
        region["snapshots"] += len(plan.chain.snapshots)
        region["gib"] += gib(plan.chain.billed)
        region["cost"] += plan.chain.cost
    kinds: dict[str, list[float]] = {}
    for kind, quantity, cost in report.snapshots.select("kind", "quantity", "cost").iter_rows():
        sums = kinds.setdefault(kind or "unknown", [0.0, 0.0])
        sums[0] += quantity
        sums[1] += cost
    return {
        "bill": report.total,
        "snapshots": analysed,
        "average_month": report.average_month,
        "not_analysed": report.others,
        "kinds": [{"kind": kind, "quantity": quantity, "cost": cost} for kind, (quantity, cost) in sorted(kinds.items())],
        "regions": [regions[place] for place in sorted(regions)],
    }


def text(document: Mapping[str, Any], plans: Sequence[Plan], limit: Optional[int] = None) -> Iterator[str]:
    """The report for a terminal, line by line: region, volume, snapshot; then savings, totals and what was not analysed."""
    report = document["report"]
    state = "complete" if report["complete"] else f"not complete: billed until {report['last_day']}"
    yield f"EBS snapshots on the bill of {report['period']} ({state}; {', '.join(report['kinds'])}, {report['currency']})"
    how = "blocks billed on" if report["exact"] else "average of the month, since the report is monthly; until"
    yield f"Sizes are {how} {report['last_day']}. Prices: {document['prices_note']}"
    monthly, average = document["savings"]["monthly"], document["totals"]["average_month"]
    if abs(monthly - average) > max(1.0, _UNLIKE * average):
        said = f"{amount(report['currency'], monthly)} a month, the average day to {amount(report['currency'], average)}"
        yield f"What was billed on {report['last_day']} comes to {said}: what is stored has changed, or lines are missing."
    reasons = collections.Counter(each["why"] for each in report["passed_over"])
    for why, count in reasons.items():
        yield f"Not read: {_many(count, 'file')}, {why}."
    if report["may_change_until"]:
        yield f"AWS may change this bill until about {report['may_change_until']}."
    shown = plans if limit is None else plans[:limit]
    money = functools.partial(amount, report["currency"])
    yield from _not_asked_text(document["not_asked"], money)
    for region in document["totals"]["regions"]:
        yield ""
        sums = f"{_many(region['snapshots'], 'snapshot')}, {region['gib']:.2f} GiB, {money(region['cost'])}"
        yield f"{region['region']}, account {region['account'] or 'unknown'}: {sums}"
        here = [plan for plan in shown if (plan.chain.account, plan.chain.region) == (region["account"], region["region"])]
        for plan in here:
            if plan.chain.volume_id:
                yield from _chain_text(plan, money)
        lone = [plan for plan in here if not plan.chain.volume_id]
        if lone:
            unknown = sum(plan.chain.unknown for plan in lone)
            why = f", {'' if unknown == len(lone) else f'{unknown} of them '}{_NOT_ASKED}" if unknown else ""
            yield f"  of unknown volumes: {_many(len(lone), 'snapshot')}{why}, kept: what they share with others is not known"
        for plan in lone:
            yield from _snapshots_text(plan, money)
    if len(plans) > len(shown):
        yield ""
        yield f"… and {_many(len(plans) - len(shown), 'more volume')}, which cost less; the files have all."
    yield from _closing(document, money)


def _not_asked_text(rows: Iterable[Mapping[str, Any]], money: Callable[[float], str]) -> Iterator[str]:
    """What there is no answer to: once for all regions and questions with the same reason."""
    alike: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        alike.setdefault((row["account"], row["why"].replace(row["permission"] or " ", ""), row["help"]), []).append(row)
    for (account, _why, helps), some in alike.items():
        where = ", ".join(dict.fromkeys(row["region"] for row in some if row["region"]))
        what = ", ".join(
            dict.fromkeys(f"{row['what']} ({row['permission']})" if row["permission"] else row["what"] for row in some)
        )
        place = f"account {account or 'unknown'}{f' in {where}' if where else ''}"
        same = [row for row in some if row["what"] == some[0]["what"]]
        count, monthly = (sum(row[name] for row in same) for name in ("snapshots", "monthly"))
        about = f" It is about {_many(count, 'snapshot')} of {money(monthly)} a month." if count else ""
        yield f"Not asked: {place}: {what}: {some[0]['why']}.{about} {helps}"


def _chain_text(plan: Plan, money: Callable[[float], str]) -> Iterator[str]:
    chain = plan.chain
    facts = [_many(len(chain.snapshots), "snapshot"), f"{gib(chain.billed):.2f} GiB", f"{money(chain.cost)}"]
    if chain.average_change is not None:
        facts.append(f"average change {chain.average_change:.1f}%")
    if chain.volume_gone:
        facts.append("volume is gone")
    yield f"  {chain.volume_id}: {', '.join(facts)}"
    yield from _snapshots_text(plan, money)
    where = f"{plan.chosen.target}, {plan.chosen.which}" if plan.chosen.target != KEEP else KEEP
    yield f"    -> {where}: {plan.reason}{_back(plan, money)}"


def _back(plan: Plan, money: Callable[[float], str]) -> str:
    """How soon it is back, and what would be sooner."""
    if plan.chosen.target == KEEP:
        return ""
    said = f"; back after {hours_text(plan.chosen.hours)}" if plan.chosen.hours else "; back at once"
    if plan.sooner:
        when = f"after {hours_text(plan.sooner.hours)}" if plan.sooner.hours else "at once"
        said += f"; {plan.sooner.target} is back {when} for {money(plan.sooner.more)} a month more"
    return said


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _snapshots_text(plan: Plan, money: Callable[[float], str]) -> list[str]:
    rows = []
    for one in plan.chain.snapshots:
        change = "" if one.change is None else f"{one.change:.1f}%"
        here = [one.keeper, _STATES.get(_state(plan, one), ""), "" if one.on_bill else "not on the bill"]
        size = f"{gib(one.billed or one.archived):.4f} GiB"
        rows.append([one.snapshot_id, one.start_time[:10] or "-", size, money(one.cost), change, "; ".join(filter(None, here))])
    return table(["", "", ">", ">", ">", ""], rows, indent="    ")


def _closing(document: Mapping[str, Any], money: Callable[[float], str]) -> Iterator[str]:
    saved, total = document["savings"], document["totals"]
    yield ""
    yield "Advice"
    yield from _targets(saved["targets"], money)
    if not saved["targets"]:
        yield "  keep everything where it is"
    day, since = document["report"]["last_day"], saved["since"]
    yield f"  Today {money(saved['monthly'])} a month, by what was billed on {day}."
    if since["gone"]:
        went = f"{_many(since['gone'], 'snapshot')} of {money(since['gone_monthly'])} a month"
        yield f"  Since then {went} went; what others hold of it is on their bills now."
    if since["new"]:
        yield f"  Since then {_many(since['new'], 'snapshot')} came that the bill does not have."
    yield "  Nothing is saved before the snapshots that were moved are deleted."
    yield ""
    yield "Assumed"
    yield from (f"  {sentence}" for sentence in document["assumed"])
    yield from (f"  Not priced: {each['what']}; {each['why']}." for each in document["not_priced"])
    yield ""
    yield f"Totals ({document['report']['currency']})"
    rows = [[total["snapshots"], "snapshots above"]]
    rows += [[other["cost"], f"not analysed: {other['group']}: {other['what']}"] for other in total["not_analysed"]]
    rows.append([total["bill"], "the whole bill"])
    yield from table([">", ""], [[f"{cost:.2f}", what] for cost, what in rows], indent="  ")


def _targets(targets: Mapping[str, Mapping[str, Any]], money: Callable[[float], str]) -> list[str]:
    """What goes where, a line for each."""
    titles = [
        "where to",
        ">volumes",
        ">snapshots",
        ">GiB there",
        ">saves a month",
        ">at least",
        ">at most",
        ">once",
        ">one back for",
        "in",
    ]
    rows = []
    for target, sums in targets.items():
        saving = [money(sums[name]) for name in ("saving_likely", "saving_least", "saving_most")]
        costs = [money(sums["once"]), money(sums["bring_back_one"]), hours_text(sums["hours_to_first_byte"])]
        rows.append([target, sums["chains"], sums["snapshots"], f"{sums['gib']:.2f}", *saving, *costs])
    return table(titles, rows, indent="  ")


def as_csv(document: Mapping[str, Any], plans: Iterable[Plan]) -> Iterator[str]:
    """One line a snapshot, under a header, with what its figures stand on."""
    yield _csv_line([*COLUMNS, *_ASSUMED])
    for plan in plans:
        for row in snapshot_rows(plan):
            assumed = _assumed(document, plan) if row["storage_class"] else [None] * len(_ASSUMED)
            yield _csv_line([*(" ".join(value) if isinstance(value, list) else value for value in row.values()), *assumed])


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
    """Everything, a volume at a time: a bill can have a hundred thousand."""
    yield json.dumps(document, indent=1)[:-2] + ',\n "chains": [\n'
    yield from listed(chain_row(plan) for plan in plans)
    yield "]}\n"


def listed(items: Iterable[Any]) -> Iterator[str]:
    """What stands between the brackets of a JSON list."""
    for number, item in enumerate(items):
        yield f"{',' if number else ''}{json.dumps(item, separators=(',', ':'))}\n"
