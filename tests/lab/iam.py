# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM, as far as the README's policies go: a key that was given a policy may do what its actions say, and nothing else.

Keys without a policy may do everything, as moto has it. Resources and conditions are not looked at. Sources: the service authorization
reference of Amazon S3 and of Amazon EC2.
"""

import io
import threading
import urllib.parse

import strict_ec2
import strict_s3

# (method, whether there is a key, what the query or a header names) -> action; the first that fits.
_S3 = (
    ("GET", False, "lifecycle", "GetLifecycleConfiguration"),
    ("PUT", False, "lifecycle", "PutLifecycleConfiguration"),
    ("GET", False, "uploads", "ListBucketMultipartUploads"),
    ("POST", False, "delete", "DeleteObject"),
    ("GET", False, "", "ListBucket"),
    ("HEAD", False, "", "ListBucket"),
    ("GET", True, "uploadId", "ListMultipartUploadParts"),
    ("GET", True, "versionId", "GetObjectVersion"),
    ("HEAD", True, "versionId", "GetObjectVersion"),
    ("GET", True, "", "GetObject"),
    ("HEAD", True, "", "GetObject"),
    ("DELETE", True, "uploadId", "AbortMultipartUpload"),
    ("DELETE", True, "", "DeleteObject"),
    ("POST", True, "restore", "RestoreObject"),
    ("POST", True, "", "PutObject"),
    ("PUT", True, "", "PutObject"),
)
_EBS = {"blocks": "ListSnapshotBlocks", "changedblocks": "ListChangedBlocks"}
_FREE = ("sts:GetCallerIdentity",)


class Policies:
    def __init__(self):
        self.allowed = {}  # key id -> actions
        self.used = {}  # key id -> actions
        self.lock = threading.Lock()

    def set(self, key_id, actions):
        with self.lock:
            self.allowed[key_id] = set(actions)
            self.used[key_id] = set()

    def refuses(self, environ, start_response, service):
        """The reply, if the caller's policy does not allow this; otherwise None."""
        key_id = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0]
        if key_id not in self.allowed:
            return None
        wanted = _actions(environ, service) - set(_FREE)
        with self.lock:
            self.used[key_id] |= wanted
        denied = sorted(wanted - self.allowed[key_id])
        if not denied:
            return None
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        text = f"{key_id} is not authorized to perform: {', '.join(denied)}"
        if service == "ec2":
            return strict_ec2.refuse(start_response, "UnauthorizedOperation", text)
        return strict_s3.refuse(start_response, "403 Forbidden", "AccessDenied", text)


def _actions(environ, service):
    if service == "s3":
        return {f"s3:{name}" for name in _s3_actions(environ)}
    if service == "ebs":
        return {f"ebs:{_EBS.get(environ['PATH_INFO'].rpartition('/')[2], 'StartSnapshot')}"}
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:  # the JSON protocols
        return {f"{service}:{target.rpartition('.')[2]}"}
    data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(data)
    asked = dict(urllib.parse.parse_qsl(data.decode()))
    found = {f"{service}:{asked.get('Action')}"}
    if asked.get("Action") == "CreateVolume" and any(name.startswith("TagSpecification") for name in asked):
        found.add("ec2:CreateTags")
    return found


def _s3_actions(environ):
    """A path-style request's; tags that are given with an upload need an action of their own."""
    has_key = "/" in environ["PATH_INFO"].strip("/")
    named = set(urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    for method, of_key, name, action in _S3:
        if (method, of_key) == (environ["REQUEST_METHOD"], has_key) and (not name or name in named):
            yield action
            break
    if "HTTP_X_AMZ_TAGGING" in environ:
        yield "PutObjectTagging"
