# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 in memory that unit tests stand on."""

import pytest
from memory import ACCOUNT, MemoryS3
from suites.s3_suite import S3Suite


class TestS3InMemory(S3Suite):
    @pytest.fixture
    def s3(self):
        return MemoryS3("b", page=2)

    @pytest.fixture
    def bucket(self):
        return "b"

    @pytest.fixture
    def account(self):
        return ACCOUNT


def test_versions_are_kept_where_they_are_wanted():
    """The newest is found without a version, each by its own, also behind a delete marker."""
    s3 = MemoryS3("b", versioned=True)
    first, second = (s3.put_object(Bucket="b", Key="k", Body=body)["VersionId"] for body in (b"1", b"2"))
    assert s3.get_object(Bucket="b", Key="k")["VersionId"] == second
    s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "k"}]})
    assert s3.keys("b") == []
    assert s3.get_object(Bucket="b", Key="k", VersionId=first)["Body"].read() == b"1"
