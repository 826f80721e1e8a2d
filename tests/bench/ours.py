# SPDX-License-Identifier: GPL-3.0-or-later
"""One archive of a mounted tree, by the engine alone, to an S3 endpoint: python ours.py ROOT ENDPOINT CODEC LEVEL
[DEVICE], where DEVICE is hydrated meanwhile, as the module does it."""

import os
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "tree"))

import boto3
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.pipeline import background, ordered_map
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import hydrate
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.in_use import InUse
from botocore.config import Config


def main(root, endpoint, codec, level, device=None):
    config = Config(
        s3={"payload_signing_enabled": False, "addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=64,
    )
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b", config=config
    )
    snapshot = Snapshot("snap-1", "vol-1", "2017-01-01T00:00:00+00:00", 6)
    settings = archive.Recipe(codecs.codec(codec, int(level)), threads=os.cpu_count() or 2, spool="/var/tmp")
    store = Store(client, "bench")
    with ExitStack() as held:
        ahead = None
        if device:
            used = InUse("ext4", device, root)
            hydration = held.enter_context(closing(hydrate.Hydration(device)))
            held.enter_context(background(lambda stop: hydration.run(used.stretches(), ordered_map, stop), store.stop))
            ahead = partial(hydration.soon, used.place)
        piece = archive.Section(None, TarSource(root, spool="/var/tmp", ahead=ahead), 4 << 30)
        result = archive.archive_snapshot(store, snapshot, {}, "tar", [piece], settings)
    entry = result.manifest["archives"][0]
    print(f"{entry['members']} members, {entry['raw_size'] >> 20} MiB in, {entry['objects'][0]['size'] >> 20} MiB stored")


if __name__ == "__main__":
    main(*sys.argv[1:])
