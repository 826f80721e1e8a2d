# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a bucket, from listings alone."""

from datetime import datetime, timezone

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import census, layouts, listing
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from fakes import MovedClock

THEN = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Bucket:
    """As much of an S3 client as listing needs; pages of 1,000, as S3's."""

    def __init__(self, objects):
        self.objects = sorted(objects.items())
        self.pages = 0

    def list_objects_v2(self, Bucket, Prefix="", ContinuationToken="0", **_said):
        self.pages += 1
        at = int(ContinuationToken)
        wanted = self.objects if Prefix == "p/" else [item for item in self.objects if item[0].startswith(Prefix)]
        contents = [
            {"Key": key, "Size": size, "StorageClass": storage_class, "LastModified": THEN}
            for key, (size, storage_class) in wanted[at : at + 1000]
        ]
        more = at + 1000 < len(wanted)
        return {"Contents": contents, "IsTruncated": more, "NextContinuationToken": str(at + 1000)}


def snapshot(number, volume=1, day=1):
    return Snapshot(f"snap-{number:017x}", f"vol-{volume:017x}", f"2026-01-{day:02d}T00:00:00+00:00", 8)


def complete(each, codec="zstd", storage_class="DEEP_ARCHIVE", size=100):
    key = ours.archive_key("p/", each, 1, "tar", codec)
    return {
        key: (size, storage_class),
        key + ".index.zst": (10, "STANDARD"),
        ours.manifest_key("p/", each): (5, "STANDARD"),
        ours.receipt_key("p/", each, THEN, "full"): (3, "STANDARD"),
    }


def look(objects, wanted=None, census=None):
    store = Store(Bucket(objects), "bucket", clock=MovedClock())
    return list(listing.kept(store, "p/", wanted or listing.Filter(), census))


def test_a_hundred_thousand_archives_are_listed_page_by_page():
    """Every one of them, once, in as many calls as S3 has pages."""
    objects = {}
    for number in range(100_000):
        objects.update(complete(snapshot(number, volume=number % 500, day=1 + number % 28)))
    bucket = Bucket(objects)
    found = list(listing.kept(Store(bucket, "bucket"), "p/", listing.Filter()))
    assert bucket.pages == 400
    assert len({each.snapshot_id for each in found}) == len(found) == 100_000
    assert all(each.state == "complete" and each.receipts for each in found)
    order = [(each.volume_id, each.start_time) for each in found]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (listing.Filter(snapshot_ids=frozenset([snapshot(2).snapshot_id, "snap-other"])), [2]),
        (listing.Filter(volume_id=snapshot(1, 1).volume_id), [1, 2]),
        (listing.Filter(before=listing.moment("2026-01-03")), [1, 2]),
        (listing.Filter(after=listing.moment("2026-01-02T00:00:00Z")), [2, 3]),
        (listing.Filter(before=listing.moment("2026-01-03"), after=listing.moment("2026-01-02")), [2]),
        (listing.Filter(format="image"), []),
        (listing.Filter(state="incomplete"), []),
    ],
)
def test_filters_leave_what_is_asked_for(wanted, numbers):
    """By snapshot, volume, time, format and state."""
    objects = {**complete(snapshot(1, 1, 1)), **complete(snapshot(2, 1, 2)), **complete(snapshot(3, 2, 3))}
    assert [each.snapshot_id for each in look(objects, wanted)] == [snapshot(number).snapshot_id for number in numbers]


def test_what_sleeps_can_be_left_out():
    """By the class the listing shows: nothing is asked of S3 for it."""
    objects = {**complete(snapshot(1, 1, 1)), **complete(snapshot(2, 1, 2), storage_class="GLACIER_IR")}
    assert [each.snapshot_id for each in look(objects, listing.Filter(awake=True))] == [snapshot(2).snapshot_id]
    assert len(look(objects)) == 2


def test_a_lot_is_drawn_alike_everywhere():
    """By the seed; another one draws others; never more than there are."""
    there = list(range(1000))
    drawn = listing.drawn(iter(there), 5, "run 1")
    assert drawn == listing.drawn(there, 5, "run 1") != listing.drawn(there, 5, "run 2")
    assert len(set(drawn)) == 5
    assert listing.drawn(there, 2000, "run 1") == there
    assert listing.drawn(there, 0, "run 1") == []
    with pytest.raises(Refused, match="a sample cannot have -1 archives"):
        listing.drawn(there, -1, "run 1")


def test_the_newest_of_each_volume():
    """The last one started; restore's "newest before" is this behind a filter."""
    objects = {**complete(snapshot(1, 1, 1)), **complete(snapshot(2, 1, 20)), **complete(snapshot(3, 2, 3))}
    assert [each.snapshot_id for each in listing.newest(look(objects))] == [snapshot(2).snapshot_id, snapshot(3).snapshot_id]


def test_a_census_counts_by_volume_and_class_and_finds_what_belongs_to_nothing():
    """Each kind of thing that can be left over, by name and reason."""
    whole, half, lost, other = snapshot(1), snapshot(2, 2), snapshot(3, 3), snapshot(4, 4)
    objects = complete(whole)
    half_key = ours.archive_key("p/", half, 1, "tar", "zstd")
    objects[half_key] = (50, "STANDARD")
    lost_key = ours.archive_key("p/", lost, 1, "tar", "zstd")
    objects[lost_key + ".index.zst"] = (7, "STANDARD")
    objects[ours.receipt_key("p/", lost, THEN, "full")] = (3, "STANDARD")
    objects[ours.manifest_key("p/", other)] = (5, "STANDARD")
    journal = ours.archive_key("p/", whole, 1, "tar", "zstd") + ".journal/00001"
    objects[journal] = (2, "STANDARD")
    objects["p/notes.txt"] = (1, "STANDARD")
    objects["p/claims/snap-1.json"] = (1, "STANDARD")
    counted = census.Census()
    states = {each.snapshot_id: each.state for each in look(objects, census=counted)}
    assert states == {whole.snapshot_id: "complete", half.snapshot_id: "incomplete", other.snapshot_id: "incomplete"}
    assert counted.unknown == 1
    assert counted.storage_classes["DEEP_ARCHIVE"] == {"objects": 1, "bytes": 100}
    assert counted.volumes[half.volume_id] == {"objects": 1, "bytes": 50, "storage_classes": {"STANDARD": 50}}
    assert counted.objects == len(objects) - 1
    assert counted.size == sum(size for size, _class in objects.values()) - 1
    assert {(each["key"], each["reason"].split(":")[0]) for each in counted.orphans} == {
        (half_key, "an archive without a manifest"),
        (lost_key + ".index.zst", "an index without its archive"),
        (ours.receipt_key("p/", lost, THEN, "full"), "a receipt without a manifest"),
        (ours.manifest_key("p/", other), "a manifest without an archive"),
        (journal, "a journal of an upload that is complete"),
    }


def test_archives_of_other_tools_are_told_apart():
    """snap-to-s3's by its names, or by the missing index; flexible-snapshot-proxy's segments are one entry."""
    one, two = snapshot(1), snapshot(2, 2)
    objects = {
        f"p/{one.volume_id}/2026-01-01T01:00:00+01:00 {one.snapshot_id} - nightly / a.p1.tar.zstd.gpg": (9, "STANDARD"),
        ours.archive_key("p/", two, 1, "tar", "lz4"): (8, "STANDARD"),
        f"p/{one.snapshot_id}.8/0.{'A' * 43}=.64.zstd": (3, "STANDARD"),
        f"p/{one.snapshot_id}.8/64.{'A' * 43}=.64.zstd": (4, "STANDARD"),
    }
    found = {(each.snapshot_id, each.layout): each for each in look(objects)}
    assert found[one.snapshot_id, "snap_to_s3"].encrypted
    assert found[two.snapshot_id, "snap_to_s3"].state == "foreign"
    assert (found[one.snapshot_id, "fsp"].objects, found[one.snapshot_id, "fsp"].size) == (2, 7)
    assert len(found) == 3


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", ""])
def test_what_is_no_date_is_refused(text):
    """With how to write one."""
    with pytest.raises(Refused, match="Write it as"):
        listing.moment(text)


def test_a_snapshot_of_ours_is_found_without_listing_its_volume(monkeypatch):
    """It may have thousands of snapshots, each of which is to be validated. Another tool's keys are looked for in all of them."""
    objects = {}
    for number in range(1, 29):
        objects.update(complete(snapshot(number, 1, number)))
    store = Store(Bucket(objects), "bucket", clock=MovedClock())
    listed = []
    real = Store.keys
    monkeypatch.setattr(Store, "keys", lambda store, where: (listed.append(item) or item for item in real(store, where)))
    found = layouts.find(store, "p/", snapshot(5, 1, 5))
    assert found.manifest == ours.manifest_key("p/", snapshot(5, 1, 5))
    assert (len(found.archives), len(found.receipts), len(listed)) == (1, 1, 4)
    assert layouts.find(store, "p/", snapshot(99, 1, 30)).archives == []
    assert len(listed) == 4 + 4 * 28
