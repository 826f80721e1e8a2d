# SPDX-License-Identifier: GPL-3.0-or-later
"""8. What a hostile filesystem holds cannot reach outside: mounts are nosuid, nodev, noexec, in a private namespace."""

import subprocess
import sys
from pathlib import Path

from conftest import TREE

LOOK = """
import os, sys
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, mounts
disk = attached.inspect(sys.argv[1])
with mounts.mounted(disk) as treatments:
    for line in open("/proc/self/mounts"):
        if " /mnt" in line:
            print("MOUNT", line.strip())
    path = treatments[0].path
    try:
        os.close(os.open(path + "/null", os.O_RDONLY))
        print("DEVICE OPENED")
    except PermissionError:
        print("device refused")
    try:
        open(path + "/new", "w")
        print("WRITTEN")
    except OSError:
        print("write refused")
    sys.stdout.flush()
    if sys.argv[2:] == ["die"]:
        os.kill(os.getpid(), 9)
"""


def look(device, *words):
    command = [sys.executable, "-c", LOOK, device, *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(TREE), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False
    )


def test_invariant_8_a_device_node_in_a_snapshot_is_no_device(lab, seeds):
    """Nor can anything be run or written; and nobody else sees the mount, not even after a SIGKILL."""
    volume = lab.attach(seeds["awkward"])
    try:
        for words in ((), ("die",)):
            done = look(volume["device"], *words)
            mounts = [line for line in done.stdout.splitlines() if line.startswith("MOUNT") and volume["device"] in line]
            assert len(mounts) == 1, done
            options = mounts[0].split()[4].split(",")
            assert {"ro", "nosuid", "nodev", "noexec"} <= set(options)
            assert "device refused" in done.stdout
            assert "write refused" in done.stdout
            assert volume["device"] not in Path("/proc/mounts").read_text()
    finally:
        lab.detach(volume["volume_id"])


def test_invariant_8_a_superblock_that_asks_to_panic_is_overruled(lab, seeds):
    """errors=panic is in the filesystem; the mount says remount-ro."""
    volume = lab.attach(seeds["empty"])
    try:
        subprocess.run(["tune2fs", "-e", "panic", volume["device"]], check=True, capture_output=True)
        done = look(volume["device"])
        mounts = [line for line in done.stdout.splitlines() if line.startswith("MOUNT") and volume["device"] in line]
        assert "errors=panic" not in mounts[0]
        assert "errors=remount-ro" in mounts[0]
    finally:
        lab.detach(volume["volume_id"])
