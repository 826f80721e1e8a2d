# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What snap-to-s3 0.6 left in a bucket.

    <VolumeId>/<StartTime> <SnapshotId>[ - <Description>][.<PART>].<tar|img>.<lz4|zstd>[.gpg]

StartTime is in the time zone of the host that ran it, the description is raw and may hold slashes, PART is `1` on Xen
and `p1` on NVMe. So nothing but the snapshot's id is searched for in the listing of the volume's prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...common.snapshot import Snapshot
from . import Found, FoundArchive

_END = re.compile(r"(?:\.p?(\d+))?\.(tar|img)\.(lz4|zstd)(\.gpg)?\Z", re.DOTALL)
_FORMATS = {"tar": "tar", "img": "image"}


def find(keys: Iterable[tuple[str, int]], snapshot: Snapshot) -> Found:
    """What of these (key, size) pairs below the volume's prefix is this snapshot's."""
    wanted = re.compile(r"\A[^ ]+ " + re.escape(snapshot.snapshot_id) + r"(?![0-9a-f])", re.DOTALL)
    archives = []
    for key, size in keys:
        name = key.partition(f"{snapshot.volume_id}/")[2]
        end = _END.search(name)
        if end and wanted.match(name):
            number = None if end[1] is None else int(end[1])
            archives.append(FoundArchive(key, number, _FORMATS[end[2]], end[3], bool(end[4]), size))
    return Found("snap_to_s3", "", archives, [])
