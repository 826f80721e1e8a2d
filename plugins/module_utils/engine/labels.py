# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive object says about its snapshot: S3 metadata and tags, as far as S3 can hold them.

Metadata is ASCII, so what is not is encoded (RFC 2047). S3 allows 10 tags of fewer characters than EC2's 50: the
object gets what fits, the manifest gets everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.header import Header
from urllib.parse import urlencode

from ..common.snapshot import Snapshot

_MOST_TAGS = 10
_ALLOWED = re.compile(r"[\w \t+\-=.:/@]*\Z")


def metadata(snapshot: Snapshot, uncompressed: int) -> dict[str, str]:
    """snap-to-s3's six fields; uncompressed in bytes (for tar the filesystem's used space)."""
    return {
        "snapshot-starttime": snapshot.start_time,
        "snapshot-snapshotid": snapshot.snapshot_id,
        "snapshot-volumesize": str(snapshot.size_gib),
        "snapshot-volumeid": snapshot.volume_id,
        "snapshot-description": _ascii(snapshot.description),
        "uncompressed-size": str(uncompressed),
    }


def tagging(tags: Mapping[str, str], queue_tag: str, own: Mapping[str, str]) -> str:
    """The Tagging header: our own, and as many of the snapshot's as S3 can hold, in order of their keys, without the queue's."""
    left_out = {queue_tag, f"{queue_tag}-id", *own}
    kept = [
        (key, value)
        for key, value in sorted(tags.items())
        if key not in left_out and not key.startswith("aws:") and _fits(key, 128) and _fits(value, 256)
    ]
    return urlencode([*own.items(), *kept][:_MOST_TAGS])


def _fits(text: str, limit: int) -> bool:
    return len(text) <= limit and _ALLOWED.match(text) is not None


def _ascii(text: str) -> str:
    clean = re.sub(r"[\x00-\x1f\x7f]", " ", text)
    return clean if clean.isascii() else Header(clean, "utf-8", maxlinelen=10_000).encode()
