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
  - Lists the archived snapshots, with volume, time, state and storage class; takes a census of the bucket, with everything that is
    incomplete or orphaned; and finds files by path or glob across archives.
  - All of that comes from listings, manifests and indexes, which stay in STANDARD, so nothing has to be thawed.
  - Archives made by snap-to-s3 or flexible-snapshot-proxy are listed, too. They have no index, so no files are found in them.
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
    description: Only snapshots started before this date or time, in ISO 8601, UTC unless it has an offset.
    type: str
  after:
    description: Only snapshots started at or after this date or time.
    type: str
  state:
    description:
      - Only archives in this state. V(complete) ones have a manifest, V(incomplete) ones should have one and do not, V(foreign)
        ones were made by other tools and never have one.
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
    description: Only snapshots that had these tags with these values. Reads the manifests.
    type: dict
    default: {}
  newest:
    description: Only the newest match of each volume.
    type: bool
    default: false
  sample:
    description: Only a random sample of this many matches.
    type: int
  seed:
    description: With the same seed and the same archives, O(sample) picks the same ones on any host.
    type: str
    default: ""
  details:
    description: Also read each manifest, for description, tags, filesystems and archives, and whether a receipt proves them.
    type: bool
    default: false
  paths:
    description:
      - Find these paths in the matching archives; patterns as in M(coldstore.ebs.snapshot_restore). C(**) lists everything,
        C(**/name) finds a name anywhere.
    type: list
    elements: str
  exclude:
    description: Leave these out; patterns as in O(paths).
    type: list
    elements: str
  census:
    description: Also count everything below O(prefix), and list what is incomplete or orphaned.
    type: bool
    default: false
  limit:
    description: List at most this many archives, and this many members. All are counted.
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
- name: List the archives of a volume
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    volume_id: vol-00000000000000006

- name: Find the newest one before a bad day
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    volume_id: vol-00000000000000006
    before: "2026-01-31"
    newest: true

- name: Find a file
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    paths: ["**/file 1"]

- name: Count what the bucket holds, and find what is orphaned
  coldstore.ebs.snapshot_archive_info:
    bucket: my-archives
    census: true
    limit: 0
"""

RETURN = r"""
archives:
  description: One entry for each snapshot, by volume and time.
  returned: success
  type: list
  elements: dict
  contains:
    snapshot_id:
      description: The snapshot.
      type: str
    volume_id:
      description: The volume it was made from; empty for archives of flexible-snapshot-proxy.
      type: str
    start_time:
      description: When it was started, according to the key.
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
      description: The partitions that have archives; null is the whole disk.
      type: list
      elements: int
    manifest:
      description: The key of the manifest, to restore with.
      type: str
    keys:
      description: The keys of the archives.
      type: list
      elements: str
    objects:
      description: The number of their objects.
      type: int
    size:
      description: Their size in bytes.
      type: int
    storage_classes:
      description: Their storage classes.
      type: list
      elements: str
    awake:
      description:
        - Whether they can be read without a thaw, judging by their storage classes. With O(awake=true) or O(details=true) the
          module also checks whether INTELLIGENT_TIERING has moved them to an archive tier.
      type: bool
    encrypted:
      description: Whether any of them is encrypted with GPG.
      type: bool
    receipts:
      description: The keys of receipts.
      type: list
      elements: str
    asleep:
      description:
        - With O(details=true) or O(paths), a sentence about each manifest, receipt or index that a lifecycle rule has put to sleep.
          Its contents are not known then. Each is also a warning.
      type: list
      elements: str
    details:
      description: The contents of the manifest, with O(details=true) or O(tags); empty if it was damaged.
      type: dict
    damaged:
      description:
        - With O(details=true) or O(paths), what was found damaged - its manifest, receipts (which then prove nothing) or indexes
          (which are not searched). Each is also a warning.
      type: list
      elements: str
archive_count:
  description: The number of matches.
  returned: success
  type: int
members:
  description: The files, directories and links that match O(paths).
  returned: when O(paths) is given
  type: list
  elements: dict
member_count:
  description: The number of matches.
  returned: when O(paths) is given
  type: int
searched:
  description: The number of archives that were searched.
  returned: when O(paths) is given
  type: int
census:
  description:
    - C(objects), C(bytes), C(unknown) (unrecognised objects), C(volumes) and C(storage_classes) with their objects and
      bytes, C(orphans) and C(orphan_count), and unfinished C(uploads) with age and bytes.
  returned: when O(census=true)
  type: dict
truncated:
  description: Whether there are more matches than listed.
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
