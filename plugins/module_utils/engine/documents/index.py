# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The object beside an archive that says where everything in it is.

JSON lines, compressed with zstd (docs/formats.md): a head, one line per frame, one line per member, and a foot with the totals, so
that a truncated index is noticed. Names are UTF-8; a byte that is not becomes the lone surrogate U+DC80 + (byte - 128).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import IO, Any, NamedTuple, Optional

from ...common.errors import Corrupt, Refused
from .. import hashing
from ..bucket.objects import MIB, Store
from ..bucket.sleeping import kept_awake
from ..sources import Member

SUFFIX = ".index.zst"
_FORMAT = "coldstore.ebs index"
_VERSION = 1
_LINES_HELD = 5000


class Frame(NamedTuple):
    """One stored frame: where it lies in the archive and in the source (bytes), and the digest of its stored bytes."""

    offset: int
    length: int
    raw_offset: int
    raw_length: int
    digest: str


def text(path: bytes) -> str:
    """A path as the index writes it."""
    return path.decode("utf-8", "surrogateescape")


class IndexWriter:
    """Collects frames and members in two files on disk. `finish` returns the index as one file.

    Frames must come in order, members in the order of their plan. Used as a context manager, it removes its files.
    """

    def __init__(self, archive: str, kind: str, codec: str, chunk_size: int, digest: str, spool: Optional[str]) -> None:
        import zstandard

        self._spool = spool
        self._zstd = zstandard.ZstdCompressor(level=3, write_checksum=True)
        self._frames = tempfile.TemporaryFile(dir=spool)
        self._members = tempfile.TemporaryFile(dir=spool)
        self._frame_lines = _Lines(self._frames)
        self._member_lines = _Lines(self._members)
        self._head = {"format": _FORMAT, "version": _VERSION, "archive": archive, "kind": kind, "codec": codec, "chunk": chunk_size}
        self._head["digest"] = digest
        self.frames = 0
        self.members = 0
        self.stored = 0
        self.raw = 0
        self._tail = 0
        self._tail_digest = hashing.hasher(digest)()

    def frame(self, length: int, raw_length: int, digest: str) -> None:
        """Add the next frame, which directly follows the one before."""
        self._frame_lines.add(f'["f",{self.stored},{length},{self.raw},{raw_length},"{digest}"]\n')
        self.frames += 1
        self.stored += length
        self.raw += raw_length

    def member(self, member: Member) -> None:
        path, kind, offset, length, size, mode, uid, gid, mtime, link, xattrs = member
        self._member_lines.add(
            f'["m",{_quoted(path)},"{kind}",{offset},{length},{size},{mode},{uid},{gid},{mtime},'
            f'{"null" if link is None else _quoted(link)},"{xattrs}"]\n'
        )
        self.members += 1

    def behind(self, block: bytes) -> None:
        """Add bytes after the last frame."""
        self._tail += len(block)
        self._tail_digest.update(block)

    def frame_sizes(self) -> Iterator[tuple[int, int]]:
        """(stored, raw) of every frame so far, from disk."""
        self._frame_lines.flush()
        self._frames.seek(0)
        for line in _lines(self._frames):
            item = json.loads(line)
            yield item[2], item[4]
        self._frames.seek(0, 2)

    def finish(self) -> tuple[IO[bytes], int, str]:
        """The index as a file, its size in bytes and its SHA-256."""
        foot = {
            "frames": self.frames,
            "members": self.members,
            "stored": self.stored + self._tail,
            "raw": self.raw,
            "tail": [self.stored, self._tail, self._tail_digest.hexdigest()],
        }
        self._frame_lines.flush()
        self._member_lines.flush()
        whole = tempfile.TemporaryFile(dir=self._spool)
        digest = hashlib.sha256()
        self._frames.seek(0)
        self._members.seek(0)
        blocks = [iter([self._line(self._head)]), _blocks(self._frames), _blocks(self._members), iter([self._line(foot)])]
        for source in blocks:
            for block in source:
                digest.update(block)
                whole.write(block)
        return whole, whole.tell(), digest.hexdigest()

    def _line(self, data: Any) -> bytes:
        line: bytes = self._zstd.compress(json.dumps(data).encode("ascii") + b"\n")
        return line

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._frames.close()
        self._members.close()


class _Lines:
    """Writes lines to a file, in zstd frames of some hundred kilobytes: a call for each line would cost more than the line."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._zstd = zstandard.ZstdCompressor(level=3, write_checksum=True)
        self._file = file
        self._held: list[str] = []

    def add(self, line: str) -> None:
        self._held.append(line)
        if len(self._held) >= _LINES_HELD:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._file.write(self._zstd.compress("".join(self._held).encode("ascii")))
            self._held = []


class Index:
    """An index that was fetched and compared with its manifest. Iterate over it as often as you like."""

    def __init__(self, file: IO[bytes], key: str) -> None:
        self._file = file
        self._key = key
        file.flush()
        ends = [json.loads(line) for line in self._lines() if line.startswith(b"{")]
        if not ends or ends[0].get("format") != _FORMAT:
            raise Corrupt("this is not an index", key=key)
        if ends[0].get("version", 0) > _VERSION:
            raise Refused(
                f"the index has version {ends[0]['version']}; this collection reads up to {_VERSION}",
                "Update coldstore.ebs.",
                key=key,
            )
        if "frames" not in ends[-1]:
            raise Corrupt("the index is truncated: it has no foot", key=key)
        self.head: dict[str, Any] = ends[0]
        self.foot: dict[str, Any] = ends[-1]

    def frames(self) -> Iterator[Frame]:
        for line in self._lines():
            if line.startswith(b'["f"'):
                yield Frame(*json.loads(line)[1:])
            elif line.startswith(b'["m"'):
                return

    def members(self, holding: bytes = b"") -> Iterator[Member]:
        """All members; with `holding` at least those whose line contains these bytes (`literal` makes them from a name).

        Looking for bytes in a line takes a fortieth of the time of parsing it.
        """
        for line in self._lines():
            if line.startswith(b'["m"') and holding in line:
                item = json.loads(line)
                link = None if item[10] is None else item[10].encode("utf-8", "surrogateescape")
                yield Member._make([item[1].encode("utf-8", "surrogateescape"), *item[2:10], link, item[11]])

    def close(self) -> None:
        self._file.close()

    def _lines(self) -> Iterator[bytes]:
        """Lines from the start, with a separate reader: frames and members are iterated side by side."""
        try:
            yield from _lines(_Reread(self._file.fileno()))
        except ValueError as error:
            raise Corrupt("the index cannot be decoded", key=self._key) from error


def fetch(store: Store, key: str, size: int, sha256: str, version: str, spool: Optional[str]) -> Index:
    """The index under a key. Raises Corrupt unless it has exactly the size and SHA-256 in the manifest, Asleep if a lifecycle rule
    has put it to sleep."""
    file = tempfile.TemporaryFile(dir=spool)
    digest = hashlib.sha256()
    with kept_awake(store, key):
        for block in store.blocks(key, 0, size, version):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != sha256:
        file.close()
        raise Corrupt("the index was damaged: its SHA-256 differs from the manifest's", key=key)
    return Index(file, key)


def literal(path: bytes) -> bytes:
    """A path, or a piece of one, as it is written in an index line."""
    return _quoted(path)[1:-1].encode("ascii")


class _Reread(io.RawIOBase):
    """A file, read from the start with its own position."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        count = os.preadv(self._descriptor, [into], self._at)
        self._at += count
        return count


def _lines(file: Any) -> Iterator[bytes]:
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
    try:
        yield from io.BufferedReader(reader, MIB)  # type: ignore[arg-type]
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _quoted(path: bytes) -> str:
    return encode_basestring_ascii(text(path))


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(MIB), b"")
