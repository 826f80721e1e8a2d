# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of several small objects, ended or disturbed at every request that they make, and gone on with."""

import random
import struct
import subprocess

import memory
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Lost, Permanent, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE, Holder
from ansible_collections.coldstore.ebs.plugins.module_utils.common.retry import Policy
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import listing, uploads
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import find, ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import manifest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import frames, journal, upload
from fakes import SNAPSHOT, BytesSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import MemoryS3

KIB = 1 << 10
CHUNK = 4 * KIB
PART = 4 * CHUNK
DATA = random.Random(5).randbytes(7 * PART + 100)  # eight parts, the last of them short: three objects of three, three and two
KEY = ours.archive_key("", SNAPSHOT, None, "image", "lz4")


class Ended(BaseException):
    """The process is no more."""


class Dying:
    """A client whose process ends, as by kill -9, at its n-th request: before S3 does it, or behind that."""

    def __init__(self, client, at, done):
        self._client, self._left, self._done = client, at, done

    def __getattr__(self, name):
        call = getattr(self._client, name)
        if not callable(call) or name == "exceptions":
            return call

        def counted(**arguments):
            self._left -= 1
            if self._left > 0:
                return call(**arguments)
            if self._left == 0 and self._done:
                call(**arguments)
            raise Ended

        return counted


@pytest.fixture(autouse=True)
def small():
    """Parts of 16 KiB, three an object, two a record; a fixture of all examples that hypothesis tries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "SMALLEST_PART", PART)
        patch.setattr(frames, "S3_SMALLEST_PART", PART)
        patch.setattr(upload, "part_size", lambda _number, _expected: PART)
        patch.setattr(upload, "_PARTS", 3)
        patch.setattr(journal, "_RECORD", 2 * PART)
        yield


def bucket(client=None):
    quick = Policy(attempts=4, base=0.0001)
    return Store(client or MemoryS3("b"), "b", owner=memory.ACCOUNT, policy=quick, patience=quick)


def run(store, client=None, data=DATA, codec="lz4", lane=FREE):
    source = BytesSource(data, CHUNK)
    recipe = archive.Recipe(codecs.codec(codec), chunk=CHUNK, threads=1, streams=1)
    used = bucket(client) if client else store
    result = archive.archive_snapshot(used, SNAPSHOT, {}, "image", [archive.Section(None, source, len(data))], recipe, lane)
    return result.manifest["archives"][0], source


def content(store, entry):
    """What the objects hold, one behind the other, decoded by stock tools' rules: frame by frame."""
    whole = b"".join(store.get(each["key"]).body for each in entry["objects"])
    assert [len(store.get(each["key"]).body) for each in entry["objects"]] == [each["size"] for each in entry["objects"]]
    import lz4.frame

    return b"".join(lz4.frame.decompress(whole[at:end]) for at, end in zip(*bounds(whole)))


def bounds(whole):
    magic, starts, at = b"\x04\x22\x4d\x18", [], 0
    while (at := whole.find(magic, at)) >= 0:
        starts.append(at)
        at += 4
    return starts, [*starts[1:], len(whole)]


def is_whole(store, entry, data=DATA):
    """One archive of all its objects, and nothing else in the bucket."""
    keys = [each["key"] for each in entry["objects"]]
    assert store.client.keys("b") == sorted([*keys, KEY + ".index.zst", ours.manifest_key("", SNAPSHOT)])
    assert store.client.uploads["b"] == {}
    assert content(store, entry) == data
    assert manifest.find(store, ours.manifest_key("", SNAPSHOT))["archives"] == [entry]
    sources = {None: lambda chunk: BytesSource(data, chunk)}
    found = find(store, "", SNAPSHOT)
    said = validate.validate_snapshot(store, SNAPSHOT, found, "full", validate.Settings(against="the bytes", sources=sources))
    assert (said["result"], said["frames"]) == ("equal", entry["frames"])
    store.delete([said["key"]])


def journals(store):
    return [key for key in store.client.keys("b") if ".journal/" in key]


def test_an_archive_goes_on_in_a_next_object_where_one_is_full():
    """Whole frames in each, keys that follow from the first, labels on all; their offsets go on."""
    store = bucket()
    entry, _source = run(store)
    assert entry["key"] == KEY
    assert [each["key"] for each in entry["objects"]] == [KEY, KEY + ".002", KEY + ".003"]
    assert [each["size"] // PART for each in entry["objects"]] == [3, 3, 1]
    is_whole(store, entry)
    there = [store.head(each["key"]) for each in entry["objects"]]
    assert len({tuple(each.metadata.items()) for each in there}) == 1
    assert [each.checksum for each in there] == [each["checksum"]["CRC64NVME"] for each in entry["objects"]]
    found = find(store, "", SNAPSHOT).archives
    assert [(each.key, each.more) for each in found] == [(KEY, (KEY + ".002", KEY + ".003"))]
    assert found[0].size == sum(each["size"] for each in entry["objects"])


def test_objects_without_manifest_and_index_are_not_another_tools():
    """Which never makes several: the first of them alone would pass for all."""
    store = bucket()
    run(store)
    store.delete([KEY + ".index.zst", ours.manifest_key("", SNAPSHOT)])
    assert find(store, "", SNAPSHOT).archives == []
    assert [each.state for each in listing.kept(store, "", listing.Filter())] == ["incomplete"]


@pytest.mark.parametrize(("parts", "objects"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_an_object_is_begun_only_for_a_part(codec, parts, objects):
    """At exactly full objects, too; zstd's seek table is one more part behind a full one."""
    store = bucket()
    source = BytesSource(DATA[: parts * PART], CHUNK)
    recipe = archive.Recipe(codecs.codec(codec), chunk=CHUNK, threads=1, streams=1)
    result = archive.archive_snapshot(store, SNAPSHOT, {}, "image", [archive.Section(None, source, 1)], recipe)
    (entry,) = result.manifest["archives"]
    assert len(entry["objects"]) == (objects if codec == "lz4" else parts // 3 + 1)
    assert len(store.client.uploads["b"]) == 0


@pytest.mark.parametrize(
    ("codec", "command"), [("zstd", "zstd -dc {}"), ("zstd", "cat {} | zstd -dc"), ("lz4", "cat {} | lz4 -dc")]
)
def test_stock_tools_read_all_objects_one_behind_the_other(tmp_path, codec, command):
    """As docs/formats.md says; zstd's seek table is at the end of the last one, and counts the frames of all."""
    store = bucket()
    entry, _source = run(store, codec=codec)
    for number, each in enumerate(entry["objects"], 1):
        (tmp_path / f"o.{number:03d}").write_bytes(store.get(each["key"]).body)
    said = subprocess.run(["bash", "-c", command.format("o.*")], cwd=tmp_path, check=True, capture_output=True)
    assert said.stdout == DATA
    if codec == "zstd":
        count, _flags, magic = struct.unpack("<IBI", store.get(entry["objects"][-1]["key"]).body[-9:])
        assert (count, magic) == (entry["frames"], 0x8F92EAB1)


@pytest.mark.parametrize("done", [False, True], ids=["before", "behind"])
def test_a_run_may_end_at_any_request(done):
    """What it left is gone on with: nothing is there twice, nothing is left, and what was recorded is not read again."""
    at, least = 0, len(DATA)
    while True:
        at += 1
        store = bucket()
        try:
            entry, source = run(store, Dying(store.client, at, done))
        except Ended:
            recorded = [key for key in journals(store) if not key.endswith("00000")]
            entry, source = run(store)
            assert not recorded or min(source.reads, default=len(DATA)) > 0
            least = min(least, len(source.reads))
            is_whole(store, entry)
            continue
        is_whole(store, entry)
        break
    assert at > 30
    assert least == 0


def test_a_run_may_end_again_and_again():
    """Each time a few requests further; in the end it is whole, and hardly anything was read twice."""
    store, reads = bucket(), 0
    for at in range(8, 200, 6):
        source = BytesSource(DATA, CHUNK)
        recipe = archive.Recipe(codecs.codec("lz4"), chunk=CHUNK, threads=1, streams=1)
        section = archive.Section(None, source, len(DATA))
        try:
            archive.archive_snapshot(bucket(Dying(store.client, at, True)), SNAPSHOT, {}, "image", [section], recipe)
        except Ended:
            reads += len(source.reads)
            continue
        break
    entry, _source = run(store)
    is_whole(store, manifest.find(store, ours.manifest_key("", SNAPSHOT))["archives"][0])
    assert entry["frames"] == 29


@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("InternalError", 500)])
def test_any_request_may_be_refused_for_a_while(code, status):
    """Tried again with a limit: twice does no harm; for ever ends the run, and the next one goes on."""
    for times in (2, 99):
        at = 0
        while True:
            at += 1
            store = bucket()
            left = faults(store.client, at, times, code, status)
            try:
                run(store)
            except Transient:
                assert times == 99
            store.client.before = lambda _operation, _arguments: None
            run(store)
            is_whole(store, manifest.find(store, ours.manifest_key("", SNAPSHOT))["archives"][0])
            if left[0] > 0:
                break
        assert at > 30


def faults(client, at, times, code, status):
    """From the n-th request on, so many are refused; what is left of both."""
    left = [at, times]

    def before(operation, _arguments):
        left[0] -= 1
        if left[0] <= 0 and left[1] > 0:
            left[1] -= 1
            memory._fail(operation, status, code)

    client.before = before
    return left


def abandoned(at=25):
    """A bucket in which a run ended when it had two objects and a half."""
    store = bucket()
    with pytest.raises(Ended):
        run(store, Dying(store.client, at, True))
    return store


def test_what_was_begun_and_not_noted_is_removed():
    """A run that ended between the begin of an object's upload and the note of it."""
    store = bucket()
    begun = [0]

    def before(operation, arguments):
        begun[0] += operation == "CreateMultipartUpload"
        if begun[0] >= 2 and operation not in ("CreateMultipartUpload",):
            raise Ended

    store.client.before = before
    with pytest.raises(Ended):
        run(store)
    store.client.before = lambda _operation, _arguments: None
    assert sorted(each.key for each in store.client.uploads["b"].values()) == [KEY, KEY + ".002"]
    entry, source = run(store)
    assert min(source.reads) == 3 * PART
    is_whole(store, entry)


@pytest.mark.parametrize(("number", "first"), [(1, 0), (2, 3), (3, 6)])
def test_an_upload_that_somebody_aborted_costs_its_object_and_those_behind_it(number, first):
    """What lies before it is kept."""
    store = complete_but_for_completion()
    (gone,) = [each for each in uploads.unfinished(store, KEY) if each.key == ours.object_key(KEY, number)]
    uploads.Upload(store, gone.key, gone.upload_id).abort()
    entry, source = run(store)
    assert min(source.reads) == first * PART
    is_whole(store, entry)


def complete_but_for_completion():
    store = bucket()

    def before(operation, _arguments):
        if operation in ("CompleteMultipartUpload", "AbortMultipartUpload", "DeleteObjects"):
            raise Ended

    store.client.before = before
    with pytest.raises(Ended):
        run(store)
    store.client.before = lambda _operation, _arguments: None
    return store


def test_an_object_that_is_complete_is_adopted_and_the_others_completed():
    """The run ended between the completion of two objects."""
    store = complete_but_for_completion()
    completed = [0]

    def before(operation, _arguments):
        completed[0] += operation == "CompleteMultipartUpload"
        if completed[0] == 2:
            raise Ended

    store.client.before = before
    with pytest.raises(Ended):
        run(store)
    store.client.before = lambda _operation, _arguments: None
    assert KEY in store.client.keys("b")
    assert KEY + ".002" not in store.client.keys("b")
    entry, source = run(store)
    assert source.reads == []
    is_whole(store, entry)


def test_a_complete_object_whose_neighbour_was_aborted_is_made_the_same_again():
    """The second one is begun anew, and the first is not touched: what would be in it is what is there."""
    store = complete_but_for_completion()
    first = uploads.ids(store, KEY)[0]
    parts = [each["part"] for each in recorded(store)][:3]
    sent = [uploads.Part(number, etag, upload.uploads.checksums.value(crc), size) for number, etag, crc, size in parts]
    etag = uploads.Upload(store, KEY, first).complete(sent).etag
    (gone,) = uploads.ids(store, KEY + ".002")
    uploads.Upload(store, KEY + ".002", gone).abort()
    entry, source = run(store)
    assert min(source.reads) == 3 * PART
    assert store.head(KEY).etag == etag
    is_whole(store, entry)


def recorded(store):
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import document

    bodies = [document.decode(store.get(key).body, "journal", 1) for key in journals(store)]
    return [each for body in bodies for each in body.get("parts", [])]


def test_a_record_ends_where_an_object_ends():
    """So that an object that is lost takes nothing of another with it."""
    store = complete_but_for_completion()
    assert [int(key.rpartition("/")[2]) for key in journals(store)] == [0, 1, 3, 4, 6, 7]


def test_somebody_elses_second_object_is_not_replaced():
    """Nor is anything committed: a half of ours beside it would be no archive."""
    store = bucket()
    store.put(KEY + ".002", b"somebody else's")
    with pytest.raises(Lost, match="a different object already exists"):
        run(store)
    assert store.get(KEY + ".002").body == b"somebody else's"
    assert manifest.find(store, ours.manifest_key("", SNAPSHOT)) is None
    assert (journals(store), store.client.uploads["b"]) == ([], {})


def test_a_guest_removes_no_upload_of_any_object():
    """Its claim is gone: all of them, and the journal, are its successor's."""
    store = bucket()
    sent = [0]

    def before(operation, _arguments):
        sent[0] += operation == "UploadPart"
        if sent[0] == 8:
            memory._fail(operation, 400, "EntityTooLarge")

    def gone():
        if sent[0] == 8:
            raise Lost("the claim is not ours any more")

    store.client.before = before
    with pytest.raises(Lost):
        run(store, lane=FREE._replace(holder=Holder("b/claims/s.json", "one"), renew=gone))
    assert len(store.client.uploads["b"]) == 3
    store.client.before = lambda _operation, _arguments: None
    entry, source = run(store, lane=FREE._replace(holder=Holder("b/claims/s.json", "two")))
    assert min(source.reads) == 6 * PART
    is_whole(store, entry)


def test_a_failure_for_good_removes_the_uploads_of_all_objects():
    """They would be paid for."""
    store = bucket()
    sent = [0]

    def before(operation, _arguments):
        sent[0] += operation == "UploadPart"
        if sent[0] == 8 and operation == "UploadPart":
            memory._fail(operation, 400, "EntityTooLarge")

    store.client.before = before
    with pytest.raises(Permanent, match="EntityTooLarge"):
        run(store)
    assert (store.client.keys("b"), store.client.uploads["b"]) == ([], {})


DAMAGE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@DAMAGE
@given(
    which=st.integers(0, 5), at=st.floats(0, 1, exclude_max=True), how=st.sampled_from(["flip", "cut", "empty", "gone", "other"])
)
def test_whatever_happened_to_a_journal_the_archive_is_whole(which, at, how):
    """It may cost work, never a snapshot."""
    store = complete_but_for_completion()
    key = journals(store)[which]
    body = store.get(key).body
    position = int(at * len(body))
    if how == "gone":
        store.delete([key])
    else:
        others = {
            "flip": body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :], "cut": body[:position], "empty": b"",
            "other": store.get(journals(store)[which - 1]).body,
        }  # fmt: skip
        store.client.damage("b", key, body=others[how])
    entry, _source = run(store)
    is_whole(store, entry)


@DAMAGE
@given(lost=st.sets(st.tuples(st.integers(0, 2), st.integers(1, 3))), changed=st.booleans())
def test_whatever_parts_s3_has_lost_the_archive_is_whole(lost, changed):
    """Or holds others in their place: only what is there as it was recorded is gone on with."""
    store = complete_but_for_completion()
    for each in store.client.uploads["b"].values():
        number = int(each.key.rpartition(".")[2]) - 1 if each.key != KEY else 0
        for part in [part for of, part in lost if of == number and part in each.parts]:
            if changed:
                each.parts[part] = (bytes(PART), '"other"')
            else:
                del each.parts[part]
    entry, _source = run(store)
    is_whole(store, entry)
