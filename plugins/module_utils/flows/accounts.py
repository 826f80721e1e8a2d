# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts and regions that credentials and roles open."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..cloud import estate, questions
from ..cloud.questions import Access
from ..common.errors import ColdstoreError, Refused, Stopped
from ..common.estate import ACCOUNT, REGIONS, NotAsked
from ..common.retry import retry
from .job import Job


def accesses(job: Job, roles: list[str], regions: list[str], billed: list[str]) -> tuple[list[Access], list[NotAsked]]:
    """The caller's account and that of each role, in each of the regions of its partition; and what could not be asked.

    'all' means every enabled region, or, if there is no answer to which these are, the billed ones.
    """
    for role in roles:
        if role.count(":") < 5:
            raise Refused(f"{role} is not a role ARN", "Write it as arn:aws:iam::123456789012:role/name.")
    found: list[Access] = []
    missing: list[NotAsked] = []
    for role in ["", *roles]:
        try:
            keys = _assumed(job, role) if role else {}
            _arn, partition, _service, _region, account = (role or job.caller["Arn"]).split(":")[:5]
        except Stopped:
            raise
        except ColdstoreError as error:
            action = "sts:AssumeRole" if role else "sts:GetCallerIdentity"
            known = questions.unanswered(error, role and role.split(":")[4], "", ACCOUNT, action)
            missing.append(known._replace(help=f"Let the credentials assume {role}, or correct assume_roles.") if role else known)
            continue
        here = set(regions)
        if "all" in here:
            everywhere = questions.Questions(Access(account, job.region, partial(job.connect, region=job.region, **keys)))
            enabled = everywhere.ask(REGIONS, "ec2:DescribeRegions", lambda ec2: estate.regions(ec2, job.stop))
            missing += [each._replace(help=f"{each.help} Until then, name the regions (regions).") for each in everywhere.not_asked]
            here.update(billed if enabled is None else enabled)
        for region in sorted(here - {"all"}):
            if questions.partition(region) == partition:
                found.append(Access(account, region, partial(job.connect, region=region, **keys)))
    return found, missing


def some(regions: list[str]) -> str:
    """A controller often has no region of its own; then the first of these will do."""
    return next((region for region in regions if region != "all"), "us-east-1")


def _assumed(job: Job, role: str) -> dict[str, Any]:
    sts = job.connect("sts", region=job.region)
    reply = retry(lambda: sts.assume_role(RoleArn=role, RoleSessionName="coldstore-ebs"), job.stop, role=role)["Credentials"]
    return {
        "aws_access_key_id": reply["AccessKeyId"],
        "aws_secret_access_key": reply["SecretAccessKey"],
        "aws_session_token": reply["SessionToken"],
    }
