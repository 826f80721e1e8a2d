# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was validated, how, when, against what, with what result (docs/formats.md). Receipts are only ever added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import document
from .store import Store

VERSION = 1
NAME = "receipt"
EVERY_BYTE = ("archive", "full", "restored")  # the levels that compare every byte


def publish(store: Store, key: str, body: Mapping[str, Any]) -> None:
    store.put(key, document.encode(NAME, VERSION, body))


def proves(store: Store, keys: Iterable[str], manifest_etag: str) -> bool:
    """Whether these receipts prove this very manifest: one says that every byte was compared, without a difference, and none that
    is newer, at whatever level, found any. What compares less takes nothing back."""
    for key in sorted(keys, reverse=True):  # the newest first: the key says when
        content = store.get(key)
        if content is None:
            continue
        body = document.decode(content.body, NAME, VERSION, key)
        if body["manifest"]["etag"] != manifest_etag:
            continue
        if body["result"] != "equal":
            return False
        if body["level"] in EVERY_BYTE:
            return True
    return False
