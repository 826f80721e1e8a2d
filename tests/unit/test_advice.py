# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains and what to do with them, against examples that were worked by hand."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import Estate, Known
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import (
    advice,
    break_even,
    lineage,
    locate,
    moves,
    prices,
    reports,
    sums,
    terminal,
)
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs as _costs
from bills import Bill

TODAY = date(2026, 11, 21)
ACCOUNT = "111111111111"
GIB = 2048  # blocks
TABLE = {"us-east-1": prices.table("us-east-1")}


def name(number):
    return f"snap-{number:017x}"


def known(number, volume, day, full=None, tier="standard", size=200, **tags):
    snapshot = Snapshot(name(number), volume, f"2026-{day}T00:00:00+00:00", size, tags=tags)
    return Known(snapshot, tier, None if full is None else full * lineage.BLOCK)


def estate(*snapshots, volumes=(), images=None):
    return Estate(ACCOUNT, "us-east-1", list(snapshots), dict.fromkeys(volumes, ""), images or {})


def billed(tmp_path, *sizes, **facts):
    """A report of snapshots 1, 2, … of so many blocks."""
    bill = Bill("2026-10")
    for number, blocks in enumerate(sizes, 1):
        if blocks:
            bill.snapshot(name(number), blocks, **facts)
    bill.noise()
    return reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)


def chained(tmp_path, sizes, *snapshots, exact=None, **facts):
    return lineage.chains(billed(tmp_path, *sizes), [estate(*snapshots, **facts)], exact or {}, TODAY)


def month(tmp_path, **facts):
    """COSTS' chain: 100 GiB and 1 GiB a day, 30 snapshots."""
    sizes = [100 * GIB] + [GIB] * 29
    snapshots = [known(number, "vol-1", f"06-{number:02}") for number in range(1, 31)]
    return chained(tmp_path, sizes, *snapshots, **facts)[0]


def test_a_chain_is_its_volumes_snapshots_in_order(tmp_path):
    """Whatever order the bill has; the change is to what the snapshot holds, the average over n - 1."""
    chain = month(tmp_path)
    assert [each.snapshot_id for each in chain.snapshots] == [name(number) for number in range(1, 31)]
    assert (chain.billed, chain.volume_gone) == (129 * GIB, True)
    assert chain.snapshots[0].change is None
    assert chain.snapshots[1].change == pytest.approx(1)
    assert chain.average_change == pytest.approx(1)
    assert chain.cost == pytest.approx(6.45)


def test_an_average_is_over_one_less_than_there_are(tmp_path):
    """snap-to-s3 divided by n: two snapshots that differ by 10% came out as 5%."""
    chain = chained(tmp_path, [100 * GIB, 10 * GIB], known(1, "vol-1", "06-01"), known(2, "vol-1", "06-02"))[0]
    assert chain.average_change == pytest.approx(10)


def test_copies_do_not_make_a_chain(tmp_path):
    """Every copied snapshot claims to be of vol-ffffffff."""
    chains = chained(tmp_path, [GIB, GIB], known(1, "vol-ffffffff", "06-01"), known(2, "vol-ffffffff", "06-02"))
    assert [(chain.volume_id, len(chain.snapshots)) for chain in chains] == [("", 1), ("", 1)]


def test_from_the_bill_alone_every_snapshot_stands_alone(tmp_path):
    """And nothing is advised, since what it shares is not known."""
    chains = lineage.chains(billed(tmp_path, 500 * GIB, GIB), [], {}, TODAY)
    plans = advice.advise(chains, TABLE, {}, moves.Assumptions(), {})
    assert [(chain.volume_id, chain.volume_gone) for chain in chains] == [("", None), ("", None)]
    assert all(plan.chosen.target == "keep" and "is not known" in plan.reason for plan in plans)
    assert chains[0].snapshots[0].frees == (0, 500 * GIB)


def test_snapshots_that_are_gone_ended_or_not_billed_are_told_apart(tmp_path):
    """gone: EC2 does not know it; ended: not on the last day; not on the bill: newer than it."""
    bill = Bill("2026-10")
    bill.snapshot(name(1), GIB)
    bill.snapshot(name(2), GIB, days=range(1, 5))
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    held = {
        each.snapshot_id: each
        for chain in lineage.chains(report, [estate(known(3, "vol-1", "11-20"))], {}, TODAY)
        for each in chain.snapshots
    }
    assert (held[name(1)].state, held[name(2)].state) == ("gone", "ended")
    assert (held[name(3)].state, held[name(3)].on_bill) == ("standard", False)


def test_what_was_deleted_since_the_bill_leaves_nothing_certain_about_the_oldest(tmp_path):
    """A rotation deleted the first; the second is billed for its change only, and holds nobody knows how much."""
    report = billed(tmp_path, 100 * GIB, GIB, GIB)
    there = [estate(known(2, "vol-1", "06-02"), known(3, "vol-1", "06-03"))]
    chain = next(chain for chain in lineage.chains(report, there, {}, TODAY) if chain.volume_id)
    assert not chain.snapshots[0].full_known
    told = [estate(known(2, "vol-1", "06-02", full=100 * GIB), known(3, "vol-1", "06-03", full=100 * GIB))]
    chain = next(chain for chain in lineage.chains(report, told, {}, TODAY) if chain.volume_id)
    assert (chain.snapshots[0].full, chain.snapshots[0].full_known) == (100 * GIB, True)
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(keep_newest=1, cold_days=10_000), {})[0]
    assert all(option.saving[0] <= option.saving[1] for option in plan.options)


def test_the_archive_tier_is_not_counted_as_stored(tmp_path):
    """It is cheap already, and not part of what others share."""
    bill = Bill("2026-10")
    bill.snapshot(name(1), 100 * GIB, tier="SnapshotArchiveStorage")
    bill.snapshot(name(2), 100 * GIB)
    report = reports.read([str(bill.write(tmp_path, "cur2.csv.gz"))], "", str(tmp_path), TODAY)
    chain = lineage.chains(report, [estate(known(1, "vol-1", "06-01", tier="archive"), known(2, "vol-1", "06-02"))], {}, TODAY)[0]
    assert [each.state for each in chain.snapshots] == ["archive", "standard"]
    assert chain.snapshots[0].archived == 100 * GIB
    assert [each.snapshot_id for each in chain.stored] == [name(2)]


def test_deleting_one_in_the_middle_frees_at_most_what_it_is_billed(tmp_path):
    """And perhaps nothing: what the next one holds too moves on to it."""
    chain = month(tmp_path)
    assert chain.snapshots[10].frees == (0, GIB)
    assert chain.snapshots[-1].frees == (GIB, GIB)


def test_full_sizes_narrow_the_range(tmp_path):
    """The second holds 60 GiB, 10 of its own: so it holds 50 of the first's 100, and 50 go."""
    chain = chained(tmp_path, [100 * GIB, 10 * GIB], known(1, "vol-1", "06-01"), known(2, "vol-1", "06-02", full=60 * GIB))[0]
    assert chain.snapshots[0].frees == (50 * GIB, 50 * GIB)


def test_measured_blocks_make_it_exact(tmp_path):
    """Of the second's 5 GiB the third holds 2: deleting the second frees 3."""
    snapshots = [known(number, "vol-1", f"06-0{number}") for number in (1, 2, 3)]
    exact = {("", name(2)): 100 * GIB, ("", name(3)): 100 * GIB, (name(1), name(3)): 6 * GIB}
    chain = chained(tmp_path, [100 * GIB, 5 * GIB, 4 * GIB], *snapshots, exact=exact)[0]
    assert chain.snapshots[1].frees == (3 * GIB, 3 * GIB)
    assert lineage.pairs(chain) == [("", name(2)), ("", name(3)), (name(1), name(3))]


def options(plan):
    return {(option.target, option.form, option.which): option for option in plan.options}


def test_the_worked_example_comes_out(tmp_path):
    """100 GiB and 1 GiB a day, 30 snapshots: $6.45 in EBS; all whole at half the size: Deep Archive $1.49, Instant $6.00."""
    plan = advice.advise([month(tmp_path)], TABLE, {}, moves.Assumptions(), {})[0]
    found = options(plan)
    assert plan.now == pytest.approx(6.45)
    assert found["DEEP_ARCHIVE", "full", "all"].monthly == pytest.approx(1.49, abs=0.01)
    assert found["GLACIER_IR", "full", "all"].monthly == pytest.approx(6.00, abs=0.01)
    assert found["DEEP_ARCHIVE", "increments", "all"].monthly == pytest.approx(0.06, abs=0.01)
    assert found["EBS archive", "full", "all"].monthly == pytest.approx(37.5)
    assert plan.chosen.target == "DEEP_ARCHIVE"
    assert plan.chosen.likely == pytest.approx(4.96, abs=0.01)
    assert not found["DEEP_ARCHIVE", "increments", "all"].available


def test_a_chain_in_use_keeps_its_newest_and_then_nothing_is_gained(tmp_path):
    """The newest holds nearly all, and is billed for it once the others are gone."""
    chain = month(tmp_path, volumes=["vol-1"])
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(cold_days=365), {})[0]
    assert plan.kept_for == {name(30): "among the newest of a volume in use"}
    option = options(plan)["DEEP_ARCHIVE", "full", "all but 1"]
    assert option.saving[0] < 0.1
    assert plan.chosen.target == "keep"


def test_where_a_snapshot_stays_only_changes_pay(tmp_path):
    """50 GiB and 1 GiB of change, of which the newest stays: 1 GiB is freed for 50 GiB at half the size. It pays from 1%."""
    snapshots = [known(1, "vol-1", "11-01"), known(2, "vol-1", "11-02")]
    chain = chained(tmp_path, [50 * GIB, GIB], *snapshots, volumes=["vol-1"])[0]
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(), {})[0]
    assert options(plan)["DEEP_ARCHIVE", "full", "all but 1"].break_even == pytest.approx(0.99)
    assert options(plan)["GLACIER_IR", "full", "all but 1"].break_even == pytest.approx(4)
    gone = chained(tmp_path, [50 * GIB, GIB], *snapshots)[0]
    plan = advice.advise([gone], TABLE, {}, moves.Assumptions(), {})[0]
    assert options(plan)["DEEP_ARCHIVE", "full", "all"].break_even == pytest.approx(-98.02)


def test_a_volume_in_use_without_a_new_snapshot_for_long_is_cold(tmp_path):
    """Nobody takes snapshots of it any more."""
    plan = advice.advise([month(tmp_path, volumes=["vol-1"])], TABLE, {}, moves.Assumptions(cold_days=90), {})[0]
    assert (plan.cold, plan.chosen.target, plan.chosen.which) == (True, "DEEP_ARCHIVE", "all")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"images": {name(1): ["ami-1"]}}, "used by ami-1"),
        ({"tags": {"aws:backup:source-resource": "x"}}, "managed by AWS Backup"),
        ({"tags": {"aws:dlm:lifecycle-policy-id": "policy-1"}}, "managed by a lifecycle policy"),
    ],
)
def test_what_somebody_else_needs_stays(facts, said, tmp_path):
    """An AMI's snapshot cannot be deleted, so moving it frees nothing."""
    tags = facts.pop("tags", {})
    chain = chained(tmp_path, [500 * GIB], known(1, "vol-1", "01-01", **tags), **facts)[0]
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(), {})[0]
    assert said in plan.kept_for[name(1)]
    assert plan.chosen.target == "keep"
    assert "no snapshot can be moved" in plan.reason


def test_one_a_month_is_offered_and_never_chosen_unasked(tmp_path):
    """It gives up points in time; that is for people to decide."""
    sizes = [100 * GIB] + [GIB] * 9
    snapshots = [known(number + 1, "vol-1", f"{1 + number // 5:02}-{1 + number % 5:02}") for number in range(10)]
    chain = chained(tmp_path, sizes, *snapshots)[0]
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(), {})[0]
    thin = options(plan)["DEEP_ARCHIVE", "full", "one a month"]
    assert thin.snapshot_ids == [name(5), name(10)]
    assert plan.chosen.which == "all"


def test_thinning_is_named_where_it_alone_pays(tmp_path):
    """Sixty days that hardly change: whole copies of all would cost more than EBS, of two they would not."""
    sizes = [1000 * GIB] + [1] * 59
    days = [f"{month:02}-{day:02}" for month in (3, 4) for day in range(1, 31)]
    chain = chained(tmp_path, sizes, *[known(number, "vol-1", day) for number, day in enumerate(days, 1)])[0]
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(classes=["GLACIER_IR"]), {})[0]
    assert plan.chosen.target == "keep"
    assert "if one snapshot a month is enough, GLACIER_IR saves $46.0" in plan.reason


def test_a_bill_that_costs_nothing_is_no_rate(tmp_path):
    """Credits can make it zero; then the list price is used."""
    bill = Bill("2026-10")
    bill.snapshot(name(1), 100 * GIB, rate=Decimal(0))
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    assert _costs._rates(report) == {}


def test_short_stays_pay_for_the_minimum(tmp_path):
    """Deep Archive bills 180 days whatever happens."""
    chain = chained(tmp_path, [100 * GIB], known(1, "vol-1", "01-01"))[0]
    given = moves.Assumptions(months=1)
    option = options(advice.advise([chain], TABLE, {}, given, {})[0])["DEEP_ARCHIVE", "full", "all"]
    assert option.minimum_days == 180
    assert option.monthly == pytest.approx(180 / (730 / 24) * 50 * 0.00099, rel=0.001)
    assert option.total == pytest.approx(option.once + option.monthly)


def test_what_comes_back_costs(tmp_path):
    """If all of it is brought back every month, Deep Archive is no longer the cheapest."""
    chain = chained(tmp_path, [100 * GIB], known(1, "vol-1", "01-01"))[0]
    rare = advice.advise([chain], TABLE, {}, moves.Assumptions(retrievals=0), {})[0]
    often = advice.advise([chain], TABLE, {}, moves.Assumptions(retrievals=12), {})[0]
    assert rare.chosen.target == "DEEP_ARCHIVE"
    assert often.chosen.target == "GLACIER"
    thaw = 50 * 0.02 + 0.0001 + 3200 * 0.0004 / 1000 + 50 * 0.023 * 3 / (730 / 24)
    volume = (0.1 + 100 * 1024 / 125 / 3600) * 200 * 0.08 / 730
    assert rare.chosen.bring_back == rare.chosen.bring_back_one == pytest.approx(thaw + volume)
    assert options(often)["DEEP_ARCHIVE", "full", "all"].monthly == pytest.approx(50 * 0.00099 + thaw + volume, rel=0.001)


def test_what_a_move_costs_once(tmp_path):
    """200 GiB of gp3 for as long as 100 GiB take at 125 MiB/s, 3,200 parts, a transition; then all is read once more.

    The archive is in STANDARD for two days, and the snapshot stays for a week.
    """
    chain = chained(tmp_path, [100 * GIB], known(1, "vol-1", "01-01"))[0]
    option = options(advice.advise([chain], TABLE, {}, moves.Assumptions(), {})[0])["DEEP_ARCHIVE", "full", "all"]
    hours = 0.1 + 100 * 1024 / 125 / 3600
    parts = 50 * 1024 / 16
    assert option.once_of == pytest.approx(
        {
            "reading": hours * 200 * 0.08 / 730,
            "requests": ((parts * 17 / 16 + 4) * 0.005 + 0.05) / 1000,
            "validation": (hours - 0.1) * 200 * 0.08 / 730 + parts * 0.0004 / 1000 + 50 * 0.023 * 2 / (730 / 24),
            "kms": 0,
            "grace": 5.00 * 7 / (730 / 24),
        }
    )
    assert option.once == pytest.approx(sum(option.once_of.values()))
    dear = replace(moves.Assumptions(), worker=1.0, kms=True, grace_days=0)
    found = options(advice.advise([chain], TABLE, {}, dear, {})[0])["DEEP_ARCHIVE", "full", "all"].once_of
    assert found["reading"] == pytest.approx(option.once_of["reading"] + hours)
    assert found["validation"] == pytest.approx(option.once_of["validation"] + hours - 0.1)
    assert found["kms"] == pytest.approx((2 * 3200 + 4) * 0.003 / 1000)
    assert found["grace"] == 0


def test_increments_cost_requests_and_no_volume(tmp_path):
    """10 GiB in 20,480 requests and the lists of them, beside the archives' own requests."""
    chain = chained(tmp_path, [100 * GIB, 10 * GIB], known(1, "vol-1", "01-01"), known(2, "vol-1", "01-02"))[0]
    option = options(advice.advise([chain], TABLE, {}, moves.Assumptions(), {})[0])["STANDARD", "increments", "all"]
    reads = 110 * GIB / 1000 * 0.003 + (20 + 1 + 2 + 1 + 2) / 1000 * 0.0006
    parts = 55 * 1024 / 16
    assert option.once_of["reading"] == pytest.approx(reads, rel=1e-4)
    assert option.once_of["requests"] == pytest.approx(((parts * 17 / 16 + 8) * 0.005 + 2 * 0.005) / 1000, rel=1e-4)
    assert option.once_of["validation"] == pytest.approx(reads + parts * 0.0004 / 1000, rel=1e-4)
    assert option.gib == pytest.approx(55)


def test_the_rate_on_the_bill_is_better_than_the_list(tmp_path):
    """With half price from a contract, less is saved."""
    chain = chained(tmp_path, [100 * GIB], known(1, "vol-1", "01-01"))[0]
    plan = advice.advise([chain], TABLE, {"us-east-1": 0.025}, moves.Assumptions(), {})[0]
    assert plan.now == pytest.approx(2.5)


def test_compression_is_a_volumes_own_where_it_was_measured(tmp_path):
    """Films do not shrink."""
    chain = chained(tmp_path, [100 * GIB], known(1, "vol-1", "01-01"))[0]
    given = moves.Assumptions(by_volume={"vol-1": 1.0})
    assert options(advice.advise([chain], TABLE, {}, given, {})[0])["DEEP_ARCHIVE", "full", "all"].gib == pytest.approx(100)


def test_small_change_is_not_worth_it(tmp_path):
    """Below the minimum nothing is moved, and it says so."""
    chain = chained(tmp_path, [GIB], known(1, "vol-1", "01-01"))[0]
    plan = advice.advise([chain], TABLE, {}, moves.Assumptions(minimum=1), {})[0]
    assert plan.chosen.target == "keep"
    assert "less than the minimum" in plan.reason
    assert advice.advise([chain], TABLE, {}, moves.Assumptions(minimum=0), {})[0].chosen.target == "DEEP_ARCHIVE"


@pytest.mark.parametrize(("storage_class", "percent"), [("STANDARD", 46), ("STANDARD_IA", 25), ("GLACIER_IR", 8)])
def test_the_break_even_table_of_snap_to_s3_comes_out(storage_class, percent):
    """At $0.05 for EBS and 0.023, 0.0125, 0.004 for S3, uncompressed and for long chains: 46, 25 and 8%."""
    rows = break_even.as_rows(prices.table("us-east-1"), [1.0], [0])
    row = next(each for each in rows if each["storage_class"] == storage_class)
    assert round(row["change_percent"]) == percent


@pytest.mark.parametrize("count", [2, 7, 30])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_at_the_break_even_both_cost_the_same(count, ratio):
    """The formula against the two sums it comes from."""
    change = break_even.break_even(count, ratio, 0.0125, 0.05) / 100
    assert 0.05 * (1 + (count - 1) * change) == pytest.approx(0.0125 * ratio * count)


def test_totals_add_up_and_text_says_all(tmp_path):
    """Every snapshot is in the text, and analysed + not analysed = the bill."""
    report = billed(tmp_path, 100 * GIB, GIB)
    chains = lineage.chains(report, [estate(known(1, "vol-1", "06-01"), known(2, "vol-1", "06-02"))], {}, TODAY)
    plans = advice.advise(chains, TABLE, {}, moves.Assumptions(), {})
    totals = sums.totals(report, plans)
    assert totals["snapshots"] + sum(other["cost"] for other in totals["not_analysed"]) == pytest.approx(totals["bill"], abs=1e-6)
    document = {
        "report": {
            "complete": True,
            "period": "2026-10",
            "kinds": ["legacy CUR"],
            "passed_over": [],
            "may_change_until": "",
            "currency": "USD",
            "exact": True,
            "last_day": "2026-10-31",
        },
        "prices_note": "x",
        "tags": [],
        "fast": [],
        "assumed": ["Prices: x."],
        "not_priced": [],
        "totals": totals,
        "savings": sums.savings(plans),
        "not_asked": [],
    }
    text = "\n".join(terminal.lines(document, plans))
    assert "vol-1: 2 snapshots, 101.00 GiB, $5.05, average change 1.0%, volume is gone" in text
    assert "-> DEEP_ARCHIVE, all: saves about $4.95 a month, at least $4.65; pays back after 0.3 months" in text
    assert "90.42  not analysed: other services: AmazonEC2" in text


def text_of(report, estates, **facts):
    chains = lineage.chains(report, estates, {}, TODAY)
    plans = advice.advise(chains, TABLE, {}, moves.Assumptions(), {})
    analysed = _costs.analyse(
        report, locate.Located([], [], []), chains, TABLE, moves.Assumptions(), {}, [], facts.get("today", TODAY)
    )
    return plans, "\n".join(terminal.lines(analysed.document, analysed.plans))


def test_a_rotation_does_not_make_today_false(tmp_path):
    """30 daily snapshots in October's bill, one of them left at November's end: $6.45 a month are paid, and what went is said."""
    report = billed(tmp_path, 100 * GIB, *[GIB] * 29)
    there = estate(known(30, "vol-1", "10-31", full=100 * GIB), known(31, "vol-1", "11-01", full=100 * GIB), volumes=["vol-1"])
    plans, text = text_of(report, [there])
    assert "Today: $6.45 a month, according to what was billed on 2026-10-31." in text
    assert "Deleted since then: 29 snapshots of $6.40 a month" in text
    assert "Made since then, and not on the bill: 1 snapshot." in text
    assert "inf" not in text
    chain = next(plan.chain for plan in plans if plan.chain.volume_id)
    assert chain.stored[0].now == (100 * GIB, 100 * GIB)


def test_a_final_snapshot_newer_than_the_bill_pays_from_no_percentage(tmp_path):
    """It was -inf%."""
    _plans, text = text_of(billed(tmp_path, GIB), [estate(known(9, "vol-9", "11-20", full=GIB))])
    assert "%" not in text.split("Advice", maxsplit=1)[0]


def test_a_last_day_unlike_the_average_is_said_first(tmp_path):
    """Half the month at 300 GiB, half at 100: an average day comes to $10, the last to $5."""
    bill = Bill("2026-10")
    bill.snapshot(name(1), 100 * GIB)
    bill.snapshot(name(2), 200 * GIB, days=range(1, 17))
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    text = text_of(report, [])[1].split("\n")
    assert text[2] == (
        "What was billed on 2026-10-31 amounts to $5.00 a month, the average day to $10.16:"
        " the stored amount has changed, or lines are missing."
    )
    assert "average day" not in text_of(billed(tmp_path, 100 * GIB), [])[1]


@pytest.mark.parametrize(("day", "said"), [(6, True), (9, False)])
def test_a_bill_that_aws_still_changes_says_until_when(day, said, tmp_path):
    """It does so for some days after the month's end."""
    text = text_of(billed(tmp_path, GIB), [], today=date(2026, 11, day))[1]
    assert ("AWS may change this bill until about 2026-11-07." in text) is said
