# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests, receipts, claims, indexes, labels and keys: what is written down."""

import base64
import random
import tempfile
from datetime import datetime, timezone

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import fsp, ours, snap_to_s3
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Listed
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import document, index
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Member
from fakes import SNAPSHOT

BODY = {"name": "größe \udcff", "list": [1, 2.5, None], "nested": {"a": True}}


def test_any_flipped_bit_of_a_document_is_found():
    """There is exactly one spelling, and it has a digest."""
    text = document.encode("manifest", 1, BODY)
    assert document.decode(text, "manifest", 1) == BODY
    for at in range(len(text)):
        for bit in (1, 0x20):
            bad = bytearray(text)
            bad[at] ^= bit
            with pytest.raises((Corrupt, Refused)):
                document.decode(bytes(bad), "manifest", 1)


def test_a_newer_document_is_refused_and_another_kind_is_corrupt():
    """A reader knows what it does not know."""
    with pytest.raises(Refused, match="version 2"):
        document.decode(document.encode("manifest", 2, BODY), "manifest", 1)
    with pytest.raises(Corrupt):
        document.decode(document.encode("receipt", 1, BODY), "manifest", 1)


MEMBERS = [
    Member(b".", "directory", 0, 512, 0, 0o755, 0, 0, 10**18, None, ""),
    Member(b"a\n\xff", "file", 512, 1536, 3, 0o4644, 4_000_000_000, 1, -1, None, "0123456789abcdef"),
    Member(b"link", "symlink", 2048, 512, 0, 0o777, 0, 0, 0, b"\xfe to", ""),
]


def written(tail=b"tail"):
    with index.IndexWriter("the archive", "tar", "zstd", 4096, "sha256", None) as writer:
        for member in MEMBERS:
            writer.member(member)
        for number in range(3):
            writer.frame(100 + number, 4096, f"{number:064x}")
        assert list(writer.frame_sizes()) == [(100, 4096), (101, 4096), (102, 4096)]
        writer.behind(tail)
        file, size, digest = writer.finish()
        file.seek(0)
        text = file.read()
        assert len(text) == size
        return text


def test_an_index_gives_back_what_was_put_in():
    """Frames, members with raw names, totals."""
    found = opened(written())
    assert list(found.members()) == MEMBERS
    assert [(f.offset, f.length, f.raw_offset) for f in found.frames()] == [(0, 100, 0), (100, 101, 4096), (201, 102, 8192)]
    assert found.foot["stored"] == 303 + 4
    assert found.head["codec"] == "zstd"


def test_an_index_cut_short_is_corrupt():
    """Wherever the cut is, also between two of its compressed frames."""
    text = written()
    for end in range(0, len(text), 7):
        with pytest.raises(Corrupt):
            opened(text[:end])


def test_frames_and_members_of_a_large_index_are_read_side_by_side():
    """A full validation and a restore do so: each reader keeps its own place, far beyond what either reads ahead."""
    chance = random.Random(1)
    with index.IndexWriter("key", "tar", "zstd", 4096, "sha256", None) as writer:
        for number in range(20_000):
            writer.frame(number + 1, 4096, chance.randbytes(32).hex())
            writer.member(MEMBERS[0]._replace(path=chance.randbytes(40).hex().encode(), offset=number))
        file, _size, _digest = writer.finish()
    found = index.Index(file, "key")
    pairs = list(zip(found.frames(), found.members()))
    assert [frame.length for frame, _member in pairs] == list(range(1, 20_001))
    assert [member.offset for _frame, member in pairs] == list(range(20_000))


def test_members_can_be_looked_up_by_what_their_line_holds():
    """Only lines that hold it are parsed; every member whose name holds the bytes is among them."""
    found = opened(written())
    for member in MEMBERS:
        assert member in list(found.members(index.literal(member.path)))
    assert list(found.members(b"no such name")) == []


def opened(text):
    file = tempfile.TemporaryFile()
    file.write(text)
    return index.Index(file, "key")


def test_our_keys_are_found_again():
    """What is written under a key is found from the listing alone."""
    keys = [
        ours.archive_key("p/", SNAPSHOT, 3, "tar", "zstd"),
        ours.archive_key("p/", SNAPSHOT, None, "image", "lz4"),
        ours.manifest_key("p/", SNAPSHOT),
        ours.receipt_key("p/", SNAPSHOT, datetime(2026, 1, 2, tzinfo=timezone.utc), "full"),
        ours.archive_key("p/", SNAPSHOT, 3, "tar", "zstd") + ".index.zst",
        ours.archive_key("p/", SNAPSHOT, 3, "tar", "zstd") + ".journal/00001",
    ]
    found = layouts.gather([Listed(key, 5) for key in keys], "p/", SNAPSHOT.snapshot_id)
    assert [(a.partition, a.format, a.codec) for a in found.archives] == [(3, "tar", "zstd"), (None, "image", "lz4")]
    assert found.manifest == keys[2]
    assert found.receipts == [keys[3]]
    assert keys[0] == "p/vol-0000000000000000a/2017-01-01T00:00:00+00:00 snap-0000000000000000a.3.tar.zst"


def test_a_prefix_without_a_slash_is_refused():
    """It would run into the volume's id."""
    with pytest.raises(Refused, match="slash"):
        ours.base("archives", SNAPSHOT)


@pytest.mark.parametrize(
    ("name", "partition", "form", "codec", "encrypted"),
    [
        ("2017-01-01T01:00:00+01:00 {} - my / backup.p1.tar.lz4", 1, "tar", "lz4", False),
        ("2017-01-01T00:00:00+00:00 {}.1.tar.zstd", 1, "tar", "zstd", False),
        ("2017-01-01T00:00:00+00:00 {} - a.tar.lz4.tar.lz4.gpg", None, "tar", "lz4", True),
        ("2016-12-31T19:00:00-05:00 {}.img.zstd", None, "image", "zstd", False),
    ],
)
def test_snap_to_s3s_keys_are_found_in_all_variants(name, partition, form, codec, encrypted):
    """Any time zone, any description, both ways to number partitions."""
    key = "vol-0000000000000000a/" + name.format(SNAPSHOT.snapshot_id)
    other = "vol-0000000000000000a/" + name.format("snap-0000000000000000b")
    found = layouts.gather([Listed(key, 7), Listed(other, 7)], "", SNAPSHOT.snapshot_id)
    assert found.layout == "snap_to_s3"
    assert [tuple(each) for each in found.archives] == [(key, partition, form, codec, encrypted, 7, "snap_to_s3", None, ())]


def test_an_archive_of_ours_that_was_not_committed_is_nobodys():
    """Without a manifest there is no archive; the index beside it says that it is not snap-to-s3's."""
    key = ours.archive_key("", SNAPSHOT, 1, "tar", "lz4")
    listed = [Listed(key, 5), Listed(key + ".index.zst", 1)]
    assert layouts.gather(listed, "", SNAPSHOT.snapshot_id).archives == []
    assert len(layouts.gather(listed[:1], "", SNAPSHOT.snapshot_id).archives) == 1


def test_segments_of_flexible_snapshot_proxy_are_one_archive():
    """Its keys say first block, digest and number of blocks; the prefix says the volume's size."""
    digest = base64.urlsafe_b64encode(bytes(range(32))).decode()
    keys = [f"p/{SNAPSHOT.snapshot_id}.8/{first}.{digest}.64.zstd" for first in (0, 64, 640)]
    found = layouts.gather([Listed(key, 9) for key in keys], "p/", SNAPSHOT.snapshot_id)
    assert found.layout == "fsp"
    assert [tuple(each) for each in found.archives] == [
        (f"p/{SNAPSHOT.snapshot_id}.8/", None, "image", "zstd", False, 27, "fsp", None, ())
    ]
    assert fsp.gib(found.archives[0].key) == 8
    assert fsp.segment(keys[2], 9) == fsp.Segment(keys[2], 9, 640, 64, bytes(range(32)))


@pytest.mark.parametrize(("first", "blocks", "size"), [(0, 65, 9), (0, 0, 9), (0, "9" * 30, 9), ("9" * 30, 64, 9), (0, 1, 1 << 40)])
def test_a_segment_that_no_volume_can_have_is_none(first, blocks, size):
    """Numbers in keys are anybody's: so much memory would be asked for."""
    digest = base64.urlsafe_b64encode(bytes(range(32))).decode()
    assert fsp.segment(f"p/{SNAPSHOT.snapshot_id}.8/{first}.{digest}.{blocks}.zstd", size) is None


@pytest.mark.parametrize(("said", "size"), [("8", 8 << 30), ("0", 0), ("-8", 0), ("\u00b2", 0), ("9" * 20, 0), ("", 0)])
def test_a_volumes_size_in_metadata_is_one_that_a_volume_can_have(said, size):
    """They are what somebody wrote there."""
    assert snap_to_s3.volume_size({"snapshot-volumesize": said}) == size


@pytest.mark.parametrize("key", ["claims/snap-1.json", "vol-1/readme", "other", "vol-1/2017 snap-1.tar.gz"])
def test_what_is_nobodys_is_left_alone(key):
    """A bucket may hold other things."""
    assert layouts.parse(key, "") is None


def test_the_manifest_of_an_archive_is_known_from_its_key():
    """So that a bare key is enough to restore from."""
    for partition, form, codec in ((None, "tar", "zstd"), (12, "image", "lz4")):
        key = ours.archive_key("p/", SNAPSHOT, partition, form, codec)
        assert ours.manifest_of(key) == ours.manifest_key("p/", SNAPSHOT)
