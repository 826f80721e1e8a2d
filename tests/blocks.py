# SPDX-License-Identifier: GPL-3.0-or-later
"""A little EBS: volumes, clones, copies and snapshots as sets of blocks, billed as AWS bills them. It knows nothing of our code.

A block is billed with the oldest snapshot that holds it, whichever volume that is of.
"""

import random
from dataclasses import dataclass, field
from itertools import count


@dataclass
class Shot:
    """blocks: offset -> the block that lies there."""

    snapshot_id: str
    volume_id: str
    number: int
    blocks: dict
    description: str = ""


@dataclass
class World:
    dice: random.Random
    shots: dict = field(default_factory=dict)
    volumes: dict = field(default_factory=dict)
    made_from: dict = field(default_factory=dict)

    def __post_init__(self):
        self._block, self._number = count(), count(1)
        self._copied = {}  # (volume of the source, its block) -> the block of its copies

    def volume(self, snapshot_id=""):
        volume_id = f"vol-{next(self._number):017x}"
        self.volumes[volume_id] = dict(self.shots[snapshot_id].blocks) if snapshot_id else {}
        self.made_from[volume_id] = snapshot_id
        return volume_id

    def write(self, volume_id, most=8):
        for _time in range(self.dice.randint(1, most)):
            self.volumes[volume_id][self.dice.randrange(30)] = next(self._block)

    def shot(self, volume_id):
        number = next(self._number)
        self.shots[f"snap-{number:017x}"] = Shot(f"snap-{number:017x}", volume_id, number, dict(self.volumes[volume_id]))

    def copy(self, snapshot_id, incremental, says_so):
        """An incremental copy shares with earlier copies of the same volume; the description may have been edited."""
        source = self.shots[snapshot_id]
        blocks = {}
        there = {block for each in self.shots.values() for block in each.blocks.values()}
        self._copied = {place: block for place, block in self._copied.items() if block in there}
        for offset, block in source.blocks.items():
            place = (source.volume_id, block)
            blocks[offset] = self._copied.setdefault(place, next(self._block)) if incremental else next(self._block)
        number = next(self._number)
        said = f"[Copied {snapshot_id} from eu-west-1]" if says_so else "monthly"
        self.shots[f"snap-{number:017x}"] = Shot(f"snap-{number:017x}", "vol-ffffffff", number, blocks, said)

    def clone(self, snapshot_id):
        """A copy within the region, as it was encrypted: it shares everything with its origin."""
        number = next(self._number)
        source = self.shots[snapshot_id]
        self.shots[f"snap-{number:017x}"] = Shot(
            f"snap-{number:017x}", "vol-ffffffff", number, dict(source.blocks), f"[Copied {snapshot_id} from us-east-1]"
        )

    def step(self):
        """Something that happens to an account."""
        pick = self.dice.random()
        volume_id = self.dice.choice(list(self.volumes)) if self.volumes else ""
        snapshot_id = self.dice.choice(list(self.shots)) if self.shots else ""
        if not volume_id or pick < 0.05:
            self.write(self.volume(), 25)
        elif pick < 0.5:
            self.write(volume_id)
            self.shot(volume_id)
        elif not snapshot_id:
            self.shot(volume_id)
        elif pick < 0.62:
            self.write(self.volume(snapshot_id))
        elif pick < 0.7:
            self.copy(snapshot_id, self.dice.random() < 0.7, self.dice.random() < 0.7)
        elif pick < 0.74:
            self.clone(snapshot_id)
        elif pick < 0.8:
            del self.volumes[volume_id]
        elif pick < 0.9:
            oldest = min((each for each in self.shots.values()), key=lambda each: each.number)
            del self.shots[oldest.snapshot_id]  # a rotation
        else:
            del self.shots[snapshot_id]

    def billed(self):
        """snapshot -> how many blocks it is billed for."""
        owner = {}
        for each in sorted(self.shots.values(), key=lambda each: each.number):
            for block in each.blocks.values():
                owner.setdefault(block, each.snapshot_id)
        return {snapshot_id: sum(own == snapshot_id for own in owner.values()) for snapshot_id in self.shots}

    def stored(self, without=()):
        """How many blocks are billed in all, once some snapshots are gone."""
        kept = (each for each in self.shots.values() if each.snapshot_id not in without)
        return len({block for each in kept for block in each.blocks.values()})
