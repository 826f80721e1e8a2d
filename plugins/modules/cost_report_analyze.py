#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cost_report_analyze
short_description: Say from an AWS bill which snapshots are worth moving where
version_added: 1.0.0
description:
  - Reads a bill, finds what every snapshot holds and costs, joins it with what EC2 knows, and advises for each volume's chain of
    snapshots whether to keep it, to use EBS's archive tier, or to archive it in a storage class of S3.
  - Bills are recognised by their columns. Legacy CUR (csv, csv.gz, zip, Parquet), CUR 2.0 and FOCUS 1.x (csv.gz, Parquet) are
    read, with any number of accounts, hourly, daily or monthly.
  - EBS bills each snapshot's 512 KiB blocks once a day, so sizes of hourly and daily bills are exact. A monthly bill has averages.
  - Nothing is saved before a snapshot is deleted, and what its deletion frees depends on its neighbours, because shared blocks
    move on to the next one. So savings are ranges, from what is certain to what is possible.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  report:
    description:
      - Files, manifests, directories or s3:// URIs of these or of a prefix.
      - In a directory or below a prefix the newest complete period is taken, and of that the files that its newest manifest names.
    type: list
    elements: str
    required: true
  period:
    description: The month to analyse, as V(2026-09), where there are several.
    type: str
    default: ""
  currency:
    description: The currency to analyse, as V(EUR), where the bill has lines in several.
    type: str
    default: ""
  describe:
    description:
      - Whether to ask EC2 which volume each snapshot is of. Without it the bill alone is used, and no chain is known.
      - An account or a region that does not answer ends nothing. It is named in RV(not_asked), with what helps.
    type: bool
    default: true
  regions:
    description: The regions to ask; by default those on the bill, with V(all) every one that is enabled.
    type: list
    elements: str
    default: []
  assume_roles:
    description: ARNs of roles to assume, one in each further account. The account of the credentials is always asked.
    type: list
    elements: str
    default: []
  classes:
    description: The storage classes to consider.
    type: list
    elements: str
    choices: [STANDARD, STANDARD_IA, ONEZONE_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE]
    default: [STANDARD, STANDARD_IA, ONEZONE_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE]
  compression:
    description:
      - Bytes of an archive for each byte a snapshot holds. With O(bucket) it is measured on the archives in it, for each volume
        by itself where there are some, and this is used only if there are none.
    type: float
    default: 0.5
  bucket:
    description: Measure O(compression) on the archives in this bucket.
    type: str
    required: false
  months:
    description: How long the snapshots will be kept from now on.
    type: float
    default: 12
  retrievals:
    description: The share of what is archived that will be brought back in a year, from 0 up.
    type: float
    default: 0
  keep_newest:
    description: How many snapshots of a volume that is in use stay in EBS.
    type: int
    default: 1
  cold_days:
    description: A volume counts as cold, and all its snapshots may go, if it is gone or its newest snapshot is older than this.
    type: int
    default: 90
  minimum_saving:
    description: Dollars a month that moving a chain must save for certain to be advised.
    type: float
    default: 1
  throughput:
    description: Throughput of temporary volumes in MiB/s.
    type: float
    default: 125
  worker_price:
    description: Dollars an hour of a worker; 0 leaves its time out.
    type: float
    default: 0
  prices:
    description:
      - Prices to use instead, nested and named as C(values) in RV(prices), for instance C(snapshot), or C(storage) in
        C(DEEP_ARCHIVE) in C(classes).
      - C(currency) says which currency they are in. In another currency than the collection's own prices all must be given that
        the considered storage classes need.
    type: dict
    default: {}
  refresh_prices:
    description: Ask the AWS price API. If it does not answer, the collection's own dated prices are used, with a warning.
    type: bool
    default: true
  exact_volumes:
    description:
      - Measure by the EBS direct APIs what the snapshots of these volumes have in common, so that savings are no ranges. It
        takes a request for each 10,000 blocks and pair of snapshots, $0.0006 for 1,000.
    type: list
    elements: str
    default: []
  outputs:
    description: Files to write. They are not written in check mode.
    type: dict
    default: {}
    suboptions:
      json:
        description: Everything.
        type: path
      csv:
        description: One line a snapshot.
        type: path
      text:
        description: For a terminal.
        type: path
      html:
        description: One page with plots that needs no network. It takes O(page).
        type: path
  page:
    description: The HTML page, with C(@DATA@) where its data goes. The role P(coldstore.ebs.cost_report#role) has one.
    type: str
    default: ""
  apply:
    description:
      - Tag the snapshots that are advised to go to S3 with O(tag) = C(migrate), so that C(migrate.yml) takes them. Those that
        have the tag already, whatever its value, stay as they are. Look at it in check mode first.
    type: bool
    default: false
  limit:
    description: How many chains are returned, the dearest first. Files and totals have all.
    type: int
    default: 100
  spool:
    description: A directory for copies of what lies in S3 and for what is taken out of zip files.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - coldstore.ebs.bucket
  - coldstore.ebs.bucket.tag
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
requirements:
  - polars 1.30 or newer, on the host the module runs on
attributes:
  check_mode:
    support: full
    description: The analysis is made; no file is written and nothing is tagged.
  diff_mode:
    support: full
    description: The tags that would be or were set.
"""

EXAMPLES = r"""
- name: What do my snapshots cost, and what to do
  coldstore.ebs.cost_report_analyze:
    report: ["s3://my-bills/cur"]
    region: eu-central-1
  register: analysis

- name: Show it
  ansible.builtin.debug:
    msg: "{{ analysis.text }}"

- name: From a file alone, without asking AWS anything
  coldstore.ebs.cost_report_analyze:
    report: [/srv/bills/september.csv.gz]
    describe: false
    refresh_prices: false
    outputs: {csv: /srv/bills/september-snapshots.csv}

- name: Queue what is worth it for migrate.yml, in check mode first
  coldstore.ebs.cost_report_analyze:
    report: ["s3://my-bills/cur"]
    regions: [all]
    classes: [GLACIER_IR]
    apply: true
"""

RETURN = r"""
report:
  description: What was read.
  returned: success
  type: dict
  contains:
    kinds:
      description: Legacy CUR, CUR 2.0 or FOCUS.
      type: list
      elements: str
    currency:
      description: Of all amounts.
      type: str
    period:
      description: The billing period.
      type: str
    complete:
      description: Whether the whole month is billed, and AWS has closed it.
      type: bool
    granularity:
      description: V(daily), also for hourly bills, V(monthly), or V(mixed) where lines of both kinds were read.
      type: str
    first_day:
      description: The first day on the bill.
      type: str
    last_day:
      description: The newest day that is billed completely. Sizes are of this day.
      type: str
    may_change_until:
      description: The day until which AWS may still change the bill; empty once that is over.
      type: str
    exact:
      description: Whether sizes are whole blocks.
      type: bool
    files:
      description: The files that were read.
      type: list
      elements: str
    passed_over:
      description: What was not read, C(file), and C(why).
      type: list
      elements: dict
totals:
  description: The sums, which add up to the bill.
  returned: success
  type: dict
  contains:
    bill:
      description: All of the bill.
      type: float
    snapshots:
      description: What was analysed.
      type: float
    average_month:
      description: What the storage of an average day of the period comes to in a month.
      type: float
    not_analysed:
      description: What else is on the bill, by group and what.
      type: list
      elements: dict
    kinds:
      description: The analysed lines by kind of usage.
      type: list
      elements: dict
    regions:
      description: By account and region, volumes, snapshots, GiB and cost.
      type: list
      elements: dict
savings:
  description: What following all advice comes to, in sum and by target. Dollars a month, but for C(once).
  returned: success
  type: dict
chains:
  description: The dearest chains, with their snapshots and what to do.
  returned: success
  type: list
  elements: dict
  contains:
    account:
      description: The account.
      type: str
    region:
      description: The region.
      type: str
    volume_id:
      description: The volume; empty if it is not known, then the chain is one snapshot.
      type: str
    volume_gone:
      description: Whether the volume does not exist any more; null if EC2 was not asked, or did not say.
      type: bool
    cold:
      description: Whether all of it may go.
      type: bool
    count:
      description: How many snapshots it has.
      type: int
    billed_blocks:
      description: Blocks of 512 KiB billed on the last day.
      type: int
    billed_gib:
      description: The same in GiB.
      type: float
    cost:
      description: Dollars of the period.
      type: float
    monthly:
      description: Dollars a whole month at the last day's size.
      type: float
    average_change_percent:
      description: How much a snapshot changed to the one before, on average over all but the first; null for one alone.
      type: float
    advice:
      description: V(keep), V(EBS archive) or a storage class.
      type: str
    reason:
      description: Why.
      type: str
    not_asked:
      description: What is not known of it, since there was no answer.
      type: list
      elements: str
    chosen:
      description: The option that is advised, as in RV(chains[].options).
      type: dict
    options:
      description:
        - What could be done, the cheapest over O(months) first. C(saving_least) and C(saving_most) are dollars a month, C(once) and
          C(bring_back) dollars. C(available) is false for what this version cannot do yet.
      type: list
      elements: dict
    snapshots:
      description:
        - Every snapshot, oldest first, with sizes, costs, change, what deleting it alone frees, and what stands against that.
      type: list
      elements: dict
not_asked:
  description:
    - What an account or a region could not be asked, or did not answer. Its snapshots stay as the bill has them, with the state
      C(not asked), nothing is advised for them, and advice that rests on something that is not known says so.
  returned: success
  type: list
  elements: dict
  contains:
    account:
      description: The account; empty if nobody knows it.
      type: str
    region:
      description: The region; empty for all of the account.
      type: str
    what:
      description: What is not known, therefore.
      type: str
    permission:
      description: The IAM action that it needs; empty if no permission is missing.
      type: str
    why:
      description: What was the answer.
      type: str
    help:
      description: What to do about it, with the option that helps.
      type: str
    snapshots:
      description: How many snapshots are concerned.
      type: int
    monthly:
      description: What these cost, in dollars a month.
      type: float
chain_count:
  description: How many chains there are.
  returned: success
  type: int
truncated:
  description: Whether RV(chains) was cut at O(limit).
  returned: success
  type: bool
migrations:
  description: What is advised to go to S3; each entry is what one run of C(migrate.yml) can take.
  returned: success
  type: list
  elements: dict
  contains:
    account:
      description: The account.
      type: str
    region:
      description: The region.
      type: str
    storage_class:
      description: Where to.
      type: str
    snapshot_ids:
      description: The snapshots.
      type: list
      elements: str
tagged:
  description: Those that were tagged, or would be in check mode.
  returned: when O(apply=true)
  type: list
  elements: str
prices:
  description: The prices used, by region, with their date and source, and which are another region's.
  returned: success
  type: dict
assumptions:
  description: What a bill cannot say; C(compression_measured) tells whether archives were measured.
  returned: success
  type: dict
text:
  description: The report for a terminal, its lines, for as many chains as O(limit).
  returned: success
  type: list
  elements: str
written:
  description: The files that were changed.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import arguments, run
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.analyse import CLASSES, analyse

PATH = {"type": "path"}
SPEC = {
    **arguments.BUCKET,
    **arguments.TAG,
    "bucket": {"type": "str", "required": False},
    "report": {"type": "list", "elements": "str", "required": True},
    "period": {"type": "str", "default": ""},
    "currency": {"type": "str", "default": ""},
    "describe": {"type": "bool", "default": True},
    "regions": {"type": "list", "elements": "str", "default": []},
    "assume_roles": {"type": "list", "elements": "str", "default": []},
    "classes": {"type": "list", "elements": "str", "choices": CLASSES, "default": CLASSES},
    "compression": {"type": "float", "default": 0.5},
    "months": {"type": "float", "default": 12},
    "retrievals": {"type": "float", "default": 0},
    "keep_newest": {"type": "int", "default": 1},
    "cold_days": {"type": "int", "default": 90},
    "minimum_saving": {"type": "float", "default": 1},
    "throughput": {"type": "float", "default": 125},
    "worker_price": {"type": "float", "default": 0},
    "prices": {"type": "dict", "default": {}},
    "refresh_prices": {"type": "bool", "default": True},
    "exact_volumes": {"type": "list", "elements": "str", "default": []},
    "outputs": {"type": "dict", "default": {}, "options": {"json": PATH, "csv": PATH, "text": PATH, "html": PATH}},
    "page": {"type": "str", "default": ""},
    "apply": {"type": "bool", "default": False},
    "limit": {"type": "int", "default": 100},
    "spool": {"type": "path", "default": "/var/tmp"},
}


def main():
    run.main(SPEC, analyse, on_worker=False)


if __name__ == "__main__":
    main()
