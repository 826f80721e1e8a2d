# SPDX-License-Identifier: GPL-3.0-or-later
"""Of a cold volume what will be read is touched once, ahead of the reader; what is free is not."""

import os
import random
import re
import subprocess
import threading
import time
import uuid
from pathlib import Path

import disks
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.pipeline import ordered_map
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import hydrate
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.extents import extents
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.hydrate import BLOCK, Hydration, Pace
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.in_use import InUse
from trees import mounted

GIB = 1 << 30


@pytest.fixture
def touched(monkeypatch):
    """The blocks in the order in which they were touched."""
    blocks = []
    preadv = os.preadv

    def noted(descriptor, buffers, offset):
        blocks.append(offset // BLOCK)
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(hydrate.os, "preadv", noted)
    return blocks


def one_by_one(function, items, workers, window, stop):
    for item in items:
        yield function(item)


def device(path, blocks, more=0):
    with open(path, "wb") as file:
        file.truncate(blocks * BLOCK + more)
    return str(path)


def test_each_block_is_touched_once(tmp_path, touched):
    """To the last, partial one, whatever stretches it lies in; nothing beyond the end. Read errors are left to the reader."""
    hydration = Hydration(device(tmp_path / "disk", 5, 4096))
    hydration.run([(0, 100), (200, BLOCK), (4 * BLOCK, 1 << 62), (1 << 63, 1 << 62), (0, BLOCK)], one_by_one, Stop())
    assert touched == [0, 1, 4, 5]
    hydration.close()


def test_what_is_about_to_be_read_comes_first(tmp_path, touched):
    """A file that was asked for is touched before the rest, where FIEMAP says that it lies."""
    file = tmp_path / "file"
    file.write_bytes(random.Random(1).randbytes(3 * BLOCK))
    os.sync()
    hydration = Hydration(device(tmp_path / "disk", 20))
    with open(file, "rb") as opened:
        first = next(extents(opened.fileno())).physical
    hydration.soon(lambda address: address - first + 10 * BLOCK, os.fsencode(file))
    hydration.soon(lambda address: -1, os.fsencode(file))
    hydration.soon(lambda address: 0, os.fsencode(tmp_path / "none"))
    hydration.run([(0, 12 * BLOCK)], one_by_one, Stop())
    hydration.close()
    assert touched[:3] == [10, 11, 12]
    assert sorted(touched) == [*range(13)]


def test_a_stop_ends_it_and_its_threads(tmp_path):
    """Whatever is left to do."""
    stop = Stop()
    hydration = Hydration(device(tmp_path / "disk", 2000))

    def stretches():
        yield 0, 500 * BLOCK
        stop.request("enough")
        yield 500 * BLOCK, 1500 * BLOCK

    with pytest.raises(Stopped):
        hydration.run(stretches(), ordered_map, stop)
    hydration.close()


def test_many_are_in_flight_and_never_more_than_256(tmp_path, monkeypatch):
    """Of a volume that serves any number of them at once."""
    lock, flying, seen = threading.Lock(), [0], [0]

    def slow(descriptor, buffers, offset):
        with lock:
            flying[0] += 1
            seen[0] = max(seen[0], flying[0])
        time.sleep(0.05)
        with lock:
            flying[0] -= 1

    monkeypatch.setattr(hydrate.os, "preadv", slow)
    hydration = Hydration(device(tmp_path / "disk", 3000))
    hydration.run([(0, 3000 * BLOCK)], ordered_map, Stop())
    hydration.close()
    assert 64 <= seen[0] <= 256


@pytest.mark.parametrize(("most", "limit"), [(256, 256), (64, 64), (128, 128)])
def test_more_are_in_flight_as_long_as_that_is_faster(most, limit):
    """A volume that serves `most` at a time; it is not asked for more than it serves, or for 256."""
    pace, now = Pace(0.0), 0.0
    for _each in range(3000):
        now += 0.15 / min(pace.limit, most)
        pace.ended(now)
    assert limit <= pace.limit <= min(256, 2 * limit)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_all_that_a_filesystem_uses_is_known_and_little_else(tmp_path, kind):
    """Every extent of every file lies in what is in use, where FIEMAP says; most of what was never written to does not."""
    image = device(tmp_path / "disk", 2 * GIB // BLOCK)
    force = {"ext4": ["-F", "-J", "size=16"], "xfs": ["-f"], "btrfs": ["-f", "-U", str(uuid.uuid4())]}[kind]
    subprocess.run([f"mkfs.{kind}", "-q", *force, image], check=True, capture_output=True)
    with mounted(image, "rw") as root:
        for number in range(40):
            (root / f"directory {number % 7}").mkdir(exist_ok=True)
            (root / f"directory {number % 7}" / f"file {number}").write_bytes(random.Random(number).randbytes(700_000))
    found = 0
    with mounted(image) as root, open(image, "rb") as disk:
        known = InUse(kind, image, str(root))
        blocks = {
            block for begin, length in known.stretches() for block in range(begin // BLOCK, (begin + length - 1) // BLOCK + 1)
        }
        for path in root.rglob("file *"):
            with open(path, "rb") as file:
                for each in extents(file.fileno()):
                    where = known.place(each.physical)
                    disk.seek(where)
                    assert disk.read(4096) == os.pread(file.fileno(), 4096, each.logical)
                    assert where // BLOCK in blocks
                    found += 1
        used = allocated(root) if kind == "btrfs" else spoken_for(root)
    assert found >= 40
    more = {"ext4": 100, "xfs": 150, "btrfs": 16}[kind]  # MiB: a journal or log, inode tables; superblocks
    assert len(blocks) * BLOCK < used + more * (1 << 20)


def spoken_for(root):
    status = os.statvfs(root)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def allocated(root):
    """Of a btrfs all that is set aside for data or metadata counts as in use: how much that is depends on the moment."""
    said = subprocess.run(["btrfs", "filesystem", "usage", "-b", root], check=True, capture_output=True, text=True).stdout
    return int(re.search(r"Device allocated:\s+(\d+)", said)[1])


def test_a_damaged_bitmap_is_no_error_of_the_filesystem(tmp_path):
    """The kernel would count it if it were asked, and the archive of files that are whole would fail for it."""
    image = device(tmp_path / "disk", GIB // BLOCK)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
    said = subprocess.run(["dumpe2fs", image], check=True, capture_output=True, text=True).stdout
    with open(image, "r+b") as file:
        file.seek(int(re.search(r"Block bitmap at (\d+)", said)[1]) * 4096 + 5)
        file.write(b"\xa5" * 50)
    with disks.attached(image) as attached, mounted(attached, "ro,noload") as root:
        counted = Path("/sys/fs/ext4", Path(attached).name, "errors_count")
        assert list(InUse("ext4", attached, str(root)).stretches())
        time.sleep(0.5)  # the kernel's count is written a little later
        assert counted.read_text() == "0\n"


def test_a_planner_tells_of_large_files_before_they_are_read(tmp_path):
    """Of those alone: what is small lies beside others."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(bytes(1 << 20))
    (tmp_path / "tree" / "small").write_bytes(b"small")
    told = []
    chunks = TarSource(str(tmp_path / "tree"), ahead=told.append).plan()
    next(chunks)
    assert told == [os.fsencode(tmp_path / "tree" / "large")]
