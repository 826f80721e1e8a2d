# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a large legacy CUR, and measures one way of reading it.

python bill.py make FILE GIGABYTES      csv.gz of about that size, 100,000 snapshots billed daily, 129 columns
python bill.py ours|reader|csv FILE     seconds, peak MiB, dollars of snapshots
"""

from __future__ import annotations

import csv
import gzip
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import zlib
from datetime import datetime, timezone
from pathlib import Path

SNAPSHOTS, DAYS = 100_000, 30
_HEAD = [
    "identity/LineItemId", "bill/BillingPeriodStartDate", "lineItem/UsageAccountId", "lineItem/LineItemType", "lineItem/UsageStartDate",
    "lineItem/UsageEndDate", "lineItem/ProductCode", "lineItem/UsageType", "lineItem/ResourceId", "lineItem/UsageAmount",
    "lineItem/CurrencyCode", "lineItem/UnblendedCost", "product/region", "pricing/publicOnDemandCost", "resourceTags/user:Name",
]  # fmt: skip
_FILLERS = 129 - len(_HEAD)
_HEADER = ",".join(_HEAD + [f"product/attribute{at}" for at in range(_FILLERS)]) + "\n"


def _row(dice: random.Random, day: int, usage_type: str, arn: str, amount: float, cost: float) -> str:
    filler = ",".join(
        dice.choice(("", "", "", "OnDemand", "Linux/UNIX", "0.0500000000", f"{dice.getrandbits(32):08x}"))
        for _at in range(_FILLERS)
    )
    return (
        f"{dice.getrandbits(160):040x},2026-09-01T00:00:00Z,111111111111,Usage,2026-09-{day:02}T00:00:00Z,2026-09-{day:02}T23:59:59Z,AmazonEC2,"
        f'{usage_type},{arn},{amount:.10f},USD,{cost:.10f},us-east-1,{cost:.10f},"a name, with a comma",{filler}\n'
    )


def _member(work: tuple[str, int, int, int, int]) -> None:
    """One gzip member: half of it other lines, and its share of the snapshots' lines between."""
    path, number, members, size, days = work
    dice = random.Random(number)
    noise = [
        "".join(_row(dice, 1 + at % DAYS, "BoxUsage:m5.large", f"i-{dice.getrandbits(68):017x}", 1, 0.096) for at in range(2000))
        for _at in range(8)
    ]
    fillers = [_row(dice, 1, "@T", "@R", 0, 0).replace("2026-09-01T", "@DT") for _at in range(500)]
    total = SNAPSHOTS * days
    lines = range(total * number // members, total * (number + 1) // members)
    packer = zlib.compressobj(1, wbits=31)
    with open(path, "wb") as file:
        file.write(packer.compress(_HEADER.encode()))
        at, step, turn = lines.start, max(1, len(lines) // 400), 0
        while at < lines.stop or file.tell() < size:
            some = []
            for line in range(at, min(at + step, lines.stop)):
                snapshot, day = line % SNAPSHOTS, 1 + line // SNAPSHOTS
                blocks = 2048 * (1 + snapshot % 50)
                amount = blocks / 2048 / DAYS
                some.append(
                    fillers[line % 500].replace("@T", "EBS:SnapshotUsage").replace("@DT", f"2026-09-{day:02}T")
                    .replace("@R", f"arn:aws:ec2:us-east-1:111111111111:snapshot/snap-0{snapshot:016x}")
                    .replace("0.0000000000,USD,0.0000000000", f"{amount:.10f},USD,{amount * 0.05:.10f}")
                )  # fmt: skip
            at += step
            file.write(packer.compress(("".join(some) + noise[turn % 8]).encode()))
            turn += 1
        file.write(packer.flush())


def make(path: str, gigabytes: float, workers: int = 2) -> None:
    members = max(1, round(gigabytes * 4))
    size = int(gigabytes * 1e9 / members)
    days = max(1, min(DAYS, round(DAYS * gigabytes / 2)))
    pieces = [(f"{path}.{number}", number, members, size, days) for number in range(members)]
    with multiprocessing.Pool(workers) as pool:
        pool.map(_member, pieces, chunksize=1)
    with open(path + ".tmp", "wb") as whole:
        for piece, *_rest in pieces:
            whole.write(Path(piece).read_bytes())
            os.unlink(piece)
    os.rename(path + ".tmp", path)


def ours(path: str) -> float:
    from ansible_collections.coldstore.ebs.plugins.module_utils.costs import reports

    with tempfile.TemporaryDirectory() as spool:
        report = reports.read([path], "", spool, datetime.now(timezone.utc).date())
    return float(report.snapshots["cost"].sum())


def reader(path: str) -> float:
    """What the library needs for the same file and the simplest such question."""
    import polars as pl

    scan = pl.scan_csv(path, infer_schema=False)
    hits = scan.filter(pl.col("lineItem/UsageType").str.contains("EBS:Snapshot", literal=True))
    wanted = hits.group_by("lineItem/ResourceId").agg(pl.col("lineItem/UnblendedCost").cast(pl.Float64).sum())
    return float(wanted.collect(engine="streaming")["lineItem/UnblendedCost"].sum())


def plain(path: str) -> float:
    """Python's csv module, by position, which is its fastest way."""
    sums: dict[str, float] = {}
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        head = next(rows)
        kind, what, cost = (head.index(name) for name in ("lineItem/UsageType", "lineItem/ResourceId", "lineItem/UnblendedCost"))
        for row in rows:
            if "EBS:Snapshot" in row[kind]:
                sums[row[what]] = sums.get(row[what], 0.0) + float(row[cost])
    return sum(sums.values())


def main() -> None:
    verb, path, *more = sys.argv[1:]
    if verb == "make":
        make(path, float(more[0]))
        return
    begun = time.monotonic()
    dollars = {"ours": ours, "reader": reader, "csv": plain}[verb](path)
    seconds = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.2f} {peak:.0f} {dollars:.2f}")


if __name__ == "__main__":
    main()
