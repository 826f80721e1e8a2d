# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bill says about snapshots, and what else is on it.

Polars reads every kind of file, in a stream; one query sums the lines by snapshot and day. Amounts are GB-months, of
which one is 2,048 blocks of 512 KiB for a whole month. AWS bills each snapshot's blocks once a day, so a daily amount
times the days of its month times 2,048 is a whole number: the blocks, exactly (EBS user guide, "Pricing and billing").
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.errors import Corrupt, Refused
from . import columns, days, files, overlaps
from .regions import PREFIXES
from .rows import ARCHIVED, COPIED, FAST, STORED, rows

if TYPE_CHECKING:
    import polars as pl

BLOCKS_A_GIB = 2048
NOWHERE = "unknown"  # the region of a line that names no known one
_SNAPSHOT_ID = r"(snap-(?:[0-9a-f]{17}|[0-9a-f]{8}))$"
_KIND = rf"(?:EBS:|-)(Snapshot\w+|{FAST}|directAPI\.snapshot\S*|{COPIED})"


class Report(NamedTuple):
    """A bill of one period.

    snapshots: one row a snapshot and kind: account, region, snapshot_id, kind, quantity (GB-months, GB or hours), gib (its size on
    last_day; the average of the month where lines are monthly; of hours, those of a month of such days), cost, net_cost (discounts
    off), list_cost. lines: what `daily` sums, as it was read. others: what is on the bill besides, a dict each with group, what,
    cost.
    last_day: the newest day that is billed completely. complete: that is the month's last, and AWS has closed the month.
    average_month: dollars that storage and fast restore of an average day come to in a month.
    exact: all sizes are whole blocks. left_out: files that were not read, and why.
    """

    kinds: list[str]
    currency: str
    month: str
    complete: bool
    granularity: str
    first_day: date
    last_day: date
    exact: bool
    snapshots: pl.DataFrame
    lines: pl.DataFrame
    others: list[dict[str, Any]]
    total: float
    average_month: float
    left_out: list[tuple[str, str]]

    @property
    def days(self) -> int:
        """Of the billing period's month."""
        return days_of(self.month)


def days_of(month: str) -> int:
    """How many days a month has; YYYY-MM."""
    return calendar.monthrange(int(month[:4]), int(month[5:7]))[1]


def read(paths: Sequence[str], period: str, spool: str, today: date, currency: str = "") -> Report:
    """Read the files of one billing period; csv, csv.gz, zip and Parquet, all at once.

    period: YYYY-MM, to read only these lines. currency: to read only these. spool: a directory of the caller for the contents of
    zip files. Raises Refused or Corrupt, with one sentence, for anything that is not one whole bill of one period and one currency,
    with resource ids.
    """
    import polars as pl

    paths, left_out = files.distinct(paths)
    tables = [_Table.of(file) for path in paths for file in files.unpacked(path, spool)]
    names = [table.path for table in tables]
    scans = [table.rows(number) for number, table in enumerate(tables)]
    keys = [*_FACETS, *_DETAILS, *(["file"] if len(scans) > 1 else [])]
    query = pl.concat(scans).group_by(keys).agg(pl.col("end").max(), pl.col(*_SUMS, "bad").sum())
    try:
        table = query.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise files.unreadable(files.broken(scans, names), error) from None
    by_kind = table.lazy().group_by(_FACETS).agg(pl.col("cost", "bad").sum()).collect(engine="streaming")
    month, currency = _checked(by_kind, period, currency, names)
    wanted = (pl.col("period") == month) & (pl.col("currency") == currency).fill_null(value=True)
    is_usage = pl.col("line_type").cast(pl.String).is_in(sorted({name for table in tables for name in table.layout.usage}))
    is_discount = pl.col("line_type").cast(pl.String).is_in(columns.DISCOUNTS)
    lines = table.filter(pl.col("snapshot") & (is_usage | is_discount) & wanted).select(
        *_DETAILS, "end", *_SUMS, is_usage=is_usage, **({"file": pl.col("file")} if len(scans) > 1 else {})
    )
    del table  # with a line a snapshot a day it is most of what is in memory
    usage = lines.filter(pl.col("is_usage"))
    if usage.height and not _values(usage, "resource"):
        raise Refused("no line of the report names a snapshot: it has no resource ids", columns.SWITCH_ON_RESOURCES, path=names[0])
    if len(scans) > 1:
        overlaps.check(usage, tables)
    storage = usage.filter(pl.col("usage_type").cast(pl.String).str.contains(f"EBS:({STORED}|{ARCHIVED})$"))
    spans = days.spans(usage, names)
    billed = days.billed(storage, spans, month, today)
    snapshots = _snapshots(lines, spans, billed.last, days_of(month))
    by_kind = by_kind.filter(wanted)
    return Report(
        kinds=sorted({table.layout.name for table in tables}),
        currency=currency,
        month=month,
        complete=billed.complete,
        granularity=billed.granularity,
        first_day=billed.first,
        last_day=billed.last,
        exact=billed.granularity == "daily",
        snapshots=snapshots.filter(pl.col("snapshot_id").is_not_null()),
        lines=usage.select("resource", "start", "cost"),
        others=[
            *_summed(
                "snapshots: taxes, credits and other adjustments", by_kind.filter(pl.col("snapshot") & ~is_usage), "line_type"
            ),
            *_summed("snapshots: lines without a snapshot's id", snapshots.filter(pl.col("snapshot_id").is_null()), "kind"),
            *_summed("other services", by_kind.filter(~pl.col("snapshot")), "service"),
        ],
        total=round(float(by_kind["cost"].sum()), _DIGITS),
        average_month=_average_month(snapshots, billed, days_of(month)),
        left_out=left_out,
    )


_FACETS = ("snapshot", "line_type", "service", "currency", "period")
_DETAILS = ("resource", "usage_type", "region", "account", "start")


class _Table(NamedTuple):
    """A file that was recognised. named: what we call it -> its columns that hold it, the best first."""

    path: str
    scan: pl.LazyFrame
    layout: columns.Layout
    named: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, path: str) -> _Table:
        scan, names = files.scan(path)
        layout = columns.recognise(names, path)
        return cls(path, scan, layout, columns.present(layout, names))

    def rows(self, number: int, digits: int = 10) -> pl.LazyFrame:
        """Its lines as ours; digits: how much of a time is kept, 10 for the day."""
        import polars as pl

        try:
            return rows(self.scan, self.named, number, digits)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise files.unreadable(self.path, error) from None


def daily(report: Report, volume_of: Mapping[str, str]) -> list[tuple[str, str, float]]:
    """What each volume's snapshots cost on each day: (volume, day, dollars), '' for snapshots of no known volume."""
    import polars as pl

    known = pl.DataFrame(
        {"snapshot_id": list(volume_of), "volume": list(volume_of.values())}, schema={"snapshot_id": pl.String, "volume": pl.String}
    )
    resources = report.lines.select("resource").unique()
    resources = resources.with_columns(snapshot_id=_snapshot_id()).join(known, on="snapshot_id", how="left").drop("snapshot_id")
    joined = report.lines.join(resources, on="resource", how="left")
    costs = joined.group_by("volume", "start").agg(pl.col("cost").sum().round(_DIGITS))
    ordered = costs.with_columns(pl.col("start").cast(pl.String)).sort("start", "volume")
    return [(volume or "", day, cost) for volume, day, cost in ordered.iter_rows()]


_SUMS = ("quantity", "cost", "net_cost", "list_cost")
_DIGITS = 10  # as many as amounts on a bill have; what is beyond depends on the order in which threads added


def _snapshot_id() -> pl.Expr:
    import polars as pl

    return pl.col("resource").cast(pl.String).str.extract(_SNAPSHOT_ID)


def _snapshots(lines: pl.DataFrame, spans: pl.DataFrame, last: date, month_days: int) -> pl.DataFrame:
    """One row per snapshot and kind. Keys are few and short until here, so that the many lines before need little memory."""
    import polars as pl

    usage = pl.col("is_usage")
    covers = spans.with_columns(
        share=pl.when(pl.col("span") <= 1)
        .then(pl.when(pl.col("first") == last).then(float(month_days)))  # the lines of a day add up to it
        .when((pl.col("first") <= last) & (pl.col("until") > last))
        .then(month_days / pl.col("span"))
        .fill_null(0.0)
    )
    grouped = (
        lines.lazy()
        .join(covers.lazy().select("start", "end", "share"), on=["start", "end"], how="left")
        .group_by("account", "region", "resource", "usage_type")
        .agg(
            *(pl.when(usage).then(pl.col(name)).otherwise(0.0).sum().alias(name) for name in ("quantity", "cost", "list_cost")),
            pl.col("net_cost").sum(),
            gib=pl.when(usage).then(pl.col("quantity") * pl.col("share")).otherwise(0.0).sum(),
        )
        .collect(engine="streaming")
    )
    # A Local Zone's code follows its region's: USW2-LAX1A-EBS:SnapshotUsage.
    prefix = pl.col("usage_type").cast(pl.String).str.extract(r"^(?:([A-Z0-9]+)-)?(?:[A-Z0-9]+-)*EBS:").fill_null("")
    named = grouped.with_columns(
        # A spreadsheet removes the leading zeros of an account id.
        pl.col("account").cast(pl.String).fill_null("").str.replace(r"^(\d+)$", "00000000000$1").str.replace(r"^0*(\d{12})$", "$1"),
        pl.coalesce(pl.col("region").cast(pl.String), prefix.replace_strict(PREFIXES, default=None), pl.lit(NOWHERE)),
        snapshot_id=_snapshot_id(),
        kind=pl.col("usage_type").cast(pl.String).str.extract(_KIND),
    )
    keys = ["account", "region", "snapshot_id", "kind"]
    return named.group_by(keys).agg(pl.col(*_SUMS, "gib").sum().round(_DIGITS)).sort(keys)


def _average_month(snapshots: pl.DataFrame, billed: days.Billed, month_days: int) -> float:
    import polars as pl

    cost = float(snapshots.filter(pl.col("kind").is_in([STORED, ARCHIVED, FAST]))["net_cost"].sum())
    covered = month_days if billed.granularity == "monthly" else billed.days
    return round(cost * month_days / covered, _DIGITS)


def _values(table: pl.DataFrame, column: str) -> list[str]:
    """The distinct values of a column, sorted, without null."""
    import polars as pl

    return sorted(table.select(pl.col(column).drop_nulls().unique().cast(pl.String))[column])


def _checked(by_kind: pl.DataFrame, period: str, currency: str, files: Sequence[str]) -> tuple[str, str]:
    """The month and the currency of a report. Raises Refused if there are several, Corrupt for amounts that are not numbers."""
    import polars as pl

    months = _values(by_kind, "period")
    if not months:
        raise Refused("the report has no lines", "Wait until AWS has delivered a day of it.", path=files[0])
    strange = [month for month in months if not re.match(r"\d{4}-(0[1-9]|1[0-2])$", month)]
    if strange:
        raise Corrupt(f"a billing period is written as {strange[0]!r}", days.REWRITTEN, path=files[0])
    if period and period not in months:
        raise Refused(f"the report is for {', '.join(months)}, not for {period}", path=files[0])
    if not period and len(months) > 1:
        raise Refused(f"the report mixes the periods {', '.join(months)}", "Choose one with period.", path=files[0])
    month = period or months[0]
    by_kind = by_kind.filter((pl.col("period") == month).fill_null(value=True))
    bad = by_kind["bad"].sum()
    if bad:
        raise Corrupt(
            f"lines with amounts that are not numbers, or without a period: {bad}", "Fetch the report again.", path=files[0]
        )
    currencies = _values(by_kind, "currency")
    if currency and currency not in currencies:
        raise Refused(f"the report is in {', '.join(currencies)}, not in {currency}", path=files[0])
    if not currency and len(currencies) > 1:
        raise Refused(f"the report mixes the currencies {', '.join(currencies)}", "Choose one with currency.", path=files[0])
    return month, currency or (currencies[0] if currencies else "USD")


def _summed(group: str, table: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    """What is not analysed, so that the sums can be checked: why, what, how much."""
    import polars as pl

    sums = (
        table.group_by(pl.col(by).cast(pl.String))
        .agg(pl.col("cost").sum().round(_DIGITS))
        .sort("cost", by, descending=[True, False])
    )
    return [{"group": group, "what": what or "(none)", "cost": cost} for what, cost in sums.iter_rows()]
