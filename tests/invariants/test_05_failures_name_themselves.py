# SPDX-License-Identifier: GPL-3.0-or-later
"""5. A failure names what failed, and removes what it created. (Others going on: integration/test_playbooks.py.)"""

import contextlib
import os
import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import uploads
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.device import DeviceSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from fakes import SNAPSHOT

MIB = 1 << 20


@contextlib.contextmanager
def failing_disk(directory, size=128 * MIB):
    """A loop device; yields (device, a function after which reads beyond half of it give EIO).

    The kernel answers reads beyond the end of a loop device's file with EIO, so the file is cut short under it.
    """
    image = directory / "image"
    with open(image, "wb") as file:
        file.truncate(size)
    device = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()

    def break_now():
        subprocess.run(["blockdev", "--flushbufs", device], check=True)  # or it would be read from the cache
        os.truncate(image, size // 2)

    try:
        yield device, break_now
    finally:
        os.truncate(image, size)
        subprocess.run(["losetup", "-d", device], check=True)


def run(store, source):
    settings = archive.Recipe(codecs.codec("lz4"))
    return archive.archive_snapshot(store, SNAPSHOT, {}, "image", [archive.Section(3, source, 64 * MIB)], settings)


def test_invariant_5_a_bad_sector_of_a_disk_is_named_and_nothing_stays(store, lab, tmp_path):
    """By device and offset, with what to do; or, if that was asked for, it is zeros and listed."""
    with failing_disk(tmp_path) as (device, break_now):
        break_now()
        source = DeviceSource(device)
        with pytest.raises(Permanent) as caught:
            run(store, source)
        source.close()
        assert caught.value.facts["path"] == device.encode()
        assert 64 * MIB <= caught.value.facts["offset"] < 128 * MIB
        assert "on_read_error=zero" in str(caught.value)
        assert lab.uploads(store.bucket) == []
        assert lab.keys(store.bucket) == []
        source = DeviceSource(device, on_error="zero")
        entry = run(store, source).manifest["archives"][0]
        source.close()
        assert sum(each["length"] for each in entry["problems"]) == 64 * MIB
        assert entry["problems"][0]["offset"] == 64 * MIB


def test_invariant_5_a_file_on_a_bad_sector_is_named(store, lab, tmp_path):
    """By its path on the filesystem of the snapshot."""
    with failing_disk(tmp_path) as (device, break_now):
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        point = tmp_path / "mnt"
        point.mkdir()
        subprocess.run(["mount", device, point], check=True)
        for number in range(25):
            (point / f"file{number:02d}").write_bytes(os.urandom(4 * MIB))
        subprocess.run(["umount", point], check=True)
        break_now()
        subprocess.run(["mount", "-o", "ro", device, point], check=True)
        try:
            with pytest.raises(Permanent) as caught:
                run(store, TarSource(str(point), spool=str(tmp_path)))
        finally:
            subprocess.run(["umount", point], check=True)
    assert caught.value.facts["path"].startswith(b"file")
    assert caught.value.facts["partition"] == 3
    assert "Input/output error" in str(caught.value)
    assert lab.keys(store.bucket) == []


def test_invariant_5_an_s3_error_carries_call_and_request_id(store, lab):
    """What AWS support asks for."""
    with lab.faults({"method": "POST", "path": "uploads", "action": "status", "code": 403, "error": "AccessDenied"}):
        with pytest.raises(Exception, match="s3:PutObject is denied") as caught:
            uploads.begin(store, "k")
    assert caught.value.facts["call"] == "CreateMultipartUpload"
    assert caught.value.facts["request_id"] == "LAB0000000000000"
