# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What things cost in a region, from the table, the AWS price API, or the user."""

from __future__ import annotations

import copy
import functools
import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from ..common.errors import Refused
from ..common.retry import Policy, retry
from ..common.stop import Stop
from . import price_table
from .price_table import BASE

GIB = 1024**3
STALE_DAYS = 180
EBS_ARCHIVE = "EBS archive"  # EBS's own archive tier, beside the classes of S3
CLASSES = tuple(price_table.US_EAST_1["classes"])


class NoPrices(Refused):
    """The API answers, but has no prices for this region."""


class Prices(NamedTuple):
    """values: complete, structured like price_table. assumed: names (classes.GLACIER.storage) of prices taken from another region.
    distrusted: implausible answers of the price API, a sentence each."""

    region: str
    currency: str
    as_of: str
    source: str
    values: dict[str, Any]
    assumed: list[str]
    distrusted: list[str] = []

    def of(self, storage_class: str) -> dict[str, Any]:
        """The prices of a storage class, zero for what it does not charge."""
        zero = {"overhead_class": 0, "overhead_standard": 0, "minimum_bytes": 0, "thaw": {}}
        return dict(zero, **self.values["classes"][storage_class])

    def age_days(self, today: date) -> int:
        return (today - date.fromisoformat(self.as_of)).days


def amount(currency: str, value: float) -> str:
    """Money as text, with cents, and with more digits if there would be none."""
    sign = "$" if currency == "USD" else f"{currency} "
    return f"{sign}{value:.4f}" if value and abs(value) < 0.005 else f"{sign}{value:.2f}"


def table(region: str) -> Prices:
    """The collection's own prices, which are dated."""
    values = copy.deepcopy(price_table.US_EAST_1)
    local = price_table.REGIONS.get(region, {})
    values.update(local)
    assumed = [] if region == BASE else sorted(set(_names(values)) - set(_names(local)))
    return Prices(region, price_table.CURRENCY, price_table.AS_OF, "table of the collection", values, assumed)


def thaw(prices: Prices, asleep: Iterable[tuple[str, int]], tier: str) -> float:
    """What it costs to thaw these objects (storage class or tier of INTELLIGENT_TIERING, and bytes): retrieval and requests,
    without the days of the copies in STANDARD."""
    dollars = 0.0
    for storage_class, size in asleep:
        known = price_table.TIERS.get(storage_class) or prices.of(storage_class)
        dollars += size / GIB * known["retrieval"][tier] + known["thaw"][tier] / 1000
    return dollars


def overridden(prices: Prices, changes: Mapping[str, Any], classes: Sequence[str] = CLASSES) -> Prices:
    """Prices changed by the user: snapshot, volume, classes.DEEP_ARCHIVE.storage and so on, nested as in the table.

    classes: the storage classes considered. Raises Refused for a name that is not a price, for a value that is not a number from
    0 up, and for another currency if not every required price is given in it.
    """
    if not changes:
        return prices
    changes = dict(changes)
    currency = str(changes.pop("currency", prices.currency))
    values = copy.deepcopy(prices.values)
    names: set[str] = set()
    _merge(values, changes, "", names)
    if not values["snapshot"]:
        raise Refused("the price snapshot is 0, so nothing can be cheaper", "Correct it.")
    if currency != prices.currency:
        missing = [name for name in _names(prices.values, classes) if _is_money(name) and name not in names]
        if missing:
            raise Refused(
                f"prices are given in {currency}, but some are missing: {', '.join(missing)}",
                f"Give these in {currency}, too, or consider fewer storage classes.",
            )
    return prices._replace(
        values=values,
        currency=currency,
        source=f"{prices.source}, changed by the user",
        assumed=[n for n in prices.assumed if n not in names],
    )


def _merge(values: dict[str, Any], changes: Mapping[str, Any], where: str, names: set[str]) -> None:
    for name, value in changes.items():
        path = f"{where}{name}"
        if name not in values:
            raise Refused(f"{path} is not a price; there are {', '.join(sorted(values))}", "Correct the name.")
        if isinstance(values[name], dict):
            if not isinstance(value, Mapping):
                raise Refused(f"the price {path} is a group, not a number", f"Name one of {', '.join(sorted(values[name]))} in it.")
            _merge(values[name], value, f"{path}.", names)
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number < float("inf"):
            raise Refused(f"the price {path} is {value!r}, not a number from 0 up", "Correct it.")
        values[name] = number
        names.add(path)


def _names(values: Mapping[str, Any], classes: Sequence[str] = CLASSES, where: str = "") -> Iterator[str]:
    """The names of all prices, such as classes.GLACIER.storage, for these storage classes and STANDARD, which all need."""
    for name, value in values.items():
        if where == "classes." and name not in (*classes, "STANDARD"):
            continue
        if isinstance(value, Mapping):
            yield from _names(value, classes, f"{where}{name}.")
        else:
            yield f"{where}{name}"


def _is_money(name: str) -> bool:
    return not name.endswith(("minimum_days", "minimum_bytes", "overhead_class", "overhead_standard"))


# Usage types without the region's prefix, and where in the table they go.
_FILTERS = (
    ("AmazonEC2", {"productFamily": "Storage Snapshot"}),
    ("AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp3"}),
    ("AmazonEC2", {"productFamily": "EBS direct API Requests"}),
    ("AmazonS3", {"productFamily": "Storage"}),
    ("AmazonS3GlacierDeepArchive", {"productFamily": "Storage"}),
)
_USAGE = {
    "EBS:SnapshotUsage": ("snapshot",),
    "EBS:SnapshotArchiveStorage": ("snapshot_archive",),
    "EBS:SnapshotArchiveRetrieval": ("snapshot_archive_retrieval",),
    "EBS:VolumeUsage.gp3": ("volume",),
    "EBS:directAPI.snapshot.List": ("direct_list",),
    "EBS:directAPI.snapshot.Get": ("direct_get",),
    "TimedStorage-ByteHrs": ("classes", "STANDARD", "storage"),
    "TimedStorage-SIA-ByteHrs": ("classes", "STANDARD_IA", "storage"),
    "TimedStorage-ZIA-ByteHrs": ("classes", "ONEZONE_IA", "storage"),
    "TimedStorage-GIR-ByteHrs": ("classes", "GLACIER_IR", "storage"),
    "TimedStorage-GlacierByteHrs": ("classes", "GLACIER", "storage"),
    "TimedStorage-GDA-ByteHrs": ("classes", "DEEP_ARCHIVE", "storage"),
}
_REGION = re.compile(r"^(?:[A-Z0-9]+-)+(?=EBS:|TimedStorage-)")
_BELIEVED = 3.0  # a price that moved by more than this factor is another product's
_A_THOUSAND = ("direct_list", "direct_get")


def refreshed(prices: Prices, client: Any, today: date, stop: Stop) -> Prices:
    """Prices updated from the AWS price API. client: for the service 'pricing', which exists in few regions.

    Raises NoPrices, or whatever the API raises. A price it does not know is kept from the table.
    """
    values = copy.deepcopy(prices.values)
    found: set[str] = set()
    distrusted = []
    for service, filters in _FILTERS:
        for usage_type, dollars in _asked(client, service, dict(filters, regionCode=prices.region), prices.currency, stop):
            path = _USAGE.get(_REGION.sub("", usage_type))
            if path is None:
                continue
            name = ".".join(path)
            place = functools.reduce(operator.getitem, path[:-1], values)
            price = dollars * (1000 if path[-1] in _A_THOUSAND else 1)
            before = place[path[-1]]
            if before and not before / _BELIEVED <= price <= before * _BELIEVED:
                distrusted.append(f"{name}: the price API says {price:g}, which is implausible; {before:g} is used")
                continue
            place[path[-1]] = price
            found.add(name)
    if not found:
        raise NoPrices(f"the price API has no prices for {prices.region}")
    assumed = [name for name in prices.assumed if name not in found]
    return prices._replace(
        values=values, as_of=today.isoformat(), source="AWS price API", assumed=assumed, distrusted=sorted(distrusted)
    )


def _asked(client: Any, service: str, wanted: Mapping[str, str], currency: str, stop: Stop) -> Iterator[tuple[str, float]]:
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    arguments: dict[str, Any] = {"ServiceCode": service, "Filters": filters, "FormatVersion": "aws_v1"}
    while True:
        reply = retry(lambda: client.get_products(**arguments), stop, policy=Policy(attempts=2))
        for text in reply["PriceList"]:
            product = json.loads(text)
            for term in product.get("terms", {}).get("OnDemand", {}).values():
                for dimension in term["priceDimensions"].values():
                    dollars = dimension["pricePerUnit"].get(currency)
                    if dollars is not None and float(dimension.get("beginRange", 0)) == 0:
                        yield product["product"]["attributes"].get("usagetype", ""), float(dollars)
        if not reply.get("NextToken"):
            return
        arguments["NextToken"] = reply["NextToken"]
