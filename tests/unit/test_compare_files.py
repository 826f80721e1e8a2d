# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else's tar against the files it was made of."""

import io
import os
import subprocess
import tarfile

import foreign
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from trees import filled


@pytest.fixture
def tree(tmp_path):
    return filled(tmp_path / "tree")


def compared(stream, root):
    """{(path, attribute)} of what differs."""
    found, _totals = foreign.compared(stream, TarSource(str(root), on_error="zero"))
    return {(each["path"], each["attribute"]) for each in found.listed}


def tarred(root, *options):
    return subprocess.run(["tar", *options, "-C", root, "-c", "."], capture_output=True, check=True).stdout


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=pax"], ["--format=pax", "--sparse"]])
def test_a_tar_is_equal_to_its_tree(tree, options):
    """In GNU tar's formats, with holes and without."""
    assert compared(tarred(tree, *options), tree) == set()


@pytest.mark.parametrize("options", [[], ["--format=pax", "--sparse"]])
def test_what_differs_is_named(tree, options):
    """Contents, also where the archive has a hole; what is missing, or too much; a link to another file."""
    stream = tarred(tree, *options)
    with open(tree / "sparse", "r+b") as file:
        file.seek(5 << 20)
        file.write(b"not a hole any more")
    (tree / "plain").unlink()
    (tree / "plain").write_bytes(b"pla1n\n")
    os.utime(tree / "plain", (tree / "directory" / "hard").stat()[7:9])
    os.utime(tree / "sparse", (0, 0))
    (tree / "extra").touch()
    (tree / "empty").unlink()
    found = compared(stream, tree)
    assert {("extra", "member"), ("empty", "member"), ("sparse", "content"), ("directory/hard", "link")} <= found or {
        ("extra", "member"), ("empty", "member"), ("sparse", "content"), ("plain", "link")
    } <= found  # fmt: skip


def test_nothing_outside_of_the_volume_is_looked_at(tree):
    """Names that lead out, by themselves or over a link, are members that the volume does not have."""
    (tree.parent / "secret").write_bytes(b"secret")
    (tree / "way").symlink_to("..")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("../secret", "way/secret"):
            item = tarfile.TarInfo(name)
            item.size = 6
            archive.addfile(item, io.BytesIO(b"secret"))
    assert {("../secret", "member"), ("way/secret", "member")} <= compared(data.getvalue(), tree)
