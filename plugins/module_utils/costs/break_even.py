# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change between snapshots above which whole archives cost less than EBS.

For n snapshots of a volume of size F that change by the share c each, with r the ratio of an archive to what the snapshot
holds, e the price of EBS and p that of the storage class:

    EBS       e F (1 + (n - 1) c)
    archives  p r F n
    equal at  c = (n r p / e - 1) / (n - 1), which for long chains is r p / e
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..common.report import table
from .prices import CLASSES, EBS_ARCHIVE, Prices


def break_even(snapshots: Optional[int], ratio: float, price: float, ebs: float) -> float:
    """The change from one snapshot to the next, in percent, above which full archives cost less than EBS.

    snapshots: of the volume; None for a chain without end. Can be below 0 (always cheaper) and above 100 (never).
    """
    share = ratio * price / ebs
    if snapshots is None:
        return 100 * share
    if snapshots < 2:
        return float("-inf") if share < 1 else float("inf")
    return 100 * (snapshots * share - 1) / (snapshots - 1)


def as_rows(prices: Prices, ratios: Sequence[float], counts: Sequence[int]) -> list[dict[str, Any]]:
    """The break-even change for every target, ratio and number of snapshots; 0 means an endless chain."""
    ebs = float(prices.values["snapshot"])
    targets = [(name, float(prices.of(name)["storage"]), ratio) for name in CLASSES for ratio in ratios]
    targets.append((EBS_ARCHIVE, float(prices.values["snapshot_archive"]), 1.0))
    return [
        {
            "storage_class": name,
            "compression": ratio,
            "snapshots": count,
            "change_percent": round(break_even(count or None, ratio, price, ebs), 4),
        }
        for name, price, ratio in targets
        for count in counts
    ]


def as_text(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same as a table for people, with a line for each target and ratio."""
    counts = list(dict.fromkeys(row["snapshots"] for row in rows))
    titles = ["storage class", ">compression", *(f">{count} snapshots" if count else ">very many" for count in counts)]
    by_line: dict[tuple[str, float], list[str]] = {}
    for row in rows:
        change = row["change_percent"]
        shown = "always" if change <= 0 else "never" if change > 100 else f"{change:.0f}%"
        by_line.setdefault((row["storage_class"], row["compression"]), []).append(shown)
    return table(titles, [[name, f"{ratio:g}", *line] for (name, ratio), line in by_line.items()])
