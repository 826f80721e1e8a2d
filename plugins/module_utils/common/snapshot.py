# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What archives need to know about a snapshot from EC2: facts that never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Snapshot:
    """start_time is UTC, ISO 8601 to the second with +00:00; size_gib is the volume's size."""

    snapshot_id: str
    volume_id: str
    start_time: str
    size_gib: int
    description: str = ""
    owner_id: str = ""
    encrypted: bool = False
    kms_key_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
