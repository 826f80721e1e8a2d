# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that snap-to-s3 or flexible-snapshot-proxy made -> differences.

They have no manifest and no index. So `archive` decodes the stream from end to end and reads its tar members, and
`full` compares a tar member by member with the mounted filesystem, an image byte by byte with the device. snap-to-s3
did not store extended attributes or nanoseconds, so those are not compared. A segment is compared with the SHA-256 in
its key; that one is missing only `full` can tell. No receipt is written: there is no manifest it could belong to.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, Optional

from ...common.errors import Corrupt, Refused
from ...common.snapshot import Snapshot
from .. import streams
from ..index import text
from ..layouts import Found, FoundArchive, fsp
from ..pipeline import ordered_map
from ..sources import Chunk, Member, Source
from ..spool import PathTable
from ..store import MIB, Store
from .differences import Differences
from .restore import raw_segment, segments
from .validate import WITH_VOLUME, Settings, nothing

_NO_BLOCK = bytes(fsp.BLOCK)
_TYPES = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
}


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
                compare(stream, archive.key, source, differences, totals)
            except streams.damage() as error:
                differences.add(archive.key, attribute="stream", expected="one that decodes", found=str(error))
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


def _compare_image(stream: IO[bytes], key: str, source: Optional[Source], differences: Differences, totals: dict[str, int]) -> None:
    chunks: Iterator[Optional[Chunk]] = source.plan() if source else iter(lambda: None, 0)
    for chunk in chunks:
        length = chunk.length if chunk else 4 * MIB
        data = stream.read(length)
        totals["bytes"] += len(data)
        if source and chunk and data != source.read(chunk):
            differences.add(key, attribute="content", expected="the volume's bytes", found="others", offset=chunk.offset)
        if not data:
            break
    if source and stream.read(1):
        differences.add(key, attribute="length", expected="the volume's", found="longer")


def _compare_tar(stream: IO[bytes], key: str, source: Optional[Source], differences: Differences, totals: dict[str, int]) -> None:
    """Members in the archive's order; then what is on the volume and was not among them."""
    seen = PathTable()
    root = _root(source)
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
        while True:
            item = archive.next()
            if item is None:
                break
            # tarfile would keep every member, though a stream cannot go back to one.
            archive.members.clear()  # type: ignore[attr-defined]
            totals["members"] += 1
            path = os.path.normpath(item.name).encode("utf-8", "surrogateescape")
            content = archive.extractfile(item) if item.isreg() else None
            totals["bytes"] += item.size if item.isreg() else 0
            if root is None:
                _read_through(content)
                continue
            seen.first(path, path)
            _compare_member(item, content, root, path, key, differences)
    while stream.read(MIB):  # damage behind the last member is damage, too
        pass
    if source is None:
        return

    def member(planned: Member) -> None:
        if planned.type != "socket" and planned.path not in seen:
            differences.add(key, "member", "present", "missing", path=text(planned.path))

    for _chunk in source.plan(member):
        pass
    seen.close()


def _compare_member(
    item: tarfile.TarInfo, content: Optional[IO[bytes]], root: bytes, path: bytes, key: str, differences: Differences
) -> None:
    full = os.path.join(root, path)
    try:
        there = os.lstat(full)
    except OSError:
        differences.add(key, "member", "absent", "present", path=text(path))
        return
    if item.islnk():
        first = os.lstat(os.path.join(root, item.linkname.encode("utf-8", "surrogateescape")))
        if (first.st_dev, first.st_ino) != (there.st_dev, there.st_ino):
            differences.add(key, "link", "another file", item.linkname, path=text(path))
        return
    for name, (expected, found) in _attributes(item, there, full).items():
        if expected != found:
            differences.add(key, name, expected, found, path=text(path))
    if content is not None and stat.S_ISREG(there.st_mode):
        with open(full, "rb") as file:
            while True:
                block = content.read(MIB)
                if block != file.read(MIB):
                    differences.add(key, "content", "as on the volume", "other bytes", path=text(path))
                    return
                if not block:
                    return


def _attributes(item: tarfile.TarInfo, there: os.stat_result, full: bytes) -> Mapping[str, tuple[Any, Any]]:
    """name -> (on the volume, in the archive)."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    kinds.update({stat.S_IFCHR: "character", stat.S_IFBLK: "block"})
    compared: dict[str, tuple[Any, Any]] = {
        "type": (kinds.get(stat.S_IFMT(there.st_mode), "other"), _TYPES.get(item.type, "file")),
        "mode": (stat.S_IMODE(there.st_mode), item.mode & 0o7777),
        "uid": (there.st_uid, item.uid),
        "gid": (there.st_gid, item.gid),
        "mtime": (there.st_mtime_ns // 10**9, int(item.mtime)),
    }
    if item.isreg():
        compared["size"] = (there.st_size, item.size)
    if item.issym() and stat.S_ISLNK(there.st_mode):
        compared["link"] = (text(os.readlink(full)), item.linkname)
    return compared


def _root(source: Optional[Source]) -> Optional[bytes]:
    return getattr(source, "root", None)


def _read_through(content: Optional[IO[bytes]]) -> None:
    while content is not None and content.read(MIB):
        pass
