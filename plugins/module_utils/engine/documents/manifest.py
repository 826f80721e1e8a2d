# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The object written last for one snapshot: the commit record. No manifest, no archive (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ...common.errors import Corrupt
from .. import origin as origins
from ..bucket import checksums
from ..bucket.objects import Store, Stored
from ..bucket.sleeping import kept_awake
from ..origin import Origin
from ..sources import losses
from . import document

VERSION = 1
NAME = "manifest"
_OBJECT = {"key": str, "version": str, "size": int, "checksum": dict, "storage_class": str}
_LOSS = {"path": str, "offset": int, "length": int, "reason": str}
_ARCHIVE = {
    "key": str, "partition": (int, type(None)), "format": str, "codec": str, "chunk": int, "raw_size": int, "frames": int,
    "members": int, "objects": [_OBJECT], "index": {**_OBJECT, "sha256": str}, "subvolumes": [str], "flags": dict,
    "problems": [_LOSS], "lost": dict.fromkeys(losses.COUNTED, int),
}  # fmt: skip
_SHAPE = {"snapshot": origins.SHAPE, "format": str, "disk": dict, "archives": [_ARCHIVE], "created": str, "by": str}


def build(
    origin: Origin, disk: Mapping[str, Any], form: str, archives: list[dict[str, Any]], created: str, by: str
) -> dict[str, Any]:
    """The body of a manifest. disk: size, partition table and filesystems; archives: one entry per archive."""
    return {
        "snapshot": origins.facts(origin),
        "format": form,
        "disk": dict(disk),
        "archives": archives,
        "base": None,  # the snapshot that a delta was made against
        "created": created,
        "by": by,
    }


def described(stored: Stored) -> dict[str, Any]:
    """What a manifest says of an object."""
    return {
        "key": stored.key,
        "version": stored.version,
        "size": stored.size,
        "checksum": {checksums.NAME: stored.checksum},
        "storage_class": stored.storage_class,
    }


def publish(store: Store, key: str, body: Mapping[str, Any]) -> None:
    """The commit. Raises Lost if another manifest is there."""
    store.put(key, document.encode(NAME, VERSION, body))


def find(store: Store, key: str) -> Optional[dict[str, Any]]:
    """The manifest under a key, or None. Raises Corrupt if it was damaged, Asleep if a lifecycle rule has put it to sleep."""
    return find_with_etag(store, key)[0]


def find_with_etag(store: Store, key: str) -> tuple[Optional[dict[str, Any]], str]:
    """The same, and the ETag of exactly this manifest, which receipts are about."""
    with kept_awake(store, key):
        content = store.get(key)
    if content is None:
        return None, ""
    body = document.decode(content.body, NAME, VERSION, key, _SHAPE)
    _check(body["archives"], key)
    return body, content.etag


def _check(archives: list[dict[str, Any]], key: str) -> None:
    if len(archives) > len({each["partition"] for each in archives}):
        raise Corrupt("the manifest names two archives of one partition", key=key)
    for each in archives:
        if not each["objects"] or each["chunk"] < 1:
            raise Corrupt("the manifest names no objects or chunks of an archive", key=key, partition=each["partition"])
