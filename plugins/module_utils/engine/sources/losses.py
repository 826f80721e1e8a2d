# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is missing in the archive of a source: listed, counted, and recognised when the two are compared."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...common.errors import ColdstoreError, Permanent
from . import Problem

COUNTED = ("entries", "directories", "files", "bytes", "attributes", "errors")


def merged(problems: Iterable[Problem]) -> list[Problem]:
    """In order, each once. Ranges of one file that touch or overlap become one, whichever reads they come from."""
    row: list[Problem] = []
    for each in sorted(problems, key=lambda p: (p.path, p.what, p.offset, p.length)):
        last = row[-1] if row else None
        if last is None or (last.path, last.what) != (each.path, each.what):
            row.append(each)
        elif each.what == "content" and each.length and each.offset <= last.offset + last.length:
            row[-1] = last._replace(length=max(last.length, each.offset + each.length - last.offset))
        elif each != last:
            row.append(each)
    return row


def counted(problems: Iterable[Problem]) -> dict[str, int]:
    """The sums of merged problems: entries without a member, directories whose list has gaps, files (or devices) with zeros
    instead of `bytes` bytes, attributes, and errors that the kernel noted."""
    total = dict.fromkeys(COUNTED, 0)
    files = set()
    for each in problems:
        if each.what == "content":
            total["bytes"] += each.length
            files.add(each.path)
        elif each.what == "filesystem":
            total["errors"] += each.length
        else:
            total[{"entry": "entries", "names": "directories", "attributes": "attributes"}[each.what]] += 1
    total["files"] = len(files)
    return total


def as_dict(problem: Problem) -> dict[str, Any]:
    """A problem as manifests and journals have it."""
    return dict(problem._asdict(), path=problem.path.decode("utf-8", "surrogateescape"))


def from_dict(said: Mapping[str, Any]) -> Problem:
    path = said["path"].encode("utf-8", "surrogateescape")
    return Problem(path, said["offset"], said["length"], said["reason"], said.get("what", "content"))


def summed(entries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The sums over several archives, from their entries in a manifest."""
    total = dict.fromkeys(COUNTED, 0)
    for entry in entries:
        for name, count in entry.get("lost", {}).items():
            total[name] += count
    return total


def unreadable(problem: Problem) -> ColdstoreError:
    """The error for a problem that is not allowed."""
    offset = problem.offset if problem.what == "content" else None
    advice = "Set on_read_error=zero to archive the rest and list this."
    return Permanent(problem.reason, advice, path=problem.path or None, offset=offset)


def sentence(lost: Mapping[str, int]) -> str:
    """The sums in words; empty if nothing is lost."""

    def of(count: int, one: str, several: str) -> list[str]:
        return [f"{count} {one if count == 1 else several}"] if count else []

    said = of(lost["bytes"], "byte", "bytes")
    said = [f"{each} of {of(lost['files'], 'file', 'files')[0]}" for each in said]
    said += of(lost["entries"], "entry of a directory", "entries of directories")
    said += of(lost["directories"], "directory has gaps", "directories have gaps")
    said += of(lost["attributes"], "attribute", "attributes")
    said += of(lost["errors"], "error that the kernel counted", "errors that the kernel counted")
    return ", ".join(said)


class Stretches:
    """Ranges of one file that are not read."""

    def __init__(self, listed: Iterable[Problem]) -> None:
        row = [each for each in merged(listed) if each.length]
        self._begins = [each.offset for each in row]
        self._ends = [each.offset + each.length for each in row]

    def between(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of begin..end outside all of them, as (begin, end)."""
        at = max(bisect_right(self._begins, begin) - 1, 0)
        while begin < end and at < len(self._begins):
            if self._begins[at] > begin:
                yield begin, min(self._begins[at], end)
            begin = max(begin, self._ends[at])
            at += 1
        if begin < end:
            yield begin, end


NOTHING = Stretches(())
