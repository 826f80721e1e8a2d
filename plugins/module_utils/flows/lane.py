# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim that a flow works under: kept alive while it works, given back if it is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..cloud import queue
from ..common.errors import ColdstoreError, Lost, Stopped
from ..common.lane import FREE, Lane
from ..engine.documents import claims
from ..engine.pipeline import ticker
from .job import Job


@contextmanager
def claimed(job: Job) -> Iterator[Lane]:
    """Keep the claim of the arguments alive while the body works. Yields the lane, FREE without a claim.

    No further task runs after a stop, so the claim is given back here, and the tag says so. That comes after the body has cleaned
    up, because what was made under a claim belongs to whoever has the claim next. Raises Lost if it is no longer ours; then
    everything is left as it is.
    """
    if job.claim is None:
        yield FREE
        return
    keeper = claims.Keeper(job.claim)
    with ticker(keeper.tick, 1.0, job.stop):
        try:
            yield keeper.lane
        except Stopped as error:
            try:
                standing = keeper.release()
                snapshot = job.claim.origin
                error.at(tags=queue.back_in_line(job.ec2.client, snapshot, job.asked["tag"], error.message, standing))
            except Lost:
                raise
            except ColdstoreError as failed:
                error.at(claim=f"not given back: {failed.message}")
            raise
