# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a bill, and what EC2 knows, to advice."""

from __future__ import annotations

import dataclasses
import filecmp
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Callable, NamedTuple, Optional

from ..common.errors import ColdstoreError, Refused
from ..common.estate import NotAsked
from ..common.stop import Stop
from ..costs import advice, assumed, days, lineage, locate, moves, output, page, prices, reports, rows, sums, terminal
from ..costs.prices import NoPrices
from ..engine.bucket import listing
from ..engine.bucket.objects import Store
from .job import Job


class Analysis(NamedTuple):
    """document: what all outputs have in common."""

    report: reports.Report
    plans: list[advice.Plan]
    document: dict[str, Any]
    daily: list[tuple[str, str, float]]


def read(
    sources: Sequence[str], period: str, currency: str, spool: str, s3: Callable[[], Any], today: date, stop: Stop
) -> tuple[reports.Report, locate.Located]:
    """The bill; what had to be copied or unpacked for it is gone again."""
    try:
        with tempfile.TemporaryDirectory(prefix="coldstore-ebs-", dir=spool) as directory:
            located = locate.locate(sources, period, directory, s3, today, stop)
            return reports.read(located.paths, period, directory, today, currency), located
    except ImportError as error:
        raise Refused(f"the Python library {error.name} is missing", f"pip install {error.name} on this host.") from None


def compression(store: Store, prefix: str, chains: Iterable[lineage.Chain], most: int) -> tuple[Optional[float], dict[str, float]]:
    """Bytes of archives made for each byte that their snapshots held: of all, and by volume. None without any.

    What a snapshot holds is taken from the chains where it is in them, or else from what was read of it.
    """
    full = {one.snapshot_id: one.full * lineage.BLOCK for chain in chains for one in chain.snapshots if one.full}
    kept = [each for _number, each in zip(range(most), listing.kept(store, prefix, listing.Filter(state="complete")))]
    sums: dict[str, list[float]] = {}
    for each in listing.with_details(store, kept, 16):
        entries = each.details.get("archives", [])
        stored = sum(each["size"] for entry in entries for each in entry["objects"])
        held = full.get(each.snapshot_id) or sum(entry["raw_size"] for entry in entries)
        if held:
            volume = sums.setdefault(each.volume_id, [0.0, 0.0])
            volume[0] += stored
            volume[1] += held
    by_volume = {volume: stored / held for volume, (stored, held) in sums.items()}
    whole = sum(held for _stored, held in sums.values())
    return sum(stored for stored, _held in sums.values()) / whole if whole else None, by_volume


def pricing(job: Job) -> Any:
    """A client for the price API, which lives in few regions; it is not waited for long."""
    return job.connect("pricing", {"read_timeout": 30}, region="us-east-1")


def prices_for(
    regions: Iterable[str],
    changes: Mapping[str, Any],
    classes: Sequence[str],
    client: Optional[Callable[[], Any]],
    today: date,
    stop: Stop,
) -> tuple[dict[str, prices.Prices], list[str]]:
    """By region, and warnings. client: makes one for the price API; None does not ask it."""
    found, warnings = {}, []
    for region in sorted(set(regions)):
        known = prices.table(region)
        if client is not None:
            try:
                known = prices.refreshed(known, client(), today, stop)
            except NoPrices as error:
                warnings.append(f"{error.message}, so the collection's own prices are used")
            except ColdstoreError as error:
                why = " ".join(error.message.split())[:200]
                warnings.append(f"the AWS price API does not answer, so the collection's own prices are used: {why}")
                client = None
        warnings += [f"{region}: {each}" for each in known.distrusted]
        found[region] = prices.overridden(known, changes, classes)
    stale = [each for each in found.values() if each.age_days(today) > prices.STALE_DAYS]
    if stale:
        warnings.append(
            f"prices date from {stale[0].as_of} and are {stale[0].age_days(today)} days old: refresh them, or give your own"
        )
    return found, warnings


def note(priced: Mapping[str, prices.Prices]) -> str:
    """Where prices are from, of when, and which are not the region's own."""
    sources = sorted({f"{each.source} as of {each.as_of}" for each in priced.values()})
    assumed = sorted(region for region, each in priced.items() if each.assumed)
    return "; ".join(sources) + (f"; {', '.join(assumed)}: some of them are those of us-east-1" if assumed else "")


def analyse(
    report: reports.Report,
    located: locate.Located,
    chains: list[lineage.Chain],
    priced: Mapping[str, prices.Prices],
    given: moves.Assumptions,
    exact: Mapping[tuple[str, str], int],
    not_asked: Sequence[NotAsked],
    today: date,
    tags: Sequence[str] = (),
) -> Analysis:
    """Advice for every chain. tags: of snapshots, to show.

    Raises Refused if the bill and the prices are in different currencies.
    """
    for each in priced.values():
        if each.currency != report.currency:
            raise Refused(
                f"the bill is in {report.currency}, the prices are in {each.currency}",
                f"Give prices in {report.currency}, with currency: {report.currency} among them.",
            )
    rates = _rates(report)
    plans = advice.advise(chains, priced, rates, given, exact)
    document = {
        "report": {
            "kinds": report.kinds, "currency": report.currency, "period": report.month, "complete": report.complete,
            "granularity": report.granularity, "first_day": report.first_day.isoformat(), "last_day": report.last_day.isoformat(),
            "may_change_until": days.may_change_until(report.month, today),
            "exact": report.exact, "files": located.origin,
            "passed_over": [{"file": file, "why": why} for file, why in [*located.passed_over, *report.left_out]],
        },
        "made": today.isoformat(),
        "prices": {region: each._asdict() for region, each in priced.items()},
        "prices_note": note(priced),
        "rates": rates,
        "not_asked": sums.not_asked_rows(not_asked, plans),
        "assumptions": dataclasses.asdict(given),
        "assumed": assumed.sentences(given, priced, note(priced), report.currency),
        "not_priced": assumed.not_priced(given),
        "totals": sums.totals(report, plans),
        "savings": sums.savings(plans),
        "fast": sums.fast_rows(plans),
        "tags": list(tags),
    }  # fmt: skip
    volume_of = {one.snapshot_id: chain.volume_id for chain in chains for one in chain.snapshots if chain.volume_id}
    return Analysis(report, plans, document, reports.daily(report, volume_of))


def _rates(report: reports.Report) -> dict[str, float]:
    """What a GB-month really cost in each region, discounts and all, if the bill says so.

    A discount that is larger than what it is taken off is of the whole month, of which the bill has a part: it is spread
    over what is stored now.
    """
    import polars as pl

    storage = report.snapshots.filter(pl.col("kind") == rows.STORED)
    sums = storage.group_by("region").agg(pl.col("quantity", "cost", "net_cost", "gib").sum())
    found = {}
    for region, quantity, cost, net, gib in sums.iter_rows():
        if quantity <= 0 or cost <= 0:
            continue
        rate = net / quantity if net > 0 else cost / quantity + (net - cost) / gib if gib else 0.0
        if rate > 0:
            found[region] = rate
    return found


def write(analysis: Analysis, outputs: Mapping[str, Optional[str]], template: str) -> list[str]:
    """Write what is asked for, each file at once or not at all; which were changed. outputs: json, csv, text, html -> path.

    template: the page, with @DATA@ where its data goes.
    """
    if outputs.get("html") and template.count("@DATA@") != 1:
        raise Refused("the page needs the placeholder @DATA@ exactly once", "Use the role's page, or add it.")
    contents: dict[str, Callable[[], Iterable[str]]] = {
        "json": lambda: output.as_json(analysis.document, analysis.plans),
        "csv": lambda: output.as_csv(analysis.document, analysis.plans),
        "text": lambda: (f"{line}\n" for line in terminal.lines(analysis.document, analysis.plans)),
        "html": lambda: page.as_page(template, analysis.document, analysis.plans, analysis.daily),
    }
    return [path for kind, path in outputs.items() if path and _replace(path, contents[kind]())]


def _replace(path: str, text: Iterable[str]) -> bool:
    """Put a file in place of another; False if they are equal."""
    handle, name = tempfile.mkstemp(prefix=".", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.writelines(text)
        if os.path.exists(path) and filecmp.cmp(name, path, shallow=False):
            os.unlink(name)
            return False
        os.chmod(name, 0o644)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return True
