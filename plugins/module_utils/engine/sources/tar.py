# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mounted filesystem as a tar stream that is planned before it is read.

The tree is walked in sorted order, each member's headers are built from lstat and extended attributes, and members
are laid out one after the other. A chunk of the plan says which literal bytes and which file ranges make it up, so
any thread can read any chunk. What grows with the number of files is on disk or passed on (`on_member`), not kept.

Holes are found with SEEK_HOLE and stored as GNU.sparse 1.0. An inode with several names is stored once, under its
first name; the others are hard links to it. Sockets cannot be stored in tar: they are reported as members of type
'socket' that take no bytes. Directories of another device are entered only if they are btrfs subvolumes.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Callable, Optional

from ...common.errors import Refused
from ..spool import Extents, PathTable, sorted_on_disk
from . import CHUNK, BaseSource, Bytes, Chunk, Member, Piece, Problem, Range, ignore, pax
from .fscrypt import is_locked
from .inode import look
from .losses import NOTHING, Stretches, unreadable
from .names import readable_names
from .near import LONG, Near
from .reading import read_new, read_range
from .status import ENCRYPTED, FLAGS, Status, reader

_MANY_PIECES = 64
_LARGE = 512 * 1024  # bytes; smaller files lie beside others
_NAMES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}
# Where a btrfs snapshot does not hold a nested subvolume the kernel shows an empty directory with this inode number and
# the time of the look as its mtime (BTRFS_EMPTY_SUBVOL_DIR_OBJECTID); a plan must not change from one look to the next.
_BTRFS_PLACEHOLDER = 2
Found = tuple[bytes, Status]


class TarSource(BaseSource):
    """The tree below `root` (a directory, normally a read-only mount).

    subvolumes: enter directories of other devices (btrfs). on_error: 'fail', or 'zero' to record what cannot be read in problems
    and
    continue: unreadable bytes become zeros, and everything else of a member is kept. What Linux cannot return for an intact
    filesystem is recorded in either case. spool: for the lists of huge directories. noticed: returns how many errors of the
    filesystem the kernel has counted meanwhile. ahead: called with each large file when it is planned, before it is read. Raises
    Refused if root is not a directory. subvolume_paths and flags (how many members have a flag of chattr, which a tar cannot hold)
    fill up while a plan runs.
    """

    kind = "tar"
    in_order = False

    def __init__(
        self,
        root: str,
        subvolumes: bool = False,
        chunk_size: int = CHUNK,
        on_error: str = "fail",
        spool: Optional[str] = None,
        noticed: Optional[Callable[[], int]] = None,
        ahead: Optional[Callable[[bytes], None]] = None,
    ) -> None:
        if not os.path.isdir(root):
            raise Refused(f"{root} is not a directory", path=root)
        if chunk_size % pax.BLOCK:
            raise Refused(f"a chunk of {chunk_size} bytes is not a multiple of {pax.BLOCK}")
        self.problems: list[Problem] = []
        self.subvolume_paths: list[bytes] = []
        self.flags: Counter[str] = Counter()
        self.root = os.fsencode(root)
        self._subvolumes = subvolumes
        self._chunk_size = chunk_size
        self.on_error = on_error
        self._spool = spool or "/var/tmp"
        self._seen: set[Problem] = set()
        self._listed: dict[bytes, Stretches] = {}
        self._status = reader()
        self._noticed = noticed or _nothing
        self._ahead = ahead
        self._lock = threading.Lock()
        # Planning and reading many small files are both rows of short system calls: side by side they hand the
        # interpreter's lock back and forth at each of them. Taking turns a chunk at a time was 15% faster.
        self._turn = threading.Lock()

    def plan(self, on_member: Callable[[Member], None] = ignore) -> Generator[Chunk, None, None]:
        chunks = self._chunks(on_member)
        while True:
            with self._turn:
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _chunks(self, on_member: Callable[[Member], None]) -> Iterator[Chunk]:
        self.subvolume_paths = []
        self.flags = Counter()
        cutter = _Cutter(self._chunk_size)
        links = PathTable()
        try:
            for path, status in self._walk():
                try:
                    member, blob, extents = self._member(path, status, links, cutter.offset)
                except OSError as error:
                    self._fail(path, "entry", "it cannot be read", error)
                    continue
                if status.flags and member.type != "hardlink":
                    self.flags.update(name for bit, name in FLAGS.items() if status.flags & bit)
                on_member(member)
                if not member.length:
                    continue
                if self._ahead is not None and member.type == "file" and member.size >= _LARGE:
                    self._ahead(self.root + b"/" + path)
                yield from cutter.literal(blob)
                if extents is not None:
                    for piece in pax.sparse_map(member.size, extents):
                        yield from cutter.literal(piece)
                for start, length in extents if extents is not None else [(0, member.size)]:
                    yield from cutter.extent(path, member.size, start, length)
                yield from cutter.pad()
            yield from cutter.literal(pax.END)
            yield from cutter.end()
        finally:
            links.close()

    def read(self, chunk: Chunk) -> Any:
        if len(chunk.pieces) > _MANY_PIECES:
            with self._turn:
                return self._read(chunk)
        only = chunk.pieces[0]
        if isinstance(only, Range) and only.length == chunk.length:
            return self._inside(only)
        return self._read(chunk)

    def _inside(self, piece: Range) -> Any:
        """A chunk from within a file, in memory that need not be cleared first."""
        data: list[Any] = []

        def read(descriptor: int) -> list[Problem]:
            got, problems = read_new(descriptor, piece.length, piece.start, piece.path, self._listed.get(piece.path, NOTHING))
            data.append(got)
            return problems

        self._opened([piece], read)
        return data[0] if data else bytes(piece.length)

    def _read(self, chunk: Chunk) -> bytearray:
        data = bytearray(chunk.length)
        view = memoryview(data)
        of_a_file: list[Range] = []  # which is opened once, however many holes there are in it
        for piece in chunk.pieces:
            if isinstance(piece, Bytes):
                view[piece.position : piece.position + len(piece.data)] = piece.data
            elif isinstance(piece, Range):
                if of_a_file and of_a_file[0].path != piece.path:
                    self._fill(view, of_a_file)
                    of_a_file = []
                of_a_file.append(piece)
        if of_a_file:
            self._fill(view, of_a_file)
        return data

    def allotted(self, look: Callable[[], None]) -> int:
        """The bytes its files take if none shares data with another, by a walk that reads no contents. look is called from time to
        time."""
        total = 0
        for number, (_path, status) in enumerate(self._walk()):
            if not number % 1024:
                look()
            if not stat.S_ISDIR(status.st_mode):
                total += status.st_blocks * 512 // status.st_nlink  # each name of an inode counts its share
        return total

    def remarks(self) -> Mapping[str, Any]:
        return {
            "subvolumes": [path.decode("utf-8", "surrogateescape") for path in self.subvolume_paths],
            "flags": dict(sorted(self.flags.items())),
        }

    def check(self) -> None:
        count = self._noticed()
        if count > 0:
            reason = f"the kernel counted errors of this filesystem while it was read ({count}), and reported some only in its log"
            self._note(Problem(b".", 0, count, reason, "filesystem"))

    def leave_out(self, listed: Iterable[Problem]) -> None:
        stretches: dict[bytes, list[Problem]] = {}
        for each in listed:
            if each.what == "content":
                stretches.setdefault(each.path, []).append(each)
        self._listed = {path: Stretches(rows) for path, rows in stretches.items()}

    def _walk(self) -> Iterator[Found]:
        """(path, lstat) of everything below the root, depth first, with names in byte order. The root is b'.'."""
        status = self._status(self.root)
        device = status.st_dev
        yield b".", status
        path = b""
        # Only the length of the path of each directory on the way: whole paths would take too much memory in a very deep tree.
        stack: list[tuple[int, Iterator[bytes], tuple[int, int]]] = [(0, self._names(b""), device)]
        while stack:
            length, names, device = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            path = path[:length] + b"/" + name if length else name
            try:
                if len(path) > pax.LONGEST_PATH - len(b".//"):
                    raise OSError(errno.ENAMETOOLONG, f"its path has {len(path)} bytes, which is too long to restore")
                full = self.root + b"/" + path
                if len(full) <= LONG:
                    status = self._status(full)
                else:
                    with Near(self.root, path) as near:
                        status = self._status(near)
            except OSError as error:
                self._fail(path, "entry", "its inode cannot be read", error)
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                if status.flags & ENCRYPTED and self._is_locked(path):
                    continue
                if status.st_dev != device:
                    if not self._subvolumes:
                        continue
                    if status.st_ino != _BTRFS_PLACEHOLDER:
                        self.subvolume_paths.append(path)
                stack.append((len(path), self._names(path), status.st_dev))

    def _is_locked(self, path: bytes) -> bool:
        try:
            with Near(self.root, path) as near:
                if not is_locked(near):
                    return False
        except OSError as error:
            self._fail(path, "names", "it is encrypted, and it is not known whether its key is loaded", error)
            return True
        reason = "it is encrypted (fscrypt) and its key is not loaded: nothing in it can be read, but an image of the disk keeps it"
        self._note(Problem(path, 0, 0, reason, "names"))
        return True

    def _names(self, path: bytes) -> Iterator[bytes]:
        with Near(self.root, path) as near:
            try:
                with os.scandir(near) as entries:
                    return sorted_on_disk((entry.name for entry in entries), self._spool)
            except OSError:
                return self._readable_names(path, near)

    def _readable_names(self, path: bytes, near: bytes) -> Iterator[bytes]:
        def gap(error: OSError) -> None:
            self._fail(path or b".", "names", "the list of its names cannot be read to the end", error)

        try:
            names = sorted_on_disk(readable_names(near, gap), self._spool)
        except OSError as error:
            gap(error)
            return iter(())
        return (name for name, _same in groupby(names))

    def _member(self, path: bytes, status: Status, links: PathTable, offset: int) -> tuple[Member, bytes, Optional[Extents]]:
        """What is laid out for one path: the member, its headers, and the file ranges that follow them."""
        form = stat.S_IFMT(status.st_mode)
        mode, uid, gid, mtime = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns
        if self._subvolumes and form == stat.S_IFDIR and status.st_ino == _BTRFS_PLACEHOLDER:
            mtime = 0
        name = b"./" if path == b"." else b"./" + path
        if form == stat.S_IFSOCK:
            return Member(path, "socket", offset, 0, 0, mode, uid, gid, mtime, None, ""), b"", None
        inode = b"%d:%d %d" % (*status.st_dev, status.st_ino) if status.st_nlink > 1 and form != stat.S_IFDIR else b""
        if inode:
            first = links.get(inode)
            if first is not None:
                blob = pax.header(name, pax.HARDLINK, mode, uid, gid, mtime, link=b"./" + first)
                return Member(path, "hardlink", offset, len(blob), 0, mode, uid, gid, mtime, first, ""), blob, None
        full = self.root + b"/" + path

        def note(problem: Problem, damage: bool) -> None:
            self._note(problem._replace(path=path), damage)

        if len(full) <= LONG:
            extra, digest, target, extents = look(full, form, status, note, self._spool)
        else:
            with Near(self.root, path) as near:
                extra, digest, target, extents = look(near, form, status, note, self._spool)
        if inode:  # not earlier: the other names are links to this one, which is in the archive from here on
            links.first(inode, path)
        size = status.st_size if form == stat.S_IFREG else 0
        stored = size
        stored_name = None
        if extents is not None:
            stored_name, records = pax.sparse(name, size)
            extra = records + extra
            stored = sum(map(len, pax.sparse_map(size, extents))) + extents.total
        if form == stat.S_IFDIR and path != b".":
            name += b"/"
        device = status.st_rdev if form in (stat.S_IFCHR, stat.S_IFBLK) else (0, 0)
        blob = pax.header(name, pax.TYPES[form], mode, uid, gid, mtime, stored, target or b"", device, extra, stored_name)
        length = len(blob) + stored + -stored % pax.BLOCK
        member = Member(path, _NAMES[form], offset, length, size, mode, uid, gid, mtime, target, digest)
        return member, blob, extents

    def _fill(self, view: memoryview, pieces: list[Range]) -> None:
        listed = self._listed.get(pieces[0].path, NOTHING)

        def read(descriptor: int) -> list[Problem]:
            problems: list[Problem] = []
            for piece in pieces:
                into = view[piece.position : piece.position + piece.length]
                problems += read_range(descriptor, into, piece.start, piece.path, listed)
            return problems

        self._opened(pieces, read)

    def _opened(self, pieces: list[Range], read: Callable[[int], list[Problem]]) -> None:
        """Read pieces of a file, check that it has not changed its size, and record what goes wrong."""
        piece = pieces[0]
        try:
            full = self.root + b"/" + piece.path
            if len(full) <= LONG:
                descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            else:
                with Near(self.root, piece.path) as near:
                    descriptor = os.open(near, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            for piece in pieces:
                self._note(Problem(piece.path, piece.start, piece.length, f"opening fails: {error.strerror}"))
            return
        try:
            size = os.fstat(descriptor).st_size
            if size > piece.size:
                self._note(Problem(piece.path, piece.size, 0, f"the file grew from {piece.size} to {size} bytes"))
            for problem in read(descriptor):
                self._note(problem)
        finally:
            os.close(descriptor)

    def _fail(self, path: bytes, what: str, failed: str, error: OSError) -> None:
        self._note(Problem(path, 0, 0, f"{failed}: {error.strerror}", what))

    def _note(self, problem: Problem, damage: bool = True) -> None:
        """Raise it, or record it once, since chunks may be read and trees walked several times."""
        if damage and self.on_error != "zero":
            raise unreadable(problem)
        with self._lock:
            if problem not in self._seen:
                self._seen.add(problem)
                self.problems.append(problem)


def _nothing() -> int:
    return 0


class _Cutter:
    """Lays out bytes and file ranges one after another and cuts them into chunks. Each method returns the chunks that became full.
    offset: where the next byte goes."""

    def __init__(self, chunk_size: int) -> None:
        self.offset = 0
        self._chunk_size = chunk_size
        self._begin = 0
        self._pieces: list[Piece] = []

    def literal(self, data: bytes) -> list[Chunk]:
        room = self._begin + self._chunk_size - self.offset
        if len(data) < room:
            self._pieces.append(Bytes(self.offset - self._begin, data))
            self.offset += len(data)
            return _NONE
        full = []
        while data:
            room = self._begin + self._chunk_size - self.offset
            self._pieces.append(Bytes(self.offset - self._begin, data[:room]))
            self.offset += min(room, len(data))
            data = data[room:]
            full += self._cut()
        return full

    def extent(self, path: bytes, size: int, start: int, length: int) -> list[Chunk]:
        full: list[Chunk] = []
        while length:
            take = min(self._begin + self._chunk_size - self.offset, length)
            self._pieces.append(Range(self.offset - self._begin, path, size, start, take))
            self.offset += take
            start += take
            length -= take
            full += self._cut()
        return full

    def pad(self) -> list[Chunk]:
        """Pad to the next block. Chunks are whole blocks, so padding never needs its own piece."""
        self.offset += -self.offset % pax.BLOCK
        return self._cut()

    def end(self) -> list[Chunk]:
        """The last, short chunk."""
        return self._cut(last=True)

    def _cut(self, last: bool = False) -> list[Chunk]:
        length = self.offset - self._begin
        if not length or (length < self._chunk_size and not last):
            return _NONE
        chunk = Chunk(self._begin, length, tuple(self._pieces))
        self._begin = self.offset
        self._pieces = []
        return [chunk]


_NONE: list[Chunk] = []
