# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures are based on, in sentences printed beside them."""

from __future__ import annotations

from collections.abc import Mapping

from .moves import AWAKE, Assumptions, hours_text, within
from .price_table import HOURS
from .prices import EBS_ARCHIVE, Prices, amount


def sentences(given: Assumptions, priced: Mapping[str, Prices], note: str, currency: str) -> list[str]:
    """note: where prices come from, and their date. priced: by region."""
    return [
        _compression(given),
        f"Archives are kept for {_counted(given.months, 'month')}; {given.retrievals:.0%} of them are restored in a year.",
        *(_minimum(given, each) for each in list(priced.values())[:1]),
        _back(given),
        f"A restore costs the thaw, a readable copy for {AWAKE} days, requests, and a volume while it is written.",
        _once(given, currency),
        f"Prices: {note}.",
    ]


def not_priced(given: Assumptions) -> list[dict[str, str]]:
    """What else could cost something, and why it is not in the figures."""
    found = [
        {
            "what": "a NAT gateway",
            "why": "it depends on the network: about $0.045 a GB through one, nothing through a gateway endpoint for S3",
        },
        {"what": "transfer between regions", "why": "workers and bucket are assumed to be in the region of the snapshots"},
        {"what": "CloudTrail and S3 access logs of the requests", "why": "it depends on what is enabled"},
    ]
    if not given.kms:
        found.append({"what": "requests to KMS", "why": "no key is given for the archives; with kms they are included"})
    if not given.worker:
        found.append(
            {
                "what": "the workers' time",
                "why": "no price an hour is given (coldstore_cost_worker_price)",
            }
        )
    return found


def _compression(given: Assumptions) -> str:
    how = "measured on existing archives" if given.measured else "assumed"
    own = f", separately for {_counted(len(given.by_volume), 'volume')}" if given.by_volume else ""
    return (
        f"An archive takes {given.compression:.2f} bytes for each byte that its snapshot holds ({how}{own}); the least "
        "that is saved assumes archives as large as what the snapshot holds."
    )


def _minimum(given: Assumptions, prices: Prices) -> str:
    days: dict[int, list[str]] = {}
    for name in given.classes:
        days.setdefault(int(prices.of(name)["minimum_days"]), []).append(name)
    days.setdefault(int(prices.values["snapshot_archive_minimum_days"]), []).append(EBS_ARCHIVE)
    times = [f"{count} days in {', '.join(names)}" for count, names in sorted(days.items()) if count]
    return f"Minimum charge, even if deleted sooner: {'; '.join(times)}."


def _back(given: Assumptions) -> str:
    hours: dict[float, list[str]] = {}
    for name in (*given.classes, EBS_ARCHIVE):
        hours.setdefault(next(iter(HOURS.get(name, {"": 0.0}).values())), []).append(name)
    times = "; ".join(
        f"{', '.join(names)} {'within ' if count else ''}{hours_text(count)}" for count, names in sorted(hours.items())
    )
    kept = "" if given.restore_within is None else f" The advice is limited to what can be restored {within(given.restore_within)}."
    return f"Time to the first byte of a restore: {times}, with the thaw tier Standard.{kept}"


def _once(given: Assumptions, currency: str) -> str:
    worker = f", and {amount(currency, given.worker)} an hour for its worker" if given.worker else ""
    kms = ", requests to KMS for each part" if given.kms else ""
    grace = _counted(given.grace_days, "day")
    return (
        f"One-time costs: a temporary volume, read at {given.throughput:g} MiB/s{worker}; requests{kms}; reading snapshot and "
        f"archive again to validate them; and both copies for the {grace} until the snapshot is deleted."
    )


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}" if number == 1 else f"{number:g} {what}s"
