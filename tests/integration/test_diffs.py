# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode and diff mode say is what is then done."""

import pytest


@pytest.fixture
def empty(lab, seeds):
    """The smallest seed, whose claims and tags nobody else is interested in meanwhile."""
    return seeds["empty"]


def both(lab, name, **arguments):
    """The results of a module in check mode and then for real."""
    checked = lab.module(name, check=True, **arguments)
    return checked, lab.module(name, **arguments)


def test_a_claim_is_foretold(lab, bucket, empty):
    """Taken, refused while somebody holds it, given back; a result without proof is refused in check mode too."""
    asked = {"bucket": bucket, "snapshot_ids": [empty], "tag": "nobodys"}
    checked, done = both(lab, "snapshot_claim", **asked)
    assert checked["diff"] == done["diff"] == {"before": {}, "after": {empty: "held"}}
    assert (checked["changed"], checked["claimed"], done["claimed"]) == (True, False, True)
    assert [each["snapshot_id"] for each in checked["queue"]] == [empty]
    checked, second = both(lab, "snapshot_claim", owner="other", **asked)
    assert checked["changed"] is second["changed"] is False
    assert checked["diff"] == second["diff"] == {"before": {}, "after": {}}
    assert "holds the claim" in checked["passed"][empty]
    assert checked["queue"] == []
    mine = {"bucket": bucket, "snapshot_id": empty, "claim": done["claim"], "tag": "nobodys"}
    settled, refused = both(lab, "snapshot_claim", state="settled", result="validated", **mine)
    assert settled["failed"]
    assert settled["msg"] == refused["msg"]
    assert "no manifest" in settled["msg"]
    checked, given = both(lab, "snapshot_claim", state="released", **mine)
    assert checked["diff"] == given["diff"] == {"before": {empty: "held"}, "after": {empty: "free"}}
    assert (checked["result"], checked["claimed"], given["result"], given["claimed"]) == ("free", False, "free", False)


def test_the_last_failure_is_foretold(lab, bucket, empty):
    """Given back with a reason, it is free for another attempt, or failed if there is none left."""
    for attempt, state in ((1, "free"), (2, "failed")):
        done = lab.ok("snapshot_claim", bucket=bucket, snapshot_ids=[empty], tag="nobodys", run_id=str(attempt), attempts=2)
        mine = {"bucket": bucket, "snapshot_id": empty, "claim": done["claim"], "tag": "nobodys", "reason": "tried", "attempts": 2}
        checked, given = both(lab, "snapshot_claim", state="released", **mine)
        assert checked["diff"] == given["diff"] == {"before": {empty: "held"}, "after": {empty: state}}
    lab.ec2.delete_tags(Resources=[empty], Tags=[{"Key": "nobodys"}, {"Key": "nobodys-reason"}])


def test_a_temporary_volume_is_foretold(lab, bucket, empty):
    """Made, found again, removed; archived and validated in between."""
    checked = lab.module("ebs_temp_volume", check=True, snapshot_id=empty)
    made = lab.attach(empty)
    assert checked["diff"] == {"before": {"temporary": []}, "after": {"temporary": [f"a new volume of {empty}"]}}
    assert made["diff"] == {"before": {"temporary": []}, "after": {"temporary": [made["volume_id"]]}}
    try:
        checked, again = both(lab, "ebs_temp_volume", snapshot_id=empty, poll_interval=0.1)
        assert checked["diff"] == again["diff"] == {"before": made["diff"]["after"], "after": made["diff"]["after"]}
        assert checked["changed"] is again["changed"] is False
        asked = {"bucket": bucket, "snapshot_id": empty, "volume_id": made["volume_id"], "format": "image"}
        checked, archived = both(lab, "snapshot_archive_s3", **asked)
        assert checked["diff"] == archived["diff"]
        assert checked["diff"]["before"] == {"archives": []}
        assert checked["diff"]["after"] == {"archives": archived["keys"]}
        checked, again = both(lab, "snapshot_archive_s3", **asked)
        assert (
            checked["diff"] == again["diff"] == {"before": {"archives": archived["keys"]}, "after": {"archives": archived["keys"]}}
        )
        checked, validated = both(lab, "snapshot_validate", bucket=bucket, snapshot_id=empty)
        assert validated["diff"] == {"before": {}, "after": {"receipt": validated["receipt"]}}
        begins, _dot, _time = validated["receipt"].rpartition(".receipt.")
        assert checked["diff"]["after"]["receipt"].startswith(f"{begins}.receipt.")
        assert checked["diff"]["after"]["receipt"].endswith(".archive.json")
        assert [key for key in lab.keys(bucket) if ".receipt." in key] == [validated["receipt"]]
    finally:
        checked, removed = both(lab, "ebs_temp_volume", state="absent", volume_id=made["volume_id"], poll_interval=0.1)
    assert checked["diff"] == removed["diff"] == {"before": {"temporary": [made["volume_id"]]}, "after": {"temporary": []}}
    assert made["volume_id"] not in lab.volumes()
