# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of any kind into a target: all of one, a selection, in any order or in order, and what is damaged."""

import os
import random
import subprocess
from contextlib import closing

import lz4.frame
import pytest
import zstandard
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import copy
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import opened
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import fsp
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.thawing import objects
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.to_device import to_device
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.to_directory import Wanted, survey, to_directory
from fakes import SNAPSHOT
from foreign import put, put_segments, put_stream
from helpers import DATA, archived, over_objects, read, restored
from trees import compare, filled


class Bytes:
    """A target that keeps what it is given, wherever it belongs."""

    def __init__(self, in_order=False):
        self.in_order = in_order
        self.written = {}

    def write(self, offset, data):
        assert not self.in_order or offset == sum(map(len, self.written.values()))
        self.written[offset] = bytes(data)

    def whole(self):
        return b"".join(data for _offset, data in sorted(self.written.items()))


def into(store, found, target):
    """Copy what another tool left; the bytes fetched."""
    with closing(opened(store, found, 2)) as archive:
        copy.copy(archive, [target], 2, store.stop)
        return archive.fetched


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_an_image_comes_back_byte_for_byte(memory, codec, in_order):
    """And what is fetched for it is what is stored, once."""
    entry = archived(memory, codec=codec).manifest["archives"][0]
    target = Bytes(in_order)
    fetched = restored(memory, entry, target)
    assert target.whole() == DATA
    stored = entry["objects"][0]["size"] + entry["index"]["size"]
    assert 0 <= stored - fetched < 200  # the seek table is not needed


@pytest.fixture
def tree(tmp_path):
    return filled(tmp_path / "tree")


def test_a_tree_comes_back_with_all_it_had(memory, tree, tmp_path):
    """Holes, links, names of any bytes, owners, times, attributes."""
    entry = archived(memory, tree=tree).manifest["archives"][0]
    (tmp_path / "out").mkdir()
    target = DirectoryTarget(str(tmp_path / "out"), devices=True)
    restored(memory, entry, target)
    target.finish()
    assert compare(tree, tmp_path / "out") == []


def selected(memory, entry, out, patterns):
    out.mkdir()
    selection = Selection(patterns, [])
    with closing(read(memory, entry)) as archive:
        survey = copy.survey(archive, selection)
        target = DirectoryTarget(str(out), selection, renamed=survey.renamed, cut=True)
        copy.copy(archive, [target], 2, memory.stop, copy.stretches(archive, selection, survey.renamed))
        target.finish()
        size = archive.fetched
    found = sorted(os.path.relpath(os.path.join(root, name), out) for root, _names, names in os.walk(out) for name in names)
    return survey, size, found


def test_one_file_is_fetched_without_the_rest(memory, tree, tmp_path):
    """By the frames that hold it."""
    (tree / "zz").write_bytes(random.Random(1).randbytes(9 << 20))
    entry = archived(memory, tree=tree).manifest["archives"][0]
    survey, size, found = selected(memory, entry, tmp_path / "out", ["directory/inner/file"])
    assert found == ["directory/inner/file"]
    assert (survey.members, survey.size) == (1, (tree / "directory/inner/file").stat().st_size)
    assert size < entry["objects"][0]["size"] / 2
    assert (tmp_path / "out/directory/inner/file").read_bytes() == (tree / "directory/inner/file").read_bytes()


def test_a_hard_link_brings_what_its_first_name_holds(memory, tree, tmp_path):
    """`plain` comes behind `directory/hard` in the stream, where its content is."""
    entry = archived(memory, tree=tree).manifest["archives"][0]
    survey, _size, found = selected(memory, entry, tmp_path / "out", ["plain"])
    assert dict(survey.renamed) == {b"directory/hard": b"plain"}
    assert (found, (tmp_path / "out/plain").read_bytes()) == (["plain"], b"plain\n")
    survey, _size, found = selected(memory, entry, tmp_path / "both", ["plain", "directory/hard"])
    assert (found, len(survey.renamed)) == (["directory/hard", "plain"], 0)
    assert (tmp_path / "both/plain").stat().st_ino == (tmp_path / "both/directory/hard").stat().st_ino


def test_a_selection_of_nothing_is_refused(memory, tree):
    """Before anything is fetched, with where to look."""
    entry = archived(memory, tree=tree).manifest["archives"][0]
    with pytest.raises(Refused, match="snapshot_archive_info"):
        copy.survey(read(memory, entry), Selection(["no/such"], []))


@pytest.mark.parametrize("in_order", [True, False])
def test_a_damaged_frame_is_named(memory, in_order):
    """By key and offset; nothing of it is written."""
    entry = archived(memory).manifest["archives"][0]
    stored = entry["objects"][0]
    with closing(read(memory, entry)) as archive:
        second = list(archive.index.frames())[1]
    memory.client.damage("b", stored["key"], second.offset + 5)
    target = Bytes(in_order)
    with pytest.raises(Corrupt, match="digest differs") as caught:
        restored(memory, entry, target)
    assert (caught.value.facts["key"], caught.value.facts["offset"]) == (stored["key"], second.offset)
    assert second.raw_offset not in target.written


# As the tools compress by default: with a checksum of the content.
ENCODERS = {
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_another_tools_image_comes_back(memory, codec):
    """Decoded from its beginning, a piece at a time."""
    archive = put_stream(memory, "img", codec, ENCODERS[codec](DATA))
    target = Bytes(in_order=True)
    assert into(memory, archive, target) == archive.size
    assert target.whole() == DATA


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "without its end", "flipped", "no stream", "empty"])
def test_another_tools_archive_that_was_damaged_is_named(memory, codec, damage):
    """Whatever its codec says of it; and one that is no stream at all."""
    body = ENCODERS[codec](DATA)
    bad = {
        "cut": body[:-1000],
        "without its end": body[:-1],
        "flipped": body[:1000] + bytes([body[1000] ^ 255]) + body[1001:],
        "no stream": b"no stream at all",
        "empty": b"",
    }
    archive = put_stream(memory, "img", codec, bad[damage])
    with pytest.raises(Corrupt, match=r"does not decode|cut short") as caught:
        into(memory, archive, Bytes(in_order=True))
    assert caught.value.facts["key"] == archive.key


def test_an_encrypted_archive_is_refused_with_what_to_do(memory):
    """It cannot be decoded here."""
    archive = put_stream(memory, "img", "lz4", b"secret", ".gpg")
    with pytest.raises(Refused, match="decrypt it with gpg"):
        into(memory, archive, Bytes())


def test_segments_come_back_where_they_belong(memory):
    """Blocks without one are left alone: they are zeros."""
    blocks = {0: b"a" * fsp.BLOCK, 7: random.Random(2).randbytes(2 * fsp.BLOCK)}
    archive = put_segments(memory, blocks)
    target = Bytes()
    assert into(memory, archive, target) == archive.size
    assert target.written == {first * fsp.BLOCK: data for first, data in blocks.items()}


def test_a_segment_that_is_not_what_its_key_says_is_named(memory):
    """Damaged, of another length, or outside of the volume."""
    archive = put_segments(memory, {0: b"a" * fsp.BLOCK})
    key = memory.client.keys("b")[0]
    for body in (b"no zstd", zstandard.compress(b"b" * fsp.BLOCK), zstandard.compress(b"a" * 2 * fsp.BLOCK)):
        memory.client.damage("b", key, body=body)
        with pytest.raises(Corrupt) as caught:
            into(memory, archive, Bytes())
        assert caught.value.facts["key"] == key
    beyond = put_segments(memory, {2048: b"c" * fsp.BLOCK})
    with pytest.raises(Corrupt, match="not a segment of the volume"):
        into(memory, beyond, Bytes())


def test_what_is_found_is_what_was_put(memory):
    """The helpers of these tests write what the tools write."""
    put_stream(memory, "img", "lz4", b"")
    assert [each.format for each in layouts.find(memory, "", SNAPSHOT).archives] == ["image"]


def test_a_restore_that_is_stopped_says_what_there_is(memory, tmp_path):
    """Nothing of it was undone, so that is not what it says."""
    entry = archived(memory, tree=filled(tmp_path / "tree")).manifest["archives"][0]
    wanted = Wanted(str(tmp_path / "out"), "", Selection(), devices=True)
    memory.stop.request("for a test")
    with pytest.raises(Stopped, match=r"What was restored so far stays in .*out, which is incomplete. Run again"):
        to_directory(memory, [layouts.described(entry)], wanted, copy.Settings())


def test_of_another_tools_tar_what_is_selected_comes_back(memory, tree, tmp_path):
    """All of it has to be read for that, and nothing is known before."""
    packed = subprocess.run(["tar", "-C", tree, "-c", "."], capture_output=True, check=True).stdout
    found = put_stream(memory, "tar", "zstd", ENCODERS["zstd"](packed))
    selection = Selection(["directory/inner"])
    assert survey(memory, found, Wanted("", "", selection), copy.Settings()).members == 0
    done = to_directory(memory, [found], Wanted(str(tmp_path / "out"), "", selection), copy.Settings())
    assert (done.bytes_fetched, done.members) == (found.size, 2)
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["file"]


@pytest.mark.parametrize("whole", [True, False])
def test_an_image_that_says_how_large_it_was_has_to_be(memory, tmp_path, whole):
    """What is cut short where a frame ends decodes, and is not whole; one that says nothing has no place to go to."""
    found = put_stream(memory, "img", "zstd", ENCODERS["zstd"](DATA))
    with pytest.raises(Refused, match="does not say how large"):
        to_device(memory, found, str(tmp_path / "image"), copy.Settings(), True, False)
    body = ENCODERS["zstd"](bytes(1 << 30) if whole else DATA)
    put(memory, found.key, body, Metadata={"snapshot-volumesize": "1"})
    found = found._replace(size=len(body))
    if whole:
        done = to_device(memory, found, str(tmp_path / "image"), copy.Settings(), True, False)
        assert (done.bytes_written, (tmp_path / "image").stat().st_size) == (0, 1 << 30)
    else:
        with pytest.raises(Corrupt, match=f"cut short: {len(DATA)} of {1 << 30} bytes"):
            to_device(memory, found, str(tmp_path / "image"), copy.Settings(), True, False)
        assert not (tmp_path / "image").exists()


def test_an_archive_over_several_objects_thaws_and_comes_back_whole(memory, tree, tmp_path):
    """Each of its objects has to be awake."""
    (tree / "noise").write_bytes(3 * DATA)
    entry = over_objects(memory, archived(memory, tree=tree).manifest["archives"][0], (1, 2))
    found = layouts.described(entry)
    keys = [each["key"] for each in entry["objects"]]
    assert [key for key, _version in objects([found], memory)] == [*keys, entry["index"]["key"]]
    done = to_directory(memory, [found], Wanted(str(tmp_path / "out"), "", Selection(), devices=True), copy.Settings())
    assert compare(tree, tmp_path / "out") == []
    assert done.bytes_fetched <= found.size + entry["index"]["size"]


@pytest.mark.parametrize("kind", ["image", "tar"])
def test_a_damaged_index_is_refused_before_anything_is_made(memory, tree, tmp_path, kind):
    """Neither the directory nor the file is there afterwards."""
    entry = archived(memory, tree=tree if kind == "tar" else None).manifest["archives"][0]
    memory.client.damage("b", entry["index"]["key"], 100)
    with pytest.raises(Corrupt, match="SHA-256 differs from the manifest's"):
        if kind == "tar":
            to_directory(memory, [layouts.described(entry)], Wanted(str(tmp_path / "out"), "", Selection()), copy.Settings())
        else:
            to_device(memory, layouts.described(entry), str(tmp_path / "out"), copy.Settings(), True, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree"]
