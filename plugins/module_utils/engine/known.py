# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots as the bucket knows them, so that work on archives continues when EC2 no longer has the snapshot."""

from __future__ import annotations

from collections.abc import Collection

from ..common.errors import ColdstoreError
from . import origin as origins
from .bucket import listing
from .bucket.objects import Store
from .documents import claims, manifest
from .origin import Origin


def known(store: Store, prefix: str, snapshot_ids: Collection[str]) -> tuple[dict[str, Origin], dict[str, ColdstoreError]]:
    """{id: snapshot} of those that were claimed or archived, and {id: error} of those whose manifest cannot be read.

    A claim is one object. For a snapshot that was never claimed, all keys below the prefix are listed, which takes a second for
    about 5,000.
    """
    found = claims.described(store, prefix, snapshot_ids)
    unreadable: dict[str, ColdstoreError] = {}
    rest = frozenset(snapshot_ids).difference(found)
    for each in listing.kept(store, prefix, listing.Filter(rest, state="complete")) if rest else ():
        try:
            body = manifest.find(store, each.manifest)
        except ColdstoreError as error:
            unreadable[each.snapshot_id] = error
            continue
        if body is not None:
            found[each.snapshot_id] = origins.from_facts(body["snapshot"])
    return found, unreadable
