# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module may be."""

import ast

import pytest
from conftest import REPO

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
