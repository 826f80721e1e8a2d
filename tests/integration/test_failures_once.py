# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's output says a failure once."""

import json
import os
import subprocess

from conftest import REPO, TREE


def played(venv, directory, task=None, **arguments):
    tasks = [
        {
            "block": [{"coldstore.ebs.break_even_info": arguments, "register": "done", **(task or {})}],
            "rescue": [{"ansible.builtin.fail": {"msg": "{{ done.kind }} {{ ansible_failed_result.msg | length }}"}}],
        }
    ]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": str(venv / "bin/python")}
    (directory / "play.yml").write_text(json.dumps([play]))
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(TREE), ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8")
    command = [venv / "bin/ansible-playbook", "-i", "localhost,", "-c", "local", "play.yml"]
    return subprocess.run(command, cwd=directory, env=environment, text=True, capture_output=True, check=False)


def test_a_failure_of_a_module_is_one_line(venv, tmp_path):
    """Not one of the result, and one before it."""
    ran = played(venv, tmp_path, compression=[0])
    assert ran.returncode == 2
    assert (ran.stdout + ran.stderr).count("compression has to be above 0") == 1
    assert "refused 42" in ran.stdout  # what a role is told of it


def test_a_role_may_try_again_or_judge_by_itself(venv, tmp_path):
    """What a task says of retries and failure holds."""
    again = played(venv, tmp_path, {"until": "done is not failed", "retries": 1, "delay": 0}, compression=[0])
    assert "RETRYING" in again.stdout
    assert again.returncode == 2
    assert played(venv, tmp_path, {"failed_when": "done.kind != 'refused'"}, compression=[0]).returncode == 0


def test_what_is_no_message_of_ours_stays_as_ansible_says_it(venv, tmp_path):
    """An argument that does not exist, say."""
    ran = played(venv, tmp_path, nonsense=1)
    assert ran.returncode == 2
    assert "Unsupported parameters" in ran.stdout + ran.stderr


def test_every_module_has_its_action():
    """Or its failures would be said twice."""
    modules = {path.name for path in (REPO / "plugins" / "modules").glob("[a-z]*.py")}
    assert {path.name for path in (REPO / "plugins" / "action").glob("[a-z]*.py")} == modules
