# SPDX-License-Identifier: GPL-3.0-or-later
"""cost_report_analyze against the lab: its own bill, its snapshots, its bucket."""

import json
import time
import uuid
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from bills import LAST_MONTH, Bill
from conftest import finished, start

BLOCK = 512 * 1024


@pytest.fixture(scope="module")
def history(lab):
    """A volume with three snapshots, and what changed between: 20 blocks; 4 of them and 1 new; 2 of those 4 again."""
    zone = lab.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    volume = lab.ec2.create_volume(AvailabilityZone=zone, Size=1, VolumeType="gp3")["VolumeId"]
    image = lab.directory / "volumes" / f"{volume}.img"
    ids = []
    for number, blocks in enumerate(([*range(20)], [0, 1, 2, 3, 30], [0, 1]), 1):
        with open(image, "r+b") as file:
            for block in blocks:
                file.seek(block * BLOCK)
                file.write(bytes([number]) * 4096)
        ids.append(lab.ec2.create_snapshot(VolumeId=volume)["SnapshotId"])
        time.sleep(1.1)  # EC2 tells snapshots apart by the second
    yield volume, ids
    for snapshot_id in ids:
        lab.ec2.delete_snapshot(SnapshotId=snapshot_id)
    for _attempt in range(50):
        if lab.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available":
            break
        time.sleep(0.1)
    lab.ec2.delete_volume(VolumeId=volume)


def billed(lab, directory, sizes, kind="cur2.csv.gz"):
    """A bill of these snapshots of the lab's, in blocks."""
    bill = Bill(LAST_MONTH)
    for snapshot_id, blocks in sizes.items():
        bill.snapshot(snapshot_id, blocks, account=lab.account, region=lab.state["region"])
    bill.noise()
    return bill.write(directory, kind)


def analyse(lab, report, **arguments):
    arguments.setdefault("refresh_prices", False)
    return lab.ok("cost_report_analyze", report=[str(report)], **arguments)


def chain_of(result, volume):
    return next(chain for chain in result["chains"] if chain["volume_id"] == volume)


def test_the_labs_own_bill_is_analysed(lab, seeds, tmp_path):
    """Every seed is found with its volume, which is gone, and the sums are the bill's."""
    lab._run("bill", str(tmp_path / "bill.csv.gz"))
    result = analyse(lab, tmp_path / "bill.csv.gz", limit=1000)
    found = {chain["volume_id"]: chain for chain in result["chains"]}
    for number, (name, snapshot_id) in enumerate(seeds.items(), 1):
        chain = found[f"vol-{number:017x}"]
        assert [each["snapshot_id"] for each in chain["snapshots"]] == [snapshot_id], name
        assert chain["volume_gone"] is True
        assert chain["billed_blocks"] > 0
    totals = result["totals"]
    assert totals["snapshots"] + sum(other["cost"] for other in totals["not_analysed"]) == pytest.approx(totals["bill"], abs=1e-6)


def test_what_deleting_frees_is_measured_where_asked(lab, history, tmp_path):
    """A range from the bill alone; exact by the EBS direct APIs: the second's 5 blocks but for the 3 that the third holds too."""
    volume, ids = history
    report = billed(lab, tmp_path, dict(zip(ids, (20, 5, 2))))
    rough = chain_of(analyse(lab, report), volume)
    assert [each["snapshot_id"] for each in rough["snapshots"]] == ids
    assert (rough["snapshots"][1]["frees_gib_least"], rough["snapshots"][1]["frees_gib_most"]) == (0, 5 / 2048)
    exact = chain_of(analyse(lab, report, exact_volumes=[volume]), volume)
    middle = exact["snapshots"][1]
    assert middle["frees_gib_least"] == middle["frees_gib_most"] == 2 / 2048
    assert exact["snapshots"][2]["full_gib"] == 21 / 2048
    assert exact["volume_gone"] is False


def test_a_volume_that_is_not_there_cannot_be_measured(lab, history, tmp_path):
    """By name."""
    report = billed(lab, tmp_path, {history[1][0]: 20})
    result = lab.module("cost_report_analyze", report=[str(report)], refresh_prices=False, exact_volumes=["vol-nothing"])
    assert result["failed"]
    assert "vol-nothing has no snapshots" in result["msg"]


def test_apply_tags_what_is_advised_once(lab, seeds, tmp_path):
    """Check mode tags nothing and says what it would; a second run changes nothing; other tags stay."""
    tag = f"q{uuid.uuid4().hex[:8]}"
    ids = [seeds["tagged"], seeds["empty"]]
    report = billed(lab, tmp_path, dict.fromkeys(ids, 2048 * 100))
    lab.ec2.create_tags(Resources=[seeds["empty"]], Tags=[{"Key": tag, "Value": "failed"}])
    try:
        checked = analyse(lab, report, apply=True, tag=tag, check=True)
        assert (checked["changed"], checked["tagged"]) == (True, [seeds["tagged"]])
        said = {tag: "migrate", f"{tag}-storage-class": "DEEP_ARCHIVE", f"{tag}-format": "tar"}
        assert checked["diff"]["after"] == {seeds["tagged"]: said}
        assert "Would be tagged for migrate.yml" in checked["text"]
        assert f"  DEEP_ARCHIVE, tar: {seeds['tagged']}" in checked["text"][-2]
        assert "saves about $5.00 a month once they are deleted" in checked["text"][-1]
        assert marks(lab, tag) == {seeds["empty"]: "failed"}
        done = analyse(lab, report, apply=True, tag=tag)
        assert (done["changed"], done["tagged"]) == (True, [seeds["tagged"]])
        assert marks(lab, tag) == {seeds["empty"]: "failed", seeds["tagged"]: "migrate"}
        assert marks(lab, f"{tag}-storage-class") == {seeds["tagged"]: "DEEP_ARCHIVE"}
        assert marks(lab, f"{tag}-format") == {seeds["tagged"]: "tar"}
        again = analyse(lab, report, apply=True, tag=tag)
        assert (again["changed"], again["tagged"]) == (False, [])
    finally:
        lab.ec2.delete_tags(Resources=ids, Tags=[{"Key": key} for key in (tag, f"{tag}-storage-class", f"{tag}-format")])


def marks(lab, tag):
    pages = lab.ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": [tag]}])
    return {each["SnapshotId"]: {pair["Key"]: pair["Value"] for pair in each["Tags"]}[tag] for each in pages["Snapshots"]}


def test_a_prefix_in_s3_is_read_by_its_newest_complete_manifest(lab, seeds, bucket, tmp_path):
    """Older versions and the running month are passed over, and named."""
    path = billed(lab, tmp_path, {seeds["empty"]: 2048}, "legacy.csv.gz")
    begin = datetime.strptime(LAST_MONTH, "%Y-%m").replace(tzinfo=timezone.utc)
    end = (begin + timedelta(days=32)).replace(day=1)
    later = (end + timedelta(days=32)).replace(day=1)
    period, running = f"{begin:%Y%m%d}-{end:%Y%m%d}", f"{end:%Y%m%d}-{later:%Y%m%d}"
    key = f"bills/cur/{period}/new/cur-1.csv.gz"
    lab.s3.upload_file(str(path), bucket, key)
    lab.s3.put_object(Bucket=bucket, Key=f"bills/cur/{period}/old/cur-1.csv.gz", Body=b"old")
    lab.s3.put_object(Bucket=bucket, Key=f"bills/cur/{running}/new/cur-1.csv.gz", Body=b"running")
    lab.s3.put_object(Bucket=bucket, Key=f"bills/cur/{period}/cur-Manifest.json", Body=json.dumps({"reportKeys": [key]}).encode())
    for source in (f"s3://{bucket}/bills", f"s3://{bucket}/bills/cur/{period}/cur-Manifest.json", f"s3://{bucket}/{key}"):
        result = analyse(lab, source)
        assert result["report"]["files"] == [f"s3://{bucket}/{key}"], source
        assert result["totals"]["snapshots"] == pytest.approx(0.05)
    assert len(analyse(lab, f"s3://{bucket}/bills")["report"]["passed_over"]) == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://{bucket}/nothing", "nothing below"),
        ("s3://no-such-bucket-at-all/x", "NoSuchBucket"),
        ("s3://", "does not name a bucket"),
    ],
)
def test_a_prefix_that_is_not_there_is_one_sentence(lab, bucket, source, said):
    """Wrong prefix, wrong bucket, none."""
    result = lab.module("cost_report_analyze", report=[source.format(bucket=bucket)], refresh_prices=False)
    assert result["failed"]
    assert said in result["msg"]
    assert "Traceback" not in result["msg"]


def test_other_accounts_are_asked_by_role(lab, seeds, tmp_path):
    """Their snapshots are found with their volumes; without the role only the bill knows them; a wrong ARN is refused."""
    role = "arn:aws:iam::222222222222:role/reader"
    spec = {"endpoint_url": lab.state["endpoint"], "region_name": lab.state["region"]}
    sts = boto3.client("sts", aws_access_key_id=lab.state["access_key"], aws_secret_access_key=lab.state["secret_key"], **spec)
    keys = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    other = boto3.client(
        "ec2", aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"], **spec,
    )  # fmt: skip
    zone = other.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    volume = other.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    theirs = other.create_snapshot(VolumeId=volume)["SnapshotId"]
    bill = Bill(LAST_MONTH)
    bill.snapshot(theirs, 2048, account="222222222222", region=lab.state["region"])
    report = bill.write(tmp_path, "legacy.csv")
    for roles, started in (([role], True), ([], False)):
        result = analyse(lab, report, assume_roles=roles, limit=1000)
        snapshot = next(each for chain in result["chains"] for each in chain["snapshots"] if each["snapshot_id"] == theirs)
        assert (snapshot["volume_id"], snapshot["state"]) == ((volume, "standard") if started else ("", "not asked"))
        assert [each["account"] for each in result["not_asked"]] == ([] if started else ["222222222222"])
    wrong = lab.module("cost_report_analyze", report=[str(report)], refresh_prices=False, assume_roles=["reader"])
    assert "reader is not a role ARN" in wrong["msg"]


def test_a_controller_needs_no_region_of_its_own(lab, seeds, bucket, tmp_path, monkeypatch):
    """The bill says which regions there are; the price API and S3 have theirs. It need not be an instance either."""
    path = billed(lab, tmp_path, {seeds["empty"]: 2048})
    lab.s3.upload_file(str(path), bucket, "bill.csv.gz")
    monkeypatch.setitem(lab.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    for arguments in ({}, {"regions": ["all"]}, {"refresh_prices": True}, {"bucket": bucket}):
        chain = chain_of(analyse(lab, f"s3://{bucket}/bill.csv.gz", **arguments), "vol-00000000000000007")
        assert chain["billed_blocks"] == 2048


def test_a_line_of_no_known_region_holds_up_nothing(lab, seeds, tmp_path):
    """Nobody is asked about it; it is listed, and kept."""
    bill = Bill(LAST_MONTH)
    bill.snapshot(seeds["empty"], 2048, account=lab.account, region=lab.state["region"])
    bill.add("XX9-EBS:SnapshotUsage", "5", "snap-0fffffffffffffff0", quantity=100, region="")
    result = analyse(lab, bill.write(tmp_path, "legacy.csv"))
    assert {each["region"] for each in result["totals"]["regions"]} == {lab.state["region"], "unknown"}


def test_all_regions_can_be_asked(lab, seeds, tmp_path):
    """Snapshots that the bill does not know are listed, wherever they are."""
    report = billed(lab, tmp_path, {seeds["empty"]: 2048})
    result = analyse(lab, report, regions=["all"], limit=1000)
    unbilled = [each for chain in result["chains"] for each in chain["snapshots"] if each["snapshot_id"] == seeds["gpt"]]
    assert len(unbilled) == 1
    assert unbilled[0]["billed_blocks"] == 0


def test_without_ec2_the_bill_alone_is_analysed(lab, seeds, tmp_path):
    """Nobody is asked anything, no chain is known, nothing is advised."""
    report = billed(lab, tmp_path, {seeds["empty"]: 2048 * 500})
    nowhere = {"endpoint_url": "http://127.0.0.1:9"}
    result = analyse(lab, report, describe=False, **nowhere)
    assert (result["chains"][0]["volume_id"], result["chains"][0]["volume_gone"], result["migrations"]) == ("", None, [])
    described = analyse(lab, report, **nowhere)
    assert (described["chains"][0]["snapshots"][0]["state"], described["migrations"]) == ("not asked", [])
    assert [each["permission"] for each in described["not_asked"]] == ["sts:GetCallerIdentity"]


@pytest.mark.parametrize(
    ("denied", "state", "advice"),
    [("DescribeSnapshots", "not asked", "keep"), ("DescribeVolumes", "standard", "move"), ("DescribeImages", "standard", "move")],
)
def test_what_a_policy_denies_is_named_and_the_rest_analysed(lab, seeds, tmp_path, denied, state, advice):
    """With the permission that is missing, beside the advice that rests on it."""
    key = f"AKIA{uuid.uuid4().hex[:16].upper()}"
    needed = (
        "DescribeSnapshots", "DescribeVolumes", "DescribeImages", "DescribeFastSnapshotRestores", "DescribeLockedSnapshots",
        "DescribeSnapshotAttribute", "ListSnapshotsInRecycleBin",
    )  # fmt: skip
    actions = {f"ec2:{name}" for name in needed if name != denied}
    lab.call("policy", {"key": key, "actions": sorted(actions)})
    report = billed(lab, tmp_path, {seeds["empty"]: 2048 * 500})
    result = analyse(lab, report, access_key=key, secret_key="x")
    (lacks,) = result["not_asked"]
    assert (lacks["account"], lacks["region"], lacks["permission"]) == (lab.account, lab.state["region"], f"ec2:{denied}")
    row = next(each for chain in result["chains"] for each in chain["snapshots"] if each["snapshot_id"] == seeds["empty"])
    assert (row["state"], row["advice"]) == (state, advice)
    assert any(f"(ec2:{denied})" in chain["reason"] for chain in result["chains"])
    assert any(line.startswith(f"Not asked: account {lab.account} in {lab.state['region']}: ") for line in result["text"])


def test_files_are_written_once_and_not_in_check_mode(lab, seeds, tmp_path):
    """changed only on change; what is written is whole."""
    report = billed(lab, tmp_path, {seeds["empty"]: 2048 * 500})
    outputs = {name: str(tmp_path / f"out.{name}") for name in ("json", "csv", "text", "html")}
    arguments = {"outputs": outputs, "page": "<script>@DATA@</script>", "regions": [lab.state["region"]]}
    assert analyse(lab, report, check=True, **arguments)["written"] == []
    assert not (tmp_path / "out.csv").exists()
    result = analyse(lab, report, **arguments)
    assert sorted(result["written"]) == sorted(outputs.values())
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["totals"]["snapshots"] == pytest.approx(25)
    assert sum(f"{seeds['empty']}," in line for line in (tmp_path / "out.csv").read_text().splitlines()) == 1
    assert analyse(lab, report, **arguments)["changed"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"compression": 0}, "compression is 0"),
        ({"months": -1}, "months is -1"),
        ({"grace_days": -1}, "grace_days is -1"),
        ({"restore_within": "soon"}, "restore_within is 'soon', not a time such as 30m, 12h or 2d"),
        ({"retrievals": -0.5}, "retrievals is -0.5"),
        ({"apply": True, "describe": False}, "apply needs describe"),
        ({"outputs": {"html": "/tmp/x.html"}}, "needs a page"),
        ({"prices": {"snapshots": 1}}, "snapshots is not a price"),
        ({"prices": {"currency": "CNY"}}, "prices are given in CNY, but some are missing"),
        ({"classes": ["FROZEN"]}, "FROZEN"),
        ({"spool": "/nonexistent"}, "/nonexistent"),
    ],
)
def test_bad_input_is_one_sentence(lab, seeds, tmp_path, arguments, said):
    """Refused before anything is written or tagged."""
    report = billed(lab, tmp_path, {seeds["empty"]: 2048})
    result = lab.module("cost_report_analyze", report=[str(report)], **{"refresh_prices": False, **arguments})
    assert result["failed"]
    assert said in result["msg"]
    assert "\n" not in result["msg"]


def test_prices_that_cannot_be_refreshed_are_a_warning(lab, seeds, tmp_path):
    """The lab has no price API, as many networks have none."""
    report = billed(lab, tmp_path, {seeds["empty"]: 2048})
    result = analyse(lab, report, refresh_prices=True)
    assert any("price API does not answer" in str(warning) for warning in result["warnings"])
    assert "table of the collection" in result["prices_note"]


def test_compression_is_measured_on_archives_already_made(lab, seeds, bucket, tmp_path):
    """Of this volume, and used for the others, too."""
    volume = lab.attach(seeds["tagged"])
    try:
        made = lab.ok(
            "snapshot_archive_s3",
            bucket=bucket,
            snapshot_id=seeds["tagged"],
            volume_id=volume["volume_id"],
            attached_as=volume["attached_as"],
        )
    finally:
        lab.detach(volume["volume_id"])
    stored = sum(
        lab.s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        for key in lab.keys(bucket)
        if key.endswith(".tar.zst") or ".img." in key
    )
    assert made["changed"]
    report = billed(lab, tmp_path, {seeds["tagged"]: 64, seeds["empty"]: 2048})
    given = analyse(lab, report, bucket=bucket)["assumptions"]
    assert given["measured"]
    held = lab.ec2.describe_snapshots(SnapshotIds=[seeds["tagged"]])["Snapshots"][0]["FullSnapshotSizeInBytes"]
    assert given["compression"] == pytest.approx(stored / held)


def test_the_playbook_writes_what_migrate_takes(lab, bucket, venv, seeds, tmp_path):
    """Four files and the variables, by storage class."""
    report = billed(lab, tmp_path, {seeds["empty"]: 2048 * 500})
    variables = {
        "coldstore_cost_report": str(report),
        "coldstore_cost_directory": str(tmp_path / "out"),
        "coldstore_cost_refresh_prices": False,
    }
    output = finished(start(lab, bucket, venv, "analyze", (), **variables))
    assert "-> DEEP_ARCHIVE, all: saves about $25.00 a month, at least $25.00" in output
    place = f"{lab.account}-{lab.state['region']}"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [f"migrate-{place}-DEEP_ARCHIVE.yml", "snapshots.csv", "snapshots.html", "snapshots.json", "snapshots.txt"]
    )
    written = (tmp_path / "out" / f"migrate-{place}-DEEP_ARCHIVE.yml").read_text()
    assert "coldstore_storage_class: DEEP_ARCHIVE" in written
    assert f"- {seeds['empty']}" in written
    assert seeds["empty"] in (tmp_path / "out" / "snapshots.html").read_text()


def test_the_playbook_refuses_no_report(lab, bucket, venv):
    """With how to name one."""
    assert "coldstore_cost_report=" in finished(start(lab, bucket, venv, "analyze", ()), code=2)


def test_the_what_if_is_the_table_of_the_readme(lab, bucket, venv):
    """And follows the prices given."""
    output = finished(start(lab, bucket, venv, "breakeven", ()))
    for storage_class, percent in (("STANDARD ", "46%"), ("STANDARD_IA", "25%"), ("GLACIER_IR", "8%")):
        line = next(line for line in output.splitlines() if storage_class in line)
        assert percent in line.split()[-1], line
    dearer = finished(start(lab, bucket, venv, "breakeven", (), coldstore_cost_prices={"snapshot": 0.1}))
    assert any("STANDARD " in line and "23%" in line for line in dearer.splitlines())
