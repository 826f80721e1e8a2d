# SPDX-License-Identifier: GPL-3.0-or-later
"""1. migrated only with a manifest, validated only with a receipt saying that every byte was compared."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.settle import give_back, settle
from fakes import SNAPSHOT
from helpers import DATA, archived, claim_at, validated


@pytest.fixture
def held(memory):
    return claims.take(memory, "claims/s.json", SNAPSHOT, claims.Terms("one", "run"))


def test_invariant_1_nothing_is_migrated_without_a_manifest(memory, held):
    """And the claim stays as it was."""
    with pytest.raises(Refused, match="has no manifest"):
        settle(memory, "", SNAPSHOT, held, "migrated")
    assert claim_at(memory, held.key)["state"] == "held"
    archived(memory)
    assert settle(memory, "", SNAPSHOT, held, "migrated").standing == "migrated"


def test_invariant_1_an_archive_that_is_whole_but_not_committed_is_no_archive(memory, held):
    """The manifest decides, not the archive under its key."""
    result = archived(memory)
    memory.delete([result.key])
    with pytest.raises(Refused):
        settle(memory, "", SNAPSHOT, held, "migrated")


def test_invariant_1_a_quick_look_proves_nothing(memory, held):
    """Sizes and checksums are not bytes."""
    archived(memory)
    assert validated(memory, "quick")["result"] == "equal"
    with pytest.raises(Refused, match="no receipt"):
        settle(memory, "", SNAPSHOT, held, "validated")
    validated(memory, "archive")
    assert settle(memory, "", SNAPSHOT, held, "validated").standing == "validated"


def test_invariant_1_a_receipt_with_differences_proves_nothing(memory, held):
    """It says that every byte was compared, and that they differ."""
    archived(memory)
    assert validated(memory, "full", DATA[:-1] + b"!")["result"] == "different"
    with pytest.raises(Refused):
        settle(memory, "", SNAPSHOT, held, "validated")


def test_invariant_1_a_receipt_of_another_manifest_proves_nothing(memory, held):
    """A manifest that was replaced is a new archive."""
    key = archived(memory).key
    validated(memory, "archive")
    memory.delete([key])
    archived(memory, codec="lz4")
    with pytest.raises(Refused):
        settle(memory, "", SNAPSHOT, held, "validated")


def test_invariant_1_a_weaker_proof_takes_nothing_back(memory, held):
    """Every byte was compared once; a quick look afterwards leaves that as it is."""
    archived(memory)
    validated(memory, "full")
    assert validated(memory, "quick")["result"] == "equal"
    assert settle(memory, "", SNAPSHOT, held, "migrated").standing == "validated"


@pytest.mark.parametrize("level", ["archive", "quick"])
def test_invariant_1_a_difference_found_later_counts_more_than_an_older_proof(memory, held, level):
    """The archive was damaged meanwhile; what finds it, even a quick look, ends the proof, until every byte is equal again."""
    result = archived(memory)
    validated(memory, "full")
    key = result.manifest["archives"][0]["objects"][0]["key"]
    if level == "quick":
        memory.client.put_object(Bucket=memory.bucket, Key=key, Body=memory.get(key).body + b"!")
    else:
        memory.client.damage(memory.bucket, key, 1000)
    assert validated(memory, level)["result"] == "different"
    with pytest.raises(Refused, match="no receipt"):
        settle(memory, "", SNAPSHOT, held, "validated")
    assert settle(memory, "", SNAPSHOT, held, "migrated").standing == "migrated"


@pytest.mark.parametrize(("wrong", "standing"), [(False, "validated"), (True, "free")])
def test_invariant_1_only_a_difference_takes_a_proof_back(memory, held, wrong, standing):
    """A validation that ends for another reason is a failure of its own, and the older proof stands."""
    result = archived(memory)
    validated(memory, "archive")
    settle(memory, "", SNAPSHOT, held, "validated")
    again = claims.take(memory, held.key, SNAPSHOT, claims.Terms("two", "another", redo=("validated",)))
    if wrong:
        memory.client.damage(memory.bucket, result.manifest["archives"][0]["objects"][0]["key"], 1000)
        assert validated(memory, "archive")["result"] == "different"
    assert give_back(memory, "", again, "the spool is full", 3).standing == standing
