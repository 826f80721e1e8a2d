# SPDX-License-Identifier: GPL-3.0-or-later
"""2. Two lanes never work on one snapshot, and one that lost its claim publishes nothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Lost
from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import uploads
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from fakes import SNAPSHOT
from helpers import archived, claim_at

TERMS = claims.Terms("a lane", "run", lease=900)


def test_invariant_2_of_twenty_lanes_one_has_the_claim(store):
    """All at once, against a real server's conditions."""

    def one(number):
        try:
            return claims.take(store, "claims/s.json", SNAPSHOT, replace(TERMS, owner=str(number)))
        except Lost:
            return None

    with ThreadPoolExecutor(20) as executor:
        held = [each for each in executor.map(one, range(20)) if each]
    assert len(held) == 1
    assert claim_at(store, "claims/s.json")["owner"] == held[0].body["owner"]


def test_invariant_2_a_second_lane_cannot_take_a_live_claim(lab, bucket, seeds):
    """Whatever the tags say: they are put back to `migrate` here, and decide nothing."""
    first = lab.ok("snapshot_claim", bucket=bucket, snapshot_ids=[seeds["empty"]], tag="invariant2")
    lab.ec2.create_tags(Resources=[seeds["empty"]], Tags=[{"Key": "invariant2", "Value": "migrate"}])
    second = lab.ok("snapshot_claim", bucket=bucket, tag="invariant2")
    assert (first["claimed"], second["claimed"], second["waiting"]) == (True, False, 1)
    assert "holds the claim" in second["passed"][seeds["empty"]]


@pytest.mark.parametrize("asked", [1, 2])
def test_invariant_2_a_lane_that_lost_its_claim_publishes_nothing(memory, asked):
    """Neither the archive, when the claim is gone before it, nor the manifest, when it goes between them. Upload and journal stay."""
    left = [asked]

    def renew():
        left[0] -= 1
        if left[0] <= 0:
            raise Lost("the claim is not ours any more")

    with pytest.raises(Lost):
        archived(memory, lane=FREE._replace(renew=renew))
    keys = [item.key for item in memory.keys("")]
    assert [key for key in keys if ".journal/" in key]
    assert not [key for key in keys if key.endswith("manifest.json")]
    assert bool([key for key in keys if key.endswith(".img.zst")]) is (asked == 2)
    assert bool(list(uploads.unfinished(memory, ""))) is (asked == 1)
    archived(memory)
    assert not [key for key in [item.key for item in memory.keys("")] if ".journal/" in key]
    assert list(uploads.unfinished(memory, "")) == []


def test_invariant_2_what_another_lane_published_is_never_replaced(memory):
    """A different archive under our key, or a different manifest, ends the job; the other one stays."""
    key = archived(memory).key
    before = memory.get(key).body
    memory.delete([key])
    with pytest.raises(Lost):
        archived(memory, data=b"something else" * 1000)
    memory.put(key, before)
    assert not archived(memory, data=b"something else" * 1000).changed
    assert memory.get(key).body == before
