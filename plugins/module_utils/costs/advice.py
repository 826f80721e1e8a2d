# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each chain would cost anywhere else, and what to do with it.

Advice is for chains, never for single snapshots, because what a snapshot frees depends on its neighbours. Moving means:
archive, validate, then delete the snapshot; nothing is saved before it is deleted. For n snapshots of a volume of size F
that change by the share c each, with r the ratio of an archive to what the snapshot holds, e the price of EBS and p
that of the storage class:

    EBS       e F (1 + (n - 1) c)
    archives  p r F n
    equal at  c = (n r p / e - 1) / (n - 1), which for long chains is r p / e
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from ..common.inventory import BLOCKS, VOLUMES
from ..common.report import table
from . import sharing
from .lineage import BLOCK, Chain, Held, gib
from .prices import CLASSES, GIB, Prices, amount

HOURS_A_MONTH = 730
DAYS_A_MONTH = HOURS_A_MONTH / 24
_PART = 16 * 1024**2  # the smallest that archives are sent in
_JOURNAL = 1 / 16  # records a part of that size
_PARTS = 8000
_SMALL_OBJECTS = 3  # index, manifest and receipt of an archive, in STANDARD
_SMALL_BYTES = 100_000
_LIST_PAGE = 10_000  # blocks
KEEP, EBS_ARCHIVE, THIN = "keep", "EBS archive", "one a month"


@dataclass(frozen=True)
class Assumptions:
    """What a bill cannot say.

    compression: bytes of an archive for a byte the snapshot holds; by_volume: as measured on archives of these volumes.
    months: how long it will be kept. retrievals: the share of it that is brought back in a year. keep_newest: how many
    snapshots of a volume that is in use stay in EBS. cold_days: a volume without a newer snapshot counts as cold. minimum:
    dollars a month worth moving for. throughput: MiB/s of a temporary volume. worker: dollars an hour.
    """

    classes: Sequence[str] = CLASSES
    compression: float = 0.5
    measured: bool = False
    by_volume: Mapping[str, float] = field(default_factory=dict)
    months: float = 12
    retrievals: float = 0.0
    keep_newest: int = 1
    cold_days: int = 90
    minimum: float = 1.0
    throughput: float = 125.0
    worker: float = 0.0


class Option(NamedTuple):
    """One thing to do with a chain. Dollars; saving and after are a month, at least and at most. freed: GiB of EBS, likewise.
    likely: what is saved a month if no chain shares blocks without a sign of it.

    which: 'all', 'all but the newest 1', 'one a month'. form: 'full' archives or 'increments', which this version does not
    write yet. total: of the months assumed, at worst. payback: months; None if never. thaw: to bring it all back once.
    """

    target: str
    form: str
    which: str
    snapshot_ids: list[str]
    gib: float
    freed: tuple[float, float]
    after: tuple[float, float]
    saving: tuple[float, float]
    likely: float
    once: float
    thaw: float
    total: float
    payback: Optional[float]
    minimum_days: int
    break_even: Optional[float]
    available: bool


class Plan(NamedTuple):
    """For one chain. now: dollars a month at what the bill's last day says; rate: of a GB-month in EBS.

    options: the best first. kept_for: why snapshots that could go stay, by snapshot.
    """

    chain: Chain
    now: float
    rate: float
    cold: bool
    options: list[Option]
    chosen: Option
    reason: str
    kept_for: dict[str, str]

    @property
    def moved(self) -> frozenset[str]:
        """The snapshots that go somewhere."""
        return frozenset(self.chosen.snapshot_ids)


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


def break_even_table(prices: Prices, ratios: Sequence[float], counts: Sequence[int]) -> list[dict[str, Any]]:
    """The break-even change for every target, ratio and number of snapshots; 0 of them stands for a chain without end."""
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


def break_even_text(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same for people: a line for each target and ratio."""
    counts = list(dict.fromkeys(row["snapshots"] for row in rows))
    titles = ["storage class", ">compression", *(f">{count} snapshots" if count else ">very many" for count in counts)]
    by_line: dict[tuple[str, float], list[str]] = {}
    for row in rows:
        change = row["change_percent"]
        shown = "always" if change <= 0 else "never" if change > 100 else f"{change:.0f}%"
        by_line.setdefault((row["storage_class"], row["compression"]), []).append(shown)
    return table(titles, [[name, f"{ratio:g}", *line] for (name, ratio), line in by_line.items()])


def advise(
    chains: Iterable[Chain],
    prices: Mapping[str, Prices],
    rates: Mapping[str, float],
    given: Assumptions,
    exact: Mapping[tuple[str, str], int],
) -> list[Plan]:
    """A plan for each chain. prices: by region. rates: what a GB-month in EBS really costs, by region, where the bill tells."""
    return [
        _plan(chain, prices[chain.region], rates.get(chain.region, prices[chain.region].values["snapshot"]), given, exact)
        for chain in chains
    ]


def _plan(chain: Chain, prices: Prices, rate: float, given: Assumptions, exact: Mapping[tuple[str, str], int]) -> Plan:
    stored = chain.stored
    paid = gib(chain.billed) * rate + gib(sum(each.archived for each in chain.snapshots)) * prices.values["snapshot_archive"]
    now = (gib(sum(each.now[0] for each in stored)) * rate, gib(sum(each.now[1] for each in stored)) * rate)
    cold = _is_cold(chain, given)
    kept_for = {each.snapshot_id: each.keeper for each in stored if each.keeper}
    if not cold and chain.volume_id:
        newest = [each for each in stored if each.snapshot_id not in kept_for][-given.keep_newest :] if given.keep_newest else []
        kept_for.update((each.snapshot_id, "among the newest of a volume in use") for each in newest)
    movable = [each for each in stored if each.snapshot_id not in kept_for]
    keep = Option(KEEP, "", "", [], 0.0, (0.0, 0.0), now, (0.0, 0.0), 0.0, 0.0, 0.0, now[1] * given.months, None, 0, None, True)
    if not movable:
        return Plan(chain, paid, rate, cold, [keep], keep, _why_nothing(chain, kept_for) + _not_asked(chain), kept_for)
    if not stored[0].start_time:
        why = "its volume, and so what it shares, is not known" + _not_asked(chain)
        return Plan(chain, paid, rate, cold, [keep], keep, why, kept_for)
    freed = sharing.freed(chain, {each.snapshot_id for each in movable}, exact)
    if any(each.what not in (VOLUMES, BLOCKS) for each in chain.not_asked):
        freed = freed._replace(certain=0)  # something may stand against deleting them
    which = "all" if len(movable) == len(stored) else f"all but {len(stored) - len(movable)}"
    move = _Move(chain, movable, [each.snapshot_id for each in movable], which, now, freed, prices, rate, given)
    options = [keep, move.to_ebs_archive()]
    for storage_class in given.classes:
        options.append(move.to_s3(storage_class, increments=False))
        if len(movable) > 1:
            options.append(move.to_s3(storage_class, increments=True))
    thin = _one_a_month(movable)
    if len(thin) < len(movable):
        fewer = _Move(chain, thin, [each.snapshot_id for each in thin], THIN, now, freed, prices, rate, given)
        options += [fewer.to_s3(storage_class, increments=False) for storage_class in given.classes]
    options.sort(key=lambda option: option.total)
    fit = [option for option in options if option.available and option.which != THIN and _pays(option, given)]
    chosen = min(fit, key=lambda option: option.total, default=keep)
    if chosen.total >= keep.total:
        chosen = keep
    why = _why(chosen, options, chain, prices, given) + _not_asked(chain)
    return Plan(chain, paid, rate, cold, options, chosen, why, kept_for)


def _not_asked(chain: Chain) -> str:
    return f"; not asked: {', '.join(map(str, chain.not_asked))}" if chain.not_asked else ""


def _pays(option: Option, given: Assumptions) -> bool:
    return (
        option.target != KEEP and option.likely >= given.minimum and option.payback is not None and option.payback <= given.months
    )


class _Move(NamedTuple):
    """Some snapshots of a chain, about to go somewhere. now: dollars a month it costs."""

    chain: Chain
    snapshots: list[Held]
    snapshot_ids: list[str]
    which: str
    now: tuple[float, float]
    freed: sharing.Freed
    prices: Prices
    rate: float
    given: Assumptions

    def to_ebs_archive(self) -> Option:
        """EBS's own archive tier takes a full copy of each snapshot."""
        full = sum(gib(each.full) for each in self.snapshots)
        values = self.prices.values
        thaw = full * values["snapshot_archive_retrieval"]
        days = int(values["snapshot_archive_minimum_days"])
        return self._option(
            EBS_ARCHIVE, "full", full, full * values["snapshot_archive"], 0.0, thaw, days, values["snapshot_archive"], 1.0, True
        )

    def to_s3(self, storage_class: str, increments: bool) -> Option:
        """Archives of all that each holds, or of the oldest and of the blocks that changed since."""
        price = self.prices.of(storage_class)
        standard = self.prices.of("STANDARD")
        ratio = self.given.by_volume.get(self.chain.volume_id, self.given.compression)
        monthly = once = stored = thaw = 0.0
        tiers = price["retrieval"]
        tier = next(iter(tiers))
        for number, each in enumerate(self.snapshots):
            blocks = each.billed if increments and number else each.full
            size = max(blocks * BLOCK * ratio, float(price["minimum_bytes"]))
            stored += size / GIB
            monthly += (size + price["overhead_class"]) / GIB * price["storage"]
            monthly += (_SMALL_BYTES + price["overhead_standard"]) / GIB * standard["storage"]
            parts = max(1.0, min(size / _PART, _PARTS))
            once += ((parts * (1 + _JOURNAL) + 1 + _SMALL_OBJECTS) * standard["put"] + price["put"]) / 1000
            once += self._read(each, blocks, increments)
            # It is read once more, to validate it; what is to sleep is in STANDARD for that, for up to two days.
            once += parts * price["get"] / 1000
            once += size / GIB * (standard["storage"] * 2 / DAYS_A_MONTH if price["thaw"] else tiers[tier])
            thaw += size / GIB * tiers[tier] + price["thaw"].get(tier, 0.0) / 1000
        days = int(price["minimum_days"])
        form = "increments" if increments else "full"
        return self._option(storage_class, form, stored, monthly, once, thaw, days, price["storage"], ratio, not increments)

    def _read(self, one: Held, blocks: int, increments: bool) -> float:
        """What reading a snapshot costs: requests of the direct APIs, or a temporary volume for as long as it takes."""
        values: dict[str, float] = self.prices.values
        if increments:
            return blocks / 1000 * values["direct_get"] + (blocks // _LIST_PAGE + 1) / 1000 * values["direct_list"]
        hours: float = 0.1 + blocks * BLOCK / 1024**2 / self.given.throughput / 3600
        size = one.size_gib or gib(one.full)
        return hours * (size * values["volume"] / HOURS_A_MONTH + self.given.worker)

    def _option(
        self,
        target: str,
        form: str,
        stored: float,
        monthly: float,
        once: float,
        thaw: float,
        days: int,
        price: float,
        ratio: float,
        available: bool,
    ) -> Option:
        months = self.given.months
        freed = (gib(self.freed.certain), gib(self.freed.most))
        less = (freed[0] * self.rate, freed[1] * self.rate)
        likely = gib(self.freed.likely) * self.rate
        after = (max(0.0, self.now[0] - less[1]) + monthly, max(0.0, self.now[1] - less[0]) + monthly)
        saving = (less[0] - monthly, less[1] - monthly)
        stay = max(months, days / DAYS_A_MONTH)
        total = once + (self.now[1] - likely) * months + monthly * stay + thaw * self.given.retrievals * months / 12
        saved = likely - monthly
        return Option(
            target=target,
            form=form,
            which=self.which,
            snapshot_ids=self.snapshot_ids,
            gib=stored,
            freed=freed,
            after=after,
            saving=saving,
            likely=saved,
            once=once,
            thaw=thaw,
            total=total,
            payback=once / saved if saved > 0 else None,
            minimum_days=days,
            break_even=break_even(len(self.snapshots), ratio, price, self.rate) if form == "full" else None,
            available=available,
        )


def _is_cold(chain: Chain, given: Assumptions) -> bool:
    """Nobody will take another snapshot of it: the volume is gone, or the newest snapshot is old."""
    if chain.volume_gone:
        return True
    newest = chain.snapshots[-1].age_days
    return newest is not None and newest >= given.cold_days


def _one_a_month(snapshots: Sequence[Held]) -> list[Held]:
    """The newest of each month."""
    return (
        list({each.start_time[:7]: each for each in snapshots}.values())
        if all(each.start_time for each in snapshots)
        else list(snapshots)
    )


def _why_nothing(chain: Chain, kept_for: Mapping[str, str]) -> str:
    if not chain.stored:
        return "nothing of it is in the standard tier any more"
    return f"nothing can go: {'; '.join(sorted(set(kept_for.values())))}"


def _why(chosen: Option, options: Sequence[Option], chain: Chain, prices: Prices, given: Assumptions) -> str:
    money = functools.partial(amount, prices.currency)
    if chosen.target != KEEP:
        least = chosen.saving[0]
        saves = f"at least {money(least)}" if least >= chosen.likely else f"about {money(chosen.likely)}"
        sure = "" if least >= chosen.likely else f"; certain are {money(max(0.0, least))}, since others may hold its blocks"
        return f"saves {saves} a month and pays back after {chosen.payback or 0:.1f} months{sure}"
    whole = [option for option in options if option.target != KEEP and option.which != THIN and option.available]
    best = max(whole, key=lambda option: option.saving[1])
    if best.saving[1] <= 0:
        why = "whole copies would cost more"
        if chain.average_change is not None and best.break_even is not None and math.isfinite(best.break_even):
            why += f": it changes by {chain.average_change:.1f}% a snapshot, and pays from {max(0.0, best.break_even):.1f}%"
        thin = [option for option in options if option.which == THIN and _pays(option, given)]
        return why + (f"; if one a month is enough, {thin[0].target} saves {money(thin[0].likely)}" if thin else "")
    if best.likely <= 0:
        return f"{best.target} saves {money(best.saving[1])} a month at most, perhaps nothing; measure it exactly to know"
    if best.likely < given.minimum:
        return f"{best.target} saves {money(best.likely)} a month, less than what is worth it"
    return f"{best.target} does not pay back within {given.months:g} months"
