# SPDX-License-Identifier: GPL-3.0-or-later
"""7. Every part has a checksum that S3 checks, every frame a SHA-256 that we check, every codec frame its own."""

import hashlib

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import codecs, layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.jobs import archive
from fakes import SNAPSHOT, BytesSource
from helpers import DATA, archived, settings, validated


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
    assert stored["checksum"] == {store.checksum.name: store.checksum.text(store.checksum.update(body, 0))}


@pytest.mark.parametrize("level", ["archive", "full"])
def test_invariant_7_damage_in_our_memory_is_found_by_validation(store, level):
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

    real = archive._add

    def add(body, data):
        real(body, bytes([data[0], *data[1:100], data[100] ^ 1, *data[101:]]) if isinstance(data, Rotten) else data)

    archive._add = add
    try:
        wanted = settings()
        piece = archive.Piece(None, BytesSource(DATA), len(DATA))
        from dataclasses import replace

        archive.archive_snapshot(
            store, SNAPSHOT, {}, "image", [piece], replace(wanted, codec=Failing(), threads=1)
        )  # fmt: skip
    finally:
        archive._add = real
    found = validated(store, level)
    assert found["result"] == "different"
    assert [each["attribute"] for each in found["differences"]] == ["frame"]
    assert "SHA-256" in found["differences"][0]["found"]
    assert found["differences"][0]["offset"] > 0


def test_invariant_7_a_frame_that_is_right_in_itself_but_another_is_found(store, lab):
    """Its own checksum holds; the index says it is not the one."""
    archived(store)
    found = layouts.find(store, "", SNAPSHOT)
    key = found.archives[0].key
    body = bytearray(lab.s3.get_object(Bucket=store.bucket, Key=key)["Body"].read())
    other = codecs.codec("zstd").encode(DATA[: 1 << 20][::-1])
    first = len(codecs.codec("zstd").encode(DATA[: 1 << 20]))
    assert len(other) == first
    body[:first] = other
    lab.s3.put_object(Bucket=store.bucket, Key=key, Body=bytes(body))
    differences = validated(store, "quick")["differences"]
    assert [each["attribute"] for each in differences] == ["checksum"]


def test_invariant_7_the_index_has_the_digest_of_each_stored_frame(store, lab):
    """SHA-256, checked here without our reader."""
    import json
    import subprocess

    archived(store, codec="lz4")
    key = layouts.find(store, "", SNAPSHOT).archives[0].key
    body = lab.s3.get_object(Bucket=store.bucket, Key=key)["Body"].read()
    text = lab.s3.get_object(Bucket=store.bucket, Key=key + ".index.zst")["Body"].read()
    lines = subprocess.run(["zstd", "-dc"], input=text, capture_output=True, check=True).stdout.splitlines()
    frames = [json.loads(line) for line in lines[1:-1]]
    assert len(frames) == 5
    for _kind, offset, length, _raw, _length, digest in frames:
        assert hashlib.sha256(body[offset : offset + length]).hexdigest() == digest
