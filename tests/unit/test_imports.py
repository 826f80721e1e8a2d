# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of the house: who may import whom."""

import ast

import pytest
from conftest import REPO

UTILS = REPO / "plugins" / "module_utils"
PACKAGES = ("common", "engine", "worker", "cloud", "costs")
ALLOWED = {"common": set(), "engine": {"common"}, "worker": {"common"}, "cloud": {"common"}, "costs": {"common"}}


def imported(path):
    """The top-level package below module_utils, or the outside module, of each import in a file."""
    here = path.relative_to(UTILS).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module
            else:
                base = here[: len(here) - node.level]
                rest = (node.module or "").split(".") if node.module else []
                target = [*base, *rest]
                yield "utils:" + (target[0] if target else node.names[0].name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_its_arrow_allows(package):
    """engine, worker, cloud and costs stand on common, and not on each other."""
    for path in (UTILS / package).rglob("*.py"):
        for name in imported(path):
            if name.startswith("utils:"):
                assert name[6:] in ALLOWED[package] | {package}, f"{path} imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_adapter_knows_ansible(package):
    """The engine is usable and testable without Ansible."""
    for path in (UTILS / package).rglob("*.py"):
        assert not any(name.split(".")[0] in ("ansible", "ansible_collections") for name in imported(path)), path


def test_only_the_pipeline_starts_threads():
    """threading.Thread and executors appear in pipeline.py and nowhere else."""
    for path in UTILS.rglob("*.py"):
        text = path.read_text()
        if path.name != "pipeline.py":
            assert "threading.Thread(" not in text, path
            assert "ThreadPoolExecutor" not in text, path


def test_production_code_does_not_know_the_lab():
    """No word of the lab, moto or loop devices in anything that is shipped."""
    for path in [*(REPO / "plugins").rglob("*.py"), *(REPO / "roles").rglob("*.yml"), *(REPO / "playbooks").rglob("*.yml")]:
        text = path.read_text().lower()
        for word in ("moto", "/dev/loop", "losetup", "tests/lab"):
            assert word not in text, f"{path}: {word}"
