# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs and saves to move snapshots of a chain somewhere else: archive, validate, wait, then delete the snapshots.

The least that is saved holds whatever the size of the archive: it is assumed to be as large as everything the snapshot holds, or,
if that is not known, as its volume. The most assumes archives that take no space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from ..common.errors import Refused
from . import sharing
from .break_even import break_even
from .lineage import BLOCK, Chain, Held, gib
from .price_table import HOURS
from .prices import CLASSES, EBS_ARCHIVE, GIB, Prices

HOURS_A_MONTH = 730
DAYS_A_MONTH = HOURS_A_MONTH / 24
_PART = 16 * 1024**2  # the smallest that archives are sent in
_JOURNAL = 1 / 16  # records a part of that size
_PARTS = 8000
_SMALL_OBJECTS = 3  # index, manifest and receipt of an archive, in STANDARD
_SMALL_BYTES = 100_000
_LIST_PAGE = 10_000  # blocks
_SLEEPS_AFTER = 2  # days at most until a lifecycle rule has put an archive to sleep
AWAKE = 3  # days that a thawed copy stays, unless told otherwise
_UNITS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


@dataclass(frozen=True)
class Assumptions:
    """What a bill cannot say.

    compression: bytes of an archive for a byte the snapshot holds; by_volume: as measured on archives of these volumes.
    months: how long it will be kept. retrievals: the share of it that is brought back in a year. keep_newest: how many
    snapshots of a volume that is in use stay in EBS. cold_days: a volume without a newer snapshot counts as cold. minimum:
    dollars a month worth moving for. throughput: MiB/s of a temporary volume. worker: dollars an hour. restore_within: hours
    until the first byte has to be back; None for any. grace_days: how long a snapshot stays after its archive was validated.
    kms: whether S3 asks KMS for a key for each part.
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
    restore_within: Optional[float] = None
    grace_days: float = 7.0
    kms: bool = False

    def in_time(self, hours: float) -> bool:
        return self.restore_within is None or hours <= self.restore_within


def hours_of(text: str) -> Optional[float]:
    """30m, 12h or 2d in hours; None for an empty text. Raises Refused for anything else."""
    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text)
    if not found:
        raise Refused(
            f"restore_within is {text!r}, not a time such as 30m, 12h or 2d", "Correct it (coldstore_cost_restore_within)."
        )
    return float(found[1]) * _UNITS[found[2]]


def hours_text(hours: float) -> str:
    """A time as text."""
    if not hours:
        return "at once"
    count, unit = (hours, "hour") if hours >= 1 else (hours * 60, "minute")
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def within(hours: float) -> str:
    """A limit as text."""
    return f"within {hours_text(hours)}" if hours else "at once"


class Option(NamedTuple):
    """One thing to do with a chain. Dollars; monthly, after, saving, likely and possible are a month, over the months assumed.

    which: 'all', 'all but 1', 'one a month'. form: 'full' archives or 'increments', which this version does not write yet.
    monthly: what is stored there and brought back from there, at the compression assumed. freed: GiB of EBS, at least and at
    most; after and saving likewise. likely: what is saved if no chain shares blocks without a sign of it; possible: if all is
    freed that may be; both at the compression assumed. once_of: what once is made of. bring_back: all of it once;
    bring_back_one: the largest of it. hours: until its first byte is back. total: of the months assumed, at worst. payback:
    months; None if never. minimum_days: are paid for in any case.
    """

    target: str
    form: str
    which: str
    snapshot_ids: list[str]
    gib: float = 0.0
    compression: float = 1.0
    monthly: float = 0.0
    freed: tuple[float, float] = (0.0, 0.0)
    after: tuple[float, float] = (0.0, 0.0)
    saving: tuple[float, float] = (0.0, 0.0)
    likely: float = 0.0
    possible: float = 0.0
    once_of: Mapping[str, float] = {}
    bring_back: float = 0.0
    bring_back_one: float = 0.0
    hours: float = 0.0
    total: float = 0.0
    payback: Optional[float] = None
    minimum_days: int = 0
    break_even: Optional[float] = None
    available: bool = True

    @property
    def once(self) -> float:
        return sum(self.once_of.values())


class _Archives(NamedTuple):
    """The sizes of the archives of some snapshots. size, largest: bytes; parts: of the uploads; most: of one."""

    number: int
    size: float
    parts: float
    largest: float
    most: float

    @classmethod
    def of(cls, blocks: Sequence[float], ratio: float, least: float) -> _Archives:
        sizes = [max(each * BLOCK * ratio, least) for each in blocks]
        parts = [max(1.0, min(size / _PART, _PARTS)) for size in sizes]
        return cls(len(sizes), sum(sizes), sum(parts), max(sizes), max(parts))


_Range = tuple[float, float, float]  # at least, as assumed, at most


class Move:
    """Some snapshots of a chain, about to go somewhere. now: dollars a month it costs, at least and at most."""

    def __init__(
        self, chain: Chain, snapshots: Sequence[Held], which: str, now: tuple[float, float], freed: sharing.Freed, prices: Prices,
        rate: float, given: Assumptions,
    ) -> None:  # fmt: skip
        self.snapshots, self.which, self.now, self.prices, self.given = snapshots, which, now, prices, given
        self.ratio = given.by_volume.get(chain.volume_id, given.compression)
        self.freed = (gib(freed.certain), gib(freed.most))
        self.less = (self.freed[0] * rate, self.freed[1] * rate)
        self.likely = gib(freed.likely) * rate
        self.rate = rate
        # The remaining ones still hold what all have in common, so only changes are freed, as in an endless chain.
        self._long = len(snapshots) if len(snapshots) == len(chain.stored) else None
        self._full = [each.full for each in snapshots]
        self._most = [most_held(each) for each in snapshots]
        self._changed = [each.billed if number else each.full for number, each in enumerate(snapshots)]
        self._archives: dict[tuple[bool, float, float], _Archives] = {}
        self._volume_hours = [0.1 + self._hours(each.full) for each in snapshots]

    def to_ebs_archive(self) -> Option:
        """To EBS's own archive tier, which has a full copy of each snapshot. AWS makes it, without a worker."""
        values = self.prices.values
        full = gib(sum(self._full))
        price = values["snapshot_archive"]
        back = values["snapshot_archive_retrieval"] + values["snapshot"] * AWAKE / DAYS_A_MONTH
        least = gib(sum(each.full if each.full_known else each.billed for each in self.snapshots))
        return self._option(
            Option(EBS_ARCHIVE, "full", self.which, [], gib=full, hours=HOURS[EBS_ARCHIVE][""]),
            storage=(least * price, full * price, gib(sum(self._most)) * price),
            back=(least * back, full * back, gib(sum(self._most)) * back),
            back_one=gib(max(self._full)) * back,
            once={},
            days=int(values["snapshot_archive_minimum_days"]),
            price=price,
        )

    def to_s3(self, storage_class: str, increments: bool) -> Option:
        """To S3: archives of all that each snapshot holds, or of the oldest and then of changed blocks."""
        price = self.prices.of(storage_class)
        there = self._of(increments, self.ratio, price)
        smallest, largest = self._of(increments, 0.0, price), self._of(False, max(1.0, self.ratio), price, self._most)
        writing = self._writing()

        def back(archives: _Archives) -> float:
            return self._bring_back(price, archives.size, archives.parts, archives.number, sum(writing))

        tier = next(iter(price["retrieval"]))
        return self._option(
            Option(
                storage_class,
                "increments" if increments else "full",
                self.which,
                [],
                gib=there.size / GIB,
                compression=self.ratio,
                hours=HOURS.get(storage_class, {}).get(tier, 0.0),
                available=not increments,
            ),
            storage=(self._storage(smallest, price), self._storage(there, price), self._storage(largest, price)),
            back=(back(smallest), back(there), back(largest)),
            back_one=self._bring_back(price, there.largest, there.most, 1, max(writing)),
            once=self._once(there, price, increments),
            days=int(price["minimum_days"]),
            price=price["storage"],
        )

    def _of(self, increments: bool, ratio: float, price: Mapping[str, Any], blocks: Sequence[int] = ()) -> _Archives:
        least = float(price["minimum_bytes"])
        key = (increments, ratio if not blocks else -ratio, least)
        if key not in self._archives:
            self._archives[key] = _Archives.of(blocks or (self._changed if increments else self._full), ratio, least)
        return self._archives[key]

    def _storage(self, archives: _Archives, price: Mapping[str, Any]) -> float:
        """Dollars a month: the archives, and the small objects beside each."""
        asleep = (archives.size + archives.number * price["overhead_class"]) / GIB * price["storage"]
        awake = archives.number * (_SMALL_BYTES + price["overhead_standard"]) / GIB
        return float(asleep + awake * self.prices.of("STANDARD")["storage"])

    def _once(self, archives: _Archives, price: Mapping[str, Any], increments: bool) -> dict[str, float]:
        """Reading the snapshots, sending them, and reading both once more to validate what was sent."""
        standard = self.prices.of("STANDARD")
        objects = archives.number * (1 + _SMALL_OBJECTS)
        puts = (archives.parts * (1 + _JOURNAL) + objects) * standard["put"] + archives.number * price["put"]
        # What is to sleep is in STANDARD when it is validated.
        asleep = standard["storage"] * _SLEEPS_AFTER / DAYS_A_MONTH if price["thaw"] else next(iter(price["retrieval"].values()))
        again = archives.parts * price["get"] / 1000 + archives.size / GIB * asleep
        values = self.prices.values
        kms = (archives.parts * 2 + objects) * values["kms"] / 1000 if self.given.kms else 0.0  # a key to write, one to read
        if increments:
            blocks = sum(self._changed)
            pages = sum(each // _LIST_PAGE + 1 for each in self._changed)
            read = (blocks * values["direct_get"] + pages * values["direct_list"]) / 1000
            return {"reading": read, "requests": puts / 1000, "validation": read + again, "kms": kms}
        second = [self._hours(each) for each in self._full]
        return {
            "reading": sum(map(self._attached, self._volume_hours, self.snapshots)),
            "requests": puts / 1000,
            "validation": sum(map(self._attached, second, self.snapshots)) + again,
            "kms": kms,
        }

    def _hours(self, blocks: float) -> float:
        """How long a temporary volume takes to read or write so much."""
        return blocks * BLOCK / 1024**2 / self.given.throughput / 3600

    def _attached(self, hours: float, one: Held) -> float:
        """Dollars of a volume on a worker for so long."""
        size = one.size_gib or gib(one.full)
        return float(hours * (size * self.prices.values["volume"] / HOURS_A_MONTH + self.given.worker))

    def _writing(self) -> list[float]:
        """Dollars for the volume that each is restored to, while it is written."""
        return list(map(self._attached, self._volume_hours, self.snapshots))

    def _bring_back(self, price: Mapping[str, Any], size: float, parts: float, count: int, writing: float) -> float:
        """Dollars for the thaw, the thawed copy, requests, and the volume that is written meanwhile."""
        tier, retrieval = next(iter(price["retrieval"].items()))
        dollars = size / GIB * retrieval + parts * price["get"] / 1000 + writing
        if price["thaw"]:
            dollars += count * price["thaw"].get(tier, 0.0) / 1000
            dollars += size / GIB * self.prices.of("STANDARD")["storage"] * AWAKE / DAYS_A_MONTH
        return float(dollars)

    def _option(
        self, option: Option, storage: _Range, back: _Range, back_one: float, once: dict[str, float], days: int, price: float
    ) -> Option:
        """storage: dollars a month; back: to bring all back once; price: of a GiB there."""
        given = self.given
        longer = max(1.0, days / DAYS_A_MONTH / given.months)  # what is paid for beyond the months that it is kept
        least, monthly, most = (kept * longer + once_back * given.retrievals / 12 for kept, once_back in zip(storage, back))
        once = {**once, "grace": self.likely * given.grace_days / DAYS_A_MONTH}
        saved = self.likely - monthly
        paid = sum(once.values())
        return option._replace(
            snapshot_ids=[each.snapshot_id for each in self.snapshots],
            monthly=monthly,
            freed=self.freed,
            after=(max(0.0, self.now[0] - self.less[1]) + least, max(0.0, self.now[1] - self.less[0]) + most),
            saving=(self.less[0] - most, self.less[1] - least),
            likely=saved,
            possible=self.less[1] - monthly,
            once_of=once,
            bring_back=back[1],
            bring_back_one=back_one,
            total=paid + (self.now[1] - self.likely + monthly) * given.months,
            payback=paid / saved if saved > 0 else None,
            minimum_days=days,
            break_even=break_even(self._long, option.compression, price, self.rate) if option.form == "full" else None,
        )


def most_held(one: Held) -> int:
    """Blocks that a snapshot can hold: all of its volume, if the real number is not known."""
    return one.full if one.full_known else max(one.full, one.size_gib * GIB // BLOCK)
