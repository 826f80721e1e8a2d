# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.coldstore.ebs.plugins.module_utils.common.report import table

DOCUMENTATION = r"""
name: queue_report
short_description: Report what the workers of a queue did, as a table
version_added: 1.0.0
description:
  - Reads the results that the role C(coldstore.ebs.queue) leaves on each host, and reports what was done, what failed, and which
    workers stopped early.
author:
  - The coldstore.ebs authors (@coldstore-ebs)
options:
  _input:
    description: The variables of all hosts of the run, as in C(hostvars).
    type: list
    elements: dict
    required: true
  purpose:
    description: What the run was for.
    type: str
    choices: [migrate, validate, drill]
    required: true
  alive:
    description: The names of the hosts that Ansible has not dropped.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Report what was done
  ansible.builtin.debug:
    msg: "{{ report.lines }}"
  run_once: true
  vars:
    report: "{{ ansible_play_hosts_all | map('extract', hostvars) | coldstore.ebs.queue_report('migrate', ansible_play_hosts) }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    lines:
      description: The table, one line per snapshot, and the lost workers.
      type: list
      elements: str
    failed:
      description: The snapshots that no worker finished.
      type: list
      elements: str
    lost:
      description: The hosts that stopped early, with the reason.
      type: dict
"""


def _number(row: Mapping[str, Any], name: str) -> float:
    return float(row.get(name, 0))  # a fact is text in ansible-core before 2.19


def _rate(row: Mapping[str, Any], name: str) -> str:
    return f"{_number(row, name) / (1 << 20) / max(_number(row, 'seconds'), 0.001):.0f}"


def _ratio(row: Mapping[str, Any]) -> str:
    return f"{_number(row, 'bytes_in') / max(_number(row, 'bytes_stored'), 1):.2f}"


def _archived_as(row: Mapping[str, Any]) -> str:
    said = ", ".join(filter(None, (row.get("storage_class"), row.get("format"))))
    return f"{said} ({row['advised']})" if row.get("advised") else said


# purpose -> the columns between the snapshot and its result: title and cell
COLUMNS = {
    "migrate": (
        ("archived as", _archived_as),
        (">archives", lambda row: row.get("archives", 0)),
        (">bytes in", lambda row: row.get("bytes_in", 0)),
        (">bytes stored", lambda row: row.get("bytes_stored", 0)),
        (">ratio", _ratio),
        (">MiB/s", lambda row: _rate(row, "bytes_in")),
    ),
    "validate": (
        (">archives", lambda row: row.get("archives", 0)),
        (">bytes compared", lambda row: row.get("bytes", 0)),
        (">MiB/s", lambda row: _rate(row, "bytes")),
    ),
    "drill": (
        (">bytes restored", lambda row: row.get("bytes", 0)),
        (">seconds", lambda row: row.get("seconds", 0)),
        (">MiB/s", lambda row: _rate(row, "bytes")),
    ),
}


def _result(row: Mapping[str, Any]) -> str:
    said = f"{row['result']}: {row['reason']}" if row["reason"] else str(row["result"])
    return f"{said} (could not be read when it was archived: {row['lost']})" if row.get("lost") else said


def _rows(host: Mapping[str, Any], purpose: str) -> Iterable[dict[str, Any]]:
    """The results of one host in this run, including those of snapshots that nobody can claim."""
    if "queue_began" not in host:
        return
    for name in list(host):
        if name.startswith(f"queue_row_{purpose}_") and host[name]["began"] == host["queue_began"]:
            yield {key: value for key, value in host[name].items() if key != "began"}
    for snapshot, reason in host["queue_unusable"].items():
        yield {"snapshot": snapshot, "result": "failed", "reason": reason}


def queue_report(hosts: Iterable[Mapping[str, Any]], purpose: str, alive: Iterable[str]) -> dict[str, Any]:
    """What each lane did, as {'lines': [...], 'failed': [ids], 'lost': {host: reason}}."""
    alive = set(alive)
    found: list[dict[str, Any]] = []
    lost = {}
    for host in hosts:
        name = str(host["inventory_hostname"])
        if name not in alive or "queue_began" not in host:
            lost[name] = "it failed, or could not be reached"
        elif host["queue_lost"]:
            lost[name] = str(host["queue_lost"])
        found += [row for row in _rows(host, purpose) if row not in found or row["reason"] == ""]
    found.sort(key=lambda row: str(row["snapshot"]))
    done = {row["snapshot"] for row in found if not row["reason"]}  # another worker may have done what one gave back
    columns = COLUMNS[purpose]
    cells = [[row["snapshot"], *(cell(row) for _title, cell in columns), _result(row)] for row in found]
    lines = table(["snapshot", *(title for title, _cell in columns), "result"], cells) if cells else []
    return {
        "lines": lines,
        "failed": sorted({row["snapshot"] for row in found} - done),
        "lost": lost,
    }


class FilterModule:
    """The filter of the playbooks migrate, validate and drill."""

    def filters(self):
        return {"queue_report": queue_report}
