# SPDX-License-Identifier: GPL-3.0-or-later
"""A test run or a demo that is ended in the middle leaves nothing behind; a lab that was started by hand stays."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import disks
import guard
import pytest
import seed
from conftest import LAB, REPO

# What tests have under way: a lab with a volume attached, a device, a mount, a process that does not end by itself.
BUSY = """
import json, os, subprocess, sys, time

def test_busy(lab, blank_device, tmp_path):
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    point = tmp_path / "mounted"
    point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", blank_device], check=True)
    subprocess.run(["mount", blank_device, point], check=True)
    lab.seed("empty")
    volume = lab.attach("snap-00000000000000007")
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(900)"
    process = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, cwd=point)
    said = {"lab": str(lab.directory), "devices": [blank_device, volume["device"]], "pids": [os.getpid(), lab.state["pid"], process.pid]}
    with open(os.environ["SAID"] + ".new", "w") as file:
        json.dump(said, file)
    os.rename(os.environ["SAID"] + ".new", os.environ["SAID"])
    time.sleep(900)
"""


def until(what, seconds=240):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.2)


def devices_below(*directories):
    return [device for directory in directories for device in disks.attached_below(directory)]


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGKILL, 1)])
def test_a_test_run_that_is_ended_leaves_nothing(tmp_path, number, workers):
    """No process, lab, mount or loop device; with workers it is the one that started them which is killed."""
    (tmp_path / "test_busy.py").write_text(BUSY)
    said = tmp_path / "said"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment.update(PYTHONPATH=str(REPO / "tests"), SAID=str(said))
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(REPO / "pyproject.toml"), "-p", "conftest"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temp"), *(["-n", str(workers)] if workers else [])]
    with subprocess.Popen([*command, str(tmp_path / "test_busy.py")], env=environment) as run:
        until(lambda: said.exists() or run.poll() is not None)
        there = json.loads(said.read_text())
        assert len(devices_below(there["lab"], tmp_path)) == 2
        run.send_signal(number)
        run.wait(60)
    until(lambda: not any(guard.lives(pid) for pid in there["pids"]))
    until(lambda: not devices_below(there["lab"], tmp_path) and not Path(there["lab"]).exists())


def test_a_demo_that_is_ended_leaves_nothing():
    """In the middle of a migration: it has volumes attached and modules at work."""
    demo = subprocess.Popen([REPO / "tests" / "demo.sh"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: demo.poll() is not None or (directory_of(demo.pid) and devices_below(directory_of(demo.pid))))
        mark = directory_of(demo.pid)
        assert guard.marked(mark.name)
    finally:
        demo.terminate()
        demo.wait(120)
    until(lambda: not guard.marked(mark.name))
    until(lambda: not devices_below(mark) and not mark.exists())


def directory_of(pid):
    """Where a demo lives: its guard names it and the demo's process."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(LAB / "guard.py").encode().endswith(words[1] if len(words) > 1 else b"-") and str(pid).encode() in words:
            return Path(words[words.index(b"--clear") + 1].decode())
    return None


def test_seeds_in_the_making_are_let_go(tmp_path):
    """Whoever was killed over them: nobody else is at it while it is cleared up."""
    image = seed.CACHE / f"{tmp_path.name}.new"
    holder = subprocess.Popen(["sleep", "600"])
    try:
        with seed.alone():
            with open(image, "wb") as file:
                file.truncate(8 << 20)
            device = disks._connect(image)
            guard.start(tmp_path.name, [holder.pid])
            holder.kill()
            time.sleep(1)
            assert device in disks.attached_below(seed.CACHE)
        until(lambda: device not in disks.attached_below(seed.CACHE))
    finally:
        holder.wait()
        image.unlink()


def test_a_lab_that_was_started_by_hand_stays(tmp_path):
    """Whoever started it is gone."""
    command = [sys.executable, str(LAB), "--state", str(tmp_path / "lab")]
    environment = {name: value for name, value in os.environ.items() if name != guard.VARIABLE}
    try:
        shell = subprocess.run(["sh", "-c", '"$@" > /dev/null && kill -9 $$', "sh", *command, "up"], check=False, env=environment)
        assert shell.returncode == -signal.SIGKILL
        time.sleep(1)
        assert subprocess.run([*command, "status"], check=False, capture_output=True).returncode == 0
    finally:
        subprocess.run([*command, "down"], check=True)
    assert not (tmp_path / "lab").exists()
