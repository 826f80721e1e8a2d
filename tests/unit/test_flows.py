# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows from their arguments to their results, with S3 and EC2 in memory."""

import os
import stat
import subprocess
from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Lost, Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.lane import FREE
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import claims
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.archive import archive
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.break_even import break_even
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.browse import browse
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.claim import claim
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.job import Job
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.lane import claimed
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.preflight import preflight
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.restore import restore
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.validate import validate
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.volume import gone_after_a_stop, volume
from fakes import SNAPSHOT
from foreign import put_stream
from helpers import DATA, archived
from jobs import MemoryEc2, job
from trees import compare, filled

ID = SNAPSHOT.snapshot_id
QUEUED = replace(SNAPSHOT, tags={"snap-to-s3": "migrate"})
TERMS = claims.Terms("me", "r")


@pytest.fixture
def ec2():
    return MemoryEc2(QUEUED)


@pytest.fixture
def run(memory, ec2):
    """A flow with the arguments of its module; what it said is in run.said."""

    def run(flow, module, check=False, **given):
        return flow(job(module, {"s3": memory.client, "ec2": ec2}, check, run.said, bucket="b", **given))

    run.said = []
    return run


def take(memory, **terms):
    return claims.take(memory, ours.claim_key("", ID), QUEUED, replace(TERMS, **terms))


def test_a_snapshot_goes_through_its_claim_and_its_tag_shows_it(run, memory, ec2):
    """Claimed, given back, claimed, archived, settled; in check mode nothing changes."""
    would = run(claim, "snapshot_claim", check=True)
    assert (would["changed"], would["claimed"], [each["snapshot_id"] for each in would["queue"]]) == (True, False, [ID])
    assert memory.client.objects["b"] == {}
    taken = run(claim, "snapshot_claim")
    assert (taken["claimed"], taken["attempts"], ec2.tags[ID]["snap-to-s3"]) == (True, 1, "migrating")
    back = run(claim, "snapshot_claim", state="released", snapshot_id=ID, claim=taken["claim"], reason="so")
    assert (back["result"], ec2.tags[ID]) == ("free", {"snap-to-s3": "migrate", "snap-to-s3-reason": "so"})
    again = run(claim, "snapshot_claim", run_id="another")
    assert (again["attempts"], ec2.tags[ID]) == (2, {"snap-to-s3": "migrating"})
    end = {"state": "settled", "snapshot_id": ID, "claim": again["claim"], "result": "migrated"}
    with pytest.raises(Refused, match="it has no manifest"):
        run(claim, "snapshot_claim", **end)
    archived(memory)
    ec2.calls.clear()
    assert run(claim, "snapshot_claim", check=True, **end)["diff"] == {"before": {ID: "held"}, "after": {ID: "migrated"}}
    assert ec2.calls == []
    done = run(claim, "snapshot_claim", **end)
    assert (done["result"], ec2.tags[ID]["snap-to-s3"], run.said) == ("migrated", "migrated", [])


def test_what_cannot_be_claimed_says_why(run, memory):
    """By snapshot; who holds it is named."""
    take(memory)
    nothing = run(claim, "snapshot_claim", snapshot_ids=[ID, "snap-none"])
    assert (nothing["changed"], nothing["claim"]) == (False, "")
    assert "me holds the claim" in nothing["passed"][ID]
    assert "does not exist" in nothing["unusable"]["snap-none"]


def test_a_drill_takes_a_claim_and_leaves_it_as_it_was(run, memory, ec2):
    """Of what is archived, whether EC2 has it or not; no tag is written, and EC2 is not asked."""
    archived(memory)
    ec2.delete_snapshot(ID)
    asked = {"purpose": "drill", "snapshot_ids": ["snap-none", ID], "run_id": "r"}
    taken = run(claim, "snapshot_claim", **asked)
    assert (taken["claimed"], taken["snapshot"]["snapshot_id"]) == (True, ID)
    assert taken["unusable"] == {"snap-none": "there is no complete archive of it in b"}
    end = {"purpose": "drill", "snapshot_id": ID, "claim": taken["claim"]}
    assert run(claim, "snapshot_claim", state="settled", result="migrated", **end)["result"] == "free"
    assert not run(claim, "snapshot_claim", **asked)["claimed"]
    later = run(claim, "snapshot_claim", **{**asked, "run_id": "later"})
    end["claim"] = later["claim"]
    assert run(claim, "snapshot_claim", state="released", reason="differs", kind="corrupt", attempts=1, **end)["result"] == "free"
    assert (ec2.calls, ec2.tags[ID]) == ([], {"snap-to-s3": "migrate"})


def stopped(memory, ec2, volume_id="vol-1", **tags):
    """A job under a claim whose body is stopped; what it raised."""
    held = take(memory)
    made = {"coldstore.ebs_claim": f"b/{held.key}", "coldstore.ebs_token": held.token}
    ec2.add_volume(volume_id, **{"coldstore.ebs_snapshot": ID, **made, **tags})
    ec2.tags[ID]["snap-to-s3"] = "migrating"
    asking = job("snapshot_archive_s3", {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, claim=held.token)
    with pytest.raises(Stopped) as caught, claimed(asking) as lane, gone_after_a_stop(asking, lane, volume_id):
        raise Stopped("stopped: for a test")
    return caught.value


def test_a_stop_removes_the_volume_and_then_gives_the_claim_back(memory, ec2):
    """In this order: what was made under a claim is the next lane's once the claim is."""
    order = []
    memory.client.before = lambda operation, _arguments: order.append((operation, sorted(ec2.volumes)))
    error = stopped(memory, ec2)
    assert ec2.volumes == {}
    assert [volumes for operation, volumes in order if operation == "PutObject"][-1] == []
    assert claims.free(memory, "", {ID: SNAPSHOT}, TERMS)[0] == {ID: {}}
    assert ec2.tags[ID] == {"snap-to-s3": "migrate", "snap-to-s3-reason": "stopped: for a test"}
    assert "left_behind" not in error.facts


@pytest.mark.parametrize(
    ("flow", "module", "form"),
    [(archive, "snapshot_archive_s3", "tar"), (validate, "snapshot_validate", "tar"), (restore, "snapshot_restore", "restore")],
)
def test_a_stop_at_the_first_request_clears_up_as_well(memory, ec2, flow, module, form):
    """Before anything was found or read: no further task of the role would remove the volume, or give the claim back."""
    held = take(memory)
    made = {"coldstore.ebs_claim": f"b/{held.key}", "coldstore.ebs_token": held.token, "coldstore.ebs_format": form}
    ec2.add_volume("vol-1", **{"coldstore.ebs_snapshot": ID, **made})
    asking = job(module, {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, claim=held.token, volume_id="vol-1")
    asking.stop.request("now")
    with pytest.raises(Stopped):
        flow(asking)
    assert ec2.volumes == {}
    assert claims.free(memory, "", {ID: SNAPSHOT}, TERMS)[0] == {ID: {}}


def test_a_stop_leaves_a_volume_that_was_not_made_for_a_restore(memory, ec2):
    """It is the user's."""
    ec2.add_volume("vol-1", mine="yes")
    asking = job("snapshot_restore", {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, volume_id="vol-1")
    asking.stop.request("now")
    with pytest.raises(Stopped):
        restore(asking)
    assert set(ec2.volumes) == {"vol-1"}


def test_a_stop_leaves_the_last_copy_of_a_snapshot(memory, ec2):
    """EC2 has it no more, and there is no archive that is validated."""
    ec2.delete_snapshot(ID)
    assert stopped(memory, ec2).facts["left_behind"] == (
        "vol-1 (its snapshot is gone from EC2, and none of its archives is validated)"
    )
    assert set(ec2.volumes) == {"vol-1"}


@pytest.mark.parametrize(
    ("there", "form", "validated", "stays"),
    [(False, "tar", False, True), (True, "tar", False, False), (False, "restore", False, False), (False, "tar", True, False)],
)
def test_who_clears_up_after_a_failure_spares_the_last_copy(run, memory, ec2, there, form, validated, stays):
    """A volume to restore to is none, and of what is validated there is another. Whoever is done removes it in any case."""
    held = take(memory)
    made = {"coldstore.ebs_claim": f"b/{held.key}", "coldstore.ebs_token": held.token, "coldstore.ebs_format": form}
    ec2.add_volume("vol-1", **{"coldstore.ebs_snapshot": ID, **made})
    archived(memory)
    if validated:
        run(validate, "snapshot_validate", snapshot_id=ID, claim=held.token)
    if not there:
        ec2.delete_snapshot(ID)
    absent = {"state": "absent", "volume_id": "vol-1", "snapshot_id": ID, "claim": held.token}
    assert run(volume, "ebs_temp_volume", spare_last_copy=True, **absent)["spared"] == (["vol-1"] if stays else [])
    assert ("vol-1" in ec2.volumes) is stays
    assert run(volume, "ebs_temp_volume", **absent)["spared"] == []
    assert ec2.volumes == {}


def test_a_volume_that_another_lane_uses_is_left_after_a_stop(memory, ec2):
    """And named; the claim is ours to give back."""
    error = stopped(memory, ec2, **{"coldstore.ebs_token": "another's"})
    assert "is used under the claim" in error.facts["left_behind"]
    assert set(ec2.volumes) == {"vol-1"}
    assert claims.free(memory, "", {ID: SNAPSHOT}, TERMS)[0] == {ID: {}}


def test_what_cannot_be_removed_after_a_stop_is_named(memory, ec2):
    """And the claim is given back all the same."""
    ec2.delete_volume = lambda **_arguments: (each for each in ()).throw(Refused("no"))
    assert stopped(memory, ec2).facts["left_behind"] == "vol-1 (no)"
    assert claims.free(memory, "", {ID: SNAPSHOT}, TERMS)[0] == {ID: {}}


def test_a_lane_that_lost_its_claim_clears_nothing_up(memory, ec2):
    """Neither volume nor claim: both are its successor's."""
    held = take(memory)
    ec2.add_volume("vol-1", **{"coldstore.ebs_snapshot": ID})
    asking = job("snapshot_archive_s3", {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, claim=held.token)
    with pytest.raises(Lost), claimed(asking) as lane, gone_after_a_stop(asking, lane, "vol-1"):
        memory.put(held.key, memory.get(held.key).body + b" ", replaces=held.etag)  # another has written it
        raise Stopped("stopped: for a test")
    assert set(ec2.volumes) == {"vol-1"}
    assert "delete_volume" not in ec2.calls


def test_a_claim_that_was_lost_is_not_given_back(memory, ec2):
    """Although there is nothing else to clear up."""
    held = take(memory)
    asking = job("snapshot_validate", {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, claim=held.token)
    with pytest.raises(Lost, match="the claim"), claimed(asking):
        held.settle("failed", "by another")
        raise Stopped("stopped: for a test")


def test_a_failure_leaves_the_claim_to_the_role(memory, ec2):
    """It gives it back with the reason, in a task of its own."""
    held = take(memory)
    asking = job("snapshot_archive_s3", {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, claim=held.token)
    with pytest.raises(Refused), claimed(asking):
        raise Refused("broken")
    assert claims.held(memory, held.key, held.token).standing == "held"


def test_volumes_are_removed_once_nobody_has_their_claim(run, memory, ec2):
    """In check mode they stay, also after a stop."""
    held = take(memory, lease=1)
    ec2.add_volume("vol-1", **{"coldstore.ebs_snapshot": ID, "coldstore.ebs_claim": f"b/{held.key}"})
    gone = {"state": "absent", "volume_id": "vol-1", "poll_interval": 0.01}
    with pytest.raises(Lost, match="me holds the claim"):
        run(volume, "ebs_temp_volume", **gone)
    held.release()
    assert run(volume, "ebs_temp_volume", check=True, **gone)["changed"]
    ec2.add_volume("vol-2", **{"coldstore.ebs_snapshot": ID})
    asking = job("ebs_temp_volume", {"ec2": ec2}, check=True, **{**gone, "volume_id": "vol-2"})
    asking.stop.request("now")
    with pytest.raises(Stopped):
        volume(asking)
    assert set(ec2.volumes) == {"vol-1", "vol-2"}
    assert run(volume, "ebs_temp_volume", **gone)["diff"] == {"before": {"temporary": ["vol-1"]}, "after": {"temporary": []}}
    assert not run(volume, "ebs_temp_volume", **gone)["changed"]


def test_an_archive_is_made_once(run, memory):
    """Check mode foresees the key; afterwards nothing is to do, and nothing of EC2 but the snapshot is asked."""
    foreseen = run(archive, "snapshot_archive_s3", check=True, snapshot_id=ID, format="image")
    made = archived(memory)
    assert (foreseen["changed"], foreseen["manifest"]) == (True, made.key)
    there = run(archive, "snapshot_archive_s3", snapshot_id=ID, format="image")
    assert (there["changed"], there["bytes_in"]) == (False, len(DATA))


@pytest.fixture
def device(tmp_path):
    """A loop device as large as the snapshot says, with a filesystem with files."""
    image, tree = tmp_path / "disk.img", tmp_path / "files"
    tree.mkdir()
    (tree / "file").write_bytes(b"contents" * 1000)
    with open(image, "wb") as file:
        file.truncate(SNAPSHOT.size_gib << 30)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, image], check=True)
    command = ["losetup", "--find", "--show", image]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_disk_is_archived_and_compared_with_itself(run, memory, ec2, device):
    """Its volume is marked before it is mounted; what differs afterwards is named."""
    ec2.add_volume("vol-1", **{"coldstore.ebs_snapshot": ID})
    given = {"snapshot_id": ID, "volume_id": "vol-1", "attached_as": device.rpartition("/")[2]}
    done = run(archive, "snapshot_archive_s3", **given)
    assert (done["changed"], [entry["format"] for entry in done["archives"]]) == (True, ["tar"])
    assert ec2.tags["vol-1"]["coldstore.ebs:mounted"] == "true"
    assert run(validate, "snapshot_validate", level="full", **given)["result"] == "equal"
    with pytest.raises(Refused, match="was mounted and may differ"):
        run(archive, "snapshot_archive_s3", format="image", prefix="else/", **given)
    with open(device, "r+b") as file:
        found = file.read(512 << 20).find(b"contents" * 8)
        file.seek(found)
        file.write(b"CONTENTS")
        os.fsync(file)
    differs = run(validate, "snapshot_validate", level="full", fail_on_difference=False, **given)
    assert [(each["path"], each["offset"]) for each in differs["differences"]] == [("file", 0)]


def test_somebody_without_a_claim_does_not_work_beside_one_who_has_it(run, memory):
    """Before anything is attached or read."""
    take(memory)
    with pytest.raises(Lost, match="me holds the claim"):
        run(archive, "snapshot_archive_s3", snapshot_id=ID)


def test_validation_says_what_it_would_fetch_and_then_proves_it(run, memory, ec2):
    """Without the snapshot, too, whose facts the manifest has."""
    with pytest.raises(Refused, match="there is no archive of"):
        run(validate, "snapshot_validate", snapshot_id=ID)
    archived(memory)
    ec2.snapshots.clear()
    foreseen = run(validate, "snapshot_validate", check=True, snapshot_id=ID)
    assert (foreseen["result"], foreseen["receipt"]) == ("unknown", "")
    assert 0 < foreseen["bytes"] < len(DATA)
    proved = run(validate, "snapshot_validate", snapshot_id=ID)
    assert (proved["result"], proved["bytes"], proved["difference_count"]) == ("equal", len(DATA), 0)
    assert memory.get(proved["receipt"]) is not None
    with pytest.raises(Refused, match="Levels quick and archive need no snapshot"):
        run(validate, "snapshot_validate", snapshot_id=ID, level="full")


def test_a_difference_is_a_failure_unless_it_is_not(run, memory):
    """With the whole receipt either way."""
    entry = archived(memory).manifest["archives"][0]
    memory.client.damage("b", entry["objects"][0]["key"], 100)
    failed = run(validate, "snapshot_validate", snapshot_id=ID)
    assert failed["failed"]
    assert failed["msg"].startswith("differences found: 1, the first: ")
    told = run(validate, "snapshot_validate", snapshot_id=ID, fail_on_difference=False)
    assert ("failed" in told, told["result"]) == (False, "different")


def test_what_is_there_is_listed_with_details_files_and_a_census(run, memory, tmp_path):
    """By state, by tag and by path."""
    archived(memory, tree=filled(tmp_path / "tree"))
    memory.put("stray", b"x")
    found = run(browse, "snapshot_archive_info", census=True, details=True)
    assert [(each["snapshot_id"], each["state"]) for each in found["archives"]] == [(ID, "complete")]
    assert found["archives"][0]["details"]["description"] == "a test"
    assert (found["census"]["unknown"], found["archive_count"]) == (1, 1)
    assert run(browse, "snapshot_archive_info", tags={"no": "such"})["archives"] == []
    assert run(browse, "snapshot_archive_info", newest=True, sample=1)["archive_count"] == 1
    files = run(browse, "snapshot_archive_info", paths=["*"], limit=1, spool=str(tmp_path))
    assert files["member_count"] >= 1


@pytest.mark.parametrize("before", [{"snap-to-s3": "migrate"}, {"snap-to-s3": "migrated"}, {}])
def test_a_validation_that_is_given_back_leaves_the_tag_as_it_was(run, memory, ec2, before):
    """It may not call a snapshot migrated that nobody archived, nor take it out of the queue."""
    ec2.tags[ID] = dict(before)
    taken = run(claim, "snapshot_claim", purpose="validate", snapshot_ids=[ID])
    assert ec2.tags[ID]["snap-to-s3"] == "validating"
    run(claim, "snapshot_claim", purpose="validate", state="released", snapshot_id=ID, claim=taken["claim"], reason="no archive")
    assert ec2.tags[ID] == {**before, "snap-to-s3-reason": "no archive"}
    taken = run(claim, "snapshot_claim", purpose="validate", snapshot_ids=[ID], run_id="another")
    with (
        pytest.raises(Stopped),
        claimed(job("snapshot_validate", {"s3": memory.client, "ec2": ec2}, bucket="b", snapshot_id=ID, claim=taken["claim"])),
    ):
        raise Stopped("for a test")
    assert ec2.tags[ID].get("snap-to-s3") == before.get("snap-to-s3")


def test_a_sample_of_none_and_a_directory_of_nowhere_are_refused(run, memory, tmp_path):
    """A drill of nothing would succeed for ever, and a relative path would lead below wherever the module runs."""
    archived(memory, tree=filled(tmp_path / "tree"))
    with pytest.raises(Refused, match="a sample of 0 archives is none"):
        run(browse, "snapshot_archive_info", sample=0)
    with pytest.raises(Refused, match="some/where is not an absolute path"):
        run(restore, "snapshot_restore", snapshot_id=ID, directory="some/where", spool=str(tmp_path))


def test_what_check_mode_counts_is_what_a_restore_makes(run, memory, tmp_path):
    """Devices that are not allowed, and what has too few components, are not made; holes are not written."""
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    os.mknod(tree / "a" / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with open(tree / "a" / "sparse", "wb") as file:
        file.truncate(64 << 20)
        file.write(b"x" * 4096)
    archived(memory, tree=tree)
    for number, more in enumerate(({}, {"strip_components": 1}, {"allow_devices": True})):
        given = {"snapshot_id": ID, "directory": str(tmp_path / f"out{number}"), "spool": str(tmp_path), **more}
        foreseen = run(restore, "snapshot_restore", check=True, **given)
        done = run(restore, "snapshot_restore", **given)
        assert done["members"] == foreseen["members"]
        assert done["bytes_written"] <= foreseen["bytes_written"] <= done["bytes_written"] + 4096


@pytest.mark.parametrize("suffix", ["", ".gpg"])
def test_without_a_target_check_mode_foresees_nothing(run, memory, suffix):
    """Nothing would be restored, whatever there is; another tool's archive does not say how much it holds, or may be encrypted."""
    put_stream(memory, "tar", "lz4", b"?", suffix)
    other = run(restore, "snapshot_restore", check=True, snapshot_id=ID)
    archived(memory)
    for foreseen in (other, run(restore, "snapshot_restore", check=True, snapshot_id=ID)):
        assert (foreseen["changed"], foreseen["bytes_written"], foreseen["members"]) == (False, 0, 0)


def test_a_manifest_that_sleeps_is_found_by_its_key(run, memory):
    """Also where it is not below the prefix of the arguments, as when it is awake."""
    key = archived(memory, prefix="old/host/").key
    awake = run(restore, "snapshot_restore", check=True, key=key)
    memory.client.objects["b"][key][-1].storage_class = "GLACIER"
    asleep = run(restore, "snapshot_restore", check=True, key=key)
    assert (asleep["thaw"]["objects"], asleep["snapshot_id"]) == (1, awake["snapshot_id"])


def test_files_come_back_and_a_selection_is_foreseen(run, memory, tmp_path):
    """Check mode counts from the index, and writes nothing."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(3):
        (tree / f"file{number}").write_bytes(bytes([number]) * 1000)
    archived(memory, tree=tree)
    given = {"snapshot_id": ID, "directory": str(tmp_path / "out"), "spool": str(tmp_path)}
    foreseen = run(restore, "snapshot_restore", check=True, **given)
    assert not (tmp_path / "out").exists()
    done = run(restore, "snapshot_restore", **given)
    assert done["bytes_written"] == foreseen["bytes_written"] == 3000
    assert not compare(tree, tmp_path / "out")
    with pytest.raises(Refused, match="nothing in the archive matches"):
        run(restore, "snapshot_restore", paths=["no/such"], **given)


def test_what_sleeps_is_asked_for_and_pending(run, memory, tmp_path):
    """With its price; nothing is asked for in check mode."""
    entry = archived(memory, tree=filled(tmp_path / "tree"), storage_class="GLACIER").manifest["archives"][0]
    key = entry["objects"][0]["key"]
    given = {"snapshot_id": ID, "directory": str(tmp_path / "out"), "spool": str(tmp_path)}
    foreseen = run(restore, "snapshot_restore", check=True, thaw_only=True, **given)
    assert (foreseen["pending"], foreseen["thaw"]["objects"]) == (True, 1)
    assert memory.head(key).thaw == ""
    asked = run(restore, "snapshot_restore", thaw_only=True, **given)
    assert (asked["pending"], asked["changed"]) == (True, True)
    assert memory.head(key).thaw
    assert run(restore, "snapshot_restore", **given)["pending"]
    assert not (tmp_path / "out").exists()


def test_an_image_needs_root_and_no_selection(run, monkeypatch, tmp_path):
    """Which is said before anything is read."""
    with pytest.raises(Refused, match="need a directory"):
        run(restore, "snapshot_restore", snapshot_id=ID, device="/dev/x", paths=["a"])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for given in ({"device": "/dev/x"}, {"directory": str(tmp_path)}):
        with pytest.raises(Refused, match=r"needs? root"):
            run(restore, "snapshot_restore", snapshot_id=ID, **given)


def test_preflight_looks_at_arguments_before_anything_else(run, memory):
    """And leaves nothing in the bucket."""
    for given, words in (({"threads": 0}, "threads has to be at least 1"), ({"sse_kms_key_id": "k"}, "is for sse=aws:kms")):
        with pytest.raises(Refused, match=words):
            run(preflight, "preflight", **given)
    assert memory.client.calls == []
    assert run(preflight, "preflight", volumes=False, check=True)["instance_id"] == ""
    run(preflight, "preflight", volumes=False)
    assert not [key for key in memory.client.objects["b"] if memory.head(key)]


def test_break_even_asks_nobody(run):
    """The collection has prices of its own."""
    found = break_even(job("break_even_info", snapshots=[2], compression=[0.5]))
    assert {row["snapshots"] for row in found["rows"]} == {2}
    with pytest.raises(Refused, match="2 or more"):
        break_even(job("break_even_info", snapshots=[1]))


def test_a_region_is_needed_and_named(memory):
    """By whatever asks EC2, and not before."""
    with pytest.raises(Refused, match="the region is not known"):
        archive(job("snapshot_archive_s3", {"s3": memory.client}, bucket="b", home="", snapshot_id=ID))


def test_clients_and_the_account_are_asked_for_once(memory):
    """However often a flow needs them."""
    made = []

    class Sts:
        def get_caller_identity(self):
            made.append("GetCallerIdentity")
            return {"Account": "1", "Arn": "a"}

    def connect(service, *_config, **_where):
        made.append(service)
        return {"sts": Sts(), "ec2": MemoryEc2()}[service]

    asking = replace(job("snapshot_claim"), connect=connect)
    assert isinstance(asking, Job)
    assert [asking.account, asking.account, asking.caller["Arn"]] == ["1", "1", "a"]
    assert asking.ec2 is asking.ec2
    assert made == ["sts", "GetCallerIdentity", "ec2"]


def test_without_a_claim_a_lane_is_free(memory):
    """Somebody uses a module by itself."""
    with claimed(job("snapshot_archive_s3", {"s3": memory.client}, bucket="b", snapshot_id=ID)) as lane:
        assert lane is FREE
