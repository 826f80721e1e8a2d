# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to this collection: archives of a snapshot into directories or onto a device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from ..common.errors import Asleep, ColdstoreError, Refused
from ..common.stop import after_a_stop
from ..engine import restore as job
from ..engine.bucket import sleeping
from ..engine.bucket.layouts import fsp, snap_to_s3
from ..engine.bucket.objects import Store
from ..engine.documents.index import text
from ..engine.selection import Selection
from ..engine.targets import directory as targets
from ..engine.targets.device import DeviceTarget
from ..engine.targets.directory import DirectoryTarget
from ..worker import attached
from .subject import ALL, Archive, Choice

GIB = 1024**3


def nothing() -> dict[str, Any]:
    """The report of a restore that has not begun."""
    return {"bytes_fetched": 0, "bytes_written": 0, "members": 0, "skipped": [], "problems": [], "problem_count": 0}


def add(total: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        total[name] += value


def report(target: DirectoryTarget, fetched: int) -> dict[str, Any]:
    def listed(troubles: Any) -> list[dict[str, str]]:
        return [{"path": text(each.path), "attribute": each.attribute, "reason": each.reason} for each in troubles]

    return {
        "bytes_fetched": fetched,
        "bytes_written": target.written,
        "members": target.members,
        "skipped": listed(target.skipped),
        "problems": listed(target.troubles),
        "problem_count": target.trouble_count,
    }


def objects(archives: list[Archive], store: Store) -> list[tuple[str, str]]:
    """(key, version) of what will be read of archives, their indexes too, which a lifecycle rule may have taken along; of segments
    only those that by a listing may sleep."""
    keys = []
    for each in archives:
        if each.entry is not None:
            keys.append((each.key, each.entry["objects"][0]["version"]))
            keys.append((each.entry["index"]["key"], each.entry["index"]["version"]))
        elif each.key.endswith("/"):
            keys += [(item.key, "") for item in store.keys(each.key) if item.storage_class in sleeping.MAY_SLEEP]
        else:
            keys.append((each.key, ""))
    return keys


def size_of(archive: Archive, store: Store) -> int:
    """Bytes of an image; of another tool's they are taken from the volume's size in the metadata."""
    if archive.entry is not None:
        return int(archive.entry["raw_size"])
    if archive.key.endswith("/"):
        return fsp.gib(archive.key) * GIB
    there = store.head(archive.key)
    size = snap_to_s3.volume_size(there.metadata) if there else 0
    if not size:
        raise Refused(
            "the object's metadata does not say how large the volume was", "Unpack it with its codec and dd.", key=archive.key
        )
    return size


def place(asked: Mapping[str, Any], archive: Archive) -> str:
    """Where an archive's files go: the directory, or, of all partitions, one below it with the partition's number."""
    if asked["partition"] == ALL and archive.partition is not None:
        return os.path.join(asked["directory"], str(archive.partition))
    return asked["directory"] or ""


def matching(store: Store, choice: Choice, asked: Mapping[str, Any], settings: job.Settings) -> Choice:
    """Of all partitions those that hold something of what is selected; nothing else needs to be read, nor thawed.

    Raises Refused if none does.
    """
    if asked["partition"] != ALL or _selection(asked).everything:
        return choice
    wanted, left_out, refusal = [], list(choice.left_out), None
    for each in choice.archives:
        try:
            survey(store, each, asked, settings)
            wanted.append(each)
        except Asleep:
            raise
        except Refused as error:
            refusal = error
            left_out.append({"partition": each.partition, "format": each.format, "reason": "it holds nothing of the paths"})
    if refusal is not None and not wanted:
        raise refusal
    return Choice(wanted, left_out)


def survey(store: Store, archive: Archive, asked: Mapping[str, Any], settings: job.Settings) -> dict[str, Any]:
    """What a restore to a directory would do, from the index alone; of an archive without one nothing is known."""
    if archive.entry is None:
        return {"members": 0, "bytes_written": 0, "bytes_fetched": 0}
    with closing(job.open_index(store, archive.entry, settings)) as opened:
        wish = job.survey(opened, _selection(asked))
    wish.renamed.close()
    return {"members": wish.members, "bytes_written": wish.size, "bytes_fetched": int(archive.entry["index"]["size"])}


def to_directory(store: Store, choice: Choice, asked: Mapping[str, Any], settings: job.Settings) -> dict[str, Any]:
    """Files, all of them or what is selected, into the directory or, of all partitions, each below its number."""
    total = nothing()
    part = f"What was restored so far stays in {asked['directory']}, which is not whole; run again to restore it all."
    with after_a_stop(part), _whole(asked, choice.archives) as overwrite:
        for each in choice.archives:
            try:
                add(total, _fill(store, each, place(asked, each), dict(asked, overwrite=overwrite), settings))
            except ColdstoreError as error:
                raise error.at(partition=each.partition) from None
    return total


@contextmanager
def _whole(asked: Mapping[str, Any], archives: list[Archive]) -> Iterator[bool]:
    """Several directories are whole together: one marker above says that they are not yet. Yields whether what is there may
    be replaced. A single directory has a marker of its own."""
    if all(place(asked, each) == asked["directory"] for each in archives):
        yield asked["overwrite"]
        return
    overwrite = targets.begin(asked["directory"], asked["overwrite"])
    yield overwrite
    os.unlink(os.path.join(os.fsencode(asked["directory"]), targets.MARKER))


def _fill(store: Store, archive: Archive, root: str, asked: Mapping[str, Any], settings: job.Settings) -> dict[str, Any]:
    selection = _selection(asked)
    options: dict[str, Any] = {
        "strip": asked["strip_components"],
        "owners": asked["owners"],
        "devices": asked["allow_devices"],
        "overwrite": asked["overwrite"],
        "spool": settings.spool,
    }
    if archive.bare is not None:
        target = DirectoryTarget(root, selection, **options)
        try:
            fetched = job.restore_stream(store, archive.bare, target, settings)
            target.finish()
        finally:
            target.close()
        return report(target, fetched)
    entry = archive.entry or {}
    with ExitStack() as held:
        opened = held.enter_context(closing(job.open_index(store, entry, settings)))
        renamed = None
        if not selection.everything:
            renamed = held.enter_context(closing(job.survey(opened, selection).renamed))
        target = DirectoryTarget(root, selection, renamed=renamed, pieces=renamed is not None, **options)
        held.enter_context(closing(target))
        fetched = job.restore(store, entry, opened, target, settings, selection, renamed)
        target.finish()
    return report(target, fetched)


def to_device(store: Store, archive: Archive, path: str, settings: job.Settings, blank: bool, overwrite: bool) -> dict[str, Any]:
    """One image onto a device or into a file."""
    target = DeviceTarget(path, size_of(archive, store), blank=blank, overwrite=overwrite)
    try:
        if archive.entry is not None:
            with closing(job.open_index(store, archive.entry, settings)) as opened:
                fetched = job.restore(store, archive.entry, opened, target, settings)
        elif archive.bare is not None and archive.key.endswith("/"):
            if not blank and attached.is_block_device(path):
                raise Refused("segments leave zeros out, and the device may hold something", "Say blank if it does not.", path=path)
            fetched = job.restore_segments(store, archive.bare, target, settings)
        elif archive.bare is not None:
            fetched = job.restore_stream(store, archive.bare, target, settings)
        target.finish()
    finally:
        target.close()
    return {**nothing(), "bytes_fetched": fetched, "bytes_written": target.written}


def _selection(asked: Mapping[str, Any]) -> Selection:
    return Selection(asked["paths"] or [], asked["exclude"] or [])
