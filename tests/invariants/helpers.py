# SPDX-License-Identifier: GPL-3.0-or-later
"""A small archive in a bucket, by the engine alone."""

import random
from contextlib import closing

from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs, copy, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import opened
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import document
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from fakes import SNAPSHOT, BytesSource

DATA = random.Random(7).randbytes(3_000_000) + bytes(2_000_000)


def settings(**options):
    return archive.Recipe(codecs.codec(options.pop("codec", "zstd")), chunk=1 << 20, **options)


def archived(store, data=DATA, lane=FREE, snapshot=SNAPSHOT, tree=None, kind="image", **options):
    """An image of these bytes, or what passes for a tar of them, or a tar of a tree."""
    source = TarSource(str(tree)) if tree else BytesSource(data)
    source.kind = "tar" if tree else kind
    piece = archive.Section(None, source, len(data))
    return archive.archive_snapshot(store, snapshot, {"size": len(data)}, source.kind, [piece], settings(**options), lane)


def validated(store, level, data=DATA):
    found = layouts.find(store, "", SNAPSHOT)
    against = validate.against(validate.Settings(), "bytes", {None: lambda chunk: BytesSource(data, chunk)})
    return validate.validate_snapshot(store, SNAPSHOT, found, level, against)


def read(store, entry, threads=2):
    """An archive of ours as a source; the caller closes it."""
    return opened(store, layouts.described(entry), threads)


def restored(store, entry, target, threads=2, cuts=None):
    """Copy an archive to a target; the bytes fetched."""
    with closing(read(store, entry, threads)) as archive:
        copy.copy(archive, [target], threads, store.stop, cuts)
        return archive.fetched


def over_objects(store, entry, ends):
    """The same archive over several objects, which end behind these frames; its entry in a manifest."""
    (whole,) = entry["objects"]
    with closing(read(store, entry)) as archive:
        frames = list(archive.index.frames())
    body = store.get(whole["key"]).body
    cuts = [0, *(frames[n].offset for n in ends), len(body)]
    made = []
    for number, (begin, end) in enumerate(zip(cuts, cuts[1:])):
        key = f"{whole['key']}.{number}"
        store.client.put_object(Bucket=store.bucket, Key=key, Body=body[begin:end])
        made.append(dict(whole, key=key, size=end - begin, checksum={"CRC64NVME": store.head(key).checksum}))
    store.delete([whole["key"]])
    return dict(entry, objects=made)


def claim_at(store, key):
    """What a claim says."""
    return document.decode(store.get(key).body, "claim", 1)
