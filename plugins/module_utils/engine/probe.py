# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the bucket does what every snapshot needs of it, tried once, before anything is claimed."""

from __future__ import annotations

import secrets

from ..common.errors import Permanent, Refused
from .layouts import ours
from .lifecycle import sleeps
from .store import Store

_BODY = b'{"coldstore.ebs": "a probe; it may be removed"}\n'


def probe(store: Store, prefix: str, storage_class: str) -> None:
    """Write a small object as archives are written, with this class and the store's key, read it and remove it.

    Raises Refused if the bucket does not take or return it.
    """
    key = ours.claim_key(prefix, f"probe-{secrets.token_hex(8)}")
    try:
        store.put(key, _BODY, storage_class=storage_class)
    except Permanent as error:
        raise _refused(store, storage_class, error) from error
    try:
        if not sleeps(storage_class):
            store.read(key, 0, len(_BODY))
    finally:
        store.delete([key])


def _refused(store: Store, storage_class: str, error: Permanent) -> Refused:
    how = f"storage class {storage_class}, encryption {store.sse or 'as the bucket says'}"
    advice = f"It was tried with {how}{f' by {store.kms_key_id}' if store.kms_key_id else ''}; correct what does not exist."
    return Refused(f"the bucket does not take what would be written to it: {error.message}", advice, **error.facts)
