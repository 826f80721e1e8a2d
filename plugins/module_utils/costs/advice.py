# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each chain would cost anywhere else, and what to do with it.

Advice is for chains, never for single snapshots, because what a snapshot frees depends on its neighbours. Moving means:
archive, validate, then delete the snapshot. Nothing is saved until it is deleted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from ..common.estate import ACCOUNT, IMAGES, LOCKS, REGIONS, SNAPSHOTS
from . import sharing
from .lineage import Chain, Held, gib
from .moves import Assumptions, Move, Option, within
from .prices import EBS_ARCHIVE, Prices, amount

KEEP, THIN = "keep", "one a month"
DELETE, NEWEST = "delete", "all but the newest"
_STANDS_AGAINST = (ACCOUNT, REGIONS, SNAPSHOTS, IMAGES, LOCKS)  # what nobody knows then may not be deleted


class Sooner(NamedTuple):
    """The next class that can be restored sooner. hours: until its first byte; more: extra cost in dollars a month."""

    target: str
    hours: float
    more: float


class Plan(NamedTuple):
    """For one chain. rate: of a GB-month in EBS; archive_rate: in its archive tier.

    options: the best first. kept_for: why snapshots that could go stay, by snapshot. sooner: what stands beside the advice where
    it sleeps. deletion: what keeping only the newest would save; it is never advised, since it keeps nothing of the others.
    """

    chain: Chain
    rate: float
    archive_rate: float
    cold: bool
    options: list[Option]
    chosen: Option
    reason: str
    kept_for: dict[str, str]
    sooner: Optional[Sooner] = None
    deletion: Optional[Option] = None

    def monthly(self, one: Held) -> float:
        """Dollars a month of a snapshot at what the bill's last day says."""
        return gib(one.billed) * self.rate + gib(one.archived) * self.archive_rate + one.fast

    @property
    def now(self) -> float:
        """The same of all of the chain."""
        return sum(map(self.monthly, self.chain.snapshots))

    @property
    def moved(self) -> frozenset[str]:
        """The snapshots to move."""
        return frozenset(self.chosen.snapshot_ids)


def advise(
    chains: Iterable[Chain],
    prices: Mapping[str, Prices],
    rates: Mapping[str, float],
    given: Assumptions,
    exact: Mapping[tuple[str, str], int],
) -> list[Plan]:
    """A plan for each chain. prices: by region. rates: what a GB-month in EBS really costs, by region, if the bill tells."""
    return [
        _plan(chain, prices[chain.region], rates.get(chain.region, prices[chain.region].values["snapshot"]), given, exact)
        for chain in chains
    ]


def _plan(chain: Chain, prices: Prices, rate: float, given: Assumptions, exact: Mapping[tuple[str, str], int]) -> Plan:
    stored = chain.stored
    now = (gib(sum(each.now[0] for each in stored)) * rate, gib(sum(each.now[1] for each in stored)) * rate)
    cold = _is_cold(chain, given)
    kept_for = {each.snapshot_id: each.keeper for each in stored if each.keeper}
    if not cold and chain.volume_id:
        newest = [each for each in stored if each.snapshot_id not in kept_for][-given.keep_newest :] if given.keep_newest else []
        kept_for.update((each.snapshot_id, "among the newest of a volume in use") for each in newest)
    movable = [each for each in stored if each.snapshot_id not in kept_for]
    keep = Option(KEEP, "", "", [], after=now, total=now[1] * given.months)
    plan = Plan(chain, rate, prices.values["snapshot_archive"], cold, [keep], keep, "", kept_for)
    if not movable:
        return plan._replace(reason=_why_nothing(chain, kept_for) + _not_asked(chain))
    if not stored[0].start_time:
        return plan._replace(reason="its volume is not known, so it is not known what it shares" + _not_asked(chain))
    freed = _freed(chain, movable, exact)

    def move(snapshots: Sequence[Held], which: str) -> Move:
        return Move(chain, snapshots, which, now, freed, prices, rate, given)

    all_of_it = move(movable, "all" if len(movable) == len(stored) else f"all but {len(stored) - len(movable)}")
    options = [keep, all_of_it.to_ebs_archive()]
    options += [all_of_it.to_s3(storage_class, increments=False) for storage_class in given.classes]
    if len(movable) > 1:
        options += [all_of_it.to_s3(storage_class, increments=True) for storage_class in given.classes]
    thin = _one_a_month(movable)
    if len(thin) < len(movable):
        fewer = move(thin, THIN)
        options += [fewer.to_s3(storage_class, increments=False) for storage_class in given.classes]
    options.sort(key=lambda option: option.total)
    whole = [option for option in options if option.target != KEEP and option.available and option.which != THIN]
    fit = [option for option in whole if _pays(option, given)]
    chosen = min(fit, key=lambda option: option.total, default=keep)
    if chosen.total >= keep.total:
        chosen = keep
    return plan._replace(
        options=options,
        chosen=chosen,
        reason=_why(chosen, options, chain, prices, rate, given) + _not_asked(chain),
        sooner=_sooner(chosen, whole),
        deletion=_deletion(chain, movable, now, rate, given, exact),
    )


def _freed(chain: Chain, snapshots: Iterable[Held], exact: Mapping[tuple[str, str], int]) -> sharing.Freed:
    freed = sharing.freed(chain, {each.snapshot_id for each in snapshots}, exact)
    unsure = any(each.what in _STANDS_AGAINST for each in chain.not_asked)
    return freed._replace(certain=0) if unsure else freed


def _deletion(
    chain: Chain,
    movable: Sequence[Held],
    now: tuple[float, float],
    rate: float,
    given: Assumptions,
    exact: Mapping[tuple[str, str], int],
) -> Optional[Option]:
    """To keep only the newest, and archive nothing: for people to decide. None where it would not be worth it."""
    surplus = [each for each in movable if each is not chain.stored[-1]]
    if not surplus:
        return None
    freed = _freed(chain, surplus, exact)
    least, likely, most = (gib(blocks) * rate for blocks in freed)
    if likely < given.minimum:
        return None
    return Option(
        DELETE,
        "",
        NEWEST,
        [each.snapshot_id for each in surplus],
        freed=(gib(freed.certain), gib(freed.most)),
        after=(max(0.0, now[0] - most), max(0.0, now[1] - least)),
        saving=(least, most),
        likely=likely,
        possible=most,
        total=(now[1] - likely) * given.months,
    )


def _not_asked(chain: Chain) -> str:
    return f"; not asked: {', '.join(map(str, chain.not_asked))}" if chain.not_asked else ""


def _sooner(chosen: Option, whole: Iterable[Option]) -> Optional[Sooner]:
    """The option that is restored sooner than a class of S3 that sleeps; the slowest of those, and the cheapest of several."""
    if chosen.target in (KEEP, EBS_ARCHIVE) or not chosen.hours:
        return None
    found = max(
        (option for option in whole if option.hours < chosen.hours),
        key=lambda option: (option.hours, -option.monthly),
        default=None,
    )
    return Sooner(found.target, found.hours, found.monthly - chosen.monthly) if found else None


def _pays(option: Option, given: Assumptions) -> bool:
    in_time = given.in_time(option.hours)
    return in_time and option.likely >= given.minimum and option.payback is not None and option.payback <= given.months


def _is_cold(chain: Chain, given: Assumptions) -> bool:
    """Whether no more snapshots are expected: the volume is gone, or the newest snapshot is old."""
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
        return "none of its snapshots is in the standard tier any more"
    return f"no snapshot can be moved: {'; '.join(sorted(set(kept_for.values())))}"


def _why(chosen: Option, options: Sequence[Option], chain: Chain, prices: Prices, rate: float, given: Assumptions) -> str:
    money = functools.partial(amount, prices.currency)
    if chosen.target != KEEP:
        least, sure = chosen.saving[0], chosen.freed[0] * rate
        certain = f"at least {money(least)}" if least > 0 else "but nothing is certain"
        if sure < chosen.likely + chosen.monthly - 1e-9:
            certain += ", because others may hold its blocks"
        return f"saves about {money(chosen.likely)} a month, {certain}; pays back after {chosen.payback or 0:.1f} months"
    whole = [option for option in options if option.target != KEEP and option.which != THIN and option.available]
    whole = [option for option in whole if given.in_time(option.hours)]
    if not whole:
        return f"none of the considered storage classes can be restored {within(given.restore_within or 0)}"
    best = max(whole, key=lambda option: option.possible)
    if best.possible <= 0:
        why = "whole copies would cost more"
        if chain.average_change is not None and best.break_even is not None and math.isfinite(best.break_even):
            why += f": it changes by {chain.average_change:.1f}% a snapshot; archiving pays from {max(0.0, best.break_even):.1f}%"
        thin = [option for option in options if option.which == THIN and _pays(option, given)]
        return why + (f"; if one snapshot a month is enough, {thin[0].target} saves {money(thin[0].likely)}" if thin else "")
    if best.likely <= 0:
        return f"{best.target} saves at most {money(best.saving[1])} a month, and perhaps nothing; measure it exactly to find out"
    if best.likely < given.minimum:
        return f"{best.target} saves {money(best.likely)} a month, less than the minimum"
    return f"{best.target} does not pay back within {given.months:g} months"
