# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the columns in every kind of bill, and how to switch on missing ones.

Sources: AWS CUR user guide ("Line item details", "Pricing details"), Data Exports user guide ("Cost and Usage Report 2.0
table dictionary", "FOCUS 1.2 with AWS columns"). A bill is recognised by these names, never by its file name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..common.errors import Refused


class Layout(NamedTuple):
    """One kind of bill. columns: our name -> the names it may have there, the best first."""

    name: str
    columns: dict[str, tuple[str, ...]]
    usage: tuple[str, ...]  # values of line_type that mean usage; all others are tax, credit, refund, fee


_USAGE = ("Usage", "DiscountedUsage", "SavingsPlanCoveredUsage")
_PARQUET = {
    "usage_type": ("line_item_usage_type",),
    "resource": ("line_item_resource_id",),
    "quantity": ("line_item_usage_amount",),
    "cost": ("line_item_unblended_cost",),
    "net_cost": ("line_item_net_unblended_cost",),
    "list_cost": ("pricing_public_on_demand_cost",),
    "start": ("line_item_usage_start_date",),
    "end": ("line_item_usage_end_date",),
    "account": ("line_item_usage_account_id",),
    "line_type": ("line_item_line_item_type",),
    "service": ("line_item_product_code",),
    "region": ("product_region_code", "product_region"),
    "currency": ("line_item_currency_code",),
    "period": ("bill_billing_period_start_date",),
}
LEGACY = Layout(
    "legacy CUR",
    {
        "usage_type": ("lineItem/UsageType",),
        "resource": ("lineItem/ResourceId",),
        "quantity": ("lineItem/UsageAmount",),
        "cost": ("lineItem/UnblendedCost",),
        "net_cost": ("lineItem/NetUnblendedCost",),
        "list_cost": ("pricing/publicOnDemandCost",),
        "start": ("lineItem/UsageStartDate",),
        "end": ("lineItem/UsageEndDate",),
        "account": ("lineItem/UsageAccountId",),
        "line_type": ("lineItem/LineItemType",),
        "service": ("lineItem/ProductCode",),
        "region": ("product/regionCode", "product/region"),
        "currency": ("lineItem/CurrencyCode",),
        "period": ("bill/BillingPeriodStartDate",),
    },
    _USAGE,
)
LEGACY_PARQUET = Layout("legacy CUR (Parquet)", _PARQUET, _USAGE)
CUR2 = Layout("CUR 2.0", _PARQUET, _USAGE)
FOCUS = Layout(
    "FOCUS",
    {
        "usage_type": ("x_UsageType", "SkuMeter"),
        "description": ("ChargeDescription",),
        "resource": ("ResourceId",),
        "quantity": ("ConsumedQuantity", "PricingQuantity"),
        "cost": ("BilledCost",),
        "net_cost": ("EffectiveCost",),
        "list_cost": ("ListCost",),
        "start": ("ChargePeriodStart",),
        "end": ("ChargePeriodEnd",),
        "account": ("SubAccountId",),
        "line_type": ("ChargeCategory",),
        "correction": ("ChargeClass",),
        "service": ("ServiceName",),
        "region": ("RegionId", "Region"),
        "currency": ("BillingCurrency",),
        "period": ("BillingPeriodStart",),
    },
    ("Usage",),
)
_NEEDED = ("resource", "quantity", "cost", "start", "end", "line_type", "account", "currency", "period")
# Discounts that are separate lines if there is no column of net costs (CUR user guide, "Line item details").
DISCOUNTS = ("EdpDiscount", "PrivateRateDiscount", "SppDiscount", "BundledDiscount", "DistributorDiscount", "Discount")
SWITCH_ON_RESOURCES = "Switch on 'Include resource IDs' in the report or export, and have AWS deliver it again."


def recognise(names: Iterable[str], path: str) -> Layout:
    """The kind of bill that has these columns, in any case. Raises Refused if it is not a bill, or lacks a required column."""
    there = {name.lower() for name in names}
    if there & {"lineitem/usagetype", "lineitem/lineitemtype"}:
        layout = LEGACY
    elif there & {"billedcost", "chargeperiodstart"}:
        layout = FOCUS
    elif "line_item_usage_type" in there or "line_item_line_item_type" in there:
        # Legacy Parquet has a column for each attribute of the product; CUR 2.0 has maps.
        layout = CUR2 if there & {"product", "resource_tags", "bill_payer_account_name"} else LEGACY_PARQUET
    else:
        raise Refused(
            "this is not a cost report: it has none of the columns of a CUR, CUR 2.0 or FOCUS",
            "Use the files that AWS Data Exports or the Cost and Usage Report delivered.",
            path=path,
        )
    missing = [field for field in _NEEDED if not there & _lowered(layout.columns[field])]
    if not there & _lowered((*layout.columns["usage_type"], *layout.columns.get("description", ()))):
        missing.insert(0, "usage_type")
    if missing:
        columns = ", ".join(layout.columns[field][0] for field in missing)
        raise Refused(
            f"the {layout.name} report lacks {columns}",
            SWITCH_ON_RESOURCES
            if missing == ["resource"]
            else "Select these columns in the export, and have AWS deliver it again.",
            path=path,
        )
    return layout


def present(layout: Layout, names: Iterable[str]) -> dict[str, list[str]]:
    """Our name -> the columns of this file that hold it, the best first. Some lines may only have a later one filled."""
    there = {name.lower(): name for name in names}
    found = {
        field: [there[name.lower()] for name in candidates if name.lower() in there] for field, candidates in layout.columns.items()
    }
    return {field: columns for field, columns in found.items() if columns}


def _lowered(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}
