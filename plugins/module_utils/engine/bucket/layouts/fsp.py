# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What flexible-snapshot-proxy's movetos3 left in a bucket: an image in segments.

    <snapshot>.<GiB>/<first block>.<urlsafe base64 of the SHA-256 of the raw segment>.<blocks>.zstd

A block is 512 KiB, a segment has up to 64 of them, and blocks without a segment are zeros. There is no manifest, so a missing
segment cannot be told from zeros.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple, Optional

from . import Named

BLOCK = 512 * 1024  # bytes
_MOST = 64  # blocks of a segment
# EBS's largest volume has 65,536 GiB, which are 2^27 blocks.
_KEY = re.compile(r"(snap-[0-9a-f]+)\.([0-9]{1,5})/([0-9]{1,9})\.([A-Za-z0-9_-]{43}=?)\.([0-9]{1,2})\.zstd")


class Segment(NamedTuple):
    """first and blocks count 512 KiB blocks; sha256 is of the raw bytes."""

    key: str
    size: int
    first: int
    blocks: int
    sha256: bytes


def parse(rest: str) -> Optional[Named]:
    """The facts in a key, which comes without its prefix."""
    match = _KEY.fullmatch(rest)
    return Named("fsp", "segment", "", "", match[1], None, "image", "zstd") if match else None


def head(key: str) -> str:
    """The beginning of the keys of all segments of a snapshot."""
    return key.rpartition("/")[0] + "/"


def gib(head_key: str) -> int:
    """The size of the volume, from what `head` returns."""
    return int(head_key.rstrip("/").rpartition(".")[2])


def segment(key: str, size: int) -> Optional[Segment]:
    """The segment with this key; None if it is not a segment."""
    match = _KEY.search(key)
    if not match or match.end() != len(key) or not 0 < int(match[5]) <= _MOST or size > (int(match[5]) + 1) * BLOCK:
        return None
    try:
        digest = base64.urlsafe_b64decode(match[4].rstrip("=") + "=")
    except binascii.Error:
        return None
    return Segment(key, size, int(match[3]), int(match[5]), digest)
