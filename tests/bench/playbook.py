# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook migrate costs beside its modules, with one lane and one tiny snapshot, against the lab: python playbook.py [ROUNDS]

The lane's interpreter is a script that takes the time of each module, so what is left is Ansible's own.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conftest import LAB, REPO, Lab, finished, start

VENV = REPO / ".build" / "venv"
TIMED = """#!/bin/bash
TIMEFORMAT='%R %U %S'
{ time "PYTHON" "$@" 2>&3; } 3>&2 2>> LOG
code=$?
echo "$(basename "$1" .py)" >> LOG
exit $code
"""


def interpreter(directory):
    """A stand-in for a worker's virtual environment; returns it and the file that each module leaves two lines in."""
    log = directory / "modules.log"
    (directory / "bin").mkdir()
    script = directory / "bin" / "python"
    script.write_text(TIMED.replace("PYTHON", str(VENV / "bin/python")).replace("LOG", str(log)))
    script.chmod(0o755)
    return directory, log


def used():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), usage.ru_utime + usage.ru_stime


def modules(log):
    """[(name, wall, CPU)] of each that ran, in order."""
    lines = log.read_text().splitlines()
    log.write_text("")
    found = []
    for figures, name in zip(lines[::2], lines[1::2]):
        wall, user, system = map(float, figures.split())
        found.append((name.removeprefix("AnsiballZ_"), wall, user + system))
    return found


def migration(lab, venv, log, snapshot_id):
    """One run; prints what it took."""
    bucket = lab.new_bucket()
    lab.calls()
    wall, cpu = used()
    finished(
        start(
            lab,
            bucket,
            VENV,
            coldstore_venv=str(venv),
            coldstore_poll_interval=2,
            coldstore_tag="bench",
            coldstore_snapshots=[snapshot_id],
        )
    )
    wall, cpu = (after - before for after, before in zip(used(), (wall, cpu)))
    calls = len(lab.calls())
    ran = modules(log)
    inside = [sum(each[column] for each in ran) for column in (1, 2)]
    print(f"playbook  {wall:6.2f} s wall {cpu:6.2f} s CPU")
    print(
        f"modules   {inside[0]:6.2f} s wall {inside[1]:6.2f} s CPU: " + ", ".join(f"{name} {took:.2f}" for name, took, _cpu in ran)
    )
    print(f"overhead  {wall - inside[0]:6.2f} s wall {cpu - inside[1]:6.2f} s CPU")
    print(f"calls     {calls:6d}, {calls / wall:.1f} a second", flush=True)


def main(rounds=3):
    with tempfile.TemporaryDirectory(prefix="coldstore-bench.", dir=REPO / ".build") as directory:
        try:
            lab = Lab(Path(directory) / "lab")
            snapshot_id = lab.seed("empty")["empty"]
            (Path(directory) / "venv").mkdir()
            venv, log = interpreter(Path(directory) / "venv")
            for _round in range(int(rounds)):
                migration(lab, venv, log, snapshot_id)
        finally:
            subprocess.run([sys.executable, str(LAB), "--state", str(Path(directory) / "lab"), "down"], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
