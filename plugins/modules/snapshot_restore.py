#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_restore
short_description: Restore an archived snapshot to a directory, a device, a file or a new disk
version_added: 1.0.0
description:
  - Fetches the needed frames in parallel, compares each with the index before a byte of it is used, and writes
    what they hold. One file of a large archive costs the index and the frames it lies in.
  - In a directory, files come back with owners, modes, times to the nanosecond, links, extended attributes, ACLs,
    capabilities and holes as they were. Nothing is ever written outside of it, whatever the archive says. Until the restore is
    complete, the directory holds the file C(.coldstore-ebs.incomplete). To continue an interrupted restore, run it again.
  - Everything is created private, without the ACLs that it would inherit from the directory, and opened up once it has its owner
    and attributes. At no moment does anybody have more access than the archive says. A directory that is created stays private
    until then.
  - On a volume, the whole disk is rebuilt, with boot area, partition table and swap, and each partition with its type, UUID and
    label, and its files or its image.
  - Archives in storage classes that cannot be read at once are thawed first, and only those that are needed. With
    O(thaw_only), or without O(directory), O(device) and O(volume_id), the module does only that, so you need not
    pay for a volume while S3 thaws.
  - Archives made by snap-to-s3 or flexible-snapshot-proxy are restored, too. RV(unchecked) says what cannot be known about
    them.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_id:
    description: The snapshot. It need not exist any more. Give this or O(key).
    type: str
  source_volume_id:
    description: The volume it was made from. With it, O(snapshot_id) is found without listing everything below O(prefix).
    type: str
    default: ""
  key:
    description: The key of a manifest or of one archive.
    type: str
  partition:
    description:
      - The number of the partition to restore. 0 is the area before the first partition.
      - By default it is the only partition with files, or the only one besides an EFI system partition. If there are several
        others, choose one.
      - V(all) restores the files of each partition to a directory named after its number, C(1), C(2) and so on, in O(directory).
        Images are left out.
    type: str
  directory:
    description: Restore files into this directory. It is created if it is missing, and has to be empty unless O(overwrite=true).
    type: path
  device:
    description:
      - Restore onto this block device or into this file. With O(partition), the image of that partition; without it, the whole
        disk, from its image or rebuilt from files.
    type: path
  volume_id:
    description:
      - Restore the whole disk onto this volume, which is attached to this host. Either M(coldstore.ebs.ebs_temp_volume) made it
        with O(coldstore.ebs.ebs_temp_volume#module:format=restore), or it is any other volume and O(overwrite=true).
    type: str
  attached_as:
    description: The device name EC2 knows; only needed on Xen instances.
    type: str
    default: ""
  paths:
    description:
      - Only these paths, from the root of the filesystem. C(*) and C(?) match within a name, C(**) matches any number of names. A
        match of a directory includes everything below it.
    type: list
    elements: str
  exclude:
    description: Leave these paths out; patterns as in O(paths).
    type: list
    elements: str
  strip_components:
    description: How many leading components of each path to leave out.
    type: int
    default: 0
  owners:
    description:
      - Whether to restore owners and privileged attributes, which needs root. Otherwise files belong to the user who restores,
        without setuid or setgid bits, and the group, which is a different one, has no more access than others.
    type: bool
    default: true
  allow_devices:
    description: Whether to create device nodes in O(directory). On a rebuilt disk they are always created.
    type: bool
    default: false
  overwrite:
    description: Whether to replace what is in O(directory) or on O(device), or to restore to a volume that is not ours.
    type: bool
    default: false
  blank:
    description: Whether O(device) is known to hold only zeros, so that zeros need not be written.
    type: bool
    default: false
  grow:
    description: If the disk is larger than it was, give the extra space to the last partition, or to the only filesystem.
    type: bool
    default: false
  thaw_only:
    description:
      - Only thaw what a restore with the same options reads; without O(directory) and O(device), that is a restore
        to a new volume. Returns RV(pending) until all of it is readable.
    type: bool
    default: false
  size:
    description: With O(thaw_only), the size of the new volume in GiB. What cannot fit is refused before it costs anything.
    type: int
  thaw_tier:
    description: How fast S3 should thaw what is in an archive storage class. Faster costs more.
    type: str
    choices: [Expedited, Standard, Bulk]
    default: Standard
  thaw_days:
    description: How many days the readable copy stays.
    type: int
    default: 3
  wait:
    description: Whether to wait for the thaw. Otherwise the module returns RV(pending); run it again later.
    type: bool
    default: false
  wait_timeout:
    description: How long to wait for the thaw, in seconds.
    type: int
    default: 180000
  wait_interval:
    description: Seconds between checks whether the thaw is done.
    type: int
    default: 300
  threads:
    description: How many threads fetch and decode. The default is one per processor, and at least 4.
    type: int
  mount_point:
    description: A directory to mount below, in a private namespace.
    type: path
    default: /mnt
  spool:
    description: A directory for the index while it is in use.
    type: path
    default: /var/tmp
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
    description:
      - Says what would be restored, how many bytes that is, and what a thaw would cost by list price. Changes nothing.
  diff_mode:
    support: full
    description: Shows the target before and after.
notes:
  - You can stop the module while it waits for a thaw. S3 continues, and the next run picks that up.
"""

EXAMPLES = r"""
- name: Get one file back
  coldstore.ebs.snapshot_restore:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    directory: /tmp/restored
    paths: ["dir1/sub1/file 1"]

- name: Get everything back except large files
  coldstore.ebs.snapshot_restore:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    directory: /tmp/restored-all
    exclude: ["big", "**/*.iso"]

- name: Write an image to a file
  coldstore.ebs.snapshot_restore:
    bucket: my-archives
    snapshot_id: snap-00000000000000008
    device: /tmp/disk.img

- name: Restore the whole disk to a new volume
  coldstore.ebs.snapshot_restore:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    volume_id: "{{ fresh.volume_id }}"
"""

RETURN = r"""
pending:
  description: Whether S3 is still thawing what is needed. Then nothing was restored yet; run the module again later.
  returned: success
  type: bool
thaw:
  description: What had to be thawed, if anything.
  returned: success
  type: dict
  contains:
    objects:
      description: The number of objects.
      type: int
    bytes:
      description: Their size in bytes.
      type: int
    storage_classes:
      description: Their storage classes, or archive tiers of INTELLIGENT_TIERING.
      type: list
      elements: str
    tier:
      description: The tier asked for.
      type: str
    dollars:
      description: What the retrieval costs by list price. The readable copy is billed as STANDARD while it lasts.
      type: float
    takes:
      description: How long S3 says it takes.
      type: str
snapshot_id:
  description: The snapshot.
  returned: success
  type: str
manifest:
  description: The key of its manifest; empty for archives of other tools.
  returned: success
  type: str
target:
  description: The directory, device or volume; empty if only the thaw was asked for.
  returned: success
  type: str
device:
  description: The device of a volume; empty otherwise.
  returned: success
  type: str
archives:
  description: The archives that are read; in check mode, those that would be.
  returned: success
  type: list
  elements: dict
  contains:
    partition:
      description: The partition; null for the whole disk.
      type: int
    key:
      description: The archive.
      type: str
    directory:
      description: Where its files go; empty if they do not go to a directory.
      type: str
left_out:
  description: The other partitions, which are not restored to O(directory). Empty if O(partition) was given.
  returned: success
  type: list
  elements: dict
  contains:
    partition:
      description: The partition.
      type: int
    format:
      description: V(tar) or V(image).
      type: str
    reason:
      description: Why it is left out.
      type: str
members:
  description: The number of files, directories and links restored; in check mode, that would be.
  returned: success
  type: int
bytes_fetched:
  description: Bytes fetched from S3, including the index; in check mode, what was fetched to find out.
  returned: success
  type: int
bytes_written:
  description:
    - Bytes written to the target, without zeros that need not be written. In check mode, what would be written at most. For a
      sparse file that is its data and the headers in the archive.
  returned: success
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
skipped:
  description: What was left out on purpose, mainly device nodes, by path, attribute and reason. At most 1,000.
  returned: success
  type: list
  elements: dict
problems:
  description: Attributes that the target's filesystem cannot hold, by path, attribute and reason. At most 1,000.
  returned: success
  type: list
  elements: dict
problem_count:
  description: How many there are.
  returned: success
  type: int
loss:
  description:
    - What is missing because it could not be read when the snapshot was archived, in words; empty if nothing is. The manifest
      lists it.
  returned: success
  type: str
unchecked:
  description: What could not be checked, for archives without a manifest.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.restore import restore

SPEC = {
    "snapshot_id": {"type": "str"},
    "source_volume_id": {"type": "str", "default": ""},
    "key": {"type": "str", "no_log": False},
    "partition": {"type": "str"},
    "directory": {"type": "path"},
    "device": {"type": "path"},
    "volume_id": {"type": "str"},
    "attached_as": {"type": "str", "default": ""},
    "paths": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "strip_components": {"type": "int", "default": 0},
    "owners": {"type": "bool", "default": True},
    "allow_devices": {"type": "bool", "default": False},
    "overwrite": {"type": "bool", "default": False},
    "blank": {"type": "bool", "default": False},
    "grow": {"type": "bool", "default": False},
    "thaw_only": {"type": "bool", "default": False},
    "size": {"type": "int"},
    "thaw_tier": {"type": "str", "choices": ["Expedited", "Standard", "Bulk"], "default": "Standard"},
    "thaw_days": {"type": "int", "default": 3},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 180000},
    "wait_interval": {"type": "int", "default": 300},
    "threads": {"type": "int"},
    "mount_point": {"type": "path", "default": "/mnt"},
    "spool": {"type": "path", "default": "/var/tmp"},
    "timeout": {"type": "int", "default": 300},
    **arguments.BUCKET,
    **arguments.CLAIM,
    **arguments.TAG,
}


def main():
    run.main(
        SPEC,
        restore,
        required_one_of=[("snapshot_id", "key")],
        mutually_exclusive=[("directory", "device", "volume_id")],
    )


if __name__ == "__main__":
    main()
