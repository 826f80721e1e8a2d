# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices: the dated table, the user's own, and the price API."""

import json
from datetime import date

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import price_table, prices
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs as _costs

TODAY = date(2026, 11, 21)


class PriceApi:
    """Answers GetProducts as the API does: JSON texts, by page."""

    def __init__(self, products):
        self.products = products
        self.asked = []

    def get_products(self, **arguments):
        self.asked.append(arguments)
        region = next(each["Value"] for each in arguments["Filters"] if each["Field"] == "regionCode")
        family = next(each["Value"] for each in arguments["Filters"] if each["Field"] == "productFamily")
        found = [each for each in self.products if each[:3] == (arguments["ServiceCode"], family, region)]
        at = int(arguments.get("NextToken", 0))
        reply = {"PriceList": [product(*each[3:]) for each in found[at : at + 1]]}
        if at + 1 < len(found):
            reply["NextToken"] = str(at + 1)
        return reply


def product(usage_type, tiers):
    dimensions = {str(begin): {"beginRange": str(begin), "pricePerUnit": {"USD": str(dollars)}} for begin, dollars in tiers}
    return json.dumps(
        {"product": {"attributes": {"usagetype": usage_type}}, "terms": {"OnDemand": {"x": {"priceDimensions": dimensions}}}}
    )


def test_the_table_has_every_price_for_every_class():
    """A missing one would be an error on somebody's bill only."""
    for region in ("us-east-1", "sa-east-1", "mars-north-1"):
        known = prices.table(region)
        for name in prices.CLASSES:
            assert {"storage", "put", "get", "minimum_days", "retrieval", "thaw", "overhead_class"} <= set(known.of(name))
    assert date.fromisoformat(price_table.AS_OF) <= TODAY


def test_what_is_another_regions_is_said():
    """Only what is known for sure is a region's own."""
    assert prices.table("us-east-1").assumed == []
    known = prices.table("sa-east-1")
    assert known.values["snapshot"] == 0.068
    assert "snapshot" not in known.assumed
    assert "classes.GLACIER.storage" in known.assumed


def test_the_users_own_prices_win_one_by_one():
    """Nested as in the table; the rest stays, and the table itself is not changed."""
    mine = prices.overridden(prices.table("us-east-1"), {"snapshot": "0.04", "classes": {"GLACIER_IR": {"storage": 0.003}}})
    assert (mine.values["snapshot"], mine.of("GLACIER_IR")["storage"], mine.of("GLACIER_IR")["put"]) == (0.04, 0.003, 0.02)
    assert "changed by the user" in mine.source
    assert prices.table("us-east-1").values["snapshot"] == 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"snapshots": 1}, "snapshots is not a price"),
        ({"classes": {"FROZEN": {}}}, "classes.FROZEN is not a price"),
        ({"classes": 4}, "is a group"),
        ({"snapshot": "cheap"}, "not a number"),
        ({"snapshot": -1}, "not a number"),
        ({"snapshot": 0}, "nothing can be cheaper"),
        ({"snapshot": float("nan")}, "not a number"),
    ],
)
def test_prices_that_are_none_are_refused(changes, said):
    """By name."""
    with pytest.raises(Refused, match=said):
        prices.overridden(prices.table("us-east-1"), changes)


def test_the_price_api_is_read_page_by_page_and_by_region():
    """First tier only, prefixes ignored, requests by the thousand."""
    api = PriceApi(
        [
            ("AmazonEC2", "Storage Snapshot", "sa-east-1", "SAE1-EBS:SnapshotUsage", [(0, 0.07)]),
            ("AmazonEC2", "Storage Snapshot", "sa-east-1", "SAE1-EBS:SnapshotUsageUnderBilling", [(0, 9)]),
            ("AmazonEC2", "EBS direct API Requests", "sa-east-1", "SAE1-EBS:directAPI.snapshot.Get", [(0, 0.000004)]),
            ("AmazonS3", "Storage", "sa-east-1", "SAE1-TimedStorage-ByteHrs", [(51200, 0.039), (0, 0.0405)]),
            ("AmazonS3", "Storage", "us-east-1", "TimedStorage-ByteHrs", [(0, 0.001)]),
        ]
    )
    known = prices.refreshed(prices.table("sa-east-1"), api, TODAY, Stop())
    assert (known.values["snapshot"], known.of("STANDARD")["storage"]) == (0.07, 0.0405)
    assert known.values["direct_get"] == pytest.approx(0.004)
    assert (known.as_of, known.source) == ("2026-11-21", "AWS price API")
    assert known.values["volume"] == 0.08
    assert any("NextToken" in each for each in api.asked)


def test_an_api_that_knows_nothing_is_no_answer():
    """A wrong region must not look like today's prices."""
    with pytest.raises(Refused, match="no prices for mars-north-1"):
        prices.refreshed(prices.table("mars-north-1"), PriceApi([]), TODAY, Stop())


def test_a_thaw_costs_by_byte_and_request():
    """100 GiB of Deep Archive by Standard and by Bulk."""
    known = prices.table("us-east-1")
    assert prices.thaw(known, [("DEEP_ARCHIVE", 100 << 30)], "Standard") == pytest.approx(2.0001)
    assert prices.thaw(known, [("DEEP_ARCHIVE", 100 << 30), ("GLACIER", 1 << 30)], "Bulk") == pytest.approx(0.250025)
    tiers = [("ARCHIVE_ACCESS", 10 << 30), ("DEEP_ARCHIVE_ACCESS", 10 << 30)]
    assert prices.thaw(known, tiers, "Standard") == 0
    assert prices.thaw(known, tiers[:1], "Expedited") == pytest.approx(0.31)


def test_prices_of_another_year_say_so():
    """As a warning, with their date."""
    _found, warnings = _costs.prices_for(["us-east-1"], {}, prices.CLASSES, None, date(2028, 1, 1), Stop())
    assert len(warnings) == 1
    assert f"prices date from {price_table.AS_OF}" in warnings[0]
    assert _costs.prices_for(["us-east-1"], {}, prices.CLASSES, None, TODAY, Stop())[1] == []


def test_a_product_whose_usage_type_ends_alike_is_another(tmp_path):
    """S3 Tables and annotations have storage of their own; STANDARD keeps its price."""
    api = PriceApi(
        [
            ("AmazonS3", "Storage", "sa-east-1", "SAE1-TimedStorage-ByteHrs", [(0, 0.0405)]),
            ("AmazonS3", "Storage", "sa-east-1", "SAE1-Tables-TimedStorage-ByteHrs", [(0, 0.03)]),
            ("AmazonS3", "Storage", "sa-east-1", "SAE1-ObjectAnnotations-TimedStorage-ByteHrs", [(0, 0.05)]),
        ]
    )
    assert prices.refreshed(prices.table("sa-east-1"), api, TODAY, Stop()).of("STANDARD")["storage"] == 0.0405


def test_a_price_that_moved_by_more_than_a_factor_is_not_believed():
    """The collection's own is used, and a sentence says so."""
    api = PriceApi(
        [
            ("AmazonEC2", "Storage Snapshot", "us-east-1", "EBS:SnapshotUsage", [(0, 0.051)]),
            ("AmazonS3", "Storage", "us-east-1", "TimedStorage-GDA-ByteHrs", [(0, 0.11)]),
        ]
    )
    known, warnings = _costs.prices_for(["us-east-1"], {}, prices.CLASSES, lambda: api, TODAY, Stop())
    assert (known["us-east-1"].values["snapshot"], known["us-east-1"].of("DEEP_ARCHIVE")["storage"]) == (0.051, 0.00099)
    assert warnings == ["us-east-1: classes.DEEP_ARCHIVE.storage: the price API says 0.11, which is implausible; 0.00099 is used"]


def test_one_known_price_says_nothing_of_the_others():
    """Whether the API or the user gave it."""
    api = PriceApi([("AmazonS3", "Storage", "eu-north-1", "EUN1-TimedStorage-ByteHrs", [(0, 0.023)])])
    known = prices.refreshed(prices.table("eu-north-1"), api, TODAY, Stop())
    known = prices.overridden(known, {"classes": {"GLACIER": {"storage": 0.0037}}})
    assert "classes.STANDARD.storage" not in known.assumed
    assert "classes.GLACIER.storage" not in known.assumed
    assert {"classes.DEEP_ARCHIVE.storage", "classes.STANDARD.put", "classes.GLACIER.put", "snapshot"} <= set(known.assumed)


def test_dollars_never_become_euros_by_a_word():
    """Another currency needs every price that is used, in it."""
    with pytest.raises(Refused, match=r"classes\.STANDARD\.put"):
        prices.overridden(prices.table("eu-central-1"), {"currency": "EUR", "snapshot": 0.05})
    names = {"snapshot", "snapshot_archive", "snapshot_archive_retrieval", "volume", "direct_list", "direct_get", "kms"}
    standard = {"storage": 0.021, "put": 0.0046, "get": 0.0004, "retrieval": {"": 0}}
    mine = {"currency": "EUR", **dict.fromkeys(names, 0.04), "classes": {"STANDARD": standard}}
    known = prices.overridden(prices.table("eu-central-1"), mine, ["STANDARD"])
    assert (known.currency, known.of("STANDARD")["storage"]) == ("EUR", 0.021)
    with pytest.raises(Refused, match=r"classes\.GLACIER_IR\.storage"):
        prices.overridden(prices.table("eu-central-1"), mine, ["STANDARD", "GLACIER_IR"])
