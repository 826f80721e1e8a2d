# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks, run as users run them, against the lab."""

import collections
import contextlib
import re
import time
import uuid

import pytest
from conftest import finished, start

CHEAP = ("mbr", "tagged", "empty")
QUICK = {"coldstore_format": "image", "coldstore_validate_level": "quick"}


@pytest.fixture
def queue(lab, seeds):
    """A tag of this test's own, on cheap snapshots that wait; yields (tag, ids)."""
    tag = f"q{uuid.uuid4().hex[:8]}"
    ids = [seeds[name] for name in CHEAP]
    lab.ec2.create_tags(Resources=ids, Tags=[{"Key": tag, "Value": "migrate"}])
    yield tag, ids
    lab.ec2.delete_tags(Resources=ids, Tags=[{"Key": tag}])


def marks(lab, tag, ids):
    found = lab.ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]
    return {s["SnapshotId"]: {t["Key"]: t["Value"] for t in s["Tags"]}.get(tag) for s in found}


def row(output, snapshot_id):
    """What the report says of a snapshot: its cells by title, from the last, since one before may be blank; empty if it says nothing."""
    head = re.search(r'"(snapshot  .*)",', output)
    line = re.search(f'"({snapshot_id}  .*)"', output)
    return dict(zip(reversed(re.split("  +", head[1])), reversed(re.split("  +", line[1])))) if line else {}


def test_two_runs_at_once_do_each_snapshot_exactly_once(lab, bucket, venv, queue):
    """Two playbooks, two lanes each: every snapshot is archived by one of them, and validated."""
    tag, ids = queue
    runs = [start(lab, bucket, venv, hosts=(f"r{n}a", f"r{n}b"), coldstore_tag=tag) for n in (1, 2)]
    outputs = [finished(run) for run in runs]
    done = collections.Counter(
        each for each in ids for output in outputs for line in output.split("\n") if each in line and "validated" in line
    )
    assert done == dict.fromkeys(ids, 1)
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "validated")
    assert len([key for key in lab.keys(bucket) if key.endswith("manifest.json")]) == len(ids)
    assert lab.uploads(bucket) == []
    assert not [v for v in lab.volumes() if any(i in str(lab.ec2.describe_volumes(VolumeIds=[v])) for i in ids)]
    again = finished(start(lab, bucket, venv, coldstore_tag=tag))
    assert "changed=0" in again
    assert "no snapshot is waiting" in again


def test_a_worker_that_gets_nothing_asks_once(lab, bucket, venv, queue):
    """However many snapshots wait that others hold: with thousands of them asking for each would take hours."""
    tag, ids = queue
    for _each in ids:
        assert lab.ok("snapshot_claim", bucket=bucket, tag=tag, owner="elsewhere")["claimed"]
    lines = finished(start(lab, bucket, venv, coldstore_tag=tag)).split("\n")
    asked = [after for line, after in zip(lines, lines[1:]) if "Claim the next snapshot" in line]
    assert [line for line in asked if not line.startswith("skipping")] == ["ok: [lane1]"]


def test_an_outage_between_two_snapshots_does_not_cost_a_lane(lab, bucket, venv, queue):
    """The module gives up after its tries, the role asks again after a pause. A refusal is not asked again."""
    tag, ids = queue
    claims = {"method": "PUT", "path": f"{bucket}/claims/snap-", "action": "status"}
    with lab.faults({**claims, "code": 503, "error": "SlowDown", "times": 9}) as hits:
        output = finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_snapshots=ids[:1]))
        assert len(hits()) == 9
    assert "FAILED - RETRYING" in output
    assert marks(lab, tag, ids)[ids[0]] == "validated"
    with lab.faults({**claims, "code": 403, "error": "AccessDenied", "times": 99}) as hits:
        output = finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_snapshots=ids[1:2]), code=2)
        assert len(hits()) == 1
    assert "RETRYING" not in output


def test_one_bad_snapshot_is_reported_counted_and_holds_up_nobody(lab, bucket, venv, queue):
    """It fails in three runs, each after doing the others, and is tagged failed with the reason then; a new tag starts it over."""
    tag, ids = queue
    bad, good = ids[0], ids[1:]
    lab.call("state", {"snapshot_id": bad, "set": {"status": "error"}})
    try:
        for number in (1, 2, 3):
            output = finished(start(lab, bucket, venv, coldstore_tag=tag), code=2)
            assert "error, not completed" in output
            assert "Failed snapshots: 1" in output
            assert marks(lab, tag, ids)[bad] == ("failed" if number == 3 else "migrate")
            assert {marks(lab, tag, ids)[each] for each in good} == {"validated"}
        reason = marks(lab, f"{tag}-reason", ids)[bad]
        assert "not completed" in reason
        assert "changed=0" in finished(start(lab, bucket, venv, coldstore_tag=tag))
    finally:
        lab.call("state", {"snapshot_id": bad, "set": {"status": "completed"}})
    lab.ec2.create_tags(Resources=[bad], Tags=[{"Key": tag, "Value": "migrate"}])
    finished(start(lab, bucket, venv, coldstore_tag=tag))
    assert marks(lab, tag, ids)[bad] == "validated"


def test_a_worker_that_can_attach_no_more_gives_back_and_takes_no_more(lab, bucket, venv, queue):
    """One snapshot, which loses no attempt and waits with the reason, for other workers of this very run; the rest are left alone."""
    tag, ids = queue
    here = lab.ec2.describe_instances(InstanceIds=[lab.state["instance_id"]])["Reservations"][0]["Instances"][0]
    before = lab.volumes()
    lab.call("places", len(here["BlockDeviceMappings"]))
    try:
        output = finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_run_id="a run", coldstore_attempts=1), code=2)
    finally:
        lab.call("places", 27)
    assert "given back by lane1, which takes no more" in output
    assert "AttachmentLimitExceeded" in output
    assert "Failed snapshots: 1" in output
    assert lab.volumes() == before
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "migrate")
    reasons = [reason for reason in marks(lab, f"{tag}-reason", ids).values() if reason]
    assert len(reasons) == 1
    assert "AttachmentLimitExceeded" in reasons[0]
    taken = [lab.ok("snapshot_claim", bucket=bucket, tag=tag, run_id="a run", attempts=1) for _each in ids]
    assert [(each["claimed"], each["attempts"]) for each in taken] == [(True, 1)] * len(ids)


def test_a_damaged_claim_is_named_and_holds_up_nobody(lab, bucket, venv, queue):
    """It is reported as failed once, however many lanes there are, with how to remove it; the others are done."""
    tag, ids = queue
    lab.s3.put_object(Bucket=bucket, Key=f"claims/{ids[0]}.json", Body=b"{}")
    output = finished(start(lab, bucket, venv, hosts=("one", "two"), coldstore_tag=tag), code=2)
    assert "Failed snapshots: 1" in output
    assert f"aws s3 rm s3://{bucket}/claims/{ids[0]}.json" in output
    assert marks(lab, tag, ids) == {ids[0]: "migrate", ids[1]: "validated", ids[2]: "validated"}
    lab.s3.delete_object(Bucket=bucket, Key=f"claims/{ids[0]}.json")
    output = finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_validate=False))
    lab.s3.put_object(Bucket=bucket, Key=f"claims/{ids[0]}.json", Body=b"{}")
    output = finished(start(lab, bucket, venv, "validate", coldstore_tag=tag, coldstore_validate_level="archive"), code=2)
    assert row(output, ids[0])["bytes compared"] == "0"
    assert row(output, ids[0])["result"].startswith(("failed: the claim", "failed: this is not a claim"))


@pytest.mark.parametrize(("limit", "first"), [(None, "one"), ("two,three", "two")])
def test_a_machine_of_several_lanes_is_prepared_by_the_first(lab, bucket, venv, tmp_path, limit, first):
    """By the first of those that take part; in check mode, too, since check mode looks with what is installed there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(venv / "bin" / "python")
    (tmp_path / "bin" / "pip").write_text("#!/bin/sh\n")  # has everything
    (tmp_path / "bin" / "pip").chmod(0o755)
    hosts = {host: {"ansible_host": "127.0.0.1"} for host in ("one", "two", "three")}
    preparing = {
        "coldstore_prepare_workers": True, "coldstore_install_packages": False,
        "coldstore_venv": str(tmp_path),
    }  # fmt: skip
    output = finished(start(lab, bucket, venv, "prepare", hosts=hosts, check=True, limit=limit, **preparing))
    learning = output.partition("Find out the distribution]")[2].partition("TASK")[0]
    assert [host for host in hosts if f"ok: [{host}]" in learning] == [first]
    assert (tmp_path / "requirements.txt").exists()


def test_a_worker_that_cannot_be_reached_is_named_and_its_share_done(lab, bucket, venv, queue):
    """The play fails, whatever the others did."""
    tag, ids = queue
    hosts = {"gone": GONE, "here": {}}
    output = start(lab, bucket, venv, hosts=hosts, coldstore_tag=tag)
    assert "Workers without a result: gone" in finished(output, code=4)
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "validated")


GONE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}


@pytest.mark.parametrize("preparing", [False, True])
@pytest.mark.parametrize("playbook", ["migrate", "validate", "drill"])
def test_a_run_whose_workers_are_all_gone_has_a_report(lab, bucket, venv, queue, playbook, preparing):
    """Ansible would end the playbook before it."""
    tag, ids = queue
    lost = {"one": GONE, "two": {**GONE, "ansible_port": 19}}
    options = {"coldstore_prepare_workers": preparing, "coldstore_tag": tag}
    output = finished(start(lab, bucket, venv, playbook, hosts=lost, limit="one,two", **options), code=4)
    assert "Workers without a result: one, two." in output.partition("TASK [Summary]")[2]
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "migrate")


# Instead of ssh: runs the command here, until it has done so a number of times.
DROPS = """#!/bin/sh
echo >> {count}
[ "$(wc -l < {count})" -le {times} ] || {{ echo "Connection timed out" >&2; exit 255; }}
for command; do :; done
exec sh -c "$command"
"""


def taken_away(lab, volume_id):
    """Detach and delete a volume that a claim still covers, as an operator would."""
    if any(each["Attachments"] for each in lab.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]):
        lab.ec2.detach_volume(VolumeId=volume_id)
        lab.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig={"Delay": 1})
    lab.ec2.delete_volume(VolumeId=volume_id)


def test_a_worker_that_is_lost_in_the_middle_is_named_and_the_report_comes(lab, bucket, venv, queue, tmp_path):
    """With what it was at, and what it had done before. Its claim, and its volume, are left to whoever comes after its lease."""
    tag, ids = queue
    before = set(lab.volumes())
    ssh = tmp_path / "ssh"
    ssh.write_text(DROPS.format(count=tmp_path / "count", times=9))  # the second claim is the last that works
    ssh.chmod(0o755)
    dropping = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh), "ansible_pipelining": True}
    dropping["ansible_python_interpreter"] = str(venv / "bin/python")
    output = finished(start(lab, bucket, venv, hosts={"one": dropping}, coldstore_tag=tag, **QUICK), code=4)
    for volume_id in set(lab.volumes()) - before:
        taken_away(lab, volume_id)
    done, left = row(output, ids[0]), row(output, ids[1])
    assert done["result"] == "migrated"
    assert left["result"].startswith("left behind by one, whose claim expires within 900 s: the worker cannot be reached")
    assert "Workers without a result: one." in output
    assert marks(lab, tag, ids) == {ids[0]: "migrated", ids[1]: "migrating", ids[2]: "migrate"}


def test_the_last_copy_of_a_snapshot_is_kept_and_named(lab, bucket, venv, snapshot):
    """EC2 lost the snapshot while it was archived, and that failed: the row says where the data is, and what to do."""
    tag, mine = f"q{uuid.uuid4().hex[:8]}", snapshot()
    before = set(lab.volumes())
    with lab.faults(
        {"method": "POST", "path": f"{mine}.*uploads", "action": "status", "code": 403, "error": "AccessDenied", "times": 99}
    ):
        run = start(lab, bucket, venv, coldstore_tag=tag, coldstore_snapshots=[mine], **QUICK)
        while not set(lab.volumes()) - before:
            assert run.poll() is None
            time.sleep(0.2)
        (made,) = set(lab.volumes()) - before
        wait = lab.ec2.get_waiter("volume_in_use")
        wait.wait(VolumeIds=[made], WaiterConfig={"Delay": 1})
        lab.ec2.delete_snapshot(SnapshotId=mine)
        output = finished(run, code=2)
    try:
        assert f"Its temporary volume {made} was kept: the snapshot is gone from EC2" in row(output, mine)["result"]
        assert made in lab.volumes()
    finally:
        taken_away(lab, made)


def test_a_limit_leaves_out_workers_and_nothing_else(lab, bucket, venv, queue):
    """It leaves out localhost too, and yet the run has a name and a report, fails if a snapshot did, and misses nobody."""
    tag, ids = queue
    lab.call("state", {"snapshot_id": ids[0], "set": {"status": "error"}})
    try:
        output = finished(start(lab, bucket, venv, hosts=("one", "two"), limit="two", coldstore_tag=tag), code=2)
    finally:
        lab.call("state", {"snapshot_id": ids[0], "set": {"status": "completed"}})
    assert "Failed snapshots: 1" in output
    assert "Workers without a result: none" in output
    assert "[one]" not in output
    assert {marks(lab, tag, ids)[each] for each in ids[1:]} == {"validated"}
    chosen = {"coldstore_restore_snapshot": ids[1], "coldstore_restore_directory": str(lab.directory / "limited")}
    output = finished(start(lab, bucket, venv, "restore", hosts=("one", "two"), limit="two", **chosen))
    assert f"{ids[1]} to {lab.directory / 'limited'}" in output


def test_check_mode_says_what_would_be_done_and_does_nothing(lab, bucket, venv, queue):
    """Ids, sizes, destinations, once however many workers there are; no claim, volume or object. What another run holds
    would not be done."""
    tag, ids = queue
    lab.ok("snapshot_claim", bucket=bucket, tag=tag, owner="elsewhere", snapshot_ids=ids[1:2])
    output = finished(start(lab, bucket, venv, hosts=("one", "two"), check=True, coldstore_tag=tag))
    assert [output.count(f"{each} of vol-") for each in ids] == [1, 0, 1]
    assert "at most 1 GiB" in output
    assert "check mode: nothing was done" in output
    assert [key.partition("/")[0] for key in lab.keys(bucket)] == ["claims"]
    assert marks(lab, tag, ids) == {ids[0]: "migrate", ids[1]: "migrating", ids[2]: "migrate"}


def test_a_list_of_snapshots_is_worked_on_whatever_its_tags(lab, bucket, venv, seeds):
    """And images and lz4 and a prefix and quick validation are all a matter of variables."""
    options = {
        "coldstore_snapshots": [seeds["tagged"]], "coldstore_tag": "none", "coldstore_format": "image", "coldstore_compression": "lz4",
        "coldstore_compression_level": 3, "coldstore_prefix": "deep/er/", "coldstore_storage_class": "GLACIER_IR", "coldstore_sse": "AES256",
        "coldstore_validate_level": "full",
    }  # fmt: skip
    finished(start(lab, bucket, venv, **options))
    keys = [key for key in lab.keys(bucket) if key.endswith(".img.lz4")]
    assert keys == [f"deep/er/{seeds['tagged'].replace('snap', 'vol')}/2017-01-06T00:00:00+00:00 {seeds['tagged']}.img.lz4"]
    head = lab.s3.head_object(Bucket=bucket, Key=keys[0])
    assert (head["StorageClass"], head["ServerSideEncryption"]) == ("GLACIER_IR", "AES256")
    index = lab.s3.head_object(Bucket=bucket, Key=keys[0] + ".index.zst")
    assert index.get("StorageClass", "STANDARD") == "STANDARD"


SLEEP = {
    "ID": "sleep", "Status": "Enabled", "Filter": {"Tag": {"Key": "coldstore.ebs:class", "Value": "DEEP_ARCHIVE"}},
    "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}],
}  # fmt: skip


def test_what_is_to_sleep_is_validated_first(lab, bucket, venv, queue):
    """Without a rule that puts it to sleep nothing is begun; with it every byte is compared, and the archives are marked."""
    tag, ids = queue
    asked = {"coldstore_tag": tag, "coldstore_storage_class": "DEEP_ARCHIVE"}
    output = finished(start(lab, bucket, venv, **asked), code=2)
    assert "no lifecycle rule that moves objects tagged coldstore.ebs:class=DEEP_ARCHIVE" in " ".join(output.split())
    assert lab.keys(bucket) == []
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "migrate")
    lab.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [SLEEP]})
    finished(start(lab, bucket, venv, **asked))
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "validated")
    for key in lab.keys(bucket):
        tags = {pair["Key"]: pair["Value"] for pair in lab.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}
        assert (tags.get("coldstore.ebs:class") == "DEEP_ARCHIVE") is key.endswith((".tar.zst", ".img.zst")), key


def test_what_is_not_validated_goes_to_sleep_at_once(lab, bucket, venv, seeds):
    """It needs no rule."""
    asked = {"coldstore_snapshots": [seeds["empty"]], "coldstore_storage_class": "DEEP_ARCHIVE", "coldstore_validate": False}
    finished(start(lab, bucket, venv, coldstore_tag="none", **asked))
    archive = next(key for key in lab.keys(bucket) if key.endswith(".tar.zst"))
    assert lab.s3.head_object(Bucket=bucket, Key=archive)["StorageClass"] == "DEEP_ARCHIVE"


def test_what_was_migrated_without_validation_is_validated_later(lab, bucket, venv, queue):
    """migrate, then the validate playbook on its own."""
    tag, ids = queue
    finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_validate=False))
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "migrated")
    finished(start(lab, bucket, venv, playbook="validate", coldstore_tag=tag))
    assert marks(lab, tag, ids) == dict.fromkeys(ids, "validated")


def test_what_is_gone_from_ec2_is_validated_by_its_archives(lab, bucket, venv, snapshot):
    """Of a list: one that is there, one that was deleted since, and one that never was, which is named and holds up nobody.
    A quick look afterwards takes no proof back; a full validation needs the snapshot, and says so."""
    tag, never = f"q{uuid.uuid4().hex[:8]}", "snap-0000000000000dead"
    there, gone = snapshot(), snapshot()
    output = finished(start(lab, bucket, venv, coldstore_tag=tag, coldstore_snapshots=[never, gone, there], **QUICK), code=2)
    assert f"{never} does not exist in this region" in " ".join(output.split())
    assert "Failed snapshots: 1" in output
    assert marks(lab, tag, [there, gone]) == {there: "migrated", gone: "migrated"}
    lab.ec2.delete_snapshot(SnapshotId=gone)
    for level, code in (("archive", 0), ("quick", 0), ("full", 2)):
        asked = {"coldstore_tag": tag, "coldstore_snapshots": [gone, there], "coldstore_validate_level": level}
        output = finished(start(lab, bucket, venv, "validate", **asked), code=code)
        assert row(output, there)["bytes compared"] != "0" or level == "quick"
        assert ("does not exist in this region" in output) is (level == "full")
        assert "WARNING" not in output
        assert marks(lab, tag, [there]) == {there: "validated"}
        if level != "full":
            assert row(output, gone)
    lab.s3.delete_object(Bucket=bucket, Key=f"claims/{gone}.json")  # then its manifest says what it was
    asked = {"coldstore_tag": tag, "coldstore_snapshots": [gone], "coldstore_validate_level": "quick"}
    said = row(finished(start(lab, bucket, venv, "validate", **asked)), gone)
    assert (said["bytes compared"], said["result"]) == ("0", "validated")


@pytest.mark.parametrize(
    ("hosts", "variables", "words"),
    [
        ((), {}, "no hosts in the group workers"),
        (("lane1",), {"coldstore_bucket": ""}, "No bucket was named"),
        (("lane1",), {"coldstore_bucket": None}, "No bucket was named"),
        (("lane1",), {"coldstore_bucket": "no-such-bucket"}, "bucket no-such-bucket does not exist"),
        (("lane1",), {"coldstore_bucket_owner": "999999999999"}, "not owned by account 999999999999"),
        (("lane1",), {"coldstore_snapshots": ["snap-0000000000000dead"]}, "does not exist in this region"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(lab, bucket, venv, seeds, hosts, variables, words):
    """Before anything is created."""
    before = lab.volumes()
    variables = {"coldstore_tag": "none", "coldstore_snapshots": [seeds["empty"]], **variables}
    output = finished(start(lab, bucket, venv, hosts=hosts, **variables), code=2)
    assert words in " ".join(output.split())
    assert "Traceback" not in output
    assert lab.volumes() == before
    assert [key for key in lab.keys(bucket) if not key.startswith("claims/")] == []


@pytest.fixture
def archive(lab, bucket, seeds):
    """The bucket with the seeds `tagged` and `empty` archived; returns a function that gives a seed's archive key."""
    for name in ("tagged", "empty"):
        volume = lab.attach(seeds[name])
        try:
            lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds[name], volume_id=volume["volume_id"])
        finally:
            lab.detach(volume["volume_id"])
    return lambda name: next(key for key in lab.keys(bucket) if seeds[name] in key and key.endswith(".tar.zst"))


def restored(lab, snapshot_id):
    filters = [{"Name": "tag:coldstore.ebs:restored", "Values": [snapshot_id]}]
    return lab.ec2.describe_volumes(Filters=filters)["Volumes"]


def test_restore_makes_a_new_volume_of_the_newest_before_a_date(lab, bucket, venv, seeds, archive):
    """By volume and date; the volume stays, detached and tagged. Check mode makes nothing, and a date too early finds nothing."""
    volume_id = seeds["tagged"].replace("snap", "vol")
    wanted = {"coldstore_restore_volume": volume_id, "coldstore_restore_before": "2020-01-01"}
    finished(start(lab, bucket, venv, "restore", check=True, **wanted))
    assert restored(lab, seeds["tagged"]) == []
    output = finished(start(lab, bucket, venv, "restore", **wanted))
    made = restored(lab, seeds["tagged"])
    try:
        assert len(made) == 1
        assert (made[0]["State"], made[0]["Size"]) == ("available", 1)
        assert f"{seeds['tagged']} to {made[0]['VolumeId']}" in output
    finally:
        for each in made:
            lab.ec2.delete_volume(VolumeId=each["VolumeId"])
    wanted["coldstore_restore_before"] = "2000-01-01"
    none = finished(start(lab, bucket, venv, "restore", **wanted), code=2)
    assert f"there is no archive of a snapshot of {volume_id} before 2000-01-01 in {bucket}. Correct that" in none


def test_restore_brings_back_some_paths_into_a_directory(lab, bucket, venv, seeds, archive, tmp_path):
    """By snapshot id and glob; the second time the directory is not empty."""
    wanted = {
        "coldstore_restore_snapshot": seeds["tagged"], "coldstore_restore_directory": str(tmp_path / "out"),
        "coldstore_restore_paths": ["dir1/sub1/*"], "coldstore_restore_strip_components": 2,
    }  # fmt: skip
    output = finished(start(lab, bucket, venv, "restore", **wanted))
    assert (tmp_path / "out" / "file 1").is_file()
    assert f"to {tmp_path}/out" in output
    assert "is not empty" in finished(start(lab, bucket, venv, "restore", **wanted), code=2)
    assert "Name coldstore_restore_snapshot" in finished(start(lab, bucket, venv, "restore"), code=2)


def test_a_restore_that_fails_leaves_no_volume(lab, bucket, venv, seeds, archive):
    """A frame is damaged: the new volume is removed, the reason is given."""
    before = lab.volumes()
    lab.damage(bucket, archive("tagged"), 5000)
    output = finished(start(lab, bucket, venv, "restore", coldstore_restore_snapshot=seeds["tagged"]), code=2)
    assert "digest differs" in output
    assert restored(lab, seeds["tagged"]) == []
    assert lab.volumes() == before


def test_restore_comes_back_after_the_thaw(lab, bucket, venv, seeds, archive):
    """The first run asks S3 and pays for no volume; a later one restores, and may wait for it, showing each look."""
    key = archive("empty")
    lab.s3.copy({"Bucket": bucket, "Key": key}, bucket, key, ExtraArgs={"StorageClass": "GLACIER", "MetadataDirective": "COPY"})
    before = lab.volumes()
    output = finished(start(lab, bucket, venv, "restore", coldstore_restore_snapshot=seeds["empty"]))
    assert "3 to 5 hours" in output
    assert "still thawing" in output
    assert (lab.volumes(), restored(lab, seeds["empty"])) == (before, [])
    with contextlib.suppress(lab.s3.exceptions.ClientError):  # still under way
        lab.s3.restore_object(Bucket=bucket, Key=key, RestoreRequest={"Days": 1})  # two more seconds
    waiting = {"coldstore_thaw_wait": True, "coldstore_thaw_interval": 1, "coldstore_thaw_timeout": 60}
    output = finished(start(lab, bucket, venv, "restore", coldstore_restore_snapshot=seeds["empty"], **waiting))
    assert "still thawing" not in output
    made = restored(lab, seeds["empty"])
    assert len(made) == 1
    lab.ec2.delete_volume(VolumeId=made[0]["VolumeId"])


def test_a_drill_restores_compares_measures_and_clears_up(lab, bucket, venv, seeds, archive):
    """Two archives on two lanes; a receipt each; one damaged archive fails the drill, and the other is still drilled."""
    before = lab.volumes()
    output = finished(start(lab, bucket, venv, "drill", hosts=("lane1", "lane2"), coldstore_drill_sample=5))
    for name in ("tagged", "empty"):
        assert row(output, seeds[name])["result"] == "equal"
        assert [key for key in lab.keys(bucket) if seeds[name] in key and key.endswith(".restored.json")]
    assert "MiB/s" in output
    assert lab.volumes() == before
    lab.damage(bucket, archive("tagged"), 5000)
    wanted = [seeds["tagged"], seeds["empty"], "snap-0000000000000dead"]
    output = finished(start(lab, bucket, venv, "drill", coldstore_snapshots=",".join(wanted)), code=2)  # as -e may give it
    assert row(output, seeds["empty"])["result"] == "equal"
    assert row(output, seeds["tagged"])["result"].startswith("failed")
    assert row(output, "snap-0000000000000dead")["result"] == f"failed: there is no complete archive of it in {bucket}"
    sleeper = archive("empty")
    lab.s3.copy(
        {"Bucket": bucket, "Key": sleeper}, bucket, sleeper, ExtraArgs={"StorageClass": "GLACIER", "MetadataDirective": "COPY"}
    )
    output = finished(start(lab, bucket, venv, "drill", coldstore_snapshots=[seeds["empty"]]), code=2)
    assert row(output, seeds["empty"])["result"].startswith("failed: it sleeps in GLACIER")
    assert "Restore" not in lab.s3.head_object(Bucket=bucket, Key=sleeper)
    assert lab.volumes() == before


def test_what_a_lost_worker_would_have_drilled_the_others_drill(lab, bucket, venv, seeds, archive):
    """Each archive by whoever comes to it, once; and the claims stand as before, of what has none as after none."""
    output = finished(start(lab, bucket, venv, "drill", hosts={"gone": GONE, "here": {}}, coldstore_drill_sample=5), code=4)
    assert {row(output, seeds[name])["result"] for name in ("tagged", "empty")} == {"equal"}
    assert "Workers without a result: gone." in output
    receipts = [key for key in lab.keys(bucket) if key.endswith(".restored.json")]
    assert len(receipts) == 2
    taken = lab.ok("snapshot_claim", bucket=bucket, tag="none", snapshot_ids=[seeds["empty"]])
    assert (taken["claimed"], taken["attempts"]) == (True, 1)
    assert not lab.module("snapshot_claim", bucket=bucket, state="released", snapshot_id=seeds["empty"], claim=taken["claim"]).get(
        "failed"
    )
    lab.ec2.delete_tags(Resources=[seeds["empty"]], Tags=[{"Key": "none"}])
