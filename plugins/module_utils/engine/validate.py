# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifest -> archives -> every frame -> differences -> receipt.

    quick     compares size and checksum in S3 with the manifest; fetches nothing
    archive   fetches, hashes and decodes every frame and compares it with the index; needs no snapshot
    full      also compares every byte with the snapshot's volume, which is planned afresh; what the manifest lists as unreadable
              counts as the zeros it became and is not read again, and the receipt counts it
    restored  the same with a volume that the archives were restored to

A difference is a result, not an error: validation continues to the end and reports them all (at most 1,000).

Archives of other tools have neither manifest nor index. They cannot be validated at `quick`; `archive` decodes them from end to end
and reads the members of a tar, or compares segments with their keys. No receipt is written, because there is no manifest for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

from ..common.errors import Corrupt, Refused
from . import origin as origins
from .archives import opened
from .bucket import checksums, layouts
from .bucket.layouts import Found, FoundArchive, ours
from .bucket.objects import Store
from .compare import Totals, compare
from .differences import Differences
from .documents import manifest, receipt
from .origin import Origin
from .sources import CHUNK, Source, losses

LEVELS = ("quick", "archive", "full", "restored")
WITH_VOLUME = ("full", "restored")


@dataclass(frozen=True)
class Settings:
    prefix: str = ""
    threads: int = 2
    spool: Optional[str] = None
    by: str = "coldstore.ebs"
    against: str = ""  # what a full validation compares with, for the receipt: 'volume vol-...'
    sources: Mapping[Optional[int], Callable[[int], Source]] = field(default_factory=dict)  # partition -> chunk size -> source
    before_receipt: Callable[[], None] = lambda: None  # raises Lost if the claim is gone


def validate_snapshot(store: Store, origin: Origin, found: Found, level: str, settings: Settings) -> dict[str, Any]:
    """Validate the archives of an origin. Returns what was found, in the form of a receipt.

    For archives of ours a receipt is written. The result then also has its key and the damaged earlier receipts. These do not count
    as a difference: they prove nothing, and this one replaces them.

    Raises Refused for an unknown level, for a missing manifest, and for what cannot be checked; Corrupt if the manifest itself is
    damaged.
    """
    if level not in LEVELS:
        raise Refused(f"level {level!r} is unknown; it has to be one of {', '.join(LEVELS)}")
    name = origins.name(origin)
    begun = store.clock.monotonic()
    differences = Differences()
    if found.layout != "ours":
        if level == "quick":
            raise Refused(
                "archives of other tools have no manifest, so they cannot be validated at level quick", "Use level archive or full."
            )
        totals = _compare_all(store, found.archives, level, settings, differences)
        return {**nothing("equal"), **_said(store, begun, differences, totals)}
    key = found.manifest
    body, etag = manifest.find_with_etag(store, key)
    if body is None:
        raise Refused(f"{name} has no manifest: it was not archived, or not completely", key=key)
    if body["snapshot"]["snapshot_id"] != name:
        differences.add(key, attribute="snapshot", expected=name, found=body["snapshot"]["snapshot_id"])
    intact = [layouts.described(entry) for entry in body["archives"] if _as_recorded(store, entry, differences)]
    totals = _compare_all(store, intact if level != "quick" else [], level, settings, differences)
    when = store.clock.now()
    result = {
        "snapshot_id": name,
        "level": level,
        "against": {"quick": "what S3 says", "archive": "the index"}.get(level, settings.against),
        "manifest": {"key": key, "etag": etag},
        "archives": [entry["objects"] for entry in body["archives"]],
        "lost": losses.summed(body["archives"]),
        "when": when.isoformat(timespec="seconds"),
        "by": settings.by,
        **_said(store, begun, differences, totals),
    }
    damaged = receipt.damaged(store, found.receipts)
    receipt_key = ours.receipt_key(settings.prefix, origin, when, level)
    settings.before_receipt()
    receipt.publish(store, receipt_key, result)
    return dict(result, key=receipt_key, damaged_receipts=damaged)


def _said(store: Store, begun: float, differences: Differences, totals: Totals) -> dict[str, Any]:
    return {
        "result": "different" if differences.count else "equal",
        "differences": differences.listed,
        "difference_count": differences.count,
        "seconds": round(store.clock.monotonic() - begun, 3),
        **totals._asdict(),
    }


def nothing(result: str, size: int = 0) -> dict[str, Any]:
    """The result of a validation that compared nothing, or nothing yet."""
    counts = {"difference_count": 0, "bytes": size, "frames": 0, "members": 0, "seconds": 0.0, "lost": losses.summed([])}
    return {"result": result, "differences": [], "damaged_receipts": [], **counts}


def against(settings: Settings, what: str, sources: Mapping[Optional[int], Callable[[int], Source]]) -> Settings:
    """Settings for a full validation against these sources."""
    return replace(settings, against=what, sources=sources)


def forms_of(store: Store, found: Found) -> tuple[str, dict[Optional[int], str]]:
    """Whether the volume is to be mounted ('tar') or left alone ('image') to compare what was found with it, and what each
    partition was archived as: 'tar', 'image' or 'record'; {} where nothing says so."""
    body = manifest.find(store, found.manifest) if found.manifest else None
    if body is None:
        return found.archives[0].format, {}
    return str(body["format"]), {each["partition"]: str(each["archived"]) for each in body["disk"]["filesystems"]}


def _as_recorded(store: Store, entry: Mapping[str, Any], differences: Differences) -> bool:
    """Whether S3 has the archive and its index with the size and checksum the manifest names."""
    before = differences.count
    for wanted in [*entry["objects"], entry["index"]]:
        there = store.head(wanted["key"], wanted["version"])
        if there is None:
            differences.add(wanted["key"], attribute="object", expected="present", found="missing")
            continue
        if there.size != wanted["size"]:
            differences.add(wanted["key"], attribute="size", expected=wanted["size"], found=there.size)
        if {checksums.NAME: there.checksum} != wanted["checksum"]:
            differences.add(wanted["key"], attribute="checksum", expected=wanted["checksum"], found=there.checksum)
    return differences.count == before


def _compare_all(store: Store, archives: list[FoundArchive], level: str, settings: Settings, differences: Differences) -> Totals:
    """Compare every archive with its own digests, and, at a level with a volume, with the volume."""
    totals = [_compare(store, found, level, settings, differences) for found in archives]
    return Totals(*map(sum, zip(*totals))) if totals else Totals()


def _compare(store: Store, found: FoundArchive, level: str, settings: Settings, differences: Differences) -> Totals:
    entry = found.entry or {"chunk": CHUNK, "problems": []}
    with ExitStack() as held:
        archive = held.enter_context(closing(opened(store, found, settings.threads, settings.spool, thorough=True)))
        try:
            archive.load()
        except Corrupt as error:
            differences.add(entry["index"]["key"], attribute="index", expected=entry["index"]["sha256"], found=error.message)
            return Totals()
        listed = [losses.from_dict(each) for each in entry["problems"]]
        source: Optional[Source] = None
        if level in WITH_VOLUME:
            if found.partition not in settings.sources:
                differences.add(found.key, attribute="partition", expected=found.partition, found="not on the volume")
                return Totals()
            source = held.enter_context(closing(settings.sources[found.partition](entry["chunk"])))
            if level == "full":
                source.leave_out(listed)
        return compare(archive, source, listed, differences, settings.threads, store.stop)
