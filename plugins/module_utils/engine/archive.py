# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot -> archives, indexes, manifest.

    each source:  plan -> chunks -> frames -> parts -> index -> the archive is published
    then:         the manifest, which is the commit

Everything before the manifest may be repeated: a journal lets a run that was killed go on, and what it published
already is adopted if it is the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import IO, Any, NamedTuple, Optional, Union

from ..common.errors import ColdstoreError, Corrupt, Lost, Permanent, Refused, Transient, classify
from ..common.lane import FREE, Lane
from ..common.retry import retry
from ..common.snapshot import Snapshot
from ..common.stop import Stop
from . import hashing, labels
from .bucket import checksums, sleeping, uploads
from .bucket.layouts import ours
from .bucket.objects import MIB, Store, Stored
from .bucket.uploads import GONE, MAX_PARTS, S3_SMALLEST_PART, Joined, Part, Upload, adopt, part_size
from .codecs import Codec, seek_table
from .documents import index, manifest
from .pipeline import ordered_map
from .sources import CHUNK, Chunk, Problem, Source, losses
from .writing import journal
from .writing.journal import StoredFrame, StoredPart

_PART_IN_MEMORY = 16 * MIB
_FRAMES_HELD = 5000  # of one part: those of a disk of zeros are so short that millions would go into it
_AHEAD = 4  # frames begun or done beyond one a thread: the planner must not wait for the slowest of them


@dataclass(frozen=True)
class Piece:
    """One source of a snapshot: a partition (or the disk, number None) and what the manifest says of it.

    expected: roughly how many bytes it will give; decides part sizes and is the object's uncompressed-size.
    """

    number: Optional[int]
    source: Source
    expected: int


@dataclass(frozen=True)
class Settings:
    """How to archive. threads compress; streams send parts; spool is a directory for what does not belong in memory.

    digest: of frames, 'blake3' or 'sha256'.

    goes_to: the class that the bucket's lifecycle moves archives to later; '' leaves them in storage_class.
    """

    codec: Codec
    prefix: str = ""
    storage_class: str = "STANDARD"
    goes_to: str = ""
    queue_tag: str = "snap-to-s3"
    chunk: int = CHUNK
    digest: str = "blake3"
    threads: int = 2
    streams: int = 4
    spool: Optional[str] = None
    by: str = "coldstore.ebs"


class Result(NamedTuple):
    """manifest is the one in the bucket; changed says whether this run wrote it."""

    manifest: dict[str, Any]
    key: str
    changed: bool


class _Frame(NamedTuple):
    data: bytes
    stored: StoredFrame


class _Body(NamedTuple):
    """A part to send."""

    number: int
    data: Union[list[bytes], IO[bytes]]
    size: int
    frames: list[StoredFrame]
    tail: int


class _Done(NamedTuple):
    """What a killed run left that need not be done again; whole: the seek table is sent too; problems: what it could not
    read of it."""

    parts: list[Part]
    frames: Iterator[StoredFrame]
    whole: bool
    problems: list[Problem]


_NOTHING = _Done([], iter(()), False, [])


_KEPT = "What was sent is kept: the next run goes on where this one stopped."
# Somebody aborted the upload under us: a lifecycle rule, or an operator. Or a lane that lost its claim sent a last part, as it woke
# up, in the place of ours. Once is bad luck.
_UPSET = GONE | {"InvalidPart"}


class _PlanChanged(Exception):
    """The source is not planned as it was when its journal was written."""


def archive_snapshot(
    store: Store,
    snapshot: Snapshot,
    disk: Mapping[str, Any],
    form: str,
    pieces: list[Piece],
    settings: Settings,
    lane: Lane = FREE,
) -> Result:
    """Archive every piece and commit. Does nothing if the manifest is there already.

    The lane's claim is renewed before anything is published or removed; Lost is raised when it is gone, and then the upload
    and its journal stay for whoever has it now. They stay for the next run, too, after a failure that may pass. After any
    other, and after a stop of the store, the upload is aborted.
    """
    store = store.patient()
    key = ours.manifest_key(settings.prefix, snapshot)
    there = manifest.find(store, key)
    if there is not None:
        lane.renew()
        tidy(store, there)
        return Result(there, key, False)

    archives = []
    for piece in pieces:
        try:
            archives.append(_archive(store, snapshot, piece, settings, lane))
        except ColdstoreError as error:
            error.at(partition=piece.number)
            raise
    _renew(store, lane)
    created = store.clock.now().isoformat(timespec="seconds")
    body = manifest.build(snapshot, disk, form, archives, created, settings.by)
    manifest.publish(store, key, body)
    tidy(store, body)
    return Result(body, key, True)


def existing(store: Store, snapshot: Snapshot, settings: Settings) -> Optional[dict[str, Any]]:
    """The manifest, if the snapshot was archived already."""
    return manifest.find(store, ours.manifest_key(settings.prefix, snapshot))


def tidy(store: Store, body: Mapping[str, Any]) -> None:
    """After the commit the journals are of no more use; a run killed right behind it may have left them."""
    for entry in body["archives"]:
        journal.forget(store, entry["objects"][0]["key"])


def _archive(store: Store, snapshot: Snapshot, piece: Piece, settings: Settings, lane: Lane) -> dict[str, Any]:
    """Publish one archive and its index; its entry in the manifest."""
    source, codec = piece.source, settings.codec
    key = ours.archive_key(settings.prefix, snapshot, piece.number, source.kind, codec.name)
    terms = {
        "kind": source.kind,
        "codec": codec.name,
        "level": codec.level,
        "chunk": settings.chunk,
        "digest": settings.digest,
        "class": settings.storage_class,
        "goes_to": settings.goes_to,
    }
    upload, done = _resume(store, key, terms, settings.spool, lane)
    begun = store.clock.monotonic()
    restarted = False
    while True:
        fresh = upload is None
        if upload is None:
            facts = labels.metadata(snapshot, piece.expected)
            own = {sleeping.TAG: settings.goes_to} if settings.goes_to else {}
            upload = uploads.begin(
                store, key, settings.storage_class, facts, labels.tagging(snapshot.tags, settings.queue_tag, own)
            )
        try:
            if fresh:
                journal.begin(store, key, upload, terms, lane)
            with index.IndexWriter(key, source.kind, codec.name, settings.chunk, settings.digest, settings.spool) as writer:
                parts = _send(store, upload, done, piece, settings, writer, lane)
                source.check()
                file, size, digest = writer.finish()
                with file:
                    _renew(store, lane)
                    written = _publish_index(store, key + index.SUFFIX, file, lane)
                stored = upload.complete(parts)
                break
        except BaseException as error:
            known = _may_pass(error)
            if known is not None:
                known.advice = f"{known.advice} {_KEPT}"
                if known is error:
                    raise
                raise known from error
            _drop(store, key, upload, error, lane)
            if not isinstance(error, _PlanChanged):
                if restarted or not isinstance(error, Permanent) or error.facts.get("code") not in _UPSET:
                    raise
                restarted = True
            upload, done = None, _NOTHING
    problems = losses.merged([*done.problems, *source.problems])
    return {
        "partition": piece.number,
        "format": source.kind,
        "codec": codec.name,
        "level": codec.level,
        "chunk": settings.chunk,
        "raw_size": writer.raw,
        "frames": writer.frames,
        "members": writer.members,
        "seconds": round(store.clock.monotonic() - begun, 3),
        "objects": [_object(stored)],
        "index": dict(_object(written), sha256=digest, size=size),
        "subvolumes": [],
        "flags": {},
        **source.remarks(),
        "problems": [losses.as_dict(each) for each in problems],
        "lost": losses.counted(problems),
    }


def _may_pass(error: BaseException) -> Optional[ColdstoreError]:
    """What failed, if that is no fault of the upload, which the next run can go on with: S3 or the network for a while,
    credentials or permissions that somebody can correct, a spool that is full. None if the upload is of no use any more."""
    if not isinstance(error, Exception):
        return None
    known = classify(error)
    answered = known is not None and "code" in known.facts
    if isinstance(error, OSError) or isinstance(known, Transient) or (isinstance(known, Refused) and answered):
        return known
    return None


def _renew(store: Store, lane: Lane) -> None:
    """As patiently as the store waits for S3."""
    retry(lane.renew, store.stop, store.clock, store.policy)


def _resume(store: Store, key: str, terms: Mapping[str, Any], spool: Optional[str], lane: Lane) -> tuple[Optional[Upload], _Done]:
    """The upload to go on with and what is done of it, after clearing away what cannot be used."""
    recorded = journal.records(store, key)
    found = journal.read(store, key, terms, lane.holder, spool) if recorded else None
    parts: list[Part] = []
    if found is not None:
        there = found.upload.parts()
        if there is not None:
            found.records = list(takewhile(lambda record: all(_is_there(part, there) for part in record.parts), found.records))
        parts = [part for record in found.records for part in record.parts]
        if there is None and (not parts or adopt(store, key, parts) is None):
            found = None
    others = [upload_id for upload_id in uploads.ids(store, key) if found is None or upload_id != found.upload.upload_id]
    stale = [each for each in recorded if found is None or journal.first_part(each) > len(parts)]
    if others or stale:
        lane.renew()
    for upload_id in others:
        Upload(store, key, upload_id).abort()
    store.delete(stale)
    if found is None:
        return None, _NOTHING
    journal.begin(store, key, found.upload, terms, lane)
    problems = [problem for record in found.records for problem in record.problems]
    return found.upload, _Done(parts, found.frames(), bool(parts) and found.records[-1].tail > 0, problems)


def _is_there(part: Part, there: Mapping[int, tuple[str, int]]) -> bool:
    return there.get(part.number) == (part.etag, part.size)


def _send(
    store: Store, upload: Upload, done: _Done, piece: Piece, settings: Settings, writer: index.IndexWriter, lane: Lane
) -> list[Part]:
    """Send what is not there yet; all parts in order."""
    source, codec, digest = piece.source, settings.codec, hashing.hasher(settings.digest)

    def encode(chunk: Chunk) -> _Frame:
        data = source.read(chunk)
        frame = codec.encode(data)
        return _Frame(frame, StoredFrame(len(frame), chunk.length, digest(frame).hexdigest(), chunk.fingerprint()))

    def send(body: _Body) -> StoredPart:
        lane.check()
        if isinstance(body.data, list):
            part = upload.send(body.number, Joined(body.data), body.size)
        else:
            with body.data:
                part = upload.send(body.number, body.data, body.size)
        return StoredPart(part, body.frames, body.tail)

    told = 0

    def record(unrecorded: list[StoredPart]) -> None:
        # What was read for these parts is among the problems by now; a run that goes on from here reads none of it again.
        nonlocal told
        until = len(source.problems)
        journal.record(store, upload.key, unrecorded, source.problems[told:until], lane)
        told = until

    # What else was lost is planned again and judged again; but zeros in place of contents are not seen in a plan.
    if source.on_error != "zero" and any(each.what == "content" for each in done.problems):
        raise _PlanChanged
    chunks = _after(source.plan(writer.member), done.frames, writer)
    frames = ordered_map(encode, chunks, settings.threads, settings.threads + _AHEAD, store.stop)
    bodies = _bodies(frames, done, piece.expected, settings, writer)
    parts = list(done.parts)
    unrecorded: list[StoredPart] = []
    with closing(frames), closing(ordered_map(send, bodies, settings.streams, settings.streams, store.stop)) as sent:
        for stored in sent:
            parts.append(stored.part)
            unrecorded.append(stored)
            if journal.worth_a_record(unrecorded):
                record(unrecorded)
                unrecorded = []
    if unrecorded:
        record(unrecorded)
    return parts


def _after(chunks: Iterator[Chunk], done: Iterator[StoredFrame], writer: index.IndexWriter) -> Iterator[Chunk]:
    """The chunks whose frames are not stored yet; those that are go straight into the index."""
    for frame in done:
        chunk = next(chunks, None)
        if chunk is None or chunk.fingerprint() != frame.fingerprint:
            raise _PlanChanged
        writer.frame(frame.length, frame.raw_length, frame.digest)
    yield from chunks


def _bodies(frames: Iterator[_Frame], done: _Done, expected: int, settings: Settings, writer: index.IndexWriter) -> Iterator[_Body]:
    """Frames, gathered into parts behind those that are done; the seek table goes into the last one."""
    number = len(done.parts) + 1
    body = _new_body(number, expected, settings.spool)
    held: list[StoredFrame] = []
    size = 0
    for frame in frames:
        if done.whole:
            raise _PlanChanged
        _add(body, frame.data)
        size += len(frame.data)
        held.append(frame.stored)
        writer.frame(*frame.stored[:3])
        if size >= part_size(number, expected) or (size >= S3_SMALLEST_PART and len(held) >= _FRAMES_HELD):
            yield _Body(number, body, size, held, 0)
            number += 1
            if number > MAX_PARTS:
                raise Permanent(f"the archive is larger than {MAX_PARTS} parts can be", "Archive this snapshot as an image.")
            body, held, size = _new_body(number, expected, settings.spool), [], 0
    tail = 0
    if settings.codec.name == "zstd":
        for block in seek_table(writer.frames, writer.frame_sizes()):
            writer.behind(block)
            _add(body, block)
            tail += len(block)
    if not done.whole and size + tail:
        yield _Body(number, body, size + tail, held, tail)


def _new_body(number: int, expected: int, spool: Optional[str]) -> Union[list[bytes], IO[bytes]]:
    """Parts of ordinary size are gathered in memory; those of huge volumes on disk, so that memory stays bounded."""
    return [] if part_size(number, expected) <= _PART_IN_MEMORY else tempfile.TemporaryFile(dir=spool)


def _add(body: Union[list[bytes], IO[bytes]], data: bytes) -> None:
    if isinstance(body, list):
        body.append(data)
    else:
        body.write(data)


def _publish_index(store: Store, key: str, file: IO[bytes], lane: Lane) -> Stored:
    """Write the index; one that a killed run left there, without a manifest, is replaced."""
    store.put_over(key, file, lane.renew, content_type="application/zstd")
    written = store.head(key)
    if written is None:
        raise Corrupt("the index is gone again", key=key)
    return written


def _drop(store: Store, key: str, upload: Upload, why: BaseException, lane: Lane) -> None:
    """Abort the upload and forget its journal, also after a stop; what cannot be removed is added to the error.

    Raises Lost if the claim is gone: then they are for its holder to go on with, or to remove.
    """
    calm = replace(store, stop=Stop())
    try:
        lane.renew()
        replace(upload, store=calm).abort()
        journal.forget(calm, key)
    except Lost:
        raise
    except ColdstoreError as error:
        if isinstance(why, ColdstoreError):
            why.at(left_behind=f"upload {upload.upload_id} ({error.message})")


def _object(stored: Stored) -> dict[str, Any]:
    return {
        "key": stored.key,
        "version": stored.version,
        "size": stored.size,
        "checksum": {checksums.NAME: stored.checksum},
        "storage_class": stored.storage_class,
    }
