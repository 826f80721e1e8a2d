#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_restore
short_description: Restore an archived snapshot to a directory, a device or file, or a whole new disk
version_added: 1.0.0
description:
  - Fetches the frames that are wanted, in parallel, compares each with the index before a byte of it is used, and writes
    what they hold. One file of a large archive costs the index and the frames it lies in.
  - Into a directory come files with owners, modes, times to the nanosecond, links, extended attributes, ACLs,
    capabilities and holes as they were. Nothing is ever written outside of it, whatever the archive says. Until it is
    whole it holds the file C(.coldstore-ebs.incomplete); a restore that was interrupted is simply run again.
  - Everything is made for its maker alone, without the ACLs that the directory hands down, and opened once it has its owner and
    attributes; at no moment has anybody more access than the archive says. A directory that is made stays private until then.
  - Onto a volume the whole disk is made again, with boot area, partition table, and each partition with its type, UUID and
    label, its files or its image, and swap.
  - Archives in storage classes that cannot be read at once are thawed first, those that are wanted and no others. With
    O(thaw_only), or without O(directory), O(device) and O(volume_id), the module does only that, so that a volume need not be
    paid for while S3 thaws.
  - Archives that snap-to-s3 or flexible-snapshot-proxy made are restored, too. RV(unchecked) says what cannot be known of
    these.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_id:
    description: The snapshot. It need not exist any more. Give this or O(key).
    type: str
  source_volume_id:
    description: The volume it was made of. With it O(snapshot_id) is found without listing everything below O(prefix).
    type: str
    default: ""
  key:
    description: The key of a manifest or of one archive.
    type: str
  partition:
    description:
      - The number of the partition whose archive is meant. 0 is the area before the first partition.
      - Without it files come of the only partition that holds any, or of the one beside an EFI system partition; of several others
        one has to be chosen.
      - V(all) restores the files of each below its number, C(1), C(2) and so on, in O(directory). Images are left out.
    type: str
  directory:
    description: Restore files into this directory. It is made if it is missing, and has to be empty unless O(overwrite=true).
    type: path
  device:
    description:
      - Restore onto this block device or into this file. With O(partition) its image; without it the image of the whole
        disk, or, of a snapshot archived as files, the whole disk made again.
    type: path
  volume_id:
    description:
      - Restore the whole disk onto this volume, attached to this host; one that M(coldstore.ebs.ebs_temp_volume) made with
        O(coldstore.ebs.ebs_temp_volume#module:format=restore), or any other with O(overwrite=true).
    type: str
  attached_as:
    description: The device name EC2 knows; only needed on Xen instances.
    type: str
    default: ""
  paths:
    description:
      - Only these, from the root of the filesystem. C(*) and C(?) match within a name, C(**) any number of names. What matches
        a directory brings everything below it.
    type: list
    elements: str
  exclude:
    description: Not these; patterns as in O(paths).
    type: list
    elements: str
  strip_components:
    description: How many leading components of each path to leave out.
    type: int
    default: 0
  owners:
    description:
      - Whether files belong to whom they belonged, and keep privileged attributes. Needs root; without it they belong to the
        user who restores, no setuid or setgid is set, and the group has no more access than others, for it is another one.
    type: bool
    default: true
  allow_devices:
    description: Whether device nodes are made in O(directory). They always are on a disk that is made again.
    type: bool
    default: false
  overwrite:
    description: Whether what is there may be replaced, in O(directory), O(device) or on a volume of somebody else.
    type: bool
    default: false
  blank:
    description: The O(device) is known to hold nothing but zeros, so zeros need not be written.
    type: bool
    default: false
  grow:
    description: If the disk is larger than it was, the last partition, or the only filesystem, gets what is more.
    type: bool
    default: false
  thaw_only:
    description:
      - Do no more than have thawed what a restore with the same options reads; without O(directory) and O(device) that is a restore
        to a new volume. It returns RV(pending) until all of it is readable.
    type: bool
    default: false
  size:
    description: With O(thaw_only), the GiB that the new volume will have. What cannot fit is refused before anything is paid for.
    type: int
  thaw_tier:
    description: How fast S3 should bring back what is in an archive storage class. Faster is dearer.
    type: str
    choices: [Expedited, Standard, Bulk]
    default: Standard
  thaw_days:
    description: For how many days the readable copy stays.
    type: int
    default: 3
  wait:
    description: Whether to wait for the thaw. Without it the module returns RV(pending), and is to be run again later.
    type: bool
    default: false
  wait_timeout:
    description: How long to wait for the thaw, in seconds.
    type: int
    default: 180000
  wait_interval:
    description: Seconds between looks at the thaw.
    type: int
    default: 300
  threads:
    description: How many threads fetch and decode; by default as many as the host has processors, and at least 4.
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
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description:
      - Says what would be restored, how many bytes that is, and what a thaw would cost by list price; changes nothing.
  diff_mode:
    support: full
    description: Shows the target before and after.
notes:
  - Waiting can be stopped; what was asked of S3 goes on, and the next run finds it.
"""

EXAMPLES = r"""
- name: Get one file back
  coldstore.ebs.snapshot_restore:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    directory: /tmp/restored
    paths: ["dir1/sub1/file 1"]

- name: Get all but the large ones back
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

- name: Have the whole disk on a new volume
  coldstore.ebs.snapshot_restore:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    volume_id: "{{ fresh.volume_id }}"
"""

RETURN = r"""
pending:
  description: Whether S3 is still thawing what is needed; then nothing was restored yet, and the module is to be run again.
  returned: success
  type: bool
thaw:
  description: What had to be thawed, if anything.
  returned: success
  type: dict
  contains:
    objects:
      description: How many objects.
      type: int
    bytes:
      description: Their bytes.
      type: int
    storage_classes:
      description: The storage classes they are in, or archive tiers of INTELLIGENT_TIERING.
      type: list
      elements: str
    tier:
      description: The tier asked for.
      type: str
    dollars:
      description: What the retrieval costs by list price; the readable copy is billed as STANDARD while it lasts.
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
  description: What is read; in check mode what would be.
  returned: success
  type: list
  elements: dict
  contains:
    partition:
      description: The partition; none for the whole disk.
      type: int
    key:
      description: The archive.
      type: str
    directory:
      description: Where its files go; empty if they go to no directory.
      type: str
left_out:
  description: Other partitions, which are not restored to O(directory). None if O(partition) named the one that is wanted.
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
  description: Files, directories and links restored; in check mode what would be.
  returned: success
  type: int
bytes_fetched:
  description: Bytes fetched from S3, index included; in check mode what was fetched to know.
  returned: success
  type: int
bytes_written:
  description: Bytes written to the target; zeros that need no writing are not among them. In check mode what would be.
  returned: success
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
skipped:
  description: What was left out on purpose, by path, attribute and reason; device nodes above all. At most 1,000.
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
    - What could not be read when the snapshot was archived, and is therefore missing, in words; empty if nothing is. The manifest
      lists it.
  returned: success
  type: str
unchecked:
  description: What could not be checked, of archives that have no manifest.
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
