# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which days of a month are billed completely. Sizes are taken from one of these, never from a day that still grows."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ..common.errors import Corrupt

if TYPE_CHECKING:
    import polars as pl

_CHANGING = timedelta(days=7)  # for so many days after the end of a month AWS still changes its lines
_CLOSING = timedelta(days=2)  # after the end of a month, until all lines of its last day are there
REWRITTEN = "A spreadsheet may have rewritten the dates. Use the files that AWS delivered."


class Billed(NamedTuple):
    """granularity: 'daily' (also of hourly lines), 'monthly', or 'mixed'. last: the newest day that is billed completely.

    days: from the first to the newest that has lines.
    """

    granularity: str
    first: date
    last: date
    complete: bool
    days: int


def spans(usage: pl.DataFrame, files: Sequence[str]) -> pl.DataFrame:
    """Each pair of start and end on the bill, with both as dates (first, until) and the days between (span).

    Raises Corrupt for anything that is not a date.
    """
    import polars as pl

    pairs = usage.lazy().select("start", "end").unique().collect(engine="streaming")
    texts = pairs.cast(pl.String)
    first = texts["start"].str.to_date("%Y-%m-%d", strict=False)
    until = texts["end"].str.to_date("%Y-%m-%d", strict=False)
    strange = texts.filter(first.is_null() | until.is_null())
    if strange.height:
        raise Corrupt(f"a line is from {strange['start'][0]!r} to {strange['end'][0]!r}", REWRITTEN, path=files[0])
    return pairs.with_columns(first=first, until=until, span=(until - first).dt.total_days())


def billed(storage: pl.DataFrame, spans: pl.DataFrame, month: str, today: date) -> Billed:
    """What the lines for storage say about the month. Lines for requests and other usage run ahead and do not count.

    The newest day may still grow, unless it is the last of a month that AWS has closed. A day before it counts if no
    snapshot is missing that was there the day before and is there again later.
    """
    import polars as pl

    begin = date(int(month[:4]), int(month[5:7]), 1)
    end = begin.replace(day=calendar.monthrange(begin.year, begin.month)[1])
    closed = today > end + _CLOSING
    lines = storage.lazy().join(spans.lazy(), on=["start", "end"])
    kinds = lines.select((pl.col("span") > 1).alias("long")).unique().collect(engine="streaming")["long"].to_list()
    if False not in kinds:  # a monthly line begins on the first day and covers the whole month
        return Billed("monthly" if kinds else "daily", begin, end if closed else min(end, today), closed, end.day)
    daily = lines.filter(pl.col("span") <= 1)
    there = sorted(daily.select(pl.col("first").unique()).collect(engine="streaming")["first"])
    at = len(there) - 1
    if not (closed and there[-1] == end) and at:
        at -= 1
        while at and _gaps(daily, there[at - 1], there[at], there[at + 1]):
            at -= 1
    granularity = "mixed" if True in kinds else "daily"
    return Billed(granularity, there[0], there[at], closed and there[at] == end, (there[-1] - there[0]).days + 1)


def _gaps(daily: pl.LazyFrame, before: date, day: date, after: date) -> bool:
    """Whether a snapshot has lines on the day before and the day after, but not on the day."""
    import polars as pl

    around = daily.filter(pl.col("first").is_in([before, day, after])).group_by("resource").agg(pl.col("first").unique())
    found = around.select(((pl.col("first").list.len() == 2) & ~pl.col("first").list.contains(day)).any())
    return bool(found.collect(engine="streaming").item())


def may_change_until(month: str, today: date) -> str:
    """The day until which AWS may still change a month's bill, or '' if that is over."""
    begin = date(int(month[:4]), int(month[5:7]), 1)
    until = begin.replace(day=calendar.monthrange(begin.year, begin.month)[1]) + _CHANGING
    return until.isoformat() if today <= until else ""
