# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation found, as people read it."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.differences import Differences, Unequal, sentence, unequal_blocks
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Bytes, Chunk, Range


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"attribute": "content", "expected": "as on the volume", "found": "other bytes", "path": "etc/a b", "offset": 512},
            "content at 512 of 'etc/a b' in vol/KEY: expected as on the volume, found other bytes",
        ),
        ({"attribute": "link", "expected": b"to", "found": None}, "link in vol/KEY: expected to, found None"),
    ],
)
def test_a_difference_is_a_sentence(given, said):
    """With names as they are, and nothing in Python's spelling of bytes."""
    found = Differences()
    found.add("vol/KEY", **given)
    assert sentence(found.listed[0]) == said


def test_a_differing_block_is_named_by_its_place_in_the_file():
    """Whatever lies before it in the stream; what belongs to no file by its place in the stream."""
    pieces = (Bytes(0, b"h" * 512), Range(512, b"one", 700, 0, 700), Bytes(1536, b"h" * 512), Range(2048, b"two", 9000, 4096, 2048))
    fresh = bytes(4096)
    archived = bytearray(4096)
    for at in (0, 1024, 2048, 3584):
        archived[at] = 1
    assert list(unequal_blocks(archived, fresh, 1 << 20, Chunk(1 << 20, 4096, pieces))) == [
        Unequal(1 << 20),
        Unequal((1 << 20) + 1024, b"one", 512),
        Unequal((1 << 20) + 2048, b"two", 4096),
        Unequal((1 << 20) + 3584, b"two", 5632),
    ]
