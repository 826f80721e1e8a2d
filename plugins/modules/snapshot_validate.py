#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_validate
short_description: Prove that what was archived of a snapshot is what the snapshot holds
version_added: 1.0.0
description:
  - Compares the archives of a snapshot with their manifest, their index or the snapshot itself, and writes a receipt
    that says what was compared, how, when, and with what result.
  - Differences are named by path and attribute; extra and missing files are differences too. The module fails if
    there are any, unless O(fail_on_difference=false).
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_id:
    description: The snapshot. It need not exist any more; with O(level=full) its volume has to.
    type: str
    required: true
  level:
    description:
      - V(quick) compares size and checksum in S3 with the manifest and fetches nothing.
      - V(archive) fetches, hashes and decodes every frame and compares it with the index. It needs no volume.
      - V(full) also compares every byte with the volume, planned afresh; but for those that the manifest lists as unreadable,
        which RV(lost) counts and nothing reads again. Archives that snap-to-s3 made are compared
        member by member.
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
    description: How many threads fetch and compare; by default as many as the host has processors, and at least 4.
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

- name: Compare size and checksum with what S3 says, for next to nothing
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
    - The keys of earlier receipts that are not what was written. They count for nothing, and are no difference; each is a
      warning, too.
  returned: success
  type: list
  elements: str
difference_count:
  description: How many differences there are.
  returned: success
  type: int
bytes:
  description: Uncompressed bytes compared; in check mode stored bytes that would be fetched.
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
    - What the manifest lists as unreadable, and nothing was compared with. C(entries), C(directories), C(files), C(bytes),
      C(attributes) and C(errors), as M(coldstore.ebs.snapshot_archive_s3) returns them.
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

import os
from dataclasses import replace

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import aws as _aws
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud import queue, volumes
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import differences, validate, validate_foreign
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.known import known
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import losses
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import disk as _disk
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, spool

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
    **_aws.BUCKET,
    **_aws.CLAIM,
    **_aws.TAG,
}


def report(changed, receipt, found, added=""):
    return {
        "changed": changed,
        "result": receipt["result"],
        "receipt": receipt.get("key", ""),
        "differences": receipt["differences"],
        "damaged_receipts": receipt["damaged_receipts"],
        "difference_count": receipt["difference_count"],
        "bytes": receipt["bytes"],
        "frames": receipt["frames"],
        "members": receipt["members"],
        "lost": receipt["lost"],
        "loss": losses.sentence(receipt["lost"]),
        "seconds": receipt["seconds"],
        "archives": [each.key for each in found.archives],
        "diff": {"before": {}, "after": {"receipt": added or receipt.get("key", "")}},
    }


def snapshot_of(asked, claim, store, calls):
    """As it was claimed, or as EC2 has it, or as the bucket knows it."""
    if claim:
        return claim.snapshot
    try:
        return queue.one(calls.ec2, asked["snapshot_id"], asked["tag"], calls.stop).snapshot
    except Refused as error:
        if asked["level"] in validate.WITH_VOLUME and not asked["volume_id"]:
            if "code" not in error.facts:  # AWS did not refuse to say: it is gone
                error.advice += " Levels quick and archive need no snapshot."
            raise
        there = known(store, asked["prefix"], [asked["snapshot_id"]])[0]
        if not there:
            raise
        return there[asked["snapshot_id"]]


def work(module, stop):
    asked = module.params
    store = _aws.store_of(module, stop)
    calls = _aws.ec2_calls(module, stop, asked["timeout"])
    claim = _aws.held(module, store)
    snapshot = snapshot_of(asked, claim, store, calls)
    found = layouts.find(store, asked["prefix"], snapshot)
    if not found.archives and not found.manifest:
        raise Refused(f"there is no archive of {snapshot.snapshot_id} in {asked['bucket']}", "Correct bucket and prefix.")
    if module.check_mode:
        fetched = 0 if asked["level"] == "quick" else sum(each.size for each in found.archives)
        would_be = ours.receipt_key(asked["prefix"], snapshot, store.clock.now(), asked["level"])
        return report(True, validate.nothing("unknown", fetched), found, would_be)
    settings = validate.Settings(asked["prefix"], asked["threads"] or max(4, os.cpu_count() or 4), asked["spool"], _aws.BY)
    with _aws.claimed(module, claim, calls, stop, asked["volume_id"] or "") as lane:
        settings = replace(settings, before_receipt=lane.renew)
        receipt = compare(asked, store, calls, snapshot, found, settings, lane)
    for key in receipt["damaged_receipts"]:
        module.warn(f"{key} was damaged and counts for nothing; it can be removed")
    result = report(True, receipt, found)
    if receipt["result"] != "equal" and asked["fail_on_difference"]:
        first = differences.sentence(receipt["differences"][0])
        module.fail_json(msg=f"{receipt['difference_count']} differences, the first: {first}", **result)
    return result


def compare(asked, store, calls, snapshot, found, settings, lane):
    job = validate.validate_snapshot if found.layout == "ours" else validate_foreign.validate_archives
    if asked["level"] not in validate.WITH_VOLUME:
        return job(store, snapshot, found, asked["level"], settings)
    if not asked["volume_id"]:
        raise Refused(f"level {asked['level']} needs volume_id", "Have one attached with coldstore.ebs.ebs_temp_volume.")
    _aws.require_root()
    spool.check(asked["spool"])
    disk = attached.inspect(attached.wait_for_device(asked["volume_id"], asked["attached_as"], asked["timeout"], store.stop))
    attached.check_alone(disk)
    what = "restored volume" if asked["level"] == "restored" else "volume"
    if what == "volume":
        attached.check_size(disk, snapshot.size_gib << 30)
    form, forms = validate.forms_of(store, found)

    def mark():
        lane.check()
        volumes.mark_mounted(calls, asked["volume_id"])

    with _disk.opened(disk, form, asked["mount_point"], "zero", asked["spool"], store.stop, mark, forms) as there:
        factories = {number: factory for number, (factory, _size) in there.sources.items()}
        settings = validate.against(settings, f"{what} {asked['volume_id']}", factories)
        return job(store, snapshot, found, asked["level"], settings)


def main():
    _aws.main(SPEC, work)


if __name__ == "__main__":
    main()
