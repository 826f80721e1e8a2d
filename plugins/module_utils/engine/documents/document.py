# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small JSON documents that notice when they are damaged: manifests, receipts, claims, journals.

    {"body": {...}, "format": "coldstore.ebs manifest", "sha256": "<of the other three>", "version": 1}

in exactly one spelling (sorted keys, indent 1, ASCII, one newline at the end), so that any changed byte shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Optional, Union

from ...common.errors import Corrupt, Refused

# What a value has to be: of a type, a list of such values, or an object with at least these fields.
Shape = Union[type, tuple[type, ...], list[Any], dict[str, Any]]


def encode(name: str, version: int, body: Mapping[str, Any]) -> bytes:
    """The stored form, which is decoded and compared before it is returned."""
    data = {"format": f"coldstore.ebs {name}", "version": version, "body": body}
    text = _spell(dict(data, sha256=_digest(data)))
    if decode(text, name, version) != json.loads(json.dumps(body)):
        raise AssertionError(f"a {name} does not survive its own encoding")
    return text


def decode(text: bytes, name: str, version: int, key: Optional[str] = None, shape: Optional[Shape] = None) -> dict[str, Any]:
    """The body. Raises Corrupt if any byte was changed, or it does not have this shape, whoever wrote it; Refused if the version is
    too new for this collection."""
    try:
        data = json.loads(text)
        found = data["version"]
        body: dict[str, Any] = data["body"]
        intact = data["format"] == f"coldstore.ebs {name}" and data["sha256"] == _digest(data) and _spell(data) == text
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(f"this is not a {name}, or it is damaged", key=key) from error
    if not intact or not isinstance(found, int) or not isinstance(body, dict):
        raise Corrupt(f"the {name} was damaged: its SHA-256 does not match", key=key)
    if found > version:
        raise Refused(f"the {name} has version {found}; this collection reads up to {version}", "Update coldstore.ebs.", key=key)
    if shape is not None and not fits(body, shape):
        raise Corrupt(f"the {name} was not written by this collection: it lacks fields, or they hold something else", key=key)
    return body


def fits(value: Any, shape: Shape) -> bool:
    """Whether a value has a shape. True and False are not numbers."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(name in value and fits(value[name], each) for name, each in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(_spell({name: data[name] for name in ("body", "format", "version")})).hexdigest()


def _spell(data: Any) -> bytes:
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode("ascii")
