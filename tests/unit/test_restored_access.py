# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody has more access to what is restored than the archive says: not by what the target's directory hands down, not in
the end, and not between any two system calls on the way there."""

import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import acl
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import pax
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.headers import Entry
from conftest import TREE
from test_target_directory import member, restored, stream
from trees import compare, filled, mounted

NOBODY, NAMED, OWNER = 65534, 1234, 3_000_000
INHERITED = f"u:{NOBODY}:rwx,g:{NOBODY}:rwx,g::rwx,o::rwx"

# Restores argv[1] into argv[2], and looks before each system call that changes something who gets at what. Says what
# anybody but root has that argv[3] does not list.
SAMPLER = """
import json, os, sys
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.headers import Entry
stream, out, allowed, socket = open(sys.argv[1], "rb").read(), sys.argv[2], json.load(open(sys.argv[3])), sys.argv[4]
looking, leaks, looks = False, set(), 0
os.setgroups([])
os.umask(0)

def names(root):
    found, pending = [b"."], [b""]
    while pending:
        above = pending.pop()
        with os.scandir(os.path.join(root, above)) as each:
            for item in each:
                found.append(os.path.join(above, item.name))
                if item.is_dir(follow_symlinks=False):
                    pending.append(found[-1])
    return found

def access(root):
    for who in (65534, 1234, 3000000):
        paths = [each for each in names(root) if not os.path.islink(os.path.join(root, each))]
        os.setegid(who)
        os.seteuid(who)
        try:
            for path in paths:
                for way in (os.R_OK, os.W_OK, os.X_OK):
                    if os.access(os.path.join(root, path), way, effective_ids=True):
                        yield f"{who} {way} {path!r}"
        finally:
            os.seteuid(0)
            os.setegid(0)

def hook(event, arguments):
    global looking, looks
    if looking or not event.startswith(("os.", "open", "sentinel")) or event in ("os.scandir", "os.listdir"):
        return
    looking = True
    if os.path.isdir(out):
        looks += 1
        leaks.update(f"before {event}: {each}" for each in access(os.fsencode(out)) if each not in allowed)
    looking = False

if not allowed:
    json.dump(list(access(os.fsencode(out))), sys.stdout)
    raise SystemExit
sys.addaudithook(hook)
target = DirectoryTarget(out, devices=True)
end = int(float(sys.argv[5]) * len(stream))
for at in range(0, end, 5000):
    target.write(at, stream[at : min(at + 5000, end)])
if end == len(stream):
    if socket:
        target.add(Entry(b"sock", "socket", 0o640, 1234, 1234, 0, 0, b"", (0, 0), [], None))
    target.finish()
target.close()
hook("sentinel", ())
json.dump({"looks": looks, "leaks": sorted(leaks)[:20]}, sys.stdout)
"""


def sampler(*words):
    command = [sys.executable, "-c", SAMPLER, *map(str, words)]
    environment = {"PYTHONPATH": str(TREE), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def private(root):
    """A tree in which it matters who may do what."""
    filled(root)
    root.chmod(0o755)
    for name, mode, who in (("a0640", 0o640, 0), ("b0400", 0o400, NAMED), ("c0000", 0, OWNER), ("d4750", 0o4750, OWNER)):
        (root / name).write_bytes(name.encode())
        os.chown(root / name, who, who)
        (root / name).chmod(mode)
    os.setxattr(root / "a0640", "security.capability", struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0))
    for name, mode, who in (("e2770", 0o2770, NAMED), ("f0750", 0o750, OWNER), ("g0300", 0o300, OWNER), ("h1777", 0o1777, 0)):
        (root / name).mkdir()
        (root / name / "inside").write_bytes(b"x")
        (root / name / "below").mkdir()
        (root / name / "below" / "fifo").touch()
        os.link(root / name / "inside", root / name / "linked")
        os.chown(root / name, who, who)
        (root / name).chmod(mode)
    (root / "i").mkdir()
    subprocess.run(["setfacl", "-m", f"u:{NAMED}:rx,m::rx", "-d", "-m", f"u:{NAMED}:rwx,g::-,o::-", root / "i"], check=True)
    (root / "i" / "heir").write_bytes(b"x")
    (root / "i" / "heir").chmod(0o660)
    (root / "i" / "secret").write_bytes(b"x")
    subprocess.run(["setfacl", "-b", root / "i" / "secret"], check=True)
    (root / "i" / "secret").chmod(0o600)
    (root / "device").chmod(0o600)
    (root / "fifo").chmod(0o620)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "sock"))
    os.chown(root / "sock", NAMED, NAMED)
    (root / "sock").chmod(0o640)
    os.utime(root / "sock", ns=(0, 0))
    return root


MAKE = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}


@contextmanager
def disk(kind, folder):
    """A place to restore to, whose directory hands its own access down to all that is made in it."""
    if kind == "tmpfs":
        with tempfile.TemporaryDirectory() as point:
            subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
            try:
                yield Path(point)
            finally:
                subprocess.run(["umount", point], check=True)
        return
    image = folder / "image"
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    subprocess.run([*MAKE[kind], image], check=True)
    with mounted(image, "loop") as root:
        yield root


def open_to_all(folder):
    """Default ACL, setgid, and all permissions."""
    folder.chmod(0o2777)
    os.chown(folder, 0, NOBODY)
    subprocess.run(["setfacl", "-d", "-m", INHERITED, folder], check=True)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_at_no_moment_has_anybody_more_than_the_archive_says(kind, tmp_path):
    """From the first system call to the last, of a restore that is interrupted twice and of one that is not; and in the
    end all is as it was."""
    with disk(kind, tmp_path) as root:
        root.chmod(0o755)
        tree = private(root / "tree")
        (root / "stream").write_bytes(stream(tree))
        (root / "allowed").write_text("[]")
        allowed = sampler(root / "stream", tree, root / "allowed", "", 1)
        (root / "allowed").write_text(json.dumps(allowed))
        assert f"{NAMED} 2 {b'e2770'!r}" in allowed
        assert f"{NOBODY} 4 {b'a0640'!r}" not in allowed
        open_to_all(root)
        for name, ends in (("whole", [1]), ("interrupted", [0.4, 0.8, 1])):
            out = root / name
            out.mkdir()
            for end in ends:
                open_to_all(out)
                if end != ends[0]:
                    subprocess.run(["find", out, "-type", "d", "-exec", "setfacl", "-d", "-m", INHERITED, "{}", "+"], check=True)
                said = sampler(root / "stream", out, root / "allowed", "socket", end)
                assert said["looks"] > 50
                # Our tests open the target itself to everybody; until its own member comes that is as it is.
                assert [leak for leak in said["leaks"] if not leak.endswith(" b'.'")] == []
            assert compare(tree, out, holes=kind != "btrfs") == []
            assert stat.S_IMODE((out / "sock").stat().st_mode) == 0o640
            assert os.listxattr(out / "sock") == []


def test_who_is_not_the_archives_gets_no_more_than_others(tmp_path):
    """Without owners a setuid would be ours, and a group's access our group's. It is said which have less."""
    head = pax.header(b"a", b"0", 0o6775, 77, 88, 0)
    head += pax.header(b"b", b"0", 0o640, 77, os.getegid(), 0) + pax.header(b"d", b"5", 0o2770, 77, 88, 0)
    access = acl.from_text(b"user::rw-,user:1234:rw-,group::rw-,mask::rw-,other::r--")
    head += pax.header(b"e", b"0", 0o664, 77, 88, 0, extra=pax.xattr_records(acl.ACCESS, access)) + pax.END
    target = restored(tmp_path / "out", head, owners=False)
    modes = {name: stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in "abd"}
    assert modes == {"a": 0o755, "b": 0o640, "d": 0o700}
    got = acl.to_text(os.getxattr(tmp_path / "out" / "e", acl.ACCESS))
    assert got == b"user::rw-,user:1234:rw-,group::r--,mask::rw-,other::r--"
    assert {each.path for each in target.skipped if each.attribute == "mode"} == {b"a", b"d", b"e"}


def test_without_its_acl_a_file_is_open_to_fewer(tmp_path, monkeypatch):
    """The mode of a file with an ACL has the mask where the group's bits are: where no ACL can be kept, they are not it."""
    access = acl.from_text(b"user::rw-,user:1234:rw-,group::---,mask::rw-,other::---")
    head = pax.header(b"e", b"0", 0o660, os.geteuid(), os.getegid(), 0, extra=pax.xattr_records(acl.ACCESS, access)) + pax.END

    def refuse(*_args, **_options):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    target = restored(tmp_path / "out", head)
    assert stat.S_IMODE((tmp_path / "out" / "e").stat().st_mode) == 0o600
    assert [each.attribute for each in target.troubles] == ["system.posix_acl_access"]


def test_an_acl_that_only_another_machine_understands_opens_nothing(tmp_path):
    """It is text, and names users without their numbers: listed, and the group's bits, which may be its mask, are not set."""
    extra = [(b"SCHILY.acl.access", b"user::rw-,user:lisa:rw-,group::---,mask::rw-,other::---")]
    target = restored(tmp_path / "out", pax.header(b"e", b"0", 0o660, 0, 0, 0, extra=extra) + pax.END)
    assert stat.S_IMODE((tmp_path / "out" / "e").stat().st_mode) == 0o600
    assert [each.attribute for each in target.troubles] == ["SCHILY.acl.access"]


def test_what_a_directory_cannot_have_is_told_once(tmp_path):
    """Though one that was there before is given its attributes twice."""
    (tmp_path / "out" / "d").mkdir(parents=True)
    head = pax.header(b"d", b"5", 0o755, 0, 0, 0, extra=pax.xattr_records(b"nonsense.x", b"x"))
    target = restored(tmp_path / "out", head + pax.END, overwrite=True)
    assert [each.attribute for each in target.troubles] == ["nonsense.x"]
    assert target.trouble_count == 1


def test_a_directory_that_was_not_asked_for_is_private(tmp_path):
    """The target too, if it is made; whatever its parent hands down."""
    open_to_all(tmp_path)
    restored(tmp_path / "out", member(b"a/b/file", data=b"x") + pax.END)
    for name in ("out", "out/a", "out/a/b"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
        assert os.listxattr(tmp_path / name) == []
    assert os.listxattr(tmp_path / "out/a/b/file") == []


def test_a_node_that_was_exchanged_for_a_link_changes_nothing_elsewhere(tmp_path, monkeypatch):
    """Who may write to the target's directory could put one there."""
    (tmp_path / "secret").touch(0o600)
    real = os.mknod

    def exchanged(name, *args, dir_fd):
        real(name, *args, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)
        os.symlink("../secret", name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mknod", exchanged)
    target = DirectoryTarget(str(tmp_path / "out"))
    with pytest.raises(Exception, match="somebody else is changing"):
        target.add(Entry(b"sock", "socket", 0o666, 1234, 1234, 0, 0, b"", (0, 0), [], None))
    target.close()
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
