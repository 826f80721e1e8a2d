#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_archive_s3
short_description: Archive a snapshot, attached as a temporary volume, to S3
version_added: 1.0.0
description:
  - Reads the volume in parallel, compresses it frame by frame and uploads it. What is stored is an ordinary stream that
    C(lz4 -d) or C(zstd -d) and C(tar) decode, with an index beside it.
  - The manifest is written last. Without it there is no archive; with it the module changes nothing.
  - A run that was killed is continued by the next one, and so is one that fails for what may pass, such as an outage of S3,
    expired credentials or a full spool; it waits for outages of up to ten minutes. Any other failure, or a stop, aborts the upload.
    A run that has lost its claim leaves it, with its journal, to the lane that has the claim now.
  - Without O(claim) it refuses to work on a snapshot that a lane has claimed.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_id:
    description: The snapshot.
    type: str
    required: true
  volume_id:
    description: Its temporary volume, attached to this host. Only check mode does without it.
    type: str
  attached_as:
    description: The device name EC2 knows; only needed on Xen instances.
    type: str
    default: ""
  format:
    description:
      - V(tar) makes one archive of files for each partition that can be mounted; what cannot be mounted becomes an
        image, swap is recorded. V(image) makes one image of the whole disk, from a volume that was never mounted.
    type: str
    choices: [tar, image]
    default: tar
  shared_extents:
    description:
      - What to do about a filesystem (btrfs, xfs) whose snapshots or reflinks share what they hold, where O(format=tar) would
        archive that several times. V(image) makes an image of its partition if the files would be larger than what is used by
        half, or would not fit on a disk of that size; the manifest says why. V(tar) archives the files, whatever they come to.
    type: str
    choices: [image, tar]
    default: image
  compression:
    description: The codec.
    type: str
    default: zstd
  compression_level:
    description: The codec's level, 1 to 9 for lz4 and 1 to 19 for zstd.
    type: int
    default: 1
  digest:
    description: The digest of each stored frame, which the index names. On a host in FIPS mode it is always V(sha256).
    type: str
    choices: [blake3, sha256]
    default: blake3
  storage_class:
    description: The storage class of archives. Index, manifest and receipts always stay in STANDARD.
    type: str
    default: STANDARD
  validate_first:
    description:
      - For a O(storage_class) that cannot be read at once, V(GLACIER) or V(DEEP_ARCHIVE). The archive is written to STANDARD, so
        that it can be validated, with the tag C(coldstore.ebs:class); a lifecycle rule of the bucket moves what has it, a day
        later.
      - Without such a rule the module refuses. Other storage classes are not affected.
    type: bool
    default: false
  threads:
    description: How many threads read and compress; by default as many as the host has processors.
    type: int
  streams:
    description: How many parts are sent at a time.
    type: int
    default: 4
  mount_point:
    description: A directory to mount below. Mounts are made in a private namespace and are seen by nobody else.
    type: path
    default: /mnt
  spool:
    description: A directory for what does not belong in memory, the index above all.
    type: path
    default: /var/tmp
  on_read_error:
    description:
      - What to do about what cannot be read. V(fail) ends with an error that names the first of it. V(zero) archives all that
        can be read, with zeros in place of bytes that cannot, and lists what is lost in the manifest and the result.
      - Damage that the kernel noticed and told only its log is known from the error counters of ext4 and btrfs, and
        treated the same. xfs hands every error on; vfat does not count, so damage of its directories can go unnoticed.
      - Extended attributes of which a file has more than Linux can list (64 KiB of names) are listed as lost either way.
    type: str
    choices: [fail, zero]
    default: fail
  hydrate:
    description:
      - Touch each block of the volume that will be read once, up to 256 at a time, ahead of the reader. A volume fresh from a
        snapshot is slow otherwise.
    type: bool
    default: true
  timeout:
    description: How long to wait for the device, in seconds.
    type: int
    default: 300
extends_documentation_fragment:
  - coldstore.ebs.bucket
  - coldstore.ebs.bucket.claim
  - coldstore.ebs.bucket.tag
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Says which objects would be made and of how many bytes at most, and changes nothing.
  diff_mode:
    support: full
    description: Shows the keys of the archives before and after.
"""

EXAMPLES = r"""
- name: Archive the files of a snapshot
  coldstore.ebs.snapshot_archive_s3:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    volume_id: "{{ temporary.volume_id }}"
    compression: zstd
    compression_level: 3
    storage_class: GLACIER_IR

- name: Archive the whole disk, byte for byte
  coldstore.ebs.snapshot_archive_s3:
    bucket: my-archives
    snapshot_id: snap-00000000000000008
    volume_id: "{{ image_volume.volume_id }}"
    format: image
    compression: lz4
"""

RETURN = r"""
manifest:
  description: The key of the manifest.
  returned: success
  type: str
archives:
  description: One entry an archive, as the manifest has it. In check mode key and bytes at most.
  returned: success
  type: list
  elements: dict
keys:
  description: The keys of the archives.
  returned: success
  type: list
  elements: str
bytes_in:
  description: Bytes read from the volume; in check mode at most this many.
  returned: success
  type: int
bytes_stored:
  description: Bytes of all archives.
  returned: success
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
problems:
  description: What could not be read, each with C(path), C(what), C(offset), C(length) and C(reason), as the manifest has it.
  returned: success
  type: list
  elements: dict
lost:
  description:
    - What that comes to. C(entries) names that are not archived, C(directories) whose list of names has gaps, C(files) with zeros
      in place of C(bytes) bytes, C(attributes), and C(errors) that the kernel counted.
  returned: success
  type: dict
loss:
  description: The same in words; empty if nothing is lost.
  returned: success
  type: str
"""

import os
from contextlib import ExitStack, closing

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import aws as _aws
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud import queue, volumes
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs, hashing
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import sleeping
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.pipeline import background, ordered_map
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import losses
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import disk as _disk
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, hydrate, spool

SPEC = {
    "snapshot_id": {"type": "str", "required": True},
    "volume_id": {"type": "str"},
    "attached_as": {"type": "str", "default": ""},
    "format": {"type": "str", "choices": ["tar", "image"], "default": "tar"},
    "shared_extents": {"type": "str", "choices": ["image", "tar"], "default": "image"},
    "compression": {"type": "str", "default": "zstd"},
    "compression_level": {"type": "int", "default": 1},
    "digest": {"type": "str", "choices": [*hashing.DIGESTS], "default": "blake3"},
    "storage_class": {"type": "str", "default": "STANDARD"},
    "validate_first": {"type": "bool", "default": False},
    "threads": {"type": "int"},
    "streams": {"type": "int", "default": 4},
    "mount_point": {"type": "path", "default": "/mnt"},
    "spool": {"type": "path", "default": "/var/tmp"},
    "on_read_error": {"type": "str", "choices": ["fail", "zero"], "default": "fail"},
    "hydrate": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    **_aws.BUCKET,
    **_aws.CLAIM,
    **_aws.TAG,
}


def settings_of(asked):
    later = asked["validate_first"] and sleeping.sleeps(asked["storage_class"])
    return archive.Settings(
        codec=codecs.codec(asked["compression"], asked["compression_level"]),
        digest=hashing.fit(asked["digest"]),
        prefix=asked["prefix"],
        storage_class="STANDARD" if later else asked["storage_class"],
        goes_to=asked["storage_class"] if later else "",
        queue_tag=asked["tag"],
        threads=asked["threads"] or os.cpu_count() or 2,
        streams=asked["streams"],
        spool=asked["spool"],
        by=_aws.BY,
    )


def predict(asked, snapshot, there):
    """What check mode can know: the disk is not mounted for it, so partitions are not told apart."""
    key = ours.archive_key(asked["prefix"], snapshot, None, asked["format"], asked["compression"])
    entry = {"key": key, "raw_size": snapshot.size_gib << 30}
    return report(there or {"archives": [entry]}, ours.manifest_key(asked["prefix"], snapshot), there is None)


def report(manifest, key, changed):
    entries = manifest["archives"]
    objects = [each for entry in entries for each in entry.get("objects", [{"key": entry.get("key"), "size": 0}])]
    keys = [each["key"] for each in objects]
    lost = losses.summed(entries)
    return {
        "changed": changed,
        "manifest": key,
        "archives": entries,
        "keys": keys,
        "bytes_in": sum(entry["raw_size"] for entry in entries),
        "bytes_stored": sum(each["size"] for each in objects),
        "seconds": round(sum(entry.get("seconds", 0) for entry in entries), 3),
        "problems": [problem for entry in entries for problem in entry.get("problems", [])],
        "lost": lost,
        "loss": losses.sentence(lost),
        "diff": {"before": {"archives": [] if changed else keys}, "after": {"archives": keys}},
    }


def snapshot_of(asked, claim, calls):
    """As it was when it was claimed: its volume is archived though EC2 may have it no more. Without a claim as EC2 has it."""
    known = claim.snapshot if claim and asked["volume_id"] else None
    return known or queue.readable(queue.one(calls.ec2, asked["snapshot_id"], asked["tag"], calls.stop))


def work(module, stop):
    asked = module.params
    settings = settings_of(asked)
    store = _aws.store_of(module, stop)
    calls = _aws.ec2_calls(module, stop, asked["timeout"])
    claim = _aws.held(module, store)
    snapshot = snapshot_of(asked, claim, calls)
    if settings.goes_to:
        sleeping.check_rule(store, asked["prefix"], settings.goes_to)
    there = archive.existing(store, snapshot, settings)
    if module.check_mode:
        return predict(asked, snapshot, there)
    if not asked["claim"]:
        claims.refuse_held(store, ours.claim_key(asked["prefix"], snapshot.snapshot_id))
    with _aws.claimed(module, claim, calls, stop, asked["volume_id"] or "") as lane:
        if there is not None:
            lane.renew()
            archive.tidy(store, there)
            return predict(asked, snapshot, there)
        check(asked, calls)
        result = run(asked, store, calls, snapshot, settings, lane)
    return report(result.manifest, result.key, result.changed)


def check(asked, calls):
    _aws.require_root()
    spool.check(asked["spool"])
    if not asked["volume_id"]:
        raise Refused("volume_id is missing", "Have one attached with coldstore.ebs.ebs_temp_volume.")
    if asked["format"] == "image" and volumes.was_mounted(calls, asked["volume_id"]):
        raise Refused(f"{asked['volume_id']} was mounted and may differ from its snapshot", "Make another volume for the image.")


def run(asked, store, calls, snapshot, settings, lane):
    device = attached.wait_for_device(asked["volume_id"], asked["attached_as"], asked["timeout"], store.stop)
    disk = attached.inspect(device)
    attached.check_size(disk, snapshot.size_gib << 30)
    attached.check_alone(disk)

    def mark():
        lane.check()
        volumes.mark_mounted(calls, asked["volume_id"])

    where = (asked["mount_point"], asked["on_read_error"], asked["spool"])
    with ExitStack() as held:
        ahead = held.enter_context(closing(hydrate.Hydration(device))) if asked["hydrate"] else None
        soon = ahead.soon if ahead else None
        there = held.enter_context(
            _disk.opened(disk, asked["format"], *where, store.stop, mark, None, asked["shared_extents"], soon)
        )
        if ahead:
            held.enter_context(background(lambda stop: ahead.run(there.in_use, ordered_map, stop), store.stop))
        pieces = _disk.pieces(there.sources, settings.chunk)
        held.callback(_disk.close, pieces)
        return archive.archive_snapshot(store, snapshot, there.facts, asked["format"], pieces, settings, lane)


def main():
    _aws.main(SPEC, work)


if __name__ == "__main__":
    main()
