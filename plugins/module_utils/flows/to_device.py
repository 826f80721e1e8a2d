# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring one image to a device or file."""

from __future__ import annotations

from contextlib import closing

from ..common.errors import Refused
from ..engine import copy as engine
from ..engine.archives import Archive, opened
from ..engine.bucket.layouts import FoundArchive
from ..engine.bucket.objects import Store
from ..engine.targets.device import DeviceTarget
from ..worker import attached
from .restored import Restored


def to_device(store: Store, found: FoundArchive, path: str, settings: engine.Settings, blank: bool, overwrite: bool) -> Restored:
    """blank: the device holds only zeros, so zeros need not be written. overwrite: its contents may go."""
    with closing(opened(store, found, settings.threads, settings.spool)) as archive:
        archive.load()
        if found.layout == "fsp" and not blank and attached.is_block_device(path):
            raise Refused("segments leave out zeros, and the device may hold other data", "Set blank if it does not.", path=path)
        with closing(DeviceTarget(path, _size(archive), blank=blank, overwrite=overwrite)) as target:
            engine.copy(archive, [target], settings.threads, store.stop)
            target.finish()
        return Restored(bytes_fetched=archive.fetched, bytes_written=target.written)


def size_of(found: FoundArchive, store: Store) -> int:
    """Bytes of an image; of another tool's they are taken from the volume's size in the metadata."""
    with closing(opened(store, found, 1)) as archive:
        return _size(archive)


def _size(archive: Archive) -> int:
    if not archive.size:
        raise Refused(
            "the metadata of the object does not say how large the volume was", "Unpack it with its codec and dd.", key=archive.key
        )
    return archive.size
