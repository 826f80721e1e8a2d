# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as an object, so that tests can move it by hand."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from .stop import Stop

_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has it, and workers run Linux


class Clock:
    """The real one."""

    def monotonic(self) -> float:
        """Seconds since some fixed point. Time for which the host was suspended counts too, or it would still trust its claim."""
        return time.clock_gettime(_BOOTTIME)

    def now(self) -> datetime:
        """This host's idea of UTC."""
        return datetime.now(timezone.utc)

    def sleep(self, seconds: float, stop: Stop) -> None:
        """Wait so long. Raises Stopped as soon as there is a stop."""
        stop.wait(seconds)
        stop.check()
