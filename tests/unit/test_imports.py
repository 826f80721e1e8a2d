# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of the house: who may import whom, as the interpreter sees it, in functions too."""

import subprocess
import sys
from modulefinder import ModuleFinder
from types import CodeType

import pytest
from conftest import REPO, TREE

UTILS = REPO / "plugins" / "module_utils"
BASE = "ansible_collections.coldstore.ebs.plugins.module_utils"
LOW = {"engine", "worker", "cloud", "costs", "common"}
ALLOWED = {
    "common": set(),
    **{each: {"common"} for each in ("engine", "worker", "cloud", "costs")},
    "flows": LOW,
    "adapter": {*LOW, "flows"},  # it hands a flow its job
}
PACKAGES = tuple(ALLOWED)
# A host may lack them until they are needed.
LIBRARIES = {"boto3", "botocore", "awscrt", "blake3", "zstandard", "lz4", "polars", "ansible"}


def compiled(path):
    """The code of a file, and of everything in it."""
    pending = [compile(path.read_bytes(), path, "exec")]
    while pending:
        code = pending.pop()
        yield code
        pending += [each for each in code.co_consts if isinstance(each, CodeType)]


def imported(path):
    """The full name of each module that a file imports, or imports names from, wherever it does."""
    here = (BASE, *path.relative_to(UTILS).parts[:-1]) if UTILS in path.parents else ()
    for code in compiled(path):
        for what, said in ModuleFinder().scan_opcodes(code):
            if what == "absolute_import":
                yield said[1]
            elif what == "relative_import":
                level, names, module = said
                package = ".".join(here[: len(here) - level + 1])
                yield from [f"{package}.{module}"] if module else (f"{package}.{name}" for name in names)


def package_of(name):
    """The package of ours that a module belongs to; '' for others."""
    return name[len(BASE) + 1 :].partition(".")[0] if name.startswith(BASE + ".") else ""


def test_imports_are_seen_wherever_they_are(tmp_path, monkeypatch):
    """Or the tests here prove nothing."""
    monkeypatch.setattr(sys.modules[__name__], "UTILS", tmp_path)
    (tmp_path / "engine").mkdir()
    file = tmp_path / "engine" / "x.py"
    file.write_text(
        "import a.b\nfrom . import c, d\nfrom ..e import f\ndef g():\n  class H:\n    from ..worker.i import j\n  import boto3\n"
    )
    assert sorted(imported(file)) == ["a.b", f"{BASE}.e", f"{BASE}.engine.c", f"{BASE}.engine.d", f"{BASE}.worker.i", "boto3"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_its_arrow_allows(package):
    """engine, worker, cloud and costs stand on common, and not on each other; only the adapter knows Ansible."""
    for path in (UTILS / package).rglob("*.py"):
        for name in imported(path):
            assert package_of(name) in ALLOWED[package] | {package, ""}, f"{path} imports {name}"
            if package != "adapter":
                known = package_of(name) or name.partition(".")[0] not in ("ansible", "ansible_collections")
                assert known, f"{path} imports {name}"


def test_every_file_is_in_a_package_that_has_an_arrow():
    """And nothing but a module is beside the packages' files."""
    assert {path.relative_to(UTILS).parts[0] for path in UTILS.rglob("*.py")} == set(PACKAGES)


def test_modules_import_a_flow_and_the_adapter_and_nothing_imports_a_module():
    """An argument spec, one flow, a result."""
    for path in (REPO / "plugins").rglob("*.py"):
        assert "ansible_collections.coldstore.ebs.plugins.modules" not in path.read_text(), path
    for path in (REPO / "plugins" / "modules").glob("*.py"):
        names = set(imported(path)) - {"__future__"}
        assert {package_of(name) for name in names} == {"adapter", "flows"}, f"{path} imports {names}"
        assert len({name for name in names if package_of(name) == "flows"}) == 1, f"{path} has more than one flow"


@pytest.mark.parametrize("package", [each for each in PACKAGES if each != "adapter"])
def test_a_package_is_loaded_with_nothing_but_what_it_stands_on(package):
    """All its modules together; and none of the libraries that a host may lack."""
    names = [".".join((BASE, *path.relative_to(UTILS).with_suffix("").parts)) for path in (UTILS / package).rglob("*.py")]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(TREE)}
    )
    loaded = ran.stdout.split()
    assert set(names) <= {*loaded, *(f"{name}.__init__" for name in loaded)}
    assert {package_of(name) for name in loaded} <= ALLOWED[package] | {package, ""}
    assert not LIBRARIES & {name.partition(".")[0] for name in loaded}


def test_only_the_pipeline_starts_threads_and_processes_of_python():
    """Whatever name they go by."""
    starters = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "Process", "Pool", "start_new_thread", "fork"}
    found = {
        path.relative_to(UTILS).as_posix()
        for path in UTILS.rglob("*.py")
        if any(starters & set(c.co_names) for c in compiled(path))
    }
    assert found == {"engine/pipeline.py"}


def test_nothing_is_loaded_by_a_name_that_only_running_tells():
    """Modules are shipped to workers with the imports that can be found without running them."""
    for path in UTILS.rglob("*.py"):
        assert "importlib" not in set(imported(path)), path
        assert not any({"__import__", "import_module"} & set(code.co_names) for code in compiled(path)), path


def test_production_code_does_not_know_the_lab():
    """No word of the lab, moto or loop devices in anything that is shipped."""
    for path in [*(REPO / "plugins").rglob("*.py"), *(REPO / "roles").rglob("*.yml"), *(REPO / "playbooks").rglob("*.yml")]:
        text = path.read_text().lower()
        for word in ("moto", "/dev/loop", "losetup", "tests/lab"):
            assert word not in text, f"{path}: {word}"
