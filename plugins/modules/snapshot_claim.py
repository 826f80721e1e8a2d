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
  - A claim is an object in the bucket that is only written conditionally, so that exactly one of any number of lanes
    holds it. It is good for O(lease) seconds unless renewed. After that it may be taken over.
  - The queue tag on the snapshot mirrors the claim for people. It decides nothing; if it cannot be written, the module
    only warns.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  state:
    description:
      - V(claimed) claims the first available snapshot from O(snapshot_ids) or from the queue.
      - V(released) gives a claim back. With O(reason) the attempt has failed; after O(attempts) failed attempts the snapshot is
        settled as failed. A snapshot that was validated before stays validated, unless a difference was found.
      - V(settled) ends the claim with O(result), if the bucket proves that result.
    type: str
    choices: [claimed, released, settled]
    default: claimed
  purpose:
    description:
      - Whether to migrate snapshots, or to validate migrated ones.
      - V(drill) is for trying the archives of O(snapshot_ids), each once in a run. The snapshots need not exist any more. However
        it ends, the claim stands as it did before, no attempt is counted, and no tag is written.
    type: str
    choices: [migrate, validate, drill]
    default: migrate
  snapshot_ids:
    description:
      - Work on these snapshots, whatever their tags. The default is those tagged C(migrate) (or C(migrated), to validate).
      - A snapshot that does not exist, or belongs to another account, is skipped and named in RV(unusable).
    type: list
    elements: str
  needs_snapshot:
    description:
      - Whether the O(snapshot_ids) have to exist in EC2. Work that needs only the archives, such as a validation without a
        volume, can also be done for a snapshot that is gone; its claim or manifest says what is needed.
    type: bool
    default: true
  snapshot_id:
    description: The snapshot whose claim is released or settled.
    type: str
  result:
    description:
      - The result for O(state=settled). V(migrated) needs a manifest, V(validated) a receipt saying that every byte was compared.
      - If the bucket has such a receipt already, V(migrated) does not take it back, and RV(result) is V(validated).
    type: str
    choices: [migrated, validated]
  reason:
    description: With O(state=released), why the attempt failed.
    type: str
    default: ""
  kind:
    description:
      - With O(reason), the C(kind) of the error, as the modules return it when they fail.
      - If it is V(refused), the attempt does not count, and the snapshot waits for the next run. If it is V(unfit), because the
        worker cannot attach another volume or its disk is full, the attempt does not count either, and other workers may try at
        once.
    type: str
    default: ""
  owner:
    description: Who claims, for people to read. The default is the name of the host.
    type: str
  run_id:
    description: Identifies a run of a playbook. A snapshot that failed in a run is not tried again in the same run.
    type: str
    default: ""
  lease:
    description: How many seconds a claim is good for unless renewed.
    type: int
    default: 900
  attempts:
    description: How many attempts may fail before the snapshot is settled as failed.
    type: int
    default: 3
  storage_class:
    description: The storage class of archives, for snapshots whose tags do not name one.
    type: str
    choices: [STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER, DEEP_ARCHIVE]
    default: STANDARD
  format:
    description: The format of archives, for snapshots whose tags do not name one.
    type: str
    choices: [tar, image]
    default: tar
  obey_advice:
    description:
      - Whether the snapshot's own tags decide how it is archived. Their keys are O(tag) followed by C(-storage-class) and
        C(-format); M(coldstore.ebs.cost_report_analyze) sets them.
      - They apply to O(purpose=migrate), take precedence over O(storage_class) and O(format), and are removed once the snapshot is
        migrated.
      - A snapshot whose tags ask for something that does not exist, or that the bucket does not accept, is skipped and named in
        RV(unusable).
    type: bool
    default: true
  validate_first:
    description: Whether archives that will sleep start in STANDARD. Then the bucket needs a lifecycle rule that moves them.
    type: bool
    default: false
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
    description: Says which snapshots are waiting, and claims nothing.
  diff_mode:
    support: full
    description: Shows the state of the claim before and after.
"""

EXAMPLES = r"""
- name: Claim the next waiting snapshot
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
  description: Proves to the other modules that the claim is ours; empty if there is none.
  returned: always
  type: str
snapshot:
  description:
    - What EC2 says about the claimed snapshot; empty if there is none. If the claim was released or settled, what EC2 said when
      it was taken, since the snapshot may be gone by now.
  returned: always
  type: dict
attempts:
  description: How many attempts were started, including this one.
  returned: always
  type: int
result:
  description: The state of the claim now, one of held, free, migrated, validated, failed; empty if there is none.
  returned: always
  type: str
storage_class:
  description: The storage class for the archives of the claimed snapshot; empty without a claim, and with O(purpose=validate).
  returned: always
  type: str
format:
  description: The format for the archives of the claimed snapshot; empty in the same cases.
  returned: always
  type: str
advised:
  description: What the snapshot's own tags said of the two. The claim keeps it, so that a lane that takes it over does the same.
  returned: always
  type: dict
waiting:
  description: How many snapshots were considered.
  returned: always
  type: int
queue:
  description: In check mode, the snapshots that could be claimed, in this order, with C(storage_class), C(format) and C(advised).
  returned: always
  type: list
  elements: dict
passed:
  description: Why snapshots before the claimed one could not be claimed, by id; in check mode all others.
  returned: always
  type: dict
unusable:
  description:
    - The snapshots among RV(passed) that nobody can claim until somebody fixes the cause, by id. They do not exist, ask for a
      storage class or format that this run cannot use, or the object of their claim is damaged. The message says what to do, and is
      also in a tag of the snapshot, whose key is O(tag) followed by C(-reason).
  returned: always
  type: dict
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.claim import CLASSES, FORMATS, claim

SPEC = {
    "state": {"type": "str", "choices": ["claimed", "released", "settled"], "default": "claimed"},
    "purpose": {"type": "str", "choices": ["migrate", "validate", "drill"], "default": "migrate"},
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
    "storage_class": {"type": "str", "choices": CLASSES, "default": "STANDARD"},
    "format": {"type": "str", "choices": FORMATS, "default": "tar"},
    "obey_advice": {"type": "bool", "default": True},
    "validate_first": {"type": "bool", "default": False},
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
