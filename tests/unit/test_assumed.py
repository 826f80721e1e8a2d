# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures stand on: it is said beside them, and what is said to hold at least holds under all of it."""

from datetime import date

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import Estate, Known
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import lineage, locate, output, prices, reports, terminal
from ansible_collections.coldstore.ebs.plugins.module_utils.costs.moves import Assumptions, hours_of
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs
from bills import Bill

TODAY = date(2026, 11, 21)
GIB = 2048  # blocks
TABLE = {"us-east-1": prices.table("us-east-1")}


def analysed(tmp_path, given, gibs=(100,), known=True):
    """Full snapshots of volumes that are gone, as the module analyses them."""
    bill = Bill("2026-10")
    there = []
    for number, size in enumerate(gibs, 1):
        bill.snapshot(f"snap-{number:017x}", size * GIB)
        snapshot = Snapshot(f"snap-{number:017x}", f"vol-{number:017x}", "2026-01-01T00:00:00+00:00", 200)
        there.append(Known(snapshot, "standard", size * GIB * lineage.BLOCK if known else None))
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    chains = lineage.chains(report, [Estate("111111111111", "us-east-1", there, {}, {})], {}, TODAY)
    return costs.analyse(report, locate.Located([], [], []), chains, TABLE, given, {}, [], TODAY)


@pytest.mark.parametrize(("text", "hours"), [("30m", 0.5), ("12h", 12), ("2d", 48), ("1.5h", 1.5), ("0h", 0), ("", None)])
def test_how_soon_is_minutes_hours_or_days(text, hours):
    """As people write them."""
    assert hours_of(text) == hours


@pytest.mark.parametrize("text", ["12", "h", "-1h", "12 h", "1w", "soon", "1h30m", "nanh"])
def test_anything_else_is_one_sentence(text):
    """With what it should be."""
    with pytest.raises(Refused, match=r"restore_within is .*, not a time such as 30m, 12h or 2d"):
        hours_of(text)


@pytest.mark.parametrize(
    ("within", "advised"),
    [(None, "DEEP_ARCHIVE"), (48, "DEEP_ARCHIVE"), (12, "DEEP_ARCHIVE"), (11.9, "GLACIER"), (5, "GLACIER"), (4.9, "GLACIER_IR"), (0, "GLACIER_IR")],
)  # fmt: skip
def test_advice_keeps_to_what_is_back_in_time(within, advised, tmp_path):
    """Deep Archive takes 12 hours, Flexible Retrieval 5, Instant Retrieval none."""
    plan = analysed(tmp_path, Assumptions(restore_within=within)).plans[0]
    assert plan.chosen.target == advised
    assert within is None or plan.chosen.hours <= within


def test_where_nothing_is_back_in_time_all_stays(tmp_path):
    """And it says why."""
    plan = analysed(tmp_path, Assumptions(classes=["DEEP_ARCHIVE"], restore_within=1)).plans[0]
    assert plan.chosen.target == "keep"
    assert plan.reason == "none of the considered storage classes can be restored within 1 hour"
    plan = analysed(tmp_path, Assumptions(classes=["GLACIER"], restore_within=0)).plans[0]
    assert plan.reason == "none of the considered storage classes can be restored at once"


def test_what_is_back_sooner_stands_beside_the_advice(tmp_path):
    """50 GiB in Flexible Retrieval for $0.0036 instead of $0.00099: 13 cents a month more, and back 7 hours sooner."""
    analysis = analysed(tmp_path, Assumptions())
    sooner = analysis.plans[0].sooner
    assert (sooner.target, sooner.hours) == ("GLACIER", 5)
    assert sooner.more == pytest.approx(50 * (0.0036 - 0.00099), rel=0.001)
    text = "\n".join(terminal.lines(analysis.document, analysis.plans))
    assert "readable after 12 hours; GLACIER is readable after 5 hours for $0.13 a month more" in text
    assert output.chain_row(analysis.plans[0])["sooner"]["target"] == "GLACIER"
    instant = analysed(tmp_path, Assumptions(classes=["GLACIER_IR", "STANDARD"])).plans[0]
    assert (instant.chosen.target, instant.sooner) == ("GLACIER_IR", None)


def test_at_least_holds_if_nothing_compresses(tmp_path):
    """100 GiB in EBS for $5; whole in Deep Archive for $0.099; half of it, as assumed, for $0.0495."""
    plan = analysed(tmp_path, Assumptions()).plans[0]
    assert plan.chosen.saving == pytest.approx((5 - 0.099, 5), abs=0.0001)
    assert plan.chosen.likely == pytest.approx(5 - 0.0495, abs=0.0001)
    unknown = analysed(tmp_path, Assumptions(), known=False).plans[0]
    assert unknown.chosen.saving[0] == pytest.approx(5 - 0.198, abs=0.0001)  # as large as its volume, 200 GiB


def test_what_may_save_nothing_is_not_said_to_save_something(tmp_path):
    """STANDARD at $0.023 for 200 GiB that may not compress costs $4.60, and brought back every month it costs more than EBS."""
    plan = analysed(tmp_path, Assumptions(classes=["STANDARD"], compression=0.2, retrievals=12, worker=4.0), known=False).plans[0]
    assert plan.chosen.target == "STANDARD"
    assert plan.chosen.saving[0] < 0 < plan.chosen.likely
    assert "but nothing is certain" in plan.reason
    assert "at least" not in plan.reason


def test_what_is_assumed_is_said_where_the_figures_stand(tmp_path):
    """In the text, the document and the csv."""
    analysis = analysed(tmp_path, Assumptions(restore_within=12, kms=True, worker=0.1, retrievals=0.25))
    said = " ".join(analysis.document["assumed"])
    for part in (
        "An archive takes 0.50 bytes for each byte that its snapshot holds (assumed)",
        "Archives are kept for 12 months; 25% of them are restored in a year.",
        "30 days in STANDARD_IA, ONEZONE_IA; 90 days in GLACIER_IR, GLACIER, EBS archive; 180 days in DEEP_ARCHIVE",
        "at once; GLACIER within 5 hours; DEEP_ARCHIVE within 12 hours; EBS archive within 72 hours",
        "The advice is limited to what can be restored within 12 hours.",
        "$0.10 an hour for its worker; requests, requests to KMS for each part; reading snapshot and archive again",
        "both copies for the 7 days",
        f"Prices: table of the collection as of {prices.table('us-east-1').as_of}.",
    ):
        assert part in said, part
    whats = [each["what"] for each in analysis.document["not_priced"]]
    assert "a NAT gateway" in whats
    assert "requests to KMS" not in whats
    text = list(terminal.lines(analysis.document, analysis.plans))
    assert all(f"  {sentence}" in text for sentence in analysis.document["assumed"])
    assert any(line.startswith("  Not priced: a NAT gateway; it depends on the network") for line in text)
    head, first = "".join(output.as_csv(analysis.document, analysis.plans)).splitlines()[:2]
    row = dict(zip(head.split(","), first.split(",")))
    found = {
        name: row[name]
        for name in ("compression", "compression_measured", "months", "retrievals", "hours_to_first_byte", "minimum_days")
    }
    assert found == {
        "compression": "0.5", "compression_measured": "False", "months": "12", "retrievals": "0.25", "hours_to_first_byte": "12", "minimum_days": "180",
    }  # fmt: skip
    assert row["prices_as_of"] == prices.table("us-east-1").as_of
    assert float(row["bring_back"]) == pytest.approx(advice_of(analysis).bring_back_one, abs=1e-6)


def advice_of(analysis):
    return analysis.plans[0].chosen


def test_measured_compression_is_said_to_be(tmp_path):
    """And of how many volumes by themselves."""
    given = Assumptions(compression=0.31, measured=True, by_volume={"vol-1": 0.3, "vol-2": 0.4})
    assert "takes 0.31 bytes" in analysed(tmp_path, given).document["assumed"][0]
    assert "(measured on existing archives, separately for 2 volumes)" in analysed(tmp_path, given).document["assumed"][0]
