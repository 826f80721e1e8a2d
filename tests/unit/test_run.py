# SPDX-License-Identifier: GPL-3.0-or-later
"""A module from its arguments to its result, as the adapter runs any flow."""

import json
import os
import signal

import pytest
from ansible.module_utils import basic
from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt

SPEC = {"one": {"type": "int", "default": 1}, **arguments.TAG}


@pytest.fixture
def ran(monkeypatch, capsys):
    """A function that runs a flow as a module; its result."""

    def ran(flow, code=0, check=False, on_worker=False, **given):
        words = {"ANSIBLE_MODULE_ARGS": dict(given, _ansible_check_mode=check)}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(words).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit) as ended:
            run.main(SPEC, flow, on_worker)
        assert ended.value.code == code
        return json.loads(capsys.readouterr().out)

    return ran


def test_a_flow_gets_its_arguments_and_gives_its_result(ran):
    """With the defaults of the spec, the check mode, and warnings."""

    def flow(job):
        job.warn("look")
        return {"changed": job.check_mode, "sum": job.asked["one"] + 1, "home": job.home}

    result = ran(flow, check=True, region="eu-west-1")
    assert (result["changed"], result["sum"], result["home"]) == (True, 2, "eu-west-1")
    assert "look" in json.dumps(result["warnings"])


def test_an_error_is_a_failure_with_its_kind_and_facts(ran):
    """Text without Python's quotes; numbers as they are."""

    def flow(_job):
        raise Corrupt("broken", "Do this.", path=b"a/b", code="X", offset=5)

    result = ran(flow, 1)
    assert result["msg"].startswith("broken")
    assert (result["failed"], result["kind"], result["facts"]) == (True, "corrupt", {"path": "a/b", "code": "X", "offset": 5})


def test_a_result_may_be_a_failure(ran):
    """With all of what it says."""
    result = ran(lambda _job: {"failed": True, "msg": "differs", "differences": [1]}, 1)
    assert (result["failed"], result["msg"], result["differences"]) == (True, "differs", [1])


def test_an_error_of_nobodys_is_a_bug_and_has_a_trace(ran):
    """It is not made to look like an answer."""
    with pytest.raises(ZeroDivisionError):
        ran(lambda _job: 1 // 0)


def test_a_signal_is_a_stop_and_the_failure_says_which(ran):
    """After whatever the flow does about it."""

    def flow(job):
        os.kill(os.getpid(), signal.SIGTERM)
        job.stop.check()

    assert "received SIGTERM" in ran(flow, 1)["msg"]


def test_a_tag_that_aws_would_refuse_is_refused_before_anything(ran):
    """Whatever the flow."""
    result = ran(lambda _job: {"changed": True}, 1, tag="aws:mine")
    assert result["kind"] == "refused"


def test_on_a_worker_the_region_is_that_of_the_instance_which_is_asked_once(ran, monkeypatch):
    """And an argument is stronger."""
    asked = []

    def instance():
        asked.append(1)
        return run.identity.Instance("i-1", "eu-north-1a", "eu-north-1")

    monkeypatch.setattr(run.identity, "this_instance", instance)
    found = ran(lambda job: {"home": job.home, "id": job.instance().instance_id}, on_worker=True)
    assert (found["home"], found["id"], asked) == ("eu-north-1", "i-1", [1])
    assert ran(lambda job: {"home": job.home}, on_worker=True, region="eu-west-1")["home"] == "eu-west-1"
