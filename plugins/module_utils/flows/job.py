# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow is given, and what it has of AWS: each client, and each answer about who and where we are, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Callable, Optional

from ..cloud import identity
from ..cloud.calls import Calls
from ..common.clock import Clock
from ..common.errors import Refused, Unfit, Unreachable
from ..common.retry import Policy, retry
from ..common.stop import Stop
from ..engine.bucket.layouts import ours
from ..engine.bucket.objects import Store
from ..engine.documents import claims


@dataclass(frozen=True)
class Job:
    """One module at work.

    asked: its arguments. home: the region that they or the instance say, '' if nothing does. connect: makes a boto3 client of a
    service, with a config of botocore, a region and keys of its own. warn: tells the user something. instance: which one this
    is; raises Unfit if it is none.
    """

    asked: Mapping[str, Any]
    home: str
    connect: Callable[..., Any]
    stop: Stop
    check_mode: bool
    warn: Callable[[str], None]
    instance: Callable[[], identity.Instance]

    @property
    def region(self) -> str:
        """Raises Refused if nothing says it."""
        if not self.home:
            raise Refused(
                "no region is known: no argument, variable or profile gives one, and no instance metadata service answers",
                "Set region for all modules (module_defaults of the group coldstore.ebs.aws), or AWS_REGION where they run.",
            )
        return self.home

    @cached_property
    def ec2(self) -> Calls:
        """EC2 in the region of the snapshots."""
        client = self.connect("ec2", region=self.region)
        pause = float(self.asked.get("poll_interval") or 2)
        return Calls(client, self.stop, Clock(), self.asked.get("timeout") or 600, pause)

    @cached_property
    def store(self) -> Store:
        """The bucket of the arguments, found to exist and to be the expected account's."""
        config = {
            "read_timeout": 60,
            "max_pool_connections": 64,
            "request_checksum_calculation": "when_required",  # every body carries the CRC that the engine computes
            "response_checksum_validation": "when_required",
            "s3": {"payload_signing_enabled": False},
        }
        store = Store(
            client=self.connect("s3", config),
            # S3 may take minutes to complete an upload of thousands of parts.
            slow_client=lambda: self.connect("s3", dict(config, read_timeout=300)),
            bucket=self.asked["bucket"],
            owner=self.asked["bucket_owner"] or self.account,
            sse=self.asked["sse"] or "",
            kms_key_id=self.asked["sse_kms_key_id"] or "",
            stop=self.stop,
        )
        if not self.asked.get("claim"):  # who has a claim in it, has found it
            replace(store, client=self.connect("s3", dict(config, read_timeout=10)), policy=Policy()).check_bucket()
        return store

    @cached_property
    def caller(self) -> Mapping[str, str]:
        """Account and Arn of the credentials; sts:GetCallerIdentity needs no permission."""
        sts = self.connect("sts", {"read_timeout": 5}, region=self.region)
        reply: Mapping[str, str] = retry(sts.get_caller_identity, self.stop, policy=Policy(seconds=10, silence=10))
        return reply

    @property
    def account(self) -> str:
        """The caller's. Raises Refused if STS cannot be reached: a VPC without NAT needs an endpoint for it, and many have none."""
        try:
            return self.caller["Account"]
        except Unreachable as error:
            raise Refused(
                error.message,
                "Without STS nobody knows whose the bucket has to be: name its account as bucket_owner (in playbooks"
                " coldstore_bucket_owner), or give the VPC an endpoint for STS.",
            ) from error

    @cached_property
    def claim(self) -> Optional[claims.Claim]:
        """The claim named in the arguments, if one is. Raises Lost if it is not this lane's any more.

        It also has the snapshot as it was when it was claimed: that does not change, and EC2 answers an account only so often.
        """
        if not self.asked.get("claim"):
            return None
        key = ours.claim_key(self.asked["prefix"], self.asked["snapshot_id"])
        return claims.held(claims.calm(self.store), key, self.asked["claim"])

    def threads(self, least: int = 1) -> int:
        """As asked, or as many as there are processors."""
        return int(self.asked["threads"] or max(least, os.cpu_count() or 2))


def require_root() -> None:
    if os.geteuid():
        raise Unfit("reading devices and mounting need root", "Set become: true for the workers.")
