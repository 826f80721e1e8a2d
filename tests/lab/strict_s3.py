# SPDX-License-Identifier: GPL-3.0-or-later
"""What S3 refuses and moto does not: wrong checksums and sizes, wrong owners, wrong tags and metadata, keys that cannot be
used, reading what still thaws; and conditions that must be atomic."""

import base64
import hashlib
import io
import threading
import time
import urllib.parse
import zlib

from awscrt import checksums as crt
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends
from s3_labels import wrong_metadata, wrong_tags

CONDITIONS = threading.RLock()
THAWING = 2.0  # seconds


def _number(value, width):
    return base64.b64encode(value.to_bytes(width, "big")).decode()


ALGORITHMS = {
    "CRC32": lambda data: _number(zlib.crc32(data), 4),
    "CRC32C": lambda data: _number(crt.crc32c(data), 4),
    "CRC64NVME": lambda data: _number(crt.crc64nvme(data), 8),
    "SHA1": lambda data: base64.b64encode(hashlib.sha1(data).digest()).decode(),
    "SHA256": lambda data: base64.b64encode(hashlib.sha256(data).digest()).decode(),
}


class StrictS3:
    """WSGI middleware around moto for requests signed for s3."""

    def __init__(self, app, account, region):
        self.app = app
        self.account = account
        self.region = region
        self.thawing = THAWING
        self.thawed = {}  # path -> when that was asked for
        self.tiers = {}  # path -> the archive tier that INTELLIGENT_TIERING has put it into
        self.rules = {}  # path of a bucket -> its lifecycle configuration as it was put: moto forgets the sizes in it

    def __call__(self, environ, start_response):
        owner = environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER")
        if owner and owner != self.account:
            return refuse(start_response, "403 Forbidden", "AccessDenied", "the bucket is another account's")
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        metadata = {name[16:]: value for name, value in environ.items() if name.startswith("HTTP_X_AMZ_META_")}
        wrong = wrong_tags(environ.get("HTTP_X_AMZ_TAGGING", "")) or wrong_metadata(metadata)
        if wrong:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return refuse(start_response, "400 Bad Request", wrong, "tags or metadata are not what S3 takes")
        if method == "PUT" and "uploadId=" in query and not self._knows_upload(environ):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return refuse(start_response, "404 Not Found", "NoSuchUpload", "The specified upload does not exist.")
        if method in ("PUT", "POST"):
            wrong = self._check_key(environ)
            if wrong:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return refuse(start_response, "400 Bad Request", *wrong)
        if method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" not in environ:
            wrong = self._check_body(environ)
            if wrong:
                return refuse(start_response, "400 Bad Request", wrong, "the body is not what was announced")
        if query.split("&")[0].rstrip("=") == "lifecycle":
            return self._lifecycle(environ, start_response)
        if method == "POST" and "uploadId=" in query:
            return self._complete(environ, start_response)
        if method == "POST" and query.split("&")[0] == "restore":
            return self._restore(environ, start_response)
        if method in ("GET", "HEAD") and self._asleep(environ["PATH_INFO"]):
            return self._sleeping(environ, start_response)
        if "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ:
            with CONDITIONS:
                return list(self.app(environ, start_response))
        return self.app(environ, start_response)

    def sleep(self, bucket, key, storage_class):
        """What a lifecycle rule does, or INTELLIGENT_TIERING by itself: the object stays the same, but cannot be read."""
        stored = s3_backends[self.account]["aws"].get_object(bucket, key)
        tier = storage_class if storage_class.endswith("_ACCESS") else None
        stored.set_storage_class("INTELLIGENT_TIERING" if tier else storage_class)
        stored.set_expiry(None)
        self.thawed.pop(f"/{bucket}/{key}", None)
        if tier:
            self.tiers[f"/{bucket}/{key}"] = tier

    def take_for_thaws(self, seconds):
        """So long from now on; without seconds those under way are over."""
        self.thawing = seconds or THAWING
        if not seconds:
            self.thawed = dict.fromkeys(self.thawed, float("-inf"))

    def _asleep(self, path):
        """Whether it still thaws, or is in a tier from which nobody asked for it."""
        if path in self.thawed and time.monotonic() >= self.thawed[path] + self.thawing:
            del self.thawed[path]
            self.tiers.pop(path, None)
        return path in self.thawed or path in self.tiers

    def _lifecycle(self, environ, start_response):
        method, bucket = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
        if method == "GET" and bucket in self.rules:
            start_response("200 OK", [("Content-Type", "application/xml"), ("Content-Length", str(len(self.rules[bucket])))])
            return [self.rules[bucket]]
        self.rules.pop(bucket, None)
        if method == "PUT":
            self.rules[bucket] = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(self.rules[bucket])
        return self.app(environ, start_response)

    def _restore(self, environ, start_response):
        """Deep archive knows no Expedited, tiers no days; a second request while the first is under way is refused."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ["PATH_INFO"]
        tier = self.tiers.get(path)
        if b"Expedited" in body and "DEEP" in (tier or self._head(environ).get("x-amz-storage-class", "")):
            return refuse(
                start_response, "400 Bad Request", "InvalidArgument", "Retrieval option is not supported by this storage class"
            )
        if (b"<Days>" in body) == bool(tier):
            return refuse(start_response, "400 Bad Request", "MalformedXML", "Days are for storage classes, not for tiers")
        if self._asleep(path) and path in self.thawed:
            return refuse(start_response, "409 Conflict", "RestoreAlreadyInProgress", "Object restore is already in progress")
        self.thawed[path] = time.monotonic()
        if tier:
            start_response("202 Accepted", [("Content-Length", "0")])
            return []
        return self.app(environ, start_response)

    def _sleeping(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "GET":
            return refuse(
                start_response, "403 Forbidden", "InvalidObjectState", "The operation is not valid for the object's storage class"
            )

        def respond(status, headers, info=None):
            path = environ["PATH_INFO"]
            kept = [(name, value) for name, value in headers if name.lower() != "x-amz-restore"]
            kept += [("x-amz-restore", 'ongoing-request="true"')] if path in self.thawed else []
            kept += [("x-amz-archive-status", self.tiers[path])] if path in self.tiers else []
            return start_response(status, kept, info)

        return self.app(environ, respond)

    def _knows_upload(self, environ):
        """moto answers 500 for a part of an upload it does not know."""
        bucket = environ["PATH_INFO"].split("/")[1]
        wanted = urllib.parse.parse_qs(environ["QUERY_STRING"])["uploadId"][0]
        return wanted in s3_backends[self.account]["aws"].get_bucket(bucket).multiparts

    def _check_key(self, environ):
        """The KMS key that is to encrypt an object has to be there and enabled."""
        key_id = environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID")
        if not key_id:
            return None
        key = kms_backends[self.account][self.region].keys.get(key_id.rpartition("/")[2])
        if key is None:
            return "KMS.NotFoundException", f"Key '{key_id}' does not exist"
        return None if key.enabled else ("KMS.DisabledException", f"{key_id} is disabled.")

    def _check_body(self, environ):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        data = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(data)
        if len(data) != length:
            return "IncompleteBody"
        for name, compute in ALGORITHMS.items():
            said = environ.get(f"HTTP_X_AMZ_CHECKSUM_{name}")
            if said:
                if said != compute(data):
                    return "BadDigest"
                environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = name  # S3 keeps what it was given; moto needs telling
        said = environ.get("HTTP_CONTENT_MD5")
        if said and said != base64.b64encode(hashlib.md5(data).digest()).decode():
            return "BadDigest"
        said = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
        if len(said) == 64 and said != hashlib.sha256(data).hexdigest():
            return "XAmzContentSHA256Mismatch"
        return None

    def _complete(self, environ, start_response):
        """Size and full-object checksum are compared before anything becomes visible to others."""
        with CONDITIONS:
            before = self._head(environ)
            kept = {}
            body = list(self.app(environ, lambda status, headers, _info=None: kept.update(status=status, headers=headers)))
            if kept["status"].startswith("200") and not before:
                there = self._head(environ)
                size = environ.get("HTTP_X_AMZ_MP_OBJECT_SIZE")
                wrong = "InvalidRequest" if size and there.get("content-length") != size else None
                for name in ALGORITHMS:
                    said = environ.get(f"HTTP_X_AMZ_CHECKSUM_{name}")
                    if said and there.get(f"x-amz-checksum-{name.lower()}") != said:
                        wrong = "BadDigest"
                if wrong:
                    self._inner(environ, "DELETE", {})
                    return refuse(start_response, "400 Bad Request", wrong, "the whole is not what was announced")
        start_response(kept["status"], kept["headers"])
        return body

    def _head(self, environ):
        status, headers = self._inner(environ, "HEAD", {"HTTP_X_AMZ_CHECKSUM_MODE": "ENABLED"})
        return headers if status.startswith("200") else {}

    def _inner(self, environ, method, extra):
        inner = dict(environ, REQUEST_METHOD=method, QUERY_STRING="", CONTENT_LENGTH="0", **{"wsgi.input": io.BytesIO()})
        inner.pop("HTTP_IF_NONE_MATCH", None)
        inner.update(extra)
        kept = {}
        list(self.app(inner, lambda status, headers, _info=None: kept.update(status=status, headers=headers)))
        return kept["status"], {key.lower(): value for key, value in kept["headers"]}


def refuse(start_response, status, code, message):
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        "<RequestId>LAB0000000000000</RequestId></Error>"
    ).encode()
    start_response(
        status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), ("x-amz-request-id", "LAB0000000000000")]
    )
    return [body]
