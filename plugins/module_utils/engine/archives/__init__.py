# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives in a bucket, read by chunk like a disk: an archive is a source.

    with closing(opened(store, found, threads, spool)) as archive:
        archive.load()
        for chunk in archive.plan():
            data = archive.read(chunk)

found      an archive as a manifest or a listing describes it (bucket/layouts)
indexed    ours: an index says where each frame is and what its digest is; read in any order, several frames per request
stream     snap-to-s3's: no index, so it is decoded from the start, in order; it has only the checksums of its codec
segments   flexible-snapshot-proxy's: one object per segment, with the digest in its key; what has no segment is zeros

No byte of an archive is passed on before its frame or segment was compared with its digest. Not promised: that what has no digest,
such as a stream, is what was written, and that a missing segment is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, Optional, Protocol

from ...common.errors import Refused
from ..bucket.layouts import FoundArchive
from ..bucket.objects import Store
from ..sources import Member, Source
from . import indexed, segments, stream

Fault = tuple[str, Any, Any, Optional[int]]  # attribute, what is expected of it, what was found, offset in the archive


class Archive(Source, Protocol):
    """key: of its first object, or what the keys of all begin with. size: uncompressed bytes, 0 where nothing says so.

    unit: what a chunk is stored as, and what it is expected to be. exact: it is byte for byte what its source planned; others hold
    the same files, or the same disk. grain: differences in an image are reported in blocks of so many bytes.
    fetched: stored bytes so far. frame_count and member_count are known once it was planned.
    """

    key: str
    size: int
    unit: tuple[str, str]
    exact: bool
    grain: int
    fetched: int

    @property
    def frame_count(self) -> int: ...

    @property
    def member_count(self) -> int: ...

    def load(self) -> None:
        """Fetch what has to be known before anything is read. Raises Corrupt unless that is what was written."""

    def members(self, holding: bytes = b"") -> Iterator[Member]:
        """The members that are known without reading it; at least all whose name, as written in an index, contains these bytes."""

    def faults(self) -> Iterator[Fault]:
        """Errors outside its chunks."""


# By layout: (store, archive, threads, spool, thorough) -> Archive. A new kind of archive is a new file and a line here.
_KINDS: dict[str, Callable[[Store, FoundArchive, int, Optional[str], bool], Archive]] = {
    "ours": indexed.opened,
    "snap_to_s3": stream.opened,
    "fsp": segments.opened,
}


def opened(store: Store, found: FoundArchive, threads: int, spool: Optional[str] = None, thorough: bool = False) -> Archive:
    """The archive as a source. The caller closes it. thorough: also check each frame's own checksum, which the digests already
    prove. Raises Refused for an encrypted one.
    """
    if found.encrypted:
        advice = "Fetch it, decrypt it with gpg, and unpack it with the codec and tar."
        raise Refused("the archive is encrypted with GPG", advice, key=found.key)
    return _KINDS[found.layout](store, found, threads, spool, thorough)
