# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to many accounts and regions. If one does not answer, that is noted, with what would help, and nothing ends."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, TypeVar

from ..common.errors import CREDENTIALS, DENIED, ColdstoreError, Stopped, Transient, Unreachable
from ..common.estate import NotAsked

T = TypeVar("T")
# Accounts and credentials are of one partition; the names of its regions begin so (AWS Fault Isolation Boundaries, "Partitions").
_PARTITIONS = {
    "us-gov-": "aws-us-gov", "cn-": "aws-cn", "eusc-": "aws-eusc", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e", "us-isof-": "aws-iso-f",
}  # fmt: skip


class Access(NamedTuple):
    """One account in one region. client: makes a client for a service, 'ec2' or 'ebs'."""

    account: str
    region: str
    client: Callable[[str], Any]


class Questions:
    """Questions to one account in one region. not_asked: those without an answer so far."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.not_asked: list[NotAsked] = []
        self._clients: dict[str, Any] = {}
        self._unreachable: Optional[ColdstoreError] = None

    def ask(self, what: str, permission: str, call: Callable[[Any], T], service: str = "ec2") -> Optional[T]:
        """The result of `call`, which is given a client; None if there is no answer, which is noted. Raises Stopped.

        what: what the answer would tell, in words. permission: the IAM action needed. A region that cannot be reached is not asked
        again.
        """
        try:
            if self._unreachable is not None:
                raise self._unreachable
            if service not in self._clients:
                self._clients[service] = self.access.client(service)
            return call(self._clients[service])
        except Stopped:
            raise
        except ColdstoreError as error:
            if isinstance(error, Unreachable):
                self._unreachable = error
            self.not_asked.append(unanswered(error, self.access.account, self.access.region, what, permission))
            return None


def unanswered(error: ColdstoreError, account: str, region: str, what: str, permission: str) -> NotAsked:
    """The note about a question that ended in this error."""
    code = str(error.facts.get("code", ""))
    here = region or "this account"
    if code in DENIED:
        helps = "Allow it there, also in the organization's SCPs, or name a role that may do it (assume_roles)."
    elif code in CREDENTIALS:
        helps = f"Enable {here} for account {account} if it should be asked, or correct the credentials."
    elif isinstance(error, Unreachable):
        helps = f"Check the network to {here} (route, endpoint, proxy), or leave it out (regions, describe)."
    elif isinstance(error, Transient):
        helps = "Analyse again later."
    else:
        helps = error.advice
    return NotAsked(account, region, what, error.permission or permission, " ".join(error.message.split()), helps)


def partition(region: str) -> str:
    """The partition that a region is in."""
    return next((name for begins, name in _PARTITIONS.items() if region.startswith(begins)), "aws")
