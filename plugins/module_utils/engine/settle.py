# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claim -> proof -> result. A result is only recorded if the bucket proves it."""

from __future__ import annotations

from ..common.errors import Refused, Unfit
from . import origin as origins
from .bucket.layouts import ours
from .bucket.objects import Store
from .documents import manifest, receipt
from .documents.claims import Claim
from .origin import Origin


def settle(store: Store, prefix: str, origin: Origin, claim: Claim, result: str) -> Claim:
    """Settle a claim with what the bucket proves. If the proof is missing, raises Refused and leaves the claim as it is.

    A visit has no result of its own: the claim stands as it did before.
    """
    return claim.leave() if claim.visit else claim.settle(proved(store, prefix, origin, result))


def give_back(store: Store, prefix: str, claim: Claim, reason: str, attempts: int, kind: str = "") -> Claim:
    """Give a claim back. With a reason the attempt has failed, and after so many attempts the snapshot has.

    A snapshot that was validated before stays validated as long as the bucket proves it: only a difference takes that back, not an
    attempt that ended for another reason. kind: of the error; if the worker is to blame, another one may try at once.
    """
    if claim.visit:
        return claim.leave(again=not reason or kind == Unfit.kind)
    if (
        reason
        and kind != Unfit.kind
        and claim.before == "validated"
        and proved(store, prefix, claim.origin, "migrated") == "validated"
    ):
        return claim.settle(claim.before)
    return claim.fail(reason, attempts, kind) if reason else claim.release()


def proved(store: Store, prefix: str, origin: Origin, result: str) -> str:
    """The result that the bucket proves: this one, or a stronger one, which a weaker one never takes back.

    Raises Refused unless there is a manifest for 'migrated', and for 'validated' also a receipt saying that every byte was
    compared.
    """
    key = ours.manifest_key(prefix, origin)
    body, etag = manifest.find_with_etag(store, key)
    if body is None:
        raise Refused(f"{origins.name(origin)} is not {result}: it has no manifest", "Archive it first.", key=key)
    keys = [item.key for item in store.keys(ours.base(prefix, origin) + ".receipt.")]
    proof = receipt.proof(store, keys, etag)
    if proof.proved:
        return "validated"
    if result == "validated":
        raise Refused(
            f"{origins.name(origin)} is not validated: no receipt says that every byte was compared"
            + "".join(f"; {each} is damaged and does not count" for each in proof.damaged),
            "Validate it at level archive or full.",
            key=key,
        )
    return result
