# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects beside an unfinished upload that say which frames each finished part holds.

    <archive>.journal/00000    the upload's id and the settings it was begun with
    <archive>.journal/00001    part 1: ETag, CRC, size and frames

One small object a part, because S3 cannot append. After a kill the plan is made again, and as long as its chunks have
the fingerprints written here, their frames need not be read, compressed or sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from . import document
from .store import Part, Store, Upload

_NAME = "journal"


class StoredFrame(NamedTuple):
    """A frame in a finished part, and the fingerprint of the chunk it holds."""

    length: int
    raw_length: int
    sha256: str
    fingerprint: str


class StoredPart(NamedTuple):
    """A finished part; tail: bytes of it behind its last frame."""

    part: Part
    frames: list[StoredFrame]
    tail: int


def begin(store: Store, archive: str, upload: Upload, settings: Mapping[str, Any]) -> None:
    body = {"upload_id": upload.upload_id, "settings": dict(settings)}
    store.put(_key(archive, 0), document.encode(_NAME, 1, body))


def record(store: Store, archive: str, stored: StoredPart) -> None:
    part = stored.part
    body = {
        "part": [part.number, part.etag, store.checksum.text(part.crc), part.size],
        "frames": [list(frame) for frame in stored.frames],
        "tail": stored.tail,
    }
    store.put(_key(archive, part.number), document.encode(_NAME, 1, body))


def read(store: Store, archive: str, settings: Mapping[str, Any]) -> Optional[tuple[Upload, list[StoredPart]]]:
    """The upload that was begun with these settings, and its finished parts from 1 without a gap; None without one."""
    content = store.get(_key(archive, 0))
    if content is None:
        return None
    head = document.decode(content.body, _NAME, 1, _key(archive, 0))
    if head["settings"] != dict(settings):
        return None
    parts: list[StoredPart] = []
    while True:
        content = store.get(_key(archive, len(parts) + 1))
        if content is None:
            return Upload(store, archive, head["upload_id"]), parts
        body = document.decode(content.body, _NAME, 1, archive)
        number, etag, crc, size = body["part"]
        frames = [StoredFrame(*frame) for frame in body["frames"]]
        parts.append(StoredPart(Part(number, etag, store.checksum.value(crc), size), frames, body["tail"]))


def forget(store: Store, archive: str, after: int = -1) -> None:
    """Remove the journal, or what it says of parts after a number."""
    for key in [item.key for item in store.keys(_key(archive, None))]:
        if int(key.rpartition("/")[2]) > after:
            store.delete(key)


def _key(archive: str, number: Optional[int]) -> str:
    return f"{archive}.journal/" + ("" if number is None else f"{number:05d}")
