# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes bills whose answers are known: the same lines in every format that AWS delivers.

bill = Bill("2026-09"); bill.snapshot("snap-…", blocks=20480); bill.noise(); bill.write(directory, "legacy.csv.gz")
"""

from __future__ import annotations

import calendar
import csv
import gzip
import io
import json
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

RATE = Decimal("0.05")
ARCHIVE_RATE = Decimal("0.0125")
PREFIX = {"us-east-1": "", "eu-west-1": "EU-", "eu-central-1": "EUC1-", "sa-east-1": "SAE1-", "us-gov-west-1": "UGW1-"}
FORMATS = (
    "legacy.csv", "legacy.csv.gz", "legacy.zip", "legacy.parquet", "cur2.csv.gz", "cur2.parquet", "focus.csv.gz", "focus.parquet",
    "focus_pure.csv.gz",
)  # fmt: skip
_TEN = Decimal("0.0000000001")
LAST_MONTH = (datetime.now(timezone.utc).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")


@dataclass(frozen=True)
class Line:
    start: datetime
    end: datetime
    usage_type: str
    resource: str
    quantity: Decimal
    cost: Decimal
    account: str = "111111111111"
    region: str = "us-east-1"
    line_type: str = "Usage"
    service: str = "AmazonEC2"
    family: str = "Storage Snapshot"
    net_cost: Decimal | None = None
    list_cost: Decimal | None = None


@dataclass
class Bill:
    month: str
    granularity: str = "daily"
    currency: str = "USD"
    days: int = 0  # delivered so far; 0 is all
    lines: list[Line] = field(default_factory=list)

    @property
    def month_days(self) -> int:
        return calendar.monthrange(int(self.month[:4]), int(self.month[5:7]))[1]

    @property
    def first(self) -> datetime:
        return datetime(int(self.month[:4]), int(self.month[5:7]), 1, tzinfo=timezone.utc)

    def snapshot(
        self, snapshot_id, blocks, days=None, account="111111111111", region="us-east-1", tier="SnapshotUsage", rate=None,
        line_type="Usage", net=None, arn=True, times=1,
    ) -> Decimal:  # fmt: skip
        """Bill a snapshot of so many blocks on these days (counted from 1); returns what it costs."""
        rate = rate if rate is not None else (ARCHIVE_RATE if tier == "SnapshotArchiveStorage" else RATE)
        resource = f"arn:aws:ec2:{region}:{account}:snapshot/{snapshot_id}" if arn else snapshot_id
        last = self.days or self.month_days
        wanted = [day for day in (days or range(1, last + 1)) if day <= last]
        total = Decimal(0)
        step = {"daily": 24, "hourly": 1, "monthly": 24}[self.granularity]
        if self.granularity == "monthly":
            spans = [(self.first, self.first + timedelta(days=self.month_days), Decimal(len(wanted)) / self.month_days)]
        else:
            spans = []
            for day in wanted:
                for hour in range(0, 24, step):
                    begin = self.first + timedelta(days=day - 1, hours=hour)
                    spans.append((begin, begin + timedelta(hours=step), Decimal(step) / 24 / self.month_days))
        for begin, end, share in spans:
            for _time in range(times):  # several lines an interval, that add up to it
                quantity = (Decimal(blocks) / 2048 * share / times).quantize(_TEN, ROUND_HALF_EVEN)
                cost = (quantity * rate).quantize(_TEN, ROUND_HALF_EVEN)
                self.lines.append(
                    Line(begin, end, f"{PREFIX[region]}EBS:{tier}", resource, quantity, cost, account, region, line_type,
                         net_cost=(cost * Decimal(net)).quantize(_TEN) if net else None, list_cost=(quantity * RATE).quantize(_TEN))
                )  # fmt: skip
                total += cost
        return total

    def add(self, usage_type, cost, resource="", quantity=0, day=1, **facts) -> Decimal:
        begin = self.first + timedelta(days=day - 1)
        self.lines.append(Line(begin, begin + timedelta(days=1), usage_type, resource, Decimal(quantity), Decimal(cost), **facts))
        return Decimal(cost)

    def noise(self) -> None:
        """What else is on a bill, some of it made to be mistaken for snapshots."""
        self.add("BoxUsage:m5.large", "70.0800000000", "i-0123456789abcdef0", 730, family="Compute Instance")
        self.add("EBS:VolumeUsage.gp3", "8.0000000000", "vol-0123456789abcdef0", 100, family="Storage")
        self.add(
            "EUC1-RDS:ChargedBackupUsage",
            "9.5000000000",
            "arn:aws:rds:eu-central-1:111111111111:cluster:a",
            100,
            service="AmazonRDS",
        )
        self.add("CW:AlarmMonitorUsage", "0.3000000000", "", 3, service="AmazonCloudWatch")  # of family Storage Snapshot, really
        self.add("USW2-Redshift:PaidSnapshots", "2.4000000000", "", 100, service="AmazonRedshift")
        self.add("", "12.3400000000", "", 0, line_type="Tax", service="AmazonEC2")
        self.add('Tag, with a comma, a "quote" and\na second line', "0.0100000000", "", 1, service="AWSOther")

    @property
    def total(self) -> Decimal:
        return sum((line.cost for line in self.lines), Decimal(0))

    def write(self, directory: Path, kind: str, name: str = "bill") -> Path:
        """Write the bill as one of FORMATS; returns the file."""
        layout, ending = kind.split(".", 1)
        path = Path(directory) / f"{name}-{kind.replace('focus_pure', 'focus-pure')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [getattr(self, f"_{layout}")(line) for line in self.lines]
        if ending == "parquet":
            rows = [_snake(row) if layout == "legacy" else row for row in rows]
            _parquet(path, rows)
            return path
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()})
        body = text.getvalue().encode()
        if ending == "csv":
            path.write_bytes(body)
        elif ending == "csv.gz":
            path.write_bytes(gzip.compress(body, 1))
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("report-1.csv", body)
        return path

    def _legacy(self, line: Line) -> dict:
        return {
            "identity/LineItemId": "x",
            "bill/BillingPeriodStartDate": _iso(self.first),
            "lineItem/UsageAccountId": line.account,
            "lineItem/LineItemType": line.line_type,
            "lineItem/UsageStartDate": _iso(line.start),
            "lineItem/UsageEndDate": _iso(line.end),
            "lineItem/ProductCode": line.service,
            "lineItem/UsageType": line.usage_type,
            "lineItem/ResourceId": line.resource,
            "lineItem/UsageAmount": f"{line.quantity:f}",
            "lineItem/CurrencyCode": self.currency,
            "lineItem/UnblendedCost": f"{line.cost:f}",
            "lineItem/NetUnblendedCost": "" if line.net_cost is None else f"{line.net_cost:f}",
            "product/productFamily": line.family,
            "product/region": line.region,
            "pricing/publicOnDemandCost": "" if line.list_cost is None else f"{line.list_cost:f}",
            "resourceTags/user:Name": "a, b",
        }

    def _cur2(self, line: Line) -> dict:
        legacy = _snake(self._legacy(line))
        legacy.pop("product_region")
        legacy.pop("resource_tags_user_name")
        legacy.pop("product_product_family")
        return dict(
            legacy, product_region_code=line.region, product={"productFamily": line.family}, resource_tags={"user_name": "a"}
        )

    def _focus(self, line: Line) -> dict:
        return {
            "BilledCost": f"{line.cost:f}",
            "BillingAccountId": "999999999999",
            "BillingCurrency": self.currency,
            "BillingPeriodStart": _iso(self.first),
            "ChargeCategory": "Usage" if "Usage" in line.line_type else line.line_type,
            "ChargeClass": "NULL",
            "ChargeDescription": _description(line),
            "ChargePeriodStart": _iso(line.start),
            "ChargePeriodEnd": _iso(line.end),
            "ConsumedQuantity": f"{line.quantity:f}",
            "EffectiveCost": f"{line.cost if line.net_cost is None else line.net_cost:f}",
            "ListCost": f"{line.cost if line.list_cost is None else line.list_cost:f}",
            "RegionId": line.region,
            "ResourceId": line.resource or "NULL",
            "ServiceName": {"AmazonEC2": "Amazon Elastic Compute Cloud"}.get(line.service, line.service),
            "SubAccountId": line.account,
            "Tags": {"user:Name": "a"},
            "x_UsageType": line.usage_type,
        }

    def _focus_pure(self, line: Line) -> dict:
        row = self._focus(line)
        row.pop("x_UsageType")
        return row


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _description(line: Line) -> str:
    if "SnapshotUsage" in line.usage_type:
        return f"$0.05 per GB-Month of snapshot data stored - {line.region}"
    if "SnapshotArchiveStorage" in line.usage_type:
        return f"$0.0125 per GB-Month of snapshot archive data stored - {line.region}"
    return line.usage_type or line.line_type


def _snake(row: dict) -> dict:
    """The names that a column of a csv report has in Parquet."""
    found = {}
    for name, value in row.items():
        flat = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name.replace("/", "_").replace(":", "_"))
        found[flat.replace("__", "_").lstrip("_")] = value
    return found


_NUMBERS = ("amount", "cost", "Cost", "Quantity")
_DATES = ("_date", "PeriodStart", "PeriodEnd")


def _parquet(path: Path, rows: list[dict]) -> None:
    """With Parquet's types, as AWS delivers it: doubles, timestamps and maps."""
    import polars as pl

    columns: dict[str, pl.Series] = {}
    for name in rows[0]:
        values = [None if row[name] in ("", "NULL") else row[name] for row in rows]
        if name.endswith(_NUMBERS):
            columns[name] = pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64)
        elif name.endswith(_DATES):
            stamps = [datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ") for value in values]
            columns[name] = pl.Series(name, stamps, pl.Datetime("ms"))
        elif isinstance(rows[0][name], dict):
            maps = [[{"key": key, "value": value} for key, value in each.items()] for each in values]
            columns[name] = pl.Series(name, maps)
        else:
            columns[name] = pl.Series(name, values, pl.String)
    pl.DataFrame(list(columns.values())).write_parquet(path, compression="snappy")
