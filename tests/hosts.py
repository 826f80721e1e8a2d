# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for tests: this machine's own files below an overlay in memory, with processes of their own, and a user who comes by
ssh and has sudo. Whatever is installed or written there goes when the host does.

What apt has to bring for it is fetched once and kept in .build/.
"""

import fcntl
import hashlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

# What a Debian instance has (ssh, sudo, Python's apt), and what the role worker would install.
PACKAGES = "openssh-server sudo python3-apt python3-venv nvme-cli"
# The first process of a host: as long as it lives there is the host, and with it go all others. $1: a directory to work in,
# $2: what the host has that this machine has not, $3: a file that says that all is there.
_INIT = """
set -e
mount -t tmpfs -o mode=755 host "$1"
mkdir "$1/work" "$1/root"
if [ -e "$2" ]; then cp -a "$2" "$1/upper"; else mkdir "$1/upper"; fi
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" host "$1/root"
for directory in dev sys; do mount --rbind "/$directory" "$1/root/$directory"; done
mount -t proc proc "$1/root/proc"
mkdir -p "$1/root/run/sshd"
if [ -n "$4" ]; then chroot "$1/root" sh -ec "$4"; rm -rf "$2.new"; cp -a "$1/upper" "$2.new"; mv "$2.new" "$2"; fi
touch "$3"
while :; do sleep 1000 & wait; done
"""
_INSTALL = f"""
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get update -q > /dev/null
apt-get install -qy --no-install-recommends {PACKAGES} > /dev/null
useradd -m -s /bin/bash admin
printf 'Defaults env_file=/etc/environment\nadmin ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/admin
"""
_VERSION = hashlib.sha256(_INSTALL.encode()).hexdigest()[:12]
CACHE = Path(__file__).resolve().parents[1] / ".build" / f"host-{_VERSION}"


class Host:
    """A context manager; directory is the host's own, empty before, and removed afterwards."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.root = self.directory / "root"
        self.process = None
        self.port = None

    def __enter__(self):
        CACHE.parent.mkdir(exist_ok=True)
        with open(CACHE.with_suffix(".lock"), "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not CACHE.exists():
                Host(self.directory.with_suffix(".new"))._begin(_INSTALL).__exit__()
        return self._begin()

    def _begin(self, commands=""):
        self.directory.mkdir()
        ready = self.directory.with_suffix(".ready")
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ]
        command += ["bash", "-c", _INIT, "host"]
        self.process = subprocess.Popen([*command, self.directory, CACHE, ready, commands], stdin=subprocess.DEVNULL)
        try:
            _wait(ready.exists, self.process)
        except BaseException:
            self.__exit__()
            raise
        ready.unlink()
        return self

    def __exit__(self, *_error):
        self.process.kill()  # and with it, by --kill-child, every process of the host
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _pid(self):
        """Of the host's first process, a child of unshare."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return children[0]

    def command(self, *arguments):
        """A command line that runs something in the host, as root."""
        return ["nsenter", "--mount", "--pid", "--target", self._pid, "chroot", str(self.root), *map(str, arguments)]

    def run(self, *arguments, text=""):
        """Its output; fails if it fails."""
        return subprocess.run(self.command(*arguments), input=text, text=True, check=True, capture_output=True).stdout

    def write(self, path, text, mode="0644"):
        self.run("sh", "-c", f'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod {mode} "$1"', "sh", path, text=text)

    def listen(self, public_key):
        """Let the user admin in, with this key, at a port of loopback: self.port. What apt lists is of today."""
        self.run("touch", "/var/lib/apt/periodic/update-success-stamp")
        self.write("/home/admin/.ssh/authorized_keys", public_key, "0600")
        self.run("chown", "-R", "admin:admin", "/home/admin/.ssh")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run("/usr/sbin/sshd", "-p", self.port, "-o", "ListenAddress=127.0.0.1")


def _wait(there, process):
    for _look in range(3000):
        if there():
            return
        if process.poll() is not None:
            raise AssertionError("the host did not begin")
        time.sleep(0.1)
    raise AssertionError("the host does not begin")
