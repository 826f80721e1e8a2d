# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data that grows with the number of files or extents goes to disk: the sorted names of a huge directory, the paths of hard
links, and the data ranges of a file with holes."""

from __future__ import annotations

import heapq
import os
import sqlite3
import struct
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Optional

_NAMES_IN_MEMORY = 200_000
_EXTENTS_IN_MEMORY = 4096
_PAIR = 16  # bytes


def sorted_on_disk(names: Iterable[bytes], directory: str, limit: int = _NAMES_IN_MEMORY) -> Iterator[bytes]:
    """The names in byte order, with at most `limit` of them in memory. Longer lists are merged from sorted runs."""
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


class PathTable(Mapping[bytes, bytes]):
    """A mapping from keys to paths, in a nameless SQLite database that spills to a temporary file."""

    def __init__(self) -> None:
        # An empty name means a private database on disk, which SQLite removes when it is closed.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE path (key BLOB PRIMARY KEY, path BLOB) WITHOUT ROWID")
        self._count = 0

    def first(self, key: bytes, path: bytes) -> Optional[bytes]:
        """The path given earlier for this key. If there was none, remember this path and return None."""
        known = self.get(key)
        if known is None:
            self._db.execute("INSERT INTO path VALUES (?, ?)", (key, path))
            self._count += 1
        return known

    def __getitem__(self, key: bytes) -> bytes:
        row = self._db.execute("SELECT path FROM path WHERE key=?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __iter__(self) -> Iterator[bytes]:
        return (bytes(key) for (key,) in self._db.execute("SELECT key FROM path"))

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        self._db.close()


class Extents:
    """(offset, length) of the data in a file, in the order they are added. A few stay in memory, more go to disk.

    You can iterate over them as often as you like. total: bytes of data; end: where the last of them ends. The file has no name
    and disappears with the object.
    """

    def __init__(self, directory: Optional[str] = None) -> None:
        self.total = 0
        self.end = 0
        self._directory = directory
        self._count = 0
        self._held = array("q")
        self._file: Optional[IO[bytes]] = None

    def add(self, offset: int, length: int) -> None:
        self._held.append(offset)
        self._held.append(length)
        self.total += length
        self.end = offset + length
        self._count += 1
        if len(self._held) >= 2 * _EXTENTS_IN_MEMORY:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory)
            self._file.write(self._held)
            del self._held[:]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if self._file is not None:
            self._file.flush()
            for at in range(0, os.fstat(self._file.fileno()).st_size, _EXTENTS_IN_MEMORY * _PAIR):
                yield from _pairs(array("q", os.pread(self._file.fileno(), _EXTENTS_IN_MEMORY * _PAIR, at)))
        yield from _pairs(self._held)


def _pairs(numbers: array[int]) -> Iterator[tuple[int, int]]:
    each = iter(numbers)
    return zip(each, each)
