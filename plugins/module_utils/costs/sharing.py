# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which blocks a chain shares with others, and what deleting some of its snapshots frees.

A block is billed with the oldest snapshot that holds it, across volumes (EBS user guide, "Incremental snapshots of different
volumes"). A volume that was made from a snapshot starts as that snapshot's child: its own snapshots hold the snapshot's
blocks until these are overwritten, are billed for what differs, and inherit the rest when the snapshot is deleted. So deleting
snapshots frees what they own, less what the remaining ones hold of it:

    at most    what they own at most, less what a remaining one is known to hold of it
    likely     what they own at least, less all that later ones of the chain and its children can hold of it
    certain    the same, less what other chains may hold without any sign of it

Signs of a child are the snapshot that its volume was made from, and an oldest snapshot that is billed for less than it holds.
There is no sign if a volume was made from a snapshot that has been deleted, and that snapshot's volume has both older and newer
ones: these may hold what the new volume's snapshots are billed for.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Optional

from ..common.estate import Estate

if TYPE_CHECKING:
    from .lineage import Chain, Held

Exact = Mapping[tuple[str, str], int]
# What CopySnapshot and the console write in the description of a copy.
_COPIED = re.compile(r"Copied (?:for .* from SourceSnapshot )?\[?(snap-[0-9a-f]+)")


class Freed(NamedTuple):
    """Blocks that EBS no longer bills."""

    certain: int
    likely: int
    most: int


@dataclass
class Sharing:
    """What one chain shares with others, in blocks. Infinity means unknown.

    begins_alone: its oldest holds no block of an older chain. strangers: when chains began of which nobody knows where, in order.
    children: by snapshot, what the oldest snapshots of volumes
    that were made from it hold of others. others: what such chains hold of which nobody knows where they began. hidden: what
    chains hold that show no sign of sharing.
    """

    begins_alone: bool = False
    strangers: Sequence[str] = ()
    children: dict[str, float] = field(default_factory=dict)
    others: float = 0.0
    hidden: float = 0.0


class _Beginning(NamedTuple):
    """parent: the snapshot that a chain began as; '' for none, None if that is not known. shared: what its oldest snapshot holds
    and does not own."""

    chain: Chain
    parent: Optional[str]
    shared: float

    @property
    def since(self) -> str:
        return self.chain.stored[0].start_time

    @property
    def is_copy(self) -> bool:
        return not self.chain.volume_id


def find(chains: Iterable[Chain], estates: Iterable[Estate]) -> None:
    """Fill in the sharing of every chain that EC2 was asked about, and what the oldest snapshots are billed for now."""
    by_place: dict[tuple[str, str], list[Chain]] = {}
    for chain in chains:
        if chain.stored:
            by_place.setdefault((chain.account, chain.region), []).append(chain)
    for estate in estates:
        known = {each.snapshot.snapshot_id for each in estate.snapshots}
        here = by_place.get((estate.account, estate.region), [])
        _find([_Beginning(chain, _parent(chain, estate.volumes, known), math.inf) for chain in here])


def _find(here: Sequence[_Beginning]) -> None:
    """All chains of one account and region."""
    strangers = sorted(each.since for each in here if each.parent is None)
    begun = []
    for each in here:
        oldest = each.chain.stored[0]
        alone = bisect.bisect_right(strangers, each.since) == (each.parent is None)
        if each.parent == "" and alone and oldest.inherited and oldest.full_known:
            oldest.now = (oldest.full, oldest.full)  # no older one is left that could own any of it
        begun.append(each._replace(shared=max(0, oldest.full - oldest.now[0]) if oldest.full_known else math.inf))
    children: dict[str, list[_Beginning]] = {}
    for each in begun:
        if each.parent and each.shared:
            children.setdefault(each.parent, []).append(each)
    unknown = _Later((each.since, each.shared) for each in begun if each.parent is None)
    copies = _Later((each.since, each.shared) for each in begun if each.parent and each.is_copy)
    roots = _Later((each.since, each.shared) for each in begun if each.parent == "")
    volumes = [each.chain for each in begun if not each.is_copy]
    held = [max(each.full - each.now[0] if each.full_known else math.inf for each in chain.stored) for chain in volumes]
    begins = _Later((chain.stored[0].start_time, most) for chain, most in zip(volumes, held))
    ends = _Later((chain.stored[-1].start_time, most) for chain, most in zip(volumes, held))
    for each in begun:
        sharing = each.chain.sharing
        for one in each.chain.stored:
            if one.snapshot_id in children:
                sharing.children[one.snapshot_id] = sum(child.shared for child in children[one.snapshot_id])
        own = _counted(each.shared)
        none = (0.0, 0)
        sharing.others = _less(unknown.since(each.since), own if each.parent is None else none)
        if each.parent is None or each.is_copy:
            sharing.others += _less(copies.since(each.since), own if each.parent and each.is_copy else none)
            sharing.others += _less(roots.since(each.since), none)
            # Those that began before this chain, and end after it began.
            sharing.hidden = _less(ends.since(each.since), begins.since(each.since))
        sharing.begins_alone = each.parent == "" or ((each.shared == 0 or len(here) == 1) and not each.chain.stored[0].inherited)
        sharing.strangers = strangers


class _Later:
    """Sums of amounts from a time on; how many of them are infinite is counted apart, so that sums can be subtracted."""

    def __init__(self, items: Iterable[tuple[str, float]]) -> None:
        ordered = sorted(items, reverse=True)
        self._times = [time for time, _amount in ordered][::-1]
        self._sums = list(itertools.accumulate((_counted(amount) for _time, amount in ordered), _plus, initial=(0.0, 0)))[::-1]

    def since(self, time: str) -> tuple[float, int]:
        """What is finite, and how many are not."""
        return self._sums[bisect.bisect_left(self._times, time)]


def _counted(amount: float) -> tuple[float, int]:
    return (amount, 0) if math.isfinite(amount) else (0.0, 1)


def _plus(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, int]:
    return one[0] + other[0], one[1] + other[1]


def _less(whole: tuple[float, int], part: tuple[float, int]) -> float:
    amount, unknown = whole[0] - part[0], whole[1] - part[1]
    return math.inf if unknown else amount


def _parent(chain: Chain, volumes: Mapping[str, str], known: Collection[str]) -> Optional[str]:
    """The snapshot that a chain begins as a child of; '' if it is of none, None if that is not known.

    A deleted parent left its blocks to the oldest of its children, and it is not known which that is.
    """
    if chain.volume_id in volumes:
        parent = volumes[chain.volume_id]
        return parent if not parent or parent in known else None
    copied = _COPIED.search(chain.stored[0].description)
    return copied[1] if copied and copied[1] in known else None


def freed(chain: Chain, deleted: Collection[str], exact: Exact) -> Freed:
    """What EBS stops billing if these snapshots of the chain are deleted."""
    low = high = gap = 0
    before: Optional[Held] = None
    dropped = False
    for one in chain.stored:
        if one.snapshot_id in deleted:
            low += one.now[0]
            high += one.now[1]
            gap += one.now[1]
            dropped = True
            continue
        if dropped:
            least, most = _inherits(chain, one, before, gap, exact)
            low -= most
            high -= least
        before, gap, dropped = one, 0, False
    sharing = chain.sharing
    children = sum(shared for parent, shared in sharing.children.items() if parent in deleted)
    likely = max(0.0, low - children - sharing.others)
    return Freed(int(max(0.0, likely - sharing.hidden)), int(likely), max(0, low, high))


def _inherits(chain: Chain, one: Held, before: Optional[Held], gap: int, exact: Exact) -> tuple[int, int]:
    """How many blocks of the snapshots deleted between it and the one before a remaining one holds, at least and at most."""
    pair = ("" if before is None else before.snapshot_id, one.snapshot_id)
    owned = _is_owned(chain, one, before)
    if pair in exact:
        return (min(gap, max(0, exact[pair] - one.now[1])) if owned else 0), max(0, min(gap, exact[pair] - one.now[0]))
    if not one.full_known:
        return 0, gap
    most = max(0, min(gap, one.full - one.now[0]))
    return (min(most, max(0, one.full - one.now[1])) if owned and before is None else 0), most


def _is_owned(chain: Chain, one: Held, before: Optional[Held]) -> bool:
    """Whether what a snapshot holds beyond the one before is owned within the chain: by it, or by those in between.

    Otherwise a volume made from a deleted snapshot in between may own some of it.
    """
    times = chain.sharing.strangers
    begun = bisect.bisect_left(times, one.start_time)
    if before is not None:
        return begun <= bisect.bisect_right(times, before.start_time)
    own = bisect.bisect_left(times, chain.stored[0].start_time)
    is_stranger = own < len(times) and times[own] == chain.stored[0].start_time
    return chain.sharing.begins_alone and begun <= is_stranger
