# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive -> frames -> target.

ours         the index says which frames are wanted; they are fetched by range, in parallel, and compared with the
             index before a byte of them is used
a stream     an archive without an index, decoded from its beginning; its codec's checksums are all there is
segments     flexible-snapshot-proxy's, each compared with the SHA-256 in its key
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from ..common.errors import Corrupt, Refused
from .archives import stream as streams
from .archives.frames import RAW, Proved, each_group
from .bucket.layouts import FoundArchive, fsp, snap_to_s3
from .bucket.objects import MIB, Store
from .codecs import codec
from .documents import index
from .documents.index import Frame, Index
from .pipeline import ordered_map
from .selection import Selection
from .sources import CHUNK, Member
from .spool import PathTable
from .targets import Target
from .targets.directory import DirectoryTarget
from .targets.headers import Entry

_RAW_HELD = 8 * MIB  # decoded bytes a request, where they have to wait for their turn
Cut = tuple[int, int]  # begin and end in the source, bytes


@dataclass(frozen=True)
class Settings:
    """threads fetch and decode; spool is a directory for the index."""

    threads: int = 4
    spool: Optional[str] = None


class Survey(NamedTuple):
    """What a selection comes to, known from the index alone. size: bytes of the files; raw: of their stretches.

    renamed: the path of a file that is wanted only under another of its names -> that name. The caller closes it.
    """

    members: int
    size: int
    raw: int
    renamed: PathTable


def open_index(store: Store, entry: Mapping[str, Any], settings: Settings) -> Index:
    """The index of an archive in a manifest. Raises Corrupt unless it is the one the manifest names."""
    wanted = entry["index"]
    return index.fetch(store, wanted["key"], wanted["size"], wanted["sha256"], wanted["version"], settings.spool)


def survey(fetched: Index, selection: Selection) -> Survey:
    """Count what is wanted, and find what hard links need that is not. Raises Refused if nothing is wanted."""
    members = size = raw = 0
    needed = PathTable()
    for member in fetched.members(selection.hint()):
        if selection.wants(member.path):
            members += 1
            size += member.size
            raw += member.length
            if member.type == "hardlink" and member.link is not None and not selection.wants(member.link):
                needed.first(member.link, member.path)
    if not members:
        raise Refused(
            f"nothing in the archive matches {selection.patterns}",
            "Search for it with coldstore.ebs.snapshot_archive_info.",
            key=fetched.head["archive"],
        )
    if needed:
        for member in fetched.members():
            if member.path in needed:
                size += member.size
                raw += member.length
    return Survey(members, size, raw, needed)


def restore(
    store: Store,
    entry: Mapping[str, Any],
    fetched: Index,
    target: Target,
    settings: Settings,
    selection: Optional[Selection] = None,
    renamed: Optional[Mapping[bytes, bytes]] = None,
) -> int:
    """Restore one archive of ours, all of it or what is selected; returns the bytes fetched, index included.

    Raises Corrupt naming key and offset for a frame that is not the index's; what was written until then stays, and the
    target is not finished.
    """
    stored = entry["objects"][0]
    decoder = codec(entry["codec"])
    everything: list[Cut] = [(0, fetched.foot["raw"])]
    cuts = iter(everything) if selection is None or selection.everything else _stretches(fetched, selection, renamed or {})
    bytes_fetched = int(entry["index"]["size"])

    def decode(proved: list[Proved]) -> Iterator[tuple[int, Any]]:
        for each in proved:
            frame = each.frame
            try:
                raw = memoryview(decoder.decode_proved(each.read(), frame.raw_length))
            except Corrupt as error:
                raise error.at(key=stored["key"], offset=frame.offset) from None
            for begin, end in each.beside:
                yield begin, raw[begin - frame.raw_offset : end - frame.raw_offset]

    def decode_all(length: int, proved: list[Proved]) -> tuple[int, list[tuple[int, Any]]]:
        return length, list(decode(proved))

    def write_all(length: int, proved: list[Proved]) -> tuple[int, list[tuple[int, Any]]]:
        for offset, data in decode(proved):
            target.write(offset, data)
        return length, []

    work, most_raw = (decode_all, _RAW_HELD) if target.in_order else (write_all, RAW)
    wanted = _wanted(fetched.frames(), cuts)
    for length, pieces in each_group(store, stored, wanted, len, most_raw, settings.threads, fetched.head["digest"], work):
        bytes_fetched += length
        for offset, data in pieces:
            target.write(offset, data)
    return bytes_fetched


def restore_sockets(fetched: Index, target: DirectoryTarget) -> None:
    """Sockets are in the index alone: tar cannot hold them."""
    for member in fetched.members(b'"socket"'):
        if member.type == "socket":
            target.add(_socket(member))


def restore_stream(store: Store, archive: FoundArchive, target: Target, settings: Settings) -> int:
    """Restore an archive that has no index; returns the bytes fetched. Raises Corrupt if it does not decode."""
    if archive.encrypted:
        raise Refused(
            "the archive is encrypted with GPG", "Fetch it, decrypt it with gpg, and unpack it with tar.", key=archive.key
        )
    at = 0
    try:
        with streams.decoded(store, archive, settings.threads) as stream:
            while True:
                store.stop.check()
                data = stream.read(CHUNK)
                if not data:
                    break
                target.write(at, data)
                at += len(data)
    except Corrupt as error:
        error.at(key=archive.key)
        raise
    except streams.damage() as error:
        raise Corrupt(f"the archive does not decode: {error}", key=archive.key, offset=at) from error
    expected = _uncompressed(store, archive)
    if archive.format == "image" and expected and at != expected:
        raise Corrupt(f"the archive is cut short: {at} of {expected} bytes are there", key=archive.key, offset=at)
    return archive.size


def restore_segments(store: Store, archive: FoundArchive, target: Target, settings: Settings) -> int:
    """Restore flexible-snapshot-proxy's segments; returns the bytes fetched. Raises Corrupt for one that is not itself."""

    def write(segment: fsp.Segment) -> int:
        target.write(segment.first * fsp.BLOCK, raw_segment(store, segment))
        return segment.size

    found = segments(store, archive)
    return sum(ordered_map(write, found, settings.threads, settings.threads + 2, store.stop))


def segments(store: Store, archive: FoundArchive) -> Iterator[fsp.Segment]:
    """The segments of one snapshot. Raises Corrupt for a key that is none, or that lies outside of the volume."""
    blocks = fsp.gib(archive.key) * 1024**3 // fsp.BLOCK
    for item in store.keys(archive.key):
        segment = fsp.segment(item.key, item.size)
        if segment is None or segment.first + segment.blocks > blocks:
            raise Corrupt("this is no segment of the volume", "Move it elsewhere, or look where it came from.", key=item.key)
        yield segment


def raw_segment(store: Store, segment: fsp.Segment) -> bytes:
    """A segment's bytes. Raises Corrupt unless they have the SHA-256 in its key."""
    import zstandard

    length = segment.blocks * fsp.BLOCK
    stored = store.read(segment.key, 0, segment.size)
    try:
        if zstandard.frame_content_size(stored) not in (-1, length):  # so much memory it would take
            raise zstandard.ZstdError("it says that it is of another length")
        raw: bytes = zstandard.ZstdDecompressor().decompress(stored, max_output_size=length)
    except zstandard.ZstdError as error:
        raise Corrupt(f"the segment does not decode: {error}", key=segment.key) from error
    if len(raw) != length or hashlib.sha256(raw).digest() != segment.sha256:
        raise Corrupt("the segment is not the one its key names: its SHA-256 differs", key=segment.key)
    return raw


def _stretches(fetched: Index, selection: Selection, renamed: Mapping[bytes, bytes]) -> Iterator[Cut]:
    """Where the wanted members lie in the stream; neighbours are one stretch."""
    begin = end = -1
    for member in fetched.members(b"" if renamed else selection.hint()):
        if not member.length or not (selection.wants(member.path) or member.path in renamed):
            continue
        if member.offset != end:
            if end > begin:
                yield begin, end
            begin = member.offset
        end = member.offset + member.length
    if end > begin:
        yield begin, end


def _wanted(frames: Iterator[Frame], cuts: Iterator[Cut]) -> Iterator[tuple[Frame, list[Cut]]]:
    """The frames that hold something of the cuts, and what; both come in order."""
    cut = next(cuts, None)
    for frame in frames:
        if cut is None:
            return
        end = frame.raw_offset + frame.raw_length
        pieces = []
        while cut is not None and cut[0] < end:
            pieces.append((max(cut[0], frame.raw_offset), min(cut[1], end)))
            if cut[1] > end:
                break
            cut = next(cuts, None)
        if pieces:
            yield frame, pieces


def _uncompressed(store: Store, archive: FoundArchive) -> int:
    """What a foreign image's metadata says of its length: the volume's size; 0 if it says nothing."""
    there = store.head(archive.key)
    return snap_to_s3.volume_size(there.metadata) if there and archive.partition is None else 0


def _socket(member: Member) -> Entry:
    return Entry(member.path, "socket", member.mode, member.uid, member.gid, member.mtime, 0, b"", (0, 0), [], None)
