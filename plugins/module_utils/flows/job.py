# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow is given, and its access to AWS: each client, and each answer about who and where we are, is made once."""

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

    asked: its arguments. home: the region given by them or by the instance, '' if neither. connect: makes a boto3 client of a
    service, with a botocore config, a region and keys of its own. warn: warns the user. instance: which one this is; raises Unfit
    if it is not an instance.
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
        """Raises Refused if nothing gives it."""
        if not self.home:
            raise Refused(
                "the region is not known: no argument, variable or profile gives one, and no instance metadata service answers",
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
        """The bucket of the arguments, after checking that it exists and belongs to the expected account."""
        config = {
            "read_timeout": 60,
            "max_pool_connections": 64,
            "request_checksum_calculation": "when_required",  # the engine computes the CRC of every body
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
        if not self.asked.get("claim"):  # whoever has a claim in it has found it
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
        """The caller's. Raises Refused if STS cannot be reached: a VPC without NAT needs an endpoint for it, and many lack one."""
        try:
            return self.caller["Account"]
        except Unreachable as error:
            raise Refused(
                error.message,
                "Without STS, name the account that owns the bucket as bucket_owner (coldstore_bucket_owner in playbooks), or"
                " give the VPC an endpoint for STS.",
            ) from error

    @cached_property
    def claim(self) -> Optional[claims.Claim]:
        """The claim named in the arguments, if any. Raises Lost if it no longer belongs to this lane.

        It also has the snapshot as it was when claimed: that does not change, and EC2 limits requests per account.
        """
        if not self.asked.get("claim"):
            return None
        key = ours.claim_key(self.asked["prefix"], self.asked["snapshot_id"])
        return claims.held(claims.calm(self.store), key, self.asked["claim"])

    def threads(self, least: int = 1) -> int:
        """As given, or one per processor."""
        return int(self.asked["threads"] or max(least, os.cpu_count() or 2))


def require_root() -> None:
    if os.geteuid():
        raise Unfit("reading devices and mounting need root", "Set become: true for the workers.")
