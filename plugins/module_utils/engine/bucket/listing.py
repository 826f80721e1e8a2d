# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots are in a bucket, from its listing and manifests only, so nothing has to be thawed.

A listing is read once, page by page. Only one entry per snapshot and the census are kept, not the keys.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple, Optional

from ...common.errors import Asleep, Corrupt, Refused
from ..documents import index, manifest, receipt
from ..pipeline import ordered_map
from .census import Census
from .layouts import Named, may_be_foreign, parse
from .objects import Listed, Store
from .sleeping import ASLEEP, rests_in


@dataclass
class Kept:
    """One snapshot in the bucket, as the listing shows it. size: of its archives, in bytes; keys: of these (not of segments).

    tiers: where INTELLIGENT_TIERING has put what sleeps, which a listing does not tell; None until look_into_tiers is called.
    asleep: a sentence about each manifest, receipt or index that should be read but that a lifecycle rule had put to sleep.
    """

    snapshot_id: str
    volume_id: str
    start_time: str
    layout: str
    manifest: str = ""
    formats: set[str] = field(default_factory=set)
    partitions: list[Optional[int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    objects: int = 0
    size: int = 0
    storage_classes: set[str] = field(default_factory=set)
    tiers: Optional[set[str]] = None
    asleep: list[str] = field(default_factory=list)
    encrypted: bool = False
    receipts: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)  # a sentence about each of its documents that was read and found damaged

    @property
    def state(self) -> str:
        """complete: it has a manifest; foreign: made by another tool, which makes none; incomplete: ours without a manifest."""
        if self.layout != "ours":
            return "foreign"
        return "complete" if self.manifest and self.keys else "incomplete"

    @property
    def awake(self) -> bool:
        """Whether it can be read without a thaw, judging by the storage classes in the listing, and the tiers if they are known."""
        return not (self.asleep or (self.storage_classes | (self.tiers or set())) & ASLEEP)


class Filter(NamedTuple):
    """The filters; '', None and empty lists match everything. before and after are compared with the snapshot's start.

    awake: only what can be read without a thaw.
    """

    snapshot_ids: frozenset[str] = frozenset()
    volume_id: str = ""
    before: Optional[datetime] = None
    after: Optional[datetime] = None
    state: str = ""
    format: str = ""
    awake: bool = False


def moment(text: str) -> datetime:
    """A date or time in ISO 8601; without a zone it is UTC. Raises Refused."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise Refused(f"{text!r} is not a date or time", "Write it as 2026-01-31 or 2026-01-31T12:00:00+00:00.") from error
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def kept(store: Store, prefix: str, wanted: Filter, census: Optional[Census] = None) -> Iterator[Kept]:
    """The snapshots in the bucket, by volume and time. A census counts everything listed, regardless of filters."""
    folder, held = "", list[tuple[Listed, Named]]()
    where = f"{prefix}{wanted.volume_id}/" if wanted.volume_id and census is None else prefix
    for item in store.keys(where):
        here = item.key[len(prefix) :].partition("/")[0]
        if here != folder:
            yield from _awake(store, _gathered(held, wanted, census), wanted)
            folder, held = here, []
        named = parse(item.key, prefix)
        if census is not None and not (named is None and item.key.startswith(prefix + "claims/")):
            census.add(item, named)
        if named is not None:
            held.append((item, named))
    yield from _awake(store, _gathered(held, wanted, census), wanted)


def look_into_tiers(store: Store, each: Kept) -> Kept:
    """Find out where INTELLIGENT_TIERING has put its archives, with one request for each."""
    if each.tiers is None and "INTELLIGENT_TIERING" in each.storage_classes:
        there = [store.head(key) for key in each.keys]
        each.tiers = {rests_in(stored) for stored in there if stored is not None} - {""}
    return each


def _awake(store: Store, found: Iterable[Kept], wanted: Filter) -> Iterator[Kept]:
    """If requested, only those that really are awake."""
    yield from (each for each in found if not wanted.awake or look_into_tiers(store, each).awake)


def newest(found: Iterable[Kept]) -> list[Kept]:
    """The newest of each volume; if there is no start time (flexible-snapshot-proxy's), none is newer."""
    last: dict[str, Kept] = {}
    for each in found:
        if not each.start_time:
            last[each.snapshot_id] = each
            continue
        known = last.get(each.volume_id)
        if known is None or moment(each.start_time) > moment(known.start_time):
            last[each.volume_id] = each
    return list(last.values())


def drawn(found: Iterable[Kept], count: int, seed: str) -> list[Kept]:
    """A random sample of so many, or all if there are fewer. The same seed picks the same ones. Raises Refused."""
    if count < 0:
        raise Refused(f"a sample cannot have {count} archives", "Name a number from 0 up.")
    everything = list(found)
    return everything if count >= len(everything) else random.Random(seed).sample(everything, count)


def with_details(store: Store, found: Iterable[Kept], threads: int) -> Iterator[Kept]:
    """The same, with the contents of each manifest and whether a receipt proves it. A damaged or sleeping one is left empty."""

    def look(each: Kept) -> Kept:
        look_into_tiers(store, each)
        if not each.manifest:
            return each
        try:
            body, etag = manifest.find_with_etag(store, each.manifest)
            if body is None:
                raise Corrupt("the manifest is gone again", key=each.manifest)
        except Corrupt as error:
            each.damaged.append(str(error))
            return each
        except Asleep as error:
            each.asleep.append(str(error))
            return each
        snapshot, proof = body["snapshot"], receipt.Proof(False, [])
        try:
            proof = receipt.proof(store, each.receipts, etag)
        except Asleep as error:
            each.asleep.append(str(error))
        each.damaged += [f"{key} is damaged and proves nothing" for key in proof.damaged]
        each.details = {
            "description": snapshot["description"], "tags": snapshot["tags"], "size_gib": snapshot["size_gib"],
            "encrypted": snapshot["encrypted"], "format": body["format"], "created": body["created"], "by": body["by"],
            "validated": proof.proved, "archives": body["archives"], "filesystems": body["disk"].get("filesystems", []),
        }  # fmt: skip
        return each

    yield from ordered_map(look, found, threads, 2 * threads, store.stop)


def _gathered(held: list[tuple[Listed, Named]], wanted: Filter, census: Optional[Census]) -> Iterator[Kept]:
    """The entries for the keys of one volume. Archives of one snapshot by us and by another tool are two entries."""
    found: dict[tuple[str, str], Kept] = {}
    beside = [(item, named) for item, named in held if named.kind not in ("archive", "segment", "manifest")]
    for item, named in held:
        if named.kind in ("archive", "segment", "manifest"):
            known = Kept(named.snapshot_id, named.volume_id, named.start_time, named.layout)
            _add(found.setdefault((named.snapshot_id, named.layout), known), item, named)
    indexes = {item.key for item, named in beside if named.kind == "index"}
    for (snapshot_id, layout), known in list(found.items()):
        if layout == "ours" and not known.manifest and known.keys and all(may_be_foreign(key, indexes) for key in known.keys):
            found[snapshot_id, "snap_to_s3"] = found.pop((snapshot_id, layout))
            known.layout = "snap_to_s3"
    for item, named in beside:
        owner = found.get((named.snapshot_id, "ours"))
        if named.kind == "receipt" and owner is not None:
            owner.receipts.append(item.key)
        if census is not None:
            _judge(item, named, owner, census)
    for known in found.values():
        if census is not None and known.state == "incomplete":
            why = "an archive without a manifest: it was never completed" if known.keys else "a manifest without an archive"
            census.orphan((known.keys or [known.manifest])[0], why, known.size)
    yield from sorted((each for each in found.values() if _wants(wanted, each)), key=lambda each: each.start_time)


def _add(known: Kept, item: Listed, named: Named) -> None:
    if named.kind == "manifest":
        known.manifest = item.key
        return
    known.objects += 1
    known.size += item.size
    known.storage_classes.add(item.storage_class)
    known.formats.add(named.format)
    known.encrypted = known.encrypted or named.encrypted
    if named.kind == "archive":
        known.keys.append(item.key)
        if named.object == 1:
            known.partitions.append(named.partition)


def _judge(item: Listed, named: Named, owner: Optional[Kept], census: Census) -> None:
    """Whether an object beside archives belongs to one."""
    if named.kind == "receipt" and (owner is None or not owner.manifest):
        census.orphan(item.key, "a receipt without a manifest", item.size)
    elif named.kind == "index" and (owner is None or item.key[: -len(index.SUFFIX)] not in owner.keys):
        census.orphan(item.key, "an index without its archive", item.size)
    elif named.kind == "journal" and owner is not None and owner.manifest:
        census.orphan(item.key, "a journal of an upload that is complete", item.size)


def _wants(wanted: Filter, each: Kept) -> bool:
    if wanted.snapshot_ids and each.snapshot_id not in wanted.snapshot_ids:
        return False
    if wanted.volume_id not in ("", each.volume_id) or (wanted.awake and not each.awake):
        return False
    if wanted.state not in ("", each.state) or (wanted.format and wanted.format not in each.formats):
        return False
    if wanted.before is None and wanted.after is None:
        return True
    if not each.start_time:
        return False
    start = moment(each.start_time)
    return (wanted.before is None or start < wanted.before) and (wanted.after is None or start >= wanted.after)
