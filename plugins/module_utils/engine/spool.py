# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What grows with the number of files goes to disk: sorted names of a huge directory, first paths of hard links."""

from __future__ import annotations

import heapq
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Optional

_NAMES_IN_MEMORY = 200_000


def sorted_on_disk(names: Iterable[bytes], directory: str, limit: int = _NAMES_IN_MEMORY) -> Iterator[bytes]:
    """The names in byte order, holding at most `limit` of them in memory; longer lists are merged from sorted runs."""
    runs: list[IO[bytes]] = []
    batch: list[bytes] = []
    for name in names:
        batch.append(name)
        if len(batch) >= limit:
            runs.append(_run(sorted(batch), directory))
            batch = []
    batch.sort()
    if not runs:
        return iter(batch)
    return heapq.merge(batch, *(_read(run) for run in runs))


def _run(names: Iterable[bytes], directory: str) -> IO[bytes]:
    run = tempfile.TemporaryFile(dir=directory)
    for name in names:
        run.write(struct.pack("<H", len(name)) + name)
    run.seek(0)
    return run


def _read(run: IO[bytes]) -> Iterator[bytes]:
    with run:
        while True:
            head = run.read(2)
            if not head:
                return
            yield run.read(struct.unpack("<H", head)[0])


class PathTable:
    """(device, inode) -> the first path seen, in a nameless SQLite database that spills to a temporary file."""

    def __init__(self) -> None:
        # An empty name is a private database on disk, which SQLite removes when it is closed.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE link (device INTEGER, inode TEXT, path BLOB, PRIMARY KEY (device, inode)) WITHOUT ROWID")

    def first(self, device: int, inode: int, path: bytes) -> Optional[bytes]:
        """The path under which this inode was seen before, or None, and then path is remembered."""
        key = (device, str(inode))  # an inode number may need 64 bits, unsigned
        row = self._db.execute("SELECT path FROM link WHERE device=? AND inode=?", key).fetchone()
        if row is not None:
            return bytes(row[0])
        self._db.execute("INSERT INTO link VALUES (?, ?, ?)", (*key, path))
        return None

    def close(self) -> None:
        self._db.close()
