# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that snap-to-s3 or flexible-snapshot-proxy made -> differences.

They have no manifest and no index. So `archive` decodes the stream from end to end and reads its tar members, and
`full` compares a tar member by member with the mounted filesystem, an image byte by byte with the device. snap-to-s3
did not store extended attributes or nanoseconds, so those are not compared. A segment is compared with the SHA-256 in
its key; that one is missing only `full` can tell. No receipt is written: there is no manifest it could belong to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Optional

from ..common.errors import Corrupt, Refused
from ..common.snapshot import Snapshot
from ..common.stop import Stop
from .archives import stream as streams
from .bucket.layouts import Found, FoundArchive, fsp
from .bucket.objects import MIB, Store
from .compare_files import FilesComparison
from .differences import Differences, compare_losses
from .documents.index import text
from .pipeline import ordered_map
from .restore import raw_segment, segments
from .sources import Chunk, Member, Source
from .spool import PathTable
from .targets.headers import Entry
from .targets.untar import Consumer, Untar
from .validate import WITH_VOLUME, Settings, nothing

_NO_BLOCK = bytes(fsp.BLOCK)


def validate_archives(store: Store, snapshot: Snapshot, found: Found, level: str, settings: Settings) -> dict[str, Any]:
    """Validate every archive found. Raises Refused for what cannot be checked: encrypted archives, level quick."""
    if level == "quick":
        raise Refused(
            "archives of other tools have no manifest, so there is nothing quick to compare", "Use level archive or full."
        )
    begun = store.clock.monotonic()
    differences = Differences()
    totals = {"bytes": 0, "frames": 0, "members": 0}
    for archive in found.archives:
        if found.layout == "fsp":
            _compare_segments(store, archive, level, settings, differences, totals)
            continue
        if archive.encrypted:
            raise Refused("the archive is encrypted with GPG", "Decrypt it first; it cannot be compared as it is.", key=archive.key)
        with streams.decoded(store, archive, settings.threads) as stream:
            source = _source(archive, level, settings, differences)
            compare = _compare_tar if archive.format == "tar" else _compare_image
            try:
                compare(stream, archive.key, source, differences, totals, settings, store.stop)
            except Corrupt as error:
                path, offset = error.facts.get("path"), error.facts.get("offset")
                differences.add(archive.key, "stream", "one that can be read", error.message, path and text(path), offset)
            except streams.damage() as error:
                differences.add(archive.key, attribute="stream", expected="one that decodes", found=str(error))
            if source is not None:
                compare_losses(archive.key, source, [], differences)
    result = nothing("different" if differences.count else "equal")
    seconds = round(store.clock.monotonic() - begun, 3)
    return dict(result, differences=differences.listed, difference_count=differences.count, seconds=seconds, **totals)


def _source(archive: FoundArchive, level: str, settings: Settings, differences: Differences) -> Optional[Source]:
    if level not in WITH_VOLUME:
        return None
    if archive.partition not in settings.sources:
        differences.add(archive.key, attribute="partition", expected=archive.partition, found="not on the volume")
        return None
    return settings.sources[archive.partition](4 * MIB)


def _compare_segments(
    store: Store, archive: FoundArchive, level: str, settings: Settings, differences: Differences, totals: dict[str, int]
) -> None:
    """Each segment against its digest and, with a volume, against it; what has no segment has to be zeros there."""
    source = _source(archive, level, settings, differences)
    covered = bytearray(fsp.gib(archive.key) * 1024**3 // fsp.BLOCK)

    def present() -> Iterator[fsp.Segment]:
        try:
            for segment in segments(store, archive):
                covered[segment.first : segment.first + segment.blocks] = b"\1" * segment.blocks
                yield segment
        except Corrupt as error:
            differences.add(str(error.facts.get("key")), attribute="segment", expected="one of the volume", found=error.message)

    def check(segment: fsp.Segment) -> tuple[fsp.Segment, str, bool]:
        try:
            raw = raw_segment(store, segment)
        except Corrupt as error:
            return segment, error.message, True
        same = source is None or bytes(source.read(Chunk(segment.first * fsp.BLOCK, len(raw)))) == raw
        return segment, "", same

    for segment, what, same in ordered_map(check, present(), settings.threads, settings.threads + 2, store.stop):
        totals["bytes"] += segment.blocks * fsp.BLOCK
        totals["frames"] += 1
        if what:
            differences.add(segment.key, attribute="segment", expected="as its key says", found=what)
        elif not same:
            at = segment.first * fsp.BLOCK
            differences.add(segment.key, attribute="content", expected="the volume's bytes", found="others", offset=at)
    if source is None:
        return

    def is_zero(chunk: Chunk) -> tuple[Chunk, bool]:
        return chunk, source.read(chunk) == _NO_BLOCK

    gaps = (Chunk(block * fsp.BLOCK, fsp.BLOCK) for block, known in enumerate(covered) if not known)
    for chunk, zero in ordered_map(is_zero, gaps, settings.threads, 4 * settings.threads, store.stop):
        totals["bytes"] += chunk.length
        if not zero:
            differences.add(
                archive.key, attribute="content", expected="the volume's bytes", found="no segment", offset=chunk.offset
            )
    compare_losses(archive.key, source, [], differences)


def _compare_image(
    stream: IO[bytes],
    key: str,
    source: Optional[Source],
    differences: Differences,
    totals: dict[str, int],
    _settings: Settings,
    stop: Stop,
) -> None:
    chunks: Iterator[Optional[Chunk]] = source.plan() if source else iter(lambda: None, 0)
    for chunk in chunks:
        stop.check()
        length = chunk.length if chunk else 4 * MIB
        data = stream.read(length)
        totals["bytes"] += len(data)
        if source and chunk and data != source.read(chunk):
            differences.add(key, attribute="content", expected="the volume's bytes", found="others", offset=chunk.offset)
        if not data:
            break
    if source and stream.read(1):
        differences.add(key, attribute="length", expected="the volume's", found="longer")


def _compare_tar(
    stream: IO[bytes],
    key: str,
    source: Optional[Source],
    differences: Differences,
    totals: dict[str, int],
    settings: Settings,
    stop: Stop,
) -> None:
    """Members in the archive's order; then what is on the volume and was not among them."""
    root = getattr(source, "root", None)
    seen = PathTable()
    comparison = FilesComparison(root, key, differences, totals, seen) if root is not None else _Count(totals)
    try:
        taken_apart = Untar(comparison, spool=settings.spool)
        for data in iter(lambda: stream.read(MIB), b""):  # damage behind the last member is damage, too
            stop.check()
            taken_apart.feed(data)
        taken_apart.finish()
    finally:
        comparison.close()
    if source is None:
        return

    def member(planned: Member) -> None:
        if planned.type != "socket" and planned.path not in seen:
            differences.add(key, "member", "present", "missing", path=text(planned.path))

    for _chunk in source.plan(member):
        stop.check()
    seen.close()


class _Count(Consumer):
    """Reads through the members."""

    def __init__(self, totals: dict[str, int]) -> None:
        self._totals = totals

    def begin(self, entry: Entry) -> None:
        self._totals["members"] += 1
        self._totals["bytes"] += entry.size

    def close(self) -> None: ...
