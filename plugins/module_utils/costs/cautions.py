# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the figures less than sure, in sentences that stand before any advice."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

from .prices import amount

_UNLIKE = 0.2  # of what an average day comes to, until the last one is said to be unlike it


def cautions(document: Mapping[str, Any]) -> Iterator[str]:
    """A last day unlike the others, files that were not read, a bill that still changes, and what nobody answered."""
    report = document["report"]
    money = functools.partial(amount, report["currency"])
    monthly, average = document["savings"]["monthly"], document["totals"]["average_month"]
    if abs(monthly - average) > max(1.0, _UNLIKE * average):
        said = f"{money(monthly)} a month, the average day to {money(average)}"
        yield f"What was billed on {report['last_day']} amounts to {said}: the stored amount has changed, or lines are missing."
    reasons = collections.Counter(each["why"] for each in report["passed_over"])
    for why, count in reasons.items():
        yield f"Not read: {many(count, 'file')}, {why}."
    if report["may_change_until"]:
        yield f"AWS may change this bill until about {report['may_change_until']}."
    yield from _not_asked(document["not_asked"], money)


def _not_asked(rows: Iterable[Mapping[str, Any]], money: Callable[[float], str]) -> Iterator[str]:
    """Questions without an answer: once for all regions and questions with the same reason."""
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
        about = f" This affects {many(count, 'snapshot')} of {money(monthly)} a month." if count else ""
        yield f"Not asked: {place}: {what}: {some[0]['why']}.{about} {helps}"


def many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
