# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore has done, as its module reports it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..engine.documents.index import text
from ..engine.targets.directory import DirectoryTarget

GIB = 1024**3


@dataclass
class Restored:
    """bytes_fetched as stored, bytes_written as restored. skipped and problems: path, attribute, reason; problem_count has all,
    problems the first. warnings: sentences."""

    bytes_fetched: int = 0
    bytes_written: int = 0
    members: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    problem_count: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, more: Restored) -> None:
        """What another archive came to."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    def as_dict(self) -> dict[str, Any]:
        """For a result, which has the warnings elsewhere."""
        return {name: value for name, value in asdict(self).items() if name != "warnings"}


def of_directory(target: DirectoryTarget, fetched: int) -> Restored:
    def listed(troubles: Iterable[Any]) -> list[dict[str, str]]:
        return [{"path": text(each.path), "attribute": each.attribute, "reason": each.reason} for each in troubles]

    return Restored(fetched, target.written, target.members, listed(target.skipped), listed(target.troubles), target.trouble_count)
