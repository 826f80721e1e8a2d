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

import os

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import aws as _aws
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud import volumes
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Asleep, Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import after_a_stop
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import prices
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import restore
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import sleeping
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import losses
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import restore as _restore
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import subject as _subject
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import whole_disk as _whole_disk
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, spool

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
    **_aws.BUCKET,
}


def target_of(asked):
    return asked["directory"] or asked["device"] or asked["volume_id"] or ""


def report(asked, subject, choice, changed, done, **more):
    target = target_of(asked)
    after = {"restored": target, "snapshot": subject.snapshot_id} if changed and target else {}
    return {
        "changed": changed,
        "pending": False,
        "thaw": {},
        "snapshot_id": subject.snapshot_id,
        "manifest": subject.manifest_key,
        "target": target,
        "device": "",
        "archives": [
            {"partition": each.partition, "key": each.key, "directory": _restore.place(asked, each)} for each in choice.archives
        ],
        "left_out": choice.left_out,
        "seconds": 0.0,
        "unchecked": subject.unchecked,
        "loss": losses.sentence(losses.summed(each.entry for each in choice.archives if each.entry is not None)),
        "diff": {"before": {}, "after": after},
        **_restore.nothing(),
        **done,
        **more,
    }


def whole_disk(asked, subject):
    """Whether a disk is to be made again from the archives of its partitions."""
    return not asked["directory"] and not asked["partition"] and subject.makes_a_disk


def chosen(asked, subject, store, settings):
    """What will be read."""
    partition = asked["partition"] or ""
    _subject.check_partition(partition, bool(asked["directory"]))
    if not target_of(asked) and not asked["thaw_only"] and not partition:
        return _subject.Choice(subject.archives, [])
    if asked["directory"]:
        return _restore.matching(store, _subject.for_directory(subject, partition), asked, settings)
    if whole_disk(asked, subject):
        if asked["device"] and not attached.is_block_device(asked["device"]):
            raise Refused(
                f"{asked['device']} is no block device, and a disk is made again only on one", "Name partition for an image."
            )
        _whole_disk.check_disk(subject.body)
        if asked["size"]:
            size = asked["size"] << 30
            _whole_disk.check_room(subject.body, size, size > subject.body["disk"]["size"])
        return _subject.Choice(subject.archives, [])
    return _subject.for_device(subject, partition)


def check(asked):
    if not target_of(asked) and not asked["thaw_only"]:
        return
    if asked["directory"] and asked["owners"] and os.geteuid():
        raise Refused("giving files to their owners needs root", "Set become: true, or owners: false.")
    if not asked["directory"]:
        _aws.require_root()
    if not asked["directory"] and (asked["paths"] or asked["exclude"] or asked["strip_components"]):
        raise Refused("paths, exclude and strip_components are for a directory", "Name one, or leave them out.")
    spool.check(asked["spool"])


def price_of(asleep, tier):
    takes = sleeping.takes(asleep, tier)
    dollars = prices.thaw(prices.table(prices.BASE), [(each.storage_class, each.size) for each in asleep], tier)
    return {
        "objects": len(asleep),
        "bytes": sum(each.size for each in asleep),
        "storage_classes": sorted({each.storage_class for each in asleep}),
        "tier": tier,
        "dollars": round(dollars, 4),
        "takes": takes,
    }


def planned(asked, store, settings, check_mode):
    """From manifest and indexes: what is there, what of it will be read, and in check mode what that comes to."""
    subject = _subject.find(store, asked["prefix"], asked["snapshot_id"] or "", asked["key"] or "", asked["source_volume_id"])
    choice = chosen(asked, subject, store, settings)
    return subject, choice, predicted(asked, store, choice, settings) if check_mode else {}


def brought_back(module, store, objects):
    """What still sleeps of (key, version), the price, and how many requests were made: none in check mode."""
    asked = module.params
    asleep = sleeping.asleep(store, objects)
    price = price_of(asleep, asked["thaw_tier"]) if asleep else {}
    if module.check_mode or not asleep:
        return asleep, price, 0
    requested = sleeping.wake(store, asleep, asked["thaw_tier"], asked["thaw_days"])
    if asked["wait"]:
        asleep = sleeping.wait(store, asleep, asked["wait_timeout"], asked["wait_interval"])
    return asleep, price, requested


def work(module, stop):
    asked = module.params
    check(asked)
    store = _aws.store_of(module, stop)
    settings = restore.Settings(asked["threads"] or max(4, os.cpu_count() or 4), asked["spool"])
    try:
        subject, choice, done = planned(asked, store, settings, module.check_mode)
    except Asleep as error:
        module.warn(str(error))
        named = (asked["snapshot_id"] or "", asked["key"] or "", asked["source_volume_id"], asked["partition"] or "")
        subject = _subject.asleep(store, asked["prefix"], *named)
        asleep, price, requested = brought_back(module, store, _subject.unread(subject))
        if asleep:
            return report(asked, subject, _subject.Choice([], []), bool(requested), {}, thaw=price, pending=True)
        subject, choice, done = planned(asked, store, settings, module.check_mode)
    asleep, price, requested = brought_back(module, store, _restore.objects(choice.archives, store))
    restores = bool(target_of(asked)) and not asked["thaw_only"]
    if module.check_mode:
        return report(asked, subject, choice, bool(restores or asleep), done, thaw=price, pending=bool(asleep))
    if asleep or not restores:
        return report(asked, subject, choice, bool(requested), {}, thaw=price, pending=bool(asleep))
    begun = store.clock.monotonic()
    done, device = run(module, store, subject, choice, settings)
    for warning in done.pop("warnings", []):
        module.warn(warning)
    if done["problem_count"]:
        first = "{attribute} of {path}: {reason}".format(**done["problems"][0])
        module.warn(f"{done['problem_count']} attributes could not be restored, the first: {first}")
    result = report(
        asked, subject, choice, True, done, thaw=price, device=device, seconds=round(store.clock.monotonic() - begun, 3)
    )
    if result["loss"]:
        module.warn(f"what could not be read when it was archived is missing: {result['loss']}; the manifest lists it")
    return result


def predicted(asked, store, choice, settings):
    if not asked["directory"]:
        members = sum(each.entry["members"] for each in choice.archives if each.entry)
        return {"bytes_written": sum(_restore.size_of(each, store) for each in choice.archives), "members": members}
    total = {"members": 0, "bytes_written": 0, "bytes_fetched": 0}
    for each in choice.archives:
        _restore.add(total, _restore.survey(store, each, asked, settings))
    return total


def run(module, store, subject, choice, settings):
    asked = module.params
    if asked["directory"]:
        return _restore.to_directory(store, choice, asked, settings), ""
    part = f"What was written so far stays on {asked['volume_id'] or asked['device']}; restore it again, with overwrite: true."
    if not asked["volume_id"]:
        with after_a_stop(part):
            return onto(asked, store, subject, choice, settings, asked["device"], asked["blank"], False)
    calls = _aws.ec2_calls(module, store.stop, asked["timeout"])
    mine = volumes.is_blank(calls, asked["volume_id"])
    try:
        device = attached.wait_for_device(asked["volume_id"], asked["attached_as"], asked["timeout"], store.stop)
        return onto(asked, store, subject, choice, settings, device, mine, mine)
    except Stopped as error:
        if mine:
            _aws.remove_after_stop(calls, asked["volume_id"], error)
        else:
            error.advice = part
        raise


def onto(asked, store, subject, choice, settings, device, blank, mine):
    if not mine and not asked["overwrite"]:
        attached.check_unused(device)
    if whole_disk(asked, subject):
        return _whole_disk.to_disk(store, subject, device, settings, asked["grow"], blank, asked["mount_point"]), device
    return _restore.to_device(store, choice.archives[0], device, settings, blank, asked["overwrite"] or mine), device


def main():
    _aws.main(
        SPEC,
        work,
        required_one_of=[("snapshot_id", "key")],
        mutually_exclusive=[("directory", "device", "volume_id")],
    )


if __name__ == "__main__":
    main()
