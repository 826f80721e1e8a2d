# SPDX-License-Identifier: GPL-3.0-or-later
"""What keys, labels, manifests and claims know of where bytes come from, and what of a plan is in a fingerprint."""

from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import origin
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import document
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Bytes, Chunk, Range
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.writing import labels
from fakes import SNAPSHOT
from hypothesis import given
from hypothesis import strategies as st
from test_imports import BASE, UTILS, imported


def test_keys_labels_and_facts_of_a_snapshot():
    """As snap-to-s3 has them, but for the time, which is in UTC."""
    base = "vol-0000000000000000a/2017-01-01T00:00:00+00:00 snap-0000000000000000a"
    assert (origin.name(SNAPSHOT), origin.base(SNAPSHOT)) == ("snap-0000000000000000a", base)
    assert ours.archive_key("p/", SNAPSHOT, 1, "tar", "zstd") == f"p/{base}.1.tar.zst"
    assert labels.metadata(SNAPSHOT, 5) == {
        "snapshot-starttime": "2017-01-01T00:00:00+00:00",
        "snapshot-snapshotid": "snap-0000000000000000a",
        "snapshot-volumesize": "1",
        "snapshot-volumeid": "vol-0000000000000000a",
        "snapshot-description": "a test",
        "uncompressed-size": "5",
    }


@given(text=st.text(), tags=st.dictionaries(st.text(), st.text()), size=st.integers(1, 65536), encrypted=st.booleans())
def test_facts_give_the_origin_back(text, tags, size, encrypted):
    """From a manifest or a claim, through its encoding, with what a later version may have added."""
    there = replace(SNAPSHOT, description=text, tags=tags, size_gib=size, encrypted=encrypted)
    said = document.decode(document.encode("claim", 1, {**origin.facts(there), "more": 1}), "claim", 1)
    assert origin.from_facts(said) == there


@pytest.mark.parametrize("missing", ["snapshot_id", "volume_id", "start_time", "size_gib"])
def test_facts_without_what_a_key_is_made_of_are_none(missing):
    """Nothing is guessed."""
    said = {name: value for name, value in origin.facts(SNAPSHOT).items() if name != missing}
    with pytest.raises(TypeError, match=missing):
        origin.from_facts(said)


def test_only_origin_knows_what_kinds_of_origins_there_are():
    """Everything else in the engine asks it."""
    knows = {path.name for path in (UTILS / "engine").rglob("*.py") if f"{BASE}.common.snapshot" in set(imported(path))}
    assert knows == {"origin.py"}


RANGE = Range(512, b"./a", 100, 7, 9)
PLANNED = Chunk(4096, 4096, (Bytes(0, b"header"), RANGE))


@pytest.mark.parametrize(
    "other",
    [
        PLANNED._replace(offset=0),
        PLANNED._replace(length=1),
        PLANNED._replace(pieces=(Bytes(1, b"header"), RANGE)),
        PLANNED._replace(pieces=(Bytes(0, b"hexder"), RANGE)),
        PLANNED._replace(pieces=(RANGE, Bytes(0, b"header"))),
        PLANNED._replace(pieces=(Bytes(0, b"header"),)),
        *(
            PLANNED._replace(pieces=(Bytes(0, b"header"), RANGE._replace(**{name: 1})))
            for name in ("position", "size", "start", "length")
        ),
        PLANNED._replace(pieces=(Bytes(0, b"header"), RANGE._replace(path=b"./b"))),
    ],
)
def test_whatever_of_a_plan_is_another_changes_its_fingerprint(other):
    """Each field of each piece, and their order."""
    assert other.fingerprint() != PLANNED.fingerprint()
    assert PLANNED._replace(pieces=(*PLANNED.pieces,)).fingerprint() == PLANNED.fingerprint()


@given(first=st.binary(max_size=40), second=st.binary(max_size=40))
def test_no_bytes_pass_for_a_plan_of_others(first, second):
    """What two pieces hold, one piece holding both does not stand for."""
    apart = Chunk(0, 100, (Bytes(0, first), Bytes(len(first), second)))
    assert apart.fingerprint() != Chunk(0, 100, (Bytes(0, first + second),)).fingerprint()
