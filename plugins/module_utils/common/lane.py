# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lane may touch: what it, or a lane before it, made under the claim that it holds, and nothing else.

A lane that has lost its claim is a guest, and does not notice while it is asleep. So call `renew` before something is published
or removed. Where it is enough not to disturb others call `check`, which costs no request.
"""

from __future__ import annotations

from typing import Callable, NamedTuple


class Holder(NamedTuple):
    """The claim something was made under: volumes carry it in tags, uploads in their journal.

    claim: the claim's object, as bucket/key; '' if there was none. token: proves who took the claim.
    """

    claim: str
    token: str


class Lane(NamedTuple):
    """The claim that a job works under. renew: writes it again; check: only looks at the clock. Both raise Lost if it is gone."""

    holder: Holder
    renew: Callable[[], None]
    check: Callable[[], None]


def _nothing() -> None:
    """Without a claim, there is nothing to lose."""


FREE = Lane(Holder("", ""), _nothing, _nothing)  # a module that is used by itself
