# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rate of change above which archives cost less than snapshots, as a table."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from typing import Any

from ..common.errors import Refused
from ..costs import break_even as table
from ..costs import prices
from . import costs
from .job import Job


def break_even(job: Job) -> dict[str, Any]:
    """The break-even for every storage class, compression and number of snapshots."""
    asked = job.asked
    if any(ratio <= 0 for ratio in asked["compression"]):
        raise Refused("compression has to be above 0", "Correct it.")
    if any(count < 0 or count == 1 for count in asked["snapshots"]):
        raise Refused("snapshots has to be 2 or more, or 0 for very many", "Correct it.")
    region, today = asked["price_region"], datetime.now(timezone.utc).date()
    api = partial(costs.pricing, job) if asked["refresh_prices"] else None
    priced, warnings = costs.prices_for([region], asked["prices"], prices.CLASSES, api, today, job.stop)
    for warning in warnings:
        job.warn(warning)
    rows = table.as_rows(priced[region], asked["compression"], asked["snapshots"])
    return {"changed": False, "rows": rows, "text": table.as_text(rows), "prices_note": costs.note(priced)}
