# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was validated, how, when, against what, with what result (docs/formats.md). Receipts are only added, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional

from ...common.errors import Corrupt
from ..bucket.objects import Store
from ..bucket.sleeping import kept_awake
from . import document

VERSION = 1
NAME = "receipt"
_SHAPE = {"manifest": {"etag": str}, "level": str, "result": str}
EVERY_BYTE = ("archive", "full", "restored")  # the levels that compare every byte


def publish(store: Store, key: str, body: Mapping[str, Any]) -> None:
    store.put(key, document.encode(NAME, VERSION, body))


class Proof(NamedTuple):
    """proved: every byte of the manifest was compared, and no newer validation found a difference. damaged: the keys of receipts
    whose digest does not match, or that are none. What they said is unknown, so they prove nothing."""

    proved: bool
    damaged: list[str]


def proof(store: Store, keys: Iterable[str], manifest_etag: str) -> Proof:
    """What these receipts prove about exactly this manifest. Receipts that a newer one supersedes are not read.

    A receipt that says that every byte was compared proves it, unless a newer one, at any level, found a difference. A weaker
    validation takes nothing back.
    """
    bad: list[str] = []
    for key in sorted(keys, reverse=True):  # the newest first: the time is in the key
        body = _read(store, key, bad)
        if body is None or body["manifest"]["etag"] != manifest_etag:
            continue
        if body["result"] != "equal":
            return Proof(False, bad)
        if body["level"] in EVERY_BYTE:
            return Proof(True, bad)
    return Proof(False, bad)


def damaged(store: Store, keys: Iterable[str]) -> list[str]:
    """Which of these have a digest that does not match. All of them are read."""
    bad: list[str] = []
    for key in sorted(keys):
        _read(store, key, bad)
    return bad


def _read(store: Store, key: str, bad: list[str]) -> Optional[dict[str, Any]]:
    """The contents of a receipt; None if it is gone, or damaged, and then it is added to the bad ones."""
    with kept_awake(store, key):
        content = store.get(key)
    if content is None:
        return None
    try:
        return document.decode(content.body, NAME, VERSION, key, _SHAPE)
    except Corrupt:
        bad.append(key)
        return None
