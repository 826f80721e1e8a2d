# SPDX-License-Identifier: GPL-3.0-or-later
"""The EXAMPLES of every module, run one after the other as one playbook against the lab.

They name the lab's snapshots, and variables that an example before them registered.
"""

import ast
import json
import os
import subprocess

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


def test_the_examples_run(lab, seeds, bucket, venv, tmp_path):
    """Every one of them, of every module; then the volumes are removed that no example removes."""
    assert {path.stem for path in (REPO / "plugins" / "modules").glob("[a-z]*.py")} == {*ORDER, "ebs_temp_volume"}
    attach, empty, remove = examples("ebs_temp_volume")
    tasks = [
        attach,
        empty,
        dict(volume("A volume to image", snapshot_id=seeds["unknown"], format="image"), register="image_volume"),
        *(task for module in ORDER for task in examples(module)),
        remove,
        volume("Remove that of the image", state="absent", volume_id="{{ image_volume.volume_id }}"),
        volume("Remove the restored one", state="absent", volume_id="{{ fresh.volume_id }}"),
    ]
    bill = tmp_path / "september.csv.gz"
    lab._run("bill", str(bill))
    lab.s3.upload_file(str(bill), bucket, f"cur/data/BILLING_PERIOD={LAST_MONTH}/september.csv.gz")
    text = json.dumps(tasks)
    for ours, theirs in (("/tmp/", f"{tmp_path}/"), ("/srv/bills", str(tmp_path)), ("my-archives", bucket), ("my-bills", bucket)):
        assert ours in text
        text = text.replace(ours, theirs)
    play = {
        "hosts": "localhost", "gather_facts": False, "tasks": json.loads(text),
        "module_defaults": {"coldstore.ebs.ebs_temp_volume": {"poll_interval": 0.1}},
        "vars": {"ansible_python_interpreter": str(venv / "bin/python")},
    }  # fmt: skip
    (tmp_path / "examples.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [venv / "bin/ansible-playbook", "-i", "localhost,", "-c", "local", "examples.yml"],
        cwd=tmp_path, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500,
        env=dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(TREE), ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8", **lab.environment),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"ok={len(tasks)} " in done.stdout, done.stdout[-3000:]
    assert [path.name for path in (tmp_path / "restored").rglob("*") if path.is_file()] == ["file 1"]
    assert not (tmp_path / "restored-all" / "big").exists()
    assert (tmp_path / "disk.img").stat().st_size == 1 << 30
    assert len((tmp_path / "september-snapshots.csv").read_text().splitlines()) == 1 + len(seeds)
    assert lab.volumes() == []
