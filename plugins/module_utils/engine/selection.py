# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members of an archive are wanted, by paths and globs.

A pattern is a path from the root of the filesystem, with or without a leading slash. `*` and `?` match within one name,
`[...]` one character of it, `**` any number of names. What matches a directory matches everything below it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Optional

from ..common.errors import Refused
from .documents.index import literal


class Selection:
    """patterns: what is wanted (none: everything); exclude: what to leave out of it. Raises Refused for an invalid pattern."""

    def __init__(self, patterns: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self.patterns = list(patterns)
        self._wanted = _compiled(self.patterns)
        self._excluded = _compiled(list(exclude))

    @property
    def everything(self) -> bool:
        return self._wanted is None and self._excluded is None

    def wants(self, path: bytes) -> bool:
        """path: relative to the root, b'.' for the root itself."""
        if self._wanted is not None and not self._wanted.match(path):
            return False
        return self._excluded is None or not self._excluded.match(path)

    def hint(self) -> bytes:
        """Bytes that the index line of every wanted member contains; b'' if there are none."""
        if len(self.patterns) != 1 or "[" in self.patterns[0]:
            return b""
        return literal(max(re.split(rb"[*?]+", _cleaned(self.patterns[0])), key=len).strip(b"/"))


def _compiled(patterns: list[str]) -> Optional[re.Pattern[bytes]]:
    if not patterns:
        return None
    try:
        return re.compile(b"(?:" + b"|".join(_translated(_cleaned(pattern)) for pattern in patterns) + rb")(?:/.*)?\Z", re.DOTALL)
    except re.error as error:
        raise Refused(f"one of the patterns {patterns} is invalid: {error}") from error


def _cleaned(pattern: str) -> bytes:
    raw = os.fsencode(pattern)
    clean = os.path.normpath(b"/" + raw).lstrip(b"/")
    if not raw or b".." in raw.split(b"/"):
        raise Refused(f"pattern {pattern!r} is not a path inside an archive", "Give a path from the root of the filesystem.")
    return clean or b"**"


def _translated(pattern: bytes) -> bytes:
    """A glob as a regular expression."""
    out = b""
    for token in re.findall(rb"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        if token == b"**/":
            out += rb"(?:[^/]+/)*"
        elif token == b"**":
            out += rb".*"
        elif token == b"*":
            out += rb"[^/]*"
        elif token == b"?":
            out += rb"[^/]"
        elif len(token) > 2 and token.startswith(b"["):
            inner = token[1:-1].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
            out += b"(?!/)[" + (b"^" + inner[1:] if inner.startswith(b"!") else inner.replace(b"^", b"\\^", 1)) + b"]"
        else:
            out += re.escape(token)
    return out
