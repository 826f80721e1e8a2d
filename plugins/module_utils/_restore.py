# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to this collection: from what is in the bucket for a snapshot to a directory, a device, or a whole disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Optional

from ._disk import BOOT
from .common.errors import Corrupt, Refused
from .engine import layouts, manifest, thaw
from .engine.index import text
from .engine.jobs import restore as job
from .engine.layouts import FoundArchive, fsp, ours
from .engine.selection import Selection
from .engine.store import Store
from .engine.targets.device import DeviceTarget
from .engine.targets.directory import DirectoryTarget
from .worker import attached, filesystems, mounts, partitions

GIB = 1024**3
Entry = Mapping[str, Any]  # of `archives` in a manifest


@dataclass(frozen=True)
class Subject:
    """What is to be restored. body: the manifest, None for archives without one, which are in `bare`."""

    snapshot_id: str
    layout: str
    manifest_key: str
    body: Optional[Mapping[str, Any]]
    entries: list[Entry]
    bare: list[FoundArchive]

    @property
    def unchecked(self) -> list[str]:
        """What cannot be known of archives that have no manifest and no index."""
        if self.body is not None:
            return []
        if self.layout == "fsp":
            return ["a segment that is missing: without a manifest it cannot be told from zeros"]
        said = ["that these bytes are the ones that were archived: only the codec's own checksums say so"]
        return [*said, "whether the snapshot had other partitions"]


def find(store: Store, prefix: str, snapshot_id: str, key: str, source_volume: str) -> Subject:
    """By snapshot id, by the key of a manifest, or by the key of an archive. Raises Refused if there is nothing."""
    if key:
        return _by_key(store, prefix, key)
    found, body = layouts.locate(store, prefix, snapshot_id, source_volume)
    if body is not None:
        return Subject(snapshot_id, "ours", found.manifest, body, list(body["archives"]), [])
    if not found.archives:
        raise Refused(
            f"there is no archive of {snapshot_id} in {store.bucket} below {prefix!r}", "Correct snapshot_id, bucket and prefix."
        )
    return Subject(snapshot_id, found.layout, "", None, [], found.archives)


def _by_key(store: Store, prefix: str, key: str) -> Subject:
    wanted = key if key.endswith(".manifest.json") else ours.manifest_of(key)
    body = manifest.find(store, wanted)
    if body is not None:
        entries = [each for each in body["archives"] if key in (wanted, each["objects"][0]["key"])]
        if not entries:
            raise Refused("its manifest does not name this archive", "Restore what the manifest names.", key=key, manifest=wanted)
        return Subject(body["snapshot"]["snapshot_id"], "ours", wanted, body, entries, [])
    named, there = layouts.parse(key, prefix), store.head(key)
    if there is None or named is None or named.kind != "archive":
        raise Refused(
            f"{key!r} is no archive or manifest in {store.bucket}", "Copy the key from coldstore.ebs.snapshot_archive_info."
        )
    archive = FoundArchive(key, named.partition, named.format, named.codec, named.encrypted, there.size)
    return Subject(named.snapshot_id, "snap_to_s3", "", None, [], [archive])


def one(subject: Subject, form: str, partition: Optional[int]) -> tuple[Optional[Entry], Optional[FoundArchive]]:
    """The one archive that is meant, ours or another's. Raises Refused if there are several of that format, or none."""
    entries = [each for each in subject.entries if each["format"] == form and partition in (None, each["partition"])]
    bare = [each for each in subject.bare if each.format == form and partition in (None, each.partition)]
    for each in bare:
        if each.encrypted:
            raise Refused(
                "the archive is encrypted with GPG",
                "Fetch it, decrypt it with gpg, and unpack it with its codec and tar.",
                key=each.key,
            )
    if len(entries) + len(bare) == 1:
        return (entries or [None])[0], (bare or [None])[0]
    there = [f"{each['partition']} ({each['format']})" for each in subject.entries]
    there += [f"{each.partition} ({each.format})" for each in subject.bare]
    what = "files" if form == "tar" else "an image"
    raise Refused(
        f"{len(entries) + len(bare)} archives of {subject.snapshot_id} hold {what} and could be meant",
        f"Say which with partition; there are: {', '.join(there)}.",
    )


def objects(entries: list[Entry], bare: list[FoundArchive], store: Store) -> list[tuple[str, str]]:
    """(key, version) of what will be read of archives; of segments only those that a listing says sleep."""
    keys = [(each["objects"][0]["key"], each["objects"][0]["version"]) for each in entries]
    for each in bare:
        if each.key.endswith("/"):
            keys += [(item.key, "") for item in store.keys(each.key) if item.storage_class in thaw.ASLEEP]
        else:
            keys.append((each.key, ""))
    return keys


def size_of(entry: Optional[Entry], bare: Optional[FoundArchive], store: Store) -> int:
    """Bytes of an image; what is not known is taken from the volume's size in the metadata."""
    if entry is not None:
        return int(entry["raw_size"])
    if bare is None:
        return 0
    if bare.key.endswith("/"):
        return fsp.gib(bare.key) * GIB
    there = store.head(bare.key)
    said = there.metadata.get("snapshot-volumesize", "") if there else ""
    if not said.isdigit():
        raise Refused(
            "the object's metadata does not say how large the volume was", "Unpack it with its codec and dd.", key=bare.key
        )
    return int(said) * GIB


def to_directory(
    store: Store, entry: Optional[Entry], bare: Optional[FoundArchive], asked: Mapping[str, Any], settings: job.Settings
) -> dict[str, Any]:
    """Files of one archive into a directory, all of them or what is selected."""
    selection = Selection(asked["paths"] or [], asked["exclude"] or [])
    options: dict[str, Any] = {
        "strip": asked["strip_components"],
        "owners": asked["owners"],
        "devices": asked["allow_devices"],
        "overwrite": asked["overwrite"],
    }
    if entry is None or bare is not None:
        target = DirectoryTarget(asked["directory"], selection, **options)
        try:
            fetched = job.restore_stream(store, _given(bare), target, settings)
            target.finish()
        finally:
            target.close()
        return _report(target, fetched)
    with ExitStack() as held:
        opened = held.enter_context(closing(job.open_index(store, entry, settings)))
        renamed = None
        if not selection.everything:
            renamed = held.enter_context(closing(job.survey(opened, selection).renamed))
        target = DirectoryTarget(asked["directory"], selection, renamed=renamed, pieces=renamed is not None, **options)
        held.enter_context(closing(target))
        fetched = job.restore(store, entry, opened, target, settings, selection, renamed)
        target.finish()
    return _report(target, fetched)


def survey(store: Store, entry: Optional[Entry], asked: Mapping[str, Any], settings: job.Settings) -> dict[str, Any]:
    """What to_directory would do, from the index alone; of an archive without one nothing is known."""
    if entry is None:
        return {"members": 0, "bytes_written": 0, "bytes_fetched": 0}
    with closing(job.open_index(store, entry, settings)) as opened:
        wish = job.survey(opened, Selection(asked["paths"] or [], asked["exclude"] or []))
    wish.renamed.close()
    return {"members": wish.members, "bytes_written": wish.size, "bytes_fetched": int(entry["index"]["size"])}


def to_device(
    store: Store,
    entry: Optional[Entry],
    bare: Optional[FoundArchive],
    path: str,
    settings: job.Settings,
    blank: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """One image onto a device or into a file."""
    target = DeviceTarget(path, size_of(entry, bare, store), blank=blank, overwrite=overwrite)
    try:
        if entry is not None:
            fetched = _image(store, entry, target, settings)
        elif _given(bare).key.endswith("/"):
            if not blank and attached.is_block_device(path):
                raise Refused("segments leave zeros out, and the device may hold something", "Say blank if it does not.", path=path)
            fetched = job.restore_segments(store, _given(bare), target, settings)
        else:
            fetched = job.restore_stream(store, _given(bare), target, settings)
        target.finish()
    finally:
        target.close()
    return {
        "bytes_fetched": fetched,
        "bytes_written": target.written,
        "members": 0,
        "skipped": [],
        "problems": [],
        "problem_count": 0,
    }


def check_disk(body: Mapping[str, Any]) -> None:
    """Raises Refused if a disk of this manifest cannot be made again, before anything is."""
    present = {entry["partition"] for entry in body["archives"]}
    for each in body["disk"]["filesystems"]:
        if each["archived"] != "record" and each["partition"] not in present:
            raise Corrupt("the manifest names no archive of a partition", partition=each["partition"])
        if each["archived"] == "tar" and not filesystems.can_make(each["type"]):
            raise Refused(
                f"a filesystem of type {each['type']} cannot be made again", "Restore its files into a directory.",
                partition=each["partition"],
            )  # fmt: skip


def to_disk(
    store: Store, body: Mapping[str, Any], device: str, settings: job.Settings, grow: bool, blank: bool, mount_point: str
) -> dict[str, Any]:
    """A whole disk: boot area, partition table, and each partition's files, image or swap.

    Raises Refused before anything is written if the device is too small or something cannot be made again.
    """
    check_disk(body)
    facts = body["disk"]
    entries = {entry["partition"]: entry for entry in body["archives"]}
    disk = attached.inspect(device)
    size = disk.size
    if size < facts["size"]:
        raise Refused(f"{device} holds {size} bytes, the disk had {facts['size']}", "Use a larger volume.", device=device)
    total = {"bytes_fetched": 0, "bytes_written": 0, "members": 0, "skipped": [], "problems": [], "problem_count": 0}
    total["warnings"] = []

    def boot() -> None:
        # What the table's new version is written over is not blank any more.
        _add(total, to_device(store, entries[BOOT], None, device, settings, False, True))

    table = facts["table"] if (facts["table"] or {}).get("partitions") else None
    if table:
        if size != facts["size"]:  # the table has to follow: its second copy belongs at the new end
            boot()
        disk = partitions.write(device, table, grow, store.stop)
        if size == facts["size"]:
            boot()
    there = {each.number: each for each in disk.filesystems}
    extended = {partitions.number_of(each) for each in (table or {}).get("partitions", []) if partitions.is_extended(each)}
    for each in facts["filesystems"]:
        if each["partition"] in extended:
            continue  # its one sector is part of the table
        where = there[each["partition"]]
        if each["archived"] == "image":
            _add(total, to_device(store, entries[each["partition"]], None, where.device, settings, blank, True))
            continue
        warning = filesystems.make(each, where.device, where.size if grow else min(where.size, each["size"]))
        total["warnings"] += [warning] if warning else []
        if each["archived"] == "tar":
            _add(total, _fill(store, entries[each["partition"]], each, where.device, settings, mount_point))
    return total


def _fill(
    store: Store, entry: Entry, each: Mapping[str, Any], device: str, settings: job.Settings, mount_point: str
) -> dict[str, Any]:
    """The files of one partition into the filesystem that was made for them."""
    subvolumes = {os.fsencode(path) for path in entry["subvolumes"]}

    def make_directory(above: int, name: bytes, path: bytes) -> None:
        if path in subvolumes:
            filesystems.make_subvolume(above, name)
        else:
            os.mkdir(name, 0o700, dir_fd=above)

    opened = job.open_index(store, entry, settings)
    try:
        with mounts.mounted_empty(each["type"], device, mount_point) as path:
            if os.path.isdir(os.path.join(path, "lost+found")):
                os.rmdir(os.path.join(path, "lost+found"))  # the archive has its own, unless the snapshot had none
            target = DirectoryTarget(path, devices=True, make_directory=make_directory)
            try:
                fetched = job.restore(store, entry, opened, target, settings)
                job.restore_sockets(opened, target)
                target.finish()
            finally:
                target.close()
            filesystems.finish(each, path)
    finally:
        opened.close()
    return _report(target, fetched)


def _image(store: Store, entry: Entry, target: DeviceTarget, settings: job.Settings) -> int:
    opened = job.open_index(store, entry, settings)
    try:
        return job.restore(store, entry, opened, target, settings)
    finally:
        opened.close()


def _report(target: DirectoryTarget, fetched: int) -> dict[str, Any]:
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


def _add(total: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        total[name] += value


def _given(bare: Optional[FoundArchive]) -> FoundArchive:
    if bare is None:
        raise AssertionError("an archive is ours or another's")
    return bare
