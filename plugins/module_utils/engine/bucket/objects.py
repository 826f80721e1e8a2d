# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 objects of one bucket: reading ranges, writing small ones, listing, removing. uploads.py writes large ones.

Every call names the expected owner of the bucket. Every body has a CRC that S3 compares before it accepts it. Nothing is ever
overwritten unless the caller names the version to replace.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import IO, Any, Callable, NamedTuple, Optional, TypeVar, Union

from ...common.clock import Clock
from ...common.errors import Asleep, Corrupt, Lost, Permanent, Refused
from ...common.retry import Policy, retry
from ...common.stop import Stop
from . import checksums

T = TypeVar("T")
MIB = 1024 * 1024
_BLOCK = 8 * MIB
MISSING = frozenset(["404", "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload"])
_ASLEEP = "InvalidObjectState"
_SLEEPS = "the object sleeps in an archive class or tier"
CONFLICT = frozenset(["PreconditionFailed", "412"])
_DELETED_AT_ONCE = 1000  # keys per request, S3's limit


class Stored(NamedTuple):
    """What S3 says about an object. checksum: its CRC64NVME, '' if it has none. modified: seconds since the epoch.

    thaw: S3's status of a copy from an archive class, '' if none was requested. archive_tier: the tier of INTELLIGENT_TIERING that
    the object is in, if it is one that cannot be read at once.
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
    """An object in a listing. modified: seconds since the epoch."""

    key: str
    size: int
    storage_class: str = "STANDARD"
    modified: float = 0.0


class Content(NamedTuple):
    """A small object. age: seconds since it was last written, by the server's clock."""

    body: bytes
    etag: str
    age: float


@dataclass(frozen=True)
class Store:
    """A bucket. client: a boto3 S3 client. owner: the account that must own the bucket, '' for any.

    sse: '' (the bucket's default), 'AES256' or 'aws:kms'; kms_key_id only with the latter.
    slow_client: makes a client that waits minutes for an answer; without it, client has to.
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
        """The same bucket for hours of work, which an outage of minutes must not end."""
        return replace(self, policy=self.patience)

    def check_bucket(self) -> None:
        """Raises Refused if the bucket is missing, belongs to another account, or may not be read."""
        try:
            self.call("head_bucket")
        except (Permanent, Refused) as error:
            code = str(error.facts.get("code"))
            if code in MISSING:
                raise Refused(f"bucket {self.bucket} does not exist", "Create it, or correct its name.") from error
            owner = f" or is not owned by account {self.owner}" if self.owner else ""
            raise Refused(
                f"bucket {self.bucket} may not be listed (s3:ListBucket){owner}: {error.message}",
                "Allow it (docs/permissions.md), or correct bucket or owner.",
            ) from error

    def get(self, key: str) -> Optional[Content]:
        """A small object, or None if there is none. Raises Asleep if it sleeps."""

        def once() -> Content:
            reply = self.client.get_object(**self.names(Key=key))
            body: bytes = reply["Body"].read()
            return Content(body, reply["ETag"], _age(reply))

        try:
            return self.retried(once, key)
        except Permanent as error:
            if error.facts.get("code") in MISSING:
                return None
            if error.facts.get("code") == _ASLEEP:
                raise Asleep(_SLEEPS, key=key) from error
            raise

    def read(self, key: str, offset: int, length: int, version: str = "") -> bytes:
        """`length` bytes from `offset`. Raises Corrupt if the object is missing or shorter, Asleep if it sleeps."""
        if not length:
            return b""
        arguments = self.names(Key=key, Range=f"bytes={offset}-{offset + length - 1}")
        if version:
            arguments["VersionId"] = version

        def once() -> bytes:
            body: bytes = self.client.get_object(**arguments)["Body"].read()
            return body

        try:
            body = self.retried(once, key)
        except Permanent as error:
            code = error.facts.get("code")
            if code in MISSING or code in ("InvalidRange", "NoSuchVersion"):
                raise Corrupt("the object is missing or shorter than its manifest says", key=key, offset=offset) from error
            if code == _ASLEEP:
                raise Asleep(_SLEEPS, key=key) from error
            raise
        if len(body) != length:
            raise Corrupt(f"{len(body)} of {length} bytes are there", key=key, offset=offset)
        return body

    def blocks(self, key: str, offset: int, length: int, version: str = "") -> Iterator[bytes]:
        """The same in blocks of 8 MiB, one after another."""
        end = offset + length
        for at in range(offset, end, _BLOCK):
            yield self.read(key, at, min(_BLOCK, end - at), version)

    def head(self, key: str, version: str = "") -> Optional[Stored]:
        """The object under a key, or None."""
        arguments = {"Key": key, "ChecksumMode": "ENABLED"}
        if version:
            arguments["VersionId"] = version
        try:
            reply = self.call("head_object", **arguments)
        except Permanent as error:
            if error.facts.get("code") in MISSING:
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
            reply = self.call("list_objects_v2", **arguments)
            for item in reply.get("Contents", []):
                yield Listed(item["Key"], int(item["Size"]), item.get("StorageClass", "STANDARD"), item["LastModified"].timestamp())
            if not reply.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = reply["NextContinuationToken"]

    def put(
        self, key: str, body: Union[bytes, IO[bytes]], replaces: Optional[str] = None, content_type: str = "application/json"
    ) -> str:
        """Write a small object: a new one, or a replacement for the one whose ETag is `replaces`. Returns its ETag.

        Raises Lost if the condition does not hold, unless exactly this body is already there (a lost reply).
        """
        etag = self.try_put(key, body, replaces, content_type)
        if etag:
            return etag
        there = self.head(key)
        size = len(body) if isinstance(body, bytes) else body.seek(0, 2)
        if there and there.size == size and there.checksum == checksums.text(crc_of(body)):
            return there.etag
        raise Lost("somebody else wrote the object", key=key)

    def try_put(
        self,
        key: str,
        body: Union[bytes, IO[bytes]],
        replaces: Optional[str] = None,
        content_type: str = "application/json",
        crc: Optional[int] = None,
    ) -> str:
        """The same, but returns '' if the condition does not hold, whatever is there. crc: of the body, if known."""
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}
        arguments = dict(condition, Body=body, ContentType=content_type, **self.encryption())
        arguments[checksums.FIELD] = checksums.text(crc_of(body) if crc is None else crc)

        def once() -> str:
            if not isinstance(body, bytes):
                body.seek(0)
            etag: str = self.client.put_object(**self.names(Key=key, **arguments))["ETag"]
            return etag

        try:
            return self.retried(once, key)
        except Permanent as error:
            if error.facts.get("code") not in CONFLICT | MISSING:
                raise
            return ""

    def put_over(
        self, key: str, body: Union[bytes, IO[bytes]], still_ours: Callable[[], None], content_type: str = "application/json"
    ) -> str:
        """Write a small object, also replacing one that an earlier lane left there. Returns its ETag.

        still_ours is called between looking at what is there and replacing it. So a lane that it stops, or that falls asleep after
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
        """Remove objects, a thousand per request. Removing a missing one is harmless."""
        for at in range(0, len(keys), _DELETED_AT_ONCE):
            batch = keys[at : at + _DELETED_AT_ONCE]
            self.retried(functools.partial(self._delete, batch), batch[0])

    def _delete(self, keys: list[str]) -> None:
        listed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        reply = self.client.delete_objects(**self.names(Delete=listed))
        for each in reply.get("Errors", []):  # S3 answers 200 and reports failures here
            said = {"Code": each.get("Code"), "Message": f"{each.get('Message') or each.get('Code')}: {each.get('Key')}"}
            error = {"Error": said, "ResponseMetadata": reply.get("ResponseMetadata", {})}
            raise self.client.exceptions.ClientError(error, "DeleteObjects")

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A method of the client, with retries. It names the owner of the bucket."""
        call: Callable[[], dict[str, Any]] = functools.partial(getattr(self.client, name), **self.names(**arguments))
        return self.retried(call, arguments.get("Key") or arguments.get("Prefix"))

    def retried(self, call: Callable[[], T], key: Optional[str]) -> T:
        """What call returns, with retries. Errors name the key."""
        return retry(call, self.stop, self.clock, self.policy, bucket=self.bucket, key=key)

    def names(self, **arguments: Any) -> dict[str, Any]:
        """The arguments, with bucket and owner added."""
        arguments["Bucket"] = self.bucket
        if self.owner:
            arguments["ExpectedBucketOwner"] = self.owner
        return arguments

    def encryption(self) -> dict[str, Any]:
        """The arguments for the encryption of a new object."""
        if not self.sse:
            return {}
        arguments: dict[str, Any] = {"ServerSideEncryption": self.sse}
        if self.sse == "aws:kms":
            arguments["BucketKeyEnabled"] = True
            if self.kms_key_id:
                arguments["SSEKMSKeyId"] = self.kms_key_id
        return arguments


def crc_of(body: Union[bytes, Any]) -> int:
    """The CRC of bytes, or of a file, which is then rewound."""
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
