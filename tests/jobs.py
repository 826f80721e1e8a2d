# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow is given, without Ansible and without AWS."""

import importlib

from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.identity import Instance
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.job import Job
from conftest import MODULES
from memory import ACCOUNT


def asked(module, **given):
    """The arguments of a module: what is given, else its own defaults."""
    spec = importlib.import_module(f"{MODULES}.{module}").SPEC
    assert not set(given) - set(spec)
    return {name: given.get(name, each.get("default")) for name, each in spec.items()}


def job(module, clients=None, check=False, said=None, home="us-east-1", **given):
    """clients: what stands for AWS, by service. said: a list that takes warnings."""
    arguments = asked(module, **given)
    if "bucket" in given:
        arguments["bucket_owner"] = ACCOUNT
    made = clients or {}
    return Job(
        arguments,
        home,
        lambda service, *_config, **_where: made[service],
        Stop(),
        check,
        (said if said is not None else []).append,
        lambda: Instance("i-1", "us-east-1a", "us-east-1"),
    )
