#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_claim
short_description: Take, give back or settle the exclusive right to work on a snapshot
version_added: 1.0.0
description:
  - A claim is an object in the bucket that is written on conditions only, so that of any number of lanes exactly one
    has it. It is good for O(lease) seconds unless renewed, and may be taken over after that.
  - The queue tag on the snapshot mirrors the claim for people. It decides nothing, and if it cannot be written that is
    a warning.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  state:
    description:
      - V(claimed) takes the first snapshot that can be had, from O(snapshot_ids) or from the queue.
      - V(released) gives a claim back. With O(reason) the attempt has failed; after O(attempts) of them the snapshot is
        settled as failed. What was validated before stays so, unless a difference was found.
      - V(settled) ends it with O(result), if the bucket proves that result.
    type: str
    choices: [claimed, released, settled]
    default: claimed
  purpose:
    description: Whether the snapshot is to be migrated, or what was migrated is to be validated.
    type: str
    choices: [migrate, validate]
    default: migrate
  snapshot_ids:
    description:
      - Work on these, whatever their tags. Without them on what is tagged C(migrate) (or C(migrated), to validate).
      - One that does not exist, or is another account's, is passed over and named in RV(unusable).
    type: list
    elements: str
  needs_snapshot:
    description:
      - Whether those of O(snapshot_ids) have to exist in EC2. What needs their archives alone, such as a validation without a
        volume, is done for a snapshot that is gone, too, which is known from its claim or its manifest.
    type: bool
    default: true
  snapshot_id:
    description: The snapshot whose claim is released or settled.
    type: str
  result:
    description:
      - With O(state=settled). V(migrated) needs a manifest, V(validated) a receipt saying that every byte was compared.
      - Where the bucket has such a receipt already, V(migrated) takes nothing back, and RV(result) is V(validated).
    type: str
    choices: [migrated, validated]
  reason:
    description: With O(state=released), why the attempt failed.
    type: str
    default: ""
  kind:
    description:
      - With O(reason), the C(kind) of the error, as the modules return it when they fail.
      - An attempt that was V(refused) does not count, and the snapshot waits for the next run. One that ended because the worker is
        V(unfit), for want of a place to attach a volume or of room on its disk, does not count either, and other workers may try
        at once.
    type: str
    default: ""
  owner:
    description: Who claims, for people to read; by default the host's name.
    type: str
  run_id:
    description: One run of a playbook. A snapshot that failed in a run is not tried again in the same one.
    type: str
    default: ""
  lease:
    description: How many seconds a claim is good for unless renewed.
    type: int
    default: 900
  attempts:
    description: How often a snapshot may be begun before it is settled as failed.
    type: int
    default: 3
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
    description: Says which snapshots wait, and takes nothing.
  diff_mode:
    support: full
    description: Shows the state of the claim before and after.
"""

EXAMPLES = r"""
- name: Claim the next snapshot that waits
  coldstore.ebs.snapshot_claim:
    bucket: my-archives
  register: mine

- name: Give it back
  coldstore.ebs.snapshot_claim:
    bucket: my-archives
    state: released
    snapshot_id: "{{ mine.snapshot.snapshot_id }}"
    claim: "{{ mine.claim }}"
  when: mine.claimed
"""

RETURN = r"""
claimed:
  description: Whether a snapshot was claimed.
  returned: always
  type: bool
claim:
  description: What proves to the other modules that the claim is ours; empty without one.
  returned: always
  type: str
snapshot:
  description:
    - What EC2 says of the snapshot that was claimed; empty if there is none. Of one that was released or settled, what it said when
      the claim was taken, since EC2 may have it no more.
  returned: always
  type: dict
attempts:
  description: How often the snapshot was begun, this time included.
  returned: always
  type: int
result:
  description: How the claim stands now, one of held, free, migrated, validated, failed; empty without one.
  returned: always
  type: str
waiting:
  description: How many snapshots were looked at as candidates.
  returned: always
  type: int
queue:
  description: In check mode, the snapshots that could be claimed, in order.
  returned: always
  type: list
  elements: dict
passed:
  description: Why snapshots before the claimed one, in check mode all others, could not be claimed, by id.
  returned: always
  type: dict
unusable:
  description:
    - Those of RV(passed) that nobody can claim before somebody has done something about it, by id. They do not exist, or the
      object of their claim is damaged; the message says how to look at it, and how to remove it.
  returned: always
  type: dict
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.claim import claim

SPEC = {
    "state": {"type": "str", "choices": ["claimed", "released", "settled"], "default": "claimed"},
    "purpose": {"type": "str", "choices": ["migrate", "validate"], "default": "migrate"},
    "snapshot_ids": {"type": "list", "elements": "str"},
    "needs_snapshot": {"type": "bool", "default": True},
    "snapshot_id": {"type": "str"},
    "result": {"type": "str", "choices": ["migrated", "validated"]},
    "reason": {"type": "str", "default": ""},
    "kind": {"type": "str", "default": ""},
    "owner": {"type": "str"},
    "run_id": {"type": "str", "default": ""},
    "lease": {"type": "int", "default": 900},
    "attempts": {"type": "int", "default": 3},
    **arguments.BUCKET,
    **arguments.CLAIM,
    **arguments.TAG,
}


def main():
    run.main(
        SPEC,
        claim,
        required_if=[("state", "released", ["snapshot_id", "claim"]), ("state", "settled", ["snapshot_id", "claim", "result"])],
    )


if __name__ == "__main__":
    main()
