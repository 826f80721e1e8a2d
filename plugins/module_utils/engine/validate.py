# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifest -> archives -> every frame -> differences -> receipt.

    quick     what S3 says of size and checksum, against the manifest; nothing is fetched
    archive   every frame fetched, hashed, decoded, against the index; needs no snapshot
    full      that, and every byte against the snapshot's volume, planned afresh; what the manifest lists as unreadable is
              taken for the zeros it became and not read again, and the receipt counts it
    restored  the same against a volume that the archives were restored to

A difference is a result, not an error: validation goes on to the end and reports them all (at most 1,000).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

from ..common.errors import ColdstoreError, Corrupt, Refused
from ..common.snapshot import Snapshot
from . import hashing
from .archives.frames import RAW, Proved, each_group
from .bucket import checksums
from .bucket.layouts import Found, ours
from .bucket.objects import Store
from .codecs import Codec, codec
from .differences import Differences, MemberComparison, Unequal, blame, compare_losses, unequal_blocks
from .documents import index, manifest, receipt
from .documents.index import Frame, Index
from .sources import Chunk, Source, losses

LEVELS = ("quick", "archive", "full", "restored")
WITH_VOLUME = ("full", "restored")


@dataclass(frozen=True)
class Settings:
    prefix: str = ""
    threads: int = 2
    spool: Optional[str] = None
    by: str = "coldstore.ebs"
    against: str = ""  # what a full validation reads, for the receipt: 'volume vol-...'
    sources: Mapping[Optional[int], Callable[[int], Source]] = field(default_factory=dict)  # partition -> chunk size -> source
    before_receipt: Callable[[], None] = lambda: None  # raises Lost once the claim is gone


def validate_snapshot(store: Store, snapshot: Snapshot, found: Found, level: str, settings: Settings) -> dict[str, Any]:
    """Validate what was archived of a snapshot and write a receipt; returns the receipt's body, its key and earlier receipts that
    were damaged, which is no difference: they count for nothing, and this one takes their place.

    Raises Refused for an unknown level or if there is no manifest, Corrupt if the manifest itself is damaged.
    """
    if level not in LEVELS:
        raise Refused(f"level {level!r} is unknown; it is one of {', '.join(LEVELS)}")
    key = found.manifest
    body, etag = manifest.find_with_etag(store, key)
    if body is None:
        raise Refused(f"there is no manifest for {snapshot.snapshot_id}: it was not archived, or not completely", key=key)
    begun = store.clock.monotonic()
    differences = Differences()
    totals = {"bytes": 0, "frames": 0, "members": 0}
    if body["snapshot"]["snapshot_id"] != snapshot.snapshot_id:
        differences.add(key, attribute="snapshot", expected=snapshot.snapshot_id, found=body["snapshot"]["snapshot_id"])
    for entry in body["archives"]:
        if _as_recorded(store, entry, differences) and level != "quick":
            _validate_archive(store, entry, level, settings, differences, totals)
    when = store.clock.now()
    result = {
        "snapshot_id": snapshot.snapshot_id,
        "level": level,
        "result": "different" if differences.count else "equal",
        "against": {"quick": "what S3 says", "archive": "the index"}.get(level, settings.against),
        "manifest": {"key": key, "etag": etag},
        "archives": [entry["objects"] for entry in body["archives"]],
        "lost": losses.summed(body["archives"]),
        "differences": differences.listed,
        "difference_count": differences.count,
        "when": when.isoformat(timespec="seconds"),
        "seconds": round(store.clock.monotonic() - begun, 3),
        "by": settings.by,
        **totals,
    }
    damaged = receipt.damaged(store, found.receipts)
    receipt_key = ours.receipt_key(settings.prefix, snapshot, when, level)
    settings.before_receipt()
    receipt.publish(store, receipt_key, result)
    return dict(result, key=receipt_key, damaged_receipts=damaged)


def nothing(result: str, size: int = 0) -> dict[str, Any]:
    """What a validation that compared nothing, or nothing yet, has to say."""
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


def _validate_archive(
    store: Store,
    entry: Mapping[str, Any],
    level: str,
    settings: Settings,
    differences: Differences,
    totals: dict[str, int],
) -> None:
    """Every frame of one archive against its index, and with level 'full' against a source."""
    stored = entry["objects"][0]
    key = stored["key"]
    unequal: list[Unequal] = []
    try:
        wanted = entry["index"]
        fetched = index.fetch(store, wanted["key"], wanted["size"], wanted["sha256"], wanted["version"], settings.spool)
    except Corrupt as error:
        differences.add(entry["index"]["key"], attribute="index", expected=entry["index"]["sha256"], found=error.message)
        return
    decoder = codec(entry["codec"])
    listed = [losses.from_dict(each) for each in entry["problems"]]
    source: Optional[Source] = None
    if level in WITH_VOLUME:
        if entry["partition"] not in settings.sources:
            differences.add(key, attribute="partition", expected=entry["partition"], found="not on the volume")
            return
        source = settings.sources[entry["partition"]](entry["chunk"])
        if level == "full":
            source.leave_out(listed)

    def check(_length: int, proved: list[Proved]) -> tuple[list[tuple[int, str]], list[Unequal], int]:
        return _check(proved, decoder, source)

    comparison = MemberComparison(key, fetched.members(), differences)
    try:
        frames = _beside_chunks(fetched, source, comparison, differences, key)
        for damaged, different, size in each_group(
            store, stored, frames, _pieces, RAW, settings.threads, fetched.head["digest"], check
        ):
            totals["bytes"] += size
            for offset, what in damaged:
                differences.add(key, attribute="frame", expected="as in the index", found=what, offset=offset)
            unequal += different[: 1000 - len(unequal)]
        if source is not None:
            if source.kind == "tar":
                comparison.finish()
            compare_losses(key, source, listed, differences)
        for difference in blame(fetched, unequal if not comparison.moved else []):
            differences.add(key, **difference)
        _check_tail(store, stored, fetched, differences)
        totals["frames"] += fetched.foot["frames"]
        totals["members"] += fetched.foot["members"]
    finally:
        fetched.close()
        if source is not None:
            source.close()


def _beside_chunks(
    fetched: Index, source: Optional[Source], comparison: MemberComparison, differences: Differences, key: str
) -> Iterator[tuple[Frame, Optional[Chunk]]]:
    """Each frame with the chunk the source plans in its place."""
    chunks = source.plan(comparison.member) if source is not None else None
    raw = 0
    for frame in fetched.frames():
        yield frame, next(chunks, None) if chunks is not None else None
        raw += frame.raw_length
    if chunks is not None:
        longer = sum(chunk.length for chunk in chunks)
        if longer:
            differences.add(key, attribute="length", expected=raw + longer, found=raw)


def _pieces(chunk: Optional[Chunk]) -> int:
    return len(chunk.pieces) if chunk is not None else 0


def _check(proved: list[Proved], decoder: Codec, source: Optional[Source]) -> tuple[list[tuple[int, str]], list[Unequal], int]:
    """Of one request: damaged frames (offset in the archive, what), unequal blocks, bytes compared."""
    damaged: list[tuple[int, str]] = []
    unequal: list[Unequal] = []
    size = 0
    for each in proved:
        frame, chunk = each.frame, each.beside
        try:
            raw = decoder.decode(each.read(), frame.raw_length)
        except ColdstoreError as error:
            damaged.append((frame.offset, error.message))
            continue
        size += len(raw)
        if source is not None:
            fresh = source.read(chunk) if chunk is not None else b""
            if raw != fresh:
                unequal += unequal_blocks(raw, fresh, frame.raw_offset, chunk)
    return damaged, unequal, size


def _check_tail(store: Store, stored: Mapping[str, Any], fetched: Index, differences: Differences) -> None:
    """The seek table behind the last frame, and that nothing follows it."""
    foot = fetched.foot
    offset, length, expected = foot["tail"]
    if foot["stored"] != stored["size"]:
        differences.add(stored["key"], attribute="size", expected=foot["stored"], found=stored["size"])
    if length:
        digest = hashing.hasher(fetched.head["digest"])()
        for block in store.blocks(stored["key"], offset, length, stored["version"]):
            digest.update(block)
        if digest.hexdigest() != expected:
            differences.add(stored["key"], attribute="seek table", expected=expected, found="other bytes", offset=offset)
