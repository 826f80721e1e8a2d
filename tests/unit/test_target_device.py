# SPDX-License-Identifier: GPL-3.0-or-later
"""Images onto devices and files."""

import os
import random

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.device import DeviceTarget, runs
from suites.target_suite import TargetSuite

DATA = random.Random(3).randbytes(300_000) + bytes(200_000) + random.Random(4).randbytes(111)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "disk")


@pytest.fixture
def target(path):
    made = DeviceTarget(path, len(DATA))
    yield made
    made.close()


@pytest.fixture
def content():
    return DATA


@pytest.fixture
def expected():
    return DATA


@pytest.fixture
def held(path):
    def read():
        with open(path, "rb") as file:
            return file.read()

    return read


class TestDeviceTarget(TargetSuite):
    def test_zeros_are_not_written_to_what_is_blank(self, target, path):
        """A file that was made just now has holes where the image has zeros."""
        target.write(0, DATA)
        target.finish()
        assert target.written < 310_000
        assert os.stat(path).st_blocks * 512 < 320_000

    def test_zeros_are_written_to_what_may_hold_something(self, path, held):
        """Skipping them would leave what was there."""
        with open(path, "wb") as file:
            file.write(b"x" * len(DATA))
        used = DeviceTarget(path, len(DATA), overwrite=True)
        used.write(0, DATA)
        used.finish()
        used.close()
        assert held() == DATA
        assert used.written == len(DATA)

    def test_a_file_that_exists_is_refused_unless_it_may_go(self, path, target):
        """Nobody's data is written over by accident."""
        with pytest.raises(Refused, match="exists"):
            DeviceTarget(path, 5)

    def test_what_is_too_small_is_refused_before_a_byte_is_written(self, blank_device):
        """A volume smaller than the disk."""
        with pytest.raises(Refused, match="are needed"):
            DeviceTarget(blank_device, (8 << 20) + 1)

    def test_a_directory_is_no_target_and_nothing_is_made_where_none_can_be(self, tmp_path):
        """Each with its reason."""
        with pytest.raises(Refused, match="neither a block device nor a file"):
            DeviceTarget(str(tmp_path), 5)
        with pytest.raises(Refused, match="No such file"):
            DeviceTarget(str(tmp_path / "missing" / "file"), 5)

    def test_a_stretch_is_written_where_it_belongs(self, path, held):
        """start is where the first byte goes, and nothing before it is touched."""
        with open(path, "wb") as file:
            file.write(b"x" * 1000)
        target = DeviceTarget(path, 10, start=500, overwrite=True)
        target.write(3, b"1234567")
        with pytest.raises(Permanent, match="longer"):
            target.write(4, b"1234567")
        target.close()
        assert held() == b"x" * 503 + b"1234567" + b"x" * 490


def test_runs_are_stretches_of_blocks_that_are_not_all_zero():
    """Down to 4 KiB, and neighbours are one."""
    data = bytes(4096) + b"a" + bytes(4095) + b"b" + bytes(4095) + bytes(8192) + b"c"
    assert runs(memoryview(data)) == [(4096, 12288), (20480, 20481)]
    assert runs(memoryview(bytes(10_000))) == []
    assert runs(memoryview(b"")) == []
