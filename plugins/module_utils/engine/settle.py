# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claim -> proof -> result. A result is never written down on anybody's word: the bucket has to show it."""

from __future__ import annotations

from ..common.errors import Refused, Unfit
from ..common.snapshot import Snapshot
from .bucket.layouts import ours
from .bucket.objects import Store
from .documents import manifest, receipt
from .documents.claims import Held


def settle(store: Store, prefix: str, snapshot: Snapshot, held: Held, result: str) -> Held:
    """Settle a claim as what the bucket proves. Raises Refused, and leaves the claim as it is, if the proof is missing.

    A visit has no result of its own: the claim stands as it did before.
    """
    return held.leave() if held.visit else held.settle(proved(store, prefix, snapshot, result))


def give_back(store: Store, prefix: str, held: Held, reason: str, attempts: int, kind: str = "") -> Held:
    """Give a claim back; with a reason the attempt has failed, and after so many the snapshot has.

    What was validated before stays so as long as the bucket proves it: only a difference takes that back, not an attempt that ended
    for another reason. kind: of the error; where it is the worker's fault another may try at once.
    """
    if held.visit:
        return held.leave(again=not reason or kind == Unfit.kind)
    if (
        reason
        and kind != Unfit.kind
        and held.before == "validated"
        and proved(store, prefix, held.snapshot, "migrated") == "validated"
    ):
        return held.settle(held.before)
    return held.fail(reason, attempts, kind) if reason else held.release()


def proved(store: Store, prefix: str, snapshot: Snapshot, result: str) -> str:
    """The result that the bucket proves: this one, or a stronger one, which a weaker one never takes back.

    Raises Refused unless there is a manifest, for 'migrated', and for 'validated' also a receipt that says that every byte was
    compared.
    """
    key = ours.manifest_key(prefix, snapshot)
    body, etag = manifest.find_with_etag(store, key)
    if body is None:
        raise Refused(f"{snapshot.snapshot_id} is not {result}: it has no manifest", "Archive it first.", key=key)
    keys = [item.key for item in store.keys(ours.base(prefix, snapshot) + ".receipt.")]
    proof = receipt.proof(store, keys, etag)
    if proof.proved:
        return "validated"
    if result == "validated":
        raise Refused(
            f"{snapshot.snapshot_id} is not validated: no receipt says that every byte was compared"
            + "".join(f"; {each} was damaged and does not count" for each in proof.damaged),
            "Validate it at level archive or full.",
            key=key,
        )
    return result
