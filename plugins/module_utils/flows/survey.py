# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a bill, combined with what EC2 says about it in every account and region that answers."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from ..cloud import estate
from ..cloud.questions import Access, Questions, partition
from ..common.errors import Refused
from ..common.estate import ACCOUNT, BLOCKS, SHARES, SNAPSHOTS, Estate, NotAsked
from ..common.stop import Stop
from ..costs import advice, lineage, reports

_SHARES = 1000  # snapshots of which it is asked with whom they are shared


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
    found = [estate.read(Questions(each), stop) for each in accesses]
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


def shares(accesses: Iterable[Access], plans: Iterable[advice.Plan], stop: Stop) -> tuple[bool, list[NotAsked]]:
    """Ask whether the snapshots to move are shared with other accounts, the most expensive first, and note it with them.

    It takes a request a snapshot, so that not all are asked. Returns whether any is shared, and what had no answer.
    """
    at = {(each.account, each.region): each for each in accesses}
    wanted: dict[tuple[str, str], dict[str, lineage.Held]] = {}
    left: dict[tuple[str, str], int] = collections.Counter()
    asked = 0
    for plan in plans:
        place, moved = (plan.chain.account, plan.chain.region), plan.moved
        for one in plan.chain.snapshots:
            if one.snapshot_id in moved and place in at:
                if asked < _SHARES:
                    wanted.setdefault(place, {})[one.snapshot_id] = one
                    asked += 1
                else:
                    left[place] += 1
    found, not_asked = False, []
    for place, held in wanted.items():
        questions = Questions(at[place])

        def ask(ec2: Any, snapshot_ids: Iterable[str] = held) -> dict[str, list[str]]:
            return estate.shared(ec2, snapshot_ids, stop)

        answers = questions.ask(SHARES, "ec2:DescribeSnapshotAttribute", ask)
        not_asked += questions.not_asked
        for snapshot_id, others in (answers or {}).items():
            found = True
            one = held[snapshot_id]
            one.keeper = "; ".join(filter(None, [one.keeper, f"shared with {', '.join(others)}"]))
    for (account, region), count in left.items():
        why = f"only the {_SHARES} most expensive snapshots were checked, not {count} more here"
        not_asked.append(NotAsked(account, region, SHARES, "", why, "Check them before you delete what was moved."))
    return found, not_asked


def _beyond(report: reports.Report, asked: Collection[tuple[str, str]], missing: Sequence[NotAsked]) -> Iterator[Estate]:
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
        yield Estate(account, region, [], {}, {}, [lacks])


def _measured(
    asked: Mapping[tuple[str, str], Access],
    found: Iterable[Estate],
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
                return {pair: estate.blocks(ebs, *pair, stop) for pair in lineage.pairs(chain)}

            exact.update(questions.ask(BLOCKS, "ebs:ListSnapshotBlocks", count, "ebs") or {})
            unmeasured.setdefault(chain.volume_id, []).extend(questions.not_asked)
    return exact, unmeasured
