# SPDX-License-Identifier: GPL-3.0-or-later
"""8. What a hostile filesystem or archive holds cannot reach outside: mounts are nosuid, nodev, noexec, in a private
namespace; restore never writes outside its target."""

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import pax
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from conftest import TREE
from fakes import SNAPSHOT, BytesSource
from helpers import restored, settings

LOOK = """
import os, sys
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, mounts
disk = attached.inspect(sys.argv[1])
with mounts.mounted(disk, Stop()) as treatments:
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


@pytest.mark.parametrize(
    "members",
    [
        [(b"../outside", b"0", b"")],
        [(b"way", b"2", b".."), (b"way/outside", b"0", b"")],
        [(b"way", b"2", b"../secret"), (b"other", b"1", b"way"), (b"other/x", b"0", b"")],
        [(b"mine", b"1", b"../secret")],
    ],
)
def test_invariant_8_an_archive_that_leads_out_is_restored_nowhere_else(memory, tmp_path, members):
    """Its checksums, index and manifest are all in order: only where it writes is not."""
    stream = b"".join(pax.header(name, kind, 0o666, 0, 0, 0, link=link) for name, kind, link in members) + pax.END
    source = BytesSource(stream)
    source.kind = "tar"
    piece = archive.Section(None, source, len(stream))
    entry = archive.archive_snapshot(memory, SNAPSHOT, {}, "tar", [piece], settings()).manifest["archives"][0]
    (tmp_path / "secret").write_bytes(b"secret")
    target = DirectoryTarget(str(tmp_path / "out"))
    with pytest.raises(ColdstoreError, match=r"leads out|in the way|hard link"):
        restored(memory, entry, target)
    target.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "secret"]
    assert (tmp_path / "secret").stat().st_nlink == 1
    assert (tmp_path / "out" / ".coldstore-ebs.incomplete").exists()
