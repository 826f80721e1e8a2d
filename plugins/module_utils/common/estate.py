# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 has in one region of one account, as far as bills and advice depend on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from .snapshot import Snapshot


class Binned(NamedTuple):
    """A snapshot in the Recycle Bin. until: the day on which it leaves."""

    volume_id: str
    description: str
    until: str


class Known(NamedTuple):
    """A snapshot and what may change about it. full_bytes: of all its blocks, if EC2 says so. tier: 'standard' or 'archive'."""

    snapshot: Snapshot
    tier: str
    full_bytes: Optional[int]


# What an answer would have told, in words: `NotAsked.what`.
ACCOUNT, REGIONS, SNAPSHOTS = "what is in the account", "which regions are enabled", "which volumes they are of"
VOLUMES, IMAGES, BLOCKS = "which volumes exist", "which AMIs use them", "which blocks they have in common"
FAST, LOCKS, BINNED = "where fast snapshot restore is on", "which are locked", "what is in the Recycle Bin"
SHARES = "with whom they are shared"


class NotAsked(NamedTuple):
    """A question that could not be asked or had no answer, so nothing may be concluded from what is missing.

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


class Estate(NamedTuple):
    """volumes: those that exist, with the snapshot each was made from ('' if none). images: the AMIs that use a snapshot. fast: the
    zones in which its fast restore is on. locks: the day until which it is locked. binned: what is in the Recycle Bin.

    not_asked: the questions without an answer; the list or mapping in question is then empty and means nothing.
    """

    account: str
    region: str
    snapshots: list[Known]
    volumes: dict[str, str]
    images: dict[str, list[str]]
    not_asked: Sequence[NotAsked] = ()
    fast: Mapping[str, Sequence[str]] = {}
    locks: Mapping[str, str] = {}
    binned: Mapping[str, Binned] = {}

    def knows(self, what: str) -> bool:
        """Whether there was an answer to this: SNAPSHOTS, VOLUMES, IMAGES, …"""
        return not any(each.what in (what, ACCOUNT) for each in self.not_asked)
