# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw bytes of a device or file."""

import random

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.device import DeviceSource
from suites.source_suite import SourceSuite

DATA = random.Random(3).randbytes(300_001)


@pytest.fixture
def make(tmp_path):
    (tmp_path / "disk").write_bytes(DATA)
    made = []

    def source(**options):
        made.append(DeviceSource(str(tmp_path / "disk"), chunk_size=65536, **options))
        return made[-1]

    yield source
    for each in made:
        each.close()


@pytest.fixture
def source(make):
    return make()


@pytest.fixture
def again(make):
    return make()


class TestDeviceSource(SourceSuite):
    def test_a_stretch_is_what_lies_there(self, make):
        """start and length cut exactly."""
        source = make(start=1000, length=100_000)
        assert b"".join(bytes(source.read(chunk)) for chunk in source.plan()) == DATA[1000:101_000]

    def test_a_device_that_is_too_short_is_refused(self, make):
        """A volume smaller than its snapshot is never archived as if it were whole."""
        with pytest.raises(Refused, match="has 300001 bytes"):
            make(length=400_000)

    def test_a_device_that_is_missing_is_refused(self):
        """With the reason the system gives."""
        with pytest.raises(Refused, match="No such file"):
            DeviceSource("/dev/does-not-exist")
