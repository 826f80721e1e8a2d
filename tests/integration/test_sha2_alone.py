# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker in FIPS mode: modules, amazon.aws and botocore in a Python that has SHA-2 and no other digest."""

import os

from conftest import REPO, TREE
from trees import compare, mounted


def test_modules_work_with_sha2_alone(lab, bucket, seeds, tmp_path, monkeypatch):
    """An archive, its full validation, and its files."""
    monkeypatch.setitem(lab.environment, "PYTHONPATH", os.pathsep.join([str(REPO / "tests" / "fips"), str(TREE)]))
    snapshot = seeds["tagged"]
    volume = lab.attach(snapshot)
    try:
        given = {"bucket": bucket, "snapshot_id": snapshot, "volume_id": volume["volume_id"]}
        lab.ok("snapshot_archive_s3", **given)
        assert lab.ok("snapshot_validate", level="full", **given)["result"] == "equal"
        lab.ok("snapshot_restore", bucket=bucket, snapshot_id=snapshot, directory=str(tmp_path / "restored"))
        with mounted(volume["device"]) as tree:
            assert compare(tree, tmp_path / "restored") == []
    finally:
        lab.detach(volume["volume_id"])
