# SPDX-License-Identifier: GPL-3.0-or-later
"""3. Memory is bounded by frames and parts in flight; what grows with the number of files is on disk."""

import os
import random
import subprocess
import sys
import tarfile
import tracemalloc
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, copy, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import stream as streams
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives.indexed import IndexedArchive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import find
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import MIB
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.uploads import Part, part_size
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.codecs import codec, seek_table
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents.index import Index, IndexWriter
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Bytes, Chunk, Member, Stored, pax, rows
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.spool import Extents
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.untar import Consumer, Untar
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import frames, journal, upload
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing.frames import Noted
from conftest import REPO, TREE
from fakes import SNAPSHOT, BytesSource
from foreign import compared
from helpers import archived, settings
from trees import mounted


class Endless(BytesSource):
    """96 MiB of noise in chunks, made when they are read."""

    def __init__(self, outstanding):
        from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Chunk

        self.chunks = [Chunk(n << 20, 1 << 20) for n in range(96)]
        self.outstanding = outstanding
        self.problems = []

    def read(self, chunk):
        self.outstanding[0] += chunk.length
        self.outstanding[1] = max(self.outstanding)
        return os.urandom(chunk.length)


def test_invariant_3_a_slow_bucket_does_not_pile_up_frames(memory):
    """Bytes read and not yet sent stay below (threads + ahead) chunks and (streams + 1) parts, of 96 MiB."""
    outstanding = [0, 0]
    client = memory.client

    class Slow:
        def __getattr__(self, name):
            return getattr(client, name)

        def upload_part(self, **arguments):
            reply = client.upload_part(**arguments)
            outstanding[0] -= arguments["ContentLength"]
            return reply

    wanted = settings(threads=2, streams=2)
    piece = archive.Section(None, Endless(outstanding), 96 << 20)
    archive.archive_snapshot(replace(memory, client=Slow()), SNAPSHOT, {}, "image", [piece], wanted)
    bound = (wanted.threads + archive._AHEAD + 1) * MIB + (wanted.streams + 1) * (part_size(1, 96 << 20) + 2 * MIB)
    assert 8 * MIB < outstanding[1] <= bound


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_invariant_3_short_frames_take_what_they_hold(name):
    """Hundreds of them wait for their part: none keeps the room that a chunk that does not compress would need."""
    coder = codec(name)
    text = b"all work and no play " * 200_000
    tracemalloc.start()
    try:
        frames = [coder.encode(text) for _number in range(8)]
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * sum(map(len, frames)) < len(text)


def test_invariant_3_frames_of_zeros_do_not_pile_up_in_a_part(memory, monkeypatch):
    """A part of a 16 TiB volume is of gigabytes, into which millions of frames of zeros would go: it is cut before."""
    monkeypatch.setattr(upload, "part_size", lambda _number, _expected: 1 << 30)
    monkeypatch.setattr(frames, "_FRAMES_HELD", 7)
    data = random.Random(3).randbytes(20 * MIB)
    sent = []

    class Client:
        def __getattr__(self, name):
            return getattr(memory.client, name)

        def upload_part(self, **arguments):
            sent.append(arguments["ContentLength"])
            return memory.client.upload_part(**arguments)

    piece = archive.Section(None, BytesSource(data), 16 << 40)
    archive.archive_snapshot(replace(memory, client=Client()), SNAPSHOT, {}, "image", [piece], settings(streams=1))
    assert [size // MIB for size in sent] == [7, 7, 6]


def test_invariant_3_what_a_resumed_upload_has_done_is_on_disk(tmp_path):
    """A terabyte has a quarter of a million frames."""
    noted = [Noted(n, 4 * MIB, f"{n:064x}", f"{n:032x}") for n in range(500)]
    tracemalloc.start()
    try:
        found = journal.Journal(None, str(tmp_path))
        for number in range(1, 101):
            found.add([journal.Sent(Part(number, "etag", number, 16 * MIB), list(noted), 0)], [])
        kept, _peak = tracemalloc.get_traced_memory()
        again = list(islice(found.frames(), 1000))
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20
    assert again == [*noted, *noted]


def test_invariant_3_a_seek_table_is_made_block_by_block():
    """Of a 64 TiB volume it has 128 MiB."""
    blocks = list(seek_table(100_000, ((number, 4 * MIB) for number in range(100_000))))
    assert max(map(len, blocks)) <= 1 << 16
    assert sum(map(len, blocks)) == 8 + 800_000 + 9


@pytest.mark.parametrize("pieces", [1, 1000])
def test_invariant_3_a_validation_holds_few_chunks(memory, monkeypatch, pieces):
    """However short their frames are: what was planned and not yet compared is bounded, by bytes and by small files."""
    monkeypatch.setattr(rows, "RAW", 6 * MIB)
    outstanding = [0, 0]

    class Zeros(BytesSource):
        kind = "tar"

        def plan(self, on_member=None):
            for chunk in self.chunks:
                outstanding[0] += 1
                outstanding[1] = max(outstanding)
                yield chunk._replace(pieces=(Bytes(0, b"\0"),) * pieces)

        def read(self, chunk):
            outstanding[0] -= 1
            return super().read(chunk)

    data = bytes(96 * MIB)
    archived(memory, data, kind="tar")
    against = validate.Settings(sources={None: lambda _size: Zeros(data)}, against="zeros")
    if pieces > 1:
        monkeypatch.setattr(rows, "RAW", 1 << 40)
    said = validate.validate_snapshot(memory, SNAPSHOT, find(memory, "", SNAPSHOT), "full", against)
    assert (said["result"], said["bytes"]) == ("equal", len(data))
    assert 6 < outstanding[1] <= 6 * (against.threads + 4)


def test_invariant_3_a_restored_disk_of_zeros_is_fetched_in_pieces():
    """A quarter of a gigabyte a request, however little it takes in the bucket: a stop waits for what is under way."""
    frames = [Chunk(n * 4 * MIB, 4 * MIB, (Stored(0, "key", "", n * 145, 145),)) for n in range(1000)]
    found = list(rows._rows(((frame, [(0, 1)]) for frame in frames), len, rows.RAW))
    assert {len(row) for row in found[:-1]} == {64}
    assert sum(len(row) for row in found) == 1000


def test_invariant_3_parts_of_huge_volumes_are_on_disk(tmp_path):
    """A 16 TiB volume needs parts of gigabytes; they are files."""
    assert isinstance(frames._room(part_size(1, 1 << 40), str(tmp_path)), list) is False
    assert frames._room(part_size(1, 100 << 30), str(tmp_path)) == []
    assert part_size(1, 16 << 40) > 1 << 30


def test_invariant_3_a_hundred_thousand_hard_links_take_no_memory(tmp_path):
    """Planning ten times as many files takes hardly more memory: peak of two processes, compared."""
    code = (
        "import resource, sys\n"
        "from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource\n"
        "for _chunk in TarSource(sys.argv[1], spool=sys.argv[2]).plan(): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for name, count in (("few", 3_000), ("many", 60_000)):
        for folder in range(count // 1000):
            (tmp_path / name / f"{folder:03d}").mkdir(parents=True)
            first = tmp_path / name / f"{folder:03d}" / "first"
            first.touch()
            for number in range(999):
                os.link(first, tmp_path / name / f"{folder:03d}" / f"link with a longer name {number}")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path)], capture_output=True, text=True, check=True,
            env={"PYTHONPATH": str(TREE)}, cwd=REPO,
        )  # fmt: skip
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 12_000  # KiB


def test_invariant_3_a_backup_of_hard_links_is_restored_from_disk(tmp_path):
    """One day of many: each file of it is a link to one that is not wanted and whose contents it needs."""
    with IndexWriter("key", "tar", "zstd", 4096, "sha256", None) as writer:
        for day in (b"day-1/", b"day-2/"):
            for number in range(20_000):
                path = b"%d of some length in some directory" % number
                link = b"day-1/" + path if day == b"day-2/" else None
                writer.member(Member(day + path, "hardlink" if link else "file", 0, 512, 1, 0, 0, 0, 0, link, ""))
        file, _size, _digest = writer.finish()
    stored = {"key": "key", "version": "", "size": 0}
    opened = IndexedArchive(None, {"format": "tar", "codec": "lz4", "raw_size": 0, "objects": [stored]})
    opened._index = Index(file, "key")
    with closing(opened):
        tracemalloc.start()
        try:
            seen = copy.survey(opened, Selection(["day-2"]))
            _kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    with closing(seen.renamed) as renamed:
        assert (seen.members, len(renamed)) == (20_000, 20_000)
        assert renamed[b"day-1/7 of some length in some directory"] == b"day-2/7 of some length in some directory"
        assert next(iter(renamed)).startswith(b"day-1/")
        assert renamed.get(b"day-1/x") is None
    assert peak < 3 * MIB


def test_invariant_3_members_of_another_tools_tar_are_forgotten(tmp_path, monkeypatch):
    """There may be ten million of them."""
    monkeypatch.setattr(streams, "CHUNK", 1 << 16)
    path = tmp_path / "foreign.tar"
    with tarfile.open(path, "w") as file:
        for number in range(20_000):
            file.addfile(tarfile.TarInfo(f"a name of some length {number}"))
    with open(path, "rb") as stream:
        tracemalloc.start()
        try:
            _found, totals = compared(stream, None)
            _kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert totals.members == 20_000
    assert peak < 4 * MIB


def test_invariant_3_a_file_of_very_many_extents_takes_no_memory(tmp_path):
    """A database that punches holes into its pages: planned, read and restored extent by extent, with the map on disk."""
    count = 60_000
    image = tmp_path / "image"
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", image, "250M"], check=True)
    with mounted(image, "loop") as root:
        (root / "tree").mkdir()
        with open(root / "tree" / "pages", "wb", buffering=0) as file:
            for number in range(count):
                os.pwrite(file.fileno(), b"page" * 256, number * 2048)
            file.truncate(count * 2048 + 5000)
        source = TarSource(str(root / "tree"), chunk_size=1 << 18, spool=str(tmp_path))
        target = DirectoryTarget(str(root / "out"), spool=str(tmp_path))
        tracemalloc.start()
        try:
            for chunk in source.plan():
                target.write(chunk.offset, source.read(chunk))
            target.finish()
            _kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            target.close()
        assert peak < 3 * MIB
        assert (root / "out" / "pages").stat().st_blocks == (root / "tree" / "pages").stat().st_blocks
        subprocess.run(["cmp", root / "tree" / "pages", root / "out" / "pages"], check=True)
        data = b"".join(bytes(source.read(chunk)) for chunk in source.plan())
        (tmp_path / "tar").write_bytes(data)
    listed = subprocess.run(["tar", "-tvf", tmp_path / "tar"], capture_output=True, text=True, check=True).stdout
    assert f" {count * 2048 + 5000} " in listed


def test_invariant_3_a_map_of_holes_is_taken_in_as_it_comes():
    """Four million extents have a map of 85 MB, which is read in pieces."""
    count = 200_000
    extents = Extents()
    for number in range(count):
        extents.add(number << 13, 1)
    size = count << 13
    name, records = pax.sparse(b"./pages", size)
    stored = sum(map(len, pax.sparse_map(size, extents))) + count
    seen = [0, 0]

    class Counting(Consumer):
        def data(self, offset, view):
            seen[0] += offset == seen[1] << 13
            seen[1] += 1

    reader = Untar(Counting())
    tracemalloc.start()
    try:
        reader.feed(pax.header(b"./pages", b"0", 0o644, 0, 0, 0, stored, extra=records, stored_name=name))
        for piece in pax.sparse_map(size, extents):
            reader.feed(piece)
        reader.feed(bytes(count + -stored % 512) + pax.END)
        reader.finish()
        _kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == [count, count]
    assert peak < 3 * MIB
