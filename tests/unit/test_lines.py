# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of line on the bill is shown with its dollars, and what stands against deleting is asked for and said."""

from datetime import date
from decimal import Decimal

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.questions import Access
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import Binned, Estate, Known
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import lineage, locate, output, prices, reports, terminal
from ansible_collections.coldstore.ebs.plugins.module_utils.costs.moves import Assumptions
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs, survey
from bills import Bill

TODAY = date(2026, 11, 21)
ACCOUNT, REGION = "111111111111", "us-east-1"
GIB = 2048  # blocks
A, B, C, D = (f"snap-{number:017x}" for number in (1, 2, 3, 4))
HEAD = (
    "identity/LineItemId,bill/BillingPeriodStartDate,lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,"
    "lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageType,lineItem/ResourceId,lineItem/UsageAmount,lineItem/CurrencyCode,"
    "lineItem/UnblendedCost,product/region,pricing/publicOnDemandCost\n"
)


def known(snapshot_id, volume, day, gibs=100, **facts):
    snapshot = Snapshot(snapshot_id, volume, f"{day}T00:00:00+00:00", 200, **facts)
    return Known(snapshot, "standard", gibs * GIB * lineage.BLOCK)


def analysed(tmp_path, bill, *snapshots, tags=(), given=None, volumes=None, **facts):
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    estate = Estate(ACCOUNT, REGION, list(snapshots), volumes or {}, facts.pop("images", {}), **facts)
    chains = lineage.chains(report, [estate], {}, TODAY)
    table = {REGION: prices.table(REGION)}
    analysis = costs.analyse(report, locate.Located([], [], []), chains, table, given or Assumptions(), {}, [], TODAY, tags)
    return analysis, "\n".join(terminal.lines(analysis.document, analysis.plans))


def one_day(tmp_path, *lines):
    """A bill of the last day of October, as AWS writes it; lines: usage type, resource, quantity, cost."""
    path = tmp_path / "day.csv"
    start = "li,2026-10-01T00:00:00Z,111111111111,Usage,2026-10-31T00:00:00Z,2026-11-01T00:00:00Z,AmazonEC2"
    rows = [f"{start},{kind},{resource},{quantity},USD,{cost},us-east-1,{cost}\n" for kind, resource, quantity, cost in lines]
    path.write_text(HEAD + "".join(rows))
    report = reports.read([str(path)], "", str(tmp_path), TODAY)
    chains = lineage.chains(report, [], {}, TODAY)
    table = {REGION: prices.table(REGION)}
    analysis = costs.analyse(report, locate.Located([], [], []), chains, table, Assumptions(), {}, [], TODAY)
    return analysis, "\n".join(terminal.lines(analysis.document, analysis.plans))


def words(text):
    """Whatever the widths of columns."""
    return " ".join(text.split())


def arn(snapshot_id):
    return f"arn:aws:ec2:us-east-1:111111111111:snapshot/{snapshot_id}"


def test_fast_restore_is_no_storage_and_no_secret(tmp_path):
    """100 GiB are $5.00 a month; 24 hours a day of fast restore in one zone at $0.75 are $558.00 in October's 31 days."""
    fast = ("EBS:FastSnapshotRestore", arn(A), 24, 18)
    analysis, text = one_day(tmp_path, ("EBS:SnapshotUsage", arn(A), "3.225806451612903", "0.1612903226"), fast)
    assert analysis.document["savings"]["monthly"] == pytest.approx(563)
    assert analysis.document["savings"]["fast"] == pytest.approx(558)
    assert analysis.document["fast"][0]["monthly"] == pytest.approx(558)
    assert "fast snapshot restore 18.00 18.00 18.00" in words(text)
    assert f"Fast snapshot restore of {A}: $558.00 a month, billed on the last day" in text
    assert "Today: $563.00 a month" in text
    assert "lines are missing" not in text
    assert analysis.plans[0].chain.snapshots[0].besides == {"FastSnapshotRestore": 18}


def test_every_kind_of_line_has_its_dollars(tmp_path):
    """They add up to what the report says of snapshots; what names no snapshot is with what was not analysed."""
    analysis, text = one_day(
        tmp_path,
        ("EBS:SnapshotUsage", arn(A), "3.225806451612903", "0.1612903226"),
        ("EBS:SnapshotArchiveStorage", arn(B), 1, "0.0125"),
        ("EBS:SnapshotArchiveRetrieval", arn(B), 100, 3),
        ("EBS:SnapshotArchiveEarlyDelete", arn(C), 10, "0.5"),
        ("EBS:directAPI.snapshot.Get", arn(A), 1000000, 3),
        ("EBS:directAPI.snapshot.List", "", 1000, "0.0006"),
        ("USE1-USW2-AWS-Out-Bytes", arn(A), 100, 2),
        ("USE1-USW2-AWS-Out-Bytes", "i-0123456789abcdef0", 50, 1),
    )
    kinds = {row["what"]: row["cost"] for row in analysis.document["totals"]["kinds"]}
    assert kinds == pytest.approx(
        {
            "storage, standard tier": 0.1612903226,
            "storage, archive tier": 0.0125,
            "retrievals from the archive tier": 3,
            "deleted early from the archive tier": 0.5,
            "EBS direct API requests (Get)": 3,
            "copies to other regions (transfer)": 2,
        }
    )
    totals = analysis.document["totals"]
    assert sum(kinds.values()) == pytest.approx(totals["snapshots"])
    assert totals["snapshots"] + sum(row["cost"] for row in totals["not_analysed"]) == pytest.approx(totals["bill"])
    assert "together 8.67 8.67 8.67" in words(text)
    assert "not analysed: snapshots: lines without a snapshot's id: EBS direct API requests (List)" in text


def test_the_transfer_of_a_copy_is_with_the_snapshot_it_became(tmp_path):
    """It is billed in the region that it came from."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB)
    bill.add("EUC1-USE1-AWS-Out-Bytes", "2.00", A, quantity=100, region="eu-central-1")
    analysis, _text = analysed(tmp_path, bill, known(A, "vol-1", "2026-01-01"))
    assert [(plan.chain.region, round(plan.chain.cost, 6)) for plan in analysis.plans] == [(REGION, 7.0)]


def test_kinds_are_found_in_descriptions(tmp_path):
    """FOCUS 1.2 without AWS's own columns; retrievals are no storage."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB)
    path = bill.write(tmp_path, "focus_pure.csv.gz")
    import gzip

    text = gzip.decompress(path.read_bytes()).decode().splitlines()
    sample = text[-1]
    said = {
        "$0.03 per GB of data retrieved from Amazon EBS Snapshot Archive": "SnapshotArchiveRetrieval",
        "$0.75 per Data Services Unit-Hour of Fast Snapshot Restore": "FastSnapshotRestore",
        "Amazon EBS snapshot archive early delete fee": "SnapshotArchiveEarlyDelete",
        "$0.0125 per GB-Month of snapshot archive data stored": "SnapshotArchiveStorage",
    }
    description = "$0.05 per GB-Month of snapshot data stored - us-east-1"
    assert description in sample
    path.write_bytes(gzip.compress("\n".join([*text, *(sample.replace(description, each) for each in said)]).encode() + b"\n"))
    report = reports.read([str(path)], "", str(tmp_path), TODAY)
    assert set(report.snapshots["kind"]) == {"SnapshotUsage", *said.values()}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"images": {A: ["ami-1 (disabled)"]}}, "used by ami-1 (disabled)"),
        ({"locks": {A: "2027-01-02"}}, "locked until 2027-01-02"),
        ({"fast": {A: ["us-east-1a", "us-east-1b"]}}, "fast snapshot restore is on in us-east-1a, us-east-1b"),
    ],
)
def test_what_stands_against_deleting_keeps_a_snapshot(facts, said, tmp_path):
    """Disabled AMIs hold theirs as well."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB)
    analysis, text = analysed(tmp_path, bill, known(A, "vol-1", "2026-01-01"), **facts)
    assert analysis.plans[0].chosen.target == "keep"
    assert f"-> keep: no snapshot can be moved: {said}" in text


class Cloud:
    """Says with whom snapshots are shared."""

    def __init__(self, shared):
        self.shared, self.asked = shared, []

    def describe_snapshot_attribute(self, SnapshotId, Attribute):
        self.asked.append(SnapshotId)
        return {"CreateVolumePermissions": self.shared.get(SnapshotId, [])}


def test_what_is_shared_with_others_stays(tmp_path):
    """It is asked of what is to move, and of nothing else."""
    bill = Bill("2026-10")
    for snapshot_id in (A, B, C):
        bill.snapshot(snapshot_id, (1 if snapshot_id == C else 100) * GIB)
    there = [known(each, f"vol-{each}", "2026-01-01", 1 if each == C else 100) for each in (A, B, C)]
    analysis, _text = analysed(tmp_path, bill, *there)
    cloud = Cloud({A: [{"UserId": "222222222222"}]})
    accesses = [Access(ACCOUNT, REGION, lambda _service: cloud)]
    assert survey.shares(accesses, analysis.plans, Stop()) == (True, [])
    assert sorted(cloud.asked) == [A, B]
    again = costs.analyse(
        analysis.report, locate.Located([], [], []), [plan.chain for plan in analysis.plans], {REGION: prices.table(REGION)},
        Assumptions(), {}, [], TODAY,
    )  # fmt: skip
    found = {plan.chain.snapshots[0].snapshot_id: plan for plan in again.plans}
    assert found[A].reason == "no snapshot can be moved: shared with 222222222222"
    assert found[B].chosen.target == "DEEP_ARCHIVE"


def test_of_very_many_not_all_are_asked_and_that_is_said(tmp_path, monkeypatch):
    """A request a snapshot would take hours."""
    monkeypatch.setattr(survey, "_SHARES", 1)
    bill = Bill("2026-10")
    for snapshot_id in (A, B):
        bill.snapshot(snapshot_id, 100 * GIB)
    analysis, _text = analysed(tmp_path, bill, *(known(each, f"vol-{each}", "2026-01-01") for each in (A, B)))
    cloud = Cloud({})
    found, (note,) = survey.shares([Access(ACCOUNT, REGION, lambda _service: cloud)], analysis.plans, Stop())
    assert (found, len(cloud.asked), note.why) == (False, 1, "only the 1 most expensive snapshots were checked, not 1 more here")


def test_what_is_in_the_recycle_bin_is_a_line_of_its_own(tmp_path):
    """It is paid for until it leaves: 10 GiB, $0.50 a month."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB)
    bill.snapshot(B, 10 * GIB)
    binned = {B: Binned("vol-1", "before the upgrade", "2026-12-05")}
    analysis, text = analysed(tmp_path, bill, known(A, "vol-1", "2026-01-01"), binned=binned)
    assert [one.state for one in analysis.plans[0].chain.snapshots] == ["bin", "standard"]
    assert "In the Recycle Bin: 1 snapshot of $0.50 a month, paid for until 2026-12-05." in text
    assert "in the Recycle Bin until 2026-12-05" in next(line for line in text.splitlines() if B in line)
    assert analysis.document["savings"]["since"]["gone"] == 0
    rows = {row["snapshot_id"]: row for row in output.snapshot_rows(analysis.plans[0])}
    assert (rows[B]["state"], rows[B]["keeper"]) == ("bin", "in the Recycle Bin until 2026-12-05")


def test_full_copies_have_advice_of_their_own(tmp_path):
    """Three copies of 600 GiB at $30 a month each, of no volume; whole in Deep Archive half of it is $0.30."""
    bill = Bill("2026-10")
    for snapshot_id in (A, B, C):
        bill.snapshot(snapshot_id, 600 * GIB)
    copies = [known(each, "vol-ffffffff", "2026-01-01", 600, description="[Copied snap-1 from eu-west-1]") for each in (A, B, C)]
    _analysis, text = analysed(tmp_path, bill, *copies)
    assert text.count("a copy without a volume: 1 snapshot, 600.00 GiB, $30.00") == 3
    assert text.count("-> DEEP_ARCHIVE, all: saves about $29.70 a month, at least $29.41") == 3
    assert "of unknown volumes" not in text


def test_deletion_stands_beside_the_move(tmp_path):
    """100 + 10 + 10 GiB of a gone volume: without the older two, the newest holds 100, and 20 go, $1.00 a month."""
    bill = Bill("2026-10")
    for snapshot_id, gibs in ((A, 100), (B, 10), (C, 10)):
        bill.snapshot(snapshot_id, gibs * GIB)
    analysis, text = analysed(tmp_path, bill, *(known(each, "vol-1", f"2026-0{at}-01") for at, each in enumerate((A, B, C), 1)))
    deletion = analysis.plans[0].deletion
    assert (deletion.snapshot_ids, deletion.freed) == ([A, B], (20, 20))
    assert deletion.likely == pytest.approx(1.0)
    assert "-> DEEP_ARCHIVE, all: saves about $5.85 a month" in text
    assert "or keep only the newest and archive nothing: saves about $1.00 a month, at least $1.00" in text
    assert "Or keep only the newest and archive nothing (2 snapshots of 1 volume): saves about $1.00 a month." in text
    assert analysis.document["savings"]["deletions"]["snapshots"] == 2
    assert output.chain_row(analysis.plans[0])["deletion"]["target"] == "delete"
    assert analysis.plans[0].chosen.target == "DEEP_ARCHIVE"


def test_the_young_and_the_old_are_told_apart(tmp_path):
    """100 GiB of last year, 10 of this; and what is saved in the first year and after."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB)
    bill.snapshot(B, 10 * GIB)
    analysis, text = analysed(tmp_path, bill, known(A, "vol-1", "2025-11-21"), known(B, "vol-2", "2025-11-22", 10))
    ages = {row["age"]: (row["snapshots"], row["gib"], round(row["monthly"], 4)) for row in analysis.document["totals"]["ages"]}
    assert ages == {"over": (1, 100, 5.0), "under": (1, 10, 0.5)}
    saved = analysis.document["savings"]
    assert saved["later_year"] == pytest.approx(12 * (5 - 0.0495), abs=0.001)
    assert saved["first_year"] == pytest.approx(saved["later_year"] - saved["once"])
    assert f"In the first year that is about ${saved['first_year']:.2f}" in text
    assert "under one year 1 10.00 0.50 0.50 0.50 0.50" in words(text)


def test_names_and_chosen_tags_stand_beside_each(tmp_path):
    """In the text, the csv and the JSON; others are left out."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB)
    tags = {"Name": "db before the upgrade", "Owner": "ops", "secret": "x"}
    analysis, text = analysed(tmp_path, bill, known(A, "vol-1", "2026-01-01", tags=tags), tags=["Owner", "Team"])
    assert "db before the upgrade Owner=ops" in next(line for line in text.splitlines() if A in line)
    head, row = "".join(output.as_csv(analysis.document, analysis.plans)).splitlines()
    cells = dict(zip(head.split(","), row.split(",")))
    assert (cells["name"], cells["tag:Owner"], cells["tag:Team"]) == ("db before the upgrade", "ops", "")
    (written,) = output.chain_row(analysis.plans[0], ["Owner", "Team"])["snapshots"]
    assert (written["name"], written["tags"]) == ("db before the upgrade", {"Owner": "ops"})
    assert "secret" not in text


def test_net_and_list_cost_stand_side_by_side(tmp_path):
    """Half price from a contract, of a rate above the list's."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB, rate=Decimal("0.06"), net="0.5")
    _analysis, text = analysed(tmp_path, bill, known(A, "vol-1", "2026-01-01"))
    assert "us-east-1, account 111111111111: 1 snapshot, 100.00 GiB, $6.00 (net $3.00, list $5.00)" in text
    assert "storage, standard tier 6.00 3.00 5.00" in words(text)
