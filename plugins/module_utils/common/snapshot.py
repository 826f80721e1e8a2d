# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What archives need to know about a snapshot from EC2: facts that never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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

    def as_dict(self) -> dict[str, Any]:
        return dict(asdict(self), tags=dict(self.tags))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Snapshot:
        """Raises KeyError if a field without a default is missing; ignores what it does not know."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in data.items() if name in names})
