# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's S3 is as strict as the one in memory, and both as AWS documents it."""

import pytest
from suites.s3_suite import S3Suite


class TestS3OfTheLab(S3Suite):
    @pytest.fixture
    def s3(self, lab):
        return lab.s3

    @pytest.fixture
    def account(self, lab):
        return lab.account
