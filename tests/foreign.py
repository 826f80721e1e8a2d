# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives as other tools leave them in a bucket."""

import base64
import hashlib
import io

import zstandard
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives.stream import StreamArchive
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.compare import compare
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.differences import Differences
from fakes import SNAPSHOT


def put(store, key, body, **options):
    store.client.put_object(Bucket=store.bucket, Key=key, Body=body, **options)


def put_stream(store, form, codec, body, suffix=""):
    """snap-to-s3's archive of the disk: its key and its metadata."""
    key = f"{SNAPSHOT.volume_id}/{SNAPSHOT.start_time} {SNAPSHOT.snapshot_id}.{form}.{codec}{suffix}"
    put(store, key, body)
    return layouts.find(store, "", SNAPSHOT).archives[0]


def put_segments(store, blocks):
    """flexible-snapshot-proxy's segments of a volume of 1 GiB: first block -> bytes."""
    for first, data in blocks.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
        put(store, f"{SNAPSHOT.snapshot_id}.1/{first}.{digest}.{len(data) >> 19}.zstd", zstandard.compress(data))
    return layouts.find(store, "", SNAPSHOT).archives[0]


def compared(stream, source, kind="tar", stop=None):
    """What a decoded stream, bytes or a file, comes to against a source, or by itself: the differences, and the totals."""
    found = Differences()
    archive = StreamArchive("key", kind, lambda: io.BytesIO(stream) if isinstance(stream, bytes) else stream)
    return found, compare(archive, source, [], found, 2, stop or Stop())
