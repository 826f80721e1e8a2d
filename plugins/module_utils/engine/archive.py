# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot -> archives, indexes, manifest.

    each source:  plan -> chunks -> frames -> parts -> objects; index; the objects are published
    then:         the manifest, which is the commit

Everything before the manifest can be repeated: a journal lets the next run continue one that was killed, and what that one has
already published is adopted if it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from ..common.errors import ColdstoreError, Corrupt, Permanent, Refused, Transient, classify
from ..common.lane import FREE, Lane
from ..common.retry import retry
from .bucket import sleeping
from .bucket.layouts import ours
from .bucket.objects import Store
from .bucket.uploads import GONE
from .codecs import Codec
from .documents import index, manifest
from .origin import Origin
from .pipeline import ordered_map
from .sources import CHUNK, Source, losses
from .writing import frames, journal, labels
from .writing.frames import NOTHING, Done, PlanChanged
from .writing.upload import ArchiveUpload, Terms

_AHEAD = 4  # frames started or done beyond one per thread, so that the planner need not wait for the slowest
_KEPT = "What was uploaded is kept, and the next run continues there."
# Somebody aborted the upload under us: a lifecycle rule, or an operator. Or a lane that had lost its claim woke up and replaced
# one of our parts. Once is bad luck.
_UPSET = GONE | {"InvalidPart"}


@dataclass(frozen=True)
class Section:
    """One source of a snapshot: a partition, or the disk (number None).

    expected: roughly how many bytes it has; decides part sizes and becomes the object's uncompressed-size.
    """

    number: Optional[int]
    source: Source
    expected: int


@dataclass(frozen=True)
class Recipe:
    """How to archive. threads compress; streams upload parts; spool is a directory for temporary files.

    digest: of frames, 'blake3' or 'sha256'. goes_to: the class that the bucket's lifecycle moves archives to later; '' leaves them
    in storage_class.
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
    """manifest: the one in the bucket. changed: whether this run wrote it."""

    manifest: dict[str, Any]
    key: str
    changed: bool


def archive_snapshot(
    store: Store,
    origin: Origin,
    disk: Mapping[str, Any],
    form: str,
    sections: list[Section],
    recipe: Recipe,
    lane: Lane = FREE,
) -> Result:
    """Archive every section and commit. Does nothing if the manifest is there already.

    The lane's claim is renewed before anything is published or removed. If it is gone, Lost is raised, and the uploads and their
    journals stay for whoever has it now. They also stay for the next run after a temporary failure. After any other failure, and
    after a stop of the store, they are removed.
    """
    store = store.patient()
    key = ours.manifest_key(recipe.prefix, origin)
    there = manifest.find(store, key)
    if there is not None:
        lane.renew()
        tidy(store, there)
        return Result(there, key, False)

    archives = []
    for section in sections:
        try:
            archives.append(_archive(store, origin, section, recipe, lane))
        except ColdstoreError as error:
            error.at(partition=section.number)
            raise
    _renew(store, lane)
    created = store.clock.now().isoformat(timespec="seconds")
    body = manifest.build(origin, disk, form, archives, created, recipe.by)
    manifest.publish(store, key, body)
    tidy(store, body)
    return Result(body, key, True)


def existing(store: Store, origin: Origin, recipe: Recipe) -> Optional[dict[str, Any]]:
    """The manifest, if the origin was archived already."""
    return manifest.find(store, ours.manifest_key(recipe.prefix, origin))


def tidy(store: Store, body: Mapping[str, Any]) -> None:
    """Remove the journals, which are useless after the commit. A run that was killed right after it may have left them."""
    for entry in body["archives"]:
        journal.forget(store, entry["key"])


def _archive(store: Store, origin: Origin, section: Section, recipe: Recipe, lane: Lane) -> dict[str, Any]:
    """Publish one archive and its index. Returns its entry in the manifest."""
    source = section.source
    key = ours.archive_key(recipe.prefix, origin, section.number, source.kind, recipe.codec.name)
    upload = ArchiveUpload(store, key, _terms(origin, section, recipe), lane)
    done = upload.resume(recipe.spool)
    begun = store.clock.monotonic()
    restarted = False
    while True:
        try:
            upload.start()
            with index.IndexWriter(key, source.kind, recipe.codec.name, recipe.chunk, recipe.digest, recipe.spool) as writer:
                _send(upload, done, section, recipe, writer)
                source.check()
                written = _publish_index(store, writer, key + index.SUFFIX, lane)
                stored = upload.complete()
            break
        except BaseException as error:
            _keep(error)
            upload.drop(error)
            if not isinstance(error, PlanChanged):
                if restarted or not isinstance(error, Permanent) or error.facts.get("code") not in _UPSET:
                    raise
                restarted = True
            done = NOTHING
    problems = losses.merged([*done.problems, *source.problems])
    return {
        "key": key,
        "partition": section.number,
        "format": source.kind,
        "codec": recipe.codec.name,
        "level": recipe.codec.level,
        "chunk": recipe.chunk,
        "raw_size": writer.raw,
        "frames": writer.frames,
        "members": writer.members,
        "seconds": round(store.clock.monotonic() - begun, 3),
        "objects": [manifest.described(each) for each in stored],
        "goes_to": recipe.goes_to,
        "index": written,
        "subvolumes": [],
        "flags": {},
        **source.remarks(),
        "problems": [losses.as_dict(each) for each in problems],
        "lost": losses.counted(problems),
    }


def _terms(origin: Origin, section: Section, recipe: Recipe) -> Terms:
    own = {sleeping.TAG: recipe.goes_to} if recipe.goes_to else {}
    return Terms(
        recipe.storage_class,
        labels.metadata(origin, section.expected),
        labels.tagging(origin.tags, recipe.queue_tag, own),
        section.expected,
        {
            "kind": section.source.kind,
            "codec": recipe.codec.name,
            "level": recipe.codec.level,
            "chunk": recipe.chunk,
            "digest": recipe.digest,
            "class": recipe.storage_class,
            "goes_to": recipe.goes_to,
        },
    )


def _send(upload: ArchiveUpload, done: Done, section: Section, recipe: Recipe, writer: index.IndexWriter) -> None:
    """Upload what is not there yet."""
    source, stop = section.source, upload.store.stop
    # Other losses show when it is planned again, but a plan does not show zeros in place of contents.
    if source.on_error != "zero" and any(each.what == "content" for each in done.problems):
        raise PlanChanged
    chunks = frames.after(source.plan(writer.member), done.frames, writer)
    make = frames.maker(source, recipe.codec, recipe.digest)
    made = ordered_map(make, chunks, recipe.threads, recipe.threads + _AHEAD, stop)
    filled = upload.placed(frames.parts(made, done, upload.part_size, recipe.codec, recipe.spool, writer))
    with closing(made), closing(ordered_map(upload.send, filled, recipe.streams, recipe.streams, stop)) as sent:
        for each in sent:
            upload.note(each, source.problems)
    upload.flush(source.problems)


def _keep(error: BaseException) -> None:
    """Raise the error if it is temporary, so that the next run can continue the upload: S3 or the network fails for a while,
    somebody can correct credentials or permissions, or the spool is full."""
    if not isinstance(error, Exception):
        return
    known = classify(error)
    answered = known is not None and "code" in known.facts
    if known is None or not (
        isinstance(error, OSError) or isinstance(known, Transient) or (isinstance(known, Refused) and answered)
    ):
        return
    known.advice = f"{known.advice} {_KEPT}"
    if known is error:
        raise known
    raise known from error


def _renew(store: Store, lane: Lane) -> None:
    """Renew the claim, as patiently as the store waits for S3."""
    retry(lane.renew, store.stop, store.clock, store.policy)


def _publish_index(store: Store, writer: index.IndexWriter, key: str, lane: Lane) -> dict[str, Any]:
    """Write the index, before the objects, replacing one that a killed run left without a manifest. Returns its entry in the
    manifest."""
    file, size, digest = writer.finish()
    with file:
        _renew(store, lane)
        store.put_over(key, file, lane.renew, content_type="application/zstd")
    written = store.head(key)
    if written is None:
        raise Corrupt("the index has disappeared", key=key)
    return dict(manifest.described(written), sha256=digest, size=size)
