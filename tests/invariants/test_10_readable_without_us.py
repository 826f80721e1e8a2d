# SPDX-License-Identifier: GPL-3.0-or-later
"""10. Manifest and index say enough to check and rebuild everything years later, without the snapshot and without us."""

import hashlib
import json
import subprocess
import tarfile

from conftest import REPO


def test_invariant_10_a_reader_of_the_documents_alone_gets_every_file(lab, bucket, seeds, tmp_path):
    """With the standard library and zstd: manifest -> index -> one frame range -> one member, and then all of them."""
    volume = lab.attach(seeds["tagged"])
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["tagged"], volume_id=volume["volume_id"])
    finally:
        lab.detach(volume["volume_id"])

    def get(key, **options):
        return lab.s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()

    def plain(data):
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout

    key = next(key for key in lab.keys(bucket) if key.endswith(".manifest.json"))
    document = json.loads(get(key))
    assert (document["format"], document["version"]) == ("coldstore.ebs manifest", 1)
    covered = {name: document[name] for name in ("body", "format", "version")}
    assert hashlib.sha256((json.dumps(covered, sort_keys=True, indent=1) + "\n").encode()).hexdigest() == document["sha256"]
    entry = document["body"]["archives"][0]
    index = get(entry["index"]["key"])
    assert hashlib.sha256(index).hexdigest() == entry["index"]["sha256"]
    head, *lines, foot = [json.loads(line) for line in plain(index).splitlines()]
    assert (head["format"], head["version"], head["kind"]) == ("coldstore.ebs index", 1, "tar")
    frames = [line for line in lines if line[0] == "f"]
    members = [line for line in lines if line[0] == "m"]
    assert (foot["frames"], foot["members"]) == (len(frames), len(members)) == (entry["frames"], entry["members"])

    _m, path, kind, offset, length, size, *_rest = next(m for m in members if m[1] == "dir1/sub1/file 1")
    assert kind == "file"
    wanted = [f for f in frames if f[3] < offset + length and f[3] + f[4] > offset]
    first, last = wanted[0], wanted[-1]
    piece = get(entry["objects"][0]["key"], Range=f"bytes={first[1]}-{last[1] + last[2] - 1}")
    (tmp_path / "one.tar").write_bytes(plain(piece)[offset - first[3] : offset - first[3] + length])
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert len(archive.extractfile("./" + path).read()) == size

    whole = plain(get(entry["objects"][0]["key"]))
    assert len(whole) == foot["raw"] == entry["raw_size"]
    assert document["body"]["base"] is None
    assert isinstance(entry["objects"], list)


def test_invariant_10_the_formats_are_documented():
    """Every field that is written stands in docs/formats.md."""
    text = (REPO / "docs" / "formats.md").read_text()
    for field in (
        "snapshot", "format", "disk", "archives", "base", "created", "by", "partition", "codec", "level", "chunk", "raw_size", "frames",
        "members", "seconds", "objects", "index", "subvolumes", "problems", "lost", "what", "flags", "filesystems", "table", "facts", "archived", "reason",
        "journal", "make", "default_subvolume", "read_only", "features", "level", "result", "against", "manifest", "differences",
        "difference_count", "when", "sha256", "version", "checksum",
        "storage_class", "parts", "tail", "stored", "raw", "owner", "run", "lease", "state", "attempts", "token", "nonce",
    ):  # fmt: skip
        assert f"`{field}`" in text, field
