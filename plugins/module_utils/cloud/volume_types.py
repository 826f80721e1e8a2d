# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the options and the key of temporary volumes, which EC2 would refuse for every snapshot.

Source: CreateVolume in the EC2 API reference. The minimum values are fixed. The maximum ones were raised more than once, so they
are left to EC2.
"""

from __future__ import annotations

from typing import Any, Optional

from ..common.errors import Permanent, Refused
from ..common.retry import retry
from ..common.stop import Stop

VOLUME_TYPES = ("gp2", "gp3", "io1", "io2", "sc1", "st1", "standard")
_LEAST_IOPS = {"gp3": 3000, "io1": 100, "io2": 100}
_NEEDS_IOPS = ("io1", "io2")
_LEAST_THROUGHPUT = {"gp3": 125}  # MiB/s
_INITIALIZATION_RATES = range(100, 301)  # MiB/s


def check_volume_type(volume_type: str, iops: Optional[int], throughput: Optional[int], initialization_rate: Optional[int]) -> None:
    """Raises Refused for an option that the type does not have, or a value below its minimum."""
    if volume_type in _NEEDS_IOPS and iops is None:
        raise Refused(f"volume type {volume_type} needs iops")
    for name, value, least in (("iops", iops, _LEAST_IOPS), ("throughput", throughput, _LEAST_THROUGHPUT)):
        if value is not None and volume_type not in least:
            raise Refused(f"volume type {volume_type} has no {name}", "Leave it out, or name another type.")
        if value is not None and value < least[volume_type]:
            raise Refused(f"{name} of {volume_type} has to be at least {least[volume_type]}, not {value}")
    if initialization_rate is not None and initialization_rate not in _INITIALIZATION_RATES:
        raise Refused(f"initialization_rate has to be 100 to 300 MiB/s, not {initialization_rate}")


def check_key(kms: Any, key_id: str, stop: Stop) -> None:
    """Raises Refused for a key that cannot encrypt volumes: EC2 accepts any key, and drops the volume afterwards."""
    try:
        key = retry(lambda: kms.describe_key(KeyId=key_id), stop)["KeyMetadata"]
    except Permanent as error:
        if error.facts.get("code") != "NotFoundException":
            raise
        raise Refused(f"the KMS key {key_id} for volumes does not exist", "Correct its id or the region.") from error
    if key["KeyState"] != "Enabled":
        raise Refused(f"the KMS key {key_id} for volumes is {key['KeyState']}", "Enable it, or name another.")
