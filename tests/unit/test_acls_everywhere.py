# SPDX-License-Identifier: GPL-3.0-or-later
"""ACLs come back with whatever tar is at hand, and ours brings back those of other tars."""

import os
import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import acl
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from test_target_directory import restored, stream
from trees import described, extract, mounted

XATTRS = ("--xattrs", "--xattrs-include=*")


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A filesystem with ACLs."""
    image = tmp_path_factory.mktemp("disk") / "image"
    subprocess.run(["mkfs.ext4", "-q", image, "64M"], check=True)
    with mounted(image, "loop") as root:
        yield root


@pytest.fixture(scope="module")
def tree(disk):
    """Files and directories with ACLs of numbers, of names, of all kinds of entries, and without. bsdtar takes no id beyond
    2^31."""
    root = disk / "tree"
    root.mkdir()
    for name, words in (("file", "u:1234:r,g:5678:rw,m::r"), ("named", "u:nobody:rwx"), ("other", "o::---,u:0:x")):
        (root / name).write_bytes(b"x")
        subprocess.run(["setfacl", "-m", words, root / name], check=True)
    (root / "plain").touch(0o640)
    (root / "directory").mkdir()
    subprocess.run(["setfacl", "-m", "u:2000000000:rx", "-d", "-m", "u:1234:rwx,g:99:r,o::-", root / "directory"], check=True)
    (root / "directory" / "heir").touch()
    (root / "setgid").mkdir(0o2775)
    os.setxattr(root / "plain", "user.x", b"y")
    return root


def acls(root):
    """{path: (mode, its ACLs)}"""
    found = described(root)
    return {
        path: (facts["mode"], {name: value for name, value in facts["xattrs"].items() if "acl" in name})
        for path, facts in found.items() if path != b"."
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "options"), [("tar", ("--acls",)), ("tar", XATTRS), ("tar", ("--acls", *XATTRS)), ("bsdtar", ()), ("ours", ())]
)
def test_every_tar_brings_acls_back(disk, tree, tool, options):
    """GNU tar with --acls, with --xattrs, with both; bsdtar; and our own restore."""
    out = disk / f"{tool}-{'-'.join(options)}".replace("*", "all")
    if tool == "ours":
        restored(out, stream(tree))
    else:
        extract(stream(tree), out, tool, options)
    assert acls(out) == acls(tree)
    assert len([1 for _mode, there in acls(out).values() if there]) == 5


@pytest.mark.parametrize(
    ("name", "command", "lost"),
    [
        ("text", ["tar", "--acls"], {b"named", b"other"}),
        ("both", ["tar", "--acls", *XATTRS], set()),
        ("bsd", ["bsdtar", "--acls", "--format=pax"], set()),
    ],
)
def test_acls_of_other_tars_come_back(disk, tree, name, command, lost):
    """Of their text alone, too; GNU tar writes names without numbers, and where there is one that is said."""
    data = subprocess.run([*command, "-C", tree, "-cf", "-", "."], capture_output=True, check=True).stdout
    assert b"SCHILY.acl.access=" in data
    target = restored(disk / name, data)
    assert {(each.path, each.attribute) for each in target.troubles} == {(path, "SCHILY.acl.access") for path in lost}
    found, wanted = acls(disk / name), acls(tree)
    assert {path: found[path] for path in found.keys() - lost} == {path: wanted[path] for path in wanted.keys() - lost}


def test_what_is_no_acl_is_kept_as_it_is(tree):
    """A value that we do not understand has no text."""
    source = TarSource(str(tree))
    data = b"".join(bytes(source.read(chunk)) for chunk in source.plan())
    assert data.count(b"SCHILY.acl.access=") == data.count(b"SCHILY.xattr." + acl.ACCESS + b"=") == 5
    assert data.count(b"SCHILY.acl.default=") == 1
    assert b"user::rw-,user:1234:r--,group::r--,group:5678:rw-,mask::r--,other::r--\n" in data
