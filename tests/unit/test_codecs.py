# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that stock tools decode."""

import random
import struct
import subprocess
import sys

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Refused, Unfit
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import hashing
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import checksums
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.codecs import codec, seek_table

CHUNKS = [random.Random(1).randbytes(100_000), b"text " * 50_000, bytes(1 << 20), b"x", bytes(1 << 20)]


@pytest.mark.parametrize(("name", "level"), [("lz4", 1), ("lz4", 9), ("zstd", 1), ("zstd", 19)])
def test_concatenated_frames_decode_with_the_stock_command(name, level):
    """`lz4 -d` and `zstd -d` need no help of ours."""
    coder = codec(name, level)
    frames = [coder.encode(chunk) for chunk in CHUNKS]
    stream = b"".join(frames)
    if name == "zstd":
        stream += b"".join(seek_table(len(frames), ((len(frame), len(chunk)) for frame, chunk in zip(frames, CHUNKS))))
    done = subprocess.run([name, "-d", "-c"], input=stream, capture_output=True, check=True)
    assert done.stdout == b"".join(CHUNKS)
    assert [coder.decode(frame, len(chunk)) for frame, chunk in zip(frames, CHUNKS)] == CHUNKS


@pytest.mark.parametrize("name", ["lz4", "zstd"])
@pytest.mark.parametrize("chunk", [*CHUNKS, b"", random.Random(2).randbytes(4 << 20), b"large " * 1_000_000])
def test_a_frame_whose_digest_was_compared_decodes_the_same(name, chunk):
    """Compressed, stored as it is, empty, and of more than one block: the short way is taken where it leads there."""
    coder = codec(name)
    frame = coder.encode(chunk)
    assert coder.decode_proved(memoryview(frame), len(chunk)) == chunk
    if chunk:
        with pytest.raises(Corrupt):
            coder.decode_proved(frame, len(chunk) - 1)


def test_an_lz4_block_that_is_stored_as_it_is_is_not_copied():
    """What does not compress is most of many disks."""
    noise = random.Random(3).randbytes(4 << 20)
    assert isinstance(codec("lz4").decode_proved(codec("lz4").encode(noise), len(noise)), memoryview)


def test_a_broken_lz4_block_is_corrupt_in_the_short_way_too():
    """Whatever the library says of it."""
    frame = bytearray(codec("lz4").encode(b"text " * 10_000))
    frame[19:40] = b"\xff" * 21
    with pytest.raises(Corrupt, match="lz4 block"):
        codec("lz4").decode_proved(frame, 50_000)


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_a_flipped_bit_anywhere_in_a_frame_is_found(name):
    """The codec's own checksum is on."""
    coder = codec(name)
    frame = coder.encode(CHUNKS[0][:5000])
    for at in range(0, len(frame), 97):
        bad = bytearray(frame)
        bad[at] ^= 1
        try:
            assert coder.decode(bytes(bad), 5000) == CHUNKS[0][:5000], at
        except Corrupt:
            pass


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_a_frame_of_another_length_is_corrupt(name):
    """A frame that decodes, but to something else, is not accepted."""
    with pytest.raises(Corrupt):
        codec(name).decode(codec(name).encode(b"abc"), 4)


def test_frames_of_zeros_are_compressed_once():
    """Most of a half-empty disk costs a comparison."""
    coder = codec("zstd")
    first = coder.encode(bytes(4096))
    assert coder.encode(bytearray(4096)) is first
    assert coder.decode(first, 4096) == bytes(4096)


def test_the_seek_table_follows_the_published_format():
    """Magic numbers, sizes and entries of the zstd seekable format, version 0.1.0."""
    table = b"".join(seek_table(2, [(10, 100), (20, 200)]))
    assert struct.unpack("<II", table[:8]) == (0x184D2A5E, len(table) - 8)
    assert struct.unpack("<IIII", table[8:24]) == (10, 100, 20, 200)
    assert struct.unpack("<IBI", table[24:]) == (2, 0, 0x8F92EAB1)


@pytest.mark.parametrize(("name", "level"), [("gzip", 1), ("lz4", 0), ("lz4", 10), ("zstd", 20)])
def test_unknown_codecs_and_levels_are_refused(name, level):
    """In one sentence that names what there is."""
    with pytest.raises(Refused, match=r"has to be one of|only 1 to"):
        codec(name, level)


def test_checksums_of_parts_combine():
    """The CRC of a whole follows from those of its parts, without reading it again."""
    data = random.Random(2).randbytes(10_000)
    for cut in (1, 511, 5000, 9_999):
        first, second = checksums.update(data[:cut]), checksums.update(data[cut:])
        assert checksums.combine(first, second, len(data) - cut) == checksums.update(data)
        assert checksums.value(checksums.text(first)) == first


@pytest.mark.parametrize("library", ["awscrt", "blake3"])
def test_a_library_that_is_missing_is_named_with_what_installs_it(monkeypatch, library):
    """Nothing else takes its place."""
    checksums._awscrt.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unfit, match=f"Python library {library} is missing.*role coldstore.ebs.worker"):
        checksums.update(b"") if library == "awscrt" else hashing.hasher("blake3")
