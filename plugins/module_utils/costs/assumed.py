# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures stand on, in sentences that are printed beside them."""

from __future__ import annotations

from collections.abc import Mapping

from .moves import AWAKE, Assumptions, hours_text, within
from .price_table import HOURS
from .prices import EBS_ARCHIVE, Prices, amount


def sentences(given: Assumptions, priced: Mapping[str, Prices], note: str, currency: str) -> list[str]:
    """note: where prices are from and of when. priced: by region."""
    return [
        _compression(given),
        f"Kept for {_counted(given.months, 'month')} from now on; {given.retrievals:.0%} of it is brought back in a year.",
        *(_minimum(given, each) for each in list(priced.values())[:1]),
        _back(given),
        f"Bringing back is a thaw, a copy that is awake for {AWAKE} days, requests, and a volume while it is written.",
        _once(given, currency),
        f"Prices: {note}.",
    ]


def not_priced(given: Assumptions) -> list[dict[str, str]]:
    """What could cost something besides, and why it is in no figure."""
    found = [
        {
            "what": "a NAT gateway",
            "why": "it depends on the network: about $0.045 a GB through one, nothing through a gateway endpoint of S3",
        },
        {"what": "transfer between regions", "why": "workers and bucket are taken to be in the region of the snapshots"},
        {"what": "CloudTrail and S3 access logs of the requests", "why": "it depends on what is switched on"},
    ]
    if not given.kms:
        found.append({"what": "requests to KMS", "why": "no key is named for the archives; with kms they are counted"})
    if not given.worker:
        found.append({"what": "the workers' time", "why": "no price is given; worker_price is dollars an hour of one"})
    return found


def _compression(given: Assumptions) -> str:
    how = "as measured on archives that were made" if given.measured else "assumed"
    own = f", of {_counted(len(given.by_volume), 'volume')} by itself" if given.by_volume else ""
    return (
        f"An archive takes {given.compression:.2f} bytes for each byte that its snapshot holds ({how}{own}); what is "
        "saved at least is with archives as large as that."
    )


def _minimum(given: Assumptions, prices: Prices) -> str:
    days: dict[int, list[str]] = {}
    for name in given.classes:
        days.setdefault(int(prices.of(name)["minimum_days"]), []).append(name)
    days.setdefault(int(prices.values["snapshot_archive_minimum_days"]), []).append(EBS_ARCHIVE)
    times = [f"{count} days in {', '.join(names)}" for count, names in sorted(days.items()) if count]
    return f"Paid for at least, if deleted sooner: {'; '.join(times)}."


def _back(given: Assumptions) -> str:
    hours: dict[float, list[str]] = {}
    for name in (*given.classes, EBS_ARCHIVE):
        hours.setdefault(next(iter(HOURS.get(name, {"": 0.0}).values())), []).append(name)
    times = "; ".join(
        f"{', '.join(names)} {'within ' if count else ''}{hours_text(count)}" for count, names in sorted(hours.items())
    )
    kept = "" if given.restore_within is None else f" Advice keeps to what is back {within(given.restore_within)}."
    return f"The first byte is back: {times}, with the thaw tier Standard.{kept}"


def _once(given: Assumptions, currency: str) -> str:
    worker = f", and {amount(currency, given.worker)} an hour for its worker" if given.worker else ""
    kms = ", requests to KMS for each part" if given.kms else ""
    grace = _counted(given.grace_days, "day")
    return (
        f"Once it costs a temporary volume that is read at {given.throughput:g} MiB/s{worker}, requests{kms}, a second read of "
        f"snapshot and archive to validate, and both copies for the {grace} until the snapshot is deleted."
    )


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}" if number == 1 else f"{number:g} {what}s"
