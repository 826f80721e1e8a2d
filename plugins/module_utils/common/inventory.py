# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 has in one region of one account, as far as bills and advice depend on it."""

from __future__ import annotations

from typing import NamedTuple, Optional

from .snapshot import Snapshot


class Known(NamedTuple):
    """A snapshot and what may change about it. full_bytes: of all its blocks, if EC2 says so. tier: 'standard' or 'archive'."""

    snapshot: Snapshot
    tier: str
    full_bytes: Optional[int]


class Inventory(NamedTuple):
    """volumes: those that exist, and the snapshot each was made from, '' for none. images: the AMIs that use a snapshot."""

    account: str
    region: str
    snapshots: list[Known]
    volumes: dict[str, str]
    images: dict[str, list[str]]
