# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 and the EBS direct APIs list, to the last page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, Optional

from ..common.clock import Clock
from ..common.retry import retry
from ..common.stop import Stop


def pages(
    call: Callable[..., Any], name: str, stop: Stop, clock: Optional[Clock] = None, **arguments: Any
) -> Iterator[dict[str, Any]]:
    """The items that a listing call returns under `name`, page by page. Each page is retried."""
    about = arguments.get("SecondSnapshotId") or arguments.get("SnapshotId")
    while True:
        reply = retry(lambda: call(**arguments), stop, clock, snapshot=about)
        yield from reply.get(name, [])
        if not reply.get("NextToken"):
            return
        arguments["NextToken"] = reply["NextToken"]
