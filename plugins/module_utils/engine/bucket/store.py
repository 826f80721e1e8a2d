# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 objects of one bucket: small ones whole, large ones by multipart, all of them checked.

Every call names the expected owner of the bucket. Every body carries a CRC that S3 compares before it accepts it;
the CRCs of parts combine into the one of the object, which S3 compares again at completion. Nothing is ever
overwritten unless the caller names the version it means to replace.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import IO, Any, Callable, NamedTuple, Optional, TypeVar, Union

from ...common.clock import Clock
from ...common.errors import DAMAGED, Asleep, Corrupt, Lost, Permanent, Refused, code_of
from ...common.retry import Policy, retry
from ...common.stop import Stop
from . import checksums

T = TypeVar("T")
MIB = 1024 * 1024
MAX_PARTS = 10_000
MAX_PART = 5 * 1024 * MIB
S3_SMALLEST_PART = 5 * MIB  # S3's own limit
SMALLEST_PART = 16 * MIB  # ours: smaller ones cost more requests than they are worth
_BLOCK = 8 * MIB
_STEADY_PARTS = 8_000  # so many of equal size, then ever larger ones
_MISSING = frozenset(["404", "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload"])
_ASLEEP = "InvalidObjectState"
_SLEEPS = "the object sleeps in an archive class or tier"
_RACE = "ConditionalRequestConflict"
GONE = frozenset(["NoSuchUpload", _RACE])  # an upload that was aborted, or has to be begun again
_CONFLICT = frozenset(["PreconditionFailed", "412"])
_DELETED_AT_ONCE = 1000  # keys a request, S3's limit


class Stored(NamedTuple):
    """What S3 says of an object. checksum is its CRC64NVME, '' if it has none; modified is epoch seconds.

    thaw is S3's word on a copy brought back from an archive class, '' if none was asked for. archive_tier is the tier of
    INTELLIGENT_TIERING that cannot be read at once, if the object is in one.
    """

    key: str
    size: int
    etag: str
    version: str
    checksum: str
    storage_class: str
    metadata: Mapping[str, str]
    modified: float
    thaw: str = ""
    archive_tier: str = ""


class Listed(NamedTuple):
    """An object as a listing has it; modified is epoch seconds."""

    key: str
    size: int
    storage_class: str = "STANDARD"
    modified: float = 0.0


class Unfinished(NamedTuple):
    """A multipart upload that was neither completed nor aborted; initiated is epoch seconds."""

    key: str
    upload_id: str
    initiated: float


class Content(NamedTuple):
    """A small object. age is the seconds since it was last written, by the server's own clock."""

    body: bytes
    etag: str
    age: float


class Pieces:
    """Frames in a row as a file to be sent, without joining them.

    read gives the next piece whole, whatever size is asked for: HTTP libraries ask for 16 KiB at a time and pass on what
    they get, and a quarter of a million such turns cost more than the sending itself.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._next = 0
        self._size = sum(map(len, pieces))

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            rest, self._next = self._pieces[self._next :], len(self._pieces)
            return b"".join(rest)
        if self._next == len(self._pieces):
            return b""
        self._next += 1
        return self._pieces[self._next - 1]

    def seek(self, offset: int, whence: int = 0) -> int:
        """To the beginning or the end; nobody needs more."""
        if offset or whence == 1:
            raise ValueError("pieces can be read from their beginning only")
        self._next = 0 if whence == 0 else len(self._pieces)
        return self.tell()

    def tell(self) -> int:
        return sum(map(len, self._pieces[: self._next])) if self._next < len(self._pieces) else self._size


Body = Union[IO[bytes], Pieces]


class Part(NamedTuple):
    """A part that S3 has accepted; crc is the one of its bytes."""

    number: int
    etag: str
    crc: int
    size: int


@dataclass(frozen=True)
class Store:
    """client: a boto3 S3 client. owner: the account that must own the bucket, '' for any.

    sse: '' (the bucket's default), 'AES256' or 'aws:kms'; kms_key_id only with the latter.
    slow_client: makes a client that waits for minutes for an answer; without it client has to.
    """

    client: Any
    bucket: str
    owner: str = ""
    sse: str = ""
    kms_key_id: str = ""
    stop: Stop = field(default_factory=Stop)
    clock: Clock = field(default_factory=Clock)
    policy: Policy = Policy(seconds=120.0, silence=120.0)
    patience: Policy = Policy(attempts=100, base=1.0, cap=30.0, seconds=600.0, silence=600.0)
    slow_client: Optional[Callable[[], Any]] = None

    def patient(self) -> Store:
        """The same bucket for work of hours, which an outage of minutes must not end."""
        return replace(self, policy=self.patience)

    def check_bucket(self) -> None:
        """Raises Refused if the bucket is missing, another account's, or not to be read."""
        try:
            self._call("head_bucket")
        except (Permanent, Refused) as error:
            code = str(error.facts.get("code"))
            if code in _MISSING:
                raise Refused(f"bucket {self.bucket} does not exist", "Create it, or correct its name.") from error
            owner = f" or is not owned by account {self.owner}" if self.owner else ""
            raise Refused(
                f"bucket {self.bucket} may not be listed (s3:ListBucket){owner}: {error.message}",
                "Allow it (docs/permissions.md), or correct bucket and owner.",
            ) from error

    def lifecycle(self) -> list[dict[str, Any]]:
        """The bucket's lifecycle rules, as S3 has them."""
        try:
            return list(self._call("get_bucket_lifecycle_configuration").get("Rules", []))
        except Permanent as error:
            if error.facts.get("code") == "NoSuchLifecycleConfiguration":
                return []
            raise

    def get(self, key: str) -> Optional[Content]:
        """A small object, or None if there is none. Raises Asleep if it sleeps."""

        def once() -> Content:
            reply = self.client.get_object(**self._names(Key=key))
            body: bytes = reply["Body"].read()
            return Content(body, reply["ETag"], _age(reply))

        try:
            return self._retried(once, key)
        except Permanent as error:
            if error.facts.get("code") in _MISSING:
                return None
            if error.facts.get("code") == _ASLEEP:
                raise Asleep(_SLEEPS, key=key) from error
            raise

    def read(self, key: str, offset: int, length: int, version: str = "") -> bytes:
        """`length` bytes from `offset`. Raises Corrupt if the object is missing or shorter, Asleep if it sleeps."""
        if not length:
            return b""
        arguments = self._names(Key=key, Range=f"bytes={offset}-{offset + length - 1}")
        if version:
            arguments["VersionId"] = version

        def once() -> bytes:
            body: bytes = self.client.get_object(**arguments)["Body"].read()
            return body

        try:
            body = self._retried(once, key)
        except Permanent as error:
            code = error.facts.get("code")
            if code in _MISSING or code in ("InvalidRange", "NoSuchVersion"):
                raise Corrupt("the object is missing or shorter than its manifest says", key=key, offset=offset) from error
            if code == _ASLEEP:
                raise Asleep(_SLEEPS, key=key) from error
            raise
        if len(body) != length:
            raise Corrupt(f"{len(body)} of {length} bytes are there", key=key, offset=offset)
        return body

    def blocks(self, key: str, offset: int, length: int, version: str = "") -> Iterator[bytes]:
        """The same a block of 8 MiB at a time, one after the other."""
        end = offset + length
        for at in range(offset, end, _BLOCK):
            yield self.read(key, at, min(_BLOCK, end - at), version)

    def head(self, key: str, version: str = "") -> Optional[Stored]:
        """What is stored under a key, or None."""
        arguments = {"Key": key, "ChecksumMode": "ENABLED"}
        if version:
            arguments["VersionId"] = version
        try:
            reply = self._call("head_object", **arguments)
        except Permanent as error:
            if error.facts.get("code") in _MISSING:
                return None
            raise
        return Stored(
            key,
            int(reply["ContentLength"]),
            reply["ETag"],
            reply.get("VersionId", "") if reply.get("VersionId") != "null" else "",
            reply.get(checksums.FIELD, ""),
            reply.get("StorageClass", "STANDARD"),
            reply.get("Metadata", {}),
            reply["LastModified"].timestamp(),
            reply.get("Restore", ""),
            reply.get("ArchiveStatus", ""),
        )

    def keys(self, prefix: str) -> Iterator[Listed]:
        """Every object below a prefix, page by page."""
        arguments: dict[str, Any] = {"Prefix": prefix}
        while True:
            reply = self._call("list_objects_v2", **arguments)
            for item in reply.get("Contents", []):
                yield Listed(item["Key"], int(item["Size"]), item.get("StorageClass", "STANDARD"), item["LastModified"].timestamp())
            if not reply.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = reply["NextContinuationToken"]

    def put(
        self, key: str, body: Union[bytes, IO[bytes]], replaces: Optional[str] = None, content_type: str = "application/json"
    ) -> str:
        """Write a small object: a new one, or in the place of the one whose ETag is `replaces`. Returns its ETag.

        Raises Lost if the condition does not hold, unless what is there is exactly this body (a lost reply).
        """
        etag = self.try_put(key, body, replaces, content_type)
        if etag:
            return etag
        there = self.head(key)
        size = len(body) if isinstance(body, bytes) else body.seek(0, 2)
        if there and there.size == size and there.checksum == checksums.text(_crc_of(body)):
            return there.etag
        raise Lost("the object was written by somebody else", key=key)

    def try_put(
        self,
        key: str,
        body: Union[bytes, IO[bytes]],
        replaces: Optional[str] = None,
        content_type: str = "application/json",
        crc: Optional[int] = None,
    ) -> str:
        """The same, but '' if the condition does not hold, whatever is there. crc: of the body, if it is known."""
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}
        arguments = dict(condition, Body=body, ContentType=content_type, **self._encryption())
        arguments[checksums.FIELD] = checksums.text(_crc_of(body) if crc is None else crc)

        def once() -> str:
            if not isinstance(body, bytes):
                body.seek(0)
            etag: str = self.client.put_object(**self._names(Key=key, **arguments))["ETag"]
            return etag

        try:
            return self._retried(once, key)
        except Permanent as error:
            if error.facts.get("code") not in _CONFLICT | _MISSING:
                raise
            return ""

    def put_over(
        self, key: str, body: Union[bytes, IO[bytes]], still_ours: Callable[[], None], content_type: str = "application/json"
    ) -> str:
        """Write a small object, also in the place of one that an earlier lane left there. Returns its ETag.

        still_ours is asked between the look at what is there and its replacement. So whoever it stops, or who falls asleep behind
        it, cannot replace what a successor wrote.
        """
        try:
            return self.put(key, body, content_type=content_type)
        except Lost:
            there = self.head(key)
            still_ours()
            if there is None:
                raise
            return self.put(key, body, there.etag, content_type)

    def delete(self, keys: list[str]) -> None:
        """Remove objects, a thousand a request; one that is not there is no error."""
        for at in range(0, len(keys), _DELETED_AT_ONCE):
            batch = keys[at : at + _DELETED_AT_ONCE]
            self._retried(functools.partial(self._delete, batch), batch[0])

    def _delete(self, keys: list[str]) -> None:
        listed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        reply = self.client.delete_objects(**self._names(Delete=listed))
        for each in reply.get("Errors", []):  # S3 answers 200 and says here what it did not do
            said = {"Code": each.get("Code"), "Message": f"{each.get('Message') or each.get('Code')}: {each.get('Key')}"}
            error = {"Error": said, "ResponseMetadata": reply.get("ResponseMetadata", {})}
            raise self.client.exceptions.ClientError(error, "DeleteObjects")

    def begin(
        self, key: str, storage_class: str = "STANDARD", metadata: Optional[Mapping[str, str]] = None, tagging: str = ""
    ) -> Upload:
        """Begin a multipart upload."""
        arguments: dict[str, Any] = {"ChecksumAlgorithm": checksums.NAME, "ChecksumType": "FULL_OBJECT"}
        arguments.update(self._encryption(), StorageClass=storage_class, Metadata=dict(metadata or {}))
        if tagging:
            arguments["Tagging"] = tagging
        return Upload(self, key, self._call("create_multipart_upload", Key=key, **arguments)["UploadId"])

    def uploads(self, key: str) -> list[str]:
        """Ids of the unfinished uploads of exactly this key."""
        return [upload.upload_id for upload in self.unfinished(key) if upload.key == key]

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Every unfinished upload below a prefix, page by page."""
        arguments: dict[str, Any] = {"Prefix": prefix}
        while True:
            reply = self._call("list_multipart_uploads", **arguments)
            for item in reply.get("Uploads", []):
                yield Unfinished(item["Key"], item["UploadId"], item["Initiated"].timestamp())
            if not reply.get("IsTruncated"):
                return
            arguments.update(KeyMarker=reply["NextKeyMarker"], UploadIdMarker=reply["NextUploadIdMarker"])

    def thaw(self, key: str, version: str, tier: str, days: Optional[int]) -> bool:
        """Ask S3 for a readable copy, for so many days, of an object in an archive class; False if that is under way.

        Without days the object itself is moved back, as INTELLIGENT_TIERING does, which takes none.
        """
        request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
        if days is not None:
            request["Days"] = days
        arguments: dict[str, Any] = {"Key": key, "RestoreRequest": request}
        if version:
            arguments["VersionId"] = version
        try:
            self._call("restore_object", **arguments)
        except Permanent as error:
            if error.facts.get("code") == "RestoreAlreadyInProgress":
                return False
            raise
        return True

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        call: Callable[[], dict[str, Any]] = functools.partial(getattr(self.client, name), **self._names(**arguments))
        return self._retried(call, arguments.get("Key") or arguments.get("Prefix"))

    def _retried(self, call: Callable[[], T], key: Optional[str]) -> T:
        return retry(call, self.stop, self.clock, self.policy, bucket=self.bucket, key=key)

    def _names(self, **arguments: Any) -> dict[str, Any]:
        arguments["Bucket"] = self.bucket
        if self.owner:
            arguments["ExpectedBucketOwner"] = self.owner
        return arguments

    def _encryption(self) -> dict[str, Any]:
        if not self.sse:
            return {}
        arguments: dict[str, Any] = {"ServerSideEncryption": self.sse}
        if self.sse == "aws:kms":
            arguments["BucketKeyEnabled"] = True
            if self.kms_key_id:
                arguments["SSEKMSKeyId"] = self.kms_key_id
        return arguments


@dataclass(frozen=True)
class Upload:
    """An unfinished multipart upload. send is thread-safe; complete and abort end it."""

    store: Store
    key: str
    upload_id: str

    def send(self, number: int, body: Body, size: int) -> Part:
        """Send one part. The body is sent again as a whole if it has to be."""
        store = self.store
        crc = _crc_of(body)
        arguments = store._names(Key=self.key, UploadId=self.upload_id, PartNumber=number, ContentLength=size)
        arguments[checksums.FIELD] = checksums.text(crc)

        def once() -> str:
            body.seek(0)
            etag: str = store.client.upload_part(Body=body, **arguments)["ETag"]
            return etag

        return Part(number, retry(once, store.stop, store.clock, store.policy, key=self.key, part=number), crc, size)

    def parts(self) -> Optional[dict[int, tuple[str, int]]]:
        """{number: (ETag, size)} of what S3 has, or None if it knows no such upload."""
        found: dict[int, tuple[str, int]] = {}
        arguments: dict[str, Any] = {"Key": self.key, "UploadId": self.upload_id}
        while True:
            try:
                reply = self.store._call("list_parts", **arguments)
            except Permanent as error:
                if error.facts.get("code") in _MISSING:
                    return None
                raise
            found.update({item["PartNumber"]: (item["ETag"], int(item["Size"])) for item in reply.get("Parts", [])})
            if not reply.get("IsTruncated"):
                return found
            arguments["PartNumberMarker"] = reply["NextPartNumberMarker"]

    def complete(self, parts: list[Part]) -> Stored:
        """Publish the object, if there is none yet.

        A reply that got lost, or an object that is there already, is adopted if size and checksum are equal; otherwise
        Lost is raised and what is there stays. Raises Corrupt if the parts are not what was sent, and Permanent with one of
        the codes GONE if the upload cannot be completed any more.
        """
        store = self.store
        client = store.slow_client() if store.slow_client else store.client
        size, text = total(parts)
        listed = [{"PartNumber": p.number, "ETag": p.etag, checksums.FIELD: checksums.text(p.crc)} for p in parts]
        arguments = store._names(Key=self.key, UploadId=self.upload_id, MultipartUpload={"Parts": listed}, IfNoneMatch="*")
        arguments.update({"ChecksumType": "FULL_OBJECT", "MpuObjectSize": size, checksums.FIELD: text})

        def once() -> None:
            try:
                client.complete_multipart_upload(**arguments)
            except Exception as error:
                code = code_of(error)
                if code == _RACE:
                    raise Permanent("another object came and went during completion", code=code, key=self.key) from error
                if code in DAMAGED:
                    raise Corrupt("S3 has other bytes than were sent", "Run again: they are sent anew.", key=self.key) from error
                raise

        try:
            store._retried(once, self.key)
        except Permanent as error:
            if error.facts.get("code") not in _CONFLICT | _MISSING | GONE:
                raise
            there = adopt(store, self.key, parts)
            if there is None and error.facts.get("code") in GONE and store.head(self.key) is None:
                raise
            if there is None:
                raise Lost(
                    "another object is there already",
                    "Compare it with the snapshot, remove it if it is not wanted, and run again.",
                    key=self.key,
                    upload_id=self.upload_id,
                ) from error
            self.abort()
            return there
        there = adopt(store, self.key, parts)
        if there is None:
            raise Corrupt("S3 completed the upload, but stores another size or checksum", key=self.key)
        return there

    def abort(self) -> None:
        """Throw the parts away. Not to be aborted twice is not an error; runs after a stop, too."""
        try:
            retry(
                lambda: self.store.client.abort_multipart_upload(**self.store._names(Key=self.key, UploadId=self.upload_id)),
                Stop(),
                self.store.clock,
                self.store.policy,
                key=self.key,
                upload_id=self.upload_id,
            )
        except Permanent as error:
            if error.facts.get("code") not in _MISSING:
                raise


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
    """Bytes that part `number` (from 1) should have at least, in an archive expected to have so many bytes.

    The first 8,000 parts are equal (some S3 servers want that) and hold what is expected; if more comes (snapshots of
    a btrfs share blocks that a tar repeats) later parts double every 200, so that the limit of 10,000 parts is not met
    before S3's limit on the object.
    """
    steady = max(SMALLEST_PART, -(-expected // _STEADY_PARTS // MIB) * MIB)
    doublings = max(0, -(-(number - _STEADY_PARTS) // 200))
    return min(steady << doublings, MAX_PART)


def _crc_of(body: Union[bytes, Body]) -> int:
    if isinstance(body, bytes):
        return checksums.update(body)
    body.seek(0)
    crc = 0
    for block in iter(lambda: body.read(MIB), b""):
        crc = checksums.update(block, crc)
    body.seek(0)
    return crc


def _age(reply: Mapping[str, Any]) -> float:
    """Seconds between the object's last write and this reply, both by the server's clock."""
    date = reply["ResponseMetadata"]["HTTPHeaders"]["date"]
    age: float = (parsedate_to_datetime(date) - reply["LastModified"]).total_seconds()
    return age
