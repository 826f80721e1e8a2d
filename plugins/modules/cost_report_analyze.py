#!/usr/bin/python
# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cost_report_analyze
short_description: Find out from an AWS bill which snapshots are worth moving, and where to
version_added: 1.0.0
description:
  - Reads a bill, finds out what every snapshot holds and costs, and combines that with what EC2 knows. For each volume's chain of
    snapshots it advises to keep it, to use EBS's archive tier, or to archive it in a storage class of S3.
  - Bills are recognised by their columns. Legacy CUR (csv, csv.gz, zip, Parquet), CUR 2.0 and FOCUS 1.x (csv.gz, Parquet) are
    read, with any number of accounts, hourly, daily or monthly.
  - EBS bills each snapshot's 512 KiB blocks once a day, so sizes from hourly and daily bills are exact. Monthly bills have
    averages.
  - You save nothing until you delete a snapshot, and what that frees depends on its neighbours, because shared blocks are billed
    with the next snapshot then. So savings are ranges, from what is certain to what is possible.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  report:
    description:
      - Files, manifests or directories, or s3:// URIs of these or of a prefix.
      - In a directory or below a prefix, the newest complete period is read, and of that period the files named in its newest
        manifest.
    type: list
    elements: str
    required: true
  period:
    description: The month to analyse, such as V(2026-09), if there are several.
    type: str
    default: ""
  currency:
    description: The currency to analyse, such as V(EUR), if the bill has lines in several.
    type: str
    default: ""
  describe:
    description:
      - Whether to ask EC2 which volume each snapshot belongs to. Otherwise only the bill is used, and no chain is known.
      - An account or a region that does not answer does not end the analysis. RV(not_asked) names it, with what helps.
    type: bool
    default: true
  regions:
    description: The regions to ask. The default is those on the bill; V(all) means every enabled region.
    type: list
    elements: str
    default: []
  assume_roles:
    description: ARNs of roles to assume, one for each further account. The account of the credentials is always asked.
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
      - Bytes of an archive for each byte that a snapshot holds. With O(bucket) it is measured on the archives in it, separately for
        each volume that has some, and this value is used only if there are none.
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
    description: The share of the archives that will be restored in a year, from 0 up.
    type: float
    default: 0
  keep_newest:
    description: How many snapshots of a volume in use stay in EBS.
    type: int
    default: 1
  cold_days:
    description:
      - A volume counts as cold, and all its snapshots may go, if it is gone or its newest snapshot is older than this many days.
    type: int
    default: 90
  minimum_saving:
    description: Moving a chain is advised only if it is likely to save this many dollars a month.
    type: float
    default: 1
  throughput:
    description: Throughput of temporary volumes in MiB/s.
    type: float
    default: 125
  worker_price:
    description: The price of a worker in dollars an hour; 0 leaves out its time.
    type: float
    default: 0
  restore_within:
    description:
      - How soon the first byte of what is brought back is wanted, as V(30m), V(12h) or V(2d). Only what holds to that is advised.
      - It is 5 hours of V(GLACIER), 12 of V(DEEP_ARCHIVE), 72 of EBS's archive tier; the others answer at once.
      - Beside an archive that sleeps stands the next class that is back sooner, with what it costs more a month.
    type: str
    default: ""
  grace_days:
    description: How long a snapshot stays after its archive was validated. Both are paid for meanwhile.
    type: float
    default: 7
  kms:
    description: Count a request to KMS for each part that is written and read, as a bucket without S3 Bucket Keys makes them.
    type: bool
    default: false
  tags:
    description: Tags of the snapshots that are shown beside each, with its C(Name), where EC2 was asked.
    type: list
    elements: str
    default: []
  prices:
    description:
      - Prices to use instead, nested and named as C(values) in RV(prices), for instance C(snapshot), or C(storage) in
        C(DEEP_ARCHIVE) in C(classes).
      - C(currency) names their currency. If it differs from that of the collection's own prices, give all prices that the
        considered storage classes need.
    type: dict
    default: {}
  refresh_prices:
    description: Ask the AWS price API. If it does not answer, the collection's own dated prices are used, with a warning.
    type: bool
    default: true
  exact_volumes:
    description:
      - Measure with the EBS direct APIs what the snapshots of these volumes share, so that savings are exact instead of ranges.
        This takes one request for each 10,000 blocks and pair of snapshots, at $0.0006 for 1,000.
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
        description: One line for each snapshot.
        type: path
      text:
        description: The report for a terminal.
        type: path
      html:
        description: One page with plots that needs no network. Requires O(page).
        type: path
  page:
    description: The HTML page, with C(@DATA@) as the place for its data. The role P(coldstore.ebs.cost_report#role) has one.
    type: str
    default: ""
  apply:
    description:
      - Tag the snapshots that are advised to go to S3 with O(tag) = C(migrate), so that C(migrate.yml) takes them, and beside it
        with the storage class and O(format) that were advised, which it obeys. The keys of these two tags are O(tag) with
        C(-storage-class) and C(-format) behind it.
      - Those that have O(tag) already, whatever its value, stay as they are. They wait, are being migrated, failed, or are done.
      - Look at it in check mode first.
    type: bool
    default: false
  format:
    description: The format of the archives that are advised.
    type: str
    choices: [tar, image]
    default: tar
  limit:
    description: How many chains are returned, the most expensive first. Files and totals have all of them.
    type: int
    default: 100
  spool:
    description: A directory for files downloaded from S3 and unpacked from zip files.
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
    description: Analyses the bill, but writes no file and tags nothing.
  diff_mode:
    support: full
    description: Shows the tags that were set, or would be.
"""

EXAMPLES = r"""
- name: What do my snapshots cost, and what should I do
  coldstore.ebs.cost_report_analyze:
    report: ["s3://my-bills/cur"]
    region: eu-central-1
  register: analysis

- name: Show it
  ansible.builtin.debug:
    msg: "{{ analysis.text }}"

- name: Use only a file, without asking AWS anything
  coldstore.ebs.cost_report_analyze:
    report: [/srv/bills/september.csv.gz]
    describe: false
    refresh_prices: false
    outputs: {csv: /srv/bills/september-snapshots.csv}

- name: Queue what is worth moving for migrate.yml; try it in check mode first
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
      description: The currency of all amounts.
      type: str
    period:
      description: The billing period.
      type: str
    complete:
      description: Whether the whole month is billed and AWS has closed the bill.
      type: bool
    granularity:
      description: V(daily), also for hourly bills; V(monthly); or V(mixed) if lines of both kinds were read.
      type: str
    first_day:
      description: The first day on the bill.
      type: str
    last_day:
      description: The newest day that is billed completely. Sizes are those of this day.
      type: str
    may_change_until:
      description: The day until which AWS may still change the bill; empty once that day is over.
      type: str
    exact:
      description: Whether all sizes are whole blocks.
      type: bool
    files:
      description: The files that were read.
      type: list
      elements: str
    passed_over:
      description: Files that were not read, each with C(file) and C(why).
      type: list
      elements: dict
totals:
  description: The sums, which add up to the bill.
  returned: success
  type: dict
  contains:
    bill:
      description: The whole bill.
      type: float
    snapshots:
      description: The part that was analysed.
      type: float
    average_month:
      description: What storage and fast snapshot restore of an average day of the period come to in a month.
      type: float
    not_analysed:
      description: What else is on the bill, by group and item.
      type: list
      elements: dict
    kinds:
      description:
        - What RV(totals.snapshots) is made of, C(kind) as AWS calls it and C(what) in words. Storage in both tiers, fast snapshot
          restore, retrievals, early deletions, EBS direct API requests, copies to other regions; with C(quantity), C(cost),
          C(net_cost) and C(list_cost).
      type: list
      elements: dict
    ages:
      description: Snapshots C(under) and C(over) one year, or of C(unknown) age, with their GiB, cost, and dollars a month.
      type: list
      elements: dict
    regions:
      description: By account and region, volumes, snapshots, GiB, cost, net and list cost.
      type: list
      elements: dict
savings:
  description:
    - What following all advice comes to, in sum and by target. Dollars a month, but for C(once). C(first_year) is what is saved in
      twelve months with C(once) taken off, C(later_year) in each twelve after them.
    - C(deletions) is what keeping only the newest snapshot of each volume would save instead, and C(fast) what fast snapshot
      restore costs. C(since) is what went and came since the bill, and what is in the Recycle Bin.
  returned: success
  type: dict
chains:
  description: The most expensive chains, with their snapshots and what to do.
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
      description: The volume; empty if it is not known, and then the chain is a single snapshot.
      type: str
    volume_gone:
      description: Whether the volume no longer exists; null if EC2 was not asked or did not tell.
      type: bool
    sooner:
      description:
        - The next class that is back sooner than the advised one, C(target), with the C(hours) until its first byte and the
          dollars a month that it costs C(more). Null if there is none.
      type: dict
    deletion:
      description: What deleting all but the newest would save instead, as in RV(chains[].options); null if it is not worth it.
      type: dict
    net_cost:
      description: Dollars of the period with discounts.
      type: float
    list_cost:
      description: Dollars of the period at list prices.
      type: float
    cold:
      description: Whether all its snapshots may go.
      type: bool
    count:
      description: The number of snapshots.
      type: int
    billed_blocks:
      description: Blocks of 512 KiB billed on the last day.
      type: int
    billed_gib:
      description: The same in GiB.
      type: float
    cost:
      description: Dollars in the period.
      type: float
    monthly:
      description: Dollars a month at the last day's size.
      type: float
    average_change_percent:
      description: How much a snapshot differs from the one before, on average over all but the first; null if there is only one.
      type: float
    advice:
      description: V(keep), V(EBS archive) or a storage class.
      type: str
    reason:
      description: Why.
      type: str
    not_asked:
      description: What is not known about it because there was no answer.
      type: list
      elements: str
    chosen:
      description: The recommended option, as in RV(chains[].options).
      type: dict
    options:
      description:
        - What could be done, the cheapest over O(months) first. C(available) is false for what this version cannot do yet.
        - C(saving_least), C(saving_likely) and C(saving_most) are dollars a month. The least is with archives as large as what the
          snapshots hold, the likely at C(compression), the most with archives that take no room.
        - C(monthly_there) is dollars a month at C(compression), with what O(retrievals) cost and what is paid for beyond O(months).
        - C(once) is dollars, C(once_of) what it is made of. C(reading) is the temporary volume and its worker, C(requests) those
          of S3, C(validation) the second read of snapshot and archive, C(kms) requests to KMS, C(grace) both copies for
          O(grace_days).
        - C(bring_back) is dollars to bring all of it back once, C(bring_back_one) the largest of it; C(hours_to_first_byte) how
          long that takes to begin; C(minimum_days) is paid for in any case.
      type: list
      elements: dict
    snapshots:
      description:
        - Every snapshot, oldest first, with its name and O(tags), sizes, costs, change, what deleting it alone frees, and what
          stands against that (an AMI, also a disabled one, a lock, fast restore, other accounts, AWS Backup, a lifecycle policy,
          the Recycle Bin).
      type: list
      elements: dict
not_asked:
  description:
    - What an account or a region could not be asked, or did not answer. Its snapshots stay as they are on the bill, with the state
      C(not asked), and get no advice. Advice that depends on something unknown says so.
  returned: success
  type: list
  elements: dict
  contains:
    account:
      description: The account; empty if it is not known.
      type: str
    region:
      description: The region; empty for the whole account.
      type: str
    what:
      description: What is not known as a result.
      type: str
    permission:
      description: The IAM action that is needed; empty if no permission is missing.
      type: str
    why:
      description: The answer.
      type: str
    help:
      description: What to do about it, with the option that helps.
      type: str
    snapshots:
      description: How many snapshots are affected.
      type: int
    monthly:
      description: What they cost, in dollars a month.
      type: float
fast:
  description:
    - The snapshots whose fast restore is on, with the C(zones), or was billed on the last day, with dollars a month, C(monthly).
  returned: success
  type: list
  elements: dict
chain_count:
  description: How many chains there are.
  returned: success
  type: int
truncated:
  description: Whether RV(chains) was cut at O(limit).
  returned: success
  type: bool
migrations:
  description: What should go to S3; each entry is for one run of C(migrate.yml).
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
      description: The recommended storage class.
      type: str
    format:
      description: As what.
      type: str
    snapshot_ids:
      description: The snapshots.
      type: list
      elements: str
    saving_likely:
      description: What is probably saved once they are deleted, in dollars a month.
      type: float
    saving_least:
      description: What is saved at least.
      type: float
    saving_most:
      description: What is saved at most.
      type: float
    once:
      description: What moving them costs, in dollars.
      type: float
tagged:
  description: The snapshots that were tagged; in check mode, those that would be.
  returned: when O(apply=true)
  type: list
  elements: str
queued:
  description: The same as RV(migrations), of RV(tagged) alone.
  returned: when O(apply=true)
  type: list
  elements: dict
untagged:
  description: Why others could not be tagged, by snapshot.
  returned: when O(apply=true)
  type: dict
prices:
  description: The prices used, by region, with their date and source, and which of them are another region's.
  returned: success
  type: dict
assumptions:
  description: What a bill cannot say; C(measured) tells whether C(compression) was measured on archives.
  returned: success
  type: dict
assumed:
  description: The same in sentences, with minimum durations, times until the first byte, and the date of the prices.
  returned: success
  type: list
  elements: str
not_priced:
  description: What is in no figure, C(what), and C(why).
  returned: success
  type: list
  elements: dict
text:
  description: The lines of the report for a terminal, for up to O(limit) chains.
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
    "restore_within": {"type": "str", "default": ""},
    "grace_days": {"type": "float", "default": 7},
    "kms": {"type": "bool", "default": False},
    "tags": {"type": "list", "elements": "str", "default": []},
    "prices": {"type": "dict", "default": {}},
    "refresh_prices": {"type": "bool", "default": True},
    "exact_volumes": {"type": "list", "elements": "str", "default": []},
    "outputs": {"type": "dict", "default": {}, "options": {"json": PATH, "csv": PATH, "text": PATH, "html": PATH}},
    "page": {"type": "str", "default": ""},
    "apply": {"type": "bool", "default": False},
    "format": {"type": "str", "choices": ["tar", "image"], "default": "tar"},
    "limit": {"type": "int", "default": 100},
    "spool": {"type": "path", "default": "/var/tmp"},
}


def main():
    run.main(SPEC, analyse, on_worker=False)


if __name__ == "__main__":
    main()
