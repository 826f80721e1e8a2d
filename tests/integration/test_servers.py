# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 servers that are not AWS: what they do not do is found out before anything is claimed, and said in one sentence."""

import pytest
from conftest import finished, start

ALWAYS = {"times": 999}
CHECKSUMS = ["x-amz-checksum", "x-amz-sdk-checksum"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            {"method": "PUT", "path": "-claim", "action": "ignore", "headers": ["If-None-Match"]},
            "let 8 of 8 simultaneous writers win",
        ),
        ({"method": "PUT", "path": "-claim", "action": "lag", "seconds": 0.5}, "writers win although all sent If-None-Match"),
        (
            {"method": "PUT", "path": "-claim", "action": "ignore", "headers": ["If-Match"]},
            "ignores If-Match, and replaced an object",
        ),
        ({"method": "POST", "path": "uploadId", "action": "ignore", "headers": ["If-None-Match"]}, "when an upload is completed"),
        (
            {"method": "HEAD", "path": "probe-.*-claim", "action": "hide", "headers": CHECKSUMS},
            "does not return the CRC64NVME of a small",
        ),
        ({"method": "HEAD", "path": r"probe-\w*.json", "action": "hide", "headers": CHECKSUMS}, "that was uploaded in parts"),
        ({"method": "PUT", "path": "-claim", "skip": 9, "action": "ignore", "headers": CHECKSUMS}, "does not check the CRC64NVME"),
        (
            {"method": "PUT", "path": "-claim", "action": "status", "code": 501, "error": "NotImplemented"},
            "does not support PutObject",
        ),
        (
            {"method": "POST", "path": "uploads", "action": "status", "code": 501, "error": "X"},
            "does not support CreateMultipartUpload",
        ),
        ({"method": "HEAD", "path": "-claim", "action": "status", "code": 501, "error": ""}, "does not support HeadObject"),
    ],
)
def test_what_a_server_does_not_do_is_found_by_the_preflight(lab, bucket, rule, words):
    """By name of the server and of what it lacks, with what to do; neither object nor upload is left."""
    with lab.faults({**rule, **ALWAYS}):
        result = lab.module("preflight", bucket=bucket, volumes=False)
    assert result["failed"]
    assert (result["kind"], words in result["msg"]) == ("refused", True), result["msg"]
    assert lab.state["endpoint"] in result["msg"]
    assert "docs/servers.md" in result["msg"]
    assert (lab.keys(bucket), lab.uploads(bucket)) == ([], [])


def test_a_server_that_does_all_of_it_is_asked_two_dozen_times(lab, bucket):
    """Also below a prefix."""
    with lab.faults({"path": "probe-", "action": "delay", "seconds": 0, **ALWAYS}) as hits:
        lab.ok("preflight", bucket=bucket, prefix="deep/", volumes=False)
        assert len(hits()) <= 24
    assert lab.keys(bucket) == []


@pytest.mark.parametrize("playbook", ["migrate", "validate"])
def test_nothing_is_claimed_on_such_a_server(lab, bucket, venv, seeds, playbook):
    """The run ends before it takes a snapshot."""
    options = {"playbook": playbook, "coldstore_snapshots": [seeds["empty"]]}
    with lab.faults({"method": "PUT", "action": "ignore", "headers": ["If-None-Match"], **ALWAYS}):
        output = finished(start(lab, bucket, venv, **options), code=2)
    assert "writers win although all sent If-None-Match" in " ".join(output.split())
    assert lab.keys(bucket) == []
