# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the files of one billing period, as AWS lays them out and as people copy them."""

import json
import os
from datetime import date, datetime, timezone
from types import SimpleNamespace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import locate

TODAY = date(2026, 11, 21)


def lay(root, *names, manifest=None, age=0):
    """Files of one byte, all of one age in seconds; a manifest naming keys."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    for name, body in (manifest or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))


def found(source, period="", today=TODAY):
    located = locate.locate([str(source)], period, "/nonexistent", None, today, Stop())
    return [os.path.relpath(path, source if os.path.isdir(source) else os.path.dirname(source)) for path in located.paths]


def test_the_newest_complete_period_is_taken(tmp_path):
    """November is still running."""
    lay(tmp_path, "cur/20260801-20260901/r-1.csv.gz", "cur/20260901-20261001/r-1.csv.gz", "cur/20261001-20261101/r-1.csv.gz")
    lay(tmp_path, "cur/20261101-20261201/r-1.csv.gz")
    assert found(tmp_path) == ["cur/20261001-20261101/r-1.csv.gz"]
    assert found(tmp_path, "2026-11") == ["cur/20261101-20261201/r-1.csv.gz"]
    assert found(tmp_path, today=date(2026, 12, 1)) == ["cur/20261101-20261201/r-1.csv.gz"]


def test_a_running_period_is_better_than_none(tmp_path):
    """On the first of somebody's first month."""
    lay(tmp_path, "x/data/BILLING_PERIOD=2026-11/x-1.csv.gz")
    assert found(tmp_path) == ["x/data/BILLING_PERIOD=2026-11/x-1.csv.gz"]


@pytest.mark.parametrize(
    "name",
    [
        "p/r/20260901-20261001/r-00001.csv.gz",
        "p/r/r/year=2026/month=9/r-00001.snappy.parquet",
        "p/x/data/BILLING_PERIOD=2026-09/x-00001.snappy.parquet",
    ],
)
def test_every_layout_names_its_month(name):
    """Legacy csv, legacy Parquet, Data Exports."""
    assert locate.month_of(name) == "2026-09"
    assert locate.month_of("bills/2026/report.csv") == ""


def test_a_manifest_says_which_assembly_counts(tmp_path):
    """Older versions lie beside it and would be counted twice."""
    period = "r/20260901-20261001"
    lay(tmp_path, f"{period}/old/r-1.csv.gz", f"{period}/new/r-1.csv.gz", f"{period}/new/r-2.csv.gz")
    keys = [f"prefix/{period}/new/r-{number}.csv.gz" for number in (1, 2)]
    lay(tmp_path, manifest={f"{period}/old/r-Manifest.json": {"reportKeys": [f"prefix/{period}/old/r-1.csv.gz"]}}, age=100)
    lay(tmp_path, manifest={f"{period}/r-Manifest.json": {"reportKeys": keys}})
    located = locate.locate([str(tmp_path)], "", "", None, TODAY, Stop())
    assert [os.path.relpath(path, tmp_path) for path in located.paths] == [f"{period}/new/r-1.csv.gz", f"{period}/new/r-2.csv.gz"]
    assert located.passed_over == [(str(tmp_path / period / "old/r-1.csv.gz"), "an older version")]
    assert found(tmp_path / period / "r-Manifest.json") == ["new/r-1.csv.gz", "new/r-2.csv.gz"]


def test_each_payers_newest_manifest_counts(tmp_path):
    """Two reports below one prefix, with files of the same name; one of them was delivered twice, last before the other."""
    period = "20260901-20261001"
    for payer, age in (("a", 100), ("b", 50)):
        for version, older in (("old", 20), ("new", 0)):
            keys = [f"cur/{period}/{version}/r-1.csv.gz"]  # as in the bucket it was copied from
            lay(
                tmp_path,
                f"{payer}/{period}/{version}/r-1.csv.gz",
                manifest={f"{payer}/{period}/{version}/r-Manifest.json": {"reportKeys": keys}},
                age=age + older,
            )
    located = locate.locate([str(tmp_path)], "", "", None, TODAY, Stop())
    assert located.paths == [str(tmp_path / payer / period / "new/r-1.csv.gz") for payer in ("a", "b")]
    assert [(os.path.relpath(file, tmp_path), why) for file, why in located.passed_over] == [
        (f"{payer}/{period}/old/r-1.csv.gz", "an older version") for payer in ("a", "b")
    ]


def test_a_report_without_a_manifest_counts_beside_one_with(tmp_path):
    """Somebody copied the data of one payer alone."""
    period = "20260901-20261001"
    lay(tmp_path, f"a/{period}/r-1.csv.gz", manifest={f"a/{period}/r-Manifest.json": {"reportKeys": ["r-1.csv.gz"]}})
    lay(tmp_path, f"b/{period}/x/s-1.csv.gz", f"b/{period}/x/s-2.csv.gz")
    assert found(tmp_path) == [f"a/{period}/r-1.csv.gz", f"b/{period}/x/s-1.csv.gz", f"b/{period}/x/s-2.csv.gz"]


def test_a_manifest_of_the_redshift_integration_is_none(tmp_path):
    """It is newer than the report's, and lists entries, not files of the report."""
    period = "r/20260901-20261001"
    lay(
        tmp_path,
        f"{period}/new/r-1.csv.gz",
        manifest={f"{period}/r-Manifest.json": {"reportKeys": [f"{period}/new/r-1.csv.gz"]}},
        age=9,
    )
    lay(tmp_path, manifest={f"{period}/r-RedshiftManifest.json": {"entries": [{"url": "s3://x/y"}]}})
    assert found(tmp_path) == [f"{period}/new/r-1.csv.gz"]


def test_what_is_passed_over_has_its_reason(tmp_path):
    """Another month is no older version."""
    lay(tmp_path, "r/20260801-20260901/r-1.csv.gz", "r/20260901-20261001/r-1.csv.gz")
    located = locate.locate([str(tmp_path)], "", "", None, TODAY, Stop())
    assert located.passed_over == [(str(tmp_path / "r/20260801-20260901/r-1.csv.gz"), "for 2026-08")]


def test_without_a_manifest_the_newest_directory_of_a_period_counts(tmp_path):
    """AWS writes each version into a directory of its own."""
    lay(tmp_path, "r/20260901-20261001/20261003T000000Z/r-1.csv.gz", age=50)
    lay(tmp_path, "r/20260901-20261001/20261005T000000Z/r-1.csv.gz")
    assert found(tmp_path) == ["r/20260901-20261001/20261005T000000Z/r-1.csv.gz"]


def test_a_manifest_of_data_exports_lies_apart_from_the_data(tmp_path):
    """In metadata/, with s3:// URIs."""
    data = "x/data/BILLING_PERIOD=2026-09/x-00001.snappy.parquet"
    lay(tmp_path, data, "x/data/BILLING_PERIOD=2026-08/x-00001.snappy.parquet")
    lay(tmp_path, manifest={"x/metadata/BILLING_PERIOD=2026-09/x-Manifest.json": {"dataFiles": [f"s3://bucket/prefix/{data}"]}})
    assert found(tmp_path) == [data]
    located = locate.locate([str(tmp_path / "x/metadata/BILLING_PERIOD=2026-09/x-Manifest.json")], "", "", None, TODAY, Stop())
    assert located.paths == [str(tmp_path / data)]


def test_a_plain_directory_is_all_its_files(tmp_path):
    """Somebody copied them together."""
    lay(tmp_path, "a.csv", "b.csv.gz", "c.parquet", "notes.txt")
    assert found(tmp_path) == ["a.csv", "b.csv.gz", "c.parquet"]


def test_status_files_of_parquet_reports_are_no_data(tmp_path):
    """They would be read as a report."""
    lay(tmp_path, "r/r/year=2026/month=9/r.snappy.parquet", "r/r/cost_and_usage_data_status/cost_and_usage_data_status.parquet")
    assert found(tmp_path) == ["r/r/year=2026/month=9/r.snappy.parquet"]


def test_files_are_taken_as_they_are(tmp_path):
    """One or many."""
    lay(tmp_path, "a.csv", "b.csv")
    located = locate.locate([str(tmp_path / "b.csv"), str(tmp_path / "a.csv")], "", "", None, TODAY, Stop())
    assert located.paths == [str(tmp_path / "b.csv"), str(tmp_path / "a.csv")]


@pytest.mark.parametrize(
    ("make", "source", "said"),
    [
        ({}, "nothing", "no such cost report"),
        ({"d/readme.txt": "x"}, "d", "no csv"),
        ({"m.json": "not json"}, "m.json", "not JSON"),
        ({"m.json": "[1]"}, "m.json", "not JSON"),
        ({"m.json": '{"reportKeys": []}'}, "m.json", "does not name any files"),
        ({"m.json": '{"reportKeys": ["a/b/r-7.csv.gz"]}'}, "m.json", "r-7.csv.gz"),
    ],
)
def test_what_is_not_there_is_one_sentence(make, source, said, tmp_path):
    """Wrong paths and broken manifests."""
    for name, content in make.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with pytest.raises(Refused, match=said):
        found(tmp_path / source)


def test_a_period_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    """So that the next try is right."""
    lay(tmp_path, "cur/20260801-20260901/r-1.csv.gz", "cur/20260901-20261001/r-1.csv.gz")
    with pytest.raises(Refused, match="2026-08, 2026-09"):
        found(tmp_path, "2026-07")


def test_no_source_is_refused():
    """An empty list in the inventory."""
    with pytest.raises(Refused, match="no cost report was given"):
        locate.locate([], "", "", None, TODAY, Stop())


def test_a_spool_that_is_too_small_is_refused_before_anything_is_fetched(tmp_path, monkeypatch):
    """With both figures."""

    class Client:
        def list_objects_v2(self, **_asked):
            return {"Contents": [{"Key": "bills/a.csv", "Size": 1000, "LastModified": datetime(2026, 10, 1, tzinfo=timezone.utc)}]}

    monkeypatch.setattr(locate.shutil, "disk_usage", lambda _path: SimpleNamespace(free=999))
    with pytest.raises(Refused, match="has 1000 bytes, but the spool only has room for 999"):
        locate.locate(["s3://bucket/bills"], "", str(tmp_path), Client, TODAY, Stop())


def test_a_prefix_is_listed_to_its_last_page(tmp_path):
    """The newest report may be on it."""

    class Client:
        def list_objects_v2(self, ContinuationToken="1", **_asked):
            item = {"Size": 1, "LastModified": datetime(2026, 10, 1, tzinfo=timezone.utc)}
            item["Key"] = f"cur/20260{ContinuationToken}01-20260{int(ContinuationToken) + 1}01/r.csv"
            more = (
                {"IsTruncated": True, "NextContinuationToken": str(int(ContinuationToken) + 1)} if ContinuationToken < "3" else {}
            )
            return {"Contents": [item], **more}

        def download_file(self, _bucket, key, path):
            with open(path, "w") as file:
                file.write(key)

    located = locate.locate(["s3://bucket/cur"], "", str(tmp_path), Client, TODAY, Stop())
    assert located.origin == ["s3://bucket/cur/20260301-20260401/r.csv"]
