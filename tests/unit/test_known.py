# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots as the bucket knows them, for what goes on when EC2 has them no more."""

from dataclasses import replace

from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.known import known
from fakes import SNAPSHOT
from helpers import archived

CLAIMED, ARCHIVED, BOTH, DAMAGED = (replace(SNAPSHOT, snapshot_id=f"snap-{number:017x}") for number in range(1, 5))


def test_claims_and_manifests_know_snapshots(memory):
    """Each as it was; one whose manifest is damaged is named, and one that nobody knows is not there."""
    for snapshot in (CLAIMED, BOTH):
        claims.take(memory, ours.claim_key("", snapshot.snapshot_id), snapshot, claims.Terms("one", "run"))
    for snapshot in (ARCHIVED, BOTH, DAMAGED):
        archived(memory, snapshot=snapshot)
    memory.client.damage("b", ours.manifest_key("", DAMAGED), -20)
    wanted = [each.snapshot_id for each in (CLAIMED, ARCHIVED, BOTH, DAMAGED)]
    found, unreadable = known(memory, "", [*wanted, "snap-00000000000000bad"])
    assert found == {each.snapshot_id: each for each in (CLAIMED, ARCHIVED, BOTH)}
    assert list(unreadable) == [DAMAGED.snapshot_id]
    assert isinstance(unreadable[DAMAGED.snapshot_id], Corrupt)


def test_the_bucket_is_not_listed_for_what_was_claimed(memory):
    """A claim is one object; a bucket of a hundred thousand archives is many pages."""
    claims.take(memory, ours.claim_key("", CLAIMED.snapshot_id), CLAIMED, claims.Terms("one", "run"))
    memory.client.calls.clear()
    assert list(known(memory, "", [CLAIMED.snapshot_id])[0]) == [CLAIMED.snapshot_id]
    assert "ListObjectsV2" not in memory.client.calls
