# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large objects, written in parts. S3 compares the CRC of each part, and of the whole object at completion.

upload = begin(store, key)
parts = [upload.send(number, body, size) ...]    # from any thread, in any order
stored = upload.complete(parts)                  # or upload.abort()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, Optional, Union

from ...common.errors import DAMAGED, Corrupt, Lost, Permanent, code_of
from ...common.retry import retry
from ...common.stop import Stop
from . import checksums
from .objects import CONFLICT, MIB, MISSING, Store, Stored, crc_of

MAX_PARTS = 10_000
MAX_PART = 5 * 1024 * MIB
S3_SMALLEST_PART = 5 * MIB  # S3's own limit
SMALLEST_PART = 16 * MIB  # ours: smaller ones cost more requests than they are worth
_STEADY_PARTS = 8_000  # this many of equal size, then ever larger ones
_RACE = "ConditionalRequestConflict"
GONE = frozenset(["NoSuchUpload", _RACE])  # an upload that was aborted, or has to be begun again


class Unfinished(NamedTuple):
    """A multipart upload that was neither completed nor aborted. initiated: seconds since the epoch."""

    key: str
    upload_id: str
    initiated: float


class Joined:
    """Frames in a row as a file to upload, without copying them.

    read returns the next frame whole, whatever size is requested: HTTP libraries ask for 16 KiB at a time and pass on what
    they get, and a quarter of a million such rounds cost more than the upload itself.
    """

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        self._next = 0
        self._size = sum(map(len, frames))

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            rest, self._next = self._frames[self._next :], len(self._frames)
            return b"".join(rest)
        if self._next == len(self._frames):
            return b""
        self._next += 1
        return self._frames[self._next - 1]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek to the start or the end, which is all that anybody needs."""
        if offset or whence == 1:
            raise ValueError("frames can only be read from the start")
        self._next = 0 if whence == 0 else len(self._frames)
        return self.tell()

    def tell(self) -> int:
        return sum(map(len, self._frames[: self._next])) if self._next < len(self._frames) else self._size


Body = Union[IO[bytes], Joined]


class Part(NamedTuple):
    """A part that S3 has accepted. crc: of its bytes."""

    number: int
    etag: str
    crc: int
    size: int


@dataclass(frozen=True)
class Upload:
    """An unfinished multipart upload. send is thread-safe; complete and abort end it."""

    store: Store
    key: str
    upload_id: str

    def send(self, number: int, body: Body, size: int) -> Part:
        """Send one part. If necessary, the whole body is sent again."""
        store = self.store
        crc = crc_of(body)
        arguments = store.names(Key=self.key, UploadId=self.upload_id, PartNumber=number, ContentLength=size)
        arguments[checksums.FIELD] = checksums.text(crc)

        def once() -> str:
            body.seek(0)
            etag: str = store.client.upload_part(Body=body, **arguments)["ETag"]
            return etag

        return Part(number, retry(once, store.stop, store.clock, store.policy, key=self.key, part=number), crc, size)

    def parts(self) -> Optional[dict[int, tuple[str, int]]]:
        """{number: (ETag, size)} of the parts in S3, or None if there is no such upload."""
        found: dict[int, tuple[str, int]] = {}
        arguments: dict[str, Any] = {"Key": self.key, "UploadId": self.upload_id}
        while True:
            try:
                reply = self.store.call("list_parts", **arguments)
            except Permanent as error:
                if error.facts.get("code") in MISSING:
                    return None
                raise
            found.update({item["PartNumber"]: (item["ETag"], int(item["Size"])) for item in reply.get("Parts", [])})
            if not reply.get("IsTruncated"):
                return found
            arguments["PartNumberMarker"] = reply["NextPartNumberMarker"]

    def complete(self, parts: list[Part]) -> Stored:
        """Publish the object, if there is none yet.

        If the reply is lost, or the object already exists, it is adopted if size and checksum are equal. Otherwise Lost is raised,
        and the existing object stays. Raises Corrupt if the parts are not what was sent, and Permanent with one of the codes GONE
        if the upload can no longer be completed.
        """
        store = self.store
        client = store.slow_client() if store.slow_client else store.client
        size, text = total(parts)
        listed = [{"PartNumber": p.number, "ETag": p.etag, checksums.FIELD: checksums.text(p.crc)} for p in parts]
        arguments = store.names(Key=self.key, UploadId=self.upload_id, MultipartUpload={"Parts": listed}, IfNoneMatch="*")
        arguments.update({"ChecksumType": "FULL_OBJECT", "MpuObjectSize": size, checksums.FIELD: text})

        def once() -> None:
            try:
                client.complete_multipart_upload(**arguments)
            except Exception as error:
                code = code_of(error)
                if code == _RACE:
                    raise Permanent("another object came and went during completion", code=code, key=self.key) from error
                if code in DAMAGED:
                    raise Corrupt(
                        "S3 has different bytes from those that were sent", "Run again to send them again.", key=self.key
                    ) from error
                raise

        try:
            store.retried(once, self.key)
        except Permanent as error:
            if error.facts.get("code") not in CONFLICT | MISSING | GONE:
                raise
            there = adopt(store, self.key, parts)
            if there is None and error.facts.get("code") in GONE and store.head(self.key) is None:
                raise
            if there is None:
                raise Lost(
                    "a different object already exists",
                    "Compare it with the snapshot, remove it if you do not need it, and run again.",
                    key=self.key,
                    upload_id=self.upload_id,
                ) from error
            self.abort()
            return there
        there = adopt(store, self.key, parts)
        if there is None:
            raise Corrupt("S3 completed the upload, but reports a different size or checksum", key=self.key)
        return there

    def abort(self) -> None:
        """Discard the parts. Aborting twice is harmless, and a stop does not prevent it."""
        try:
            retry(
                lambda: self.store.client.abort_multipart_upload(**self.store.names(Key=self.key, UploadId=self.upload_id)),
                Stop(),
                self.store.clock,
                self.store.policy,
                key=self.key,
                upload_id=self.upload_id,
            )
        except Permanent as error:
            if error.facts.get("code") not in MISSING:
                raise


def begin(
    store: Store, key: str, storage_class: str = "STANDARD", metadata: Optional[Mapping[str, str]] = None, tagging: str = ""
) -> Upload:
    """Begin one."""
    arguments: dict[str, Any] = {"ChecksumAlgorithm": checksums.NAME, "ChecksumType": "FULL_OBJECT"}
    arguments.update(store.encryption(), StorageClass=storage_class, Metadata=dict(metadata or {}))
    if tagging:
        arguments["Tagging"] = tagging
    return Upload(store, key, store.call("create_multipart_upload", Key=key, **arguments)["UploadId"])


def ids(store: Store, key: str) -> list[str]:
    """The ids of the unfinished uploads of exactly this key."""
    return [each.upload_id for each in unfinished(store, key) if each.key == key]


def unfinished(store: Store, prefix: str) -> Iterator[Unfinished]:
    """Every unfinished upload below a prefix, page by page."""
    arguments: dict[str, Any] = {"Prefix": prefix}
    while True:
        reply = store.call("list_multipart_uploads", **arguments)
        for item in reply.get("Uploads", []):
            yield Unfinished(item["Key"], item["UploadId"], item["Initiated"].timestamp())
        if not reply.get("IsTruncated"):
            return
        arguments.update(KeyMarker=reply["NextKeyMarker"], UploadIdMarker=reply["NextUploadIdMarker"])


def adopt(store: Store, key: str, parts: list[Part]) -> Optional[Stored]:
    """The stored object, if its size and checksum are those of these parts."""
    size, text = total(parts)
    there = store.head(key)
    if there is None or there.size != size or there.checksum != text:
        return None
    return there


def total(parts: list[Part]) -> tuple[int, str]:
    """Size and full-object checksum of parts in a row."""
    size, crc = 0, 0
    for part in parts:
        crc = checksums.combine(crc, part.crc, part.size) if size else part.crc
        size += part.size
    return size, checksums.text(crc)


def part_size(number: int, expected: int) -> int:
    """The minimum size in bytes of part `number` (from 1), for an archive expected to have so many bytes.

    The first 8,000 parts are equal (some S3 servers require that) and hold what is expected. If there is more (a tar repeats blocks
    that btrfs snapshots share), the size of later parts doubles every 200 parts, so that S3's limit on the object comes before the
    limit of 10,000 parts.
    """
    steady = max(SMALLEST_PART, -(-expected // _STEADY_PARTS // MIB) * MIB)
    doublings = max(0, -(-(number - _STEADY_PARTS) // 200))
    return min(steady << doublings, MAX_PART)
