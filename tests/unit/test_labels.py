# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags and metadata: what AWS takes, cut and encoded until it does."""

from dataclasses import replace
from email.header import decode_header, make_header
from urllib.parse import parse_qsl

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common import tags
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import labels
from fakes import SNAPSHOT
from hypothesis import given
from hypothesis import strategies as some
from labels_of_aws import KEYS_REFUSED, KEYS_TAKEN, REFUSED, TAKEN
from s3_labels import wrong_metadata, wrong_tags

ANY = some.text(max_size=300)


def kept(snapshot_tags, queue_tag="snap-to-s3", own=()):
    return dict(parse_qsl(labels.tagging(snapshot_tags, queue_tag, dict(own)), keep_blank_values=True))


@pytest.mark.parametrize("value", TAKEN)
def test_a_value_that_s3_takes_is_kept(value):
    """Letters, separators and numbers of any script, and some signs."""
    assert kept({"k": value}) == {"k": value}


@pytest.mark.parametrize("value", REFUSED)
def test_a_value_that_s3_refuses_is_left_to_the_manifest(value):
    """A tab among them: the archive is made all the same."""
    assert kept({"k": value, "other": "1"}) == {"other": "1"}


def test_keys_are_held_to_the_same():
    """And to half the length."""
    assert set(kept(dict.fromkeys(KEYS_TAKEN + KEYS_REFUSED, "v"))) == set(KEYS_TAKEN)


def test_no_more_than_ten_ours_first_and_not_the_queues():
    """In the order of their keys."""
    many = {f"k{n:02d}": "v" for n in range(30)}
    many.update({"aws:x": "1", "snap-to-s3": "migrate", "snap-to-s3-id": "1", "snap-to-s3-reason": "it failed"})
    assert list(kept(many)) == [f"k{n:02d}" for n in range(10)]
    assert list(kept(dict(many, own="theirs"), own=[("own", "ours")]).items())[:2] == [("own", "ours"), ("k00", "v")]
    assert kept({"t": "1", "t-id": "2", "t-reason": "3", "snap-to-s3": "4"}, "t") == {"snap-to-s3": "4"}


def test_a_snapshot_cannot_put_its_archive_to_sleep():
    """A lifecycle rule of the bucket looks for this tag; only the run says what has it."""
    assert kept({"coldstore.ebs:class": "DEEP_ARCHIVE", "Name": "db"}) == {"Name": "db"}


@given(some.dictionaries(ANY, ANY, max_size=15))
def test_whatever_tags_a_snapshot_has_s3_takes_what_is_left(found):
    """By S3's rules, written down a second time for the tests."""
    assert wrong_tags(labels.tagging(found, "snap-to-s3", {"coldstore.ebs:class": "DEEP_ARCHIVE"})) is None


@given(some.text(max_size=255))
def test_a_description_can_be_read_back_from_one_line_of_ascii(text):
    """Whatever EC2 has as one, 255 characters at most; control characters become spaces."""
    found = labels.metadata(replace(SNAPSHOT, description=text), 123)
    value = found["snapshot-description"]
    assert value.isascii()
    assert value == "" or value.isprintable()
    assert str(make_header(decode_header(value))) == tags.one_line(text)
    assert wrong_metadata(found) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Größe: nächtlich ☃\n/ x", "Größe: nächtlich ☃ / x"),
        ("two\u2028lines ü\x85and three\x1cmore", "two\u2028lines ü and three more"),
        ("=?utf-8?q?not_encoded?=", "=?utf-8?q?not_encoded?="),
        ("plain\ttab\x00", "plain tab "),
    ],
)
def test_descriptions_that_broke_headers(text, read):
    """Separators of lines and paragraphs put a line break into the header; what looks encoded was decoded."""
    value = labels.metadata(replace(SNAPSHOT, description=text), 0)["snapshot-description"]
    assert "\n" not in value
    assert str(make_header(decode_header(value))) == read


def test_a_description_that_is_too_long_is_cut():
    """EC2 has none that long, but 2 KB is all there is."""
    for text in ("x" * 5000, "ü" * 5000, "😀" * 5000):
        found = labels.metadata(replace(SNAPSHOT, description=text), 0)
        assert wrong_metadata(found) is None
        read = str(make_header(decode_header(found["snapshot-description"])))
        assert text.startswith(read)
        assert len(read) > 250


def test_tags_for_ec2_are_refused_before_anything_is_made():
    """Any character but those that nobody could read again."""
    tags.check({"k" * 128: "v" * 256, "?": "☃, (a) & b\t".strip(), "Name": ""})
    for key, value in (("", "v"), ("aws:x", "v"), ("AWS:x", "v"), ("k" * 129, ""), ("k", "v" * 257), ("k", "a\nb"), ("k\x00", "v")):
        with pytest.raises(Refused, match="not a tag that EC2 accepts"):
            tags.check({key: value})
    with pytest.raises(Refused, match="only room for 45"):
        tags.check({str(number): "" for number in range(46)})


@given(ANY)
def test_a_reason_becomes_a_tag(text):
    """One line, at most 256 places, and nothing that an XML reply cannot hold."""
    value = tags.readable(text)
    tags.check({"k": value})
    assert tags.one_line(text).startswith(value)
    assert len(value) == len(text) or len(value.encode("utf-16-le")) in (510, 512)
