# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The raw bytes of a device or file, or of a part of it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from typing import Any, Callable, Optional

from ...common.errors import Refused
from . import CHUNK, BaseSource, Chunk, Member, Problem, ignore
from .losses import NOTHING, Stretches, unreadable
from .reading import read_new


class DeviceSource(BaseSource):
    """`length` bytes (default: to the end) from `start` of the device or file at `path`.

    on_error: 'fail', or 'zero' to record what cannot be read in problems and continue with zeros.
    Raises Refused if the device cannot be opened or is shorter than requested.
    """

    kind = "image"
    in_order = False

    def __init__(
        self, path: str, start: int = 0, length: Optional[int] = None, chunk_size: int = CHUNK, on_error: str = "fail"
    ) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"{path} cannot be opened: {error.strerror}", path=path) from error
        available = os.lseek(self._fd, 0, os.SEEK_END) - start
        self.size = available if length is None else length
        if self.size > available:
            os.close(self._fd)
            raise Refused(f"{path} has {available + start} bytes instead of {start + self.size}", path=path)
        self.problems: list[Problem] = []
        self._path = os.fsencode(path)
        self._start = start
        self._chunk_size = chunk_size
        self.on_error = on_error
        self._listed = NOTHING

    def plan(self, on_member: Callable[[Member], None] = ignore) -> Generator[Chunk, None, None]:
        for offset in range(0, self.size, self._chunk_size):
            yield Chunk(offset, min(self._chunk_size, self.size - offset))

    def read(self, chunk: Chunk) -> Any:
        data, problems = read_new(self._fd, chunk.length, self._start + chunk.offset, self._path, self._listed)
        if problems and self.on_error != "zero":
            raise unreadable(problems[0])
        self.problems.extend(problems)
        return data

    def leave_out(self, listed: Iterable[Problem]) -> None:
        """There is nothing else to tell."""
        self._listed = Stretches(each for each in listed if each.what == "content")

    def close(self) -> None:
        os.close(self._fd)
