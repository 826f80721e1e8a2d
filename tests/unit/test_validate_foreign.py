# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of other tools, compared with themselves and with the volume they were made of."""

import subprocess

import pytest
import zstandard
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import fsp
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Chunk
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from fakes import SNAPSHOT, BytesSource
from foreign import put_segments, put_stream
from helpers import DATA

CODEC = zstandard.ZstdCompressor(write_checksum=True)


def said(store, level, source=None, number=None):
    """(attribute, path, offset) of the differences found."""
    sources = {number: source} if source else {}
    settings = validate.Settings(threads=2, sources=sources, against="volume")
    found = validate.validate_snapshot(store, SNAPSHOT, layouts.find(store, "", SNAPSHOT), level, settings)
    assert (found["result"] == "different") is bool(found["differences"])
    return [(each["attribute"], each["path"], each["offset"]) for each in found["differences"]]


def volume(data):
    return lambda chunk: BytesSource(data, chunk)


def test_an_image_is_compared_with_the_volume(memory):
    """The chunk that differs is named; without a volume it is read through."""
    put_stream(memory, "img", "zstd", CODEC.compress(DATA))
    assert said(memory, "archive") == []
    assert said(memory, "full", volume(DATA)) == []
    assert said(memory, "full", volume(DATA[:-1] + b"!")) == [("content", None, 4 << 20)]
    assert said(memory, "full", volume(DATA[: 4 << 20])) == [("length", None, None)]
    assert said(memory, "full", volume(DATA + bytes(100))) == [("length", None, None)]


def test_an_archive_of_a_partition_that_the_volume_lacks_is_different(memory):
    """Nothing can be said of it."""
    put_stream(memory, "img", "zstd", CODEC.compress(DATA))
    assert said(memory, "full", volume(DATA), number=3) == [("partition", None, None)]


@pytest.mark.parametrize("cut", [1, 100, 4000])
def test_an_archive_that_is_cut_short_is_different(memory, cut):
    """At level archive, too, which knows nothing of its length."""
    put_stream(memory, "img", "zstd", CODEC.compress(DATA)[:-cut])
    assert said(memory, "archive") == [("stream", None, None)]


def tarred(tree, tmp_path):
    with open(tmp_path / "tar", "wb") as file:
        subprocess.run(["tar", "--xattrs", "-C", tree, "-c", "."], stdout=file, check=True)
    return CODEC.compress((tmp_path / "tar").read_bytes())


@pytest.fixture
def tree(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").write_bytes(name.encode() * 5000)
    return tmp_path / "tree"


def test_a_tar_is_compared_member_by_member(memory, tree, tmp_path):
    """What is missing on either side, and what has other bytes, is named by its path."""
    put_stream(memory, "tar", "zstd", tarred(tree, tmp_path))

    def source(chunk):
        return TarSource(str(tree), chunk_size=chunk, spool=str(tmp_path))

    assert said(memory, "archive") == []
    assert said(memory, "full", source) == []
    with open(tree / "a" / "file", "r+b") as file:
        file.seek(3000)
        file.write(b"!")
    assert {(attribute, path) for attribute, path, _offset in said(memory, "full", source)} >= {("content", "a/file")}
    (tree / "b" / "new").touch()
    (tree / "c" / "file").unlink()
    found = {(attribute, path) for attribute, path, _offset in said(memory, "full", source)}
    assert {("content", "a/file"), ("member", "b/new"), ("member", "c/file")} <= found


class Blocks(BytesSource):
    """A volume by its blocks; those that are not named are zeros."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.problems = []
        self.chunks = [Chunk(0, 1 << 30)]

    def read(self, chunk):
        first, count = chunk.offset // fsp.BLOCK, chunk.length // fsp.BLOCK
        return b"".join(self.blocks.get(block, ZEROS) for block in range(first, first + count))


ZEROS = bytes(fsp.BLOCK)


def test_segments_are_compared_with_their_keys_and_the_volume(memory):
    """What has no segment has to be zeros."""
    a, b = b"a" * fsp.BLOCK, b"b" * fsp.BLOCK
    put_segments(memory, {0: a, 5: b + b})
    assert said(memory, "archive") == []
    assert said(memory, "full", lambda _chunk: Blocks({0: a, 5: b, 6: b})) == []
    found = said(memory, "full", lambda _chunk: Blocks({0: a, 5: b, 6: a, 7: a}))
    assert found == [("content", None, 6 * fsp.BLOCK), ("content", None, 7 * fsp.BLOCK)]
    key = next(key for key in memory.client.keys("b") if "/0." in key)
    memory.client.damage("b", key, offset=10)
    assert said(memory, "archive") == [("segment", None, None)]


@pytest.mark.parametrize(
    ("level", "suffix", "words"), [("quick", "", "cannot be validated at level quick"), ("archive", ".gpg", "encrypted")]
)
def test_what_cannot_be_compared_is_refused(memory, level, suffix, words):
    """With what to do instead."""
    put_stream(memory, "img", "zstd", CODEC.compress(DATA), suffix)
    with pytest.raises(Refused, match=words):
        said(memory, level)
