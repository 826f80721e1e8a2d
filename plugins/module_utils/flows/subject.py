# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the bucket for a snapshot, and which of its archives a restore means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from ..common.errors import Refused
from ..engine.bucket import layouts
from ..engine.bucket.layouts import FoundArchive, ours
from ..engine.bucket.objects import Store
from ..engine.documents import manifest
from ..engine.documents.index import SUFFIX
from .disk import BOOT

ALL = "all"  # instead of a partition's number
Entry = Mapping[str, Any]  # of `archives` in a manifest
# What an EFI system partition is called: in a GPT (UEFI specification, 5.3.3), in an MBR (5.2.2), as blkid says them.
_EFI = frozenset(["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"])
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True)
class Subject:
    """What is to be restored. body: the manifest, None for archives of other tools, and of ours while it sleeps."""

    snapshot_id: str
    layout: str
    manifest_key: str
    body: Optional[Mapping[str, Any]]
    archives: list[FoundArchive]

    @property
    def unchecked(self) -> list[str]:
        """What cannot be known about archives without manifest and index."""
        if self.body is not None or self.layout == "ours":
            return []
        if self.layout == "fsp":
            return ["whether a segment is missing: without a manifest it cannot be told from zeros"]
        said = ["whether these are the bytes that were archived: there are only the codec's own checksums"]
        return [*said, "whether the snapshot had other partitions"]

    def filesystem(self, partition: Optional[int]) -> Mapping[str, Any]:
        """What the manifest says about a partition; {} if it says nothing."""
        known = self.body["disk"].get("filesystems", []) if self.body else []
        return next((each for each in known if each["partition"] == partition), {})

    @property
    def makes_a_disk(self) -> bool:
        """Whether a disk can be rebuilt from these archives; a single image of it is simply written."""
        if self.body is None or len(self.archives) < len(self.body["archives"]):
            return False
        return any(each.partition is not None or each.format == "tar" for each in self.archives)


class Choice(NamedTuple):
    """What is to be read, and what of the snapshot a directory does not get: partition, format, reason."""

    archives: list[FoundArchive]
    left_out: list[dict[str, Any]]


def find(store: Store, prefix: str, snapshot_id: str, key: str, source_volume: str) -> Subject:
    """By snapshot id, by the key of a manifest, or by the key of an archive. Raises Refused if there is nothing."""
    if key:
        return _by_key(store, prefix, key)
    found, body = layouts.locate(store, prefix, snapshot_id, source_volume)
    if body is not None:
        return Subject(snapshot_id, "ours", found.manifest, body, [layouts.described(each) for each in body["archives"]])
    if not found.archives:
        raise Refused(
            f"there is no archive of {snapshot_id} in {store.bucket} below prefix {prefix!r}",
            "Correct snapshot_id, bucket and prefix.",
        )
    return Subject(snapshot_id, found.layout, "", None, found.archives)


def asleep(store: Store, prefix: str, snapshot_id: str, key: str, source_volume: str, partition: str) -> Subject:
    """What find cannot read, as the listing has it: the manifest, and the archives of this partition, or of all."""
    if key:  # it may lie elsewhere than below the prefix of the arguments
        prefix = "".join(f"{part}/" for part in key.split("/")[:-2])
    named = layouts.parse(key, prefix) if key else None
    if named is not None:
        snapshot_id, source_volume = named.snapshot_id, named.volume_id
    found = layouts.listed(store, prefix, snapshot_id, source_volume)
    wanted = [each for each in found.archives if partition in ("", ALL, str(each.partition))]
    return Subject(snapshot_id, found.layout, found.manifest, None, wanted)


def unread(subject: Subject) -> list[tuple[str, str]]:
    """(key, version) of all that has to be read of it: manifest, archives and indexes."""
    keys = [key for each in subject.archives for key in (each.key, *each.more, each.key + SUFFIX)]
    return [(key, "") for key in [subject.manifest_key, *keys]]


def _by_key(store: Store, prefix: str, key: str) -> Subject:
    wanted = key if key.endswith(".manifest.json") else ours.manifest_of(key)
    body = manifest.find(store, wanted)
    if body is not None:
        archives = [layouts.described(each) for each in body["archives"] if key == wanted or key in _keys(each)]
        if not archives:
            raise Refused("the manifest does not name this archive", "Restore what the manifest names.", key=key, manifest=wanted)
        return Subject(body["snapshot"]["snapshot_id"], "ours", wanted, body, archives)
    named, there = layouts.parse(key, prefix), store.head(key)
    if there is None or named is None or named.kind != "archive":
        raise Refused(
            f"{key!r} is not an archive or manifest in {store.bucket}", "Copy the key from coldstore.ebs.snapshot_archive_info."
        )
    archive = FoundArchive(key, named.partition, named.format, named.codec, named.encrypted, there.size)
    return Subject(named.snapshot_id, "snap_to_s3", "", None, [archive])


def _keys(entry: Entry) -> list[str]:
    return [each["key"] for each in entry["objects"]]


def check_partition(partition: str, directory: bool) -> None:
    """Raises Refused unless it is a number or ALL, and for ALL without a directory."""
    if partition == ALL and not directory:
        raise Refused("partition: all needs a directory", "Name one, or leave out partition to restore the whole disk.")
    if partition and partition != ALL and not (partition.isascii() and partition.isdigit()):
        raise Refused(f"partition {partition!r} is neither a number nor 'all'", "Check `lsblk`: for nvme1n1p3 it is 3.")


def for_directory(subject: Subject, partition: str) -> Choice:
    """Whose files go into a directory: the partition asked for, ALL, or by default the one that is not EFI's.

    Raises Refused where that is not exactly one, and for an image, naming what there is.
    """
    files = [each for each in subject.archives if each.format == "tar"]
    if partition and partition != ALL:
        return Choice([_readable(_asked(subject, int(partition), "tar"))], [])
    if not files:
        raise Refused(
            f"{subject.snapshot_id} has no archive of files to restore into a directory; there are {_listed(subject)}",
            "Restore an image to a device or file with device (coldstore_restore_device), and look into that.",
        )
    wanted = files
    if partition != ALL and len(files) > 1:
        wanted = [each for each in files if not _is_efi(subject, each)]
        if len(wanted) != 1:
            raise Refused(
                f"several partitions of {subject.snapshot_id} hold files; there are {_listed(subject)}",
                "Choose one with partition (coldstore_restore_partition), or 'all' for a directory of each.",
            )
    beside = [each for each in subject.archives if each not in wanted and each.partition != BOOT]
    return Choice([_readable(each) for each in wanted], [_left_out(subject, each) for each in beside])


def for_device(subject: Subject, partition: str) -> Choice:
    """The one image that goes onto a device. Raises Refused where there is none or there are several, naming what there is."""
    if partition:
        return Choice([_readable(_asked(subject, int(partition), "image"))], [])
    images = [each for each in subject.archives if each.format == "image"]
    if len(images) != 1:
        raise Refused(
            f"{len(images)} archives of {subject.snapshot_id} hold an image; there are {_listed(subject)}",
            "Choose one with partition (coldstore_restore_partition), or restore files into a directory.",
        )
    return Choice([_readable(images[0])], [])


def _asked(subject: Subject, partition: int, form: str) -> FoundArchive:
    found = [each for each in subject.archives if each.partition == partition]
    if not found:
        raise Refused(
            f"there is no archive of partition {partition} of {subject.snapshot_id}; there are {_listed(subject)}",
            "Name one of these with partition (coldstore_restore_partition).",
        )
    for each in found:
        if each.format == form:
            return each
    if form == "tar":
        reason = subject.filesystem(partition).get("reason")
        raise Refused(
            f"partition {partition} of {subject.snapshot_id} is an image{f': {reason}' if reason else ''}",
            "Restore it to a device or file with device (coldstore_restore_device), and look into that.",
        )
    raise Refused(
        f"partition {partition} of {subject.snapshot_id} was archived as files, and a device needs an image",
        "Restore it into a directory, or leave out partition to rebuild the whole disk.",
    )


def _readable(archive: FoundArchive) -> FoundArchive:
    if archive.encrypted:
        raise Refused(
            "the archive is encrypted with GPG",
            "Fetch it, decrypt it with gpg, and unpack it with the codec and tar.",
            key=archive.key,
        )
    return archive


def _is_efi(subject: Subject, archive: FoundArchive) -> bool:
    facts = subject.filesystem(archive.partition).get("facts", {})
    return str(facts.get("PART_ENTRY_TYPE", "")).lower() in _EFI


def _left_out(subject: Subject, archive: FoundArchive) -> dict[str, Any]:
    reason = str(subject.filesystem(archive.partition).get("reason") or "")
    if archive.format == "tar":
        reason = "the EFI system partition was not asked for"
    return {"partition": archive.partition, "format": archive.format, "reason": reason or "it is an image"}


def _listed(subject: Subject) -> str:
    return ", ".join(_described(subject, each) for each in subject.archives)


def _described(subject: Subject, archive: FoundArchive) -> str:
    """A partition for people: "2 (xfs, 400 MiB, label data)"."""
    there = subject.filesystem(archive.partition)
    facts = there.get("facts", {})
    words = ["image"] if archive.format == "image" else []
    words += ["boot area"] if archive.partition == BOOT else []
    words += [str(there["type"])] if there.get("type") else []
    words += ["EFI"] if _is_efi(subject, archive) else []
    words += [_size(int(there["size"]))] if there else []
    words += [f"label {facts['LABEL']}"] if facts.get("LABEL") else []
    number = "the whole disk" if archive.partition is None else str(archive.partition)
    return f"{number} ({', '.join(words or ['files'])})"


def _size(count: int) -> str:
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"
