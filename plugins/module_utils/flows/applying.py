# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From advice to what migrate.yml takes: variables for one run, or tags on the snapshots."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..cloud import queue
from ..cloud.questions import Access
from ..common.advised import Advice
from ..common.errors import ColdstoreError, Stopped
from ..common.stop import Stop
from ..costs import advice, prices

_DOLLARS = ("saving_likely", "saving_least", "saving_most", "once")


def migrations(plans: Iterable[advice.Plan], form: str, only: Optional[Collection[str]] = None) -> list[dict[str, Any]]:
    """What is advised to go to S3, by account, region and storage class: what one run of migrate.yml can take, and its dollars.

    form: the format of the archives. only: of these snapshots. A chain of which some go counts whole.
    """
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for plan in plans:
        chosen = plan.chosen
        ids = [each for each in chosen.snapshot_ids if only is None or each in only]
        if chosen.target not in prices.CLASSES or not ids:
            continue
        place = (plan.chain.account, plan.chain.region, chosen.target)
        account, region, storage_class = place
        empty = {"account": account, "region": region, "storage_class": storage_class, "format": form, "snapshot_ids": []}
        group = groups.setdefault(place, {**empty, **dict.fromkeys(_DOLLARS, 0.0)})
        group["snapshot_ids"] += ids
        for name, amount in zip(_DOLLARS, (chosen.likely, *chosen.saving, chosen.once)):
            group[name] += amount
    return [groups[place] for place in sorted(groups)]


class Applied(NamedTuple):
    """tags: what was set, or would be, by snapshot. failed: why others could not be tagged."""

    tags: dict[str, dict[str, str]]
    failed: dict[str, str]


def apply(accesses: Iterable[Access], wanted: Iterable[Mapping[str, Any]], tag: str, check: bool, stop: Stop) -> Applied:
    """Tag what `migrations` lists and is not in the queue yet. What fails in one account or region ends nothing in others."""
    at = {(each.account, each.region): each for each in accesses}
    applied = Applied({}, {})
    for group in wanted:
        said = Advice(group["storage_class"], group["format"])
        try:
            ec2 = at[group["account"], group["region"]].client("ec2")
            added, failed = queue.enqueue(ec2, group["snapshot_ids"], tag, said, check, stop)
        except Stopped:
            raise
        except ColdstoreError as error:
            added, failed = [], dict.fromkeys(group["snapshot_ids"], str(error))
        applied.tags.update((each, queue.wanted_tags(tag, said)) for each in added)
        applied.failed.update(failed)
    return applied


def text(rows: Sequence[Mapping[str, Any]], failed: Mapping[str, str], currency: str, check: bool) -> Iterator[str]:
    """What was tagged or would be, with dollars, for people. rows: of `migrations`."""
    money = functools.partial(prices.amount, currency)
    yield "Tagged for migrate.yml" if not check else "Would be tagged for migrate.yml"
    for row in rows:
        likely, least, most, once = (money(row[name]) for name in _DOLLARS)
        ids, where = ", ".join(row["snapshot_ids"]), f"{row['region']}, account {row['account']}"
        yield f"  {row['storage_class']}, {row['format']}: {ids} ({where})"
        yield f"    saves about {likely} a month once they are deleted, {least} to {most}; costs {once} once"
    if not rows:
        yield "  nothing: what is worth moving is in the queue already, is being migrated or is done"
    for snapshot_id, why in failed.items():
        yield f"  not tagged: {snapshot_id}: {why}"
