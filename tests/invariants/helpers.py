# SPDX-License-Identifier: GPL-3.0-or-later
"""A small archive in a bucket, by the engine alone."""

import random

from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import document
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from fakes import SNAPSHOT, BytesSource

DATA = random.Random(7).randbytes(3_000_000) + bytes(2_000_000)


def settings(**options):
    return archive.Settings(codecs.codec(options.pop("codec", "zstd")), chunk=1 << 20, **options)


def archived(store, data=DATA, lane=FREE, snapshot=SNAPSHOT, tree=None, **options):
    """An image of these bytes, or a tar of a tree."""
    source = TarSource(str(tree)) if tree else BytesSource(data)
    piece = archive.Piece(None, source, len(data))
    return archive.archive_snapshot(store, snapshot, {"size": len(data)}, source.kind, [piece], settings(**options), lane)


def validated(store, level, data=DATA):
    found = layouts.find(store, "", SNAPSHOT)
    against = validate.against(validate.Settings(), "bytes", {None: lambda chunk: BytesSource(data, chunk)})
    return validate.validate_snapshot(store, SNAPSHOT, found, level, against)


def claim_at(store, key):
    """What a claim says."""
    return document.decode(store.get(key).body, "claim", 1)
