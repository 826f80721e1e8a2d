# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README and the pages of docs say of variables, figures, targets and places is so; test_readme_commands runs their commands."""

import re

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import break_even, prices
from conftest import REPO

PAGES = {
    path.relative_to(REPO).as_posix(): path.read_text() for path in [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
}
ROLE_PAGES = {path.relative_to(REPO).as_posix(): path.read_text() for path in sorted((REPO / "roles").glob("*/README.md"))}
INTERNAL = {
    "coldstore_run", "coldstore_role", "coldstore_specification", "coldstore_settings", "coldstore_errors",
    "coldstore_run_id", "coldstore_report", "coldstore_lost", "coldstore_nothing", "coldstore_advice",
    "coldstore_machine", "coldstore_lanes", "coldstore_prepares", "coldstore_reached", "coldstore_defaults",
    "coldstore_unnamed", "coldstore_wrong",
}  # fmt: skip


def variables():
    """coldstore_* names, as the playbooks and roles read them."""
    read = set()
    for path in [*(REPO / "roles").rglob("*.yml"), *(REPO / "playbooks").glob("*.yml")]:
        read |= set(re.findall(r"coldstore_\w+", path.read_text()))
    return read - INTERNAL


def anchors(text):
    """What GitHub names the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_break_even_table_is_what_the_code_works_out():
    """Every figure of it."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+)% \| (.*) \|$", PAGES["docs/costs.md"], re.MULTILINE)
    assert len(rows) == 8
    for name, ratio, figures in rows:
        worked = break_even.as_rows(prices.table("us-east-1"), [int(ratio) / 100], [2, 7, 30, 0])
        line = next(line for line in break_even.as_text([row for row in worked if row["storage_class"] == name])[1:])
        assert figures.split(" | ") == line.split()[2:], name


def test_every_variable_of_the_roles_is_on_its_page_and_the_other_way_round():
    """Each once, in the first column of a table."""
    listed = re.findall(r"coldstore_\w+", "".join(re.findall(r"^\|([^|]*)\|", PAGES["docs/variables.md"], re.MULTILINE)))
    assert sorted(listed) == sorted(variables())


def test_a_default_on_the_page_of_variables_is_the_one_of_the_roles():
    """Of what the roles have a plain default for, and the page says alone in its row."""
    rows = re.findall(r"^\| `(coldstore_\w+)` \| `?([^|`]*)`? \|", PAGES["docs/variables.md"], re.MULTILINE)
    said = {
        name: default for name, default in rows if re.fullmatch(r"[\w.+/-]+", default) and default not in ("empty", "none", "all")
    }
    roles = {}
    for path in [*(REPO / "roles").glob("*/defaults/main.yml"), *(REPO / "playbooks").glob("*.yml")]:
        for name, default in re.findall(r"(coldstore_\w+) \| default\('?([^()']+)'?\)", path.read_text()):
            roles.setdefault(name, set()).add(default)
    compared = said.keys() & roles.keys()
    assert len(compared) > 22
    assert {name: {said[name]} for name in compared} == {name: roles[name] for name in compared}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_variables_and_targets_that_exist(page):
    """coldstore_…, and make …"""
    assert set(re.findall(r"coldstore_\w+", PAGES[page])) <= variables()
    targets = set(re.findall(r"^(\w+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^(?:.*`)?make (\w+)", PAGES[page], re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", [*PAGES, *ROLE_PAGES])
def test_a_link_leads_somewhere(page):
    """To a file of the repository, and to a heading of it."""
    for place in re.findall(r"\]\(([^)\s]+)\)", {**PAGES, **ROLE_PAGES}[page]):
        if place.startswith("https://"):
            continue
        path, _hash, anchor = place.partition("#")
        there = (REPO / page).parent / path if path else REPO / page
        assert there.exists(), place
        assert not anchor or anchor in anchors(there.read_text()), place


def test_every_page_is_found_from_the_readme():
    """By a link."""
    linked = set(re.findall(r"\]\((docs/\w+\.md)", PAGES["README.md"]))
    assert linked == set(PAGES) - {"README.md"}


def test_a_page_that_a_message_sends_people_to_exists():
    """docs/….md in messages and comments."""
    for path in [
        path for place in ("plugins", "roles", "playbooks") for path in (REPO / place).rglob("*.[pym]*") if path.suffix != ".pyc"
    ]:
        assert set(re.findall(r"docs/[\w/]+\.md", path.read_text())) <= set(PAGES), path


def test_a_message_in_the_table_is_one_that_is_said():
    """The words of it that do not depend on a name or a type."""
    said = " ".join(path.read_text() for path in (REPO / "plugins").rglob("*.py"))
    table = PAGES["docs/restore.md"].partition("## Messages")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:]
    assert len(messages) == 6
    for message in messages:
        words = max(re.split(r"…|the index / the manifest|snap-|ext4", message), key=len).strip()
        assert words in said, message


def test_no_file_names_a_place_of_one_machine():
    """A clone works anywhere."""
    for path in [*(REPO / page for page in [*PAGES, *ROLE_PAGES]), *(REPO / "tests").rglob("*.sh")]:
        assert not re.search(r"(?<![\w.])/(home|root)/", path.read_text()), path
