# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of text for people, against lines that were laid out by hand."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.report import table


def test_columns_are_as_wide_as_what_is_in_them():
    """Names to the left, numbers to the right, nothing after the last cell."""
    assert table(["name", ">GiB", "note"], [["a", 1, "long"], ["much longer", "100.25", None]]) == [
        "name            GiB  note",
        "a                 1  long",
        "much longer  100.25",
    ]


def test_without_titles_there_is_no_head():
    """The lines of totals need none."""
    assert table([">", ""], [["1.00", "one"], ["10.50", "ten and a half"]], indent="  ") == [
        "   1.00  one",
        "  10.50  ten and a half",
    ]
    assert table(["", ">"], []) == []
    assert table(["a", ">b"], []) == ["a  b"]


def test_a_cell_stays_in_its_place():
    """A tag can hold line breaks, wide signs and accents that are signs of their own."""
    assert table(["name", "end"], [["two\nlines", "|"], ["数据", "|"], ["e\u0301te\u0301", "|"]]) == [
        "name       end",
        "two lines  |",
        "数据       |",
        "e\u0301te\u0301        |",
    ]


def test_a_row_of_another_length_is_a_mistake():
    """It would shift what stands below."""
    with pytest.raises(ValueError, match="2 columns has a row of 1"):
        table(["a", "b"], [["a"]])
