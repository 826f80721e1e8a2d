# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bill says of snapshots, and what it amounts to besides.

Polars reads every kind of file, in a stream; one query sums the lines by snapshot and day. Amounts are GB-months, of
which one is 2,048 blocks of 512 KiB for a whole month. AWS bills each snapshot's blocks once a day, so a daily amount
times the days of its month times 2,048 is a whole number: the blocks, exactly (EBS user guide, "Pricing and billing").
"""

from __future__ import annotations

import calendar
import csv
import gzip
import io
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common.errors import ColdstoreError, Corrupt, Permanent, Refused
from . import columns

if TYPE_CHECKING:
    import polars as pl

BLOCKS_A_GIB = 2048
NOWHERE = "unknown"  # the region of a line that names none we know
_HEADER = 1024**2  # bytes; a header line has some kilobytes
_SNAPSHOT_ID = r"(snap-(?:[0-9a-f]{17}|[0-9a-f]{8}))$"
_KIND = r"EBS:(Snapshot\w+|FastSnapshotRestore|directAPI\.snapshot\S*)"
STORED, ARCHIVED = "SnapshotUsage", "SnapshotArchiveStorage"
_DESCRIBED = {  # where FOCUS comes without AWS's own columns
    STORED: r"(?i)snapshot data stored|EBS:SnapshotUsage",
    ARCHIVED: r"(?i)snapshot.*archive|archive.*snapshot|EBS:SnapshotArchiveStorage",
}
# Usage types begin with the region's code but for us-east-1; the resource and the region's column are better.
_PREFIXES = {
    "": "us-east-1", "USE1": "us-east-1", "USE2": "us-east-2", "USW1": "us-west-1", "USW2": "us-west-2", "CAN1": "ca-central-1",
    "EU": "eu-west-1", "EUW1": "eu-west-1", "EUW2": "eu-west-2", "EUW3": "eu-west-3", "EUC1": "eu-central-1", "EUN1": "eu-north-1",
    "EUS1": "eu-south-1", "APN1": "ap-northeast-1", "APN2": "ap-northeast-2", "APN3": "ap-northeast-3", "APS1": "ap-southeast-1",
    "APS2": "ap-southeast-2", "APS3": "ap-south-1", "APE1": "ap-east-1", "SAE1": "sa-east-1", "CPT": "af-south-1",
    "AFS1": "af-south-1", "MES1": "me-south-1", "MEC1": "me-central-1", "ILC1": "il-central-1", "UGW1": "us-gov-west-1",
    "UGE1": "us-gov-east-1",
}  # fmt: skip


class Report(NamedTuple):
    """A bill of one period.

    snapshots: one row a snapshot and kind: account, region, snapshot_id, kind, quantity (GB-months or GB), last_quantity (that
    of last_day), cost, net_cost, list_cost. lines: what `daily` sums, as it was read.
    others: what is on the bill besides, a dict each with group, what, cost.
    last_day: the newest day that is billed completely. exact: amounts are whole blocks.
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
    has_net: bool

    @property
    def days(self) -> int:
        """Of the billing period's month."""
        return days_of(self.month)


def days_of(month: str) -> int:
    """How many days a month has; YYYY-MM."""
    return calendar.monthrange(int(month[:4]), int(month[5:7]))[1]


def read(paths: Sequence[str], period: str, spool: str, today: date) -> Report:
    """Read the files of one billing period; csv, csv.gz, zip and Parquet, all at once.

    period: YYYY-MM, to take only these lines. spool: a directory of the caller's for what is taken out of zip files.
    Raises Refused or Corrupt in one sentence for whatever is not a whole, single-period bill with resource ids.
    """
    import polars as pl

    files = [file for path in paths for file in _unpacked(path, spool)]
    scans, layouts, fields = [], [], set()
    for file in files:
        scan, names = _scan(file)
        layout = columns.recognise(names, file)
        layouts.append(layout)
        there = columns.present(layout, names)
        fields |= set(there)
        try:
            scans.append(_rows(scan, layout, there))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(file, error) from None
    query = pl.concat(scans).group_by(_KEYS).agg(pl.col("end").first(), pl.col(*_SUMS, "bad").sum())
    try:
        table = query.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(_broken(scans, files), error) from None
    by_kind = table.lazy().group_by(_FACETS).agg(pl.col("cost", "bad").sum()).collect(engine="streaming")
    month, currency = _checked(by_kind, period, files)
    is_usage = pl.col("line_type").cast(pl.String).is_in(sorted({name for layout in layouts for name in layout.usage}))
    of_month = pl.col("period") == month
    usage = table.filter(pl.col("snapshot") & is_usage & of_month).select(
        "resource", "usage_type", "region", "account", "start", "end", *_SUMS
    )
    del table  # with a line a snapshot a day it is most of what is in memory
    if usage.height and not _values(usage, "resource"):
        raise Refused("no line of the report names a snapshot: it has no resource ids", columns.SWITCH_ON_RESOURCES, path=files[0])
    monthly = _is_monthly(usage, files)
    first, last = _days(_values(usage, "start"), month, today)
    snapshots = _snapshots(usage, last)
    if monthly:  # a month's line begins on its first day and is of all of it
        last = min(date(int(month[:4]), int(month[5:7]), days_of(month)), today)
    by_kind = by_kind.filter(of_month)
    return Report(
        kinds=sorted({layout.name for layout in layouts}),
        currency=currency,
        month=month,
        complete=month < today.strftime("%Y-%m"),
        granularity="monthly" if monthly else "daily",
        first_day=first,
        last_day=last,
        exact=not monthly,
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
        has_net="net_cost" in fields,
    )


_FACETS = ("snapshot", "line_type", "service", "currency", "period")
_KEYS = (*_FACETS, "resource", "usage_type", "region", "account", "start")


def _rows(scan: pl.LazyFrame, layout: columns.Layout, there: dict[str, str]) -> pl.LazyFrame:
    """Every line as ours. What is not of snapshots keeps no detail, so that it is few groups."""
    import polars as pl

    schema = scan.collect_schema()

    def text(field: str) -> pl.Expr:
        if field not in there:
            return pl.lit(None, pl.String)
        column = pl.col(there[field])
        return column if schema[there[field]] == pl.String else column.cast(pl.String)

    def number(field: str) -> pl.Expr:
        return pl.col(there[field]).cast(pl.Float64, strict=False) if field in there else pl.lit(None, pl.Float64)

    def bad(field: str) -> pl.Expr:
        return number(field).is_null() & pl.col(there[field]).is_not_null()

    usage_type = text("usage_type")
    if "usage_type" not in there:
        described = text("description")
        usage_type = (
            pl.when(~text("service").str.contains("(?i)elastic"))
            .then(pl.lit("other"))
            .when(described.str.contains(_DESCRIBED[ARCHIVED]))
            .then(pl.lit(f"EBS:{ARCHIVED}"))
            .when(described.str.contains(_DESCRIBED[STORED]))
            .then(pl.lit(f"EBS:{STORED}"))
            .otherwise(pl.lit("other"))
        )
    snapshot = (
        usage_type.str.contains("EBS:Snapshot", literal=True)
        | usage_type.str.contains("EBS:FastSnapshotRestore", literal=True)
        | usage_type.str.contains("EBS:directAPI.snapshot", literal=True)
    ).fill_null(value=False)
    line_type = text("line_type")
    if "correction" in there:
        line_type = pl.when(text("correction") == "Correction").then(pl.lit("Correction")).otherwise(line_type)

    def key(expression: pl.Expr) -> pl.Expr:
        return expression.cast(pl.Categorical)

    def kept(expression: pl.Expr) -> pl.Expr:
        return key(pl.when(snapshot).then(expression))

    name = there["line_type"]  # a header line that is repeated where files were joined
    rows = scan.filter(pl.col(name).ne_missing(name)) if schema[name] == pl.String else scan
    return rows.select(
        snapshot=snapshot,
        resource=kept(text("resource").str.tail(22)),  # an id; the rest of an ARN would be heavy
        usage_type=kept(usage_type),
        region=kept(text("region") if "region" in there else text("resource").str.extract(r"^arn:[\w-]+:ec2:([a-z0-9-]+):")),
        account=kept(text("account")),
        start=kept(text("start").str.head(10)),
        end=kept(text("end").str.head(10)),
        line_type=key(line_type),
        service=key(pl.when(~snapshot).then(text("service"))),
        currency=key(text("currency")),
        period=key(text("period").str.head(7)),
        quantity=pl.when(snapshot).then(number("quantity")),
        cost=number("cost"),
        net_cost=number("net_cost").fill_null(number("cost")),
        list_cost=number("list_cost").fill_null(number("cost")),
        bad=bad("cost") | (snapshot & bad("quantity")),
    )


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


def _snapshots(usage: pl.DataFrame, last: date) -> pl.DataFrame:
    """One row a snapshot and kind. Keys are few and short until here, so that the many lines before are light."""
    import polars as pl

    on_last = pl.col("start") == last.isoformat()
    grouped = (
        usage.lazy()
        .group_by("account", "region", "resource", "usage_type")
        .agg(pl.col(_SUMS).sum(), last_quantity=pl.when(on_last).then(pl.col("quantity")).sum())
        .collect(engine="streaming")
    )
    prefix = pl.col("usage_type").cast(pl.String).str.extract(r"^(?:([A-Z0-9]+)-)?EBS:").fill_null("")
    named = grouped.with_columns(
        pl.col("account").cast(pl.String).fill_null(""),
        pl.coalesce(pl.col("region").cast(pl.String), prefix.replace_strict(_PREFIXES, default=None), pl.lit(NOWHERE)),
        snapshot_id=_snapshot_id(),
        kind=pl.col("usage_type").cast(pl.String).str.extract(_KIND),
    )
    keys = ["account", "region", "snapshot_id", "kind"]
    return named.group_by(keys).agg(pl.col(*_SUMS, "last_quantity").sum().round(_DIGITS)).sort(keys)


def _values(table: pl.DataFrame, column: str) -> list[str]:
    """The distinct values of a column, sorted, without null."""
    import polars as pl

    return sorted(table.select(pl.col(column).drop_nulls().unique().cast(pl.String))[column])


def _is_monthly(usage: pl.DataFrame, files: Sequence[str]) -> bool:
    import polars as pl

    spans = usage.lazy().select("start", "end").unique().collect(engine="streaming").cast(pl.String)
    try:
        return any(date.fromisoformat(end) - date.fromisoformat(start) > timedelta(days=1) for start, end in spans.iter_rows())
    except (ValueError, TypeError):
        raise Corrupt("lines have a start or an end that is no date", "Fetch the report again.", path=files[0]) from None


def _checked(by_kind: pl.DataFrame, period: str, files: Sequence[str]) -> tuple[str, str]:
    """The one month and the one currency of a report. Raises Refused if there are several, Corrupt for what is no number."""
    import polars as pl

    months = _values(by_kind, "period")
    if not months:
        raise Refused("the report has no lines", "Wait until AWS has delivered a day of it.", path=files[0])
    if period and period not in months:
        raise Refused(f"the report is of {', '.join(months)}, not of {period}", path=files[0])
    if not period and len(months) > 1:
        raise Refused(f"the report mixes the periods {', '.join(months)}", "Choose one with period.", path=files[0])
    month = period or months[0]
    by_kind = by_kind.filter(pl.col("period") == month)
    bad = by_kind["bad"].sum()
    if bad:
        raise Corrupt(f"{bad} lines have amounts that are no numbers", "Fetch the report again.", path=files[0])
    currencies = _values(by_kind, "currency")
    if len(currencies) > 1:
        raise Refused(f"the report mixes the currencies {', '.join(currencies)}", "Analyse one at a time.", path=files[0])
    return month, currencies[0] if currencies else "USD"


def _days(days: list[str], month: str, today: date) -> tuple[date, date]:
    """The first day on the bill, and the last that is billed completely: a running month's newest day may still grow."""
    if month == today.strftime("%Y-%m") and len(days) > 1:
        days = days[:-1]
    return date.fromisoformat(days[0] if days else f"{month}-01"), date.fromisoformat(days[-1] if days else f"{month}-01")


def _summed(group: str, table: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    """What is not analysed, so that the sums can be checked: why, what, how much."""
    import polars as pl

    sums = (
        table.group_by(pl.col(by).cast(pl.String))
        .agg(pl.col("cost").sum().round(_DIGITS))
        .sort("cost", by, descending=[True, False])
    )
    return [{"group": group, "what": what or "(none)", "cost": cost} for what, cost in sums.iter_rows()]


def _scan(path: str) -> tuple[pl.LazyFrame, list[str]]:
    """A lazy table of a file, whatever its name, and its columns."""
    import polars as pl

    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        try:
            scan = pl.scan_parquet(path)
            return scan, scan.collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(path, error) from None
    names = _header(path, magic)
    return pl.scan_csv(path, infer_schema=False, null_values="NULL" if "BilledCost" in names else None), names


def _header(path: str, magic: bytes) -> list[str]:
    try:
        with gzip.open(path, "rb") if magic[:2] == b"\x1f\x8b" else open(path, "rb") as file:
            head = file.read(_HEADER).lstrip().partition(b"\n")[0].decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError:
        raise Refused("this is no cost report: it is not text, gzip, zip or Parquet", path=path) from None
    if not head:
        raise Refused("the file is empty", "Fetch the report again.", path=path)
    if head.startswith(("<", "{")):
        raise Refused(
            "this is a web page or an error message, not a cost report", "Fetch the report again, with credentials.", path=path
        )
    return next(csv.reader(io.StringIO(head)))


def _unpacked(path: str, spool: str) -> Iterator[str]:
    """The file itself, or what a zip file holds.

    A member of a zip file is a deflate stream with its CRC and size, as a gzip file is: the frame is exchanged, and
    nothing is decompressed (RFC 1952; APPNOTE 4.3).
    """
    if not os.path.getsize(path):
        raise Refused("the file is empty", "Fetch the report again.", path=path)
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            yield path
            return
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
            members = [each for each in archive.infolist() if each.filename.lower().endswith(".csv")]
            if not members:
                raise Refused("the zip file holds no csv", "Give what AWS delivered.", path=path)
            for number, member in enumerate(members):
                if member.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED) or member.flag_bits & 1:
                    raise Refused("the zip file is encrypted, or compressed in an unusual way", "Unpack it first.", path=path)
                yield _reframed(raw, member, os.path.join(spool, f"{os.path.basename(path)}.{number}.csv"))
    except zipfile.BadZipFile as error:
        raise Corrupt(f"the zip file is damaged or cut short: {error}", "Fetch the report again.", path=path) from None


def _reframed(raw: io.BufferedReader, member: zipfile.ZipInfo, path: str) -> str:
    raw.seek(member.header_offset)
    name_length, extra_length = struct.unpack("<26xHH", raw.read(30))
    raw.seek(name_length + extra_length, os.SEEK_CUR)
    deflated = member.compress_type == zipfile.ZIP_DEFLATED
    with open(path, "wb") as file:
        if deflated:
            file.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
        left = member.compress_size
        while left:
            piece = raw.read(min(left, _HEADER))
            if not piece:
                raise zipfile.BadZipFile(f"{member.filename} ends early")
            file.write(piece)
            left -= len(piece)
        if deflated:
            file.write(struct.pack("<II", member.CRC, member.file_size & 0xFFFFFFFF))
    return path


def _broken(scans: Sequence[pl.LazyFrame], files: Sequence[str]) -> str:
    """The first file that cannot be read to its end; the reader of many does not say which it was."""
    import polars as pl

    for scan, file in zip(scans, files):
        try:
            scan.select(pl.col("cost").sum()).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError):
            return file
    return ", ".join(files[:5])


def _unreadable(path: str, error: Exception) -> ColdstoreError:
    """One sentence for what a reader says."""
    if isinstance(error, OSError) and error.errno:
        return Permanent(f"the report cannot be read: {error.strerror}", path=error.filename or path)
    text = " ".join(str(error).split())[:200].rstrip(".")
    return Corrupt(f"the report is damaged or cut short: {text}", "Fetch it again.", path=path)
