# SPDX-License-Identifier: GPL-3.0-or-later
"""Clears up behind a test run or demo, however it ends: also by SIGKILL, or because its time is over.

python tests/lab/guard.py --mark MARK [--clear PATTERN] [--detach DIR] PID [PID...]

Waits until one of these processes is gone, and ends the first with the others. What it started, and what that started, carries
COLDSTORE_RUN=MARK in its environment, which no change of parent or session takes away: it is asked to end, the labs last
(modules give back to them what they hold), and then made to. Loop devices of images below DIR or a directory of PATTERN are
detached, the latter removed. A lab that was started by hand has no guard, and stays up.
"""

import argparse
import contextlib
import glob
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import disks
import seed

VARIABLE = "COLDSTORE_RUN"
PATIENCE = 10  # seconds between being asked to end and being made to


def start(mark, pids, clear=(), detach=()):
    """A guard, in a session of its own; the first of these processes has to put the mark into its environment."""
    command = [sys.executable, __file__, "--mark", mark]
    command += [word for each in clear for word in ("--clear", each)] + [word for each in detach for word in ("--detach", each)]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    null = subprocess.DEVNULL
    subprocess.Popen(
        [*command, *map(str, pids)], stdin=null, stdout=null, stderr=null, start_new_session=True, env=environment, cwd="/"
    )


def until_one_is_gone(pids):
    poll = select.poll()
    for pid in pids:
        try:
            poll.register(os.pidfd_open(pid), select.POLLIN)
        except ProcessLookupError:
            return
    poll.poll()


def marked(mark):
    """{pid: whether it is a lab} of what carries the mark and is not dead already."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                found[int(entry.name)] = b"tests/lab/server.py" in (entry / "cmdline").read_bytes()
    return found


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(look):
    """Ask what look() finds to end, and make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        asked = set()
        deadline = time.monotonic() + PATIENCE
        while there := set(look()):
            for pid in there - asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            asked |= there
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mark", required=True)
    parser.add_argument("--clear", action="append", default=[])
    parser.add_argument("--detach", action="append", default=[])
    parser.add_argument("pids", nargs="+", type=int)
    asked = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    until_one_is_gone(asked.pids)
    end(lambda: [pid for pid, is_lab in marked(asked.mark).items() if not is_lab] + [pid for pid in asked.pids[:1] if lives(pid)])
    end(lambda: marked(asked.mark))
    directories = [each for pattern in asked.clear for each in glob.glob(pattern)]
    for directory in directories + asked.detach:
        disks.detach_below(directory)
    for directory in directories:
        disks.clear(directory)
    with seed.alone():  # so what is attached of seeds in the making is nobody's
        disks.detach_below(seed.CACHE)


if __name__ == "__main__":
    main()
