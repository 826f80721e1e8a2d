#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ebs_temp_volume
short_description: Attach or remove a temporary volume of a snapshot
version_added: 1.0.0
description:
  - Makes a volume from a snapshot, attaches it under a free device name to the instance the module runs on, and waits
    until the device and its partitions appear. The volume is deleted with the instance (DeleteOnTermination).
  - A volume that the collection made for the same snapshot and format is reused, if both were made under the same claim's object,
    or both without a claim. Volumes are recognised by the tag C(coldstore.ebs:snapshot); no volume without it is ever detached or
    deleted, and nothing is unmounted.
  - With O(claim), the tags C(coldstore.ebs:claim) and C(coldstore.ebs:token) of the volume name the claim it was made under.
    The claim is renewed before a volume is taken over or removed. A lane that has lost its claim removes nothing, and fails.
  - If the module fails or is stopped, the volume it made is removed, unless the claim was lost.
  - A rule below C(/run) tells udev not to look at what is on the volume. So LVM and mdadm activate nothing on it, it gets no
    links by UUID or label, and nothing that C(/etc/fstab) names is mounted from it. On Xen instances there is no serial to
    recognise it by, and udev treats it like any disk.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  state:
    description:
      - V(present) attaches a volume, V(absent) detaches and deletes it.
      - V(kept) is for a volume that was restored to. It is detached and no longer temporary; this collection will not
        touch it again. It has the tag C(coldstore.ebs:restored).
    type: str
    choices: [present, absent, kept]
    default: present
  snapshot_id:
    description:
      - The snapshot. With O(state=absent) and without O(volume_id), all its temporary volumes are removed that were made under
        O(claim), or, if O(claim) is not given, without a claim.
    type: str
  volume_id:
    description:
      - The volume to remove or keep. A volume that was made under a claim is removed only with that O(claim), or without O(claim)
        if O(bucket) is the claim's bucket and nobody holds the claim any more. A volume made with O(format=restore) is removed only
        if it is named, or was made under this O(claim).
    type: str
  spare_last_copy:
    description:
      - With O(state=absent), O(claim) and O(snapshot_id), whether to keep a volume that is the last copy of the snapshot, which is
        gone from EC2 and has no validated archive in the bucket. RV(spared) names it.
      - This is for a role that cleans up after a failure. After a stop such a volume is kept in any case.
    type: bool
    default: false
  bucket:
    description: The bucket of O(claim).
    required: false
    type: str
  instance_id:
    description: The instance to attach to. The default is the one the module runs on, from its metadata.
    type: str
  format:
    description:
      - What the volume is for. A volume that was mounted is not reused for an image, since mounting may replay a
        journal.
      - V(restore) makes an empty volume of O(size) to restore the snapshot's archives to. The snapshot need not exist. The volume
        is always a new one, since another lane may be restoring to existing ones; a warning names those.
    type: str
    choices: [tar, image, restore]
    default: tar
  size:
    description: The size in GiB, for O(format=restore).
    type: int
  encrypted:
    description: Whether to encrypt a volume for O(format=restore), with O(kms_key_id) or else the account's default key.
    type: bool
    default: false
  volume_type:
    description: The type of the volume.
    type: str
    default: gp3
  iops:
    description: Provisioned IOPS.
    type: int
  throughput:
    description: Provisioned throughput of a gp3 volume, in MiB/s. The default of 125 is often the bottleneck.
    type: int
  initialization_rate:
    description: The rate, 100 to 300 MiB/s, at which AWS fills the volume from the snapshot; AWS charges for it.
    type: int
  kms_key_id:
    description: Encrypt the volume with this key. By default it is encrypted like the snapshot.
    type: str
  volume_tags:
    description: Further tags for the volume.
    type: dict
    default: {}
  timeout:
    description: How long each wait may take, in seconds.
    type: int
    default: 600
  poll_interval:
    description: Seconds between looks at a state.
    type: float
    default: 2
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
    description: Says what would be done, and changes nothing.
  diff_mode:
    support: full
    description: Shows the temporary volumes before and after; a volume that is kept is no longer temporary.
"""

EXAMPLES = r"""
- name: Attach a volume of the snapshot
  coldstore.ebs.ebs_temp_volume:
    snapshot_id: snap-00000000000000006
    throughput: 500
  register: temporary

- name: Attach an empty volume to restore to
  coldstore.ebs.ebs_temp_volume:
    snapshot_id: snap-00000000000000006
    format: restore
    size: 1
  register: fresh

- name: Remove it
  coldstore.ebs.ebs_temp_volume:
    state: absent
    volume_id: "{{ temporary.volume_id }}"

- name: Remove a volume that a killed run left behind, once nobody holds its claim
  coldstore.ebs.ebs_temp_volume:
    state: absent
    volume_id: vol-0123456789abcdef0
    bucket: my-archives
"""

RETURN = r"""
volume_id:
  description: The volume; empty if there is none.
  returned: success
  type: str
  sample: vol-0123456789abcdef0
device:
  description: Its device on this host; empty if there is none.
  returned: success
  type: str
  sample: /dev/nvme1n1
attached_as:
  description: The device name EC2 knows.
  returned: success
  type: str
  sample: /dev/sdf
spared:
  description: Volumes that were not removed, because each is the last copy of its snapshot.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.volume import volume

SPEC = {
    "state": {"type": "str", "choices": ["present", "absent", "kept"], "default": "present"},
    "snapshot_id": {"type": "str"},
    "volume_id": {"type": "str"},
    "instance_id": {"type": "str"},
    "format": {"type": "str", "choices": ["tar", "image", "restore"], "default": "tar"},
    "size": {"type": "int"},
    "encrypted": {"type": "bool", "default": False},
    "volume_type": {"type": "str", "default": "gp3"},
    "iops": {"type": "int"},
    "throughput": {"type": "int"},
    "initialization_rate": {"type": "int"},
    "kms_key_id": {"type": "str"},
    "spare_last_copy": {"type": "bool", "default": False},
    "volume_tags": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 600},
    "poll_interval": {"type": "float", "default": 2},
    **arguments.BUCKET,
    "bucket": {"type": "str"},
    **arguments.CLAIM,
    **arguments.TAG,
}


def main():
    run.main(
        SPEC,
        volume,
        required_if=[
            ("state", "present", ["snapshot_id"]),
            ("state", "absent", ["snapshot_id", "volume_id"], True),
            ("state", "kept", ["volume_id"]),
            ("format", "restore", ["size"]),
        ],
        required_by={"claim": ["bucket", "snapshot_id"]},
    )


if __name__ == "__main__":
    main()
