# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree as a planned tar stream."""

import io
import os
import socket
import subprocess
import tarfile

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import pax, status, tar
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from hypothesis import given
from hypothesis import strategies as st
from suites.source_suite import SourceSuite
from trees import compare, extract, filled


@pytest.fixture
def root(tmp_path):
    return filled(tmp_path / "tree")


@pytest.fixture
def source(root):
    return TarSource(str(root), chunk_size=32 * 1024)


@pytest.fixture
def again(root):
    return TarSource(str(root), chunk_size=32 * 1024)


def stream(source, members=None):
    return b"".join(bytes(source.read(chunk)) for chunk in source.plan((members if members is not None else []).append))


class TestTarSource(SourceSuite):
    def test_gnu_tar_brings_every_attribute_back(self, source, root, tmp_path):
        """Types, modes, owners, times, links, holes, attributes, ACLs, capabilities, contents."""
        extract(stream(source), tmp_path / "out", "tar")
        assert compare(root, tmp_path / "out") == []

    def test_bsdtar_reads_it_too(self, source, root, tmp_path):
        """Another reader of the format agrees. It leaves the directory it was started in alone, knows ACLs by other
        names, and does not undo GNU tar's escapes in names of attributes."""
        extract(stream(source), tmp_path / "out", "bsdtar")
        differences = compare(root, tmp_path / "out", holes=False)
        assert [each for each in differences if each[0] != b"." and each[1] != "xattrs"] == []

    def test_any_chunk_size_gives_the_same_stream(self, root):
        """Headers and files are cut anywhere."""
        whole = stream(TarSource(str(root)))
        for size in (512, 1024, 5120, 65536):
            assert stream(TarSource(str(root), chunk_size=size)) == whole

    def test_members_say_where_they_lie(self, source):
        """The stretch of each member, cut out, is a tar of that member."""
        members = []
        data = stream(source, members)
        for member in members:
            piece = data[member.offset : member.offset + member.length]
            if member.type == "socket":
                assert member.length == 0
                continue
            with tarfile.open(fileobj=io.BytesIO(piece + bytes(1024)), errors="surrogateescape") as archive:
                found = archive.next()
                assert os.path.normpath(found.name).encode("utf-8", "surrogateescape") == member.path
        assert sum(member.length for member in members) == len(data) - 1024

    def test_a_socket_is_reported_and_takes_no_bytes(self, root):
        """tar has no type for it, and nobody should wonder where it went."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(root / "sock"))
            members = []
            stream(TarSource(str(root)), members)
        assert [m.path for m in members if m.type == "socket"] == [b"sock"]

    def test_a_path_beyond_the_kernels_limit_is_archived(self, tmp_path):
        """4,096 bytes of path are no limit to a tree."""
        here = os.open(tmp_path, os.O_RDONLY)
        for _level in range(30):
            os.mkdir("d" * 250, dir_fd=here)
            below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        deep = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here)
        os.write(deep, b"deep down")
        os.close(deep)
        os.close(here)
        members = []
        data = stream(TarSource(str(tmp_path)), members)
        assert len(members[-1].path) > 7500
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            last = archive.getmembers()[-1]
            assert archive.extractfile(last).read() == b"deep down"

    def test_a_directory_of_many_names_is_sorted_on_disk(self, tmp_path, monkeypatch):
        """More names than are held in memory come out in order."""
        for number in range(500):
            (tmp_path / f"{(number * 7919) % 500:04d}").touch()
        monkeypatch.setattr(tar, "sorted_on_disk", _small)
        members = []
        stream(TarSource(str(tmp_path)), members)
        paths = [member.path for member in members[1:]]
        assert paths == sorted(paths)
        assert len(paths) == 500

    @pytest.mark.parametrize("size", [5, 5000])
    def test_a_file_that_changes_size_is_an_error_that_names_it(self, root, size):
        """Shrunk or grown between plan and read."""
        source = TarSource(str(root))
        (root / "alone").write_bytes(b"x" * 1000)
        chunks = list(source.plan())
        os.truncate(root / "alone", size)
        with pytest.raises(Permanent) as caught:
            for chunk in chunks:
                source.read(chunk)
        assert caught.value.facts["path"] == b"alone"

    def test_what_cannot_be_read_is_zeros_and_listed_if_allowed(self, root):
        """on_error=zero keeps the layout, notes the place once, and the archive stays readable."""
        source = TarSource(str(root), on_error="zero")
        (root / "alone").write_bytes(b"x" * 1000)
        chunks = list(source.plan())
        os.truncate(root / "alone", 400)
        data = b"".join(bytes(source.read(chunk)) for chunk in chunks + chunks)
        assert [(p.path, p.offset, p.length) for p in source.problems] == [(b"alone", 400, 600)]
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
            assert archive.extractfile("./alone").read() == b"x" * 400 + bytes(600)

    @pytest.mark.parametrize("size", [5000, 4096, 0, None])
    def test_a_chunk_from_the_inside_of_a_file_is_as_careful(self, root, size):
        """A file of several chunks that is cut short or gone: the rest is zeros, and what is missing is listed."""
        content = os.urandom(3 * 4096)
        (root / "alone").write_bytes(content)
        source = TarSource(str(root), chunk_size=4096, on_error="zero")
        chunks = [chunk for chunk in source.plan() if any(b"alone" in piece for piece in chunk.pieces)]
        inside = [chunk for chunk in chunks if len(chunk.pieces) == 1 and chunk.pieces[0].length == 4096]
        assert inside
        whole = [bytes(source.read(chunk)) for chunk in inside]
        starts = [chunk.pieces[0].start for chunk in inside]
        assert whole == [content[start : start + 4096] for start in starts]
        if size is None:
            (root / "alone").unlink()
        else:
            os.truncate(root / "alone", size)
        left = content[: size or 0]
        assert [bytes(source.read(chunk)) for chunk in inside] == [left[start:][:4096].ljust(4096, b"\0") for start in starts]
        missing = [(max(start, size or 0), start + 4096) for start in starts if start + 4096 > (size or 0)]
        assert [(p.offset, p.offset + p.length) for p in source.problems] == missing

    def test_other_filesystems_are_not_entered(self, root, monkeypatch):
        """Only subvolumes are, and only where they are asked for."""
        real = status.reader()
        other = os.fsencode(root / "directory")

        def lstat(path):
            found = real(path)
            return found._replace(st_dev=(0, 99)) if path.startswith(other) else found

        monkeypatch.setattr(tar, "reader", lambda: lstat)
        for subvolumes in (False, True):
            members = []
            list(TarSource(str(root), subvolumes=subvolumes).plan(members.append))
            assert any(m.path.startswith(b"directory/") for m in members) is subvolumes

    def test_flags_that_are_lost_are_counted(self, root):
        """By chattr's names for them, each time anew."""
        subprocess.run(["chattr", "+i", root / "plain"], check=True)
        subprocess.run(["chattr", "+ad", root / "directory"], check=True)
        try:
            source = TarSource(str(root))
            for _again in range(2):
                list(source.plan())
                assert source.flags == {"immutable": 1, "append": 1, "nodump": 1}
        finally:
            subprocess.run(["chattr", "-i", root / "plain"], check=True)
            subprocess.run(["chattr", "-ad", root / "directory"], check=True)

    def test_the_status_is_what_lstat_says(self, root):
        """Of files, links and nodes; a name that is not there is the same error."""
        read = status.reader()
        for name in ("plain", "directory", "directory/soft", "device", "empty", "sparse", "fifo"):
            found, said = read(os.fsencode(root / name)), os.lstat(root / name)
            same = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_mtime_ns")
            assert [getattr(found, each) for each in same] == [getattr(said, each) for each in same]
            assert (os.makedev(*found.st_dev), os.makedev(*found.st_rdev)) == (said.st_dev, said.st_rdev)
        with pytest.raises(FileNotFoundError):
            read(b"/nothing/there")

    def test_what_is_no_directory_is_refused(self, tmp_path):
        """Before anything is planned."""
        with pytest.raises(Refused):
            TarSource(str(tmp_path / "missing"))


@given(
    st.binary(min_size=1, max_size=300).filter(lambda b: b"\0" not in b and b"/" not in b and b not in (b".", b"..")),
    st.integers(-(2**40), 2**62),
    st.integers(0, 2**32 - 2),
    st.integers(0, 2**40),
    st.binary(max_size=120).filter(lambda b: b"\0" not in b),
)
def test_any_header_reads_back(name, mtime, owner, size, link):
    """tarfile, which knows pax, sees what was put in."""
    kind = b"2" if link else b"0"
    block = pax.header(b"./" + name, kind, 0o4755, owner, owner, mtime, 0 if link else size, link)
    assert len(block) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(block), encoding="utf-8", errors="surrogateescape") as archive:
        found = archive.next()
    assert found.name.encode("utf-8", "surrogateescape").rstrip(b"/") == (b"./" + name).rstrip(b"/")
    assert found.linkname.encode("utf-8", "surrogateescape") == link
    assert (found.uid, found.gid, found.mode) == (owner, owner, 0o4755)
    assert found.mtime == pytest.approx(mtime / 1e9)
    assert link or found.size == size


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=300), max_size=3))
def test_a_record_counts_its_own_length(pairs):
    """Also where the length of the length changes it."""
    for key, value in pairs.items():
        text = pax.record(key, value)
        assert int(text.partition(b" ")[0]) == len(text)


def _small(names, spool):
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.spool import sorted_on_disk

    return sorted_on_disk(names, spool, limit=37)
