#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_archive_info
short_description: Find archives of snapshots in a bucket, and files in them
version_added: 1.0.0
description:
  - Lists which snapshots are archived, of which volume, when, in which state and storage class; takes a census of the bucket,
    with what is incomplete or belongs to nothing; and finds files by path or glob across archives.
  - All of that comes from listings, manifests and indexes, which stay in STANDARD, so nothing is thawed for it.
  - Archives that snap-to-s3 or flexible-snapshot-proxy made are listed, too. They have no index, so no files are found in them.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  snapshot_ids:
    description: Only these snapshots.
    type: list
    elements: str
  volume_id:
    description: Only snapshots of this volume. Only its keys are listed then, unless O(census=true).
    type: str
    default: ""
  before:
    description: Only snapshots started before this date or time, ISO 8601, UTC unless it says otherwise.
    type: str
  after:
    description: Only snapshots started at or after this date or time.
    type: str
  state:
    description:
      - Only archives in this state. V(complete) have a manifest, V(incomplete) should have one and have none, V(foreign) are
        of other tools and never have one.
    type: str
    choices: [complete, incomplete, foreign]
  format:
    description: Only archives of this format.
    type: str
    choices: [tar, image]
  awake:
    description: Only archives that can be read without a thaw.
    type: bool
    default: false
  tags:
    description: Only snapshots that had these tags with these values. The manifests are read for it.
    type: dict
    default: {}
  newest:
    description: Of each volume only the newest that matches.
    type: bool
    default: false
  sample:
    description: Of those that match only so many, drawn by lot.
    type: int
  seed:
    description: With the same seed, O(sample) draws the same of the same archives, on whatever host.
    type: str
    default: ""
  details:
    description: Also read each manifest, for description, tags, filesystems, archives and whether a receipt proves them.
    type: bool
    default: false
  paths:
    description:
      - Find these in the archives that match; patterns as in M(coldstore.ebs.snapshot_restore). C(**) lists everything,
        C(**/name) finds a name anywhere.
    type: list
    elements: str
  exclude:
    description: But not these.
    type: list
    elements: str
  census:
    description: Also count everything below O(prefix), and list what is incomplete or orphaned.
    type: bool
    default: false
  limit:
    description: How many archives and how many members are listed at most. All are counted.
    type: int
    default: 1000
  threads:
    description: How many manifests or indexes are fetched at a time.
    type: int
    default: 16
  spool:
    description: A directory for indexes while they are in use.
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
    description: The module changes nothing.
  diff_mode:
    support: none
    description: The module changes nothing.
"""

EXAMPLES = r"""
- name: Which archives are there of a volume
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    volume_id: vol-00000000000000006

- name: The newest before a bad day
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    volume_id: vol-00000000000000006
    before: "2026-01-31"
    newest: true

- name: Where is that file
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    paths: ["**/file 1"]

- name: What does the bucket hold, and what in it belongs to nothing
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    census: true
    limit: 0
"""

RETURN = r"""
archives:
  description: One entry a snapshot, by volume and time.
  returned: success
  type: list
  elements: dict
  contains:
    snapshot_id:
      description: The snapshot.
      type: str
    volume_id:
      description: The volume it was made of; empty for flexible-snapshot-proxy's.
      type: str
    start_time:
      description: When it was started, as the key says.
      type: str
    state:
      description: V(complete), V(incomplete) or V(foreign).
      type: str
    layout:
      description: V(ours), V(snap_to_s3) or V(fsp).
      type: str
    formats:
      description: V(tar), V(image) or both.
      type: list
      elements: str
    partitions:
      description: The partitions there are archives of; none is the whole disk.
      type: list
      elements: int
    manifest:
      description: The key of the manifest; what to restore with.
      type: str
    keys:
      description: The keys of the archives.
      type: list
      elements: str
    objects:
      description: How many objects they are.
      type: int
    size:
      description: Their bytes.
      type: int
    storage_classes:
      description: Where they are.
      type: list
      elements: str
    awake:
      description:
        - Whether they can be read without a thaw, by their storage classes. With O(awake=true) or O(details=true) it is also looked
          whether INTELLIGENT_TIERING has put them into an archive tier.
      type: bool
    encrypted:
      description: Whether one is encrypted with GPG.
      type: bool
    receipts:
      description: The keys of receipts.
      type: list
      elements: str
    asleep:
      description:
        - With O(details=true) or O(paths), of each manifest, receipt or index that a lifecycle rule has put to sleep, a sentence.
          What it says is not known then, and the module warns of it.
      type: list
      elements: str
    details:
      description: What the manifest says, with O(details=true) or O(tags); empty if it was damaged.
      type: dict
    damaged:
      description:
        - What was read of it and is not what was written, with O(details=true) or O(paths); its manifest, receipts (which prove
          nothing then) or indexes (which are not searched). Each is a warning, too.
      type: list
      elements: str
archive_count:
  description: How many match.
  returned: success
  type: int
members:
  description: The files, directories and links that match O(paths).
  returned: when O(paths) is given
  type: list
  elements: dict
member_count:
  description: How many match.
  returned: when O(paths) is given
  type: int
searched:
  description: How many archives were searched.
  returned: when O(paths) is given
  type: int
census:
  description:
    - C(objects), C(bytes), C(unknown) (objects that are nobody's), C(volumes) and C(storage_classes) with their objects and
      bytes, C(orphans) and C(orphan_count), and C(uploads) that are unfinished, with age and bytes.
  returned: when O(census=true)
  type: dict
truncated:
  description: Whether more matches than are listed.
  returned: success
  type: bool
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.browse import browse

SPEC = {
    "snapshot_ids": {"type": "list", "elements": "str"},
    "volume_id": {"type": "str", "default": ""},
    "before": {"type": "str"},
    "after": {"type": "str"},
    "state": {"type": "str", "choices": ["complete", "incomplete", "foreign"]},
    "format": {"type": "str", "choices": ["tar", "image"]},
    "awake": {"type": "bool", "default": False},
    "tags": {"type": "dict", "default": {}},
    "newest": {"type": "bool", "default": False},
    "sample": {"type": "int"},
    "seed": {"type": "str", "default": ""},
    "details": {"type": "bool", "default": False},
    "paths": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "census": {"type": "bool", "default": False},
    "limit": {"type": "int", "default": 1000},
    "threads": {"type": "int", "default": 16},
    "spool": {"type": "path", "default": "/var/tmp"},
    **arguments.BUCKET,
}


def main():
    run.main(SPEC, browse)


if __name__ == "__main__":
    main()
