# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: the import path, one lab a session, buckets, and modules run as Ansible runs them."""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
TREE = REPO / ".build" / "tree"
LAB = REPO / "tests" / "lab"
MODULES = "ansible_collections.coldstore.ebs.plugins.modules"
for place in (str(TREE), str(LAB), str(REPO / "tests")):
    if place not in sys.path:
        sys.path.insert(0, place)

import boto3  # noqa: E402
import disks  # noqa: E402
import guard  # noqa: E402
from botocore.config import Config  # noqa: E402

disks.own_mounts()
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]  # only what the lab says counts


class Lab:
    """A running lab as tests see it."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self._run("up")
        self.state = json.loads((self.directory / "lab.json").read_text())
        spec = {
            "endpoint_url": self.state["endpoint"],
            "region_name": self.state["region"],
            "aws_access_key_id": self.state["access_key"],
            "aws_secret_access_key": self.state["secret_key"],
            "config": Config(retries={"mode": "standard", "total_max_attempts": 2}, s3={"payload_signing_enabled": False}),
        }
        self.s3 = boto3.client("s3", **spec)
        self.ec2 = boto3.client("ec2", **spec)
        self.ebs = boto3.client("ebs", **spec)
        self.account = self.state["account"]
        exported = self._run("env").stdout.split("\n")
        self.environment = dict(line.removeprefix("export ").split("=", 1) for line in exported if line)

    def _run(self, *arguments):
        command = [sys.executable, str(LAB), "--state", str(self.directory), *arguments]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran

    def seed(self, *names):
        lines = self._run("seed", *names).stdout.split("\n")
        return {line.split()[1]: line.split()[0] for line in lines if line}

    def call(self, what, data=None):
        import importlib.util

        spec = importlib.util.spec_from_file_location("lab_main", LAB / "__main__.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.call(self.state, what, data)

    @contextmanager
    def faults(self, *rules):
        """Inject faults while the body runs; yields a function that tells which struck."""
        self.call("faults", list(rules))
        try:
            yield lambda: self.call("faults")["hits"]
        finally:
            self.call("faults", [])

    def calls(self):
        """What the lab was asked for since the last look: service and operation."""
        return self.call("calls", {})["calls"]

    @contextmanager
    def thawing(self, seconds):
        """A thaw takes so long; those under way as well. When the body ends they are over."""
        self.call("thawing", seconds)
        try:
            yield
        finally:
            self.call("thawing", 0)

    def damage(self, bucket, key, offset):
        self.call("damage", {"bucket": bucket, "key": key, "offset": offset})

    def new_bucket(self):
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.state["region"]})
        return name

    def keys(self, bucket, prefix=""):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def volumes(self):
        return [
            v["VolumeId"]
            for v in self.ec2.describe_volumes(Filters=[{"Name": "tag-key", "Values": ["coldstore.ebs:snapshot"]}])["Volumes"]
        ]

    def uploads(self, bucket):
        return self.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])

    def start_module(self, name, check=False, **arguments):
        """Begin a module as Ansible would; returns the process."""
        file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, dir=self.directory)
        with file:
            json.dump({"ANSIBLE_MODULE_ARGS": dict(arguments, _ansible_check_mode=check, _ansible_remote_tmp="/tmp")}, file)
        environment = {**os.environ, "PYTHONPATH": str(TREE), **self.environment}
        command = [sys.executable, "-m", f"{MODULES}.{name}", file.name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd="/")

    def module(self, name, check=False, **arguments):
        """Run a module; its result."""
        return result_of(self.start_module(name, check, **arguments))

    def ok(self, name, **arguments):
        """Run a module that has to succeed."""
        result = self.module(name, **arguments)
        assert not result.get("failed"), result["msg"]
        return result

    def attach(self, snapshot_id, **arguments):
        return self.ok("ebs_temp_volume", snapshot_id=snapshot_id, poll_interval=0.1, **arguments)

    def detach(self, volume_id):
        return self.ok("ebs_temp_volume", state="absent", volume_id=volume_id, poll_interval=0.1)


def result_of(process):
    output, errors = process.communicate(timeout=300)
    lines = [line for line in output.split("\n") if line.startswith("{")]
    assert lines, f"the module printed no result: {output}{errors}"
    return json.loads(lines[-1])


@pytest.fixture(scope="session", autouse=True)
def guarded(tmp_path_factory):
    """However this run ends, what it started ends with it: processes, labs, loop devices."""
    os.environ[guard.VARIABLE] = uuid.uuid4().hex
    pids = [os.getpid(), *([os.getppid()] if "PYTEST_XDIST_WORKER" in os.environ else [])]
    labs = str(REPO / ".build" / f"coldstore-lab.{os.getpid()}.*")
    guard.start(os.environ[guard.VARIABLE], pids, clear=[labs], detach=[str(tmp_path_factory.getbasetemp())])


@pytest.fixture(scope="session")
def venv(tmp_path_factory):
    """Stands for the virtual environment of a worker: the tests' own."""
    return REPO / ".build" / "venv"


def start(lab, bucket, venv, playbook="migrate", hosts=("lane1",), check=False, limit=None, **variables):
    """Begin a playbook; the variables are in the inventory of the workers, or given with -e where there are none."""
    directory = lab.directory / f"play-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    given = {
        "coldstore_bucket": bucket, "coldstore_become": False, "coldstore_prepare_workers": False,
        "coldstore_poll_interval": 0.1, "coldstore_venv": str(venv), **variables,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}  # None: a variable that nobody set
    inventory = {
        "workers": {
            "hosts": hosts if isinstance(hosts, dict) else {host: {} for host in hosts},
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": str(venv / "bin/python"), **given},
        }
    }
    (directory / "inventory.json").write_text(json.dumps(inventory))
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(TREE), LC_ALL="C.UTF-8", **lab.environment)
    environment["ANSIBLE_NOCOLOR"] = "1"
    command = [str(venv / "bin/ansible-playbook"), f"coldstore.ebs.{playbook}", "-i", "inventory.json"]
    options = [
        *([] if hosts else ["-e", json.dumps(given)]),
        *(["--check"] if check else []),
        *(["--limit", limit] if limit else []),
    ]
    return subprocess.Popen(
        [*command, *options], cwd=directory, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finished(process, code=0):
    output, _none = process.communicate(timeout=500)
    assert process.returncode == code, output[-6000:]
    return output


@pytest.fixture(scope="session")
def lab():
    directory = tempfile.mkdtemp(prefix=f"coldstore-lab.{os.getpid()}.", dir=REPO / ".build")
    running = None
    try:
        running = Lab(directory)
        yield running
    finally:
        subprocess.run([sys.executable, str(LAB), "--state", directory, "down"], check=True)


@pytest.fixture(scope="session")
def seeds(lab):
    """{name: snapshot id} of all seeds; at the end the lab has no others."""
    made = lab.seed()
    yield made
    there = lab.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    left = {each["SnapshotId"]: each["Description"] for each in there if each["SnapshotId"] not in made.values()}
    assert not left, f"snapshots that a test left behind, and that others count: {left}"


@pytest.fixture
def snapshot(lab):
    """A function that makes a small snapshot of nothing, for one test."""
    made = []

    def make(owner=None, tags=None):
        image = lab.directory / f"{uuid.uuid4().hex}.img"
        image.write_bytes(b"")
        name = uuid.uuid4().hex[:17]
        request = {
            "snapshot_id": f"snap-{name}", "volume_id": f"vol-{name}", "size": 1, "description": "d", "tags": tags or {},
            "start_time": "2020-01-01T00:00:00+00:00", "image": str(image), "owner": owner,
        }  # fmt: skip
        lab.call("snapshot", request)
        made.append(f"snap-{name}")
        return f"snap-{name}"

    yield make
    for each in made:
        with suppress(lab.ec2.exceptions.ClientError):  # the test deleted it
            lab.ec2.delete_snapshot(SnapshotId=each)


@pytest.fixture
def bucket(lab):
    return lab.new_bucket()


@pytest.fixture
def store(lab, bucket):
    from ansible_collections.coldstore.ebs.plugins.module_utils.common.retry import Policy
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store

    quick = Policy(attempts=4, base=0.001)
    return Store(lab.s3, bucket, owner=lab.account, policy=quick, patience=quick)


@pytest.fixture
def memory():
    """A bucket in memory: for what a test says of the engine, not of a server."""
    from ansible_collections.coldstore.ebs.plugins.module_utils.common.retry import Policy
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
    from memory import ACCOUNT, MemoryS3

    quick = Policy(attempts=4, base=0.001)
    return Store(MemoryS3("b"), "b", owner=ACCOUNT, policy=quick, patience=quick)


@pytest.fixture
def clock():
    """A clock that waiting moves, and tests."""
    from fakes import MovedClock

    return MovedClock()


@pytest.fixture
def timed(clock):
    """A bucket in memory by that clock, with little patience."""
    from ansible_collections.coldstore.ebs.plugins.module_utils.common.retry import Policy
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
    from memory import MemoryS3

    return Store(MemoryS3("b", clock=clock), "b", clock=clock, policy=Policy(attempts=2, base=0))


@pytest.fixture
def blank_device(tmp_path):
    """A loop device of 8 MiB of zeros."""
    image = tmp_path / "blank.img"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    device = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
