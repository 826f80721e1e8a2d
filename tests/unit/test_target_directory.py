# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar streams into directories: every attribute back, and nothing outside."""

import errno
import io
import os
import subprocess
import tarfile

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError, Corrupt, Permanent, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import pax
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import MARKER, DirectoryTarget
from suites.target_suite import TargetSuite
from trees import compare, filled, mounted


def stream(root):
    source = TarSource(str(root))
    return b"".join(bytes(source.read(chunk)) for chunk in source.plan())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("tree") / "in")


@pytest.fixture(scope="module")
def content(tree):
    return stream(tree)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def target(out):
    made = DirectoryTarget(str(out), devices=True)
    yield made
    made.close()


@pytest.fixture
def expected():
    return []


@pytest.fixture
def held(tree, out):
    return lambda: compare(tree, out)


def restored(out, data, **options):
    """The target, after taking in a whole stream."""
    target = DirectoryTarget(str(out), **options)
    try:
        target.write(0, data)
        target.finish()
    finally:
        target.close()
    return target


class TestDirectoryTarget(TargetSuite):
    def test_a_marker_says_that_it_is_not_whole(self, out, target, content):
        """From the beginning until it is finished."""
        target.write(0, content[:-20_000])
        with pytest.raises(Corrupt, match="cut short"):
            target.finish()
        assert MARKER in os.listdir(os.fsencode(out))

    def test_what_did_not_finish_is_taken_up_again(self, out, target, content, tree):
        """The marker allows what is there to be replaced."""
        target.write(0, content[: len(content) // 2])
        target.close()
        restored(out, content, devices=True)
        assert compare(tree, out) == []


def test_a_directory_that_holds_something_is_refused(out, content, tree):
    """Unless it may be overwritten, and then what is not in the archive stays."""
    out.mkdir()
    (out / "plain").write_bytes(b"mine")
    (out / "other").write_bytes(b"mine too")
    with pytest.raises(Refused, match="not empty"):
        restored(out, content)
    assert (out / "plain").read_bytes() == b"mine"
    restored(out, content, overwrite=True)
    assert (out / "plain").read_bytes() == (tree / "plain").read_bytes()
    assert (out / "other").read_bytes() == b"mine too"


def test_device_nodes_are_made_only_if_that_is_allowed(out, content):
    """They are listed, and the rest is there."""
    target = restored(out, content)
    assert [(each.path, each.attribute) for each in target.skipped] == [(b"device", "device")]
    assert not (out / "device").exists()
    assert (out / "plain").exists()


def test_paths_and_globs_say_what_is_wanted(out, content):
    """A directory brings everything below it; parents that were not asked for are private."""
    restored(out, content, selection=Selection(["directory/inner", "empt*", "/bin"], exclude=["**/nothing"]))
    assert sorted(os.listdir(out)) == ["bin", "directory", "empty"]
    assert os.listdir(out / "directory") == ["inner"]
    assert (out / "directory" / "inner" / "file").stat().st_size == 180_000
    assert (out / "directory").stat().st_mode & 0o777 == 0o700


def test_exclusions_count_and_components_are_stripped(out, content):
    """As with tar's options of these names."""
    restored(out, content, selection=Selection([], exclude=["directory/hard", "fifo"]), strip=1)
    assert sorted(os.listdir(out)) == ["inner", "soft"]


def test_a_hard_link_brings_the_contents_it_needs(out, tree, content):
    """directory/hard is wanted only under its other name: the job says so in renamed. Otherwise that is an error."""
    with pytest.raises(Permanent, match="hard link to a file that is not restored"):
        restored(out, content, selection=Selection(["plain"]))
    target = restored(out, content, selection=Selection(["plain"]), renamed={b"directory/hard": b"plain"})
    assert target.members == 1
    assert (out / "plain").read_bytes() == (tree / "plain").read_bytes()
    assert os.listdir(out) == ["plain"]


def test_owners_are_left_alone_on_request(out, content):
    """For somebody who is not root: what is theirs is theirs, privileged attributes are listed."""
    target = restored(out, content, owners=False)
    assert (out / "empty").stat().st_uid == os.geteuid()
    assert target.trouble_count == 0
    assert os.getxattr(out / "plain", "user.k=v%") == b"\0raw\n"


def member(name, kind=b"0", data=b"", link=b"", **fields):
    """One member as our own headers write it."""
    head = pax.header(name, kind, fields.get("mode", 0o644), 0, 0, 0, len(data), link, fields.get("device", (0, 0)))
    return head + data + bytes(-len(data) % 512)


END = pax.END


@pytest.mark.parametrize(
    "hostile",
    [
        member(b"../outside", data=b"x"),
        member(b"a/../../outside", data=b"x"),
        member(b"a/b/../../../outside", b"5"),
        member(b"way", b"2", link=b"..") + member(b"way/outside", data=b"x"),
        member(b"way", b"2", link=b"../..") + member(b"way/deep/outside", data=b"x"),
        member(b"way", b"2", link=b"/proc/self/cwd") + member(b"way/outside", b"5"),
        member(b"d", b"5") + member(b"d/way", b"2", link=b"../..") + member(b"d/way/outside", b"2", link=b"x"),
        member(b"link", b"1", link=b"../secret"),
        member(b"way", b"2", link=b"..") + member(b"link", b"1", link=b"way/secret"),
        member(b"link", b"1", link=b"/../secret"),
        member(b"way", b"2", link=b"../secret") + member(b"way", data=b"x"),
        member(b"way", b"2", link=b"..") + member(b"way", b"5", mode=0o777),
        member(b"d/" * 40_000 + b"f", data=b"x"),
    ],
)
def test_nothing_is_written_outside_whatever_the_archive_says(tmp_path, hostile):
    """Names, links and hard links that lead out: an error that names the member, and nothing outside is touched."""
    (tmp_path / "secret").write_bytes(b"secret")
    before = subprocess.run(["find", tmp_path, "-printf", "%p %m %n %s %T@\n"], capture_output=True, check=True).stdout
    (tmp_path / "out").mkdir()
    os.utime(tmp_path, ns=(0, int(float(before.split(b"\n")[0].split()[-1]) * 1e9)))
    with pytest.raises(ColdstoreError):
        restored(tmp_path / "out", hostile + END)
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert (tmp_path / "secret").stat().st_nlink == 1
    assert sorted(os.listdir(tmp_path)) == ["out", "secret"]
    assert tmp_path.stat().st_mode & 0o777 != 0o777


def test_a_link_that_leads_out_is_made_but_not_followed(tmp_path):
    """It is what the snapshot held; only writing through it would be wrong. Absolute names lose their slash."""
    out = tmp_path / "out"
    restored(out, member(b"way", b"2", link=b"/etc") + member(b"/absolute/name", data=b"x") + END)
    assert os.readlink(out / "way") == "/etc"
    assert (out / "absolute" / "name").read_bytes() == b"x"


def test_a_link_that_was_there_before_is_not_followed(tmp_path):
    """Also where overwriting is allowed."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "d").symlink_to(elsewhere)
    with pytest.raises(Permanent, match="in the way"):
        restored(out, member(b"d/file", data=b"x") + END, overwrite=True)
    assert os.listdir(elsewhere) == []


def test_a_deep_tree_comes_back_with_few_directories_open(tmp_path):
    """1,500 levels, more than a process may hold open by default."""
    names = [b"/".join([b"d"] * depth) for depth in range(1, 1500)]
    data = b"".join(member(name, b"5", mode=0o711) for name in names) + member(names[-1] + b"/file", data=b"x") + END
    target = restored(tmp_path / "out", data)
    assert target.members == 1500
    fd = os.open(tmp_path / "out", os.O_RDONLY)
    for _level in range(1499):
        following = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = following
        status = os.fstat(fd)
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o711, 0)
    assert os.listdir(fd) == ["file"]
    os.close(fd)
    subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)


def test_a_large_file_is_on_its_way_to_disk_once_it_is_written(tmp_path):
    """ext4 that gets full holds up its writers until all that waits in memory is on disk: less must wait by then."""
    image = tmp_path / "image"
    subprocess.run(["mkfs.ext4", "-q", image, "256M"], check=True)
    with mounted(image, "loop") as root:
        restored(root / "out", member(b"large", data=b"x" * (2 << 20)) + END)
        shown = subprocess.run(["filefrag", "-v", root / "out" / "large"], check=True, capture_output=True, text=True).stdout
    assert "eof" in shown
    assert "delalloc" not in shown  # its place on disk is not yet decided


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_of_others_are_understood(tmp_path, form):
    """Long names, links and large numbers as GNU tar, Python and old tars write them."""
    data = io.BytesIO()
    long = "n" * 90 + "/" + "m" * 60
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for name, kind, link in (("d/", tarfile.DIRTYPE, ""), (long, tarfile.REGTYPE, ""), ("l", tarfile.SYMTYPE, "t" * 99)):
            item = tarfile.TarInfo(name)
            item.type, item.linkname, item.mtime = kind, link, 1_500_000_000
            item.uid = 12 if form == tarfile.USTAR_FORMAT else 3_000_000
            item.size = 5 if kind == tarfile.REGTYPE else 0
            archive.addfile(item, io.BytesIO(b"hello") if item.size else None)
    restored(tmp_path / "out", data.getvalue())
    assert (tmp_path / "out" / long).read_bytes() == b"hello"
    assert (tmp_path / "out" / long).stat().st_uid in (12, 3_000_000)
    assert os.readlink(tmp_path / "out" / "l") == "t" * 99
    assert (tmp_path / "out" / "d").is_dir()


def test_gnu_tars_own_archive_comes_back(tmp_path, tree):
    """What snap-to-s3 made: `tar -c .`, by the tar that made it."""
    data = subprocess.run(["tar", "--format=gnu", "-C", tree, "-c", "."], capture_output=True, check=True).stdout
    restored(tmp_path / "out", data, devices=True)
    subprocess.run(["mkdir", tmp_path / "theirs"], check=True)
    subprocess.run(["tar", "-C", tmp_path / "theirs", "-xp", "--numeric-owner"], input=data, check=True)
    assert compare(tmp_path / "theirs", tmp_path / "out", holes=False) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:100] + b"!" + data[101:], "not a tar header"),
        (lambda data: data[:1000], "cut short"),
        (lambda data: data[:-1024], "cut short"),
        (lambda data: b"\x01" * 512 + data, "not a tar header|lacks a number"),
        (lambda data: b"", "cut short"),
    ],
)
def test_a_damaged_stream_is_refused(tmp_path, damage, words):
    """A header that does not add up, and an end that is missing."""
    data = member(b"file", data=b"x" * 3000) + END
    with pytest.raises(Corrupt, match=words):
        restored(tmp_path / "out", damage(data))
    assert MARKER in os.listdir(os.fsencode(tmp_path / "out"))


@pytest.mark.parametrize("text", [b"3\nx\n", b"99999999999\n", b"1\n0\n", b"1\n0\n99999\n"])
def test_a_damaged_map_of_holes_is_refused(tmp_path, text):
    """It is never guessed at."""
    name, records = pax.sparse(b"./file", 10_000)
    table = text.ljust(512, b"\0")
    data = pax.header(b"./file", b"0", 0o644, 0, 0, 0, len(table) + 10, extra=records, stored_name=name) + table + bytes(512)
    with pytest.raises(Corrupt):
        restored(tmp_path / "out", data + END)


def test_what_the_filesystem_cannot_hold_is_listed(tmp_path, tree, content, monkeypatch):
    """The file is there; the attribute that is not is named."""

    def refuse(*_args, **_options):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    target = restored(tmp_path / "out", content)
    assert (b"directory/hard", "user.k=v%", "Operation not supported") in [tuple(each) for each in target.troubles]
    assert target.trouble_count == len(target.troubles)
    assert (tmp_path / "out" / "plain").read_bytes() == (tree / "plain").read_bytes()


@pytest.mark.parametrize(
    ("patterns", "yes", "no"),
    [
        (["etc"], [b"etc", b"etc/passwd", b"etc/a/b"], [b"etcetera", b"usr/etc", b"."]),
        (["etc/*.conf"], [b"etc/a.conf"], [b"etc/a/b.conf", b"etc/a.config"]),
        (["**/id_rsa"], [b"id_rsa", b"home/x/.ssh/id_rsa"], [b"home/id_rsa.pub"]),
        (["home/**/x?"], [b"home/x1", b"home/a/b/xy"], [b"home/x", b"x1"]),
        (["[ab]*/[!c]"], [b"a/b", b"bb/x/y"], [b"a/c", b"c/b", b"a//"]),
        (["a\\b", "a+b("], [b"a\\b", b"a+b("], [b"ab"]),
        (["größe", "./x/"], ["größe".encode(), b"x", b"x/y"], [b"gr"]),
        (["/"], [b".", b"anything/at/all"], []),
        (["new\nline*"], [b"new\nline", b"new\nline 2"], [b"new"]),
    ],
)
def test_what_a_pattern_means(patterns, yes, no):
    """One rule: from the root, * within a name, ** across names, a directory with what it holds."""
    selection = Selection(patterns)
    assert [path for path in yes if not selection.wants(path)] == []
    assert [path for path in no if selection.wants(path)] == []


@pytest.mark.parametrize("pattern", ["", "../x", "a/../../b"])
def test_a_pattern_that_leads_out_is_refused(pattern):
    """Before anything is fetched."""
    with pytest.raises(Refused, match="not a path inside"):
        Selection([pattern])


def test_a_directory_that_is_full_says_what_makes_room(tmp_path, monkeypatch):
    """A larger volume, where it is one that was made for this."""
    target = DirectoryTarget(str(tmp_path / "out"))

    def full(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(target._untar, "feed", full)
    with pytest.raises(Permanent, match=r"No space left on device.*coldstore_restore_size"):
        target.write(0, b"x")
    target.close()
