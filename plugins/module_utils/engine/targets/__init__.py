# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets: what decoded bytes can be written to.

    for offset, data in decoded:      # data: bytes of the source, at its offset
        target.write(offset, data)
    target.finish()                   # only then is it complete
    target.close()                    # always, whatever happened

directory   a tar is unpacked (untar.py, headers.py) to files with all their attributes (directory.py, beneath.py, attributes.py)
device      a device, or a file used like one

A target says whether it needs the bytes in order, or accepts them at any offset from any thread. It does not promise to be empty
until it is finished, but a marker or its name says until then that it is incomplete.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Trouble(NamedTuple):
    """Something about a member that could not be restored, and why. The member itself was."""

    path: bytes
    attribute: str
    reason: str


class Target(Protocol):
    """in_order: write needs ascending offsets, from one thread. written: bytes written to the target so far."""

    in_order: bool
    written: int

    def write(self, offset: int, data: Any) -> None:
        """Raises Permanent naming path and offset if it cannot be written."""

    def finish(self) -> None:
        """Everything has been written. Raises Corrupt if the input was cut short."""

    def close(self) -> None: ...
