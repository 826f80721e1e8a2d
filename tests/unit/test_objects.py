# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 objects, against a real S3 protocol server that is as strict as AWS, with faults injected."""

import json
import random
import re

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Lost, Refused, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import checksums, sleeping, uploads
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import MIB, Store
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.uploads import Joined
from conftest import REPO
from memory import failing

DATA = random.Random(4).randbytes(13 * MIB)


def send(store, key="k", data=DATA, cut=5 * MIB, **options):
    upload = uploads.begin(store, key, **options)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    return upload, [upload.send(number, Joined([piece[:1000], piece[1000:]]), len(piece)) for number, piece in enumerate(pieces, 1)]


def test_an_upload_is_checked_part_by_part_and_as_a_whole(store, lab):
    """The CRC of the object, combined from the parts', is the one S3 computes itself."""
    upload, parts = send(store, metadata={"a": "b"}, tagging="x=y")
    stored = upload.complete(parts)
    assert stored.size == len(DATA)
    assert stored.checksum == checksums.text(checksums.update(DATA))
    assert stored.metadata == {"a": "b"}
    assert lab.s3.get_object_tagging(Bucket=store.bucket, Key="k")["TagSet"] == [{"Key": "x", "Value": "y"}]
    assert store.read("k", 5 * MIB - 3, 7) == DATA[5 * MIB - 3 : 5 * MIB + 4]


def test_a_part_damaged_on_its_way_is_sent_again(store, lab):
    """S3 answers BadDigest, which botocore does not retry."""
    with lab.faults({"method": "PUT", "path": "partNumber=2", "action": "corrupt"}) as hits:
        upload, parts = send(store)
        assert len(hits()) == 1
    assert upload.complete(parts).size == len(DATA)


def test_damage_without_end_fails_and_says_whose_it_is(store, lab):
    """A host with bad memory does not try for ever, and nothing is published."""
    with lab.faults({"method": "PUT", "path": "partNumber=2", "action": "corrupt", "times": 99}):
        with pytest.raises(Transient, match="Memory or network of this host"):
            send(store)
    assert store.head("k") is None


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "partNumber=1", "action": "status", "code": 503, "error": "SlowDown", "times": 3},
        {"path": "partNumber=1", "action": "reset", "times": 3},
        {"path": "partNumber=1", "action": "lose", "times": 3},
        {"path": "partNumber=1", "action": "status", "code": 400, "error": "ExpiredToken", "times": 2},
        {"method": "POST", "path": "uploadId", "action": "status", "code": 500, "error": "InternalError", "times": 3},
        {"method": "POST", "path": "uploadId", "action": "error_in_200", "error": "InternalError", "times": 3},
    ],
)
def test_what_may_pass_is_waited_out(store, lab, rule):
    """Throttling, resets, lost replies, expired credentials: beyond what botocore tries by itself."""
    with lab.faults(rule) as hits:
        upload, parts = send(store)
        upload.complete(parts)
        assert len(hits()) == rule["times"]
    assert store.head("k").size == len(DATA)


def test_a_lost_reply_to_completion_is_adopted(store, lab):
    """The object is there, the upload is not: that is success if size and checksum are ours."""
    upload, parts = send(store)
    with lab.faults({"method": "POST", "path": "uploadId", "action": "lose", "times": 2}):
        stored = upload.complete(parts)
    assert stored.size == len(DATA)


def test_a_conflict_of_two_writers_of_a_small_object_is_tried_again(memory):
    """S3's 409 says neither that we won nor that we lost."""
    with failing(memory.client, "PutObject", "ConditionalRequestConflict", 409, times=2):
        memory.put("s", b"one")
    assert memory.get("s").body == b"one"


def test_a_small_object_whose_answer_is_lost_was_written(memory):
    """What is there is exactly it; something else there is somebody else's."""
    with failing(memory.client, "PutObject", "", times=1, behind=True):
        etag = memory.put("s", b"one")
    assert memory.head("s").etag == etag
    with failing(memory.client, "PutObject", "", times=1, behind=True):
        memory.put("s", b"two", replaces=etag)
    assert memory.get("s").body == b"two"


def test_more_keys_than_a_page_are_listed(memory):
    """Pagination."""
    memory.client.page = 7
    for number in range(50):
        memory.put(f"p/{number:04d}", b"")
    memory.put("q", b"")
    assert [item.key for item in memory.keys("p/")] == [f"p/{number:04d}" for number in range(50)]


def test_small_objects_are_written_once(store):
    """A second writer is told; a repeated one is not."""
    etag = store.put("s", b"one")
    assert store.put("s", b"one") == etag
    with pytest.raises(Lost):
        store.put("s", b"two")
    store.put("s", b"two", replaces=etag)
    with pytest.raises(Lost):
        store.put("s", b"three", replaces=etag)
    assert store.get("s").body == b"two"


def test_reading_beyond_the_end_or_nothing_is_corrupt(store):
    """An object shorter than its manifest says is damage, not the end."""
    store.put("s", b"12345")
    for offset, length in ((3, 5), (10, 2)):
        with pytest.raises(Corrupt):
            store.read("s", offset, length)
    with pytest.raises(Corrupt):
        store.read("missing", 0, 1)


def test_a_reply_cut_short_is_fetched_again(store, lab):
    """A connection that breaks in the middle of a body."""
    store.put("s", b"x" * 100_000)
    with lab.faults({"method": "GET", "path": "/s", "action": "truncate", "after": 500, "times": 2}):
        assert store.read("s", 0, 100_000) == b"x" * 100_000


def test_what_sleeps_is_refused_with_what_to_do(store):
    """Glacier answers InvalidObjectState."""
    upload, parts = send(store, storage_class="DEEP_ARCHIVE")
    upload.complete(parts)
    with pytest.raises(Refused, match="Thaw it"):
        store.read("k", 0, 10)


def test_a_bucket_that_is_missing_or_not_ours_is_refused(store):
    """In one sentence each, before anything else is done."""
    with pytest.raises(Refused, match="does not exist"):
        Store(store.client, "no-such-bucket", owner=store.owner).check_bucket()
    with pytest.raises(Refused, match="not owned by account 999999999999"):
        Store(store.client, store.bucket, owner="999999999999").check_bucket()


def rule(**changes):
    found = {
        "ID": "sleep", "Status": "Enabled", "Filter": {"Tag": {"Key": sleeping.TAG, "Value": "DEEP_ARCHIVE"}},
        "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}],
    }  # fmt: skip
    return dict(found, **changes)


TAG = {"Key": sleeping.TAG, "Value": "DEEP_ARCHIVE"}


@pytest.mark.parametrize(
    ("rules", "fits"),
    [
        ([], False),
        ([rule()], True),
        ([rule(ID="other", Filter={"Prefix": "logs/"}), rule()], True),
        ([rule(Filter={"And": {"Prefix": "deep/", "Tags": [TAG]}})], True),
        ([rule(Filter={"And": {"Prefix": "other/", "Tags": [TAG]}})], False),
        ([rule(Filter={"And": {"ObjectSizeGreaterThan": 1, "Tags": [TAG]}})], True),
        ([rule(Filter={"And": {"ObjectSizeGreaterThan": 131072, "Tags": [TAG]}})], True),
        ([rule(Filter={"And": {"ObjectSizeGreaterThan": 1 << 30, "Tags": [TAG]}})], False),
        ([rule(Filter={"And": {"ObjectSizeLessThan": 1 << 30, "Tags": [TAG]}})], False),
        ([rule(Filter={"And": {"Prefix": "", "Tags": [TAG, {"Key": "more", "Value": "x"}]}})], False),
        ([rule(Status="Disabled")], False),
        ([rule(Filter={"Prefix": ""})], False),
        ([rule(Transitions=[{"Days": 0, "StorageClass": "DEEP_ARCHIVE"}])], False),
        ([rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}])], False),
    ],
)
def test_an_archive_is_only_put_to_sleep_by_a_rule_that_does_it(memory, rules, fits):
    """Enabled, for our tag and prefix, for archives of every size worth moving, to that class, and not on the first day."""
    memory.client.rules = rules
    sleeping.check_rule(memory, "deep/er/", "GLACIER_IR")
    if fits:
        sleeping.check_rule(memory, "deep/er/", "DEEP_ARCHIVE")
    else:
        with pytest.raises(Refused, match="no lifecycle rule"):
            sleeping.check_rule(memory, "deep/er/", "DEEP_ARCHIVE")


def test_the_rule_that_the_docs_print_moves_archives_of_every_size(memory):
    """S3 passes over objects below 128 KiB unless a rule has a size of its own."""
    printed = re.search(r"--lifecycle-configuration '(.*?)'\n", (REPO / "docs" / "glacier.md").read_text(), re.DOTALL)[1]
    memory.client.rules = json.loads(printed)["Rules"]
    sleeping.check_rule(memory, "any/", "DEEP_ARCHIVE")
    (sleep,) = [each for each in sleeping.rules(memory) if "Transitions" in each]
    assert sleep["Filter"]["And"]["ObjectSizeGreaterThan"] == 1
