# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill combined with what EC2 knows: each volume's snapshots, oldest first, and what they hold and cost.

A block is billed with the oldest snapshot that holds it. So the oldest snapshot of a volume is billed for all it holds,
each later one for what had changed since, and deleting one passes its shared blocks on to the next: prices belong to the
chain, not to its links (EBS user guide, "Determine the reduction in standard tier storage costs").

A bill is about the past. Snapshots deleted since have passed their blocks on, and those made since are not on it. So what a
snapshot is billed for now is a range, from what the bill says to all that it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Optional

from ..common.estate import ACCOUNT, SNAPSHOTS, VOLUMES, Estate, Known, NotAsked
from . import sharing
from .reports import BLOCKS_A_GIB, Report
from .rows import ARCHIVED, COPIED, FAST, STORED

BLOCK = 512 * 1024
# A copied snapshot does not say which volume it is of.
_NO_VOLUME = ("", "vol-ffffffff")
_KEEPERS = {"aws:backup:source-resource": "AWS Backup", "aws:dlm:lifecycle-policy-id": "a lifecycle policy (DLM)"}


def gib(blocks: float) -> float:
    """Blocks as GiB. This is exact, since a block is 1/2048 GiB."""
    return blocks / BLOCKS_A_GIB


@dataclass
class Held:
    """One snapshot. Sizes in blocks; costs of the billing period as far as the bill goes.

    state: 'standard', 'archive' (the tier), 'ended' (billed, but no longer on the last day), 'bin' (the Recycle Bin, which it
    leaves on the day until) or 'gone' (EC2 does not know it any more). billed: blocks on the last day; average: over the month.
    full: all blocks it holds; full_known: or is that an assumption. now: blocks it is billed for now, at least and at most;
    inherited: more than on the bill, perhaps.
    besides: what cost is made of but storage in the standard tier, by kind. fast: dollars a month of fast restore.
    frees: what deleting this one alone would free at least and at most. zones: where fast restore is on.
    keeper: the reason not to delete it.
    """

    snapshot_id: str
    account: str
    region: str
    volume_id: str = ""
    start_time: str = ""
    age_days: Optional[int] = None
    size_gib: int = 0
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    state: str = "standard"
    on_bill: bool = True
    billed: int = 0
    average: float = 0.0
    archived: int = 0
    cost: float = 0.0
    net_cost: float = 0.0
    list_cost: float = 0.0
    besides: dict[str, float] = field(default_factory=dict)
    fast: float = 0.0
    full: int = 0
    full_known: bool = False
    now: tuple[int, int] = (0, 0)
    inherited: bool = False
    change: Optional[float] = None
    frees: tuple[int, int] = (0, 0)
    images: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    until: str = ""
    keeper: str = ""

    @property
    def stored(self) -> bool:
        """Whether it takes up space in the standard tier now."""
        return self.state == "standard"


@dataclass
class Chain:
    """The snapshots of one volume, oldest first. volume_id '' stands for one snapshot of unknown descent.

    volume_gone: None if EC2 did not say. average_change: percent, over all but the first. not_asked: what EC2 did not say of them.
    """

    account: str
    region: str
    volume_id: str
    snapshots: list[Held]
    volume_gone: Optional[bool] = None
    average_change: Optional[float] = None
    not_asked: Sequence[NotAsked] = ()
    sharing: sharing.Sharing = field(default_factory=sharing.Sharing)

    @property
    def unknown(self) -> bool:
        """Whether EC2 was to be asked which snapshots there are, and did not say. All there is then is the bill."""
        return any(each.what in (ACCOUNT, SNAPSHOTS) for each in self.not_asked)

    @property
    def stored(self) -> list[Held]:
        return [each for each in self.snapshots if each.stored]

    @property
    def billed(self) -> int:
        return sum(each.billed for each in self.snapshots)

    @property
    def cost(self) -> float:
        return sum(each.cost for each in self.snapshots)


def chains(report: Report, estates: Iterable[Estate], exact: Mapping[tuple[str, str], int], today: date) -> list[Chain]:
    """Every snapshot of the bill and of EC2, each once, by chain, the most expensive chains first.

    estates: what was asked; none works from the bill alone. exact: blocks that differ between two snapshots, or,
    with '' as the first, that one holds; measured by the EBS direct APIs.
    """
    asked = {(each.account, each.region): each for each in estates}
    held = _billed(report)
    described = {place for place, each in asked.items() if each.knows(SNAPSHOTS)}
    for estate in asked.values():
        for known in estate.snapshots:
            place = (estate.account, estate.region, known.snapshot.snapshot_id)
            one = held.get(place)
            if one is None:
                one = held[place] = Held(known.snapshot.snapshot_id, estate.account, estate.region, on_bill=False)
            _describe(one, known, estate, today)
        for snapshot_id, binned in estate.binned.items():
            place = (estate.account, estate.region, snapshot_id)
            one = held.setdefault(place, Held(snapshot_id, estate.account, estate.region, on_bill=False))
            one.state, one.volume_id, one.description, one.until = "bin", binned.volume_id, binned.description, binned.until
    grouped: dict[tuple[str, str, str], list[Held]] = {}
    for one in held.values():
        if one.state == "standard" and not one.start_time and (one.account, one.region) in described:
            one.state = "gone"
        lone = one.volume_id in _NO_VOLUME
        grouped.setdefault((one.account, one.region, one.snapshot_id if lone else one.volume_id), []).append(one)
    # It is not known which one lost its predecessor since the bill: a deleted snapshot does not tell its volume.
    left: dict[tuple[str, str], int] = {}
    for one in held.values():
        if one.state in ("gone", "bin"):
            left[one.account, one.region] = left.get((one.account, one.region), 0) + one.billed
    found = []
    for (account, region, _place), members in grouped.items():
        members.sort(key=lambda each: (each.start_time, each.snapshot_id))
        volume_id = "" if members[0].volume_id in _NO_VOLUME else members[0].volume_id
        there = asked.get((account, region))
        gone = volume_id not in there.volumes if volume_id and there is not None and there.knows(VOLUMES) else None
        chain = Chain(account, region, volume_id, members, gone, not_asked=() if there is None else there.not_asked)
        _measure(chain, exact, left.get((account, region), 0), report.exact)
        found.append(chain)
    sharing.find(found, [each for place, each in asked.items() if place in described])
    for chain in found:
        for one in chain.stored:
            asked_ec2 = (chain.account, chain.region) in described
            freed = sharing.freed(chain, {one.snapshot_id}, exact)
            one.frees = (freed.certain, freed.most) if asked_ec2 else (0, one.billed)
    return sorted(
        found, key=lambda chain: (-chain.cost, chain.account, chain.region, chain.volume_id, chain.snapshots[0].snapshot_id)
    )


def _billed(report: Report) -> dict[tuple[str, str, str], Held]:
    import polars as pl

    held: dict[tuple[str, str, str], Held] = {}
    columns = ("account", "region", "snapshot_id", "kind", "quantity", "gib", "cost", "net_cost", "list_cost")
    rows = report.snapshots.select(columns).sort(pl.col("kind").eq_missing(COPIED)).iter_rows()
    there: dict[str, Held] = {}
    for account, region, snapshot_id, kind, quantity, gib_now, cost, net, listed in rows:
        one = there.get(snapshot_id) if kind == COPIED else None  # the transfer of a copy is of the region that it came from
        one = one or held.setdefault((account, region, snapshot_id), Held(snapshot_id, account, region, state="ended"))
        there[snapshot_id] = one
        one.cost += cost
        one.net_cost += net
        one.list_cost += listed
        if kind != STORED:
            one.besides[kind] = one.besides.get(kind, 0.0) + cost
        if kind == FAST and quantity > 0:
            one.fast += net / quantity * gib_now
        now = gib_now * BLOCKS_A_GIB
        if kind == STORED:
            one.average += quantity * BLOCKS_A_GIB
            one.billed += round(now)
        elif kind == ARCHIVED:
            one.archived += round(now)
        if kind in (STORED, ARCHIVED) and now >= 0.5:
            one.state = "archive" if kind == ARCHIVED and not one.billed else "standard"
    return held


def _describe(one: Held, known: Known, estate: Estate, today: date) -> None:
    snapshot = known.snapshot
    one.volume_id = snapshot.volume_id
    one.start_time = snapshot.start_time
    one.age_days = (today - datetime.fromisoformat(snapshot.start_time).date()).days
    one.size_gib = snapshot.size_gib
    one.description = snapshot.description
    one.tags = snapshot.tags
    one.state = "archive" if known.tier == "archive" else "standard"
    one.images = estate.images.get(snapshot.snapshot_id, [])
    one.zones = list(estate.fast.get(snapshot.snapshot_id, []))
    if known.full_bytes is not None:
        one.full, one.full_known = -(-known.full_bytes // BLOCK), True
    until = estate.locks.get(snapshot.snapshot_id)
    keepers = [
        f"used by {', '.join(one.images)}" if one.images else "",
        f"locked until {until}" if until else "",
        f"fast snapshot restore is on in {', '.join(one.zones)}" if one.zones else "",
        *[f"managed by {keeper}" for tag, keeper in _KEEPERS.items() if tag in snapshot.tags][:1],
    ]
    one.keeper = "; ".join(filter(None, keepers))


def _measure(chain: Chain, exact: Mapping[tuple[str, str], int], left: int, is_daily: bool) -> None:
    """Sizes, changes and what is billed now, for the snapshots that are stored now.

    left: blocks of snapshots that are gone since the bill, which went to others or away. is_daily: sizes on the bill are of a
    day; a month's average is only the least that it can be.
    """
    before: Optional[Held] = None
    changes = []
    for one in chain.stored:
        if ("", one.snapshot_id) in exact:
            one.full, one.full_known = exact["", one.snapshot_id], True
        elif before is None and chain.volume_id and one.on_bill and not one.full_known:
            one.full = one.billed
        elif not one.full_known:
            one.full = max(one.billed, before.full if before else 0)
        one.inherited = bool(left) or not one.on_bill
        most = one.full if one.full_known else max(one.billed + left, one.size_gib * BLOCKS_A_GIB)
        if not one.inherited and is_daily:
            one.now = (one.billed, one.billed)
        else:
            one.now = (one.billed, max(one.billed, min(most, one.billed + left) if one.on_bill and is_daily else most))
        if before is not None and one.full and one.on_bill:
            one.change = 100 * one.billed / one.full
            changes.append(one.change)
        before = one
    chain.average_change = sum(changes) / len(changes) if changes else None


def pairs(chain: Chain) -> list[tuple[str, str]]:
    """What to measure for exact answers: each snapshot against the one before the one before it ('' for none)."""
    ids = [each.snapshot_id for each in chain.stored]
    wanted = [("", snapshot_id) for snapshot_id in ids[1:]]
    return wanted + [(ids[at - 2], ids[at]) for at in range(2, len(ids))]
