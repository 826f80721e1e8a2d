# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of text, for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

_GAP = "  "


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]], indent: str = "") -> list[str]:
    """The lines of a table, each column as wide as its widest cell.

    titles: of the columns; a '>' in front aligns the column to the right, as for numbers. If all titles are empty, or just '>', the
    table has no head. rows: one cell per column; None is an empty one. A cell stays on one line.
    Raises ValueError for a row with more or fewer cells.
    """
    right = [title.startswith(">") for title in titles]
    head = [title[1:] if is_right else title for title, is_right in zip(titles, right)]
    lines = [head] if any(head) else []
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"a table of {len(titles)} columns has a row of {len(row)} cells")
        lines.append(["" if cell is None else " ".join(str(cell).split()) for cell in row])
    widths = [max(map(_width, column)) for column in zip(*lines)]
    return [indent + _GAP.join(map(_padded, line, widths, right)).rstrip() for line in lines]


def _padded(cell: str, width: int, is_right: bool) -> str:
    room = " " * (width - _width(cell))
    return room + cell if is_right else cell + room


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
