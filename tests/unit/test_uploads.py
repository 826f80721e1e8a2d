# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in parts: what S3 makes of them, and what is made of S3's answers."""

import io
import random
from dataclasses import replace

import memory as s3
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Lost, Permanent, Refused, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import checksums, uploads
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import MIB
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.uploads import MAX_PART, MAX_PARTS, Joined, part_size
from hypothesis import given
from hypothesis import strategies as st
from memory import failing

DATA = random.Random(4).randbytes(13_000)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(s3, "SMALLEST_PART", 5000)


def send(store, key="k", data=DATA, cut=5000, **options):
    upload = uploads.begin(store, key, **options)
    cuts = [data[at : at + cut] for at in range(0, len(data), cut)]
    return upload, [upload.send(number, Joined([each[:1000], each[1000:]]), len(each)) for number, each in enumerate(cuts, 1)]


def test_another_object_under_the_key_is_never_replaced(memory):
    """IfNoneMatch at completion; what is there stays what it was."""
    upload, parts = send(memory)
    memory.put("k", b"somebody else's")
    with pytest.raises(Lost):
        upload.complete(parts)
    assert memory.get("k").body == b"somebody else's"


def test_an_equal_object_under_the_key_is_adopted_and_our_upload_dropped(memory):
    """Two lanes that archived the same thing do not leave parts behind."""
    first, parts = send(memory)
    first.complete(parts)
    second, parts = send(memory)
    assert second.complete(parts).size == len(DATA)
    assert list(uploads.unfinished(memory, "")) == []


def test_wrong_parts_are_not_published(memory):
    """A part in the wrong place changes the checksum of the whole."""
    upload, parts = send(memory)
    swapped = [parts[0]._replace(crc=parts[1].crc), *parts[1:]]
    with pytest.raises(Corrupt, match="different bytes from those that were sent"):
        upload.complete(swapped)
    assert memory.head("k") is None


@pytest.mark.parametrize("code", ["NoSuchUpload", "ConditionalRequestConflict"])
def test_an_upload_that_cannot_be_completed_any_more_says_so_at_once(memory, code):
    """Aborted by somebody, or another object came and went meanwhile: nothing is there, so it is to be begun again."""
    upload, parts = send(memory)
    with failing(memory.client, "CompleteMultipartUpload", code, 409) as struck:
        with pytest.raises(Permanent) as caught:
            upload.complete(parts)
        assert len(struck) == 1
    assert caught.value.facts["code"] == code


def test_a_part_on_disk_is_sent_like_one_in_memory(memory):
    """Parts of huge volumes do not belong in memory."""
    upload = uploads.begin(memory, "k")
    part = upload.send(1, io.BytesIO(DATA), len(DATA))
    assert upload.complete([part]).checksum == checksums.text(checksums.update(DATA))


@pytest.mark.parametrize("expected", [0, 1 << 30, 700 << 30, 16 << 40])
def test_part_sizes_keep_every_volume_below_10000_parts(expected):
    """With what is expected, with half as much again or 2.5 TiB at least, and never beyond S3's own limits."""
    sizes = [part_size(number, expected) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes[:8000]) >= expected
    assert sum(sizes) >= max(1.5 * expected, 2.5 * (1 << 40))
    assert all(5 * MIB <= size <= MAX_PART for size in sizes)
    assert len(set(sizes[:8000])) == 1


def test_frames_in_a_row_are_a_file_that_is_handed_on_frame_by_frame():
    """What HTTP libraries do with a body: measure it, read it in turns, begin again for a retry."""
    body = Joined([b"abc", b"d" * 100_000, b"ef"])
    assert (body.tell(), body.seek(0, 2), body.tell(), body.seek(0)) == (0, 100_005, 100_005, 0)
    assert body.read(1) == b"abc"
    assert body.tell() == 3
    assert body.read() == b"d" * 100_000 + b"ef"
    assert (body.read(5), body.read(), body.tell()) == (b"", b"", 100_005)
    body.seek(0)
    assert [len(each) for each in iter(lambda: body.read(16_384), b"")] == [3, 100_000, 2]
    with pytest.raises(ValueError, match="only be read from the start"):
        body.seek(5)


@given(data=st.binary(max_size=500), cuts=st.lists(st.integers(0, 500), max_size=6))
def test_the_checksum_of_the_whole_follows_from_those_of_any_parts(data, cuts):
    """Of none of them, too, and of empty ones."""
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    cut = [data[begin:end] for begin, end in zip(bounds, bounds[1:])]
    parts = [uploads.Part(number, "e", checksums.update(each), len(each)) for number, each in enumerate(cut, 1)]
    assert uploads.total(parts) == (len(data), checksums.text(checksums.update(data)))


@pytest.mark.parametrize(
    ("code", "times", "kind"), [("", 2, None), ("SlowDown", 3, None), ("BadDigest", 3, None), ("", 9, Transient)]
)
def test_a_part_is_sent_again_as_a_whole(memory, code, times, kind):
    """From its beginning, whatever of it was read before; with a limit."""
    upload = uploads.begin(memory, "k")
    with failing(memory.client, "UploadPart", code, 503 if code == "SlowDown" else 400, times=times) as struck:
        if kind is None:
            part = upload.send(1, io.BytesIO(DATA), len(DATA))
            assert upload.complete([part]).size == len(DATA)
            assert memory.get("k").body == DATA
        else:
            with pytest.raises(kind):
                upload.send(1, Joined([DATA]), len(DATA))
        assert len(struck) == min(times, memory.policy.attempts)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_completion_whose_answer_is_lost_is_one(memory, times):
    """The upload is gone then, and the object there: size and checksum say that it is ours."""
    upload, parts = send(memory)
    with failing(memory.client, "CompleteMultipartUpload", "", times=times, behind=True):
        stored = upload.complete(parts)
    assert (stored.size, stored.checksum) == (len(DATA), checksums.text(checksums.update(DATA)))
    assert list(uploads.unfinished(memory, "")) == []


def test_a_part_whose_answer_is_lost_is_there_once(memory):
    """It takes its own place."""
    upload = uploads.begin(memory, "k")
    with failing(memory.client, "UploadPart", "", times=2, behind=True):
        part = upload.send(1, Joined([DATA]), len(DATA))
    assert upload.parts() == {1: (part.etag, len(DATA))}
    assert upload.complete([part]).size == len(DATA)


def test_what_s3_stores_otherwise_than_it_was_sent_is_corrupt(memory):
    """It said that all was well, and has another checksum."""
    upload, parts = send(memory)

    class Client:
        def __getattr__(self, name):
            return getattr(memory.client, name)

        def head_object(self, **arguments):
            return {**memory.client.head_object(**arguments), "ChecksumCRC64NVME": checksums.text(1)}

    with pytest.raises(Corrupt, match="a different size or checksum"):
        replace(upload, store=replace(memory, client=Client())).complete(parts)


def test_a_lost_object_says_which_upload_stays(memory):
    """Its parts are paid for until somebody has compared."""
    upload, parts = send(memory)
    memory.put("k", b"another")
    with pytest.raises(Lost) as caught:
        upload.complete(parts)
    assert caught.value.facts["upload_id"] == upload.upload_id
    assert [each.upload_id for each in uploads.unfinished(memory, "")] == [upload.upload_id]


def test_an_upload_is_aborted_once_more_and_after_a_stop(memory):
    """Neither is an error; what cannot be aborted is."""
    stop = Stop()
    upload = uploads.begin(replace(memory, stop=stop), "k")
    stop.request("Ctrl+C")
    upload.abort()
    upload.abort()
    assert list(uploads.unfinished(memory, "")) == []
    again = uploads.begin(memory, "k")
    with failing(memory.client, "AbortMultipartUpload", "AccessDenied", 403):
        with pytest.raises(Refused, match="s3:AbortMultipartUpload is denied"):
            again.abort()


def test_uploads_and_their_parts_are_listed_page_by_page(memory):
    """Those of one key are not those of keys that begin alike."""
    memory.client.page = 3
    begun = [uploads.begin(memory, key) for key in ("a/1", "a/1", "a/1", "a/1", "a/10", "a/1.002", "b")]
    assert len(list(uploads.unfinished(memory, ""))) == 7
    assert len(list(uploads.unfinished(memory, "a/1"))) == 6
    assert sorted(uploads.ids(memory, "a/1")) == sorted(each.upload_id for each in begun[:4])
    sent = [begun[0].send(number, Joined([DATA[:number]]), number) for number in range(1, 9)]
    assert begun[0].parts() == {part.number: (part.etag, part.size) for part in sent}
    assert begun[1].parts() == {}
    begun[1].abort()
    assert begun[1].parts() is None


def test_a_part_that_lost_its_order_or_size_is_refused_by_s3(memory):
    """Or the tests here prove nothing."""
    upload, parts = send(memory)
    with pytest.raises(Permanent, match="InvalidPartOrder"):
        upload.complete([parts[1], parts[0], parts[2]])
    upload, parts = send(memory, cut=4000)
    with pytest.raises(Permanent, match="EntityTooSmall"):
        upload.complete(parts)


def test_metadata_tags_class_and_encryption_are_those_of_the_object(memory):
    """They are asked for as the upload begins."""
    store = replace(memory, sse="aws:kms", kms_key_id="a-key")
    asked = []
    store.client.before = lambda operation, arguments: asked.append((operation, dict(arguments)))
    upload, parts = send(store, storage_class="GLACIER_IR", metadata={"a": "b"}, tagging="x=y")
    stored = upload.complete(parts)
    assert (stored.storage_class, stored.metadata) == ("GLACIER_IR", {"a": "b"})
    assert store.client.get_object_tagging(Bucket="b", Key="k")["TagSet"] == [{"Key": "x", "Value": "y"}]
    begun = dict(asked)["CreateMultipartUpload"]
    assert (begun["ServerSideEncryption"], begun["SSEKMSKeyId"], begun["BucketKeyEnabled"]) == ("aws:kms", "a-key", True)
    assert {arguments["ExpectedBucketOwner"] for _operation, arguments in asked if "ExpectedBucketOwner" in arguments} == {
        s3.ACCOUNT
    }
