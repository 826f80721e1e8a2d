# SPDX-License-Identifier: GPL-3.0-or-later
"""What an account or a region could not be asked ends nothing: it is named, and nothing is concluded from it."""

from datetime import date, datetime, timezone

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.cloud.questions import Access
from ansible_collections.coldstore.ebs.plugins.module_utils.common import retry
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import (
    ACCOUNT,
    BINNED,
    BLOCKS,
    FAST,
    IMAGES,
    LOCKS,
    REGIONS,
    SNAPSHOTS,
    VOLUMES,
    NotAsked,
)
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import advice, locate, moves, output, prices, reports, terminal
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import accounts, applying, costs
from ansible_collections.coldstore.ebs.plugins.module_utils.flows.survey import survey as surveyed
from bills import Bill
from botocore.exceptions import ClientError, EndpointConnectionError
from fakes import MovedClock
from jobs import job

TODAY = date(2026, 11, 21)
HOME, OTHER = "111111111111", "222222222222"
GIB = 2048  # blocks
A, B, C = (f"snap-{number:017x}" for number in (1, 2, 3))


def error(code, call="DescribeSnapshots"):
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, call)


class Cloud:
    """A client of every service. Of `fails` each call raises what is given; it has one snapshot for each id."""

    def __init__(self, *snapshot_ids, volume="vol-1", **fails):
        self.snapshot_ids, self.volume, self.fails, self.calls = snapshot_ids, volume, fails, []

    def __getattr__(self, call):
        def answer(**_asked):
            self.calls.append(call)
            if call in self.fails:
                raise self.fails[call]
            return self.replies()[call]

        return answer

    def replies(self):
        start = datetime(2026, 1, 1, tzinfo=timezone.utc)
        facts = {"VolumeId": self.volume, "StartTime": start, "VolumeSize": 100, "State": "completed"}
        snapshots = [{"SnapshotId": each, "FullSnapshotSizeInBytes": 100 << 30, **facts} for each in self.snapshot_ids]
        return {
            "describe_snapshots": {"Snapshots": snapshots},
            "describe_volumes": {"Volumes": [{"VolumeId": "vol-other"}]},
            "describe_images": {"Images": []},
            "describe_fast_snapshot_restores": {"FastSnapshotRestores": []},
            "describe_locked_snapshots": {"Snapshots": []},
            "list_snapshots_in_recycle_bin": {"Snapshots": []},
            "describe_regions": {"Regions": [{"RegionName": "us-east-1"}]},
            "list_snapshot_blocks": {"Blocks": []},
        }


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(retry, "Clock", MovedClock)


def survey(tmp_path, clouds, billed, missing=(), exact=()):
    """clouds: {(account, region): Cloud}. billed: (snapshot, account, region) of 100 GiB each. The document and the text."""
    bill = Bill("2026-10")
    for snapshot_id, account, region in billed:
        bill.snapshot(snapshot_id, 100 * GIB, account=account, region=region)
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    accesses = [Access(*place, lambda _service, cloud=cloud: cloud) for place, cloud in clouds.items()]
    chains, measured, not_asked = surveyed(report, accesses, missing, exact, TODAY, Stop())
    priced = {chain.region: prices.table(chain.region) for chain in chains}
    given = moves.Assumptions()
    analysis = costs.analyse(report, locate.Located([], [], []), chains, priced, given, measured, not_asked, TODAY)
    rows = {row["snapshot_id"]: {**row, "reason": plan.reason} for plan in analysis.plans for row in output.snapshot_rows(plan)}
    return analysis, rows, "\n".join(terminal.lines(analysis.document, analysis.plans))


QUESTIONS = {
    "describe_snapshots": (SNAPSHOTS, "ec2:DescribeSnapshots"),
    "describe_volumes": (VOLUMES, "ec2:DescribeVolumes"),
    "describe_images": (IMAGES, "ec2:DescribeImages"),
    "describe_fast_snapshot_restores": (FAST, "ec2:DescribeFastSnapshotRestores"),
    "describe_locked_snapshots": (LOCKS, "ec2:DescribeLockedSnapshots"),
    "list_snapshots_in_recycle_bin": (BINNED, "ec2:ListSnapshotsInRecycleBin"),
}
DENIED = error("UnauthorizedOperation")
KINDS = [
    (DENIED, "ec2:DescribeSnapshots is denied: no", "Allow it there, also in the organization's SCPs"),
    (error("AuthFailure"), "AWS does not accept the credentials", "Enable eu-central-1 for account 111111111111"),
    (error("OptInRequired"), "AWS does not accept the credentials", "Enable eu-central-1 for account 111111111111"),
    (error("RequestLimitExceeded"), "AWS answers RequestLimitExceeded", "Analyse again later"),
    (EndpointConnectionError(endpoint_url="https://ec2.x"), "ec2.x cannot be reached", "leave it out (regions, describe)"),
    (error("InvalidAction"), "AWS answers InvalidAction", "Trying again will not help"),
]


@pytest.mark.parametrize(("failure", "why", "helps"), KINDS)
def test_a_region_that_says_nothing_is_named_and_the_rest_is_analysed(tmp_path, failure, why, helps):
    """Its snapshots stay, as not asked; they are not gone, and nothing is advised for them."""
    silent = Cloud(**dict.fromkeys(QUESTIONS, failure))
    clouds = {(HOME, "us-east-1"): Cloud(A), (HOME, "eu-central-1"): silent}
    analysis, rows, text = survey(tmp_path, clouds, [(A, HOME, "us-east-1"), (B, HOME, "eu-central-1")])
    document = analysis.document
    assert [(each["region"], each["what"], each["permission"]) for each in document["not_asked"]] == [
        ("eu-central-1", what, permission if failure is not DENIED else "ec2:DescribeSnapshots")
        for what, permission in QUESTIONS.values()
    ]
    assert why in document["not_asked"][0]["why"]
    assert helps in document["not_asked"][0]["help"]
    assert (document["not_asked"][0]["snapshots"], document["not_asked"][0]["monthly"]) == (1, pytest.approx(5))
    assert (rows[A]["advice"], rows[B]["advice"], rows[B]["state"], rows[B]["volume_gone"]) == ("move", "keep", "not asked", None)
    assert "not asked: which volumes they are of (ec2:DescribeSnapshots)" in rows[B]["reason"]
    assert document["savings"]["since"]["gone"] == 0
    assert f"Not asked: account {HOME} in eu-central-1: {SNAPSHOTS} (ec2:DescribeSnapshots)" in text
    assert "This affects 1 snapshot of $5.00 a month." in text
    assert "of unknown volumes: 1 snapshot, not asked, kept" in text
    assert "not asked" in next(line for line in text.splitlines() if B in line)
    assert "deleted since" not in text
    (moved,) = applying.migrations(analysis.plans, "tar")
    assert (moved["region"], moved["snapshot_ids"]) == ("us-east-1", [A])
    assert any(f"{B},," in line and ",not asked," in line for line in output.as_csv(analysis.document, analysis.plans))


def test_a_region_that_cannot_be_reached_is_asked_once(tmp_path):
    """Each question would be tried for half a minute."""
    silent = Cloud(describe_snapshots=EndpointConnectionError(endpoint_url="https://ec2.x"))
    analysis, _rows, _text = survey(tmp_path, {(HOME, "us-east-1"): silent}, [(A, HOME, "us-east-1")])
    assert set(silent.calls) == {"describe_snapshots"}
    assert [each["what"] for each in analysis.document["not_asked"]] == [what for what, _permission in QUESTIONS.values()]


def test_volumes_that_nobody_may_list_are_not_gone(tmp_path):
    """The chain is known; only its age tells that it is cold."""
    cloud = Cloud(A, describe_volumes=error("UnauthorizedOperation", "DescribeVolumes"))
    _analysis, rows, text = survey(tmp_path, {(HOME, "us-east-1"): cloud}, [(A, HOME, "us-east-1")])
    assert (rows[A]["volume_id"], rows[A]["volume_gone"], rows[A]["state"]) == ("vol-1", None, "standard")
    assert "not asked: which volumes exist (ec2:DescribeVolumes)" in rows[A]["reason"]
    assert "volume is gone" not in text


def test_advice_says_that_it_does_not_know_the_images(tmp_path):
    """What an AMI uses cannot be deleted: so nothing is certain to be saved."""
    cloud = Cloud(A, describe_images=error("UnauthorizedOperation", "DescribeImages"))
    analysis, rows, _text = survey(tmp_path, {(HOME, "us-east-1"): cloud}, [(A, HOME, "us-east-1")])
    assert rows[A]["advice"] == "move"
    assert "saves about $4.95 a month" in rows[A]["reason"]
    assert "but nothing is certain" in rows[A]["reason"]
    assert "not asked: which AMIs use them (ec2:DescribeImages)" in rows[A]["reason"]
    assert analysis.document["savings"]["saving_least"] <= 0


def test_half_a_list_is_no_list(tmp_path):
    """A page that fails leaves none of those before: what is missing would count as deleted."""
    cloud = Cloud(A)
    pages = iter([{**cloud.replies()["describe_snapshots"], "NextToken": "x"}])

    def describe_snapshots(**_asked):
        for page in pages:
            return page
        raise error("InternalError")

    cloud.describe_snapshots = describe_snapshots
    billed = [(A, HOME, "us-east-1"), (B, HOME, "us-east-1")]
    _analysis, rows, _text = survey(tmp_path, {(HOME, "us-east-1"): cloud}, billed)
    assert {row["state"] for row in rows.values()} == {"not asked"}


@pytest.mark.parametrize(
    ("account", "region", "missing", "permission", "why", "helps"),
    [
        (OTHER, "us-east-1", [], "sts:AssumeRole", "no role was given for this account", "assume_roles"),
        (HOME, "eu-central-1", [], "", "it is not among the regions that were asked", "Add it (regions)"),
        (HOME, "us-gov-west-1", [], "", "to another AWS partition than aws-us-gov", "in a separate run"),
        (OTHER, "us-east-1", [NotAsked(OTHER, "", ACCOUNT, "sts:AssumeRole", "x", "y")], "sts:AssumeRole", "x", "y"),
    ],
)
def test_what_is_on_the_bill_and_was_not_to_be_asked_is_named(tmp_path, account, region, missing, permission, why, helps):
    """An account without a role or with one that is refused, a region left out, another partition."""
    billed = [(A, HOME, "us-east-1"), (B, account, region)]
    analysis, rows, _text = survey(tmp_path, {(HOME, "us-east-1"): Cloud(A)}, billed, missing)
    (lacks,) = analysis.document["not_asked"]
    assert (lacks["account"], lacks["permission"], lacks["snapshots"]) == (account, permission, 1)
    assert why in lacks["why"]
    assert helps in lacks["help"]
    assert (rows[B]["state"], rows[A]["state"]) == ("not asked", "standard")


def test_what_ended_on_the_bill_ended_whoever_was_asked(tmp_path):
    """The bill says so itself."""
    bill = Bill("2026-10")
    bill.snapshot(A, 100 * GIB, days=range(1, 9), account=OTHER)
    bill.snapshot(B, 100 * GIB, account=OTHER)
    report = reports.read([str(bill.write(tmp_path, "legacy.csv"))], "", str(tmp_path), TODAY)
    chains, _exact, _lacks = surveyed(report, [Access(HOME, "us-east-1", lambda _service: Cloud())], [], [], TODAY, Stop())
    plans = advice.advise(chains, {"us-east-1": prices.table("us-east-1")}, {}, moves.Assumptions(), {})
    states = {row["snapshot_id"]: row["state"] for plan in plans for row in output.snapshot_rows(plan)}
    assert states == {A: "ended", B: "not asked"}


def test_who_asks_for_no_description_lacks_nothing(tmp_path):
    """describe: false is what the user wants."""
    analysis, rows, text = survey(tmp_path, {}, [(A, HOME, "us-east-1")])
    assert (analysis.document["not_asked"], rows[A]["state"]) == ([], "standard")
    assert "not asked" not in text.lower()


def test_what_cannot_be_measured_is_advised_from_ranges(tmp_path):
    """The chain says so; another volume's does not."""
    cloud = Cloud(A, B, list_snapshot_blocks=error("AccessDeniedException", "ListSnapshotBlocks"))
    billed = [(A, HOME, "us-east-1"), (B, HOME, "us-east-1")]
    analysis, rows, _text = survey(tmp_path, {(HOME, "us-east-1"): cloud}, billed, exact=["vol-1"])
    (lacks,) = analysis.document["not_asked"]
    assert (lacks["what"], lacks["permission"], lacks["region"]) == (BLOCKS, "ebs:ListSnapshotBlocks", "us-east-1")
    assert "not asked: which blocks they have in common (ebs:ListSnapshotBlocks)" in rows[A]["reason"]


def test_a_volume_may_be_where_nobody_answers(tmp_path):
    """Only if all answered is its id wrong."""
    denied = Cloud(describe_snapshots=DENIED)
    analysis, _rows, _text = survey(tmp_path, {(HOME, "us-east-1"): denied}, [(A, HOME, "us-east-1")], exact=["vol-9"])
    assert any("vol-9 has no snapshots where EC2 answers" in each["why"] for each in analysis.document["not_asked"])
    with pytest.raises(Refused, match="vol-9 has no snapshots"):
        survey(tmp_path, {(HOME, "us-east-1"): Cloud(A)}, [(A, HOME, "us-east-1")], exact=["vol-9"])


def test_a_stop_is_no_answer(tmp_path):
    """Who is told to stop asks nobody else."""
    with pytest.raises(Stopped):
        survey(tmp_path, {(HOME, "us-east-1"): Cloud(describe_snapshots=Stopped("now"))}, [(A, HOME, "us-east-1")])


class Sts:
    def __init__(self, *refused):
        self.refused = refused

    def get_caller_identity(self):
        if "home" in self.refused:
            raise EndpointConnectionError(endpoint_url="https://sts.x")
        return {"Account": HOME, "Arn": f"arn:aws:iam::{HOME}:user/x"}

    def assume_role(self, RoleArn, RoleSessionName):
        if RoleArn in self.refused:
            raise error("AccessDenied", "AssumeRole")
        return {"Credentials": {"AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}}


def accesses(sts, ec2=None, roles=(), regions=("us-east-1",), billed=("us-east-1",)):
    asking = job("cost_report_analyze", {"sts": sts, "ec2": ec2 or Cloud()})
    found, missing = accounts.accesses(asking, list(roles), list(regions), list(billed))
    return [(each.account, each.region) for each in found], missing


def test_a_role_that_is_refused_is_named_and_the_others_are_used():
    """With its account."""
    roles = [f"arn:aws:iam::{OTHER}:role/no", "arn:aws:iam::333333333333:role/yes"]
    found, (lacks,) = accesses(Sts(roles[0]), roles=roles)
    assert found == [(HOME, "us-east-1"), ("333333333333", "us-east-1")]
    assert lacks[:4] == (OTHER, "", ACCOUNT, "sts:AssumeRole")
    assert lacks.why == "sts:AssumeRole is denied: no"
    assert f"Let the credentials assume {roles[0]}" in lacks.help


def test_without_sts_the_account_is_not_known():
    """So nobody can be asked; the bill is analysed all the same."""
    found, (lacks,) = accesses(Sts("home"))
    assert (found, lacks.permission, lacks.account) == ([], "sts:GetCallerIdentity", "")


def test_who_may_not_list_regions_asks_those_on_the_bill():
    """With the option that names them."""
    denied = Cloud(describe_regions=error("UnauthorizedOperation", "DescribeRegions"))
    found, (lacks,) = accesses(Sts(), denied, regions=["all"], billed=["eu-west-1", "us-east-1"])
    assert found == [(HOME, "eu-west-1"), (HOME, "us-east-1")]
    assert (lacks.what, lacks.permission) == (REGIONS, "ec2:DescribeRegions")
    assert "name the regions (regions)" in lacks.help


def test_regions_of_another_partition_are_not_asked():
    """They do not know the credentials; a role of theirs may be given."""
    roles = ["arn:aws-us-gov:iam::444444444444:role/gov"]
    regions = ["cn-north-1", "us-east-1", "us-gov-west-1"]
    found, missing = accesses(Sts(), roles=roles, regions=regions)
    assert (found, missing) == ([(HOME, "us-east-1"), ("444444444444", "us-gov-west-1")], [])
