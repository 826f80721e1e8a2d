# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something that decoded bytes can be written to.

    for offset, data in decoded:      # data: bytes of the source, at its offset
        target.write(offset, data)
    target.finish()                   # only then is it whole
    target.close()                    # always, whatever happened

directory   a tar is taken apart (untar.py, headers.py) into files with all they had (directory.py, beneath.py, attributes.py)
device      a device, or a file that stands for one

A target says whether it needs the bytes in order, or takes them at any offset from any thread. Not promised: that it holds
nothing before it is finished, but that it says so until then, by a marker or by its name.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Trouble(NamedTuple):
    """Something of a member that could not be brought back, and why; the member itself is there."""

    path: bytes
    attribute: str
    reason: str


class Target(Protocol):
    """in_order: write wants ascending offsets, from one thread. written: bytes that went to the target so far."""

    in_order: bool
    written: int

    def write(self, offset: int, data: Any) -> None:
        """Raises Permanent naming path and offset if it cannot be written."""

    def finish(self) -> None:
        """Everything has been written. Raises Corrupt if what came was cut short."""

    def close(self) -> None: ...
