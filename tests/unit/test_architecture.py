# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/architecture.md: what it names exists and is called where it says, and its examples run."""

import ast
import re
from functools import cache

import pytest
from conftest import REPO
from fakes import SNAPSHOT
from jobs import job

PAGE = (REPO / "docs" / "architecture.md").read_text()
UTILS = REPO / "plugins" / "module_utils"
ITEM = re.compile(r"^( *)- `([\w/]+\.py):([\w.]+)`", re.MULTILINE)
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@cache
def definitions(path):
    """{name: node} of a file's functions, classes and methods, methods as Class.name."""
    place = REPO / "plugins" / path if path.startswith("modules/") else UTILS / path
    tree = ast.parse(place.read_text())
    found = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for owner in [node for node in found.values() if isinstance(node, ast.ClassDef)]:
        found.update({f"{owner.name}.{node.name}": node for node in owner.body if isinstance(node, ast.FunctionDef)})
    return found


def walk():
    """(path, name, the item that it stands below or None) of every item of the lists."""
    above = []
    for indent, path, name in ITEM.findall(PAGE):
        depth = len(indent) // 2
        del above[depth:]
        assert len(above) == depth, (path, name)
        yield path, name, above[-1] if above else None
        above.append((path, name))


def first_use(caller, name):
    """The line on which a function uses a name, as itself or as an attribute; None if it does not."""
    path, function = caller
    lines = [
        (node.lineno, node.col_offset)
        for node in ast.walk(definitions(path)[function])
        if (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)
    ]
    return min(lines, default=None)


@pytest.mark.parametrize(("path", "name", "above"), list(walk()))
def test_what_the_walk_names_exists_and_is_used_where_it_stands(path, name, above):
    """A file and a function, class or method of it, whose name the function above mentions."""
    assert name in definitions(path)
    assert above is None or first_use(above, name.rpartition(".")[2]), f"{above} does not use {name}"


def test_the_walk_goes_in_the_order_of_the_code():
    """What stands below one function stands in the order in which that first mentions it."""
    last = {}
    for path, name, above in walk():
        if above is not None:
            here = first_use(above, name.rpartition(".")[2])
            assert here >= last.get(above, here), f"{name} of {path} comes earlier in {above}"
            last[above] = here


def test_the_walk_is_one_way():
    """Each list begins with a flow or a module, and is long enough to be one."""
    starts = [(path, name) for path, name, above in walk() if above is None]
    assert all(path.startswith(("modules/", "flows/")) for path, _name in starts)
    assert len(list(walk())) > 40


def test_the_examples_run(memory, tmp_path):
    """All of them, in one namespace, as they are printed; they assert by themselves what comes out."""
    assert len(EXAMPLES) == 5
    given = {
        "store": memory, "SNAPSHOT": SNAPSHOT, "tmp_path": tmp_path,
        "job": lambda module, **arguments: job(module, {"s3": memory.client}, bucket="b", **arguments),
    }  # fmt: skip
    for example in EXAMPLES:
        exec(compile(example, "docs/architecture.md", "exec"), given)
    assert memory.client.keys("b")
