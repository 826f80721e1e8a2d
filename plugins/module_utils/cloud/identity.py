# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instance this is, from the instance metadata service (IMDSv2)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import NamedTuple

from ..common.errors import Unfit

_DEFAULT = "http://169.254.169.254"
_TIMEOUT = 5.0  # seconds


class Instance(NamedTuple):
    instance_id: str
    zone: str
    region: str


def this_instance(timeout: float = _TIMEOUT) -> Instance:
    """Raises Unfit if the service does not answer: then this is not an EC2 instance, or the service is switched off.

    AWS_EC2_METADATA_SERVICE_ENDPOINT is honoured, as botocore does.
    """
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _DEFAULT).rstrip("/")
    try:
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _fetch(urllib.request.Request(base + "/latest/api/token", headers=wanted, method="PUT"), timeout)
        carried = {"X-aws-ec2-metadata-token": token.decode("ascii")}
        where = base + "/latest/dynamic/instance-identity/document"
        document = json.loads(_fetch(urllib.request.Request(where, headers=carried), timeout))
        return Instance(document["instanceId"], document["availabilityZone"], document["region"])
    except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
        raise Unfit(
            f"the instance metadata service does not say which instance this is: {error}",
            "Run on an EC2 instance with IMDSv2, or give instance_id.",
        ) from error


def _fetch(request: urllib.request.Request, timeout: float) -> bytes:
    # Metadata is link-local: a proxy for the outside must not see it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as reply:
        body: bytes = reply.read()
        return body
