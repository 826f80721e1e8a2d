# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents, indexes and keys as anything may have changed them: what is read is what was written, or it is refused by name."""

import copy
import functools
import hashlib
import json
from contextlib import closing

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError, Corrupt, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import settle
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts, listing, search
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims, document, index, manifest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Member
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import subject
from fakes import SNAPSHOT
from helpers import archived, validated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
BODIES = st.dictionaries(st.text(), JSON, max_size=5)
CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damaged(data, body):
    """Any one change: bits, a cut, something put in, or something else altogether."""
    at = data.draw(st.integers(0, len(body) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "replace", "repeat"]))
    other = data.draw(st.binary(min_size=1, max_size=8))
    return {
        "flip": body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :],
        "cut": body[:at],
        "insert": body[:at] + other + body[at:],
        "replace": body[:at] + other + body[at + len(other) :],
        "repeat": body[:at] + body,
    }[how]


@CALM
@given(body=BODIES, data=st.data())
def test_a_document_is_what_was_written_or_corrupt(body, data):
    """Whatever was changed of it; nothing else is raised, however odd it is."""
    text = document.encode("manifest", 1, body)
    assert document.decode(text, "manifest", 1) == body
    other = damaged(data, text)
    if other != text:
        with pytest.raises((Corrupt, Refused)):
            document.decode(other, "manifest", 1)


def places(value, path=()):
    """Where something is in a document: the path to each field, and to the first item of each list."""
    inner = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for name, each in inner:
        yield (*path, name)
        yield from places(each, (*path, name))


def rewritten(store, key, name, path, what):
    """A document with something else at one place, whose digest somebody has computed."""
    body = copy.deepcopy(json.loads(store.get(key).body)["body"])
    *above, last = path
    holder = functools.reduce(lambda there, each: there[each], above, body)
    if what is None:
        del holder[last]
    else:
        holder[last] = what
    store.client.damage("b", key, body=document.encode(name, 1, body))


@pytest.mark.parametrize("what", [None, "text", 5, []], ids=str)
def test_a_document_that_somebody_else_made_up_is_refused_by_name(memory, what):
    """Though its digest holds: each field missing, or something else in its place. It is read as before, or an error of ours."""
    archived(memory)
    held = claims.take(memory, ours.claim_key("", SNAPSHOT.snapshot_id), SNAPSHOT, claims.Terms("me", "r"))
    manifest_key, receipt_key = ours.manifest_key("", SNAPSHOT), validated(memory, "archive")["key"]
    terms = claims.Terms("you", "other")

    def work():
        for level in ("quick", "archive"):
            validated(memory, level)
        listed = listing.with_details(memory, listing.kept(memory, "", listing.Filter()), 1)
        search.members(memory, list(listed), Selection(["*"]), 9, 1, None)
        settle.proved(memory, "", SNAPSHOT, "migrated")
        subject.find(memory, "", SNAPSHOT.snapshot_id, "", "")

    def take():
        claims.free(memory, "", {SNAPSHOT.snapshot_id: SNAPSHOT}, terms)
        claims.described(memory, "", [SNAPSHOT.snapshot_id])
        claims.held(memory, held.key, held.token)
        claims.take(memory, held.key, SNAPSHOT, terms)

    refused = 0
    for name, key, use in (("manifest", manifest_key, work), ("receipt", receipt_key, work), ("claim", held.key, take)):
        whole = memory.get(key).body
        for path in places(json.loads(whole)["body"]):
            rewritten(memory, key, name, path, what)
            try:
                use()
            except ColdstoreError:
                refused += 1
            finally:
                memory.client.damage("b", key, body=whole)
                memory.delete([each for each in memory.client.keys("b") if ".receipt." in each and each != receipt_key])
    assert refused


def test_a_manifest_names_the_objects_of_one_archive_for_each_partition(memory):
    """Of none, nothing would be compared."""
    entry = archived(memory).manifest["archives"][0]
    key = ours.manifest_key("", SNAPSHOT)
    for archives, words in (
        ([dict(entry, objects=[])], "no objects"),
        ([dict(entry, chunk=0)], "no objects or chunks"),
        ([entry, entry], "two archives of one partition"),
    ):
        rewritten(memory, key, "manifest", ("archives",), archives)
        with pytest.raises(Corrupt, match=words):
            manifest.find(memory, key)


def indexed():
    with index.IndexWriter("key", "tar", "zstd", 4096, "blake3", None) as writer:
        for number in range(50):
            writer.frame(100 + number, 4096, f"{number:064x}")
            name = b"./\xff file %d" % number
            writer.member(Member(name, "file", number * 1024, 1024, 5, 0o644, 0, 0, number, None, ""))
        writer.behind(b"seek table")
        file, size, digest = writer.finish()
        file.seek(0)
        return file.read(), size, digest


INDEX = indexed()


@CALM
@given(data=st.data())
def test_an_index_is_what_its_manifest_names_or_corrupt(memory, data):
    """Longer, shorter, other bytes."""
    body, size, digest = INDEX
    other = damaged(data, body)
    memory.client.put_object(Bucket="b", Key="i", Body=other)
    if other != body:
        with pytest.raises(Corrupt):
            index.fetch(memory, "i", size, digest, "", None).close()


@CALM
@given(data=st.data())
def test_an_index_that_was_wrong_before_it_was_named_ends_in_an_error_of_ours(memory, data):
    """A manifest may name what was damaged in somebody's memory: it is corrupt then, or of a later version, not a traceback."""
    other = damaged(data, INDEX[0])
    memory.client.put_object(Bucket="b", Key="i", Body=other)
    try:
        found = index.fetch(memory, "i", len(other), hashlib.sha256(other).hexdigest(), "", None)
    except (Corrupt, Refused):
        return
    with closing(found):
        list(found.frames())
        list(found.members())


@given(
    partition=st.none() | st.integers(0, 200), form=st.sampled_from(["tar", "image"]), codec=st.sampled_from(["lz4", "zstd"]),
    number=st.integers(1, 2000), prefix=st.sampled_from(["", "a/", "a/b c/"]),
)  # fmt: skip
def test_every_object_of_an_archive_is_known_by_its_key(partition, form, codec, number, prefix):
    """And the archive, and its manifest, by every object's."""
    archive = ours.archive_key(prefix, SNAPSHOT, partition, form, codec)
    key = ours.object_key(archive, number)
    named = layouts.parse(key, prefix)
    assert (named.kind, named.layout, named.snapshot_id, named.partition, named.format, named.codec, named.object) == (
        "archive", "ours", SNAPSHOT.snapshot_id, partition, form, codec, number,
    )  # fmt: skip
    assert ours.is_object_of(key, archive)
    assert not ours.is_object_of(key + ".index.zst", archive)
    assert not ours.is_object_of(archive + ".journal/00001", archive)
    assert ours.manifest_of(key) == ours.manifest_key(prefix, SNAPSHOT)


@pytest.mark.parametrize("end", [".000", ".001", ".0002", ".02", ".2", ".002.bak"])
def test_what_only_looks_like_an_object_of_an_archive_is_nobodys(end):
    """No object has such a number, so it is neither a first one nor beside one."""
    key = ours.archive_key("", SNAPSHOT, None, "image", "lz4")
    assert layouts.parse(key + end, "") is None
    assert not ours.is_object_of(key + end, key)


@given(st.text(max_size=80))
def test_any_key_is_parsed_without_an_error(key):
    """A bucket may hold anything."""
    layouts.parse(key, "")
    layouts.parse(f"vol-1/2017-01-01T00:00:00+00:00 snap-1{key}", "")
