#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_archive_s3
short_description: Archive a snapshot to S3 from its temporary volume
version_added: 1.0.0
description:
  - Reads the volume in parallel, compresses it frame by frame and uploads it. The archive is an ordinary stream that
    C(lz4 -d) or C(zstd -d) and C(tar) decode, with an index beside it.
  - The manifest is written last. Without a manifest there is no archive; if there is one, the module changes nothing.
  - If a run is killed, the next one continues it. The same goes for a run that fails for a temporary reason, such as expired
    credentials, a full spool, or an outage of S3, which it waits out for up to ten minutes. Any other failure, or a stop, aborts
    the upload. A run that has lost its claim leaves upload and journal to the lane that holds the claim now.
  - Without O(claim), the module refuses to work on a snapshot that a lane has claimed.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_id:
    description: The snapshot.
    type: str
    required: true
  volume_id:
    description: Its temporary volume, attached to this host. Required except in check mode.
    type: str
  attached_as:
    description: The device name EC2 knows; only needed on Xen instances.
    type: str
    default: ""
  format:
    description:
      - V(tar) makes one archive of files for each partition that can be mounted. What cannot be mounted becomes an
        image, and swap is only recorded. V(image) makes one image of the whole disk, from a volume that was never mounted.
    type: str
    choices: [tar, image]
    default: tar
  shared_extents:
    description:
      - What to do with a filesystem (btrfs, xfs) whose snapshots or reflinks share data, which O(format=tar) would archive
        several times. V(image) makes an image of its partition if the files would be more than half as large again as the space
        used, or would not fit on a disk of that size; the manifest says why. V(tar) archives the files, whatever their size.
    type: str
    choices: [image, tar]
    default: image
  compression:
    description: The codec.
    type: str
    default: zstd
  compression_level:
    description: The level of the codec, 1 to 9 for lz4 and 1 to 19 for zstd.
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
        that it can be validated, with the tag C(coldstore.ebs:class). A lifecycle rule of the bucket moves objects with that tag, a
        day later.
      - Without such a rule the module refuses to start. Other storage classes are not affected.
    type: bool
    default: false
  threads:
    description: How many threads read and compress. The default is one per processor.
    type: int
  streams:
    description: How many parts are uploaded at a time.
    type: int
    default: 4
  mount_point:
    description: A directory to mount below. The mounts are in a private namespace that nobody else sees.
    type: path
    default: /mnt
  spool:
    description: A directory for temporary files, above all the index.
    type: path
    default: /var/tmp
  on_read_error:
    description:
      - What to do if something cannot be read. V(fail) ends with an error that names the first such place. V(zero) archives all
        that can be read, with zeros in place of unreadable bytes, and lists what is lost in the manifest and the result.
      - Damage that the kernel reported only in its log is noticed through the error counters of ext4 and btrfs, and
        treated the same. xfs reports every error to the reader. vfat has no counters, so damaged directories can go unnoticed.
      - If a file has more extended attributes than Linux can list (64 KiB of names), they are listed as lost in either case.
    type: str
    choices: [fail, zero]
    default: fail
  hydrate:
    description:
      - Touch each block that will be read once, ahead of the reader, up to 256 at a time. Otherwise a volume fresh from a
        snapshot is slow.
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
    description: Says which objects would be made, and of how many bytes at most. Changes nothing.
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
  description: One entry for each archive, as in the manifest. In check mode its key, and its bytes at most.
  returned: success
  type: list
  elements: dict
keys:
  description: The keys of the archives.
  returned: success
  type: list
  elements: str
bytes_in:
  description: Bytes read from the volume; in check mode, at most this many.
  returned: success
  type: int
bytes_stored:
  description: Bytes of all archives.
  returned: success
  type: int
storage_class:
  description:
    - The storage class of the archives, or the one that a lifecycle rule moves them to once they are validated, as the
      manifest has it.
    - Archives that were there already may be in another than O(storage_class). Where they differ all are named, separated by
      commas.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: float
problems:
  description: What could not be read, each with C(path), C(what), C(offset), C(length) and C(reason), as in the manifest.
  returned: success
  type: list
  elements: dict
lost:
  description:
    - The sums of that. C(entries) names that are not archived, C(directories) whose list of names has gaps, C(files) with zeros
      in place of C(bytes) bytes, C(attributes), and C(errors) that the kernel counted.
  returned: success
  type: dict
loss:
  description: The same in words; empty if nothing is lost.
  returned: success
  type: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.archive import archive

SPEC = {
    "snapshot_id": {"type": "str", "required": True},
    "volume_id": {"type": "str"},
    "attached_as": {"type": "str", "default": ""},
    "format": {"type": "str", "choices": ["tar", "image"], "default": "tar"},
    "shared_extents": {"type": "str", "choices": ["image", "tar"], "default": "image"},
    "compression": {"type": "str", "default": "zstd"},
    "compression_level": {"type": "int", "default": 1},
    "digest": {"type": "str", "choices": ["blake3", "sha256"], "default": "blake3"},
    "storage_class": {"type": "str", "default": "STANDARD"},
    "validate_first": {"type": "bool", "default": False},
    "threads": {"type": "int"},
    "streams": {"type": "int", "default": 4},
    "mount_point": {"type": "path", "default": "/mnt"},
    "spool": {"type": "path", "default": "/var/tmp"},
    "on_read_error": {"type": "str", "choices": ["fail", "zero"], "default": "fail"},
    "hydrate": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    **arguments.BUCKET,
    **arguments.CLAIM,
    **arguments.TAG,
}


def main():
    run.main(SPEC, archive)


if __name__ == "__main__":
    main()
