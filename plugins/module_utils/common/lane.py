# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lane may touch: what it, or a lane before it, made under the claim that it holds. Nothing else.

Whoever has lost the claim is a guest, and does not know it while asleep. So what is about to be published or removed asks
`renew` first, and what only must not be disturbed asks `check`, which costs no request.
"""

from __future__ import annotations

from typing import Callable, NamedTuple


class Holder(NamedTuple):
    """Under which claim something was made: volumes carry it in tags, uploads in their journal.

    claim: the claim's object, as bucket/key; '' for what was made without one. token: proves who took the claim.
    """

    claim: str
    token: str


class Lane(NamedTuple):
    """The claim that a job works under. renew: writes it again; check: looks at the clock alone. Both raise Lost if it is gone."""

    holder: Holder
    renew: Callable[[], None]
    check: Callable[[], None]


def _nothing() -> None:
    """Without a claim there is none to lose."""


FREE = Lane(Holder("", ""), _nothing, _nothing)  # somebody uses a module by itself
