# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading bills: every format, every trap, every kind of damage, against bills whose answers are known."""

import csv
import gzip
import zipfile
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError, Corrupt, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import reports
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs as _costs
from bills import FORMATS, Bill

TODAY = date(2026, 11, 21)
ONE, TWO, OLD = "snap-0aaaaaaaaaaaaaaa1", "snap-0aaaaaaaaaaaaaaa2", "snap-12345678"


def read(path, spool, period="", today=TODAY):
    paths = path if isinstance(path, list) else [path]
    return reports.read([str(each) for each in paths], period, str(spool), today)


def costs(report):
    """snapshot -> dollars, over all kinds."""
    found = {}
    for row in report.snapshots.iter_rows(named=True):
        found[row["snapshot_id"]] = found.get(row["snapshot_id"], 0) + row["cost"]
    return found


def blocks(report, snapshot_id, kind="SnapshotUsage"):
    """What a snapshot is billed for on the last day."""
    rows = [row for row in report.snapshots.iter_rows(named=True) if (row["snapshot_id"], row["kind"]) == (snapshot_id, kind)]
    return sum(row["gib"] for row in rows) * 2048


def cents(value):
    return round(Decimal(value), 2)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("granularity", ["hourly", "daily"])
def test_every_format_gives_the_known_answers(kind, granularity, tmp_path):
    """Costs to the cent, sizes to the block, regions, accounts, tiers, and a total that is the bill's."""
    bill = Bill("2026-09", granularity)
    one = bill.snapshot(ONE, 204_801)
    two = bill.snapshot(TWO, 12_345, days=range(3, 31), region="eu-west-1", account="222222222222", times=2)
    old = bill.snapshot(OLD, 777, tier="SnapshotArchiveStorage")
    bill.noise()
    report = read(bill.write(tmp_path, kind), tmp_path)
    assert {name: cents(cost) for name, cost in costs(report).items()} == {ONE: cents(one), TWO: cents(two), OLD: cents(old)}
    for name, expected, tier in (
        (ONE, 204_801, "SnapshotUsage"),
        (TWO, 12_345, "SnapshotUsage"),
        (OLD, 777, "SnapshotArchiveStorage"),
    ):
        assert blocks(report, name, tier) == pytest.approx(expected, abs=0.01)
    places = {row["snapshot_id"]: (row["account"], row["region"]) for row in report.snapshots.iter_rows(named=True)}
    assert places[TWO] == ("222222222222", "eu-west-1")
    assert cents(report.total) == cents(bill.total)
    others = sum(other["cost"] for other in report.others)
    assert cents(sum(costs(report).values()) + others) == cents(bill.total)
    assert (report.month, report.complete, report.exact, report.last_day) == ("2026-09", True, True, date(2026, 9, 30))


@pytest.mark.parametrize(("month", "days"), [("2026-02", 28), ("2024-02", 29), ("2026-03", 31), ("2026-04", 30)])
def test_a_month_has_its_real_length(month, days, tmp_path):
    """snap-to-s3 took 30 days for every month; a size would be wrong by up to a fourteenth."""
    bill = Bill(month)
    bill.snapshot(ONE, 2048 * 100)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert report.days == days
    assert blocks(report, ONE) == pytest.approx(204_800, abs=0.01)


@pytest.mark.parametrize("granularity", ["hourly", "daily"])
def test_several_rows_an_interval_are_added(granularity, tmp_path):
    """snap-to-s3 took the last of them."""
    bill = Bill("2026-09", granularity)
    bill.snapshot(ONE, 3000, times=3)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert blocks(report, ONE) == pytest.approx(3000, abs=0.01)


def test_a_snapshot_that_ended_has_no_size_on_the_last_day_but_costs(tmp_path):
    """And its cost is that of the days it was there."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    ended = bill.snapshot(TWO, 2048 * 10, days=range(1, 11))
    report = read(bill.write(tmp_path, "cur2.parquet"), tmp_path)
    assert blocks(report, TWO) == 0
    assert cents(costs(report)[TWO]) == cents(ended)


def test_a_running_month_ends_on_the_last_complete_day(tmp_path):
    """The newest day may still grow."""
    bill = Bill("2026-11", days=20)
    bill.snapshot(ONE, 4096)
    report = read(bill.write(tmp_path, "focus.csv.gz"), tmp_path)
    assert (report.complete, report.last_day) == (False, date(2026, 11, 19))
    assert blocks(report, ONE) == pytest.approx(4096, abs=0.01)


def test_a_monthly_bill_has_averages(tmp_path):
    """One line a snapshot; ten of thirty days of 30 GiB are 10 GiB on average."""
    bill = Bill("2026-09", "monthly")
    bill.snapshot(ONE, 2048 * 30, days=range(1, 11))
    report = read(bill.write(tmp_path, "legacy.csv.gz"), tmp_path)
    assert (report.granularity, report.exact) == ("monthly", False)
    assert report.snapshots["quantity"].sum() == pytest.approx(10)
    assert report.last_day == date(2026, 9, 30)


def test_credits_refunds_and_taxes_are_no_usage_but_are_in_the_total(tmp_path):
    """A credit on a snapshot line changes neither its size nor its cost."""
    bill = Bill("2026-09")
    one = bill.snapshot(ONE, 2048 * 100)
    arn = f"arn:aws:ec2:us-east-1:111111111111:snapshot/{ONE}"
    for line_type, cost in (("Credit", "-1.50"), ("Refund", "-0.25"), ("Tax", "0.95"), ("EdpDiscount", "-0.10")):
        bill.add("EBS:SnapshotUsage", cost, arn, quantity=100, line_type=line_type)
    report = read(bill.write(tmp_path, "legacy.parquet"), tmp_path)
    assert cents(costs(report)[ONE]) == cents(one)
    adjusted = {other["what"]: cents(other["cost"]) for other in report.others}
    assert adjusted == {
        "Credit": Decimal("-1.50"),
        "Refund": Decimal("-0.25"),
        "Tax": Decimal("0.95"),
        "EdpDiscount": Decimal("-0.10"),
    }
    assert cents(report.total) == cents(bill.total)


def test_a_correction_of_an_earlier_month_is_no_usage(tmp_path):
    """FOCUS says so in a column of its own."""
    bill = Bill("2026-09")
    one = bill.snapshot(ONE, 2048 * 100)
    bill.add("EBS:SnapshotUsage", "-2", ONE, quantity=-40)
    path = bill.write(tmp_path, "focus.csv.gz")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    lines = [line.replace(",NULL,", ",Correction,", 1) if line.startswith("-2") else line for line in lines]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    report = read(path, tmp_path)
    assert cents(costs(report)[ONE]) == cents(one)
    assert {other["what"]: other["cost"] for other in report.others} == {"Correction": -2}


@pytest.mark.parametrize("line_type", ["DiscountedUsage", "SavingsPlanCoveredUsage"])
def test_discounted_lines_are_usage_and_have_a_net_cost(line_type, tmp_path):
    """Savings plans and private rates."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048 * 100, line_type=line_type, net="0.8")
    for kind in ("legacy.csv", "cur2.csv.gz", "focus.parquet"):
        report = read(bill.write(tmp_path, kind), tmp_path)
        assert report.snapshots["cost"].sum() == pytest.approx(5)
        assert report.snapshots["net_cost"].sum() == pytest.approx(4)


def test_without_a_net_cost_the_cost_stands_for_it(tmp_path):
    """So that what is billed is never less than zero dollars by mistake."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048 * 100)
    path = bill.write(tmp_path, "legacy.csv")
    assert read(path, tmp_path).snapshots["net_cost"].sum() == pytest.approx(5)
    path.write_text(path.read_text().replace("lineItem/NetUnblendedCost", "a/b").replace("pricing/publicOnDemandCost", "c/d"))
    report = read(path, tmp_path)
    assert (report.snapshots["net_cost"].sum(), report.snapshots["list_cost"].sum()) == pytest.approx((5, 5))


@pytest.mark.parametrize(
    ("usage_type", "kind"),
    [
        ("EUC1-EBS:SnapshotArchiveRetrieval", "SnapshotArchiveRetrieval"),
        ("EBS:SnapshotArchiveEarlyDelete", "SnapshotArchiveEarlyDelete"),
        ("USW2-EBS:FastSnapshotRestore", "FastSnapshotRestore"),
        ("EBS:SnapshotSomethingNew", "SnapshotSomethingNew"),
    ],
)
def test_other_codes_of_snapshots_are_kept_apart(usage_type, kind, tmp_path):
    """And are in the sums, known or not."""
    bill = Bill("2026-09")
    bill.add(usage_type, "1.25", f"arn:aws:ec2:us-west-2:1:snapshot/{ONE}", quantity=2)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert report.snapshots.select("kind", "cost").rows() == [(kind, 1.25)]


@pytest.mark.parametrize(
    "resource", [ONE, OLD, f"arn:aws-cn:ec2:cn-north-1:1:snapshot/{ONE}", f"arn:aws:ec2:us-east-1::snapshot/{OLD}"]
)
def test_ids_are_found_in_any_kind_of_resource(resource, tmp_path):
    """Bare, with and without account, old and new, and of other partitions."""
    bill = Bill("2026-09")
    bill.add("EBS:SnapshotUsage", "1", resource, quantity=1)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert report.snapshots["snapshot_id"].to_list() == [resource.rpartition("/")[2]]


@pytest.mark.parametrize(
    ("usage_type", "region"),
    [
        ("EBS:SnapshotUsage", "us-east-1"),
        ("EU-EBS:SnapshotUsage", "eu-west-1"),
        ("APS3-EBS:SnapshotUsage", "ap-south-1"),
        ("XX9-EBS:SnapshotUsage", "unknown"),
    ],
)
def test_without_a_column_the_usage_type_names_the_region(usage_type, region, tmp_path):
    """And what is not known is said to be."""
    bill = Bill("2026-09")
    bill.add(usage_type, "1", ONE, quantity=1, region="")
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert report.snapshots["region"].to_list() == [region]


def test_without_a_column_the_resource_names_the_region(tmp_path):
    """Before the usage type, whose prefixes nobody lists completely."""
    bill = Bill("2026-09")
    bill.add("XX9-EBS:SnapshotUsage", "1", f"arn:aws:ec2:ap-new-9:1:snapshot/{ONE}", quantity=1)
    path = bill.write(tmp_path, "legacy.csv")
    path.write_text(path.read_text().replace("product/region", "product/nothing"))
    assert read(path, tmp_path).snapshots["region"].to_list() == ["ap-new-9"]


def test_many_files_are_one_report_even_of_different_columns(tmp_path):
    """Legacy reports change their columns; a file may be zipped where another is not."""
    first, second = Bill("2026-09"), Bill("2026-09")
    first.snapshot(ONE, 2048, days=range(1, 16))
    second.snapshot(ONE, 2048, days=range(16, 31))
    second.snapshot(TWO, 4096)
    one = first.write(tmp_path, "legacy.csv", "first")
    one.write_text(one.read_text().replace(",resourceTags/user:Name", ",resourceTags/user:Other"))
    report = read(
        [one, second.write(tmp_path, "legacy.zip", "second"), Bill("2026-09", lines=[]).write(tmp_path, "legacy.csv", "third")][:2],
        tmp_path,
    )
    assert cents(costs(report)[ONE]) == Decimal("0.05")
    assert blocks(report, TWO) == pytest.approx(4096, abs=0.01)


def test_files_that_were_joined_repeat_their_header(tmp_path):
    """cat a.csv.gz b.csv.gz is a gzip file, with a header in the middle."""
    first, second = Bill("2026-09"), Bill("2026-09")
    first.snapshot(ONE, 2048)
    second.snapshot(TWO, 2048)
    joined = tmp_path / "joined.csv.gz"
    joined.write_bytes(
        first.write(tmp_path, "legacy.csv.gz", "a").read_bytes() + second.write(tmp_path, "legacy.csv.gz", "b").read_bytes()
    )
    report = read(joined, tmp_path)
    assert set(costs(report)) == {ONE, TWO}
    assert report.others == []


def test_a_name_says_nothing(tmp_path):
    """Formats are found by content: gzip and Parquet without an ending."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    for kind in ("legacy.csv.gz", "cur2.parquet", "legacy.zip"):
        path = bill.write(tmp_path, kind).rename(tmp_path / "download")
        assert set(costs(read(path, tmp_path))) == {ONE}


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path):
    """With a byte order mark, and lines that end in CR LF."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert set(costs(read(path, tmp_path))) == {ONE}


def test_costs_by_day_and_volume(tmp_path):
    """For the plot; what belongs to no known volume is ''."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048 * 30, days=[1, 2])
    bill.snapshot(TWO, 2048 * 60, days=[2])
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    found = {(volume, day): round(cost, 6) for volume, day, cost in reports.daily(report, {ONE: "vol-1"})}
    assert found == {("vol-1", "2026-09-01"): 0.05, ("vol-1", "2026-09-02"): 0.05, ("", "2026-09-02"): 0.1}


def sentence(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("kind", ["legacy.csv.gz", "legacy.zip", "cur2.parquet"])
@pytest.mark.parametrize("cut", [10, 200])
def test_a_file_that_was_cut_short_is_one_sentence(kind, cut, tmp_path):
    """Whether by a few bytes or by more, and never a report of the first half."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ColdstoreError) as caught:
        read(path, tmp_path)
    assert str(path) in sentence(caught)


def test_of_many_files_the_broken_one_is_named(tmp_path):
    """A report can have hundreds."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    good, bad = bill.write(tmp_path, "legacy.csv.gz", "good"), bill.write(tmp_path, "legacy.csv.gz", "bad")
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(Corrupt) as caught:
        read([good, bad], tmp_path)
    assert str(bad) in sentence(caught)
    assert str(good) not in sentence(caught)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("lineItem/ResourceId", "resource IDs"),
        ("lineItem/UsageAmount", "Select these columns"),
        ("lineItem/UnblendedCost", "lineItem/UnblendedCost"),
        ("bill/BillingPeriodStartDate", "bill/BillingPeriodStartDate"),
    ],
)
def test_missing_columns_are_named_with_how_to_get_them(gone, said, tmp_path):
    """Which, and how to switch them on."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    path.write_text(path.read_text().replace(gone, "something/else"))
    with pytest.raises(Refused) as caught:
        read(path, tmp_path)
    assert gone in sentence(caught)
    assert said in sentence(caught)


def test_a_report_without_resource_ids_says_how_to_switch_them_on(tmp_path):
    """The column is there and empty."""
    bill = Bill("2026-09")
    bill.add("EBS:SnapshotUsage", "5", "", quantity=100)
    with pytest.raises(Refused, match="Include resource IDs"):
        read(bill.write(tmp_path, "cur2.csv.gz"), tmp_path)


def test_mixed_periods_are_refused_unless_one_is_chosen(tmp_path):
    """Two months in one sum would be no month's."""
    files = []
    for month, size in (("2026-08", 31), ("2026-09", 30)):
        bill = Bill(month)
        bill.snapshot(ONE, 2048 * size)
        files.append(bill.write(tmp_path, "legacy.csv", month))
    with pytest.raises(Refused, match="2026-08, 2026-09"):
        read(files, tmp_path)
    assert blocks(read(files, tmp_path, "2026-08"), ONE) == pytest.approx(2048 * 31, abs=0.01)
    with pytest.raises(Refused, match="not for 2026-07"):
        read(files, tmp_path, "2026-07")


def test_mixed_currencies_are_refused(tmp_path):
    """Dollars and yuan do not add."""
    files = []
    for currency in ("USD", "CNY"):
        bill = Bill("2026-09", currency=currency)
        bill.snapshot(ONE, 2048)
        files.append(bill.write(tmp_path, "legacy.csv", currency))
    with pytest.raises(Refused, match="CNY, USD"):
        read(files, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><body>Access denied</body></html>", "web page"),
        (b"\n  <?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b'{"message": "expired"}', "error message"),
        (b"", "empty"),
        (b"a,b,c\n1,2,3\n", "none of the columns"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xff", "not text"),
        (gzip.compress(b"<html>", mtime=0), "web page"),
    ],
)
def test_what_is_no_bill_is_one_sentence(content, said, tmp_path):
    """An error page saved as csv, a picture, nothing at all."""
    path = tmp_path / "report.csv"
    path.write_bytes(content)
    with pytest.raises(Refused) as caught:
        read(path, tmp_path)
    assert said in sentence(caught)
    assert str(path) in sentence(caught)


def test_a_zip_without_a_csv_is_refused(tmp_path):
    """And so is what cannot be reframed."""
    path = tmp_path / "report.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(Refused, match="does not contain a csv"):
        read(path, tmp_path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("report.csv", "hello")
    with pytest.raises(Refused, match="unusual way"):
        read(path, tmp_path)


def test_a_bit_flipped_inside_a_zip_is_found(tmp_path):
    """The CRC goes along into the gzip frame."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.zip")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0x10
    path.write_bytes(body)
    with pytest.raises(Corrupt):
        read(path, tmp_path)


@pytest.mark.parametrize(("column", "value"), [("lineItem/UnblendedCost", "abc"), ("lineItem/UsageAmount", "1.2.3")])
def test_amounts_that_are_no_numbers_are_not_taken_for_nothing(column, value, tmp_path):
    """A sum without them would look right."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    rows = list(csv.reader(path.open(newline="")))
    rows[5][rows[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(Corrupt, match="not numbers"):
        read(path, tmp_path)


def test_a_report_of_no_snapshots_is_an_answer(tmp_path):
    """Not an error: there is nothing to pay for."""
    bill = Bill("2026-09")
    bill.noise()
    report = read(bill.write(tmp_path, "cur2.csv.gz"), tmp_path)
    assert report.snapshots.height == 0
    assert cents(report.total) == cents(bill.total)


def test_a_header_alone_has_no_lines(tmp_path):
    """AWS delivers such files on the first of the month."""
    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    path.write_text(path.read_text().split("\n")[0] + "\n")
    with pytest.raises(Refused, match="no lines"):
        read(path, tmp_path)


def test_two_readings_are_the_same_to_the_last_digit(tmp_path):
    """Threads add in any order; what is written must not change for it."""
    bill = Bill("2026-09", "hourly")
    for number in range(40):
        bill.snapshot(f"snap-{number:017x}", 777 * number + 1, rate=Decimal("0.0537"))
    bill.noise()
    path = bill.write(tmp_path, "cur2.parquet")
    first = read(path, tmp_path)
    for _time in range(5):
        again = read(path, tmp_path)
        assert again.snapshots.equals(first.snapshots)
        assert (again.total, again.others) == (first.total, first.others)
        assert reports.daily(again, {}) == reports.daily(first, {})


def test_a_bill_that_was_cut_is_not_complete(tmp_path):
    """October's, fetched on the 15th: of that day one of two snapshots is there. Sizes are of the 14th."""
    bill = Bill("2026-10", days=15)
    bill.snapshot(ONE, 2048 * 400, days=range(1, 15))
    bill.snapshot(TWO, 2048 * 10)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert (report.complete, report.last_day) == (False, date(2026, 10, 14))
    assert blocks(report, ONE) == pytest.approx(2048 * 400, abs=0.01)
    assert blocks(report, TWO) == pytest.approx(2048 * 10, abs=0.01)


def test_a_day_in_the_middle_that_lacks_a_snapshot_does_not_count(tmp_path):
    """Lines arrive out of order: one that is there before and after was not deleted between."""
    bill = Bill("2026-11", days=20)
    bill.snapshot(ONE, 2048)
    bill.snapshot(TWO, 4096, days=[*range(1, 19), 20])
    assert read(bill.write(tmp_path, "cur2.csv.gz"), tmp_path).last_day == date(2026, 11, 18)


def test_requests_and_fast_restores_that_run_ahead_say_nothing_of_storage(tmp_path):
    """They are delivered sooner than storage."""
    bill = Bill("2026-11", days=20)
    bill.snapshot(ONE, 2048, days=range(1, 11))
    arn = f"arn:aws:ec2:us-east-1:111111111111:snapshot/{ONE}"
    bill.add("EBS:FastSnapshotRestore", "18", arn, quantity=24, day=20)
    bill.add("EBS:directAPI.snapshot.Get", "0.01", arn, quantity=10, day=19)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path)
    assert report.last_day == date(2026, 11, 9)
    assert blocks(report, ONE) == pytest.approx(2048, abs=0.01)


@pytest.mark.parametrize(("today", "complete", "last"), [(1, False, 30), (2, False, 30), (3, True, 31)])
def test_a_month_is_not_closed_on_the_first_and_second_of_the_next(today, complete, last, tmp_path):
    """Its last day may still lack lines."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048)
    report = read(bill.write(tmp_path, "legacy.csv"), tmp_path, today=date(2026, 11, today))
    assert (report.complete, report.last_day) == (complete, date(2026, 10, last))


def test_granularity_is_each_lines_own(tmp_path):
    """A daily bill of one account and a monthly one of another: 100 and 50 GiB, as each would be by itself."""
    days, month = Bill("2026-10"), Bill("2026-10", "monthly")
    days.snapshot(ONE, 2048 * 100)
    month.snapshot(TWO, 2048 * 50, account="222222222222")
    report = read([days.write(tmp_path, "legacy.csv", "days"), month.write(tmp_path, "legacy.csv", "month")], tmp_path)
    assert blocks(report, ONE) == pytest.approx(2048 * 100, abs=0.01)
    assert blocks(report, TWO) == pytest.approx(2048 * 50, abs=0.01)
    assert cents(report.snapshots["cost"].sum()) == Decimal("7.50")
    assert (report.granularity, report.exact, report.last_day) == ("mixed", False, date(2026, 10, 31))


def test_a_long_line_of_another_kind_changes_no_size(tmp_path):
    """Early deletion is billed for a month at once, in a daily bill, too."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048 * 100)
    bill.add("EBS:SnapshotArchiveEarlyDelete", "1", f"arn:aws:ec2:us-east-1:1:snapshot/{TWO}", quantity=2)
    bill.lines[-1] = replace(bill.lines[-1], end=bill.first + timedelta(days=31))
    report = read(bill.write(tmp_path, "cur2.parquet"), tmp_path)
    assert (report.granularity, report.exact) == ("daily", True)
    assert blocks(report, ONE) == pytest.approx(2048 * 100, abs=0.01)


@pytest.mark.parametrize("later", [31, 16])
def test_two_downloads_of_a_month_are_refused(later, tmp_path):
    """Whole or in part; ids of line items differ between them, and some amounts were corrected."""
    first, second = Bill("2026-10", days=15), Bill("2026-10", days=later)
    for bill, size in ((first, 2048), (second, 2049)):
        bill.snapshot(ONE, size)
        bill.snapshot(TWO, 4096)
    files = [first.write(tmp_path, "legacy.csv", "v1"), second.write(tmp_path, "legacy.csv.gz", "v2")]
    with pytest.raises(Refused, match="bill the same usage: both have the same 30 snapshot days"):
        read(files, tmp_path)


def test_an_hourly_report_beside_a_daily_one_is_refused(tmp_path):
    """Their lines have other lengths, and come to the same."""
    files = []
    for granularity in ("daily", "hourly"):
        bill = Bill("2026-10", granularity)
        bill.snapshot(ONE, 2048)
        files.append(bill.write(tmp_path, "cur2.csv.gz", granularity))
    with pytest.raises(Refused, match="bill the same usage"):
        read(files, tmp_path)


def test_the_parts_of_an_hourly_report_are_one_bill(tmp_path):
    """Every other hour is in the other file: to the same amounts a day, and none of it twice."""
    bill = Bill("2026-10", "hourly")
    whole = bill.snapshot(ONE, 2048 * 10)
    parts = [Bill("2026-10", "hourly", lines=bill.lines[at::2]) for at in (0, 1)]
    # Twelve and twelve hours are equal by chance; in a real report they seldom are.
    parts[0].lines += parts[1].lines[::5]
    del parts[1].lines[::5]
    report = read([part.write(tmp_path, "cur2.parquet", f"part{at}") for at, part in enumerate(parts)], tmp_path)
    assert cents(costs(report)[ONE]) == cents(whole)
    assert blocks(report, ONE) == pytest.approx(2048 * 10, abs=0.01)


def test_a_file_that_is_named_twice_counts_once(tmp_path):
    """By another path, or as a copy; the report says so."""
    bill = Bill("2026-10")
    one = bill.snapshot(ONE, 2048 * 100)
    path = bill.write(tmp_path, "legacy.csv")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(path.read_bytes())
    report = read([path, tmp_path / "." / path.name, copy], tmp_path)
    assert cents(costs(report)[ONE]) == cents(one)
    assert [why for _file, why in report.left_out] == [f"identical to {path}"] * 2


def test_two_zip_files_of_one_name_are_two(tmp_path):
    """Of two payers, each in a folder of its own."""
    for number, snapshot in enumerate((ONE, TWO)):
        bill = Bill("2026-10")
        bill.snapshot(snapshot, 2048, account=f"{number + 1:012}")
        bill.write(tmp_path / str(number), "legacy.zip")
    assert set(costs(read([tmp_path / "0/bill-legacy.zip", tmp_path / "1/bill-legacy.zip"], tmp_path))) == {ONE, TWO}


def rewritten(path, change):
    """Change every row of a csv, as dicts."""
    with path.open(newline="") as file:
        rows = [change(dict(row)) for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def without_net_costs(path):
    """Where AWS has no column of net costs, discounts are lines of their own."""
    return rewritten(path, lambda row: {name: value for name, value in row.items() if "Net" not in name})


def test_discounts_in_lines_of_their_own_are_in_the_net_cost(tmp_path):
    """10% off: $4.50 are paid for 100 GB-months."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048 * 100)
    for line in list(bill.lines):
        bill.lines.append(replace(line, line_type="EdpDiscount", cost=-line.cost / 10, quantity=Decimal(0)))
    report = read(without_net_costs(bill.write(tmp_path, "legacy.csv")), tmp_path)
    assert report.snapshots["cost"].sum() == pytest.approx(5, abs=1e-6)
    assert report.snapshots["net_cost"].sum() == pytest.approx(4.5, abs=1e-6)
    assert _costs._rates(report) == {"us-east-1": pytest.approx(0.045)}
    assert cents(report.total) == Decimal("4.50")


def test_a_discount_of_the_whole_month_on_a_part_of_it_is_spread(tmp_path):
    """A snapshot of 100 GiB made on the 31st, and $0.50 off for it: of $5.00 a month a tenth."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048 * 100, days=[31])
    bill.add("EBS:SnapshotUsage", "-0.5", f"arn:aws:ec2:us-east-1:1:snapshot/{ONE}", day=31, line_type="EdpDiscount")
    report = read(without_net_costs(bill.write(tmp_path, "legacy.csv")), tmp_path)
    assert _costs._rates(report) == {"us-east-1": pytest.approx(0.045)}


def test_one_currency_of_several_can_be_chosen(tmp_path):
    """The refusal names the option."""
    files = []
    for currency, size in (("USD", 10), ("EUR", 20)):
        bill = Bill("2026-10", currency=currency)
        bill.snapshot(ONE, 2048 * size, account=f"{size:012}")
        files.append(str(bill.write(tmp_path, "legacy.csv", currency)))
    with pytest.raises(Refused, match="Choose one with currency"):
        read(files, tmp_path)
    report = reports.read(files, "", str(tmp_path), TODAY, "EUR")
    assert (report.currency, cents(report.total)) == ("EUR", Decimal("1.00"))
    with pytest.raises(Refused, match="not in CNY"):
        reports.read(files, "", str(tmp_path), TODAY, "CNY")


def focus_file(tmp_path, bill):
    return Path(tmp_path / "focus.csv"), gzip.decompress(bill.write(tmp_path, "focus.csv.gz").read_bytes())


@pytest.mark.parametrize(
    "described", ["$0.05 per GB-Month of snapshot data stored - US East", "EBS snapshot storage, private rate"]
)
@pytest.mark.parametrize("meter", ["EBS:SnapshotUsage", ""])
def test_focus_without_awss_own_columns(meter, described, tmp_path):
    """FOCUS 1.2 has SkuMeter, or only a description; quantities may be in PricingQuantity alone."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048 * 100)
    bill.add("CacheBackup", "3", "", quantity=3, service="AmazonElastiCache")
    path, content = focus_file(tmp_path, bill)
    path.write_bytes(content)

    def change(row):
        usage_type = row.pop("x_UsageType")
        is_ours = usage_type.endswith("SnapshotUsage")
        row["ServiceName"] = "Amazon Elastic Compute Cloud" if is_ours else "Amazon ElastiCache"
        row["ChargeDescription"] = described if is_ours else "$0.085 per GB-Month of snapshot storage"
        row["PricingQuantity"], row["ConsumedQuantity"] = row["ConsumedQuantity"], "NULL"
        return {**row, "SkuMeter": meter if is_ours else ""}

    report = read(rewritten(path, change), tmp_path)
    assert blocks(report, ONE) == pytest.approx(2048 * 100, abs=0.01)
    assert cents(costs(report)[ONE]) == Decimal("5.00")
    assert [other["cost"] for other in report.others] == [3]


@pytest.mark.parametrize(
    ("usage_type", "region"),
    [
        ("USW2-LAX1A-EBS:SnapshotUsage", "us-west-2"),
        ("APS4-EBS:SnapshotUsage", "ap-southeast-3"),
        ("EUC2-EBS:SnapshotUsage", "eu-central-2"),
        ("MXC1-EBS:SnapshotUsage", "mx-central-1"),
        ("CNN1-EBS:SnapshotUsage", "cn-north-1"),
        ("ESC1-EBS:SnapshotUsage", "eusc-de-east-1"),
        ("UGW1-EBS:SnapshotUsage", "us-gov-west-1"),
    ],
)
def test_every_regions_code_is_known(usage_type, region, tmp_path):
    """Local Zones by their region, other partitions, new regions."""
    bill = Bill("2026-10")
    bill.add(usage_type, "1", ONE, quantity=1, region="")
    assert read(bill.write(tmp_path, "legacy.csv"), tmp_path).snapshots["region"].to_list() == [region]


def test_an_empty_region_is_taken_from_the_resource(tmp_path):
    """The column is there."""
    bill = Bill("2026-10")
    bill.add("XX9-EBS:SnapshotUsage", "1", f"arn:aws:ec2:eu-north-1:1:snapshot/{ONE}", quantity=1, region="")
    assert read(bill.write(tmp_path, "legacy.parquet"), tmp_path).snapshots["region"].to_list() == ["eu-north-1"]


def test_an_account_gets_its_zeros_back(tmp_path):
    """A spreadsheet takes an account id for a number."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048, account="12345678901")
    bill.snapshot(TWO, 2048, account="000000000042")
    accounts = read(bill.write(tmp_path, "legacy.csv"), tmp_path).snapshots["account"].to_list()
    assert accounts == ["000000000042", "012345678901"]


def test_a_header_in_another_case_is_recognised(tmp_path):
    """Athena and some tools write all in lower case."""
    bill = Bill("2026-10")
    one = bill.snapshot(ONE, 2048 * 100)
    for kind in ("legacy.csv", "cur2.csv.gz"):
        path = bill.write(tmp_path, kind)
        content = path.read_bytes() if kind == "legacy.csv" else gzip.decompress(path.read_bytes())
        head, _newline, rest = content.partition(b"\n")
        path.write_bytes(head.upper() + b"\n" + rest)
        assert cents(costs(read(path, tmp_path))[ONE]) == cents(one)


@pytest.mark.parametrize("cut", [15, 60, 150])
def test_a_plain_csv_that_ends_within_a_line_is_cut_short(cut, tmp_path):
    """Unlike gzip it has no end of its own."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with pytest.raises(Corrupt, match="ends within a line"):
        read(path, tmp_path)
    path.write_bytes(whole.rstrip(b"\n"))
    assert set(costs(read(path, tmp_path))) == {ONE}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("lineItem/UnblendedCost", "NaN", "not numbers"),
        ("lineItem/UsageAmount", "inf", "not numbers"),
        ("bill/BillingPeriodStartDate", "1790812", "'1790812'"),
        ("bill/BillingPeriodStartDate", "01/10/2026 00:00", "spreadsheet"),
        ("lineItem/UsageStartDate", "01.10.2026 00:00", "spreadsheet"),
        ("lineItem/UsageEndDate", "10/1/26", "spreadsheet"),
        ("bill/BillingPeriodStartDate", "", "without a period"),
    ],
)
def test_what_is_no_number_or_no_date_is_one_sentence(column, value, said, tmp_path):
    """Whatever a spreadsheet made of it."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048)
    path = rewritten(
        bill.write(tmp_path, "legacy.csv"),
        lambda row: {**row, column: value} if row["lineItem/UsageStartDate"].startswith("2026-10-07") else row,
    )
    with pytest.raises(Corrupt) as caught:
        read(path, tmp_path)
    assert said in sentence(caught)


def test_lines_that_end_in_carriage_returns_alone_are_one_sentence(tmp_path):
    """As an old spreadsheet saves them."""
    bill = Bill("2026-10")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(Refused, match="carriage returns"):
        read(path, tmp_path)
