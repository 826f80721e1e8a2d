# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the bucket and its server support what every snapshot needs. This is tried before anything is claimed.

Two small objects are written and removed again, one like an archive, one like a claim. Some servers accept conditions and
checksums but ignore them. Then two lanes could work on one snapshot, or damage could go unnoticed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ...common.errors import DAMAGED, NOT_IMPLEMENTED, ColdstoreError, Corrupt, Lost, Permanent, Refused, Transient
from ...common.retry import Policy
from ..pipeline import ordered_map
from . import checksums, uploads
from .layouts import ours
from .objects import Store
from .sleeping import sleeps

_RACERS = 8
_BODY = b'{"coldstore.ebs": "a probe; you can remove it"}\n'
_NOBODYS = '"00000000000000000000000000000000"'  # an ETag


def probe(store: Store, prefix: str, storage_class: str) -> None:
    """Raises Refused for the first thing that the bucket does not accept, or its server does not support."""
    token = secrets.token_hex(8)
    archive, claim = (ours.claim_key(prefix, f"probe-{token}{what}") for what in ("", "-claim"))
    try:
        with _removed(store, archive, claim):
            _check_archives(store, archive, storage_class)
            _check_claims(store, claim)
    except Permanent as error:
        if error.facts.get("code") != NOT_IMPLEMENTED:
            raise
        raise _lacks(store, f"does not support {error.facts.get('call')} as it is used") from error


def check_class(store: Store, prefix: str, storage_class: str) -> None:
    """Raises Refused if archives cannot be begun in a class. Nothing is written: some classes bill months for it."""
    try:
        uploads.begin(store, ours.claim_key(prefix, f"probe-{secrets.token_hex(8)}"), storage_class).abort()
    except Permanent as error:
        raise _not_taken(store, storage_class, error) from error


@contextmanager
def _removed(store: Store, *keys: str) -> Iterator[None]:
    """Objects that are removed when the body ends. If that fails as well, the first failure is reported."""
    try:
        yield
    except BaseException:
        with suppress(ColdstoreError):
            store.delete([*keys])
        raise
    store.delete([*keys])


def _check_archives(store: Store, key: str, storage_class: str) -> None:
    """An object in one part, with this class and the store's encryption. A second one must not replace it."""
    try:
        _complete(store, key, storage_class, _BODY)
    except Permanent as error:
        if error.facts.get("code") == NOT_IMPLEMENTED:
            raise
        raise _not_taken(store, storage_class, error) from error
    except Corrupt as error:
        raise _lacks(store, f"does not return the {checksums.NAME} of an object that was uploaded in parts") from error
    if not sleeps(storage_class):
        store.read(key, 0, len(_BODY))
    try:
        _complete(store, key, storage_class, _BODY.upper())
    except Lost:
        return
    raise _lacks(store, "ignores If-None-Match when an upload is completed, and replaced an object")


def _complete(store: Store, key: str, storage_class: str, body: bytes) -> None:
    upload = uploads.begin(store, key, storage_class)
    try:
        upload.complete([upload.send(1, uploads.Joined([body]), len(body))])
    except Exception:
        upload.abort()
        raise


def _check_claims(store: Store, key: str) -> None:
    """One of several simultaneous writers wins. None wins with an outdated ETag or with damaged bytes."""

    def write(number: int) -> str:
        return store.try_put(key, _BODY + b"%d\n" % number)

    won = [etag for etag in ordered_map(write, range(_RACERS), _RACERS, _RACERS, store.stop) if etag]
    there = store.head(key)
    if there is None or len(won) > 1:
        raise _lacks(store, f"let {len(won)} of {_RACERS} simultaneous writers win although all sent If-None-Match")
    if store.try_put(key, _BODY, replaces=_NOBODYS):
        raise _lacks(store, "ignores If-Match, and replaced an object that is not the one named")
    if not there.checksum:
        raise _lacks(store, f"does not return the {checksums.NAME} of a small object")
    wrong = checksums.update(_BODY) ^ 1
    try:
        accepted = replace(store, policy=Policy(attempts=1)).try_put(key, _BODY, replaces=there.etag, crc=wrong)
    except (Transient, Permanent) as error:
        if isinstance(error, Transient) and error.facts.get("code") not in DAMAGED:
            raise
        return  # it is refused; servers differ in how they say so
    if accepted:
        raise _lacks(store, f"does not check the {checksums.NAME} that is sent with an object")


def _not_taken(store: Store, storage_class: str, error: Permanent) -> Refused:
    how = f"storage class {storage_class}, encryption {store.sse or 'as the bucket says'}"
    advice = f"It was tried with {how}{f' with key {store.kms_key_id}' if store.kms_key_id else ''}. Correct what does not exist."
    return Refused(f"the bucket does not accept what would be written to it: {error.message}", advice, **error.facts)


def _lacks(store: Store, what: str) -> Refused:
    server = store.client.meta.endpoint_url
    return Refused(f"the server {server} {what}", "Use one that behaves like AWS (docs/servers.md).", bucket=store.bucket)
