# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading bills: every format, every trap, every kind of damage, against bills whose answers are known."""

import gzip
import zipfile
from datetime import date
from decimal import Decimal

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError, Corrupt, Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import reports
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
    return sum(row["last_quantity"] for row in rows) * report.days * 2048


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
        assert report.has_net
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
    assert not report.has_net
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
    with pytest.raises(Refused, match="not of 2026-07"):
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
    with pytest.raises(Refused, match="holds no csv"):
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
    import csv

    bill = Bill("2026-09")
    bill.snapshot(ONE, 2048)
    path = bill.write(tmp_path, "legacy.csv")
    rows = list(csv.reader(path.open(newline="")))
    rows[5][rows[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(Corrupt, match="no numbers"):
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
