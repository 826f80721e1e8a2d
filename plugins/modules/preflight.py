#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Refuse settings that would fail for every snapshot
version_added: 1.0.0
description:
  - Checks once, before anything is claimed, what is the same for all snapshots - whether the bucket exists and accepts what
    would be written, whether its server handles conditions and checksums like AWS, whether the KMS keys can be used, whether
    volumes can be made as requested, and whether this host is ready to read them.
  - It reports the first problem, with what to do about it, and warns of a lifecycle rule that would put manifests
    and indexes to sleep together with the archives.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  storage_class:
    description: The storage class of archives.
    type: str
    choices: [STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER, DEEP_ARCHIVE]
    default: STANDARD
  validate_first:
    description: Whether archives that will sleep start in STANDARD. Then the bucket needs a lifecycle rule that moves them.
    type: bool
    default: false
  compression:
    description: How archives are compressed.
    type: str
    choices: [zstd, lz4]
    default: zstd
  compression_level:
    description: 1 to 19 for zstd, 1 to 9 for lz4.
    type: int
    default: 1
  threads:
    description: How many threads compress. The default is one per processor.
    type: int
  streams:
    description: How many parts are uploaded at a time.
    type: int
    default: 4
  volumes:
    description: Whether volumes will be attached to this host. If not, the options about them are not checked.
    type: bool
    default: true
  volume_type:
    description: Their type.
    type: str
    choices: [gp2, gp3, io1, io2, sc1, st1, standard]
    default: gp3
  iops:
    description: Their IOPS.
    type: int
  throughput:
    description: Their throughput in MiB/s.
    type: int
  initialization_rate:
    description: The rate at which AWS fills them from their snapshot, in MiB/s.
    type: int
  volume_kms_key_id:
    description: The KMS key to encrypt them with.
    type: str
  mount_point:
    description: A directory to mount below.
    type: path
    default: /mnt
  spool:
    description: A directory for temporary files.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - coldstore.ebs.bucket
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Writes no object, so it does not notice a class or key that the bucket does not accept.
  diff_mode:
    support: none
    description: Nothing is changed. The objects written for the check are removed again.
"""

EXAMPLES = r"""
- name: Check whether archives could be written as requested
  coldstore.ebs.preflight:
    bucket: my-archives
    storage_class: GLACIER_IR
    spool: /var/tmp
"""

RETURN = r"""
instance_id:
  description: The instance that volumes will be attached to; empty with O(volumes=false).
  returned: success
  type: str
bucket_owner:
  description: The account that owns the bucket. Pass it to other modules, and they need not ask STS.
  returned: success
  type: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.preflight import (
    COMPRESSIONS,
    STORAGE_CLASSES,
    VOLUME_TYPES,
    preflight,
)

SPEC = {
    "storage_class": {"type": "str", "choices": STORAGE_CLASSES, "default": "STANDARD"},
    "validate_first": {"type": "bool", "default": False},
    "compression": {"type": "str", "choices": COMPRESSIONS, "default": "zstd"},
    "compression_level": {"type": "int", "default": 1},
    "threads": {"type": "int"},
    "streams": {"type": "int", "default": 4},
    "volumes": {"type": "bool", "default": True},
    "volume_type": {"type": "str", "choices": VOLUME_TYPES, "default": "gp3"},
    "iops": {"type": "int"},
    "throughput": {"type": "int"},
    "initialization_rate": {"type": "int"},
    "volume_kms_key_id": {"type": "str"},
    "mount_point": {"type": "path", "default": "/mnt"},
    "spool": {"type": "path", "default": "/var/tmp"},
    **arguments.BUCKET,
}


def main():
    run.main(SPEC, preflight)


if __name__ == "__main__":
    main()
