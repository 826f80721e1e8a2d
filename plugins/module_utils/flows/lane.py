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
    """Hold on to the claim of the arguments while the body works; yields the lane that works under it, FREE without a claim.

    No further task runs after a stop. So the claim is given back here, and the tag says so: after the body has cleared up, for
    what was made under a claim is the next lane's once the claim is. Raises Lost if it is not ours any more; then all is left.
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
                snapshot_id, tag = job.asked["snapshot_id"], job.asked["tag"]
                error.at(tags=queue.back_in_line(job.ec2.client, snapshot_id, tag, error.message, standing))
            except Lost:
                raise
            except ColdstoreError as failed:
                error.at(claim=f"not given back: {failed.message}")
            raise
