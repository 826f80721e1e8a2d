# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README says is so."""

import json
import re

from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import _ACTIONS
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import advice, prices
from conftest import REPO

README = (REPO / "README.md").read_text()
UTILS = REPO / "plugins" / "module_utils"


def policies():
    """The actions of each policy in the README: a worker's, and that of the analysis."""
    for text in re.findall(r"```json\n(.*?)```", README, re.DOTALL):
        actions = set()
        for statement in json.loads(text)["Statement"]:
            actions |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
        yield actions


def camel(name):
    return "".join(word.capitalize() for word in name.split("_")).replace("V2", "V2")


def test_the_policy_allows_every_call_the_code_makes_and_no_other():
    """Calls are read from the source; KMS, versions and tags on upload have no call of their own."""
    worker, _analysis = policies()
    cloud = "".join(path.read_text() for path in (UTILS / "cloud").glob("*.py") if path.name != "inventory.py")
    ec2 = set(re.findall(r'(?:calls|pages)\(\s*"(\w+)"', cloud)) | set(re.findall(r"\bec2\.(\w+)", cloud))
    store = (UTILS / "engine" / "store.py").read_text()
    s3 = set(re.findall(r'_call\(\s*"(\w+)"', store)) | set(re.findall(r"client\.(\w+)\(", store))
    needed = {f"ec2:{camel(name)}" for name in ec2} | {_ACTIONS.get(camel(name), f"s3:{camel(name)}") for name in s3}
    implied = {"s3:GetObjectVersion", "s3:PutObjectTagging"}
    assert {action for action in worker if not action.startswith("kms:")} == needed | implied


def test_the_policy_of_the_analysis_allows_every_call_it_makes_and_no_other():
    """What it reads of archives in a bucket is reading, too."""
    _worker, analysis = policies()
    cloud = (UTILS / "cloud" / "inventory.py").read_text()
    needed = {f"{service}:{camel(name)}" for service, name in re.findall(r"\b(ec2|ebs)\.(\w+)", cloud)}
    bills = (UTILS / "costs" / "locate.py").read_text()
    s3 = {"GetObject" if name == "download_file" else camel(name) for name in re.findall(r"\bs3\.(\w+)", bills)}
    needed |= {_ACTIONS.get(name, f"s3:{name}") for name in s3}
    needed |= {f"pricing:{camel(name)}" for name in re.findall(r"client\.(\w+)", (UTILS / "costs" / "prices.py").read_text())}
    needed |= {f"sts:{camel(name)}" for name in re.findall(r"sts\.(assume_role)", (UTILS / "_aws.py").read_text())}
    assert analysis == needed | {"ec2:CreateTags"}


def test_the_break_even_table_is_what_the_code_works_out():
    """Every figure of it."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+)% \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 8
    for name, ratio, figures in rows:
        worked = advice.break_even_table(prices.table("us-east-1"), [int(ratio) / 100], [2, 7, 30, 0])
        line = next(line for line in advice.break_even_text([row for row in worked if row["storage_class"] == name])[1:])
        assert figures.split(" | ") == line.split()[2:], name


def test_every_variable_of_the_roles_is_in_the_readme_and_the_other_way_round():
    """coldstore_* names, as the playbooks and role defaults read them."""
    read = set()
    for path in [*(REPO / "roles").rglob("*.yml"), *(REPO / "playbooks").glob("*.yml")]:
        read |= set(re.findall(r"coldstore_\w+", path.read_text()))
    internal = {
        "coldstore_run", "coldstore_run_id", "coldstore_results", "coldstore_lost", "coldstore_lines", "coldstore_head", "coldstore_row",
        "coldstore_machine", "coldstore_lanes",
    }  # fmt: skip
    assert set(re.findall(r"coldstore_\w+", README)) == read - internal


def test_every_command_of_the_makefile_that_is_named_exists():
    """make demo, make test, make lint, make bench."""
    targets = set(re.findall(r"^(\w+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (demo|test|lint|bench)", README)) <= targets


def test_no_file_names_a_place_of_one_machine():
    """A clone works anywhere."""
    for path in [REPO / "README.md", *(REPO / "docs").glob("*.md"), *(REPO / "tests").rglob("*.sh")]:
        assert not re.search(r"(?<![\w.])/(home|root)/", path.read_text()), path
