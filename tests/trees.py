# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees to archive, and what it means for two of them to be equal."""

import os
import stat
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(device, options="ro"):
    """A device's filesystem at a directory of its own, while the body runs.

    mount makes a loop device of a file, which goes a little after the unmounting: the next mount would share it, read-only or not.
    """
    before = loops(device)
    with tempfile.TemporaryDirectory() as point:
        subprocess.run(["mount", "-o", options, device, point], check=True)
        try:
            yield Path(point)
        finally:
            subprocess.run(["umount", point], check=True)
            until = time.monotonic() + 10
            while loops(device) - before and time.monotonic() < until:
                time.sleep(0.01)


def loops(path):
    """The loop devices of a file."""
    return set(
        subprocess.run(["losetup", "-n", "-O", "NAME", "-j", path], check=True, capture_output=True, text=True).stdout.split()
    )


def filled(root):
    """A small tree with a bit of everything the host's filesystem can hold."""
    root.mkdir()
    (root / "directory" / "inner").mkdir(parents=True)
    (root / "directory" / "inner" / "file").write_bytes(b"inner\n" * 30_000)
    (root / "empty").touch()
    (root / "plain").write_bytes(b"plain\n")
    (root / "bin").write_bytes(os.urandom(100_000))
    with open(root / "sparse", "wb") as file:
        file.truncate(10 << 20)
        for at in (0, 1 << 20, (10 << 20) - 4096):
            file.seek(at)
            file.write(b"island" * 500)
        file.truncate(10 << 20)
    os.link(root / "plain", root / "directory" / "hard")
    os.symlink("../plain", root / "directory" / "soft")
    os.mkfifo(root / "fifo")
    os.mknod(root / "device", 0o20600, os.makedev(1, 5))
    raw = os.fsencode(root)
    for name in (b"new\nline", b"\xff\xfe raw", b"n" * 255, "größe".encode(), b"=a%b"):
        with open(raw + b"/" + name, "wb") as file:
            file.write(name)
    os.setxattr(root / "plain", "user.k=v%", b"\0raw\n")
    subprocess.run(["setfacl", "-m", "u:1234:r", root / "bin"], check=True)
    os.chmod(root / "bin", 0o6755)
    os.chown(root / "empty", 3_000_000, 4_000_000_000)
    os.utime(root / "directory", ns=(1, 1_500_000_000_123_456_789))
    os.utime(root / "empty", ns=(1, -5_000_000_000))
    return root


def extract(data, target, tool, options=("--xattrs", "--xattrs-include=*")):
    """With a stock tar, as a user would. data is bytes or a command whose output is the tar; options are GNU tar's."""
    target.mkdir()
    flags = [*options, "--numeric-owner"] if tool == "tar" else ["--numeric-owner", "-S"]
    command = [tool, "-x", "-p", *flags, "-f", "-", "-C", target]
    if isinstance(data, bytes):
        done = subprocess.run(command, input=data, capture_output=True, check=False)
    else:
        with subprocess.Popen(data, stdout=subprocess.PIPE) as first:
            done = subprocess.run(command, stdin=first.stdout, capture_output=True, check=False)
        assert first.returncode == 0
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")


def compare(one, other, holes=True):
    """What differs, as (path, attribute, one, other); sockets are left out, since tar cannot hold them."""
    first, second = described(one, holes), described(other, holes)
    return [each for each in differences(first, second) if not {stat.S_IFSOCK} & {first.get(each[0], {}).get("form")}]


def differences(first, second):
    """What differs between two trees that were described, as (path, attribute, one, other)."""
    found = [(path, "exists", path in first, path in second) for path in first.keys() ^ second.keys()]
    for path in first.keys() & second.keys():
        for name, value in first[path].items():
            if second[path].get(name) != value:
                found.append((path, name, value, second[path].get(name)))
    return found


def described(root, holes=True):
    """{path: every attribute there is} of a tree."""
    root = os.fsencode(Path(root))
    found, first_name = {}, {}
    pending = [b"."]
    while pending:
        path = pending.pop()
        full = os.path.join(root, path)
        status = os.lstat(full)
        form = stat.S_IFMT(status.st_mode)
        facts = {"form": form, "mode": status.st_mode, "uid": status.st_uid, "gid": status.st_gid, "mtime": status.st_mtime_ns}
        facts["xattrs"] = {n: os.getxattr(full, n, follow_symlinks=False) for n in os.listxattr(full, follow_symlinks=False)}
        if form == stat.S_IFDIR:
            names = os.listdir(full)
            pending += [os.path.normpath(os.path.join(path, name)) for name in names]
            if status.st_ino == 2 and path != b".":  # what btrfs shows for a subvolume that a snapshot does not hold
                facts.pop("mtime")
        else:
            names = first_name.setdefault((status.st_dev, status.st_ino), [])
            names.append(path)
            facts["names"] = names
        if form == stat.S_IFREG:
            facts["size"] = status.st_size
            with open(full, "rb") as file:
                facts["content"], extents = _content(file, status.st_size)
            if holes:
                facts["extents"] = extents
        elif form == stat.S_IFLNK:
            facts["link"] = os.readlink(full)
        elif form in (stat.S_IFCHR, stat.S_IFBLK):
            facts["device"] = status.st_rdev
        found[path] = facts
    for facts in found.values():
        if "names" in facts:
            facts["names"] = sorted(facts["names"])
    return found


def _content(file, size):
    """A digest of the data, and where it lies."""
    import hashlib

    digest, extents, end = hashlib.blake2b(), [], 0
    while end < size:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        file.seek(start)
        data = file.read(end - start)
        blocks = [at for at in range(0, len(data), 4096) if data[at : at + 4096].strip(b"\0")]
        for at in blocks:  # a block of zeros and a hole read the same
            digest.update(b"%d" % (start + at) + data[at : at + 4096].rstrip(b"\0"))
        extents.append((start, end))
    return digest.hexdigest(), extents
