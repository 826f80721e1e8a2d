# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 in memory: a client with the methods, conditions, checks and errors that the engine meets, without a server.

Held to the same suite as the lab's S3 (unit/suites/s3_suite.py), so a unit test may stand on either.
"""

import base64
import hashlib
import io
import re
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from urllib.parse import parse_qsl

import botocore.exceptions
from ansible_collections.coldstore.ebs.plugins.module_utils.common.clock import Clock
from s3_labels import wrong_metadata, wrong_tags

ACCOUNT = "123456789012"
SMALLEST_PART = 5 << 20
ASLEEP = ("GLACIER", "DEEP_ARCHIVE")
THAWING = 2.0  # seconds


def crc64nvme(data):
    from awscrt import checksums

    return base64.b64encode(checksums.crc64nvme(data).to_bytes(8, "big")).decode()


CHECKSUMS = {"ChecksumCRC64NVME": crc64nvme}


@dataclass
class Object:
    body: bytes
    etag: str
    modified: datetime
    version: str
    checksum: dict
    storage_class: str = "STANDARD"
    metadata: dict = field(default_factory=dict)
    tags: list = field(default_factory=list)
    readable: float = 0.0  # when it is thawed; 0: nobody asked


@dataclass
class Multipart:
    key: str
    begun: datetime
    arguments: dict
    parts: dict = field(default_factory=dict)  # number -> (body, etag)


class MemoryS3:
    """before, behind: called with (operation, arguments) ahead of each call and behind it, and may raise; calls: the names of all."""

    exceptions = botocore.exceptions
    meta = SimpleNamespace(endpoint_url="http://memory")

    def __init__(self, *buckets, clock=None, versioned=False, page=1000):
        self.clock = clock or Clock()
        self.versioned = versioned
        self.page = page
        self.before = self.behind = lambda operation, arguments: None
        self.calls = []
        self.rules = []
        self.objects = {name: {} for name in buckets}  # key -> versions, oldest first; None is a delete marker
        self.uploads = {name: {} for name in buckets}
        self._lock = threading.RLock()

    def __getattribute__(self, name):
        """The methods of the client: counted, one at a time, and with what every one of them checks."""
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found) or name in ("before", "behind", "clock", "exceptions", "damage", "keys"):
            return found

        def call(**arguments):
            operation = "".join(word.capitalize() for word in name.split("_"))
            self.calls.append(operation)
            self.before(operation, arguments)
            with self._lock:
                if arguments["Bucket"] not in self.objects:
                    _fail(operation, 404, "404" if operation.startswith("Head") else "NoSuchBucket")
                if arguments.pop("ExpectedBucketOwner", ACCOUNT) != ACCOUNT:
                    _fail(operation, 403, "403" if operation.startswith("Head") else "AccessDenied")
                reply = found(**arguments) or {}
            self.behind(operation, arguments)
            headers = {"date": format_datetime(self._now())}
            return {**reply, "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": headers, "RequestId": "MEMORY"}}

        return call

    def keys(self, bucket):
        """All there are, for tests to look at."""
        return sorted(key for key, versions in self.objects[bucket].items() if versions[-1])

    def damage(self, bucket, key, offset=None, body=None):
        """Flip a bit of an object, or put another body in its place, behind S3's back: it still says what it said of it."""
        there = self.objects[bucket][key][-1]
        if body is None:
            body = there.body[:offset] + bytes([there.body[offset] ^ 1]) + there.body[offset + 1 :]
        there.body = body

    def head_bucket(self, Bucket):
        pass

    def get_bucket_lifecycle_configuration(self, Bucket):
        if not self.rules:
            _fail("GetBucketLifecycleConfiguration", 404, "NoSuchLifecycleConfiguration")
        return {"Rules": self.rules}

    def put_object(self, Bucket, Key, Body=b"", IfMatch=None, IfNoneMatch=None, **arguments):
        body = Body if isinstance(Body, bytes) else Body.read()
        checksum = {name: text for name, text in arguments.items() if name in CHECKSUMS}
        _check("PutObject", body, checksum)
        self._allow("PutObject", Bucket, Key, IfMatch, IfNoneMatch)
        return self._add(Bucket, Key, "PutObject", body, _etag(body), checksum or {"ChecksumCRC64NVME": crc64nvme(body)}, arguments)

    def get_object(self, Bucket, Key, VersionId=None, Range=None):
        there = self._find("GetObject", "NoSuchKey", Bucket, Key, VersionId)
        if there.storage_class in ASLEEP and not 0 < there.readable <= self.clock.monotonic():
            _fail("GetObject", 403, "InvalidObjectState")
        body = there.body
        if Range:
            first, last = (int(text) for text in re.fullmatch(r"bytes=(\d+)-(\d+)", Range).groups())
            if first >= len(body):
                _fail("GetObject", 416, "InvalidRange")
            body = body[first : last + 1]
        return {**self._described(there), "ContentLength": len(body), "Body": io.BytesIO(body)}

    def head_object(self, Bucket, Key, VersionId=None, ChecksumMode=None):
        there = self._find("HeadObject", "404", Bucket, Key, VersionId)
        return {**self._described(there), **(there.checksum if ChecksumMode == "ENABLED" else {})}

    def get_object_tagging(self, Bucket, Key):
        return {"TagSet": self._find("GetObjectTagging", "NoSuchKey", Bucket, Key, None).tags}

    def list_objects_v2(self, Bucket, Prefix="", ContinuationToken=""):
        keys = [key for key in self.keys(Bucket) if key.startswith(Prefix) and key > ContinuationToken]
        listed = [(key, self.objects[Bucket][key][-1]) for key in keys[: self.page]]
        contents = [
            {"Key": key, "Size": len(o.body), "ETag": o.etag, "StorageClass": o.storage_class, "LastModified": o.modified}
            for key, o in listed
        ]
        return _page(keys, self.page, Contents=contents, NextContinuationToken=listed[-1][0] if listed else "")

    def delete_objects(self, Bucket, Delete):
        if len(Delete["Objects"]) > 1000:
            _fail("DeleteObjects", 400, "MalformedXML")
        for each in Delete["Objects"]:
            versions = self.objects[Bucket].get(each["Key"])
            if self.versioned and versions:
                versions.append(None)
            else:
                self.objects[Bucket].pop(each["Key"], None)

    def restore_object(self, Bucket, Key, RestoreRequest, VersionId=None):
        there = self._find("RestoreObject", "NoSuchKey", Bucket, Key, VersionId)
        if there.storage_class not in ASLEEP:
            _fail("RestoreObject", 403, "InvalidObjectState")
        if there.storage_class == "DEEP_ARCHIVE" and RestoreRequest["GlacierJobParameters"]["Tier"] == "Expedited":
            _fail("RestoreObject", 400, "InvalidArgument")
        if there.readable > self.clock.monotonic():
            _fail("RestoreObject", 409, "RestoreAlreadyInProgress")
        there.readable = there.readable or self.clock.monotonic() + THAWING

    def create_multipart_upload(self, Bucket, Key, **arguments):
        _described_by("CreateMultipartUpload", arguments)
        upload_id = secrets.token_hex(16)
        self.uploads[Bucket][upload_id] = Multipart(Key, self._now(), arguments)
        return {"UploadId": upload_id}

    def upload_part(self, Bucket, Key, UploadId, PartNumber, Body, ContentLength, **arguments):
        body = Body if isinstance(Body, bytes) else b"".join(iter(lambda: Body.read(1 << 16), b""))
        upload = self._upload("UploadPart", Bucket, Key, UploadId)
        if len(body) != ContentLength:
            _fail("UploadPart", 400, "IncompleteBody")
        _check("UploadPart", body, {name: text for name, text in arguments.items() if name in CHECKSUMS})
        upload.parts[PartNumber] = (body, _etag(body))
        return {"ETag": _etag(body)}

    def list_parts(self, Bucket, Key, UploadId, PartNumberMarker=0):
        upload = self._upload("ListParts", Bucket, Key, UploadId)
        numbers = [number for number in sorted(upload.parts) if number > PartNumberMarker]
        parts = [{"PartNumber": n, "ETag": upload.parts[n][1], "Size": len(upload.parts[n][0])} for n in numbers[: self.page]]
        return _page(numbers, self.page, Parts=parts, NextPartNumberMarker=parts[-1]["PartNumber"] if parts else 0)

    def list_multipart_uploads(self, Bucket, Prefix="", KeyMarker="", UploadIdMarker=""):
        found = sorted((u.key, upload_id, u.begun) for upload_id, u in self.uploads[Bucket].items() if u.key.startswith(Prefix))
        found = [each for each in found if each[:2] > (KeyMarker, UploadIdMarker)]
        listed = [{"Key": key, "UploadId": upload_id, "Initiated": begun} for key, upload_id, begun in found[: self.page]]
        last = listed[-1] if listed else {"Key": "", "UploadId": ""}
        return _page(found, self.page, Uploads=listed, NextKeyMarker=last["Key"], NextUploadIdMarker=last["UploadId"])

    def complete_multipart_upload(
        self, Bucket, Key, UploadId, MultipartUpload, IfNoneMatch=None, MpuObjectSize=None, ChecksumType=None, **arguments
    ):
        name = "CompleteMultipartUpload"
        upload = self._upload(name, Bucket, Key, UploadId)
        wanted = MultipartUpload["Parts"]
        sent = [upload.parts.get(each["PartNumber"]) for each in wanted]
        if any(there is None or there[1] != each["ETag"] for there, each in zip(sent, wanted)):
            _fail(name, 400, "InvalidPart")
        if [each["PartNumber"] for each in wanted] != sorted({each["PartNumber"] for each in wanted}):
            _fail(name, 400, "InvalidPartOrder")
        if any(len(body) < SMALLEST_PART for body, _etag in sent[:-1]):
            _fail(name, 400, "EntityTooSmall")
        body = b"".join(body for body, _etag in sent)
        if MpuObjectSize not in (None, len(body)):
            _fail(name, 400, "InvalidRequest")
        checksum = {each: text for each, text in arguments.items() if each in CHECKSUMS}
        _check(name, body, checksum)
        self._allow(name, Bucket, Key, None, IfNoneMatch)
        del self.uploads[Bucket][UploadId]
        etag = f'{_etag("".join(etag for _body, etag in sent).encode())[:-1]}-{len(sent)}"'
        return self._add(Bucket, Key, name, body, etag, checksum, upload.arguments)

    def abort_multipart_upload(self, Bucket, Key, UploadId):
        self._upload("AbortMultipartUpload", Bucket, Key, UploadId)
        del self.uploads[Bucket][UploadId]

    def _now(self):
        return self.clock.now().astimezone(timezone.utc).replace(microsecond=0)

    def _find(self, operation, missing, bucket, key, version):
        versions = self.objects[bucket].get(key, [None])
        if version:
            there = next((each for each in versions if each and each.version == version), None)
            return there or _fail(operation, 404, "404" if missing == "404" else "NoSuchVersion")
        return versions[-1] or _fail(operation, 404, missing)

    def _upload(self, operation, bucket, key, upload_id):
        there = self.uploads[bucket].get(upload_id)
        return there if there and there.key == key else _fail(operation, 404, "NoSuchUpload")

    def _allow(self, operation, bucket, key, if_match, if_none_match):
        there = self.objects[bucket].get(key, [None])[-1]
        if if_match and not there:
            _fail(operation, 404, "NoSuchKey")
        if (if_none_match and there) or (if_match and there.etag != if_match):
            _fail(operation, 412, "PreconditionFailed")

    def _add(self, bucket, key, operation, body, etag, checksum, arguments):
        tags = _described_by(operation, arguments)
        version = secrets.token_hex(8) if self.versioned else ""
        new = Object(
            body,
            etag,
            self._now(),
            version,
            checksum,
            arguments.get("StorageClass", "STANDARD"),
            arguments.get("Metadata", {}),
            tags,
        )
        versions = self.objects[bucket].setdefault(key, [])
        if not self.versioned:
            versions.clear()
        versions.append(new)
        return {"ETag": etag, **({"VersionId": version} if version else {})}

    def _described(self, there):
        found = {"ContentLength": len(there.body), "ETag": there.etag, "LastModified": there.modified, "Metadata": there.metadata}
        if there.version:
            found["VersionId"] = there.version
        if there.storage_class != "STANDARD":
            found["StorageClass"] = there.storage_class
        if there.readable:
            found["Restore"] = f'ongoing-request="{"false" if there.readable <= self.clock.monotonic() else "true"}"'
        return found


@contextmanager
def failing(s3, operation, code, status=400, times=99, behind=False, **wanted):
    """While the body runs so many calls of an operation fail, of those with the arguments wanted; yields those that did.

    code '' breaks the connection. behind: S3 has done what it was asked for, and the answer is lost.
    """
    struck = []
    hook = "behind" if behind else "before"
    calm = getattr(s3, hook)

    def strike(called, arguments):
        calm(called, arguments)
        fits = all(str(value) in str(arguments.get(name)) for name, value in wanted.items())
        if called == operation and fits and len(struck) < times:
            struck.append(arguments)
            if not code:
                raise botocore.exceptions.ConnectionClosedError(endpoint_url="memory")
            _fail(operation, status, code)

    setattr(s3, hook, strike)
    try:
        yield struck
    finally:
        setattr(s3, hook, calm)


def _described_by(operation, arguments):
    """The tags of a new object, once tags and metadata are found to be what S3 takes."""
    wrong = wrong_tags(arguments.get("Tagging", "")) or wrong_metadata(arguments.get("Metadata", {}))
    if wrong:
        _fail(operation, 400, wrong)
    return [{"Key": key, "Value": value} for key, value in parse_qsl(arguments.get("Tagging", ""), keep_blank_values=True)]


def _check(operation, body, checksum):
    for name, text in checksum.items():
        if CHECKSUMS[name](body) != text:
            _fail(operation, 400, "BadDigest")


def _etag(body):
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _page(found, page, **reply):
    return {**reply, "IsTruncated": len(found) > page}


def _fail(operation, status, code):
    error = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "MEMORY"}}
    raise botocore.exceptions.ClientError(error, operation)
