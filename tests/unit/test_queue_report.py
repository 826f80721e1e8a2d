# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the playbooks migrate, validate and drill: of what each lane left in its facts."""

from ansible_collections.coldstore.ebs.plugins.filter.queue_report import queue_report

BEGAN = "2026-01-02T03:04:05+00:00"


def lane(name, *rows, lost="", purpose="migrate", **unusable):
    """A host's variables; each row says which snapshot, and what else."""
    facts = {f"queue_row_{purpose}_{row['snapshot'].replace('-', '_')}": {"began": BEGAN, "reason": "", **row} for row in rows}
    unusable = {name.replace("_", "-"): reason for name, reason in unusable.items()}
    return {"inventory_hostname": name, "queue_began": BEGAN, "queue_lost": lost, "queue_unusable": unusable, **facts}


def test_each_snapshot_is_a_line():
    """With figures of what was done to it, which are text in old Ansible, in the order of ids."""
    one = lane(
        "one",
        {"snapshot": "snap-2", "result": "validated", "archives": 2, "bytes_in": 3 << 20, "bytes_stored": 1 << 20, "seconds": 1,
         "storage_class": "GLACIER_IR", "format": "tar", "advised": "by its tags"},
    )  # fmt: skip
    two = lane(
        "two",
        {
            "snapshot": "snap-1",
            "result": "migrated",
            "lost": "4 bytes",
            "archives": "1",
            "bytes_in": "0",
            "bytes_stored": "0",
            "storage_class": "STANDARD",
            "format": "image",
            "advised": "",
        },
    )
    report = queue_report([one, two], "migrate", ["one", "two"])
    assert report["lines"] == [
        "snapshot  archived as                    archives  bytes in  bytes stored  ratio  MiB/s  result",
        "snap-1    STANDARD, image                       1         0             0   0.00      0  "
        "migrated (could not be read when it was archived: 4 bytes)",
        "snap-2    GLACIER_IR, tar (by its tags)         2   3145728       1048576   3.00      3  validated",
    ]
    assert (report["failed"], report["lost"]) == ([], {})


def test_what_one_lane_gave_back_and_another_did_has_not_failed():
    """Both lines are there. What only failed is counted once, however many lanes met it."""
    one = lane("one", {"snapshot": "snap-1", "result": "given back by one", "reason": "no place"}, snap_3="gone")
    two = lane("two", {"snapshot": "snap-1", "result": "validated"}, snap_3="gone")
    report = queue_report([one, two], "migrate", ["one", "two"])
    assert [line.split()[0] for line in report["lines"]] == ["snapshot", "snap-1", "snap-1", "snap-3"]
    assert report["failed"] == ["snap-3"]


def test_a_worker_is_lost_however_it_was():
    """It said so itself, or Ansible dropped it, or it never came to the queue."""
    hosts = [lane("one"), lane("two", lost="it cannot be reached"), lane("three"), {"inventory_hostname": "four"}]
    lost = queue_report(hosts, "validate", ["one", "two", "four"])["lost"]
    assert lost == {
        "two": "it cannot be reached", "three": "it failed, or could not be reached", "four": "it failed, or could not be reached",
    }  # fmt: skip


def test_only_this_run_is_reported():
    """Facts of an earlier playbook of the same run of Ansible are left out, and those of another purpose."""
    host = lane(
        "one", {"snapshot": "snap-1", "result": "validated", "began": "before"}, {"snapshot": "snap-2", "result": "validated"}
    )
    assert [line.split()[0] for line in queue_report([host], "migrate", ["one"])["lines"]] == ["snapshot", "snap-2"]
    assert queue_report([host], "validate", ["one"])["lines"] == []
