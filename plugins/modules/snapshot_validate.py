#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_validate
short_description: Prove that the archives of a snapshot hold what the snapshot holds
version_added: 1.0.0
description:
  - Compares the archives of a snapshot with their manifest, their index or the snapshot itself, and writes a receipt
    that says what was compared, how, when, and with what result.
  - Names differences by path and attribute; extra and missing files are differences, too. The module fails if
    there are any, unless O(fail_on_difference=false).
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_id:
    description: The snapshot. It need not exist any more, but for O(level=full) its volume has to.
    type: str
    required: true
  level:
    description:
      - V(quick) compares size and checksum in S3 with the manifest and fetches nothing.
      - V(archive) fetches, hashes and decodes every frame and compares it with the index. It needs no volume.
      - V(full) also compares every byte with the volume, which is planned afresh. It does not read again what the manifest lists as
        unreadable; RV(lost) counts that. Archives made by snap-to-s3 are compared member by member.
      - V(restored) does the same with a volume that M(coldstore.ebs.snapshot_restore) restored the snapshot to. The snapshot
        itself need not exist any more.
    type: str
    choices: [quick, archive, full, restored]
    default: archive
  volume_id:
    description: The snapshot's temporary volume, or the restored one, attached to this host; for O(level=full) and V(restored).
    type: str
  attached_as:
    description: The device name EC2 knows; only needed on Xen instances.
    type: str
    default: ""
  fail_on_difference:
    description: Whether a difference is an error.
    type: bool
    default: true
  threads:
    description: How many threads fetch and compare. The default is one per processor, and at least 4.
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
    description: Says which objects would be compared and how many bytes would be fetched, and writes no receipt.
  diff_mode:
    support: full
    description: Shows the receipt that is added.
"""

EXAMPLES = r"""
- name: Check every byte of the archives against their index
  coldstore.ebs.snapshot_validate:
    bucket: my-archives
    snapshot_id: snap-00000000000000006

- name: Compare size and checksum in S3 with the manifest, for next to nothing
  coldstore.ebs.snapshot_validate:
    bucket: my-archives
    snapshot_id: snap-00000000000000006
    level: quick
"""

RETURN = r"""
result:
  description: V(equal) or V(different); V(unknown) in check mode.
  returned: success
  type: str
receipt:
  description: The key of the receipt; empty in check mode and for archives that are not ours.
  returned: success
  type: str
differences:
  description: The differences, at most 1,000, each with archive, path, attribute, expected, found and offset.
  returned: success
  type: list
  elements: dict
damaged_receipts:
  description:
    - The keys of earlier receipts that were damaged. They prove nothing, and do not count as a difference. Each is also a
      warning.
  returned: success
  type: list
  elements: str
difference_count:
  description: How many differences there are.
  returned: success
  type: int
bytes:
  description: Uncompressed bytes compared; in check mode, stored bytes that would be fetched.
  returned: success
  type: int
frames:
  description: Frames compared.
  returned: success
  type: int
members:
  description: Files, directories and links compared.
  returned: success
  type: int
lost:
  description:
    - What the manifest lists as unreadable and was not compared. C(entries), C(directories), C(files), C(bytes),
      C(attributes) and C(errors), as returned by M(coldstore.ebs.snapshot_archive_s3).
  returned: success
  type: dict
loss:
  description: The same in words; empty if everything was compared.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: float
archives:
  description: The keys of what was compared.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.validate import validate

SPEC = {
    "snapshot_id": {"type": "str", "required": True},
    "level": {"type": "str", "choices": ["quick", "archive", "full", "restored"], "default": "archive"},
    "volume_id": {"type": "str"},
    "attached_as": {"type": "str", "default": ""},
    "fail_on_difference": {"type": "bool", "default": True},
    "threads": {"type": "int"},
    "mount_point": {"type": "path", "default": "/mnt"},
    "spool": {"type": "path", "default": "/var/tmp"},
    "timeout": {"type": "int", "default": 300},
    **arguments.BUCKET,
    **arguments.CLAIM,
    **arguments.TAG,
}


def main():
    run.main(SPEC, validate)


if __name__ == "__main__":
    main()
