# SPDX-License-Identifier: GPL-3.0-or-later
"""10. Manifest and index say enough to check and rebuild everything years later, without the snapshot and without us."""

import hashlib
import json
import subprocess
import tarfile

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Problem
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from conftest import REPO
from fakes import SNAPSHOT, BytesSource
from helpers import DATA, settings, validated


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


# What others name: tags, what blkid and sfdisk say, S3's checksums.
FOREIGN = ("tags", "facts", "table", "checksum")


def fields(value):
    """Every name that something encoded has for what it holds, but for what others named."""
    if isinstance(value, dict):
        return set(value).union(*(fields(each) for name, each in value.items() if name not in FOREIGN))
    return set().union(*map(fields, value)) if isinstance(value, list) else set()


def undocumented(found):
    text = (REPO / "docs" / "formats.md").read_text()
    return sorted(name for name in found if f"`{name}`" not in text and f'"{name}":' not in text)


def test_invariant_10_every_field_of_every_document_is_documented(memory, tmp_path):
    """Those of claim, journal, manifest, receipt and index, as they lie in the bucket."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    source = BytesSource(DATA)
    source.problems = [Problem(b"/dev/sda", 0, 512, "a reason")]
    pieces = [archive.Section(None, source, len(DATA)), archive.Section(1, TarSource(str(tmp_path / "tree")), 1)]
    claims.take(memory, "claims/s.json", SNAPSHOT, claims.Terms("one", "run"))

    def killed(operation, _arguments):
        if operation in ("CompleteMultipartUpload", "AbortMultipartUpload", "DeleteObjects"):
            raise KeyboardInterrupt

    calm, memory.client.before = memory.client.before, killed
    with pytest.raises(KeyboardInterrupt):
        archive.archive_snapshot(memory, SNAPSHOT, {"size": 1}, "image", pieces, settings(goes_to="DEEP_ARCHIVE"))
    memory.client.before = calm
    found = documents(memory)
    assert {kind for kind, _fields in found} == {"claim", "journal", "index"}
    archive.archive_snapshot(memory, SNAPSHOT, {"size": 1}, "image", pieces, settings(goes_to="DEEP_ARCHIVE"))
    validated(memory, "full", DATA[:-1] + b"!")
    found += documents(memory)
    assert {kind for kind, _fields in found} == {"claim", "journal", "manifest", "receipt", "index"}
    assert " ".join(undocumented(set().union(*(names for _kind, names in found)))) == ""


def documents(store):
    """(kind, names of fields) of each document and index there is."""
    found = []
    for item in store.keys(""):
        body = store.get(item.key).body
        if item.key.endswith(".index.zst"):
            lines = subprocess.run(["zstd", "-dc"], input=body, capture_output=True, check=True).stdout.splitlines()
            found.append(("index", set().union(*(fields(json.loads(line)) for line in lines))))
        elif item.key.endswith(".json") or ".journal/" in item.key:
            whole = json.loads(body)
            found.append((whole["format"].rpartition(" ")[2], fields(whole)))
    return found


def test_invariant_10_every_field_of_a_disk_is_documented(lab, bucket, seeds):
    """Partitions, filesystems of each kind, and what is needed to make them again."""
    names = set()
    for seed in ("gpt", "btrfs", "vfat"):
        volume = lab.attach(seeds[seed])
        try:
            done = lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds[seed], volume_id=volume["volume_id"])
        finally:
            lab.detach(volume["volume_id"])
        body = json.loads(lab.s3.get_object(Bucket=bucket, Key=done["manifest"])["Body"].read())["body"]
        for each in body["disk"]["filesystems"]:
            if each["type"] == "xfs":  # what xfs_info says, by its names
                assert each.pop("make")["agcount"] > 0
        names |= fields(body)
    assert {"make", "subvolumes", "journal"} <= names
    assert " ".join(undocumented(names)) == ""
