# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie in a bucket.

Every layout answers one question, in one shape: what does this key hold, of which snapshot? Ours also says where to write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from ... import origin as origins
from ...origin import Origin
from ..objects import Listed, Store


class Named(NamedTuple):
    """What a key says. kind: archive, index, manifest, receipt, journal or segment. layout: ours, snap_to_s3 or fsp.

    start_time as it stands in the key ('' where it does not). partition None: the whole disk. format is tar or image,
    codec lz4 or zstd, both '' where they do not apply. object: which one of an archive, from 1.
    """

    layout: str
    kind: str
    volume_id: str
    start_time: str
    snapshot_id: str
    partition: Optional[int] = None
    format: str = ""
    codec: str = ""
    encrypted: bool = False
    object: int = 1


class FoundArchive(NamedTuple):
    """An archive as a listing or a manifest has it. partition None: the whole disk. codec is 'lz4' or 'zstd'.

    An archive may be several objects. Then size is their sum and key that of the first; for fsp, what all keys begin with.
    layout as in Found. entry: what a manifest says of it, None where it is known from a listing alone; more: the keys of its other
    objects then, in order.
    """

    key: str
    partition: Optional[int]
    format: str
    codec: str
    encrypted: bool
    size: int
    layout: str = "snap_to_s3"
    entry: Optional[Mapping[str, Any]] = None
    more: tuple[str, ...] = ()


class Found(NamedTuple):
    """What is in the bucket for one snapshot. manifest '' without one; layout is 'ours', 'snap_to_s3' or 'fsp'."""

    layout: str
    manifest: str
    archives: list[FoundArchive]
    receipts: list[str]


def parse(key: str, prefix: str) -> Optional[Named]:
    """What a key holds; None for what is nobody's."""
    from . import fsp, ours, snap_to_s3

    if not key.startswith(prefix):
        return None
    rest = key[len(prefix) :]
    return ours.parse(rest) or snap_to_s3.parse(rest) or fsp.parse(rest)


def find(store: Store, prefix: str, origin: Origin) -> Found:
    """What is there for this origin, ours before others'. Only where there is none of ours are all keys of the volume
    listed: it may have thousands of snapshots, and nobody else's keys can be told from a snapshot."""
    from . import ours

    name, folder = origins.name(origin), origins.base(origin).partition("/")[0]
    found = gather(store.keys(ours.base(prefix, origin)), prefix, name)
    return found if found.manifest else listed(store, prefix, name, folder)


def gather(keys: Iterable[Listed], prefix: str, snapshot_id: str) -> Found:
    """What of these keys is this snapshot's. Without a manifest nothing of ours is an archive."""
    from . import fsp

    ours: list[FoundArchive] = []
    foreign: list[FoundArchive] = []
    receipts: list[str] = []
    indexes: set[str] = set()
    segments: dict[str, int] = {}
    manifest = ""
    for item in keys:
        named = parse(item.key, prefix)
        if named is None or named.snapshot_id != snapshot_id:
            continue
        if named.object > 1 and ours and item.key.startswith(ours[-1].key):  # a listing has it behind the first
            ours[-1] = ours[-1]._replace(size=ours[-1].size + item.size, more=(*ours[-1].more, item.key))
            continue
        found = FoundArchive(item.key, named.partition, named.format, named.codec, named.encrypted, item.size)
        if named.kind == "archive":
            (ours if named.layout == "ours" else foreign).append(found)
        elif named.kind == "manifest":
            manifest = item.key
        elif named.kind == "receipt":
            receipts.append(item.key)
        elif named.kind == "segment":
            head = fsp.head(item.key)
            segments[head] = segments.get(head, 0) + item.size
        elif named.kind == "index":
            indexes.add(item.key)
    if manifest:
        return Found("ours", manifest, [each._replace(layout="ours") for each in ours], sorted(receipts))
    foreign = sorted(foreign + [each for each in ours if not each.more and may_be_foreign(each.key, indexes)])
    if foreign or not segments:
        return Found("snap_to_s3", "", foreign, sorted(receipts))
    images = [FoundArchive(head, None, "image", "zstd", False, size, "fsp") for head, size in segments.items()]
    return Found("fsp", "", images, [])


def described(entry: Mapping[str, Any]) -> FoundArchive:
    """An archive of ours as its entry in a manifest has it."""
    size = sum(each["size"] for each in entry["objects"])
    return FoundArchive(entry["key"], entry["partition"], entry["format"], entry["codec"], False, size, "ours", entry)


def may_be_foreign(key: str, indexes: Collection[str]) -> bool:
    """lz4 archives are named alike by us and by snap-to-s3; only beside ours lies an index."""
    from ...documents.index import SUFFIX

    return key.endswith(".lz4") and key + SUFFIX not in indexes


def locate(store: Store, prefix: str, snapshot_id: str, volume_id: str = "") -> tuple[Found, Optional[dict[str, Any]]]:
    """What is there for a snapshot that EC2 may not know any more, and its manifest.

    Without the volume's id everything below the prefix is listed, which takes a second for every 5,000 keys or so.
    """
    from ...documents import manifest

    found = listed(store, prefix, snapshot_id, volume_id)
    return found, manifest.find(store, found.manifest) if found.manifest else None


def listed(store: Store, prefix: str, snapshot_id: str, volume_id: str = "") -> Found:
    """The same from the listing alone."""
    return gather((item for item in _listed(store, prefix, snapshot_id, volume_id) if snapshot_id in item.key), prefix, snapshot_id)


def _listed(store: Store, prefix: str, snapshot_id: str, volume_id: str) -> Iterator[Listed]:
    if not volume_id:
        yield from store.keys(prefix)
        return
    yield from store.keys(f"{prefix}{volume_id}/")
    yield from store.keys(f"{prefix}{snapshot_id}.")
