# SPDX-License-Identifier: GPL-3.0-or-later
"""1. migrated only with a manifest, validated only with a receipt saying that every byte was compared."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.jobs.settle import settle
from fakes import SNAPSHOT
from helpers import DATA, archived, claim_at, validated


@pytest.fixture
def held(store):
    return claims.take(store, "claims/s.json", SNAPSHOT, claims.Terms("one", "run"))


def test_invariant_1_nothing_is_migrated_without_a_manifest(store, held):
    """And the claim stays as it was."""
    with pytest.raises(Refused, match="has no manifest"):
        settle(store, "", SNAPSHOT, held, "migrated")
    assert claim_at(store, held.key)["state"] == "held"
    archived(store)
    assert settle(store, "", SNAPSHOT, held, "migrated").standing == "migrated"


def test_invariant_1_an_archive_that_is_whole_but_not_committed_is_no_archive(store, held):
    """The manifest decides, not the archive under its key."""
    result = archived(store)
    store.delete([result.key])
    with pytest.raises(Refused):
        settle(store, "", SNAPSHOT, held, "migrated")


def test_invariant_1_a_quick_look_proves_nothing(store, held):
    """Sizes and checksums are not bytes."""
    archived(store)
    assert validated(store, "quick")["result"] == "equal"
    with pytest.raises(Refused, match="no receipt"):
        settle(store, "", SNAPSHOT, held, "validated")
    validated(store, "archive")
    assert settle(store, "", SNAPSHOT, held, "validated").standing == "validated"


def test_invariant_1_a_receipt_with_differences_proves_nothing(store, held):
    """It says that every byte was compared, and that they differ."""
    archived(store)
    assert validated(store, "full", DATA[:-1] + b"!")["result"] == "different"
    with pytest.raises(Refused):
        settle(store, "", SNAPSHOT, held, "validated")


def test_invariant_1_a_receipt_of_another_manifest_proves_nothing(store, held):
    """A manifest that was replaced is a new archive."""
    key = archived(store).key
    validated(store, "archive")
    store.delete([key])
    archived(store, codec="lz4")
    with pytest.raises(Refused):
        settle(store, "", SNAPSHOT, held, "validated")


def test_invariant_1_a_weaker_proof_takes_nothing_back(store, held):
    """Every byte was compared once; a quick look afterwards leaves that as it is."""
    archived(store)
    validated(store, "full")
    assert validated(store, "quick")["result"] == "equal"
    assert settle(store, "", SNAPSHOT, held, "migrated").standing == "validated"


@pytest.mark.parametrize("level", ["archive", "quick"])
def test_invariant_1_a_difference_found_later_counts_more_than_an_older_proof(store, lab, held, level):
    """The archive was damaged meanwhile; what finds it, even a quick look, ends the proof, until every byte is equal again."""
    result = archived(store)
    validated(store, "full")
    key = result.manifest["archives"][0]["objects"][0]["key"]
    good = lab.s3.get_object(Bucket=store.bucket, Key=key)["Body"].read()
    if level == "quick":
        lab.s3.put_object(Bucket=store.bucket, Key=key, Body=good + b"!")
    else:
        lab.damage(store.bucket, key, 1000)
    assert validated(store, level)["result"] == "different"
    with pytest.raises(Refused, match="no receipt"):
        settle(store, "", SNAPSHOT, held, "validated")
    assert settle(store, "", SNAPSHOT, held, "migrated").standing == "migrated"
