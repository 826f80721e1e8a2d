# SPDX-License-Identifier: GPL-3.0-or-later
"""How often AWS is asked: a night has thousands of small snapshots, and EC2 and STS answer an account only so often a second."""

from collections import Counter

from conftest import finished, start

ONCE_A_RUN = ("/claims/probe-", "?lifecycle")  # what the preflight asks of the bucket


def test_a_migration_asks_aws_no_more_than_it_has_to(lab, bucket, venv, seeds):
    """What a module found is handed on to the next by the role. Looks at a state that takes its time are not counted."""
    lab.calls()
    finished(
        start(lab, bucket, venv, coldstore_snapshots=[seeds["empty"]], coldstore_tag="calls")
    )  # without the past of another tag
    calls = [call for call in lab.calls() if not any(each in call for each in ONCE_A_RUN)]
    lab.ec2.delete_tags(Resources=[seeds["empty"]], Tags=[{"Key": "calls"}])
    count = Counter(call.partition("?")[0].replace(f"/{bucket}", "BUCKET") for call in calls)
    assert count["sts GetCallerIdentity"] == 1
    assert count["s3 HEAD BUCKET"] <= 2  # the preflight, and whoever claims
    assert count["ec2 DescribeInstances"] == 1
    assert count["ec2 DescribeSnapshots"] <= 2
    assert count["ec2 DeleteTags"] == 1  # there was no reason to remove when it was claimed
    assert count[f"s3 GET BUCKET/claims/{seeds['empty']}.json"] == 6  # once a module
    assert len(calls) - count["ec2 DescribeVolumes"] <= 57, count
