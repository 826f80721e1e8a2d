# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive object says about its origin: S3 metadata and tags, as far as S3 can hold them.

Metadata is ASCII and has 2 KB, names and values together, so what is not ASCII is encoded (RFC 2047) and what is too long is cut.
S3 allows 10 tags of fewer characters than EC2's 50: the object gets what fits, the manifest gets everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.charset import Charset
from urllib.parse import urlencode

from ...common import advised
from ...common import tags as aws
from .. import origin as origins
from ..bucket import sleeping
from ..origin import Origin

_MOST_TAGS = 10
_LONGEST = 1600  # bytes of the description: the other fields take 200 of 2,000


def metadata(origin: Origin, uncompressed: int) -> dict[str, str]:
    """What its origin is labelled with, and uncompressed-size in bytes (for tar the filesystem's used space)."""
    found = {field: _ascii(value) for field, value in origins.labels(origin).items()}
    return {**found, "uncompressed-size": str(uncompressed)}


def tagging(tags: Mapping[str, str], queue_tag: str, own: Mapping[str, str]) -> str:
    """The Tagging header: our own, and as many of the snapshot's as S3 can hold, in order of their keys, without the queue's, and
    without the one that would put the archive to sleep."""
    left_out = {queue_tag, f"{queue_tag}-id", *advised.companions(queue_tag), sleeping.TAG, *own}
    kept = [(key, value) for key, value in sorted(tags.items()) if key not in left_out and aws.fits_s3(key, value)]
    return urlencode([*own.items(), *kept][:_MOST_TAGS])


def _ascii(text: str) -> str:
    """One line of ASCII, from which RFC 2047 gives back what is not; '=?' is encoded too, since it would be decoded."""
    clean = aws.one_line(text)
    while True:
        found = clean if clean.isascii() and "=?" not in clean else Charset("utf-8").header_encode(clean)
        if len(found) <= _LONGEST:
            return found
        clean = clean[: len(clean) * _LONGEST // len(found)]
