# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a bill to advice: bill -> chains -> prices -> advice -> files, tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Optional

from ..common.errors import Refused
from ..costs import moves, output, prices, reports, terminal
from . import accounts, applying, costs
from .job import Job
from .survey import shares, survey

_OUTPUTS = ("json", "csv", "text", "html")
CLASSES = list(prices.CLASSES)


def analyse(job: Job) -> dict[str, Any]:
    """What every snapshot costs and what to do with it; files and tags if requested."""
    asked, today = job.asked, datetime.now(timezone.utc).date()
    outputs = {name: (asked["outputs"] or {}).get(name) for name in _OUTPUTS}
    _check(asked, outputs)
    s3 = partial(job.connect, "s3", {"read_timeout": 60})
    report, located = costs.read(asked["report"], asked["period"], asked["currency"], asked["spool"], s3, today, job.stop)
    billed = sorted(set(report.snapshots["region"]) - {reports.NOWHERE})
    regions = asked["regions"] or billed
    job = replace(job, home=job.home or accounts.some(regions))
    accesses, missing = accounts.accesses(job, asked["assume_roles"], regions, billed) if asked["describe"] else ([], [])
    chains, exact, not_asked = survey(report, accesses, missing, asked["exact_volumes"], today, job.stop)
    if not_asked:
        job.warn(f"questions without an answer: {len(not_asked)} ({not_asked[0].why}); not_asked lists them, with what helps")
    api = partial(costs.pricing, job) if asked["refresh_prices"] else None
    needed = {chain.region for chain in chains}
    priced, warnings = costs.prices_for(needed, asked["prices"], asked["classes"], api, today, job.stop)
    for warning in warnings:
        job.warn(warning)
    measured = costs.compression(job.store, asked["prefix"], chains, 1000) if asked["bucket"] else (None, {})
    given = _assumptions(asked, *measured)
    analysis = costs.analyse(report, located, chains, priced, given, exact, not_asked, today, asked["tags"])
    shared, unanswered = shares(accesses, analysis.plans, job.stop)
    if shared or unanswered:  # what is shared stays, and that may change the advice
        not_asked = [*not_asked, *unanswered]
        analysis = costs.analyse(report, located, chains, priced, given, exact, not_asked, today, asked["tags"])
    migrations = applying.migrations(analysis.plans, asked["format"])
    result = {
        **analysis.document,
        "chains": [output.chain_row(plan, asked["tags"]) for plan in analysis.plans[: asked["limit"]]],
        "chain_count": len(analysis.plans),
        "truncated": len(analysis.plans) > asked["limit"],
        "migrations": migrations,
        "text": list(terminal.lines(analysis.document, analysis.plans, asked["limit"])),
        "written": [] if job.check_mode else costs.write(analysis, outputs, asked["page"]),
    }
    if asked["apply"]:
        done = applying.apply(accesses, migrations, asked["tag"], job.check_mode, job.stop)
        result["queued"] = applying.migrations(analysis.plans, asked["format"], done.tags)
        result["tagged"], result["untagged"] = list(done.tags), done.failed
        result["diff"] = {"before": {each: {} for each in done.tags}, "after": done.tags}
        result["text"] += ["", *applying.text(result["queued"], done.failed, report.currency, job.check_mode)]
        if done.failed:
            job.warn(f"{len(done.failed)} snapshots could not be tagged; untagged says why")
    result["changed"] = bool(result["written"] or result.get("tagged"))
    return result


def _assumptions(asked: Mapping[str, Any], ratio: Optional[float], by_volume: Mapping[str, float]) -> moves.Assumptions:
    """The arguments, and measurements where possible."""
    return moves.Assumptions(
        classes=asked["classes"],
        compression=ratio or asked["compression"],
        measured=ratio is not None,
        by_volume=by_volume,
        months=asked["months"],
        retrievals=asked["retrievals"],
        keep_newest=asked["keep_newest"],
        cold_days=asked["cold_days"],
        minimum=asked["minimum_saving"],
        throughput=asked["throughput"],
        worker=asked["worker_price"],
        restore_within=moves.hours_of(asked["restore_within"]),
        grace_days=asked["grace_days"],
        kms=asked["kms"],
    )


def _check(asked: Mapping[str, Any], outputs: Mapping[str, Optional[str]]) -> None:
    """Refuse what makes no sense before anything is read."""
    for name, least in (("compression", 0), ("months", 0), ("throughput", 0)):
        if not asked[name] > least:
            raise Refused(f"{name} is {asked[name]}, but has to be above {least}", "Correct it.")
    for name in ("retrievals", "keep_newest", "cold_days", "minimum_saving", "worker_price", "grace_days", "limit"):
        if asked[name] < 0:
            raise Refused(f"{name} is {asked[name]}, but cannot be negative", "Correct it.")
    moves.hours_of(asked["restore_within"])
    if asked["apply"] and not asked["describe"]:
        raise Refused(
            "apply needs describe: without asking EC2 it is not known which snapshots belong together", "Allow both, or neither."
        )
    if asked["exact_volumes"] and not asked["describe"]:
        raise Refused("exact_volumes needs describe", "Allow both, or neither.")
    if outputs["html"] and not asked["page"]:
        raise Refused("outputs.html needs a page to fill in", "Use the role coldstore.ebs.cost_report, or give its page.")
