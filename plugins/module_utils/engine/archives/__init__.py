# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a bucket, read by chunk like a disk: an archive is a source.

    with closing(opened(store, found, threads, spool)) as archive:
        archive.load()
        for chunk in archive.plan():
            data = archive.read(chunk)

found      an archive as a manifest or a listing describes it (bucket/layouts)
indexed    ours: an index says where each frame lies and what its digest is; read in any order, several frames a request
stream     snap-to-s3's: no index, so it is decoded from its beginning, in order; its codec's checksums are all there is
segments   flexible-snapshot-proxy's: an object a segment, whose key has its digest; what has no segment is zeros

A byte of an archive is handed on only once its frame or segment was compared with its digest. Not promised: that what has no
digest, as in a stream, is what was written, nor that a segment that is missing is noticed.
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

    unit: what a chunk is stored as, and what it is expected to be. exact: it holds, byte for byte, what its source planned;
    others hold the same files, or the same disk. grain: a difference in an image is told by blocks of so many bytes.
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
        """Get what has to be known before anything of it is read. Raises Corrupt unless that is what was written."""

    def members(self, holding: bytes = b"") -> Iterator[Member]:
        """Those that are known without reading it; at least all whose name, spelled as in an index, holds these bytes."""

    def faults(self) -> Iterator[Fault]:
        """What is wrong beside its chunks."""


# By layout: (store, archive, threads, spool, thorough) -> Archive. A new kind of archive is a new file and a line here.
_KINDS: dict[str, Callable[[Store, FoundArchive, int, Optional[str], bool], Archive]] = {
    "ours": indexed.opened,
    "snap_to_s3": stream.opened,
    "fsp": segments.opened,
}


def opened(store: Store, found: FoundArchive, threads: int, spool: Optional[str] = None, thorough: bool = False) -> Archive:
    """The archive as a source; the caller closes it. thorough: also check what the digests prove already, each frame's own
    checksum. Raises Refused for one that is encrypted.
    """
    if found.encrypted:
        advice = "Fetch it, decrypt it with gpg, and unpack it with its codec and tar."
        raise Refused("the archive is encrypted with GPG", advice, key=found.key)
    return _KINDS[found.layout](store, found, threads, spool, thorough)
