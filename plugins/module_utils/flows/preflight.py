# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run could work here: the arguments, this host, the key, and the bucket, before anything is made."""

from __future__ import annotations

from typing import Any

from ..cloud import volume_types
from ..common.errors import Refused
from ..engine import codecs
from ..engine.bucket import probe, sleeping
from ..engine.bucket.layouts import ours
from ..worker import ready, spool
from .job import Job, require_root

STORAGE_CLASSES, COMPRESSIONS, VOLUME_TYPES = list(sleeping.CLASSES), list(codecs.LEVELS), list(volume_types.VOLUME_TYPES)


def preflight(job: Job) -> dict[str, Any]:
    """Raises the first problem; cheap checks come first."""
    asked = job.asked
    _check_arguments(job)
    instance_id = _check_host(job)
    if asked["volumes"] and asked["volume_kms_key_id"]:
        volume_types.check_key(job.connect("kms"), asked["volume_kms_key_id"], job.stop)
    return {"changed": False, "instance_id": instance_id, "bucket_owner": _check_bucket(job)}


def _check_arguments(job: Job) -> None:
    asked = job.asked
    codecs.codec(asked["compression"], asked["compression_level"])
    ours.claim_key(asked["prefix"], "")  # refuses an invalid prefix
    for name in ("threads", "streams"):
        if asked[name] is not None and asked[name] < 1:
            raise Refused(f"{name} has to be at least 1, not {asked[name]}")
    if asked["sse_kms_key_id"] and asked["sse"] != "aws:kms":
        raise Refused("sse_kms_key_id is for sse=aws:kms", "Set that too, or leave out the key.")
    if asked["volumes"]:
        volume_types.check_volume_type(asked["volume_type"], asked["iops"], asked["throughput"], asked["initialization_rate"])


def _check_host(job: Job) -> str:
    """The instance's id; '' if no volumes are needed, and then this need not be an instance."""
    spool.check(job.asked["spool"])
    if not job.asked["volumes"]:
        return ""
    require_root()
    ready.check_for_volumes(job.asked["mount_point"])
    return job.instance().instance_id


def _check_bucket(job: Job) -> str:
    """Whose it is."""
    asked, store = job.asked, job.store
    later = asked["validate_first"] and sleeping.sleeps(asked["storage_class"])
    if later:
        sleeping.check_rule(store, asked["prefix"], asked["storage_class"])
    warning = sleeping.takes_along(store, asked["prefix"])
    if warning:
        job.warn(warning)
    if not job.check_mode:
        probe.probe(store, asked["prefix"], "STANDARD" if later else asked["storage_class"])
    return store.owner
