# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error the collection raises, and what each kind means for a caller.

    ColdstoreError
    |- Refused      the input or the environment is wrong; nothing was created
    |  |- Asleep       an object cannot be read before S3 has thawed it
    |  `- Unfit        this worker cannot do it; another one may
    |- Transient    may work if tried again (throttling, 5xx, a broken connection, a damaged transfer)
    |  `- Unreachable  no connection can be made
    |     `- Silent    a connection may exist, but there is no answer
    |- Permanent    will fail again (a bad block, a file that changed, a limit of S3)
    |- Corrupt      stored bytes are not the bytes that were written
    |- Lost         somebody else holds the claim, or published first
    `- Stopped      the job was told to stop

Only `retry.py` acts on the kind, and it retries only `Transient`.
"""

from __future__ import annotations

import errno
from typing import Any, Optional


class ColdstoreError(Exception):
    """What failed, where, and what to do next, in one line.

    facts: where it happened (snapshot, partition, path, offset, call, request_id, ...); None values are dropped.
    permission: the IAM action that is denied, if that is what failed.
    """

    kind = "error"
    permission = ""
    advice = "Nothing else is known about it."

    def __init__(self, message: str, advice: Optional[str] = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = {name: value for name, value in facts.items() if value is not None}
        if advice is not None:
            self.advice = advice

    def at(self, **facts: Any) -> ColdstoreError:
        """Add facts that a caller knows; facts already there stay. Returns the error itself."""
        for name, value in facts.items():
            if value is not None:
                self.facts.setdefault(name, value)
        return self

    def __str__(self) -> str:
        where = ", ".join(f"{name} {printable(value)}" for name, value in sorted(self.facts.items()))
        return f"{self.message}{f' ({where})' if where else ''}. {self.advice}"


class Refused(ColdstoreError):
    kind = "refused"
    advice = "Nothing was created. Correct this and run again."


class Asleep(Refused):
    advice = "Thaw it with the playbook restore, or with coldstore.ebs.snapshot_restore without a target."


class Unfit(Refused):
    kind = "unfit"
    advice = "Fix this worker, or use another one."


class Transient(ColdstoreError):
    kind = "transient"
    advice = "Retrying did not help. Run again later."


class Unreachable(Transient):
    advice = "Check the network: host name, route, security group, VPC endpoint and proxy. Then run again."


class Silent(Unreachable):
    """Each attempt takes the whole timeout."""


class Permanent(ColdstoreError):
    kind = "permanent"
    advice = "Trying again will not help until the cause is fixed."


class Corrupt(ColdstoreError):
    kind = "corrupt"
    advice = "Do not delete the snapshot; archive it again."


class Lost(ColdstoreError):
    kind = "lost"
    advice = "Another lane is working on this snapshot or has published it. Nothing of it was changed."


class Stopped(ColdstoreError):
    kind = "stopped"
    advice = "What was started has been undone. Run again to start over."


THROTTLED = frozenset(
    [
        "SlowDown",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "ServiceUnavailable",
        "Unavailable",
        "InternalError",
        "InternalFailure",
        "RequestTimeout",
        "ServiceQuotaExceededException",
        "OperationAborted",
        "ConditionalRequestConflict",
    ]
)
DAMAGED = frozenset(["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"])
EXPIRED = frozenset(["ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed", "TokenRefreshRequired"])
DENIED = frozenset(["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AllAccessDisabled", "403", "Forbidden"])
CREDENTIALS = frozenset(
    [
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "OptInRequired",
        "UnrecognizedClientException",
    ]
)
NOT_IMPLEMENTED = "NotImplemented"
# What a host runs out of. If it is the target of a restore that is full, the target says so itself.
_SYSTEM = {
    errno.ENOSPC: "Free some space, use another directory as spool, or restore to a larger volume (coldstore_restore_size).",
    errno.EDQUOT: "Free some space, or use another directory as spool.",
    errno.EMFILE: "Raise the limit of open files.",
    errno.ENFILE: "Raise the limit of open files.",
    errno.ENOMEM: "Give this host more memory, or use fewer threads and lanes.",
}
# What EC2 has run out of for this worker: slots to attach volumes to, or volumes in its zone or for its account.
USED_UP = {
    "AttachmentLimitExceeded": "Use fewer lanes on it, or an instance type that takes more volumes.",
    "InsufficientVolumeCapacity": "Use a worker in another availability zone, or another volume type.",
    "VolumeLimitExceeded": "Delete volumes, or have the EBS quota raised.",
    "MaxIOPSLimitExceeded": "Ask for fewer IOPS, or have the EBS quota raised.",
}
# The IAM action where it is not simply the name of the API call.
_ACTIONS = {
    "HeadObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "GetProducts": "pricing:GetProducts",
    "ListSnapshotBlocks": "ebs:ListSnapshotBlocks",
    "ListChangedBlocks": "ebs:ListChangedBlocks",
    "AssumeRole": "sts:AssumeRole",
    "DescribeKey": "kms:DescribeKey",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "DeleteObjects": "s3:DeleteObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}


def advice_on(error: OSError) -> Optional[str]:
    """What to do about an error of the operating system, if something specific is known."""
    return _SYSTEM.get(error.errno or 0)


def code_of(error: BaseException) -> str:
    """The AWS error code of a botocore ClientError, or '' for anything else."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def classify(error: BaseException, **facts: Any) -> Optional[ColdstoreError]:
    """The ColdstoreError for a botocore or connection error; None for anything else.

    Names of classes are compared, not classes, so that this file needs no botocore.
    """
    if isinstance(error, ColdstoreError):
        return error.at(**facts)
    code = code_of(error)
    if code:
        return _of_reply(error, code, facts)
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"NoCredentialsError", "PartialCredentialsError", "NoRegionError"}:
        return Refused(f"AWS cannot be reached: {error}", "Give the host a role, or pass credentials and a region.", **facts)
    if names & {"CredentialRetrievalError"} or (
        isinstance(error, RuntimeError) and "credentials" in str(error)
    ):  # botocore's, both
        return Transient(f"the credentials cannot be renewed: {error}", "Check the host's role and its metadata service.", **facts)
    if names & {"ConnectTimeoutError", "ReadTimeoutError"}:
        return Silent(f"{_host(error)} does not answer", **facts)
    if names & {"EndpointConnectionError"}:
        return Unreachable(f"{_host(error)} cannot be reached: {_cause(error)}", **facts)
    if names & {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError", "HTTPError"}:
        return Transient(f"the connection failed: {error}", **facts)
    if isinstance(error, OSError):
        facts.setdefault("path", error.filename)
        message, advice = f"the operating system reports: {error.strerror}", advice_on(error)
        return Permanent(message, **facts) if advice is None else Unfit(message, advice, **facts)
    if names & {"FlexibleChecksumError"}:
        return Transient(f"the reply was damaged in transit: {error}", **facts)
    return None


def _host(error: BaseException) -> str:
    """The host that a connection error of botocore is about, as far as it says."""
    url = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
    return url.partition("//")[2].partition("/")[0] or str(error)


def _cause(error: BaseException) -> str:
    """urllib3 puts the system's message behind its own description of the connection."""
    return str(getattr(error, "kwargs", {}).get("error", error)).rpartition(": ")[2]


def _of_reply(error: BaseException, code: str, facts: dict[str, Any]) -> ColdstoreError:
    reply: dict[str, Any] = getattr(error, "response", {})
    meta = reply.get("ResponseMetadata", {})
    call = getattr(error, "operation_name", None)
    text = str(reply.get("Error", {}).get("Message", code)).rstrip(". ")
    facts = dict(facts, call=call, code=code, request_id=meta.get("RequestId"))
    if code in DENIED:
        service = "s3" if "key" in facts or "bucket" in facts else "ec2"
        action = _ACTIONS.get(str(call), f"{service}:{call}")
        denied = Refused(
            f"{action} is denied: {text}", "Allow it in the IAM policy (docs/permissions.md) or the bucket policy.", **facts
        )
        denied.permission = action
        return denied
    if code in EXPIRED:
        return Transient(f"the credentials have expired: {text}", "Use a role whose credentials refresh.", **facts)
    if code in CREDENTIALS:
        return Refused(f"AWS does not accept the credentials: {text}", "Correct them and run again.", **facts)
    if code in DAMAGED:
        return Transient(f"bytes were damaged on their way to S3: {text}", "Memory or network of this host may be faulty.", **facts)
    if code in USED_UP:
        return Unfit(f"AWS answers {code}: {text}", USED_UP[code], **facts)
    status = int(meta.get("HTTPStatusCode") or 0)
    if status == 501 or code == NOT_IMPLEMENTED:
        facts["code"] = NOT_IMPLEMENTED
        return Permanent(f"the server does not support the request {call}: {text}", "Use one that does (docs/servers.md).", **facts)
    if code in THROTTLED or status >= 500 or status == 429:
        return Transient(f"AWS answers {code}: {text}", **facts)
    return Permanent(f"AWS answers {code}: {text}", **facts)


def printable(value: Any) -> str:
    """The value as it stands in a message: on one line, and bytes as the name they are."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    text = str(value)
    return text if text.isprintable() and " " not in text else ascii(text)
