# SPDX-License-Identifier: GPL-3.0-or-later
"""SHA-256 of several frames at once: equal to hashlib's, whatever the lengths, and hashlib's wherever it can't be had."""

import hashlib
import json
import random
import subprocess
from contextlib import closing

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, restore, sha256, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import find
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.codecs import codec
from conftest import REPO, TREE
from fakes import SNAPSHOT, BytesSource
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCE = REPO / "roles" / "worker" / "files" / "sha256.c"
NOISE = random.Random(256).randbytes(1 << 20)
# Around the ends of a block and of its padding, and what a frame may have.
LENGTHS = st.one_of(st.sampled_from([0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128]), st.integers(0, 3000), st.integers(0, 1 << 20))


def compiled(directory, change=lambda text: text):
    (directory / "sha256.c").write_text(change(SOURCE.read_text()))
    library = directory / "sha256.so"
    options = ["-O3", "-ffreestanding", "-shared", "-fPIC", "-nostdlib", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *options, "-o", str(library), str(directory / "sha256.c"), "-lgcc"], check=True)
    return str(library)


@pytest.fixture(scope="module", params=["avx512vl", "avx2"])
def library(request, tmp_path_factory):
    """The library as it is, and one that takes the second best of the processor's instructions."""
    without = {"avx512vl": None, "avx2": '__builtin_cpu_supports("avx512vl")'}[request.param]
    path = compiled(tmp_path_factory.mktemp("sha256"), lambda text: text.replace(without, "0") if without else text)
    return sha256._library(path)


def expected(pieces):
    return [hashlib.sha256(data[offset : offset + length]).hexdigest() for data, offset, length in pieces]


@settings(max_examples=200, deadline=None)
@given(lengths=st.lists(LENGTHS, min_size=1, max_size=20), offset=st.integers(0, 70))
def test_messages_side_by_side_have_their_own_digests(library, lengths, offset):
    """More or fewer than there are lanes, long beside short, wherever they begin."""
    pieces = [sha256.Message(NOISE, offset, min(length, len(NOISE) - offset)) for length in lengths]
    assert sha256._side_by_side(library, pieces) == expected(pieces)


def test_nothing_outside_of_the_data_is_read(library):
    """A piece that its data does not hold is refused before a byte is looked at."""
    for offset, length in ((0, 5), (5, 1), (-1, 2), (3, 2)):
        with pytest.raises(ValueError, match="of 4"):
            sha256._side_by_side(library, [sha256.Message(b"four", offset, length)])


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1 << 20], [1 << 20, 5, 5, 5], [4000] * 9])
def test_digests_are_those_of_hashlib_however_they_are_made(lengths, monkeypatch):
    """With the library and without, for messages of one length and of very different ones."""
    pieces = [sha256.Message(NOISE, 0, length) for length in lengths]
    assert sha256.digests(pieces) == expected(pieces)
    monkeypatch.setattr(sha256, "LIBRARY", "/nowhere/sha256.so")
    assert sha256.at_once() == 1
    assert sha256.digests(pieces) == expected(pieces)


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("0x428a2f98", "0x428a2f99"),
        ("rest + 9 <= BLOCK", "rest + 8 <= BLOCK"),
        ("? LANES : 0", "? 0 : 0"),
        ("coldstore_sha256_lanes", "another_library"),
    ],
    ids=["a wrong constant", "a wrong padding", "a processor without AVX2", "another library"],
)
def test_a_library_that_is_wrong_or_no_use_is_not_used(tmp_path, monkeypatch, what, instead):
    """It is compared with hashlib before a frame is given to it."""
    text = SOURCE.read_text()
    assert what in text
    monkeypatch.setattr(sha256, "LIBRARY", compiled(tmp_path, lambda text: text.replace(what, instead)))
    assert sha256.at_once() == 1
    (tmp_path / "good").mkdir()
    monkeypatch.setattr(sha256, "LIBRARY", compiled(tmp_path / "good"))
    assert sha256.at_once() > 1


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_file_that_is_no_library_is_not_used(tmp_path, monkeypatch, content):
    """Such as a power cut leaves."""
    (tmp_path / "sha256.so").write_bytes(content)
    monkeypatch.setattr(sha256, "LIBRARY", str(tmp_path / "sha256.so"))
    assert sha256.at_once() == 1


@pytest.mark.parametrize("together", [True, False])
def test_an_archive_is_the_same_however_its_frames_are_hashed(memory, monkeypatch, tmp_path, together):
    """Eleven frames, the last of them short: what the index says is what hashlib says, and validation finds it equal."""
    monkeypatch.setattr(sha256, "LIBRARY", compiled(tmp_path) if together else "/nowhere/sha256.so")
    assert (sha256.at_once() > 1) is together
    data = b"".join(hashlib.sha256(NOISE[n:]).digest() + NOISE[32:] for n in range(10)) + b"the end"
    piece = archive.Piece(None, BytesSource(data), len(data))
    done = archive.archive_snapshot(memory, SNAPSHOT, {}, "image", [piece], archive.Settings(codec("lz4"), chunk=1 << 20))
    entry = done.manifest["archives"][0]
    stored = memory.read(entry["objects"][0]["key"], 0, entry["objects"][0]["size"])
    with closing(restore.open_index(memory, entry, restore.Settings())) as index:
        frames = list(index.frames())
    assert len(frames) == 11
    assert [frame.sha256 for frame in frames] == [
        hashlib.sha256(stored[frame.offset : frame.offset + frame.length]).hexdigest() for frame in frames
    ]
    said = validate.validate_snapshot(memory, SNAPSHOT, find(memory, "", SNAPSHOT), "archive", validate.Settings())
    assert (said["result"], said["frames"], said["bytes"]) == ("equal", 11, len(data))


FLAGS = {
    "m5": "processor : 0\nflags\t\t: fpu avx avx2 avx512vl\nbugs\t\t: spectre\n",
    "m6i": "processor : 0\nflags\t\t: fpu avx avx2 avx512vl sha_ni\nbugs\t\t: spectre\n",
    "m3": "processor : 0\nflags\t\t: fpu avx\nbugs\t\t: avx2\n",
    "m7g": "processor : 0\nFeatures\t: fp asimd aes sha1 sha2\n",
}


def play(directory, tasks, **variables):
    """Run tasks on this host; whether they changed anything, and what they printed."""
    playbook = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (directory / "play.json").write_text(json.dumps(playbook))
    command = [str(REPO / ".build/venv/bin/ansible-playbook"), "play.json", "-e", json.dumps(variables)]
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(TREE), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(directory)}
    said = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return "changed=0" not in said.stdout, said.stdout


def test_the_role_compiles_it_where_it_helps(tmp_path):
    """gcc is asked for on a processor with AVX2 that lacks instructions for SHA-256, if it may be, and nowhere else."""
    import base64

    role = str(REPO / "roles" / "worker")
    hosts = {name: {"content": base64.b64encode(text.encode()).decode()} for name, text in FLAGS.items()}
    tasks = [
        {"ansible.builtin.include_vars": f"{role}/{part}/main.yml"} for part in ("defaults", "vars")
    ] + [
        {
            "ansible.builtin.debug": {"msg": "{{ item.key }}={{ worker_compiler | join }}."},
            "vars": {"worker_cpuinfo": "{{ item.value }}"},
            "loop": "{{ hosts | dict2items }}",
        }
    ]  # fmt: skip
    _changed, said = play(tmp_path, tasks, hosts=hosts)
    assert [name for name in FLAGS if f"{name}=gcc." in said] == ["m5"]
    assert [name for name in FLAGS if f"{name}=." in said] == ["m6i", "m3", "m7g"]
    _changed, said = play(tmp_path, tasks, hosts=hosts, coldstore_fast_sha256=False)
    assert "m5=." in said


def test_the_role_compiles_it_once(tmp_path, monkeypatch):
    """And again when there is a newer source; what it makes is used."""
    (tmp_path / "lib").mkdir()
    tasks = [{"ansible.builtin.include_role": {"name": "coldstore.ebs.worker", "tasks_from": "sha256.yml"}}]
    library = tmp_path / "lib" / "coldstore-sha256.so"
    assert [play(tmp_path, tasks, worker_venv=str(tmp_path))[0] for _run in range(2)] == [True, False]
    monkeypatch.setattr(sha256, "LIBRARY", str(library))
    assert sha256.at_once() > 1
    library.write_bytes(b"of an older source")
    (tmp_path / "lib" / "coldstore-sha256.c").write_text("/* of an older version */")
    assert play(tmp_path, tasks, worker_venv=str(tmp_path))[0]
    assert library.read_bytes()[:4] == b"\x7fELF"
