# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees deeper than the kernel takes paths: what can be archived can be restored, and what cannot be restored is not archived."""

import contextlib
import os
import resource
import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import pax
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from foreign import compared
from test_target_directory import restored

DEPTH = 5000


@contextlib.contextmanager
def few_descriptors(most=200):
    """Less than a level each by far."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def dig(root, depth, name=b"d"):
    """A directory in a directory in a directory; in the last of them a file."""
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(name, 0o711 if level % 2 else 0o750, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.utime(here, ns=(0, level * 10**9))
        os.close(here)
        here = below
    with open(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb") as file:
        file.write(b"deep down")
    os.utime(here, ns=(0, 0))
    os.close(here)


def measured(root):
    """[(mode, mtime)] of each level, and what the file holds."""
    found = []
    here = os.open(root, os.O_RDONLY)
    while True:
        status = os.fstat(here)
        found.append((status.st_mode, status.st_mtime_ns))
        (name,) = os.listdir(here)
        if name == "file":
            break
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open(b"file", os.O_RDONLY, dir_fd=here), "rb") as file:
        found.append(file.read())
    os.close(here)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("deep") / "tree"
    dig(root, DEPTH)
    yield root
    subprocess.run(["rm", "-rf", root], check=True)


@pytest.fixture(scope="module")
def archived(tree):
    source = TarSource(str(tree))
    with few_descriptors():
        members = []
        stream = b"".join(bytes(source.read(chunk)) for chunk in source.plan(members.append))
    return stream, members


def test_a_tree_of_five_thousand_levels_comes_back(tree, archived, tmp_path):
    """All of it, with every mode and time, and few descriptors; also where it was begun before."""
    stream, members = archived
    assert len(members[-1].path) > 4096
    with few_descriptors():
        assert restored(tmp_path / "out", stream).members == DEPTH + 2
    assert measured(tmp_path / "out") == measured(tree)
    with few_descriptors():
        restored(tmp_path / "out", stream, overwrite=True)
    assert measured(tmp_path / "out") == measured(tree)
    subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)


def test_its_deepest_file_comes_back_alone(archived, tmp_path):
    """From the stretch of the stream in which it lies."""
    stream, members = archived
    last = members[-1]
    piece = stream[last.offset : last.offset + last.length]
    with few_descriptors():
        restored(tmp_path / "out", piece, cut=True, selection=Selection([os.fsdecode(last.path)]))
    assert measured(tmp_path / "out")[-1] == b"deep down"
    subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)


def test_another_tools_archive_of_it_is_compared(tree, archived):
    """Beyond the length of a path, too."""
    stream = archived[0].replace(b"deep down", b"deep clone"[:9])
    with few_descriptors():
        found, _totals = compared(stream, TarSource(str(tree)))
    assert [(len(each["path"]), each["attribute"]) for each in found.listed] == [(DEPTH * 2 + 4, "content")]


def test_what_could_not_be_restored_is_not_archived(tmp_path):
    """One limit, known to both: beyond 64 KiB a path is an error that says so, or is listed and the rest archived."""
    levels = pax.LONGEST_PATH // 251 + 5
    dig(tmp_path / "tree", levels, b"n" * 250)
    with pytest.raises(Permanent, match="too long to restore"):
        list(TarSource(str(tmp_path / "tree")).plan())
    source = TarSource(str(tmp_path / "tree"), on_error="zero")
    stream = b"".join(bytes(source.read(chunk)) for chunk in source.plan())
    assert len(source.problems) == 1
    with few_descriptors():
        assert restored(tmp_path / "out", stream).members == levels - 4
    subprocess.run(["rm", "-rf", tmp_path / "out", tmp_path / "tree"], check=True)
