# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README says of variables, figures and targets is so; its commands are run by test_readme_commands."""

import re

from ansible_collections.coldstore.ebs.plugins.module_utils.costs import advice, prices
from conftest import REPO

README = (REPO / "README.md").read_text()


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
        "coldstore_run", "coldstore_role", "coldstore_specification", "coldstore_settings", "coldstore_errors",
        "coldstore_run_id", "coldstore_results", "coldstore_lost", "coldstore_lines", "coldstore_head", "coldstore_row",
        "coldstore_machine", "coldstore_lanes", "coldstore_done", "coldstore_failed",
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
