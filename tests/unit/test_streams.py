# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives without an index: what ends in the middle does not pass for whole."""

import random

import pytest
import zstandard
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import stream as streams
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.codecs import seek_table

NOISE = random.Random(9).randbytes(300_000)
FRAMES = [
    zstandard.ZstdCompressor(level=1, write_checksum=True).compress(NOISE),  # raw blocks
    zstandard.ZstdCompressor(level=3, write_checksum=False).compress(bytes(500_000)),  # repeated bytes
    zstandard.ZstdCompressor(level=3, write_content_size=False).compress(b"text " * 30_000),
    zstandard.ZstdCompressor(level=3).compress(b""),
    b"".join(seek_table(2, iter([(100, 200), (300, 400)]))),  # a skippable frame
]
WHOLE = b"".join(FRAMES)


def passed(data, size):
    blocks = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(streams._whole_frames(blocks))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 131_072, 1 << 20])
def test_whole_frames_pass_however_they_are_cut_into_blocks(size):
    """Unchanged."""
    data = WHOLE if size > 100 else b"".join(FRAMES[1:])
    assert passed(data, size) == data


def test_a_stream_is_whole_where_a_frame_ends_and_nowhere_else():
    """Each place where it can be cut."""
    data = b"".join(FRAMES[1:])
    ends = {sum(map(len, FRAMES[1:n])) for n in range(2, len(FRAMES) + 1)}
    for at in range(len(data)):
        if at in ends:
            assert passed(data[:at], 1000) == data[:at]
        else:
            with pytest.raises(zstandard.ZstdError, match="within a frame"):
                passed(data[:at], 1000)
