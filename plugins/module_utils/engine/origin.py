# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bytes come from, for keys, labels, manifests and claims: facts that never change.

An origin is a snapshot of a volume. If it can be something else one day, only this file tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ..common.snapshot import Snapshot

Origin = Snapshot
# What facts have at least, by type.
SHAPE = {
    "snapshot_id": str, "volume_id": str, "start_time": str, "size_gib": int, "description": str, "encrypted": bool, "tags": dict,
}  # fmt: skip


def name(origin: Origin) -> str:
    """The name that its claim has, and that people use."""
    return origin.snapshot_id


def base(origin: Origin) -> str:
    """The beginning of all its keys, after the prefix."""
    return f"{origin.volume_id}/{origin.start_time} {origin.snapshot_id}"


def labels(origin: Origin) -> dict[str, str]:
    """What S3 metadata says of it: snap-to-s3's fields. The values may be too long, or not ASCII."""
    return {
        "snapshot-starttime": origin.start_time,
        "snapshot-snapshotid": origin.snapshot_id,
        "snapshot-volumesize": str(origin.size_gib),
        "snapshot-volumeid": origin.volume_id,
        "snapshot-description": origin.description,
    }


def facts(origin: Origin) -> dict[str, Any]:
    """All of it, as manifests and claims have it."""
    return dict(asdict(origin), tags=dict(origin.tags))


def from_facts(said: Mapping[str, Any]) -> Origin:
    """Raises KeyError or TypeError if a field without a default is missing; ignores what it does not know."""
    names = {each.name for each in fields(Snapshot)}
    return Snapshot(**{field: value for field, value in said.items() if field in names})
