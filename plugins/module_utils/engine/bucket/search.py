# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members by path, from the indexes of the archives that a listing found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ...common.errors import Asleep, Corrupt
from ..documents import index
from ..pipeline import ordered_map
from ..selection import Selection
from ..sources import Member
from .listing import Kept
from .objects import Store


def members(
    store: Store, found: Iterable[Kept], selection: Selection, limit: int, threads: int, spool: Optional[str]
) -> dict[str, Any]:
    """Members by path in the archives found (with details), from their indexes. At most `limit` are listed; all are counted.

    A damaged index is not searched, and listed as damaged with its snapshot.
    """
    jobs = [(each, entry) for each in found for entry in each.details.get("archives", []) if entry["format"] == "tar"]

    def look(job: tuple[Kept, Mapping[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
        each, entry = job
        where = entry["index"]
        count, listed = 0, list[dict[str, Any]]()
        try:
            fetched = index.fetch(store, where["key"], where["size"], where["sha256"], where["version"], spool)
        except Corrupt as error:
            each.damaged.append(str(error))
            return 0, []
        except Asleep as error:
            each.asleep.append(str(error))
            return 0, []
        try:
            for member in fetched.members(selection.hint()):
                if selection.wants(member.path):
                    count += 1
                    if len(listed) < limit:
                        listed.append(_described(each, entry, member))
        finally:
            fetched.close()
        return count, listed

    total, listed = 0, list[dict[str, Any]]()
    for count, some in ordered_map(look, jobs, threads, threads + 1, store.stop):
        total += count
        listed += some[: limit - len(listed)]
    return {"members": listed, "member_count": total, "searched": len(jobs)}


def _described(each: Kept, entry: Mapping[str, Any], member: Member) -> dict[str, Any]:
    return {
        "snapshot_id": each.snapshot_id,
        "start_time": each.start_time,
        "key": entry["key"],
        "partition": entry["partition"],
        "path": index.text(member.path),
        "type": member.type,
        "size": member.size,
        "mode": f"{member.mode:04o}",
        "uid": member.uid,
        "gid": member.gid,
        "mtime_ns": member.mtime,
        "link": None if member.link is None else index.text(member.link),
    }
