# SPDX-License-Identifier: GPL-3.0-or-later
"""What every target promises. A test module gives fixtures `target` (a new one), `content` (bytes it can take) and
`held` (a function that says what the target holds afterwards), and inherits from TargetSuite."""

import random

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError


class TargetSuite:
    @pytest.mark.parametrize("size", [1, 511, 4096, 1 << 20])
    def test_pieces_of_any_size_give_the_same(self, target, content, held, expected, size):
        """Cut wherever it may be cut."""
        size = max(size, len(content) // 5000)
        for at in range(0, len(content), size):
            target.write(at, memoryview(content)[at : at + size])
        target.finish()
        assert held() == expected

    def test_any_order_will_do_where_that_is_promised(self, target, content, held, expected):
        """in_order says whether it is."""
        pieces = [(at, content[at : at + 10_000]) for at in range(0, len(content), 10_000)]
        if not target.in_order:
            random.Random(5).shuffle(pieces)
        for at, data in pieces:
            target.write(at, data)
        target.finish()
        assert held() == expected

    def test_closing_without_finishing_is_not_an_error(self, target, content):
        """Whatever happened before."""
        target.write(0, content[:1000])
        target.close()

    def test_what_comes_behind_the_end_is_not_taken_in(self, target, content, held, expected):
        """Refused, or, where the content itself says where it ends, ignored."""
        target.write(0, content)
        if target.in_order:
            target.write(len(content), b"x" * (1 << 20))
        else:
            with pytest.raises(ColdstoreError, match="larger than the target"):
                target.write(len(content), b"x" * (1 << 20))
        target.finish()
        assert held() == expected
