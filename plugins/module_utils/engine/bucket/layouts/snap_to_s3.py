# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What snap-to-s3 0.6 left in a bucket.

    <VolumeId>/<StartTime> <SnapshotId>[ - <Description>][.<PART>].<tar|img>.<lz4|zstd>[.gpg]

StartTime is in the time zone of the host that ran it, the description is raw and may hold slashes, PART is `1` on Xen
and `p1` on NVMe. So nothing of a key but the snapshot's id, the number and the endings is relied upon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

from . import Named

_KEY = re.compile(
    r"(vol-[^/]+)/([^ /]+) (snap-[0-9a-f]+)(?![0-9a-f])(?: - .*?)?(?:\.p?(\d+))?\.(tar|img)\.(lz4|zstd)(\.gpg)?", re.DOTALL
)
_FORMATS = {"tar": "tar", "img": "image"}


def volume_size(metadata: Mapping[str, str]) -> int:
    """The volume's size in bytes, from the metadata of an object; 0 if it is missing or impossible."""
    said = metadata.get("snapshot-volumesize", "")
    return int(said) * 1024**3 if re.fullmatch("[0-9]{1,5}", said) else 0


def parse(rest: str) -> Optional[Named]:
    """The facts in a key, which comes without its prefix."""
    match = _KEY.fullmatch(rest)
    if not match:
        return None
    number = None if match[4] is None else int(match[4])
    return Named("snap_to_s3", "archive", match[1], match[2], match[3], number, _FORMATS[match[5]], match[6], bool(match[7]))
