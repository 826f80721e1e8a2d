# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a snapshot is to be archived, said by tags of its own beside the queue tag: what was advised is what is done.

snap-to-s3                  migrate
snap-to-s3-storage-class    DEEP_ARCHIVE
snap-to-s3-format           tar
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

FIELDS = ("storage_class", "format")


class Advice(NamedTuple):
    """None where the snapshot says nothing: then it is as the run says."""

    storage_class: Optional[str] = None
    format: Optional[str] = None

    def said(self) -> dict[str, str]:
        """What the snapshot says, by FIELDS."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def tag_of(queue_tag: str, field: str) -> str:
    """The key of the tag that says one of FIELDS."""
    return f"{queue_tag}-{field.replace('_', '-')}"


def read(queue_tag: str, tags: Mapping[str, str]) -> Advice:
    """What a snapshot's tags say, whatever that is."""
    return Advice(*(tags.get(tag_of(queue_tag, field)) for field in FIELDS))


def as_tags(queue_tag: str, advice: Advice) -> dict[str, str]:
    """The tags that say it."""
    return {tag_of(queue_tag, field): value for field, value in advice.said().items()}


def companions(queue_tag: str) -> list[str]:
    """The keys of all tags that go with a queue tag."""
    return [f"{queue_tag}-reason", *(tag_of(queue_tag, field) for field in FIELDS)]
