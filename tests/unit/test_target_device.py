# SPDX-License-Identifier: GPL-3.0-or-later
"""Images onto devices and files."""

import os
import random

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
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

    def test_zeros_are_written_to_what_may_hold_something(self, blank_device):
        """Skipping them would leave what was there; on what is known to be blank they are skipped."""
        content = DATA * 4
        with open(blank_device, "wb") as file:
            file.write(b"x" * (8 << 20))
        for blank, written in ((False, len(content) + (1 << 20)), (True, 4 * 304_000)):
            target = DeviceTarget(blank_device, len(content), blank=blank)
            target.write(0, content)
            target.finish()
            target.close()
            assert abs(target.written - written) < 30_000
            with open(blank_device, "rb") as file:
                assert file.read(len(content)) == content
                assert set(file.read()) == {ord("x")}

    def test_what_is_not_whole_does_not_look_like_it(self, path, target, blank_device, held):
        """A file is not in its place yet; a device has nothing where filesystems and tables begin."""
        target.write(0, DATA)
        assert not os.path.exists(path)
        with open(blank_device, "wb") as file:
            file.write(b"x" * (8 << 20))
        device = DeviceTarget(blank_device, 2 << 20)
        device.write(0, b"y" * (2 << 20))
        with open(blank_device, "rb") as file:
            assert file.read(1 << 20) == bytes(1 << 20)
        device.finish()
        device.close()
        with open(blank_device, "rb") as file:
            assert file.read(2 << 20) == b"y" * (2 << 20)
        target.finish()
        assert held() == DATA

    def test_what_was_left_half_way_is_begun_anew(self, path, target, held):
        """And a file that may be overwritten keeps its contents until the new one is whole."""
        target.write(0, DATA)
        target.close()
        again = DeviceTarget(path, 1000)
        again.write(0, b"z" * 1000)
        again.finish()
        again.close()
        assert held() == b"z" * 1000
        over = DeviceTarget(path, 10, overwrite=True)
        over.write(0, b"new")
        assert held() == b"z" * 1000
        over.finish()
        over.close()
        assert held() == b"new" + bytes(7)

    def test_a_file_that_exists_is_refused_unless_it_may_go(self, path, target):
        """Nobody's data is written over by accident."""
        target.finish()
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


def test_runs_are_stretches_of_blocks_that_are_not_all_zero():
    """Down to 4 KiB, and neighbours are one."""
    data = bytes(4096) + b"a" + bytes(4095) + b"b" + bytes(4095) + bytes(8192) + b"c"
    assert runs(memoryview(data)) == [(4096, 12288), (20480, 20481)]
    assert runs(memoryview(bytes(10_000))) == []
    assert runs(memoryview(b"")) == []
