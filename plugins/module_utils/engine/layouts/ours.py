# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own layout: every key is a pure function of facts that never change.

<prefix><volume-id>/<UTC start> <snapshot-id>[.<partition>].<tar|img>.<lz4|zst>   an archive
....index.zst                                                                  its index
....journal/<part, 5 digits>                                                   while its upload is unfinished
<prefix><volume-id>/<UTC start> <snapshot-id>.manifest.json
<prefix><volume-id>/<UTC start> <snapshot-id>.receipt.<UTC time>.<level>.json
<prefix>claims/<snapshot-id>.json
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Optional

from ...common.errors import Refused
from ...common.snapshot import Snapshot
from ..codecs import SUFFIXES
from . import Found, FoundArchive

_FORMATS = {"tar": "tar", "image": "img"}
_ARCHIVE = re.compile(r"(?:\.(\d+))?\.(tar|img)\.(lz4|zst)")


def base(prefix: str, snapshot: Snapshot) -> str:
    """What all keys of a snapshot begin with."""
    return f"{_checked(prefix)}{snapshot.volume_id}/{snapshot.start_time} {snapshot.snapshot_id}"


def archive_key(prefix: str, snapshot: Snapshot, partition: Optional[int], form: str, codec: str) -> str:
    part = "" if partition is None else f".{partition}"
    return f"{base(prefix, snapshot)}{part}.{_FORMATS[form]}.{SUFFIXES[codec]}"


def manifest_key(prefix: str, snapshot: Snapshot) -> str:
    return base(prefix, snapshot) + ".manifest.json"


def receipt_key(prefix: str, snapshot: Snapshot, when: datetime, level: str) -> str:
    return f"{base(prefix, snapshot)}.receipt.{when:%Y%m%dT%H%M%S.%fZ}.{level}.json"


def claim_key(prefix: str, snapshot_id: str) -> str:
    return f"{_checked(prefix)}claims/{snapshot_id}.json"


def find(keys: Iterable[tuple[str, int]], prefix: str, snapshot: Snapshot) -> Found:
    """What of these (key, size) pairs is ours and this snapshot's."""
    start = base(prefix, snapshot)
    codecs = {suffix: name for name, suffix in SUFFIXES.items()}
    formats = {suffix: name for name, suffix in _FORMATS.items()}
    archives, receipts, manifest = [], [], ""
    for key, size in keys:
        if not key.startswith(start):
            continue
        rest = key[len(start) :]
        match = _ARCHIVE.fullmatch(rest)
        if match:
            number = None if match[1] is None else int(match[1])
            archives.append(FoundArchive(key, number, formats[match[2]], codecs[match[3]], False, size))
        elif rest == ".manifest.json":
            manifest = key
        elif rest.startswith(".receipt."):
            receipts.append(key)
    return Found("ours", manifest, archives, sorted(receipts))


def _checked(prefix: str) -> str:
    """Raises Refused for a prefix that would run into what follows it."""
    if prefix and not prefix.endswith("/"):
        raise Refused(f"the prefix {prefix!r} does not end in a slash")
    return prefix
