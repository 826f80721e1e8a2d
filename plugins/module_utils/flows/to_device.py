# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One image onto a device or into a file."""

from __future__ import annotations

from contextlib import closing

from ..common.errors import Refused
from ..engine import restore as engine
from ..engine.bucket.layouts import fsp, snap_to_s3
from ..engine.bucket.objects import Store
from ..engine.targets.device import DeviceTarget
from ..worker import attached
from .restored import GIB, Restored
from .subject import Archive


def to_device(store: Store, archive: Archive, path: str, settings: engine.Settings, blank: bool, overwrite: bool) -> Restored:
    """blank: the device holds nothing but zeros, which need not be written. overwrite: what it holds may go."""
    target = DeviceTarget(path, size_of(archive, store), blank=blank, overwrite=overwrite)
    with closing(target):
        if archive.entry is not None:
            with closing(engine.open_index(store, archive.entry, settings)) as opened:
                fetched = engine.restore(store, archive.entry, opened, target, settings)
        elif archive.bare is not None and archive.key.endswith("/"):
            if not blank and attached.is_block_device(path):
                raise Refused("segments leave zeros out, and the device may hold something", "Say blank if it does not.", path=path)
            fetched = engine.restore_segments(store, archive.bare, target, settings)
        elif archive.bare is not None:
            fetched = engine.restore_stream(store, archive.bare, target, settings)
        target.finish()
    return Restored(bytes_fetched=fetched, bytes_written=target.written)


def size_of(archive: Archive, store: Store) -> int:
    """Bytes of an image; of another tool's they are taken from the volume's size in the metadata."""
    if archive.entry is not None:
        return int(archive.entry["raw_size"])
    if archive.key.endswith("/"):
        return fsp.gib(archive.key) * GIB
    there = store.head(archive.key)
    size = snap_to_s3.volume_size(there.metadata) if there else 0
    if not size:
        raise Refused(
            "the object's metadata does not say how large the volume was", "Unpack it with its codec and dd.", key=archive.key
        )
    return size
