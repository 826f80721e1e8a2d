# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The analysis for a terminal, line by line."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

from ..common.report import table
from .advice import KEEP, Plan
from .cautions import cautions, many
from .lineage import gib
from .moves import hours_text
from .output import NOT_ASKED, state_of
from .prices import amount
from .sums import line_of

_STATES = {
    NOT_ASKED: NOT_ASKED,
    "archive": "EBS archive",
    "ended": "ended in the period",
    "gone": "deleted since the bill",
}
_AGES = {"under": "under one year", "over": "over one year", "unknown": "not known"}


def lines(document: Mapping[str, Any], plans: Sequence[Plan], limit: Optional[int] = None) -> Iterator[str]:
    """The lines of the report for a terminal: region, volume, snapshot; then savings, totals and what was not analysed."""
    report = document["report"]
    state = "complete" if report["complete"] else f"not complete: billed until {report['last_day']}"
    yield f"EBS snapshots on the bill of {report['period']} ({state}; {', '.join(report['kinds'])}, {report['currency']})"
    how = "blocks billed on" if report["exact"] else "average of the month, since the report is monthly; until"
    yield f"Sizes are {how} {report['last_day']}. Prices: {document['prices_note']}"
    yield from cautions(document)
    shown = plans if limit is None else plans[:limit]
    money = functools.partial(amount, report["currency"])
    yield from _bill(document)
    for region in document["totals"]["regions"]:
        yield ""
        dollars = f"{money(region['cost'])} (net {money(region['net_cost'])}, list {money(region['list_cost'])})"
        sums = f"{many(region['snapshots'], 'snapshot')}, {region['gib']:.2f} GiB, {dollars}"
        yield f"{region['region']}, account {region['account'] or 'unknown'}: {sums}"
        here = [plan for plan in shown if (plan.chain.account, plan.chain.region) == (region["account"], region["region"])]
        for plan in here:
            if plan.chain.volume_id or plan.chain.snapshots[0].start_time:
                yield from _chain_text(plan, document["tags"], money)
        lone = [plan for plan in here if not plan.chain.volume_id and not plan.chain.snapshots[0].start_time]
        if lone:
            unknown = sum(plan.chain.unknown for plan in lone)
            why = f", {'' if unknown == len(lone) else f'{unknown} of them '}{NOT_ASKED}" if unknown else ""
            yield f"  of unknown volumes: {many(len(lone), 'snapshot')}{why}, kept since it is not known what they share"
        for plan in lone:
            yield from _snapshots_text(plan, document["tags"], money)
    if len(plans) > len(shown):
        yield ""
        yield f"… and {many(len(plans) - len(shown), 'more volume')} of lower cost; the files list all of them."
    yield from _closing(document, money)


def _bill(document: Mapping[str, Any]) -> Iterator[str]:
    """What the dollars of snapshots are made of, and how old what they are paid for is."""
    total, dollars = document["totals"], ("cost", "net_cost", "list_cost")
    if not total["kinds"]:
        return
    yield ""
    rows = [[row["what"], *(f"{row[name]:.2f}" for name in dollars)] for row in total["kinds"]]
    rows.append(["together", *(f"{sum(row[name] for row in total['kinds']):.2f}" for name in dollars)])
    titles = [f"On the bill for snapshots ({document['report']['currency']})", ">cost", ">net", ">list"]
    yield from table(titles, rows)
    yield ""
    rows = [
        [_AGES[row["age"]], row["snapshots"], f"{row['gib']:.2f}", *(f"{row[name]:.2f}" for name in ("monthly", *dollars))]
        for row in total["ages"]
    ]
    yield from table(["Age", ">snapshots", ">GiB", ">a month", ">cost", ">net", ">list"], rows)


def _chain_text(plan: Plan, tags: Sequence[str], money: Callable[[float], str]) -> Iterator[str]:
    chain = plan.chain
    facts = [many(len(chain.snapshots), "snapshot"), f"{gib(chain.billed):.2f} GiB", money(chain.cost)]
    besides: dict[str, float] = {}
    for one in chain.snapshots:
        for kind, cost in one.besides.items():
            besides[line_of(kind)] = besides.get(line_of(kind), 0.0) + cost
    facts += [f"{money(cost)} of it {what}" for what, cost in besides.items()]
    if chain.average_change is not None:
        facts.append(f"average change {chain.average_change:.1f}%")
    if chain.volume_gone:
        facts.append("volume is gone")
    yield f"  {chain.volume_id or 'a copy without a volume'}: {', '.join(facts)}"
    yield from _snapshots_text(plan, tags, money)
    where = f"{plan.chosen.target}, {plan.chosen.which}" if plan.chosen.target != KEEP else KEEP
    yield f"    -> {where}: {plan.reason}{_back(plan, money)}"
    if plan.deletion:
        saves = f"about {money(plan.deletion.likely)} a month, at least {money(plan.deletion.saving[0])}"
        yield f"    or keep only the newest and archive nothing: saves {saves}"


def _back(plan: Plan, money: Callable[[float], str]) -> str:
    """How soon it can be read, and what would be sooner."""
    if plan.chosen.target == KEEP:
        return ""
    said = f"; readable after {hours_text(plan.chosen.hours)}" if plan.chosen.hours else "; readable at once"
    if plan.sooner:
        when = f"after {hours_text(plan.sooner.hours)}" if plan.sooner.hours else "at once"
        said += f"; {plan.sooner.target} is readable {when} for {money(plan.sooner.more)} a month more"
    return said


def _snapshots_text(plan: Plan, tags: Sequence[str], money: Callable[[float], str]) -> list[str]:
    rows = []
    for one in plan.chain.snapshots:
        change = "" if one.change is None else f"{one.change:.1f}%"
        state = f"in the Recycle Bin until {one.until}" if one.state == "bin" else _STATES.get(state_of(plan, one), "")
        here = [one.keeper, state, "" if one.on_bill else "not on the bill"]
        named = [one.tags.get("Name", ""), *(f"{tag}={one.tags[tag]}" for tag in tags if tag in one.tags)]
        size = f"{gib(one.billed or one.archived):.4f} GiB"
        facts = [one.snapshot_id, one.start_time[:10] or "-", size, money(one.cost), change]
        rows.append([*facts, " ".join(filter(None, named)), "; ".join(filter(None, here))])
    return table(["", "", ">", ">", ">", "", ""], rows, indent="    ")


def _closing(document: Mapping[str, Any], money: Callable[[float], str]) -> Iterator[str]:
    saved, total = document["savings"], document["totals"]
    yield ""
    yield "Advice"
    yield from _targets(saved["targets"], money)
    if saved["targets"]:
        first, later = money(saved["first_year"]), money(saved["later_year"])
        yield f"  In the first year that is about {first} after one-time costs, and {later} in each year after."
    else:
        yield "  Keep everything where it is."
    if saved["deletions"]["chains"]:
        rest = saved["deletions"]
        what = f"{many(rest['snapshots'], 'snapshot')} of {many(rest['chains'], 'volume')}"
        yield f"  Or keep only the newest and archive nothing ({what}): saves about {money(rest['saving_likely'])} a month."
    for row in document["fast"]:
        where = f"on in {', '.join(row['zones'])}" if row["zones"] else "billed on the last day"
        yield f"  Fast snapshot restore of {row['snapshot_id']}: {money(row['monthly'])} a month, {where}; until you switch it off."
    day, since = document["report"]["last_day"], saved["since"]
    yield f"  Today: {money(saved['monthly'])} a month, according to what was billed on {day}."
    if since["gone"]:
        went = f"{many(since['gone'], 'snapshot')} of {money(since['gone_monthly'])} a month"
        yield f"  Deleted since then: {went}; blocks that others hold are billed with those now."
    if since["binned"]:
        bin_ = f"{many(since['binned'], 'snapshot')} of {money(since['binned_monthly'])} a month"
        yield f"  In the Recycle Bin: {bin_}, paid for until {since['binned_until']}."
    if since["new"]:
        yield f"  Made since then, and not on the bill: {many(since['new'], 'snapshot')}."
    yield "  You save nothing until you delete the snapshots that were moved."
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
        ">bring one back",
        "within",
    ]
    rows = []
    for target, sums in targets.items():
        saving = [money(sums[name]) for name in ("saving_likely", "saving_least", "saving_most")]
        costs = [money(sums["once"]), money(sums["bring_back_one"]), hours_text(sums["hours_to_first_byte"])]
        rows.append([target, sums["chains"], sums["snapshots"], f"{sums['gib']:.2f}", *saving, *costs])
    return table(titles, rows, indent="  ")
