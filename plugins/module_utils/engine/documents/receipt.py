# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was validated, how, when, against what, with what result (docs/formats.md). Receipts are only ever added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional

from ...common.errors import Corrupt
from ..bucket.objects import Store
from ..bucket.sleeping import kept_awake
from . import document

VERSION = 1
NAME = "receipt"
EVERY_BYTE = ("archive", "full", "restored")  # the levels that compare every byte


def publish(store: Store, key: str, body: Mapping[str, Any]) -> None:
    store.put(key, document.encode(NAME, VERSION, body))


class Proof(NamedTuple):
    """proved: every byte of the manifest was compared, and no newer look found a difference. damaged: the keys of receipts that
    do not have the digest they name: nobody knows what they said, so they count for nothing."""

    proved: bool
    damaged: list[str]


def proof(store: Store, keys: Iterable[str], manifest_etag: str) -> Proof:
    """What these receipts prove of this very manifest. Those that a newer one makes needless are not read.

    One that says that every byte was compared proves it, unless a newer one, at whatever level, found a difference. What compares
    less takes nothing back.
    """
    bad: list[str] = []
    for key in sorted(keys, reverse=True):  # the newest first: the key says when
        body = _read(store, key, bad)
        if body is None or body["manifest"]["etag"] != manifest_etag:
            continue
        if body["result"] != "equal":
            return Proof(False, bad)
        if body["level"] in EVERY_BYTE:
            return Proof(True, bad)
    return Proof(False, bad)


def damaged(store: Store, keys: Iterable[str]) -> list[str]:
    """Which of these do not have the digest they name; all of them are read."""
    bad: list[str] = []
    for key in sorted(keys):
        _read(store, key, bad)
    return bad


def _read(store: Store, key: str, bad: list[str]) -> Optional[dict[str, Any]]:
    """What a receipt says; None if it is gone, or if it is damaged, which is added to the bad ones."""
    with kept_awake(store, key):
        content = store.get(key)
    if content is None:
        return None
    try:
        return document.decode(content.body, NAME, VERSION, key)
    except Corrupt:
        bad.append(key)
        return None
