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
