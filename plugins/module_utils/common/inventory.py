# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 has in one region of one account, as far as bills and advice depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from .snapshot import Snapshot


class Known(NamedTuple):
    """A snapshot and what may change about it. full_bytes: of all its blocks, if EC2 says so. tier: 'standard' or 'archive'."""

    snapshot: Snapshot
    tier: str
    full_bytes: Optional[int]


# What would be known, in words: `NotAsked.what`.
ACCOUNT, REGIONS, SNAPSHOTS = "what is in the account", "which regions are switched on", "which volumes they are of"
VOLUMES, IMAGES, BLOCKS = "which volumes exist", "which AMIs use them", "which blocks they have in common"


class NotAsked(NamedTuple):
    """What could not be asked, or had no answer. Nothing is known then, and nothing follows from what is not seen.

    region: '' for all of the account. permission: the IAM action, '' if none would help. why and help are for people.
    """

    account: str
    region: str
    what: str
    permission: str
    why: str
    help: str

    def __str__(self) -> str:
        return f"{self.what} ({self.permission})" if self.permission else self.what


class Inventory(NamedTuple):
    """volumes: those that exist, and the snapshot each was made from, '' for none. images: the AMIs that use a snapshot.

    not_asked: what there is no answer to; its list or mapping is empty then, and says nothing.
    """

    account: str
    region: str
    snapshots: list[Known]
    volumes: dict[str, str]
    images: dict[str, list[str]]
    not_asked: Sequence[NotAsked] = ()

    def knows(self, what: str) -> bool:
        """Whether there was an answer to this: SNAPSHOTS, VOLUMES, IMAGES, …"""
        return not any(each.what in (what, ACCOUNT) for each in self.not_asked)
