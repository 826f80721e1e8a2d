# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module from its arguments to its result: one flow under a stop."""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from typing import Any, Callable

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..cloud import identity
from ..common import advised, tags
from ..common.errors import Refused, classify, printable
from ..common.stop import on_signals, when_output_closes
from ..engine.pipeline import ticker
from ..flows.job import Job
from .clients import client

_BOTOCORE = "1.36.0"  # the first version with full-object checksums and conditional completion


def main(spec: dict[str, Any], flow: Callable[[Job], dict[str, Any]], on_worker: bool = True, **options: Any) -> None:
    """Build the module, run its flow under a stop, and report. Cleanup comes before reporting, since nobody may be listening.

    on_worker: the module is meant for an EC2 instance, in the region of the snapshots. A result with `failed` is a failure.
    """
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True, **options)
    module.require_botocore_at_least(_BOTOCORE, reason="for conditional writes and full-object checksums")
    with on_signals() as stop, ticker(partial(when_output_closes, stop), 1.0, stop):
        try:
            if module.params.get("tag"):
                tags.check(dict.fromkeys([module.params["tag"], *advised.companions(module.params["tag"])], ""))
            instance = cache(identity.this_instance)
            if on_worker:
                _learn_region(module, instance)
            connect = partial(client, module)
            job = Job(module.params, module.region or "", connect, stop, module.check_mode, module.warn, instance)
            result = flow(job)
        except Exception as error:
            known = classify(error)
            if known is None:
                raise
            facts = {name: _plain(value) for name, value in known.facts.items()}
            result = {"failed": True, "msg": str(known), "kind": known.kind, "facts": facts}
    report = module.fail_json if result.get("failed") else module.exit_json
    report(**result)


def _plain(value: Any) -> Any:
    """A fact for a result: a number, or text without Python's quotes."""
    return value if isinstance(value, (int, float)) else printable(value) if isinstance(value, bytes) else str(value)


def _learn_region(module: Any, instance: Callable[[], identity.Instance]) -> None:
    """If no region is given, use that of this instance. Without metadata, the module may still work without a region."""
    if not module.region:
        with suppress(Refused):
            module.params["region"] = instance().region
