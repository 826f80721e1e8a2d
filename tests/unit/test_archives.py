# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of archive as a source, and what is special of each."""

import io
import os
import random
import subprocess
from contextlib import closing
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import opened, segments
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives.indexed import IndexedArchive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives.stream import StreamArchive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import fsp
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.copy import _wanted, copy
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Chunk, Range, Stored
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import rows as reading
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from fakes import BytesSource, BytesTarget
from foreign import put, put_segments, put_stream
from helpers import DATA, archived, over_objects, read
from hypothesis import given, settings
from hypothesis import strategies as st
from suites.archive_suite import ArchiveSuite, differences
from trees import filled

KIB = 1024
NOISE = random.Random(3).randbytes(6 << 20)


class TestIndexed(ArchiveSuite):
    @pytest.fixture(params=[("lz4", ()), ("zstd", ()), ("zstd", (1,)), ("lz4", (1, 2, 4))], ids=str)
    def entry(self, request, memory):
        codec, ends = request.param
        made = archived(memory, codec=codec).manifest["archives"][0]
        return over_objects(memory, made, ends) if ends else made

    @pytest.fixture
    def source(self, memory, entry):
        with closing(read(memory, entry)) as archive:
            yield archive

    @pytest.fixture
    def again(self, memory, entry):
        with closing(read(memory, entry)) as archive:
            yield archive

    @pytest.fixture
    def content(self):
        return DATA

    @pytest.fixture
    def objects(self, entry):
        return [each["key"] for each in entry["objects"]]


class Found(ArchiveSuite):
    """Of what another tool left in the bucket."""

    @pytest.fixture
    def source(self, memory, found):
        with closing(opened(memory, found, 2)) as archive:
            yield archive

    @pytest.fixture
    def again(self, memory, found):
        with closing(opened(memory, found, 2)) as archive:
            yield archive


class TestStream(Found):
    @pytest.fixture(params=["lz4", "zstd"])
    def found(self, request, memory):
        encoders = {
            "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
            "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
        }
        return put_stream(memory, "img", request.param, encoders[request.param](self.whole))

    whole = NOISE + bytes(3 << 20)
    proved = False

    @pytest.fixture
    def content(self):
        return self.whole

    @pytest.fixture
    def objects(self, found):
        return [found.key]


class TestSegments(Found):
    """Of a volume of 8 MiB: three segments, and holes before, between and behind them."""

    blocks = {1: NOISE[: 2 * fsp.BLOCK], 10: NOISE[: fsp.BLOCK], 4: NOISE[-fsp.BLOCK :]}

    @pytest.fixture
    def found(self, memory, monkeypatch):
        monkeypatch.setattr(segments, "_GIB", 8 << 20)
        return put_segments(memory, self.blocks)

    @pytest.fixture
    def content(self):
        made = bytearray(8 << 20)
        for first, data in self.blocks.items():
            made[first * fsp.BLOCK : first * fsp.BLOCK + len(data)] = data
        return bytes(made)

    @pytest.fixture
    def objects(self, memory, found):
        return memory.client.keys("b")


def test_segments_are_planned_by_their_place(memory, monkeypatch):
    """A listing sorts 10 before 4; those that overlap are both read, and what is none comes first."""
    monkeypatch.setattr(segments, "_GIB", 8 << 20)
    found = put_segments(memory, {10: b"a" * fsp.BLOCK, 4: b"b" * 2 * fsp.BLOCK, 5: b"b" * fsp.BLOCK})
    archive = opened(memory, found, 2)
    planned = [(chunk.offset // fsp.BLOCK, chunk.length // fsp.BLOCK, chunk.hole) for chunk in archive.plan()]
    assert planned == [(0, 4, True), (4, 2, False), (5, 1, False), (6, 4, True), (10, 1, False), (11, 5, True)]
    assert archive.frame_count == 3
    put(memory, f"{found.key}nonsense", b"?" * 100)
    first = next(archive.plan())
    with pytest.raises(Corrupt, match="not a segment of the volume") as caught:
        archive.read(first)
    assert caught.value.facts["key"] == f"{found.key}nonsense"


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        (lambda body: body + b"more", "size"),
        (lambda body: body[:-20] + bytes([body[-20] ^ 1]) + body[-19:], "seek table"),
    ],
)
def test_what_lies_behind_the_last_frame_is_compared(memory, change, attribute):
    """Also where it lies in another object than the frames, or over two of them."""
    entry = archived(memory).manifest["archives"][0]
    (whole,) = entry["objects"]
    body = change(memory.get(whole["key"]).body)
    cut = entry["objects"][0]["size"] - 30  # within the seek table
    parts = [dict(whole, key=f"part.{n}", size=len(data)) for n, data in enumerate((body[:cut], body[cut:]))]
    put(memory, "part.0", body[:cut])
    put(memory, "part.1", body[cut:])
    with closing(read(memory, dict(entry, objects=parts))) as archive:
        assert [fault[0] for fault in archive.faults()] == [attribute]
    put(memory, "part.1", memory.get(whole["key"]).body[cut:])
    put(memory, "part.0", memory.get(whole["key"]).body[:cut])
    parts[1]["size"] = whole["size"] - cut
    with closing(read(memory, dict(entry, objects=parts))) as archive:
        assert list(archive.faults()) == []


def test_objects_that_end_before_their_index_says_so_are_corrupt(memory):
    """One of several objects is missing from the manifest, or an archive was cut."""
    made = over_objects(memory, archived(memory).manifest["archives"][0], (2,))
    with closing(read(memory, dict(made, objects=made["objects"][:1]))) as archive:
        found, _totals = differences(archive, None, memory.stop)
    assert {attribute for _key, attribute, _offset in found} == {"frame", "size", "seek table"}


def test_an_archive_over_objects_is_validated_and_a_difference_names_the_object(memory):
    """With the offset in that object; frames are counted over all."""
    made = over_objects(memory, archived(memory).manifest["archives"][0], (2,))
    first, second = made["objects"]
    with closing(read(memory, made)) as archive:
        assert differences(archive, BytesSource(DATA, 1 << 20), memory.stop)[1].frames == 5
        frame = list(archive.index.frames())[2]
        assert frame.offset == first["size"]
        memory.client.damage("b", second["key"], 100)
        assert differences(archive, None, memory.stop)[0] == [(second["key"], "frame", 0)]


@pytest.mark.parametrize("kind", ["image", "tar"])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, len(DATA) - 1, len(DATA) + 1, len(DATA) + (3 << 20)])
def test_a_source_of_another_length_is_not_equal(memory, kind, size):
    """Also where all that one of them lacks is zeros within its last chunk."""
    entry = archived(memory, kind=kind).manifest["archives"][0]
    with closing(read(memory, entry)) as archive:
        found, _totals = differences(archive, BytesSource((DATA + bytes(3 << 20))[:size]), memory.stop)
    assert (entry["key"], "length", None) in found


def test_chunks_of_another_length_are_not_equal(memory):
    """A manifest that somebody changed has not all bytes of each chunk compared, though all of them are zeros."""
    entry = archived(memory, bytes(4 << 20), kind="tar").manifest["archives"][0]
    for chunk in (1 << 19, 1 << 21):
        with closing(read(memory, entry)) as archive:
            found, _totals = differences(archive, BytesSource(bytes(4 << 20), chunk), memory.stop)
        assert (entry["key"], "length", None) in found


def test_an_archive_is_as_large_as_its_manifest_says(memory):
    """Otherwise what is restored would end in zeros that nobody archived."""
    entry = archived(memory).manifest["archives"][0]
    with closing(read(memory, dict(entry, raw_size=entry["raw_size"] + 1))) as archive:
        for _time in range(2):
            with pytest.raises(Corrupt, match="another size than the index"):
                archive.load()


def test_a_tree_is_planned_from_its_index_as_it_was_from_the_disk(memory, tmp_path):
    """Chunks and members: an archive can stand where its source did."""
    tree = filled(tmp_path / "tree")
    entry = archived(memory, tree=tree).manifest["archives"][0]
    planned, there = [], []
    source = TarSource(str(tree), chunk_size=entry["chunk"])
    lengths = [(chunk.offset, chunk.length) for chunk in source.plan(planned.append)]
    with closing(read(memory, entry)) as archive:
        assert [(chunk.offset, chunk.length) for chunk in archive.plan(there.append)] == lengths
        assert there == planned
        assert len(there) == archive.member_count
        assert archive.remarks() == source.remarks()


@given(st.lists(st.tuples(st.integers(1, 3 << 20), st.integers(1, 40 << 20), st.booleans(), st.integers(0, 900)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_rows_hold_what_lies_side_by_side_and_not_too_much_of_it(frames):
    """In order, each once; one alone may be as large as it likes."""
    wanted, at, raw = [], 0, 0
    for length, raw_length, apart, weight in frames:
        at += 7 if apart else 0
        wanted.append((Chunk(raw, raw_length, (Stored(0, "k", "", at, length),)), weight))
        at, raw = at + length, raw + raw_length
    rows = list(reading._rows(iter(wanted), lambda weight: weight, 100 << 20))
    assert [each for row in rows for each in row] == wanted
    for row in rows:
        pieces = [chunk.pieces[0] for chunk, _weight in row]
        assert all(one.offset + one.length == other.offset for one, other in zip(pieces, pieces[1:]))
        if len(row) > 1:
            assert sum(piece.length for piece in pieces) <= 8 << 20
            assert sum(chunk.length for chunk, _weight in row) <= 100 << 20
            assert sum(weight for _chunk, weight in row[:-1]) <= 5000


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=20), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 200)), max_size=9)
)
@settings(max_examples=200, deadline=None)
def test_what_is_wanted_of_chunks_is_what_lies_in_the_cuts(lengths, steps):
    """Every byte of every cut once, in order, out of the chunk that holds it."""
    chunks, at = [], 0
    for length in lengths:
        chunks.append(Chunk(at, length))
        at += length
    cuts, end = [], 0
    for gap, length in steps:
        cuts.append((end + gap, end + gap + length))
        end += gap + length
    found = []
    for chunk, parts in _wanted(iter(chunks), iter(cuts)):
        assert parts
        for begin, stop in parts:
            assert chunk.offset <= begin < stop <= chunk.offset + chunk.length
            found += range(begin, stop)
    assert found == [byte for begin, stop in cuts for byte in range(begin, min(stop, at))]


@pytest.fixture(scope="module")
def archive_of_noise():
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
    from memory import MemoryS3

    store = Store(MemoryS3("b"), "b")
    made = archived(store, NOISE, codec="lz4").manifest["archives"][0]
    return store, over_objects(store, made, (1, 3))


@given(st.lists(st.tuples(st.integers(0, 2 << 20), st.integers(1, 1 << 20)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_cuts_are_copied_and_nothing_else(archive_of_noise, steps):
    """From whichever objects hold them."""
    store, entry = archive_of_noise
    cuts, end = [], 0
    for gap, length in steps:
        cuts.append((end + gap, min(end + gap + length, len(NOISE))))
        end += gap + length
    expected = bytearray(len(NOISE))
    for begin, stop in cuts:
        expected[begin:stop] = NOISE[begin:stop]
    target = BytesTarget(len(NOISE))
    with closing(read(store, entry)) as archive:
        copy(archive, [target], 2, store.stop, iter([cut for cut in cuts if cut[0] < cut[1]]))
    assert target.content == expected


@given(st.sets(st.integers(0, len(NOISE) - 1), max_size=12))
@settings(max_examples=25, deadline=None)
def test_every_block_that_differs_is_named_and_no_other(archive_of_noise, places):
    """Wherever they lie."""
    store, entry = archive_of_noise
    other = bytearray(NOISE)
    for at in places:
        other[at] ^= 255
    with closing(read(store, entry)) as archive:
        found, totals = differences(archive, BytesSource(bytes(other), 1 << 20), store.stop)
    assert [offset for _key, _attribute, offset in found] == sorted({at - at % 512 for at in places})
    assert totals.bytes == len(NOISE)


@given(st.integers(0, 1 << 30), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_byte_that_is_damaged_is_found_without_a_volume(archive_of_noise, place, change):
    """In a frame, between two, or behind the last; its own object is named, and nothing else differs."""
    store, entry = archive_of_noise
    number = place % len(entry["objects"])
    there = entry["objects"][number]
    body = bytearray(store.get(there["key"]).body)
    at = place % len(body)
    body[at] ^= change
    whole = store.client.objects["b"][there["key"]][-1].body
    store.client.damage("b", there["key"], body=bytes(body))
    try:
        with closing(read(store, entry)) as archive:
            found, _totals = differences(archive, None, store.stop)
    finally:
        store.client.damage("b", there["key"], body=whole)
    ((key, attribute, offset),) = found
    assert (key, attribute) == (there["key"], "frame")
    assert offset <= at


def test_a_tar_of_another_tool_says_which_files_lie_in_a_chunk(tmp_path):
    """As the plan of a filesystem does, in whatever blocks it comes; holes are told, too."""
    tree = filled(tmp_path / "tree")
    stream = subprocess.run(["tar", "-S", "--format=pax", "-C", tree, "-c", "."], capture_output=True, check=True).stdout
    archive = StreamArchive("key", "tar", lambda: io.BytesIO(stream))
    members = []
    files = {}
    for chunk in archive.plan(members.append):
        for piece in chunk.pieces[1:]:
            content = files.setdefault(piece.path, bytearray(piece.size))
            if isinstance(piece, Range):
                content[piece.start : piece.start + piece.length] = archive.read(chunk)[piece.position :][: piece.length]
            else:
                assert not any(content[piece.start : piece.start + piece.length])
    assert archive.member_count == len(members) > 15
    for path, content in files.items():
        assert (Path(os.fsdecode(os.fsencode(tree) + b"/" + path))).read_bytes() == content
    assert {each.path for each in members if each.type == "file" and each.size} == set(files)
    assert {piece for chunk in archive.plan() for piece in chunk.pieces[1:]} == set()  # nobody asked


def test_an_archive_that_its_manifest_does_not_describe_is_refused(memory):
    """What a listing knows of an archive of ours is not enough to read it."""
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import FoundArchive

    with pytest.raises(Corrupt, match="does not describe"):
        opened(memory, FoundArchive("key", None, "image", "lz4", False, 1, "ours"), 1)


def test_an_index_is_fetched_once_and_only_when_it_is_needed(memory):
    """How large an archive is its manifest says."""
    entry = archived(memory).manifest["archives"][0]
    memory.client.calls.clear()
    with closing(read(memory, entry)) as archive:
        assert isinstance(archive, IndexedArchive)
        assert (archive.size, memory.client.calls) == (len(DATA), [])
        for _time in range(2):
            assert archive.frame_count == len(list(archive.plan())) == 5
        assert memory.client.calls == ["GetObject"]
