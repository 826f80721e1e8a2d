# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of a bill's file as ours, whatever its columns are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import columns

if TYPE_CHECKING:
    import polars as pl

STORED, ARCHIVED, FAST = "SnapshotUsage", "SnapshotArchiveStorage", "FastSnapshotRestore"
RETRIEVED, DELETED_EARLY = "SnapshotArchiveRetrieval", "SnapshotArchiveEarlyDelete"
COPIED = "AWS-Out-Bytes"  # what the usage types of transfer between regions end in
_DESCRIBED = {  # where FOCUS comes without AWS's own columns; the first that fits
    RETRIEVED: r"(?i)archive.*retriev|retriev.*archive|EBS:SnapshotArchiveRetrieval",
    DELETED_EARLY: r"(?i)archive.*early.?delet|early.?delet.*archive|EBS:SnapshotArchiveEarlyDelete",
    ARCHIVED: r"(?i)snapshot.*archive|archive.*snapshot|EBS:SnapshotArchiveStorage",
    FAST: r"(?i)fast snapshot restore|EBS:FastSnapshotRestore",
    STORED: r"(?i)snapshot data stored|snapshot storage|EBS:SnapshotUsage",
}
_EC2 = r"(?i)elastic (compute|block)|\bEC2\b"


def rows(scan: pl.LazyFrame, there: Mapping[str, Sequence[str]], number: int, digits: int) -> pl.LazyFrame:
    """Every line in our form. Lines that are not about snapshots lose their details, so that there are few groups.

    there: our name -> the columns that hold it, the best first. number: of the file. digits: how much of a time is kept.
    """
    import polars as pl

    line = _Line(scan, there)
    text, amount = line.text, line.amount
    usage_type = line.usage_type()
    snapshot = (
        usage_type.str.contains("EBS:Snapshot", literal=True)
        | usage_type.str.contains("EBS:FastSnapshotRestore", literal=True)
        | usage_type.str.contains("EBS:directAPI.snapshot", literal=True)
        # A copy to another region is transfer that names the snapshot.
        | (usage_type.str.ends_with(COPIED) & text("resource").str.contains("snap-", literal=True))
    ).fill_null(value=False)

    def key(expression: pl.Expr) -> pl.Expr:
        return expression.cast(pl.Categorical)

    def kept(expression: pl.Expr) -> pl.Expr:
        return key(pl.when(snapshot).then(expression))

    return line.data().select(
        file=pl.lit(number, pl.Int32),
        snapshot=snapshot,
        resource=kept(text("resource").str.tail(22)),  # an id; the rest of an ARN would be heavy
        usage_type=kept(usage_type),
        region=kept(line.region()),
        account=kept(text("account")),
        start=kept(text("start").str.head(digits)),
        end=kept(text("end").str.head(digits)),
        line_type=key(line.type()),
        service=key(pl.when(~snapshot).then(text("service"))),
        currency=key(text("currency")),
        period=key(text("period").str.head(7)),
        quantity=pl.when(snapshot).then(amount("quantity")),
        cost=amount("cost"),
        net_cost=amount("net_cost").fill_null(line.without_discounts()),
        list_cost=amount("list_cost").fill_null(amount("cost")),
        bad=line.bad("cost") | (snapshot & line.bad("quantity")) | (text("period").is_null() & text("line_type").is_not_null()),
    )


class _Line:
    """What a line says, as expressions over the columns that a file has."""

    def __init__(self, scan: pl.LazyFrame, there: Mapping[str, Sequence[str]]) -> None:
        self._scan = scan
        self._schema = scan.collect_schema()
        self._there = there

    def data(self) -> pl.LazyFrame:
        """All lines except a header that is repeated where files were joined."""
        import polars as pl

        name = self._there["line_type"][0]
        return self._scan.filter(pl.col(name).ne_missing(name)) if self._schema[name] == pl.String else self._scan

    def text(self, field: str) -> pl.Expr:
        import polars as pl

        if field not in self._there:
            return pl.lit(None, pl.String)
        found = [pl.col(name) if self._schema[name] == pl.String else pl.col(name).cast(pl.String) for name in self._there[field]]
        if len(found) == 1:
            return found[0]
        return pl.coalesce([pl.when(column != "").then(column) for column in found])

    def amount(self, field: str) -> pl.Expr:
        """The number, or null if it is not one; NaN and infinity are null, too."""
        import polars as pl

        found = [pl.col(name).cast(pl.Float64, strict=False) for name in self._there.get(field, ())]
        found = [pl.when(column.is_finite()).then(column) for column in found]
        return pl.coalesce(found) if found else pl.lit(None, pl.Float64)

    def bad(self, field: str) -> pl.Expr:
        import polars as pl

        return self.amount(field).is_null() & pl.any_horizontal(*(pl.col(name).is_not_null() for name in self._there[field]))

    def usage_type(self) -> pl.Expr:
        """AWS's own term, or, if there is none, what the description amounts to."""
        import polars as pl

        usage_type = self.text("usage_type")
        if "description" not in self._there:
            return usage_type
        described = self.text("description")
        own = usage_type.str.contains("EBS:", literal=True) | usage_type.str.ends_with(COPIED)
        found = pl.when(own).then(usage_type).when(~self.text("service").str.contains(_EC2)).then(pl.lit("other"))
        for kind, pattern in _DESCRIBED.items():
            found = found.when(described.str.contains(pattern)).then(pl.lit(f"EBS:{kind}"))
        return found.otherwise(pl.lit("other"))

    def type(self) -> pl.Expr:
        import polars as pl

        line_type = self.text("line_type")
        if "correction" not in self._there:
            return line_type
        return pl.when(self.text("correction") == "Correction").then(pl.lit("Correction")).otherwise(line_type)

    def region(self) -> pl.Expr:
        import polars as pl

        named = self.text("region")
        return pl.coalesce(pl.when(named != "").then(named), self.text("resource").str.extract(r"^arn:[\w-]+:ec2:([a-z0-9-]+):"))

    def without_discounts(self) -> pl.Expr:
        """A line with a net cost includes its discount. If there are no net costs, discounts are separate lines."""
        import polars as pl

        cost = self.amount("cost")
        if "net_cost" not in self._there:
            return cost
        return pl.when(self.type().is_in(columns.DISCOUNTS)).then(0.0).otherwise(cost)
