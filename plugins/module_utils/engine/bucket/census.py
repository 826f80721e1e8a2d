# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bytes of a bucket are, by volume and storage class; what is orphaned; and uploads that no listing shows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

from . import uploads
from .layouts import Named
from .objects import Listed, Store

_MOST_ORPHANS = 1000  # so many are listed; all are counted


class Census:
    """Objects and bytes by volume and storage class, and orphans. Feed it every object of a listing."""

    def __init__(self) -> None:
        self.objects = 0
        self.size = 0
        self.unknown = 0
        self.volumes: dict[str, dict[str, Any]] = {}
        self.storage_classes: dict[str, dict[str, int]] = {}
        self.orphans: list[dict[str, Any]] = []
        self.orphan_count = 0

    def add(self, item: Listed, named: Optional[Named]) -> None:
        self.objects += 1
        self.size += item.size
        by_class = self.storage_classes.setdefault(item.storage_class, {"objects": 0, "bytes": 0})
        by_class["objects"] += 1
        by_class["bytes"] += item.size
        if named is None:
            self.unknown += 1
            return
        by_volume = self.volumes.setdefault(named.volume_id or named.snapshot_id, {"objects": 0, "bytes": 0, "storage_classes": {}})
        by_volume["objects"] += 1
        by_volume["bytes"] += item.size
        classes = by_volume["storage_classes"]
        classes[item.storage_class] = classes.get(item.storage_class, 0) + item.size

    def orphan(self, key: str, why: str, size: int) -> None:
        self.orphan_count += 1
        if len(self.orphans) < _MOST_ORPHANS:
            self.orphans.append({"key": key, "reason": why, "bytes": size})


def unfinished(store: Store, prefix: str, now: datetime) -> list[dict[str, Any]]:
    """Uploads that were neither completed nor aborted. They cost money, and no listing shows them."""
    found = []
    for upload in uploads.unfinished(store, prefix):
        parts = uploads.Upload(store, upload.key, upload.upload_id).parts() or {}
        size = sum(length for _etag, length in parts.values())
        age = max(0.0, now.timestamp() - upload.initiated)
        found.append({"key": upload.key, "upload_id": upload.upload_id, "age_days": round(age / 86400, 2), "bytes": size})
    return found
