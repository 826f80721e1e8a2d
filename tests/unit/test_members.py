# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of an archive against those of a filesystem: in one order, or by name."""

import io
import os
import random
import stat
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.differences import Differences, Unequal, blame
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.members import MemberComparison, NamedComparison
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Member
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from foreign import compared
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.text("abc \n", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def member(path, **changes):
    return Member(path, "file", 0, 512, 1, 0o644, 0, 0, 0, None, "")._replace(**changes)


def walked(paths):
    """In the order of a plan."""
    return [member(path) for path in sorted((path.encode() for path in paths), key=lambda path: path.split(b"/"))]


def said(archived, planned):
    """{(path, attribute)} of what differs, and whether anything moved."""
    found = Differences()
    comparison = MemberComparison("key", iter(archived), found)
    for each in planned:
        comparison.member(each)
    comparison.finish()
    return {(each["path"], each["attribute"], each["found"]) for each in found.listed}, comparison.moved


@given(st.sets(PATHS, max_size=12), st.sets(PATHS, max_size=12))
@settings(max_examples=150, deadline=None)
def test_members_that_are_missing_or_too_many_are_named(archived, planned):
    """Whatever the two trees have in common."""
    found, moved = said(walked(archived), walked(planned))
    assert found == {(path, "member", "present") for path in archived - planned} | {
        (path, "member", "missing") for path in planned - archived
    }
    assert moved is (archived != planned)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("type", "fifo"), ("size", 2), ("mode", 0o600), ("uid", 7), ("gid", 7), ("mtime", 1), ("link", b"x"), ("xattrs", "0" * 32),
    ],
)  # fmt: skip
def test_every_attribute_is_compared(attribute, value):
    """To the nanosecond, and extended attributes by their digest."""
    found, moved = said([member(b"a"), member(b"b", **{attribute: value})], [member(b"a"), member(b"b")])
    assert [(path, name) for path, name, _found in found] == [("b", attribute)]
    assert moved


def test_digests_of_attributes_of_two_kinds_are_not_compared():
    """Those of older archives are shorter; the bytes of the headers tell."""
    assert said([member(b"a", xattrs="0" * 16)], [member(b"a", xattrs="1" * 32)]) == (set(), False)


def test_blame_goes_to_the_member_whose_header_it_is():
    """And to the end of the archive behind the last of them; once a member."""
    members = [member(b"a", offset=0, length=1024), member(b"b", offset=1024, length=1024)]
    unequal = [Unequal(2048), Unequal(1536), Unequal(1024), Unequal(512, b"a", 0), Unequal(600, b"a", 88)]
    found = [(each.get("path"), each["attribute"], each["offset"]) for each in blame("tar", iter(members), unequal)]
    assert found == [("a", "content", 0), ("b", "header", 1024), (None, "end of archive", 2048)]


def test_an_image_names_the_object_and_what_has_no_segment():
    """In order of their places."""
    found = list(blame("image", iter(()), [Unequal(512, key="two"), Unequal(0)]))
    assert [(each.get("archive"), each["found"], each["offset"]) for each in found] == [
        (None, "no segment", 0),
        ("two", "another", 512),
    ]


def grown(root, files):
    """A tree of these files; what is in the way of one is a directory already, or left out."""
    for path, content in files.items():
        place = root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            os.utime(place, (1_500_000_000, 1_500_000_000))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            pass
    return sorted(path for path in root.rglob("*") if path.is_file())


def packed(root, order):
    """A tar of a tree, its members in the order that a number says."""
    paths = sorted([root, *root.rglob("*")])
    random.Random(order).shuffle(paths)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            archive.add(path, "./" + str(path.relative_to(root)), recursive=False)
    return data.getvalue()


def told(stream, root):
    found, _totals = compared(stream, TarSource(str(root)))
    return {(each["path"], each["attribute"]) for each in found.listed}


CHANGES = {
    "content": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "mode": lambda path: path.chmod(0o600),
    "uid": lambda path: os.chown(path, 7, -1),
    "gid": lambda path: os.chown(path, -1, 7),
    "mtime": lambda path: os.utime(path, (1, 1)),
    "size": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "member": lambda path: path.unlink(),
}


@given(
    st.dictionaries(PATHS, st.binary(min_size=1, max_size=3000), min_size=1, max_size=6),
    st.integers(0, 5),
    st.sampled_from(sorted(CHANGES)),
    st.integers(0, 5),
)
@settings(max_examples=25, deadline=None)
def test_a_tar_of_any_order_is_compared_by_name(files, order, attribute, which):
    """Equal to its tree; and whatever is changed of one file is named, that and nothing else of it."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "tree"
        root.mkdir()
        there = grown(root, files)
        stream = packed(root, order)
        assert told(stream, root) == set()
        path = there[which % len(there)]
        time = path.stat().st_mtime_ns
        CHANGES[attribute](path)
        if attribute in ("content", "size"):
            os.utime(path, ns=(time, time))
        name = str(path.relative_to(root))
        above = str(path.parent.relative_to(root))
        # A directory that lost an entry has another time.
        assert {(name, attribute)} <= told(stream, root) <= {(name, attribute), (above, "mtime")}


def tar_of(*members):
    """A tar of (name, type, fields, content)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, kind, fields, content in members:
            item = tarfile.TarInfo(name)
            item.type, item.size = kind, len(content)
            for field, value in fields.items():
                setattr(item, field, value)
            archive.addfile(item, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "one").write_bytes(b"one")
    os.link(root / "one", root / "two")
    os.symlink("one", root / "soft")
    (root / "other").write_bytes(b"other")
    os.mkfifo(root / "fifo")
    return root


def status(path):
    there = os.lstat(path)
    return {"mode": stat.S_IMODE(there.st_mode), "uid": there.st_uid, "gid": there.st_gid, "mtime": int(there.st_mtime)}


@pytest.mark.parametrize(
    ("link", "attribute"), [("two", None), ("./two", None), ("one", None), ("other", "link"), ("../two", "link"), ("none", "link")]
)
def test_a_hard_link_is_to_the_same_file_by_whichever_name(tree, link, attribute):
    """Another tool takes another of its names for the first."""
    stream = tar_of(("two", tarfile.REGTYPE, status(tree / "two"), b"one"), ("one", tarfile.LNKTYPE, {"linkname": link}, b""))
    assert (("one", "link") in told(stream, tree)) is (attribute == "link")


@pytest.mark.parametrize(
    ("name", "kind", "fields", "content", "attributes"),
    [
        ("soft", tarfile.SYMTYPE, {"linkname": "one"}, b"", set()),
        ("soft", tarfile.SYMTYPE, {"linkname": "two"}, b"", {"link"}),
        ("soft", tarfile.REGTYPE, {}, b"one", {"type", "size"}),
        ("fifo", tarfile.FIFOTYPE, {}, b"", set()),
        ("fifo", tarfile.DIRTYPE, {}, b"", {"type"}),
        ("other", tarfile.REGTYPE, {}, b"0ther", {"content"}),
        ("other", tarfile.REGTYPE, {}, b"other, and more", {"size"}),
        ("other", tarfile.REGTYPE, {}, b"oth", {"size"}),
        ("/other", tarfile.REGTYPE, {}, b"other", set()),
        ("elsewhere/other", tarfile.REGTYPE, {}, b"other", {"member"}),
    ],
)
def test_each_kind_of_member_is_compared(tree, name, kind, fields, content, attributes):
    """By what it has; contents only as far as both go."""
    known = tree / name.lstrip("/")
    stream = tar_of((name, kind, {**(status(known) if os.path.lexists(known) else {}), **fields}, content))
    assert {attribute for path, attribute in told(stream, tree) if path == name.lstrip("/")} == attributes


def test_a_source_is_planned_before_an_archive_is_read(tree):
    """And what it cannot plan ends the comparison before anything is fetched."""
    stop = Stop()
    stop.request("for a test")
    with pytest.raises(Exception, match="for a test"), closing(NamedComparison("key", TarSource(str(tree)), Differences(), stop)):
        pass
