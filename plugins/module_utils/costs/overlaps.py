# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that bill the same usage twice: two downloads of a month, or a daily report beside an hourly one.

The ids of line items differ from one delivery to the next (CUR user guide, "Identity details"). So lines are compared by
snapshot, kind of usage, account and time. The files of one delivery have hardly any of these in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..common.errors import Refused

if TYPE_CHECKING:
    import polars as pl

_LINE = ("resource", "usage_type", "account", "start")
_EQUAL = 0.9  # share of the smaller file's days with the same amount: the same usage in lines of another length
_SAME = 0.6  # share of its lines, whatever their amounts: AWS corrects them from one delivery to the next
_WORTH_A_LOOK = 0.5


class Table(Protocol):
    @property
    def path(self) -> str: ...

    def rows(self, number: int, digits: int = 10) -> pl.LazyFrame: ...


def check(usage: pl.DataFrame, tables: Sequence[Table]) -> None:
    """Raises Refused if two of the files have most of the smaller one's lines in common. usage: by day and file."""
    import polars as pl

    sizes = dict(usage.group_by("file").len().iter_rows())
    shared = (
        usage.lazy()
        .group_by(_LINE)
        .agg(
            one=pl.col("file").min(),
            other=pl.col("file").max(),
            equal=(pl.col("quantity").max() - pl.col("quantity").min()) <= 1e-6 * pl.col("quantity").max().abs(),
        )
        .filter(pl.col("one") < pl.col("other"))
        .group_by("one", "other")
        .agg(pl.len(), pl.col("equal").sum())
        .sort("one", "other")
        .collect(engine="streaming")
    )
    for one, other, common, equal in shared.iter_rows():
        smaller = min(sizes[one], sizes[other])
        if common < _WORTH_A_LOOK * smaller:
            continue
        if equal >= _EQUAL * smaller or _same_lines([tables[one], tables[other]]) >= _SAME:
            raise Refused(
                f"{tables[one].path} and {tables[other].path} bill the same usage: both have the same {common} snapshot days",
                "Use only the one that was delivered last.",
            )


def _same_lines(pair: Sequence[Table]) -> float:
    """The share of the smaller file's lines about snapshots that have the same time in the other file."""
    import polars as pl

    lines = pl.concat([table.rows(number, 19) for number, table in enumerate(pair)]).filter("snapshot")
    files = lines.group_by(*_LINE, "end").agg(pl.col("file").min().alias("one"), pl.col("file").max().alias("other"))
    counts = files.select(
        both=(pl.col("one") < pl.col("other")).sum(), first=(pl.col("one") == 0).sum(), second=(pl.col("other") == 1).sum()
    ).collect(engine="streaming")
    both, first, second = counts.row(0)
    return float(both / max(1, min(first, second)))
