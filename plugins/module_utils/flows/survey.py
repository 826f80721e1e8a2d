# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a bill, combined with what EC2 says about it in every account and region that answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from ..cloud import inventory
from ..cloud.questions import Access, Questions, partition
from ..common.errors import Refused
from ..common.inventory import ACCOUNT, BLOCKS, SNAPSHOTS, Inventory, NotAsked
from ..common.stop import Stop
from ..costs import lineage, reports


def survey(
    report: reports.Report,
    accesses: Sequence[Access],
    missing: Sequence[NotAsked],
    exact_volumes: Sequence[str],
    today: date,
    stop: Stop,
) -> tuple[list[lineage.Chain], dict[tuple[str, str], int], list[NotAsked]]:
    """The bill's chains, joined with what EC2 says, what the snapshots of some volumes were measured to have in common, and all
    that could not be asked. missing: what is known already not to be.
    """
    asked = {(each.account, each.region): each for each in accesses}
    found = [inventory.read(Questions(each), stop) for each in accesses]
    if asked or missing:
        found += _beyond(report, asked, missing)
    chains = lineage.chains(report, found, {}, today)
    exact: dict[tuple[str, str], int] = {}
    unmeasured: dict[str, list[NotAsked]] = {}
    if exact_volumes:
        exact, unmeasured = _measured(asked, found, chains, set(exact_volumes), stop)
        chains = lineage.chains(report, found, exact, today)
        for chain in chains:
            chain.not_asked = [*chain.not_asked, *unmeasured.get(chain.volume_id, [])]
    lists = [missing, *(each.not_asked for each in found), *unmeasured.values()]
    return chains, exact, list(dict.fromkeys(one for each in lists for one in each))


def _beyond(report: reports.Report, asked: Collection[tuple[str, str]], missing: Sequence[NotAsked]) -> Iterator[Inventory]:
    """What is on the bill but was not asked about."""
    accounts, regions = {account for account, _region in asked}, {region for _account, region in asked}
    partitions = {partition(region) for region in regions}
    for account, region in report.snapshots.select("account", "region").unique(maintain_order=True).iter_rows():
        if (account, region) in asked:
            continue
        known = next((each for each in missing if each.what == ACCOUNT and each.account in (account, "")), None)
        if region == reports.NOWHERE or not account:
            lacks = NotAsked(
                account, region, SNAPSHOTS, "", "the bill does not say in which region they are", "A more detailed bill may."
            )
        elif partitions and partition(region) not in partitions:
            why = f"the credentials belong to another AWS partition than {partition(region)}"
            lacks = NotAsked(
                account, region, SNAPSHOTS, "", why, "Analyse it in a separate run, with credentials of that partition."
            )
        elif known is not None and account not in accounts:
            lacks = known
        elif account not in accounts:
            why = "no role was given for this account"
            lacks = NotAsked(account, "", ACCOUNT, "sts:AssumeRole", why, "Name one of its roles (assume_roles).")
        else:
            lacks = NotAsked(account, region, SNAPSHOTS, "", "it is not among the regions that were asked", "Add it (regions).")
        yield Inventory(account, region, [], {}, {}, [lacks])


def _measured(
    asked: Mapping[tuple[str, str], Access],
    found: Iterable[Inventory],
    chains: Iterable[lineage.Chain],
    wanted: set[str],
    stop: Stop,
) -> tuple[dict[tuple[str, str], int], dict[str, list[NotAsked]]]:
    """Count with the EBS direct APIs what the snapshots of these volumes share; and, by volume, what could not be counted."""
    places = list(found)
    unmeasured: dict[str, list[NotAsked]] = {}
    for volume_id in sorted(wanted - {known.snapshot.volume_id for each in places for known in each.snapshots}):
        if all(each.knows(SNAPSHOTS) for each in places):
            raise Refused(f"{volume_id} has no snapshots", "Correct the id, or the regions.")
        why = f"{volume_id} has no snapshots where EC2 answers"
        unmeasured[volume_id] = [NotAsked("", "", BLOCKS, "", why, "Check what else could not be asked, and correct the id.")]
    exact: dict[tuple[str, str], int] = {}
    for chain in chains:
        if chain.volume_id in wanted:
            questions = Questions(asked[chain.account, chain.region])

            def count(ebs: Any, chain: lineage.Chain = chain) -> dict[tuple[str, str], int]:
                return {pair: inventory.blocks(ebs, *pair, stop) for pair in lineage.pairs(chain)}

            exact.update(questions.ask(BLOCKS, "ebs:ListSnapshotBlocks", count, "ebs") or {})
            unmeasured.setdefault(chain.volume_id, []).extend(questions.not_asked)
    return exact, unmeasured
