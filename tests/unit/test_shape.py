# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module may be, and how long files and functions: of every file below plugins/, without exceptions."""

import ast

import pytest
from conftest import REPO

FILES = sorted((REPO / "plugins").rglob("*.py"))
MODULES = sorted((REPO / "plugins" / "modules").glob("*.py"))
DOCS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
LOOPS = (ast.For, ast.While, ast.AsyncFor, ast.comprehension)


def lines(node):
    return node.end_lineno - node.lineno + 1


def beside_docs(path):
    """How many lines a module has that are not its documentation."""
    text = path.read_text()
    docs = [
        each
        for each in ast.parse(text).body
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name) and each.targets[0].id in DOCS
    ]
    return len(text.splitlines()) - sum(lines(each) for each in docs)


def name_of(path):
    return path.relative_to(REPO / "plugins").as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_an_argument_spec_one_flow_and_a_result(path):
    """Under 120 lines beside its documentation; no loop, and no function but main."""
    assert beside_docs(path) < 120
    found = list(ast.walk(ast.parse(path.read_text())))
    assert not [each.lineno for each in found if isinstance(each, LOOPS)]
    assert [each.name for each in found if isinstance(each, ast.FunctionDef)] == ["main"]


def test_no_file_and_no_function_is_too_long():
    """500 lines a file, 60 a function; the documentation of a module is as long as it has to be."""
    long = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        long += [
            f"{name_of(path)} {each.name}" for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and lines(each) > 60
        ]
        if path not in MODULES and len(path.read_text().splitlines()) > 500:
            long.append(name_of(path))
    assert not long


def test_few_files_are_long():
    """A file has one idea; few ideas take more than 300 lines."""
    long = [name_of(path) for path in FILES if path not in MODULES and len(path.read_text().splitlines()) > 300]
    assert len(long) <= len(FILES) // 20, long
