# SPDX-License-Identifier: GPL-3.0-or-later
"""7. Every part has a checksum that S3 checks, every frame a digest that we check, every codec frame its own."""

import json
import re
import struct
import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import checksums, layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import frames
from conftest import REPO
from fakes import SNAPSHOT, BytesSource
from helpers import DATA, archived, restored, settings, validated


def test_invariant_7_every_request_with_a_body_carries_a_checksum(store):
    """Of parts, of the whole, and of every small object."""
    seen = []

    def look(model, params, **_rest):
        if model.name in ("PutObject", "UploadPart", "CompleteMultipartUpload"):
            seen.append(model.name)
            assert any(name.lower().startswith("x-amz-checksum-") for name in params["headers"]), model.name

    store.client.meta.events.register("before-call.s3", look)
    try:
        archived(store)
        validated(store, "full")
    finally:
        store.client.meta.events.unregister("before-call.s3", look)
    assert {"PutObject", "UploadPart", "CompleteMultipartUpload"} <= set(seen)


def test_invariant_7_s3_computes_the_same_checksum_of_the_whole(store, lab):
    """Combined from parts here, computed over all bytes there."""
    result = archived(store)
    stored = result.manifest["archives"][0]["objects"][0]
    body = lab.s3.get_object(Bucket=store.bucket, Key=stored["key"])["Body"].read()
    assert stored["checksum"] == {"CRC64NVME": checksums.text(checksums.update(body))}


@pytest.mark.parametrize("level", ["archive", "full"])
def test_invariant_7_damage_in_our_memory_is_found_by_validation(memory, level):
    """A bit that flips after hashing and before sending gives S3 a checksum that is right for the wrong bytes."""

    class Failing:
        """A codec whose frames rot on their way to the part: the SHA-256 is of what it should have been."""

        name, level = "zstd", 1

        def __init__(self):
            self.inner = codecs.codec("zstd")
            self.count = 0

        def encode(self, data):
            frame = self.inner.encode(data)
            self.count += 1
            return Rotten(frame) if self.count == 2 else frame

    class Rotten(bytes):
        pass

    real = frames._add

    def add(body, data):
        real(body, bytes([data[0], *data[1:100], data[100] ^ 1, *data[101:]]) if isinstance(data, Rotten) else data)

    frames._add = add
    try:
        wanted = settings()
        piece = archive.Section(None, BytesSource(DATA), len(DATA))
        from dataclasses import replace

        archive.archive_snapshot(
            memory, SNAPSHOT, {}, "image", [piece], replace(wanted, codec=Failing(), threads=1)
        )  # fmt: skip
    finally:
        frames._add = real
    found = validated(memory, level)
    assert found["result"] == "different"
    assert [each["attribute"] for each in found["differences"]] == ["frame"]
    assert "digest" in found["differences"][0]["found"]
    assert found["differences"][0]["offset"] > 0


def first_frame_replaced(store):
    """A body whose first frame is another good one of the same length; where the archive lies."""
    key = layouts.find(store, "", SNAPSHOT).archives[0].key
    first, other = (codecs.codec("zstd").encode(data) for data in (DATA[: 1 << 20], DATA[: 1 << 20][::-1]))
    assert len(other) == len(first)
    return key, other + store.get(key).body[len(first) :]


def test_invariant_7_a_frame_that_is_right_in_itself_but_another_is_found(memory):
    """Its own checksum holds, and S3 says what it always said of the object: only the index knows better."""
    entry = archived(memory).manifest["archives"][0]
    key, body = first_frame_replaced(memory)
    memory.client.damage(memory.bucket, key, body=body)
    assert validated(memory, "quick")["result"] == "equal"
    for level in ("archive", "full"):
        found = validated(memory, level)["differences"]
        assert [(each["archive"], each["attribute"], each["offset"]) for each in found] == [(key, "frame", 0)]
        assert "its digest differs" in found[0]["found"]
    target = Restored()
    with pytest.raises(Corrupt, match="its digest differs"):
        restored(memory, entry, target, threads=1)
    assert not target.written


class Restored:
    """A target that remembers what it was given."""

    in_order = False

    def __init__(self):
        self.written = {}

    def write(self, offset, data):
        self.written[offset] = bytes(data)


def test_invariant_7_an_object_that_was_replaced_is_found_without_fetching_it(memory):
    """S3 knows another checksum then."""
    archived(memory)
    key, body = first_frame_replaced(memory)
    memory.client.put_object(Bucket=memory.bucket, Key=key, Body=body)
    assert [each["attribute"] for each in validated(memory, "quick")["differences"]] == ["checksum"]


def test_invariant_7_an_index_that_is_right_in_itself_but_another_is_found(memory):
    """It decodes, has a foot, and S3 says what it always said of it; the manifest knows better."""
    entry = archived(memory).manifest["archives"][0]
    key = entry["index"]["key"]
    lines = subprocess.run(["zstd", "-dc"], input=memory.get(key).body, capture_output=True, check=True).stdout.splitlines(True)
    lines[1:3] = lines[2:0:-1]  # two frames change places
    other = subprocess.run(["zstd", "-19", "-c"], input=b"".join(lines), capture_output=True, check=True).stdout
    room = entry["index"]["size"] - len(other) - 8
    memory.client.damage(memory.bucket, key, body=other + struct.pack("<II", 0x184D2A50, room) + bytes(room))  # a skippable frame
    assert validated(memory, "quick")["result"] == "equal"
    for level in ("archive", "full"):
        assert [each["attribute"] for each in validated(memory, level)["differences"]] == ["index"]
    with pytest.raises(Corrupt, match="its SHA-256 differs from the manifest's"):
        restored(memory, entry, Restored())


@pytest.mark.parametrize(("digest", "tool"), [("blake3", "b3sum"), ("sha256", "sha256sum")])
def test_invariant_7_the_index_has_the_digest_of_each_stored_frame(memory, tmp_path, digest, tool):
    """The one that it names, checked here without our reader, as docs/formats.md says; and our reader takes either."""
    archived(memory, digest=digest)
    key = layouts.find(memory, "", SNAPSHOT).archives[0].key
    (tmp_path / "ARCHIVE").write_bytes(memory.get(key).body)
    text = memory.get(key + ".index.zst").body
    head, *lines = subprocess.run(["zstd", "-dc"], input=text, capture_output=True, check=True).stdout.splitlines()
    assert json.loads(head)["digest"] == digest
    command = re.search("^tail -c .*$", (REPO / "docs" / "formats.md").read_text(), re.MULTILINE)[0].replace("b3sum", tool)
    foot = json.loads(lines.pop())
    stretches = [[*line[1:3], line[5]] for line in map(json.loads, lines)] + [foot["tail"]]
    assert len(stretches) == 6
    for offset, length, wanted in stretches:
        this = command.replace("OFFSET", str(offset)).replace("LENGTH", str(length))
        said = subprocess.run(["bash", "-c", this], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert said.split()[0] == wanted
    assert validated(memory, "archive")["result"] == "equal"
