# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS clients from the arguments of amazon.aws's modules: region, profile, endpoint_url, credentials, aws_config."""

from __future__ import annotations

from functools import cache
from typing import Any, Optional

from ansible_collections.amazon.aws.plugins.module_utils.botocore import get_aws_connection_info

from ..common.errors import Refused
from ..common.version import BY


def client(module: Any, service: str, config: Optional[dict[str, Any]] = None, region: Optional[str] = None, **keys: Any) -> Any:
    """A client that gives up within seconds if there is no answer, unless config says otherwise, and leaves retrying to us.

    keys: instead of the module's own. Raises Refused if the arguments do not make a client.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    prompt = {"connect_timeout": 5, "read_timeout": 15, "retries": {"mode": "standard", "total_max_attempts": 1}}
    settings = Config(**{**prompt, **(config or {})}, user_agent_extra=BY.replace(" ", "/"))
    home, endpoint, given = get_aws_connection_info(module)
    profile, own = given.pop("profile_name", None), given.pop("aws_config", None)
    where = {"region_name": region or home, "endpoint_url": endpoint, "config": settings.merge(own) if own else settings}
    try:
        return _session(profile).client(service, **{**given, **where, **keys})
    except (ValueError, BotoCoreError) as error:
        raise Refused(f"cannot connect to AWS: {error}", "Correct region, profile, endpoint_url or credentials.") from error


@cache
def _session(profile: Optional[str]) -> Any:
    """One for all clients of a module: each new session reads botocore's data again, which costs more than all calls."""
    from boto3.session import Session

    return Session(profile_name=profile)
