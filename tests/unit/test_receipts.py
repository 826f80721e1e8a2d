# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves that an archive was validated, and what does not: a document that was damaged says nothing."""

from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts, listing, search
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims, document, manifest, receipt
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.settle import settle
from fakes import SNAPSHOT, MovedClock
from helpers import DATA, archived, validated


@pytest.fixture
def memory(memory):
    """With a clock of its own, so that each receipt has a time of its own."""
    return replace(memory, clock=MovedClock())


def receipts(store):
    return layouts.find(store, "", SNAPSHOT).receipts


def proof(store):
    _body, etag = manifest.find_with_etag(store, layouts.find(store, "", SNAPSHOT).manifest)
    return receipt.proof(store, receipts(store), etag)


def validate(store, level, data=DATA):
    store.clock.seconds += 60
    return validated(store, level, data)


def flip(store, key, at=-20):
    store.client.damage(store.bucket, key, at % len(store.get(key).body))


@pytest.mark.parametrize(
    ("history", "proved"),
    [
        ([], False),
        (["quick"], False),
        (["archive"], True),
        (["full"], True),
        (["full", "quick"], True),
        (["full", "different"], False),
        (["different", "full"], True),
        (["full", "damaged full"], True),
        (["damaged full"], False),
        (["damaged full", "quick"], False),
        (["damaged full", "archive"], True),
        (["full", "damaged different"], True),
    ],
)
def test_a_receipt_counts_if_it_is_whole(memory, history, proved):
    """The newest that compared every byte decides, of those that have the digest they name."""
    archived(memory)
    bad = []
    for step in history:
        level = step.removeprefix("damaged ")
        key = validate(memory, "full", DATA[:-1] + b"!")["key"] if level == "different" else validate(memory, level)["key"]
        if step.startswith("damaged"):
            flip(memory, key)
            bad.append(key)
    assert proof(memory).proved is proved
    assert receipt.damaged(memory, receipts(memory)) == bad


def test_any_flipped_bit_takes_a_receipts_word(memory):
    """Wherever it is: nothing is settled as validated with it, and the receipt is named."""
    archived(memory)
    key = validate(memory, "full")["key"]
    whole = memory.get(key).body
    held = claims.take(memory, "claims/s.json", SNAPSHOT, claims.Terms("one", "run"))
    for at in range(0, len(whole), 7):
        flip(memory, key, at)
        with pytest.raises(Refused, match="is damaged and does not count") as refused:
            settle(memory, "", SNAPSHOT, held, "validated")
        assert key in str(refused.value)
        flip(memory, key, at)
    assert settle(memory, "", SNAPSHOT, held, "validated").standing == "validated"


def test_a_validation_names_earlier_receipts_that_were_damaged(memory):
    """It is no difference, or there would be one for ever; the new receipt counts."""
    archived(memory)
    old = validate(memory, "full")["key"]
    flip(memory, old)
    assert not proof(memory).proved
    said = validate(memory, "full")
    assert (said["result"], said["damaged_receipts"]) == ("equal", [old])
    assert proof(memory).proved


def listed(store, **options):
    return list(listing.with_details(store, listing.kept(store, "", listing.Filter(**options)), 2))


def test_what_is_in_the_bucket_says_what_of_it_was_damaged(memory):
    """By name; the others are listed all the same."""
    other = replace(SNAPSHOT, snapshot_id="snap-0000000000000000b")
    archived(memory)
    archived(memory, snapshot=other)
    key = validate(memory, "full")["key"]
    assert [(each.details["validated"], each.damaged) for each in listed(memory)] == [(True, []), (False, [])]
    flip(memory, key)
    first, second = listed(memory)
    assert (first.details["validated"], first.damaged) == (False, [f"{key} is damaged and proves nothing"])
    flip(memory, first.manifest)
    first, again = listed(memory)
    assert first.details == {}
    assert first.manifest in first.damaged[0]
    assert again.details == second.details


def test_an_index_that_was_damaged_is_not_searched_and_named(memory, tmp_path):
    """What the others hold is found."""
    other = replace(SNAPSHOT, snapshot_id="snap-0000000000000000b")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    for each in (SNAPSHOT, other):
        archived(memory, snapshot=each, tree=tmp_path / "tree")
    found = listed(memory)
    flip(memory, found[0].details["archives"][0]["index"]["key"])
    said = search.members(memory, found, Selection(["**/file"], []), 10, 2, None)
    assert [(each["snapshot_id"], each["path"]) for each in said["members"]] == [(other.snapshot_id, "file")]
    assert "index was damaged" in found[0].damaged[0]
    assert found[1].damaged == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"version": "1"}',
        b"\xff",
        document.encode("receipt", 1, {}).replace(b"{}", b"[]"),
    ],
)
def test_what_is_no_document_at_all_is_corrupt(text):
    """Whatever somebody put there; never another error."""
    with pytest.raises(Corrupt):
        document.decode(text, "receipt", 1)


@pytest.mark.parametrize("fields", [{"version": "2"}, {"version": None}, {"body": []}, {"body": "text"}])
def test_a_document_of_odd_types_is_corrupt_though_its_digest_holds(fields):
    """Somebody computed it."""
    data = {"body": {}, "format": "coldstore.ebs receipt", "version": 1, **fields}
    with pytest.raises(Corrupt):
        document.decode(document._spell(dict(data, sha256=document._digest(data))), "receipt", 1)
