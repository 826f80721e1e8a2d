# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to this collection: what every module shares between its arguments and its one call.

The only file that knows both amazon.aws and the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any, Callable, Optional

from ansible_collections.amazon.aws.plugins.module_utils.botocore import get_aws_connection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..cloud import identity, queue, volumes
from ..common import tags
from ..common.clock import Clock
from ..common.errors import ColdstoreError, Lost, Refused, Stopped, Unfit, Unreachable, classify, printable
from ..common.lane import FREE, Lane
from ..common.retry import Policy, retry
from ..common.stop import Stop, on_signals, when_output_closes
from ..engine.bucket.layouts import ours
from ..engine.bucket.objects import Store
from ..engine.documents import claims
from ..engine.pipeline import ticker
from ..worker import udev

VERSION = "1.0.0"
BY = f"coldstore.ebs {VERSION}"
_BOTOCORE = "1.36.0"  # the first with full-object checksums and conditional completion

BUCKET = {
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "bucket_owner": {"type": "str"},
    "sse": {"type": "str", "choices": ["AES256", "aws:kms"]},
    "sse_kms_key_id": {"type": "str"},
}
CLAIM = {"claim": {"type": "str"}}
TAG = {"tag": {"type": "str", "default": "snap-to-s3"}}


def main(spec: dict[str, Any], work: Callable[[Any, Stop], dict[str, Any]], on_worker: bool = True, **options: Any) -> None:
    """Build the module, do its work under a stop, and report: after the clearing up, since nobody may be listening.

    on_worker: it is meant for an EC2 instance, in the region of the snapshots.
    """
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True, **options)
    module.require_botocore_at_least(_BOTOCORE, reason="for conditional writes and full-object checksums")
    with on_signals() as stop, ticker(partial(when_output_closes, stop), 1.0, stop):
        try:
            if module.params.get("tag"):
                tags.check({module.params["tag"]: "", f"{module.params['tag']}-reason": ""})
            if on_worker:
                _learn_region(module)
            result = work(module, stop)
        except Exception as error:
            known = classify(error)
            if known is None:
                raise
            facts = {name: _plain(value) for name, value in known.facts.items()}
            report, result = module.fail_json, {"msg": str(known), "kind": known.kind, "facts": facts}
        else:
            report = module.exit_json
    report(**result)


def _plain(value: Any) -> Any:
    """A fact as a result has it: a number, or text without Python's quotes."""
    return value if isinstance(value, (int, float)) else printable(value) if isinstance(value, bytes) else str(value)


def _learn_region(module: Any) -> None:
    """If nothing says the region, it is the one of this instance. Where there are no metadata it may still do without."""
    if not module.region:
        with suppress(Refused):
            module.params["region"] = identity.this_instance().region


def region_of(module: Any) -> str:
    """Raises Refused if nothing says the region."""
    region: Optional[str] = module.region
    if not region:
        raise Refused(
            "no region is known: no argument, variable or profile gives one, and no instance metadata service answers",
            "Set region for all modules (module_defaults of the group coldstore.ebs.aws), or AWS_REGION where they run.",
        )
    return region


def client(module: Any, service: str, config: Optional[dict[str, Any]] = None, region: Optional[str] = None, **keys: Any) -> Any:
    """A client that gives up within seconds on who does not answer, unless config says otherwise, and leaves trying again to us.

    keys: instead of the module's own. Raises Refused if the arguments make none.
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
        raise Refused(
            f"no connection to AWS can be made: {error}", "Correct region, profile, endpoint_url or credentials."
        ) from error


@cache
def _session(profile: Optional[str]) -> Any:
    """For all clients of a module: each session reads anew what botocore knows of AWS, which costs more than all its calls."""
    from boto3.session import Session

    return Session(profile_name=profile)


def ec2(module: Any) -> Any:
    """A client for EC2. Raises Refused if nothing says the region."""
    return client(module, "ec2", region=region_of(module))


def store_of(module: Any, stop: Stop, region: Optional[str] = None) -> Store:
    """The bucket of the arguments, found to exist and to be the expected account's. region: if nothing else says one."""
    config = {
        "read_timeout": 60,
        "max_pool_connections": 64,
        "request_checksum_calculation": "when_required",  # every body carries the CRC that the engine computes
        "response_checksum_validation": "when_required",
        "s3": {"payload_signing_enabled": False},
    }
    store = Store(
        client=client(module, "s3", config),
        # S3 may take minutes to complete an upload of thousands of parts.
        slow_client=lambda: client(module, "s3", dict(config, read_timeout=300)),
        bucket=module.params["bucket"],
        owner=module.params["bucket_owner"] or account_of(module, stop, module.region or region),
        sse=module.params["sse"] or "",
        kms_key_id=module.params["sse_kms_key_id"] or "",
        stop=stop,
    )
    if not module.params.get("claim"):  # who has a claim in it, has found it
        replace(store, client=client(module, "s3", dict(config, read_timeout=10)), policy=Policy()).check_bucket()
    return store


def account_of(module: Any, stop: Stop, region: Optional[str] = None) -> str:
    """The caller's account; sts:GetCallerIdentity needs no permission.

    Raises Refused if STS cannot be reached: a VPC without NAT needs an endpoint for it, and many have none.
    """
    try:
        return str(caller(module, stop, region)["Account"])
    except Unreachable as error:
        raise Refused(
            error.message,
            "Without STS nobody knows whose the bucket has to be: name its account as bucket_owner (in playbooks"
            " coldstore_bucket_owner), or give the VPC an endpoint for STS.",
        ) from error


def caller(module: Any, stop: Stop, region: Optional[str]) -> Mapping[str, str]:
    """Account and Arn of the credentials."""
    sts = client(module, "sts", {"read_timeout": 5}, region=region or region_of(module))
    reply: Mapping[str, str] = retry(sts.get_caller_identity, stop, policy=Policy(seconds=10, silence=10))
    return reply


def ec2_calls(module: Any, stop: Stop, timeout: float = 600) -> volumes.Calls:
    return volumes.Calls(ec2(module), stop, Clock(), timeout, pause=float(module.params.get("poll_interval") or 2))


def pricing(module: Any) -> Any:
    """A client for the price API, which lives in few regions; it is not waited for long."""
    return client(module, "pricing", {"read_timeout": 30}, region="us-east-1")


def held(module: Any, store: Store) -> Optional[claims.Held]:
    """The claim named in the arguments, if one is. Raises Lost if it is not this lane's any more.

    It also has the snapshot as it was when it was claimed: that does not change, and EC2 answers an account only so often.
    """
    asked = module.params
    return (
        claims.held(claims.calm(store), ours.claim_key(asked["prefix"], asked["snapshot_id"]), asked["claim"])
        if asked["claim"]
        else None
    )


@contextmanager
def claimed(module: Any, claim: Optional[claims.Held], calls: volumes.Calls, stop: Stop, volume_id: str = "") -> Iterator[Lane]:
    """Hold on to a claim while the body works; yields the lane that works under it.

    No further task will run after a stop. So it removes the volume, gives the claim back, and lets the tag say so; in this order,
    for what was made under a claim is the next lane's once the claim is. A lane that lost its claim leaves it all: raises Lost.
    Somebody who calls the module by itself has no claim.
    """
    keeper = None if claim is None else claims.Keeper(claim)
    lane = FREE if keeper is None else keeper.lane
    with ticker(keeper.tick, 1.0, stop) if keeper is not None else nullcontext():
        try:
            yield lane
        except Stopped as error:
            try:
                lane.renew()
                if volume_id:
                    remove_after_stop(calls, volume_id, error, lane)
                if keeper is not None:
                    standing = keeper.release()
                    snapshot_id, tag = module.params["snapshot_id"], module.params["tag"]
                    error.at(tags=queue.back_in_line(calls.ec2, snapshot_id, tag, error.message, standing))
            except Lost:
                raise
            except ColdstoreError as failed:
                error.at(claim=f"not given back: {failed.message}")
            raise


def remove_after_stop(calls: volumes.Calls, volume_id: str, why: Stopped, lane: Lane = FREE) -> None:
    """The temporary volume goes now."""
    calm = volumes.Calls(calls.ec2, Stop(), calls.clock, calls.timeout, calls.pause)
    try:
        volumes.absent(calm, volume_id, lane)
        udev.forget(volume_id)
    except ColdstoreError as error:
        why.at(left_behind=f"{volume_id} ({error.message})")


def abandoned(module: Any, calls: volumes.Calls, volume_id: str) -> Lane:
    """The right to remove a volume that was made under a claim of the bucket of the arguments, as long as nobody holds that claim.

    Raises Lost if somebody does.
    """
    snapshot_id, holder = volumes.made_under(calls, volume_id)
    if not holder.claim:
        return FREE
    store = store_of(module, calls.stop)
    key = ours.claim_key(module.params["prefix"], snapshot_id)
    if holder.claim != volumes.claim_value(claims.named(store, key)):
        return FREE
    nobody_has_it = partial(claims.refuse_held, store, key)
    nobody_has_it()
    return Lane(holder, nobody_has_it, nobody_has_it)


def require_root() -> None:
    import os

    if os.geteuid():
        raise Unfit("reading devices and mounting need root", "Set become: true for the workers.")
