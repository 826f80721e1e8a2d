# SPDX-License-Identifier: GPL-3.0-or-later
"""What deleting snapshots frees: bounds against a simulator that owns every block, and examples worked by hand."""

import random
import tempfile
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import Estate, Known
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import advice, lineage, moves, prices, reports, sharing
from bills import Bill
from blocks import World

TODAY = date(2026, 11, 21)
ACCOUNT, REGION = "111111111111", "us-east-1"
GIB = 2048  # blocks
TABLE = {REGION: prices.table(REGION)}


def bill_of(world, directory):
    bill = Bill("2026-10")
    for snapshot_id, blocks in world.billed().items():
        bill.snapshot(snapshot_id, blocks)
    bill.noise()
    return reports.read([str(bill.write(directory, "legacy.csv"))], "", str(directory), TODAY)


def inventory_of(world):
    """As EC2 describes it: each snapshot's full size, and which snapshot each volume was made from."""
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    known = []
    for each in world.shots.values():
        start = (begin + timedelta(minutes=each.number)).isoformat()
        snapshot = Snapshot(each.snapshot_id, each.volume_id, start, 1, each.description)
        known.append(Known(snapshot, "standard", len(each.blocks) * lineage.BLOCK))
    return Estate(ACCOUNT, REGION, known, {volume: world.made_from[volume] for volume in world.volumes}, {})


def stored(world, option, ratio):
    """Dollars a month of what the snapshots become, small objects beside each, had archives this ratio."""
    sizes = [len(world.shots[each].blocks) * lineage.BLOCK for each in option.snapshot_ids]
    if option.target == "EBS archive":
        return sum(sizes) / 2**30 * 0.0125
    price = TABLE[REGION].of(option.target)
    held = sum(max(size * ratio, price["minimum_bytes"]) + price["overhead_class"] for size in sizes) / 2**30
    return held * price["storage"] + len(sizes) * (100_000 + price["overhead_standard"]) / 2**30 * 0.023


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("later", [0, 12])
def test_no_bound_is_ever_wrong(seed, later, tmp_path):
    """Random histories of volumes, clones, copies and rotations; the bill is of the past where later is above 0."""
    world = World(random.Random(seed))
    for _step in range(45):
        world.step()
    report = bill_of(world, tmp_path)
    for _step in range(later):
        world.step()
    chains = lineage.chains(report, [inventory_of(world)], {}, TODAY)
    plans = advice.advise(chains, TABLE, {}, moves.Assumptions(keep_newest=seed % 3, cold_days=10_000, minimum=0), {})
    all_together = [option for plan in plans for option in plan.options if option.which.startswith("all") and option.form == "full"]
    for chain in chains:
        owned = world.billed()
        for one in chain.stored:
            assert one.now[0] <= owned[one.snapshot_id] <= one.now[1], one
            truth = world.stored() - world.stored({one.snapshot_id})
            assert one.frees[0] <= truth <= one.frees[1], one
    deletions = 0
    truly = random.Random(seed).uniform(0.01, 1)  # bytes of an archive for each that a snapshot holds
    for plan in plans:
        deleted = max((set(option.snapshot_ids) for option in plan.options), key=len)  # thinning archives few, and deletes all
        for option in plan.options:
            truth = lineage.gib(world.stored() - world.stored(deleted if option.snapshot_ids else ()))
            assert option.freed[0] <= truth <= option.freed[1], option
            assert option.saving[0] <= option.likely <= option.possible <= option.saving[1]
            if option.form == "full":
                saved = truth * 0.05 - stored(world, option, truly)
                assert option.saving[0] <= saved <= option.saving[1], option
        if plan.deletion:
            truth = lineage.gib(world.stored() - world.stored(set(plan.deletion.snapshot_ids)))
            assert plan.deletion.freed[0] <= truth <= plan.deletion.freed[1], plan.deletion
            assert plan.deletion.saving[0] <= truth * 0.05 <= plan.deletion.saving[1]
            deletions += 1
    chosen = {tuple(option.snapshot_ids): option for option in all_together}.values()
    truth = lineage.gib(world.stored() - world.stored({each for option in chosen for each in option.snapshot_ids}))
    assert sum(option.freed[0] for option in chosen) <= truth
    assert deletions or later


def test_the_bounds_say_something():
    """Zero to everything would never be wrong either: without clones and copies each is exact."""
    exact = 0
    for seed in range(10):
        world = World(random.Random(seed))
        for _volume in range(4):
            world.write(world.volume(), 20)
        for _step in range(20):
            volume = world.dice.choice(list(world.volumes))
            world.write(volume)
            world.shot(volume)
        with tempfile.TemporaryDirectory() as directory:
            chains = lineage.chains(bill_of(world, Path(directory)), [inventory_of(world)], {}, TODAY)
        for chain in chains:
            freed = sharing.freed(chain, {each.snapshot_id for each in chain.stored}, {})
            truth = world.stored() - world.stored({each.snapshot_id for each in chain.stored})
            assert freed == (truth, truth, truth)
            exact += 1
    assert exact > 30


def known(number, volume, day, full, description=""):
    start = f"2026-{day}T00:00:00+00:00"
    return Known(Snapshot(f"snap-{number:017x}", volume, start, 200, description), "standard", full * lineage.BLOCK)


def analysed(tmp_path, sizes, snapshots, volumes):
    """sizes: blocks on the bill by number; what EC2 has now."""
    bill = Bill("2026-10")
    for number, blocks in sizes.items():
        bill.snapshot(f"snap-{number:017x}", blocks)
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    chains = lineage.chains(report, [Estate(ACCOUNT, REGION, snapshots, volumes, {})], {}, TODAY)
    plans = advice.advise(chains, TABLE, {}, moves.Assumptions(), {})
    return {plan.chain.snapshots[0].snapshot_id: plan for plan in plans}


def deep(plan):
    return next(option for option in plan.options if option.target == "DEEP_ARCHIVE" and option.form == "full")


def test_blocks_that_other_volumes_hold_move_to_their_bills(tmp_path):
    """The only snapshot of a gone volume, 100 GiB, and 20 volumes made from it whose snapshots hold 96 of these each."""
    sizes = {1: 100 * GIB, **dict.fromkeys(range(2, 22), 4 * GIB)}
    snapshots = [known(1, "vol-gone", "01-01", 100 * GIB)]
    snapshots += [known(number, f"vol-{number}", "05-01", 100 * GIB) for number in range(2, 22)]
    volumes = {f"vol-{number}": "snap-00000000000000001" for number in range(2, 22)}
    plan = analysed(tmp_path, sizes, snapshots, volumes)["snap-00000000000000001"]
    assert deep(plan).freed == (0, 100)
    assert plan.chosen.target == "keep"
    assert "perhaps nothing" in plan.reason
    one = analysed(tmp_path, {1: 100 * GIB, 2: 4 * GIB}, snapshots[:2], {"vol-2": "snap-00000000000000001"})
    assert deep(one["snap-00000000000000001"]).freed == (4, 100)


def test_an_oldest_that_is_billed_below_its_size_has_a_parent_elsewhere(tmp_path):
    """Its volume is gone too, so nobody says which: it may be any that is older, and none that is newer."""
    sizes = {1: 100 * GIB, 2: 10 * GIB, 3: 50 * GIB}
    snapshots = [known(1, "vol-a", "01-01", 100 * GIB), known(2, "vol-b", "02-01", 70 * GIB), known(3, "vol-c", "03-01", 50 * GIB)]
    plans = analysed(tmp_path, sizes, snapshots, {})
    found = {number: deep(plans[f"snap-{number:017x}"]).freed for number in (1, 2, 3)}
    assert found == {1: (40, 100), 2: (10, 10), 3: (50, 50)}


def test_full_copies_get_advice(tmp_path):
    """Three copies of 600 GiB, each billed for all it holds: they share nothing, and $30 a month each can go."""
    sizes = dict.fromkeys((1, 2, 3), 600 * GIB)
    snapshots = [
        known(number, "vol-ffffffff", f"0{number}-01", 600 * GIB, f"[Copied snap-{number} from eu-west-1]") for number in sizes
    ]
    for plan in analysed(tmp_path, sizes, snapshots, {}).values():
        assert plan.chosen.target == "DEEP_ARCHIVE"
        assert plan.chosen.likely == pytest.approx(30 - 300 * 0.00099, abs=0.001)
        assert plan.chosen.saving == pytest.approx((30 - 600 * 0.00099, 30), abs=0.001)


def test_a_rotation_leaves_the_oldest_with_all_it_holds(tmp_path):
    """Daily snapshots kept 30 days, October's bill, and November's end: one that was billed is left, and 29 came."""
    sizes = {1: 100 * GIB, **dict.fromkeys(range(2, 31), GIB)}
    snapshots = [known(30, "vol-1", "10-31", 100 * GIB)]
    snapshots += [known(number, "vol-1", f"11-{number - 30:02}", 100 * GIB) for number in range(31, 51)]
    chain = analysed(tmp_path, sizes, snapshots, {"vol-1": ""})["snap-0000000000000001e"].chain
    assert chain.stored[0].now == (100 * GIB, 100 * GIB)
    assert chain.stored[1].now == (0, 100 * GIB)


def test_what_was_deleted_in_between_may_show_no_sign(tmp_path):
    """vol-b was made from a snapshot of vol-a that is gone. What it left to vol-b's snapshot vol-a's newest may hold, too."""
    sizes = {1: 10 * GIB, 2: 30 * GIB, 3: 0}
    snapshots = [known(1, "vol-a", "01-01", 10 * GIB), known(2, "vol-b", "02-01", 40 * GIB), known(3, "vol-a", "03-01", 40 * GIB)]
    option = deep(analysed(tmp_path, sizes, snapshots, {"vol-a": ""})["snap-00000000000000002"])
    assert option.freed[0] == 0
    assert option.likely == pytest.approx(30 * 0.05 - 20 * 0.00099, abs=0.001)
