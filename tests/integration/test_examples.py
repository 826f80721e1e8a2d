# SPDX-License-Identifier: GPL-3.0-or-later
"""The EXAMPLES of every module, run one after the other as one playbook against the lab.

They name the lab's snapshots, and variables that an example before them registered.
"""

import ast
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from bills import LAST_MONTH
from conftest import REPO, TREE

ORDER = (
    "preflight", "snapshot_archive_s3", "snapshot_validate", "snapshot_claim", "snapshot_archive_info", "snapshot_restore", "break_even_info",
    "cost_report_analyze",
)  # fmt: skip


def examples(module):
    tree = ast.parse((REPO / "plugins" / "modules" / f"{module}.py").read_text())
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return yaml.safe_load(ast.literal_eval(values["EXAMPLES"]))


def volume(name, **arguments):
    return {"name": name, "coldstore.ebs.ebs_temp_volume": arguments}


# What nobody may read anywhere: given to every module as arguments.
SECRETS = {"access_key": "AKIACANARY0000000000", "secret_key": "canary-secret-key", "session_token": "canary-session-token"}
HIDDEN = [SECRETS["secret_key"], SECRETS["session_token"]]


class Watch(threading.Thread):
    """Reads the command line of every process there is, again and again, and keeps those that hold a secret."""

    def __init__(self):
        super().__init__()
        self.seen, self.looks, self.over = set(), 0, threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = path.read_bytes()
                    if any(secret.encode() in line for secret in HIDDEN):
                        self.seen.add(line)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_unused):
        self.over.set()
        self.join()


@pytest.fixture(scope="module")
def ran(lab, seeds, venv, tmp_path_factory):
    """The examples of every module as one play at -vvvv: what was said, the directory, the bucket, and what was watched."""
    bucket, directory = lab.new_bucket(), tmp_path_factory.mktemp("examples")
    attach, empty, *remove = examples("ebs_temp_volume")
    tasks = [
        attach,
        empty,
        dict(volume("A volume to image", snapshot_id=seeds["unknown"], format="image"), register="image_volume"),
        *(task for module in ORDER for task in examples(module)),
        *remove,
        volume("Remove that of the image", state="absent", volume_id="{{ image_volume.volume_id }}"),
        volume("Remove the restored one", state="absent", volume_id="{{ fresh.volume_id }}"),
    ]
    bill = directory / "september.csv.gz"
    lab._run("bill", str(bill))
    lab.s3.upload_file(str(bill), bucket, f"cur/data/BILLING_PERIOD={LAST_MONTH}/september.csv.gz")
    text = json.dumps(tasks)
    for ours, theirs in (("/tmp/", f"{directory}/"), ("/srv/bills", str(directory)), ("my-archives", bucket), ("my-bills", bucket)):
        assert ours in text
        text = text.replace(ours, theirs)
    defaults = {f"coldstore.ebs.{module}": SECRETS for module in ORDER}
    play = {
        "hosts": "localhost", "gather_facts": False, "tasks": json.loads(text),
        "module_defaults": {**defaults, "coldstore.ebs.ebs_temp_volume": {"poll_interval": 0.1, **SECRETS}},
        "vars": {"ansible_python_interpreter": str(venv / "bin/python")},
    }  # fmt: skip
    (directory / "examples.yml").write_text(json.dumps([play]))
    environment = {
        **os.environ, **lab.environment, "ANSIBLE_COLLECTIONS_PATH": str(TREE), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8",
        "ANSIBLE_REMOTE_TEMP": f"{directory}/remote", "ANSIBLE_LOCAL_TEMP": f"{directory}/local",
    }  # fmt: skip
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.pop(name)
    with Watch() as watch:
        done = subprocess.run(
            [venv / "bin/ansible-playbook", "-vvvv", "-i", "localhost,", "-c", "local", "examples.yml"],
            cwd=directory, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500, env=environment,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"ok={len(tasks)} " in done.stdout, done.stdout[-3000:]
    return done.stdout, directory, bucket, watch


def test_the_watch_sees_what_it_watches_for():
    """Or what it does not see proves nothing."""
    with Watch() as watch:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1)", HIDDEN[0]], check=True)
    assert watch.seen


def test_the_examples_run(lab, seeds, ran):
    """Every one of them, of every module; then the volumes are removed that no example removes."""
    assert {path.stem for path in (REPO / "plugins" / "modules").glob("[a-z]*.py")} == {*ORDER, "ebs_temp_volume"}
    _said, directory, _bucket, _watch = ran
    assert [path.name for path in (directory / "restored").rglob("*") if path.is_file()] == ["file 1"]
    assert not (directory / "restored-all" / "big").exists()
    assert (directory / "disk.img").stat().st_size == 1 << 30
    assert len((directory / "september-snapshots.csv").read_text().splitlines()) == 1 + len(seeds)
    assert lab.volumes() == []


def test_invariant_6_no_module_lets_a_secret_out(lab, ran):
    """Not into what -vvvv prints, any command line, files that are written, what stays of temporary ones, or the bucket."""
    said, directory, bucket, watch = ran
    assert "module_args" in said
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in said
    assert watch.looks > 20
    assert watch.seen == set()
    hidden = [*HIDDEN, lab.state["secret_key"], "lab-session"]
    assert [secret for secret in hidden if secret in said] == []
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in ("examples.yml", "disk.img"):
            content = path.read_bytes()
            assert not [secret for secret in hidden if secret.encode() in content], path
    for key in lab.keys(bucket):
        body = lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        if key.endswith((".index.zst", ".tar.zst")):
            body += subprocess.run(["zstd", "-dc"], input=body, capture_output=True, check=True).stdout
        assert not [secret for secret in hidden if secret.encode() in body], key
