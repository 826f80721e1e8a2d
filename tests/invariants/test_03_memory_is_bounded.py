# SPDX-License-Identifier: GPL-3.0-or-later
"""3. Memory is bounded by frames and parts in flight; what grows with the number of files is on disk."""

import os
import subprocess
import sys
import tracemalloc

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.codecs import codec
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.jobs import archive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.store import MIB, part_size
from conftest import REPO, TREE
from fakes import SNAPSHOT, BytesSource
from helpers import settings


class Endless(BytesSource):
    """96 MiB of noise in chunks, made when they are read."""

    def __init__(self, outstanding):
        from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Chunk

        self.chunks = [Chunk(n << 20, 1 << 20) for n in range(96)]
        self.outstanding = outstanding
        self.problems = []

    def read(self, chunk):
        self.outstanding[0] += chunk.length
        self.outstanding[1] = max(self.outstanding)
        return os.urandom(chunk.length)


def test_invariant_3_a_slow_bucket_does_not_pile_up_frames(store):
    """Bytes read and not yet sent stay below (threads + ahead) chunks and (streams + 1) parts, of 96 MiB."""
    outstanding = [0, 0]
    client = store.client

    class Slow:
        def __getattr__(self, name):
            return getattr(client, name)

        def upload_part(self, **arguments):
            reply = client.upload_part(**arguments)
            outstanding[0] -= arguments["ContentLength"]
            return reply

    from dataclasses import replace

    wanted = settings(threads=2, streams=2)
    piece = archive.Piece(None, Endless(outstanding), 96 << 20)
    archive.archive_snapshot(replace(store, client=Slow()), SNAPSHOT, {}, "image", [piece], wanted, lambda: None)
    bound = (wanted.threads + archive._AHEAD + 1) * MIB + (wanted.streams + 1) * (part_size(1, 96 << 20) + 2 * MIB)
    assert 8 * MIB < outstanding[1] <= bound


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_invariant_3_short_frames_take_what_they_hold(name):
    """Hundreds of them wait for their part: none keeps the room that a chunk that does not compress would need."""
    coder = codec(name)
    text = b"all work and no play " * 200_000
    tracemalloc.start()
    try:
        frames = [coder.encode(text) for _number in range(8)]
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * sum(map(len, frames)) < len(text)


def test_invariant_3_parts_of_huge_volumes_are_on_disk(tmp_path):
    """A 16 TiB volume needs parts of gigabytes; they are files."""
    assert isinstance(archive._new_body(1, 1 << 40, str(tmp_path)), list) is False
    assert archive._new_body(1, 100 << 30, str(tmp_path)) == []
    assert part_size(1, 16 << 40) > 1 << 30


def test_invariant_3_a_hundred_thousand_hard_links_take_no_memory(tmp_path):
    """Planning ten times as many files takes hardly more memory: peak of two processes, compared."""
    code = (
        "import resource, sys\n"
        "from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource\n"
        "for _chunk in TarSource(sys.argv[1], spool=sys.argv[2]).plan(): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for name, count in (("few", 3_000), ("many", 60_000)):
        for folder in range(count // 1000):
            (tmp_path / name / f"{folder:03d}").mkdir(parents=True)
            first = tmp_path / name / f"{folder:03d}" / "first"
            first.touch()
            for number in range(999):
                os.link(first, tmp_path / name / f"{folder:03d}" / f"link with a longer name {number}")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path)], capture_output=True, text=True, check=True,
            env={"PYTHONPATH": str(TREE)}, cwd=REPO,
        )  # fmt: skip
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 12_000  # KiB
