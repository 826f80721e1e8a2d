# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in FIPS mode has SHA-2 and no other digest: everything works with that alone."""

import hashlib
import os
import subprocess
import sys

import pytest
from conftest import REPO, TREE

WITHOUT = {"PYTHONPATH": os.pathsep.join(map(str, [REPO / "tests/fips", TREE, REPO / "tests", REPO / "tests/lab"]))}

# A tree with an extended attribute and a disk: archived, killed and resumed, validated, settled and restored.
WORK = """
import os, sys
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import codecs
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, copy, hashing, settle, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import opened
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.device import DeviceSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.device import DeviceTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from fakes import SNAPSHOT
from memory import MemoryS3

here = sys.argv[1]
s3 = MemoryS3("b")
store = Store(s3, "b")
sources = {1: lambda chunk: TarSource(here + "/tree", spool=here, chunk_size=chunk), 2: lambda chunk: DeviceSource(here + "/disk", chunk_size=chunk)}
pieces = lambda: [archive.Section(number, source(4 << 20), 1 << 20) for number, source in sources.items()]
held = claims.take(store, "claims/s.json", SNAPSHOT, claims.Terms("one", "run"))

def killed(operation, arguments):
    if operation in ("CompleteMultipartUpload", "AbortMultipartUpload", "DeleteObjects"):
        raise KeyboardInterrupt

for fault in (killed, s3.before):
    s3.before = fault
    try:
        done = archive.archive_snapshot(
            store, SNAPSHOT, {}, "tar", pieces(), archive.Recipe(codecs.codec("zstd"), spool=here, digest=hashing.fit("blake3"))
        )
    except KeyboardInterrupt:
        pass
assert s3.calls.count("UploadPart") == 2, s3.calls  # one an archive: the part of the killed run was not sent again
said = validate.validate_snapshot(
    store, SNAPSHOT, layouts.find(store, "", SNAPSHOT), "full", validate.Settings(sources=sources, against="here", spool=here)
)
assert said["result"] == "equal", said
assert settle.settle(store, "", SNAPSHOT, held, "validated").standing == "validated"
for entry, target in zip(done.manifest["archives"], (DirectoryTarget(here + "/restored"), DeviceTarget(here + "/copy", 524_288))):
    source = opened(store, layouts.described(entry), 2)
    assert source.index.head["digest"] == "sha256"
    copy.copy(source, [target], 2, store.stop)
    target.finish()
"""


@pytest.mark.parametrize("name", ["md5", "sha1", "blake2b", "blake2s", "sha3_256"])
def test_the_refusing_hashlib_refuses(name):
    """Or the tests here prove nothing."""
    tries = [f"hashlib.{name}()", f"hashlib.{name}(usedforsecurity=False)", f"hashlib.new({name!r})"]
    for each in tries:
        ran = subprocess.run(
            [sys.executable, "-c", f"import hashlib; {each}"], check=False, capture_output=True, text=True, env=WITHOUT
        )
        assert "ValueError: [digital envelope routines] unsupported" in ran.stderr


def test_a_snapshot_is_archived_resumed_validated_and_restored_with_sha2_alone(tmp_path):
    """Fingerprints of plans, digests of attributes, frames, indexes and documents."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "restored").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content\n" * 1000)
    os.setxattr(tmp_path / "tree" / "file", "user.name", b"value")
    (tmp_path / "disk").write_bytes(b"disk\n" * 100_000 + bytes(24_288))
    ran = subprocess.run([sys.executable, "-c", WORK, str(tmp_path)], check=False, capture_output=True, text=True, env=WITHOUT)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "restored" / "file").read_bytes() == b"content\n" * 1000
    assert os.getxattr(tmp_path / "restored" / "file", "user.name") == b"value"
    first, second = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("disk", "copy"))
    assert first == second
