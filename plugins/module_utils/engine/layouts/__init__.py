# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie in a bucket.

Every layout answers one question, in one shape: what is there for this snapshot? Ours also says where to write.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ...common.snapshot import Snapshot
from ..store import Store


class FoundArchive(NamedTuple):
    """An archive by its key alone. partition None: the whole disk. codec is 'lz4' or 'zstd'."""

    key: str
    partition: Optional[int]
    format: str
    codec: str
    encrypted: bool
    size: int


class Found(NamedTuple):
    """What is in the bucket for one snapshot. manifest '' without one; layout is 'ours' or 'snap_to_s3'."""

    layout: str
    manifest: str
    archives: list[FoundArchive]
    receipts: list[str]


def find(store: Store, prefix: str, snapshot: Snapshot) -> Found:
    """What is there for this snapshot, ours before others'."""
    from . import ours, snap_to_s3

    keys = list(store.keys(f"{prefix}{snapshot.volume_id}/"))
    found = ours.find(keys, prefix, snapshot)
    return found if found.manifest else snap_to_s3.find(keys, snapshot)


def recall(store: Store, prefix: str, snapshot_id: str) -> Optional[Snapshot]:
    """A snapshot that EC2 may not know any more, from its manifest; None if none is found below the prefix."""
    from .. import manifest

    for key, _size in store.keys(prefix):
        if key.endswith(f" {snapshot_id}.manifest.json"):
            body = manifest.find(store, key)
            return Snapshot.from_dict(body["snapshot"]) if body else None
    return None
