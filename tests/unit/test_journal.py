# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: records of several parts, and going on where they end."""

import errno
import random
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Lost, Permanent, Refused, Transient, Unfit
from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE, Holder
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import uploads as begun
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import MIB
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import document
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Bytes, Problem
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import journal, upload
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing.frames import Noted
from fakes import SNAPSHOT, BytesSource
from helpers import read
from memory import failing

DATA = random.Random(11).randbytes(31 * MIB)  # seven parts of five chunks, the last one of one


@pytest.fixture
def small(monkeypatch):
    """Parts of 5 MiB, recorded two at a time."""
    monkeypatch.setattr(upload, "part_size", lambda _number, _expected: 5 * MIB)
    monkeypatch.setattr(journal, "_RECORD", 8 * MIB)


class Damaged(BytesSource):
    """Whose third chunk cannot be read."""

    on_error = "zero"

    def read(self, chunk):
        if chunk.offset == 2 * MIB:
            self.problems.append(Problem(b"disk", chunk.offset, chunk.length, "reading fails"))
            return bytes(chunk.length)
        return super().read(chunk)


class Unlisted(BytesSource):
    """One of whose files has more attributes than Linux can list, which is no damage: every plan notes it."""

    def plan(self, on_member=None):
        self.problems.append(Problem(b"file", 0, 0, "there are more than Linux returns", "attributes"))
        return super().plan(on_member)


def lane(claim="b/claims/s.json", token="one", **calls):
    return FREE._replace(holder=Holder(claim, token), **calls)


def run(store, codec="lz4", data=DATA, kind=BytesSource, lane=FREE):
    source = kind(data)
    settings = archive.Recipe(codecs.codec(codec), chunk=MIB, streams=2)
    piece = archive.Section(None, source, len(data))
    result = archive.archive_snapshot(store, SNAPSHOT, {}, "image", [piece], settings, lane)
    return result.manifest["archives"][0], source


def killed(store, at, codec="lz4", kind=BytesSource, lane=FREE):
    """What a run leaves behind that ends, as by kill -9, at completion, or at a part, once what comes before is recorded."""
    recorded = threading.Event()

    class Killed(BaseException):
        pass

    class Client:
        def __getattr__(self, name):
            return dead if name in ("abort_multipart_upload", "delete_objects") else getattr(store.client, name)

        def upload_part(self, **arguments):
            if arguments["PartNumber"] == at:
                assert recorded.wait(60)
                raise Killed
            return store.client.upload_part(**arguments)

        def put_object(self, **arguments):
            done = store.client.put_object(**arguments)
            if at != "completion" and arguments["Key"].endswith(f".journal/{at - 2:05d}"):
                recorded.set()
            return done

        def complete_multipart_upload(self, **arguments):
            if at == "completion":
                raise Killed
            return store.client.complete_multipart_upload(**arguments)

    def dead(**_arguments):
        raise Killed

    with pytest.raises(Killed):
        run(replace(store, client=Client()), codec, kind=kind, lane=lane)


def records(store):
    return [int(key.rpartition("/")[2]) for key in keys(store) if ".journal/" in key]


def keys(store):
    return [item.key for item in store.keys("")]


def uploads(store):
    return list(begun.unfinished(store, ""))


def test_a_record_holds_several_parts_and_the_next_begins_behind_them(memory, small):
    """The last parts are recorded too, before the upload is completed."""
    killed(memory, "completion")
    assert records(memory) == [0, 1, 3, 5, 7]


def test_what_was_recorded_is_neither_read_nor_sent_again(memory, small):
    """Killed at part 5: parts 1 to 4 are in two records, whatever came behind them is done again."""
    killed(memory, 5)
    assert records(memory) == [0, 1, 3]
    entry, source = run(memory)
    assert min(source.reads) == 4 * 5 * MIB
    assert (records(memory), uploads(memory)) == ([], [])
    again = b"".join(
        codecs.codec("lz4").decode(memory.read(entry["objects"][0]["key"], at, length), raw)
        for at, length, raw in frames(memory, entry)
    )
    assert again == DATA


PART_5 = {"operation": "UploadPart", "PartNumber": 5}
COMPLETION = {"operation": "CompleteMultipartUpload"}


@pytest.mark.parametrize(
    ("rule", "kind", "words"),
    [
        (dict(PART_5, status=503, code="SlowDown"), Transient, "SlowDown"),
        (dict(PART_5, code=""), Transient, "connection"),
        (dict(PART_5, status=400, code="ExpiredToken"), Transient, "have expired"),
        (dict(PART_5, status=403, code="AccessDenied"), Refused, "s3:PutObject is denied"),
        (dict(PART_5, status=403, code="InvalidAccessKeyId"), Refused, "does not accept the credentials"),
        (dict(COMPLETION, status=500, code="InternalError"), Transient, "InternalError"),
        ({"operation": "PutObject", "Key": "index.zst", "status": 503, "code": "SlowDown"}, Transient, "SlowDown"),
    ],
)
def test_what_may_pass_keeps_the_upload_for_the_next_run(memory, small, rule, kind, words):
    """After many tries the job fails and says so; the next one reads and sends only what is not there."""
    with failing(memory.client, **rule):
        with pytest.raises(kind, match=words) as caught:
            run(memory)
    assert "the next run continues there" in str(caught.value)
    assert len(uploads(memory)) == 1
    _entry, source = run(memory)
    assert min(source.reads, default=len(DATA)) >= 2 * 5 * MIB  # part 5 may have failed before part 4 was recorded
    assert (records(memory), uploads(memory)) == ([], [])


def test_a_spool_that_is_full_keeps_the_upload(memory, small, monkeypatch):
    """Another worker, or this one with room, goes on; and the error names what to do on this one."""
    killed(memory, 5)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.index.IndexWriter, "finish", full)
    with pytest.raises(Unfit, match="No space left") as caught:
        run(memory)
    assert "Free some space" in str(caught.value)
    assert "the next run continues" in str(caught.value)
    monkeypatch.undo()
    assert len(uploads(memory)) == 1


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (dict(PART_5, status=400, code="EntityTooLarge"), Permanent),
        (dict(PART_5, status=501, code="NotImplemented"), Permanent),
        (dict(COMPLETION, status=400, code="BadDigest"), Corrupt),
        (dict(COMPLETION, status=400, code="InvalidPart"), Permanent),
    ],
)
def test_an_upload_of_no_use_is_thrown_away(memory, small, rule, kind):
    """It would fail in the same way for ever, and be paid for."""
    with failing(memory.client, **rule):
        with pytest.raises(kind) as caught:
            run(memory)
    assert "goes on" not in str(caught.value)
    assert (records(memory), uploads(memory)) == ([], [])


def test_an_upload_that_is_gone_at_completion_is_begun_again_once(memory, small):
    """A second time ends the job; the archive is whole where there is none."""
    rule = dict(COMPLETION, status=404, code="NoSuchUpload")
    with failing(memory.client, **rule, times=2):
        with pytest.raises(Permanent, match="NoSuchUpload"):
            run(memory)
    assert uploads(memory) == []
    with failing(memory.client, **rule, times=1) as struck:
        entry, _source = run(memory)
        assert len(struck) == 1
    assert entry["raw_size"] == len(DATA)
    assert uploads(memory) == []


def frames(store, entry):
    with closing(read(store, entry)) as archive:
        return [(frame.offset, frame.length, frame.raw_length) for frame in archive.index.frames()]


def test_a_record_counts_only_if_all_its_parts_are_there(memory, small, monkeypatch):
    """S3 forgot part 4: the record of 3 and 4 is thrown away, that of 1 and 2 is used."""
    killed(memory, "completion")
    real = begun.Upload.parts
    monkeypatch.setattr(begun.Upload, "parts", lambda one: {n: part for n, part in real(one).items() if n != 4})
    _entry, source = run(memory)
    assert min(source.reads) == 2 * 5 * MIB


def test_a_record_of_another_kind_ends_the_journal(memory, small):
    """One that an earlier version wrote, a part each: what it says is done again, and it is replaced."""
    killed(memory, "completion")
    key = next(key for key in keys(memory) if key.endswith(".journal/00003"))
    memory.client.put_object(
        Bucket=memory.bucket, Key=key, Body=document.encode("journal", 1, {"part": [3], "frames": [], "tail": 0})
    )
    _entry, source = run(memory)
    assert min(source.reads) == 2 * 5 * MIB
    assert records(memory) == []


def test_what_somebody_put_into_a_journal_is_left_alone(memory, small):
    """A console's folder is an object of this very name."""
    killed(memory, 5)
    folder = next(key for key in keys(memory) if ".journal/" in key).rpartition("/")[0] + "/"
    others = [folder, folder + "notes.txt"]
    for key in others:
        memory.client.put_object(Bucket="b", Key=key, Body=b"")
    _entry, source = run(memory)
    assert min(source.reads) >= 4 * 5 * MIB
    assert [key for key in keys(memory) if ".journal/" in key] == others


@pytest.mark.parametrize(("damaged", "first"), [(0, 0), (1, 0), (3, 10)])
def test_a_damaged_record_ends_the_journal(memory, small, damaged, first):
    """It could hold up its snapshot for ever; what it said is done again."""
    killed(memory, "completion")
    key = next(key for key in keys(memory) if key.endswith(f".journal/{damaged:05d}"))
    body = bytearray(memory.get(key).body)
    body[-20] ^= 1
    memory.client.put_object(Bucket=memory.bucket, Key=key, Body=bytes(body))
    _entry, source = run(memory)
    assert min(source.reads) == first * MIB
    assert records(memory) == []


def test_what_lies_behind_an_end_that_was_sent_is_not_lost(memory, small):
    """The seek table is in the last part, but the source is longer now: all of it is sent again."""
    killed(memory, "completion", "zstd")
    entry, source = run(memory, "zstd", DATA + bytes(MIB))
    assert (min(source.reads), entry["raw_size"]) == (0, len(DATA) + MIB)
    assert sum(length for _offset, length, _raw in frames(memory, entry)) < entry["objects"][0]["size"]


def test_an_upload_that_was_completed_is_adopted(memory, small, monkeypatch):
    """Killed behind completion: every part is recorded, so the object is known to be ours."""
    done = []
    monkeypatch.setattr(archive.manifest, "publish", lambda *_arguments: done.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(memory)
    monkeypatch.undo()
    assert records(memory) == [0, 1, 3, 5, 7]
    monkeypatch.setattr(upload, "part_size", lambda _number, _expected: 5 * MIB)
    _entry, source = run(memory)
    assert (done, source.reads, records(memory)) == ([1], [], [])


def test_many_small_frames_are_worth_a_record_as_well(memory):
    """A disk of zeros: one part holds thousands of frames, and they are held in memory until they are recorded."""
    frame = Noted(100, MIB, "digest", "fingerprint")
    for sent, records_of_two in (
        (journal.Sent(begun.Part(1, "e", 0, MIB), [frame] * 2499, 0), 0),
        (journal.Sent(begun.Part(1, "e", 0, MIB), [frame] * 2500, 0), 1),
        (journal.Sent(begun.Part(1, "e", 0, 128 * MIB), [frame], 0), 1),
    ):
        recorder = journal.Recorder(memory, "a", FREE)
        recorder.add(sent, False, [])
        recorder.add(sent, False, [])
        assert len(records(memory)) == records_of_two
        recorder.flush([])
        recorder.flush([])
        assert records(memory) == [1]
        journal.forget(memory, "a")


def test_more_objects_than_a_request_takes_are_removed(memory):
    """Also those that are not there."""
    named = [f"d/{number:04d}" for number in range(1001)]
    for key in named[::500]:
        memory.client.put_object(Bucket=memory.bucket, Key=key, Body=b"")
    memory.delete(named)
    assert keys(memory) == []
    memory.delete([])


@pytest.mark.parametrize(
    ("code", "times", "kind"),
    [("AccessDenied", 9, Refused), ("InternalError", 2, None), ("SlowDown", 9, Transient), ("MethodNotAllowed", 9, Permanent)],
)
def test_an_object_that_is_not_removed_is_named(store, code, times, kind):
    """S3 answers 200 and says in the body what it did not remove; what may pass is tried again, with a limit."""
    answers = [{"Errors": [{"Key": "p/b", "Code": code, "Message": "No"}]}] * times + [{}] * 9

    class Client:
        exceptions = store.client.exceptions

        def delete_objects(self, **_arguments):
            return answers.pop(0)

    removing = replace(store, client=Client())
    if kind is None:
        removing.delete(["p/a", "p/b"])
        assert len(answers) == 9 - 1
        return
    with pytest.raises(kind, match="No: p/b") as caught:
        removing.delete(["p/a", "p/b"])
    assert caught.value.facts["code"] == code
    assert kind is not Refused or "s3:DeleteObject is denied" in caught.value.message


def test_what_was_hashed_otherwise_is_not_gone_on_with(memory, small):
    """An archive has digests of one kind."""
    killed(memory, 5)
    source = BytesSource(DATA)
    settings = archive.Recipe(codecs.codec("lz4"), chunk=MIB, digest="sha256")
    archive.archive_snapshot(memory, SNAPSHOT, {}, "image", [archive.Section(None, source, len(DATA))], settings)
    assert (min(source.reads), uploads(memory)) == (0, [])


def test_what_a_killed_run_could_not_read_is_in_the_manifest(memory, small):
    """Nobody reads it again; and who does not allow it begins from the start."""
    killed(memory, 5, kind=Damaged)
    entry, source = run(memory, kind=Damaged)
    assert min(source.reads) >= 4 * 5 * MIB
    assert [(each["path"], each["offset"], each["length"]) for each in entry["problems"]] == [("disk", 2 * MIB, MIB)]
    assert (entry["lost"]["files"], entry["lost"]["bytes"]) == (1, MIB)


def test_what_a_killed_run_could_not_read_is_read_again_where_that_is_an_error(memory, small):
    """With on_read_error=fail no zeros of an earlier run are kept."""
    killed(memory, 5, kind=Damaged)
    entry, source = run(memory)
    assert min(source.reads) == 0
    assert entry["problems"] == []


def test_what_every_run_is_to_list_does_not_begin_an_upload_again(memory, small):
    """With on_read_error=fail, too, attributes that cannot be listed are told and held against nobody."""
    killed(memory, 5, kind=Unlisted)
    entry, source = run(memory, kind=Unlisted)
    assert min(source.reads) >= 4 * 5 * MIB
    assert [(each["path"], each["what"]) for each in entry["problems"]] == [("file", "attributes")]


def test_what_could_be_read_after_all_is_not_listed(memory, small):
    """The disk is planned another way by now, so nothing of the earlier run is kept, nor what that could not read."""
    killed(memory, 5, kind=Damaged)

    class Otherwise(BytesSource):
        on_error = "zero"

        def plan(self, on_member=None):
            return iter([self.chunks[0]._replace(pieces=(Bytes(0, b"new"),)), *self.chunks[1:]])

    entry, source = run(memory, kind=Otherwise)
    assert min(source.reads) == 0
    assert entry["problems"] == []


@pytest.mark.parametrize("fails", ["put_object", "upload_part", "complete_multipart_upload"])
def test_a_run_that_fails_leaves_no_thread_to_the_garbage_collector(memory, small, fails):
    """It may find them while another thread starts, and Python 3.11 waits for itself there, for ever."""
    known = set(threading.enumerate())

    class Client:
        def __getattr__(self, name):
            return self.fail if name == fails else getattr(memory.client, name)

        def fail(self, **arguments):
            if arguments["Key"].endswith("/00000"):
                return memory.client.put_object(**arguments)
            raise MemoryError

    with pytest.raises(MemoryError) as caught:
        run(replace(memory, client=Client()))
    assert set(threading.enumerate()) - known == set(), caught


def head(store):
    key = next(key for key in keys(store) if key.endswith(".journal/00000"))
    return document.decode(store.get(key).body, "journal", 1)


def test_an_upload_says_whose_it_is_and_its_next_holder_takes_it_over(memory, small):
    """Under the same claim's object, whatever the token was; one that was begun under another is begun again."""
    killed(memory, "completion", lane=lane(token="one"))
    first = head(memory)
    assert first["holder"] == {"claim": "b/claims/s.json", "token": "one"}
    killed(memory, "completion", lane=lane(token="two"))
    assert head(memory) == {**first, "holder": {"claim": "b/claims/s.json", "token": "two"}}
    _entry, source = run(memory, lane=lane("c/claims/s.json", "three"))
    assert min(source.reads) == 0
    assert (records(memory), uploads(memory)) == ([], [])


def test_nothing_is_cleared_away_without_the_claim(memory, small):
    """What an earlier run left is looked at first, and the claim is renewed before any of it goes or is taken over."""
    killed(memory, 5)
    before = head(memory)

    def gone():
        raise Lost("the claim is not ours any more")

    for count in (1, 2):
        with pytest.raises(Lost):
            run(memory, lane=lane(renew=gone))
        assert (records(memory), len(uploads(memory))) == ([0, 1, 3], count)
        assert head(memory) == before
        begun.begin(memory, uploads(memory)[0].key)


def test_what_a_guest_writes_late_holds_up_nobody(memory, small):
    """A lane that lost its claim was about to write a record, and does as it wakes up: its successor writes its own over it."""
    late = []

    class Client:
        def __getattr__(self, name):
            return getattr(memory.client, name)

        def put_object(self, **arguments):
            if arguments["Key"].endswith(".journal/00005") and not late:
                late.append(memory.client.put_object(Bucket=memory.bucket, Key=arguments["Key"], Body=b"late"))
            return memory.client.put_object(**arguments)

    entry, _source = run(replace(memory, client=Client()))
    assert late
    assert entry["raw_size"] == len(DATA)
    assert records(memory) == []


def test_a_part_that_a_guest_sends_late_costs_one_more_try(memory, small):
    """It takes the place of its successor's part, and S3 does not complete the upload: it is begun again, once."""
    late = []

    class Client:
        def __getattr__(self, name):
            return getattr(memory.client, name)

        def complete_multipart_upload(self, **arguments):
            if not late:
                names = {name: arguments[name] for name in ("Bucket", "Key", "UploadId")}
                late.append(memory.client.upload_part(PartNumber=2, Body=bytes(6 * MIB), ContentLength=6 * MIB, **names))
            return memory.client.complete_multipart_upload(**arguments)

    entry, source = run(replace(memory, client=Client()))
    assert len(source.reads) == 2 * 31
    assert entry["raw_size"] == len(DATA)
    assert (records(memory), uploads(memory)) == ([], [])


def test_a_guest_replaces_nothing_of_its_successor(memory):
    """Whether it is told when it asks, or falls asleep behind that."""
    memory.put("k", b"successor's")

    def gone():
        raise Lost("the claim is not ours any more")

    def asleep():
        memory.put("k", b"written while it slept", memory.head("k").etag)

    for still_ours in (gone, asleep):
        with pytest.raises(Lost):
            memory.put_over("k", b"guest's", still_ours)
    assert memory.get("k").body == b"written while it slept"
    memory.put_over("k", b"holder's", lambda: None)
    assert memory.get("k").body == b"holder's"
