# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the README and of the pages of docs, each as it is printed, in their order, with the README's inventory: from a
controller that knows the workers by ssh alone, to workers that nothing was ever done on, with a root disk as people have them.

Everything else is environment: which ports 10.0.0.11 and 10.0.0.12 are reached at, and where AWS is.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack

import disks
import pytest
from bills import LAST_MONTH, Bill
from conftest import LAB, REPO, TREE, Lab
from hosts import Host
from test_root_disk import root_disk
from trees import mounted

# The keys of the workers and of the analysis, which may do what the policies in docs/permissions.md say; and what of that is not used here.
WORKER, ANALYST = "AKIAREADMEWORKER0000", "AKIAREADMEANALYST000"
SELDOM = {
    WORKER: {  # a bucket with versions, archives that sleep, uploads that are resumed
        "s3:GetObjectVersion", "s3:RestoreObject", "s3:ListMultipartUploadParts",
    },
    ANALYST: {  # exact_volumes, other accounts, all regions
        "ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "sts:AssumeRole", "ec2:DescribeRegions",
    },
}  # fmt: skip
SNAPSHOT, VOLUME, OTHER = "snap-0123456789abcdef0", "vol-0123456789abcdef0", "snap-0123456789abcdef1"
DEAR = "snap-0123456789abcdef2"  # nobody has tagged it; the bill says that it is worth moving
# In the order in which their commands are run; develop.md has a test of its own, and the others have no commands.
ORDER = ["README.md", "docs/migrate.md", "docs/glacier.md", "docs/restore.md", "docs/costs.md"]
OTHERS = {f"docs/{path.name}" for path in (REPO / "docs").glob("*.md")} - {*ORDER, "docs/develop.md"}
# What is printed and not run here.
ELSEWHERE = {
    "git clone https://github.com/coldstore-ebs/coldstore.ebs && cd coldstore.ebs": "a clone of this",
    "make demo": "make test runs it",
    "ansible-galaxy collection install coldstore.ebs": "the demo installs what it has built, without Galaxy",
    "ansible-playbook coldstore.ebs.migrate -i inventory.yml -e @FILE": "FILE is a name that the analysis gives",
}  # fmt: skip


def blocks(page, language=""):
    """The texts between ``` and ``` of that language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", (REPO / page).read_text(), re.MULTILINE | re.DOTALL)
    return [text for its, text in found if its == language]


def commands(page):
    """What is printed to be typed, in order: in blocks without a language, and as code that begins with ansible-playbook."""
    for text in blocks(page):
        command = ""
        for line in text.splitlines():
            command = f"{command}\n{line}".strip()
            if not line.endswith("\\") and _closed(command):
                yield command.partition("  #")[0].strip()
                command = ""
    yield from re.findall(r"`(ansible-playbook [^`]*)`", (REPO / page).read_text())


def _closed(command):
    try:
        shlex.split(command)
    except ValueError:  # within quotes
        return False
    return True


def policies():
    """{key: actions} of the policies that are printed, without those of KMS, which the lab does not ask for."""
    for key, text in zip((WORKER, ANALYST), blocks("docs/permissions.md", "json")):
        listed = [statement["Action"] for statement in json.loads(text)["Statement"]]
        actions = {action for some in listed for action in ([some] if isinstance(some, str) else some)}
        yield key, {action for action in actions if not action.startswith("kms:")}


COMMANDS = [each for page in ORDER for each in commands(page) if each not in ELSEWHERE]


@pytest.fixture(scope="module")
def own_lab():
    """A lab of its own: in that of the session other snapshots wait in the queue."""
    directory = tempfile.mkdtemp(prefix="coldstore-readme.", dir=REPO / ".build")
    try:
        lab = Lab(directory)
        for name in ("my-archives", "my-bills"):
            lab.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": lab.state["region"]})
        image = lab.directory / "root.img"
        root_disk(image)
        os.truncate(image, 1 << 30)
        subprocess.run(["sfdisk", "--quiet", "--relocate", "gpt-bak-std", image], check=True, stderr=subprocess.DEVNULL)
        with disks.attached(image) as device, mounted(f"{device}p1", "rw") as root:
            for name in ("var/lib/postgresql/15/main/PG_VERSION", "etc/host.conf", "srv/app/lost-file.db", "home/me/letter"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(f"{name}\n")
        small = lab.directory / "small.img"
        small.write_bytes(b"")
        dear = lab.directory / "dear.img"
        disks.clone(image, dear)
        bill = Bill(LAST_MONTH)
        for snapshot_id, file, gib in ((SNAPSHOT, image, 1), (OTHER, small, 1), (DEAR, dear, 500)):
            bill.snapshot(snapshot_id, 2048 * gib, account=lab.account, region=lab.state["region"])
            request = {
                "snapshot_id": snapshot_id, "volume_id": snapshot_id.replace("snap", "vol"), "size": 1, "description": "of the pages",
                "tags": {} if snapshot_id == DEAR else {"snap-to-s3": "migrate"}, "start_time": "2017-01-01T00:00:00+00:00", "image": str(file),
            }  # fmt: skip
            lab.call("snapshot", request)
        file = bill.write(lab.directory, "cur2.csv.gz")
        for key, actions in policies():
            lab.call("policy", {"key": key, "actions": sorted(actions)})
        lab.s3.upload_file(str(file), "my-bills", f"cur/data/BILLING_PERIOD={LAST_MONTH}/bill.csv.gz")
        yield lab
    finally:
        subprocess.run([sys.executable, str(LAB), "--state", directory, "down"], check=True)


@pytest.fixture(scope="module")
def aws():
    """The AWS CLI, in an environment of its own: it wants older libraries than the tests."""
    place = REPO / ".build" / "awscli"
    if not (place / "bin" / "aws").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", "awscli==1.46.3"], check=True)
    return place / "bin"


@pytest.fixture(scope="module")
def people(own_lab):
    """(controller, worker1, worker2), the controller with the README's inventory.yml in /srv/readme."""
    with ExitStack() as stack:
        controller, *workers = (
            stack.enter_context(Host(own_lab.directory / name)) for name in ("controller", "worker1", "worker2")
        )
        key = "/root/.ssh/readme"
        controller.run("sh", "-c", f"mkdir -p /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f {key}")
        known = f"StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nIdentityFile {key}\n"
        for address, worker in zip(("10.0.0.11", "10.0.0.12"), workers):
            worker.listen(controller.run("cat", f"{key}.pub"))
            known_there = {**own_lab.environment, "AWS_ACCESS_KEY_ID": WORKER}
            worker.write("/etc/environment", "".join(f"{name}={value}\n" for name, value in known_there.items()))
            known += f"Host {address}\n  HostName 127.0.0.1\n  Port {worker.port}\n"
        controller.write("/root/.ssh/config", known, "0600")
        controller.write("/srv/readme/inventory.yml", *blocks("README.md", "yaml"))
        controller.run("mkdir", "/target")
        yield controller, *workers


@pytest.fixture(scope="module")
def typed(own_lab, people, aws):
    """Types a command on the controller; its output, wrapped lines joined."""
    environment = {
        "HOME": "/root", "PATH": f"{REPO}/.build/venv/bin:{aws}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(TREE), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1",
        "AWS_REGION": own_lab.state["region"], **own_lab.environment,
    }  # fmt: skip

    def run(command, code=0):
        line = people[0].command("bash", "-o", "pipefail", "-c", f"cd /srv/readme && {command}")
        mine = {**environment, "AWS_ACCESS_KEY_ID": ANALYST} if ".analyze " in command else environment
        done = subprocess.run(line, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=mine)
        assert done.returncode == code, f"{command}\n{done.stdout[-6000:]}"
        return " ".join(done.stdout.split())

    return run


def test_every_command_does_what_its_page_says(own_lab, people, typed):
    """In order; each has a check of its own below."""
    assert len(COMMANDS) == len(CHECKS), COMMANDS
    for command, (begins, check) in zip(COMMANDS, CHECKS):
        assert re.search(begins, command), (begins, command)
        check(own_lab, people, typed(command))


def test_no_command_is_printed_where_nothing_runs_it():
    """Code that begins with ansible, aws or make: of the pages above, and of docs/develop.md below."""
    for page in OTHERS:
        printed = re.findall(r"^(?:ansible|aws|make|python|\.build)[^:\n]* .*", "".join(blocks(page)), re.MULTILINE)
        assert printed + re.findall(r"`(ansible-playbook [^`]*)`", (REPO / page).read_text()) == [], page


def test_the_lab_is_run_by_hand_as_its_page_says():
    """All of docs/develop.md but the targets of make, in one shell, with a lab of its own in place of .build/lab."""
    targets, *rest = blocks("docs/develop.md")
    assert all(line.startswith("make ") for line in targets.splitlines())
    with tempfile.TemporaryDirectory(prefix="by-hand.", dir=REPO / ".build") as directory:
        script = "".join(rest).replace(".build/lab", f"{directory}/lab")
        try:
            done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=REPO, check=False, text=True, capture_output=True)
        finally:
            subprocess.run([sys.executable, str(LAB), "--state", f"{directory}/lab", "down"], check=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"snap-00000000000000004 .* validated", done.stdout), done.stdout[-4000:]


@pytest.mark.parametrize("key", [WORKER, ANALYST])
def test_a_printed_policy_allows_what_its_commands_do_and_little_else(own_lab, key):
    """More was refused above, as AWS would; what was not needed above is known, and for what."""
    used = own_lab.call("policy", {"key": key})["used"]
    assert dict(policies())[key] - set(used) == SELDOM[key]


def tags(lab, snapshot_id):
    found = lab.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0].get("Tags", [])
    return {pair["Key"]: pair["Value"] for pair in found}


def mark(lab, snapshot_id):
    return tags(lab, snapshot_id)["snap-to-s3"]


def nothing_but_a_look(lab, people, output):
    """The first command, on workers that nothing was ever done on."""
    assert f"{SNAPSHOT} of {VOLUME}, at most 1 GiB" in output
    assert (lab.keys("my-archives"), mark(lab, SNAPSHOT), lab.volumes()) == ([], "migrate", [])
    for worker in people[1:]:
        worker.run("/opt/coldstore-ebs/bin/python", "-c", "import boto3")


def migrated(lab, _people, _output):
    assert [mark(lab, each) for each in (SNAPSHOT, OTHER)] == ["validated", "validated"]
    archive = next(key for key in lab.keys("my-archives") if key.endswith(f"{SNAPSHOT}.1.tar.zst"))
    assert lab.s3.head_object(Bucket="my-archives", Key=archive)["StorageClass"] == "GLACIER_IR"
    assert lab.volumes() == []


def nothing_left_to_do(_lab, _people, output):
    assert "no snapshot is waiting" in output


def validated(lab, _people, output):
    assert re.search(rf"{SNAPSHOT} .*validated", output)
    assert [key for key in lab.keys("my-archives") if SNAPSHOT in key and key.endswith(".archive.json")]


def ruled(lab, _people, _output):
    rules = lab.s3.get_bucket_lifecycle_configuration(Bucket="my-archives")["Rules"]
    assert [each["ID"] for each in rules] == ["coldstore-sleep", "coldstore-abort"]


def found(_lab, _people, output):
    assert "srv/app/lost-file.db" in output
    assert SNAPSHOT in output


def first_files_are_back(_lab, people, _output):
    assert people[1].run("cat", "/srv/first/etc/host.conf") == "etc/host.conf\n"
    assert people[1].run("sh", "-c", "ls /srv/first").split() == ["etc"]


def files_are_back(_lab, people, _output):
    assert people[1].run("sh", "-c", "cd /srv/restored && find . -type f | sort").split() == [
        "./etc/host.conf", "./var/lib/postgresql/15/main/PG_VERSION",
    ]  # fmt: skip


def disk_is_back(lab, _people, output):
    filters = [{"Name": "tag:coldstore.ebs:restored", "Values": [SNAPSHOT]}]
    (made,) = lab.ec2.describe_volumes(Filters=filters)["Volumes"]
    assert (made["State"], made["Size"]) == ("available", 1)
    assert f"{SNAPSHOT} to {made['VolumeId']}" in output
    lab.ec2.delete_volume(VolumeId=made["VolumeId"])


def extracted(_lab, people, _output):
    assert people[0].run("cat", "/target/home/me/letter") == "home/me/letter\n"


def drilled(lab, _people, output):
    for each in (SNAPSHOT, OTHER):
        assert re.search(f'"{each} [^"]* equal"', output)
    assert lab.volumes() == []


def analysed(_lab, people, output):
    assert SNAPSHOT in people[0].run("cat", "/srv/reports/snapshots.csv")
    assert VOLUME in output


def would_be_tagged(lab, _people, output):
    assert "1 snapshots would be tagged for migrate.yml" in output
    assert f"DEEP_ARCHIVE, tar: {DEAR}" in output
    assert "saves about $25.00 a month" in output
    assert tags(lab, DEAR) == {}


def tagged(lab, _people, output):
    assert "1 snapshots were tagged for migrate.yml" in output
    assert tags(lab, DEAR) == {"snap-to-s3": "migrate", "snap-to-s3-storage-class": "DEEP_ARCHIVE", "snap-to-s3-format": "tar"}


def migrated_as_advised(lab, _people, output):
    """Not to the class of the inventory: the rule of the page about Glacier moves it."""
    assert "DEEP_ARCHIVE" in output
    assert tags(lab, DEAR) == {"snap-to-s3": "validated"}
    key = next(key for key in lab.keys("my-archives") if DEAR in key and key.endswith((".tar.zst", ".img.zst")))
    labels = lab.s3.get_object_tagging(Bucket="my-archives", Key=key)["TagSet"]
    assert {"Key": "coldstore.ebs:class", "Value": "DEEP_ARCHIVE"} in labels


def worked_out(_lab, _people, output):
    assert "DEEP_ARCHIVE" in output


CHECKS = [
    ("migrate .*--check", nothing_but_a_look),
    ("migrate", migrated),
    ("coldstore_restore_directory=/srv/first", first_files_are_back),
    ("migrate .*coldstore_snapshots", nothing_left_to_do),
    ("validate", validated),
    ("put-bucket-lifecycle", ruled),
    ("snapshot_archive_info", found),
    ("coldstore_restore_directory", files_are_back),
    ("restore", disk_is_back),
    ("aws s3 cp", extracted),
    ("drill", drilled),
    ("coldstore_cost_directory", analysed),
    ("apply=true --check", would_be_tagged),
    ("apply=true", tagged),
    ("migrate", migrated_as_advised),
    ("breakeven", worked_out),
]
