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
    """Whether one of these receipts says that every byte was compared, of this very manifest, without a difference."""
    for key in sorted(keys, reverse=True):
        content = store.get(key)
        if content is None:
            continue
        body = document.decode(content.body, NAME, VERSION, key)
        if body["level"] in EVERY_BYTE and body["result"] == "equal" and body["manifest"]["etag"] == manifest_etag:
            return True
    return False
