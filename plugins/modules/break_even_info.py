#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: break_even_info
short_description: Work out from which rate of change whole archives cost less than EBS snapshots
version_added: 1.0.0
description:
  - For each snapshot, EBS stores what has changed since the one before. An archive in S3 holds everything, but compressed, and a
    gigabyte costs less. So archives pay off for single snapshots, and for volumes that change a lot between snapshots.
  - This module works out from which change on they do, for each storage class and number of snapshots, without reading a bill.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  price_region:
    description: The region whose prices are used.
    type: str
    default: us-east-1
  compression:
    description: Bytes of an archive for each byte that a snapshot holds; 1 means no compression.
    type: list
    elements: float
    default: [1, 0.5]
  snapshots:
    description: How many snapshots a volume has; 0 stands for very many.
    type: list
    elements: int
    default: [2, 7, 30, 0]
  prices:
    description: Prices to use instead, as in M(coldstore.ebs.cost_report_analyze).
    type: dict
    default: {}
  refresh_prices:
    description: Ask the AWS price API.
    type: bool
    default: false
extends_documentation_fragment:
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
- name: What if Glacier Instant Retrieval cost half as much
  coldstore.ebs.break_even_info:
    snapshots: [30]
    prices:
      classes:
        GLACIER_IR:
          storage: 0.002
"""

RETURN = r"""
rows:
  description: One entry for each storage class, compression and number of snapshots.
  returned: success
  type: list
  elements: dict
  contains:
    storage_class:
      description: The class of the archives; V(EBS archive) is EBS's own archive tier, which does not compress.
      type: str
    compression:
      description: As given in the options.
      type: float
    snapshots:
      description: As given in the options.
      type: int
    change_percent:
      description: Archives cost less above this change from one snapshot to the next. Below 0 they always do, above 100 never.
      type: float
text:
  description: The lines of the same figures as a table.
  returned: success
  type: list
  elements: str
prices_note:
  description: Where the prices come from, and their date.
  returned: success
  type: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.break_even import break_even

SPEC = {
    "price_region": {"type": "str", "default": "us-east-1"},
    "compression": {"type": "list", "elements": "float", "default": [1, 0.5]},
    "snapshots": {"type": "list", "elements": "int", "default": [2, 7, 30, 0]},
    "prices": {"type": "dict", "default": {}},
    "refresh_prices": {"type": "bool", "default": False},
}


def main():
    run.main(SPEC, break_even, on_worker=False)


if __name__ == "__main__":
    main()
