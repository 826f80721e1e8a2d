# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of tar and pax that lie: each field is checked, what is kept is bounded, and every lie is Corrupt."""

import io
import os
import random
import signal
import struct
import subprocess
import tracemalloc
from contextlib import suppress

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import ColdstoreError, Corrupt
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import pax
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.untar import Consumer, Untar
from foreign import compared
from trees import filled

MIB = 1 << 20
SIZE, UID, GID, MTIME, MODE = slice(124, 136), slice(108, 116), slice(116, 124), slice(136, 148), slice(100, 108)
MAJOR, MINOR, CHECKSUM, KIND = slice(329, 337), slice(337, 345), slice(148, 156), slice(156, 157)


@pytest.fixture(autouse=True)
def _ends():
    """A reader that makes no progress is ended."""
    signal.alarm(120)
    yield
    signal.alarm(0)


def sealed(block):
    """With the checksum that belongs to it."""
    block = bytearray(block)
    block[CHECKSUM] = b" " * 8
    block[CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def block(name=b"./file", kind=b"0", size=0, **fields):
    """A ustar header in which fields are as they are given, raw."""
    made = bytearray(pax.header(name, kind, 0o644, 0, 0, 0, size)[-512:])
    for field, value in fields.items():
        place = globals()[field]
        made[place] = value.ljust(place.stop - place.start, b"\0")
    return sealed(made)


def said(kind, body):
    return block(b"./said", kind, len(body)) + body + bytes(-len(body) % 512)


def records(*pairs, kind=b"x"):
    return said(kind, b"".join(pax.record(*pair) for pair in pairs))


def sparse(text, size=10_000, data=b""):
    named = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % size)]
    table = text + bytes(-len(text) % 512)
    return records(*named) + block(size=len(table) + len(data)) + table + data + bytes(-len(data) % 512)


class Checking(Consumer):
    """Nothing that a consumer is told is out of range."""

    def begin(self, entry):
        self.entry = entry
        assert entry.name
        assert b"\0" not in entry.name + entry.link
        assert all(name and b"\0" not in name for name, _value in entry.xattrs)
        assert 0 <= entry.size < 1 << 63
        assert 0 <= entry.mode <= 0o7777
        assert 0 <= entry.uid < (1 << 32) - 1
        assert 0 <= entry.gid < (1 << 32) - 1
        assert -(1 << 63) <= entry.mtime // 10**9 < 1 << 63

    def data(self, offset, view):
        assert offset >= 0
        assert offset + len(view) <= self.entry.size


def taken(data, piece=4 * MIB):
    reader = Untar(Checking())
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece])
    reader.finish()


LIES = {
    "a negative size in base 256": block(SIZE=b"\xff" * 11 + b"\x00"),
    "a huge size in base 256": block(SIZE=b"\x80" + b"\xff" * 11),
    "a negative octal size": block(SIZE=b"-1000"),
    "a size with a sign": block(SIZE=b"+1000"),
    "a size that is no number": block(SIZE=b"12345678901x"),
    "a size with a digit too much": block(SIZE=b"00000000009"),
    "a negative size in a record": records((b"size", b"-1536")) + block(),
    "a huge size in a record": records((b"size", b"9" * 19)) + block(),
    "a size of four thousand digits": records((b"size", b"9" * 4000)) + block(),
    "a size with a blank": records((b"size", b" 12")) + block(),
    "a negative size for all": records((b"size", b"-1536"), kind=b"g") + block(),
    "an owner out of range": records((b"uid", b"%d" % (1 << 32))) + block(),
    "the owner that chown takes for none": records((b"uid", b"%d" % ((1 << 32) - 1))) + block(),
    "a negative owner": records((b"gid", b"-2")) + block(),
    "a negative owner in base 256": block(UID=b"\xff" * 8),
    "a group in base 256 out of range": block(GID=b"\x80\x00\x00\x01" + bytes(4)),
    "an owner that is no number": records((b"uid", b"root")) + block(),
    "a time out of range": records((b"mtime", b"9" * 19)) + block(),
    "a time of a million digits": records((b"mtime", b"9" * MIB)) + block(),
    "a time that is no number": records((b"mtime", b"nan")) + block(),
    "a time with underscores": records((b"mtime", b"1_0")) + block(),
    "a time in base 256 out of range": block(MTIME=b"\x80" + b"\xff" * 11),
    "a mode that is no number": block(MODE=b"rwx"),
    "a device out of range": block(kind=b"3", MAJOR=b"7777777"),
    "a device in base 256 out of range": block(kind=b"4", MINOR=b"\x80" + b"\xff" * 7),
    "a NUL in an attribute's name": records((b"SCHILY.xattr.user.a\0b", b"x")) + block(),
    "an attribute without a name": records((b"SCHILY.xattr.", b"x")) + block(),
    "a NUL in a name": records((b"path", b"a\0b")) + block(),
    "a NUL in a link": records((b"linkpath", b"a\0b")) + block(kind=b"2"),
    "no name": block(b""),
    "a name of a hundred kilobytes": records((b"path", b"d/" * 50_000)) + block(),
    "a length of nothing": said(b"x", b"0 path=x\n") + block(),
    "a negative length": said(b"x", b"-9 path=x\n") + block(),
    "a length that leads out": said(b"x", b"99 path=x\n") + block(),
    "a record without a value": said(b"x", b"7 path\n") + block(),
    "a record that goes on": said(b"x", b"8 path=x\n") + block(),
    "a header of a gigabyte": block(kind=b"x", size=1 << 30),
    "a long name of a gigabyte": block(kind=b"L", size=1 << 30),
    "headers without end": b"".join(said(b"x", b"x" * 0 + pax.record(b"comment", b"c" * 5 * MIB)) for _turn in range(4)) + block(),
    "an unknown type": block(kind=b"S"),
    "a sparse offset of ten to the nineteen": sparse(b"1\n10000000000000000000\n10\n"),
    "a sparse offset beyond the end": sparse(b"1\n9999\n10\n", data=b"x" * 10),
    "a negative sparse offset": sparse(b"1\n-10\n10\n"),
    "sparse extents that overlap": sparse(b"2\n0\n10\n5\n10\n", data=b"x" * 20),
    "sparse extents out of order": sparse(b"2\n100\n10\n0\n10\n", data=b"x" * 20),
    "more sparse extents than bytes": sparse(b"99999999\n"),
    "a sparse map that ends early": sparse(b"3\n0\n10\n", data=b"x" * 10),
    "a sparse map with an empty line": sparse(b"1\n\n0\n"),
    "a sparse map of digits": sparse(b"1\n" + b"9" * 5000),
    "a sparse map that does not fit": sparse(b"1\n0\n10\n", data=b"x" * 11),
    "a negative whole size": sparse(b"0\n", size=-1),
    "sparse without a whole size": records((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")) + block(),
    "sparse of another version": records((b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", b"1")) + block(),
    "sparse of an old version": records((b"GNU.sparse.map", b"0,10"), (b"GNU.sparse.size", b"10")) + block(),
    "a directory with holes": sparse(b"0\n").replace(block(size=512), block(kind=b"5", size=512)),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_corrupt_and_says_where(lie, tmp_path):
    """Restored or compared, in one piece or in many, the answer is the same, and it names the offset."""
    data = block(b"./before") + LIES[lie] + bytes(4096)
    for piece in (4 * MIB, 512):
        with pytest.raises(Corrupt) as caught:
            taken(data, max(piece, len(data) // 100_000 * 512))
        assert 512 <= caught.value.facts["offset"] < len(data)
    target = DirectoryTarget(str(tmp_path / "out"), devices=True)
    with pytest.raises(Corrupt):
        target.write(0, data)
    target.close()


def test_the_member_is_named():
    """By the name that the stream gives it."""
    with pytest.raises(Corrupt, match="is not between 0 and") as caught:
        taken(records((b"path", b"./etc/long name"), (b"uid", b"99999999999")) + block())
    assert caught.value.facts == {"path": b"./etc/long name", "offset": 1024}


def test_a_validation_reports_it(tmp_path):
    """As a difference, not as -1,536 equal bytes."""
    (tmp_path / "file").touch()
    for source in (None, TarSource(str(tmp_path))):
        found, totals = compared(records((b"size", b"-1536")) + block() + bytes(1024), source)
        (difference,) = found.listed
        assert (difference["attribute"], difference["expected"]) == ("stream", "one that can be read")
        assert "'-1536'" in difference["found"]
        assert totals.bytes == 0


def test_what_is_honest_is_read():
    """The ends of every range."""
    for honest in (
        block(SIZE=b"\x80" + bytes(11)),
        block(MTIME=b"\xff" * 12),
        block(UID=b"\x80\x00\x00\x00\xff\xff\xff\xfe"),
        block(MODE=b"0100644"),
        block(MAJOR=b"rubbish"),
        block(kind=b"3", MAJOR=b"0007777", MINOR=b"3777777"),
        records((b"uid", b"%d" % ((1 << 32) - 2)), (b"mtime", b"-9223372036854775808"), (b"comment", b"\0")) + block(),
        records((b"path", b""), (b"size", b"")) + block(),
        records((b"path", b"d/" * 32_000)) + block(),
        records((b"mtime", b"12.3456789012345678901234567890")) + block(),
        sparse(b"0\n"),
        sparse(b"1\n10000\n0\n"),
        sparse(b"2\n0\n10\n5000\n10\n", data=b"x" * 20),
        sparse(b"1\n0\n1\n", size=(1 << 63) - 1, data=b"x"),
    ):  # fmt: skip
        taken(honest + bytes(1024))


@pytest.mark.parametrize(
    "headers",
    [
        lambda turn: records((b"comment", bytes(15 * MIB)), kind=b"g"),
        lambda turn: records((b"SCHILY.xattr.user.%d" % turn, bytes(5 * MIB)), kind=b"g"),
        lambda turn: said(b"x", pax.record(b"a", b"") * 400_000),
        lambda turn: said(b"x", b"".join(pax.record(b"SCHILY.xattr.user.%d" % n, b"") for n in range(200_000))),
        lambda turn: said(b"L", b"n" * 15 * MIB),
    ],
)
def test_what_is_kept_of_headers_is_bounded(headers):
    """Over the whole archive: many global headers, many records of a member, many headers of a member."""
    bodies = [headers(turn) for turn in range(3)]
    member = block()
    reader = Untar(Checking())
    tracemalloc.start()
    try:
        with suppress(Corrupt):
            for turn in range(30):
                reader.feed(bodies[turn % 3])
                if turn > 5:
                    reader.feed(member)
        _kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 * MIB


def _honest(folder):
    """Streams that are as they should be, of several writers."""
    root = filled(folder / "tree")
    with open(root / "holes", "wb") as file:
        for at in range(0, 40 * 8192, 8192):
            file.seek(at)
            file.write(b"x" * 4096)
    source = TarSource(str(root))
    yield b"".join(bytes(source.read(chunk)) for chunk in source.plan())
    for form in ("gnu", "pax", "ustar"):
        command = ["tar", f"--format={form}", "--exclude=*größe*", "--exclude=nnn*", "-C", root, "-c", "."]
        yield subprocess.run(command, capture_output=True, check=False).stdout


def _headers(stream):
    """[(begin, end)] of the headers in a stream, pax bodies included."""
    found, at = [], 0
    while at + 512 <= len(stream):
        header = stream[at : at + 512]
        if header == bytes(512):
            break
        size = int(header[SIZE].strip(b"\0 ") or b"0", 8)
        padded = size + -size % 512
        found.append((at, at + 512 + (padded if header[KIND] in b"xgLK" else min(padded, 512))))
        at += 512 + padded
    return found


NUMBERS = [
    b"-1", b"0", b"7" * 11, b"9" * 8, b"\x80" + b"\xff" * 7, b"\xff" * 8, b"\x80" + bytes(7), b"\xc0", b"", b" ", b"0x10", b"1e9", b"\0" * 12,
    struct.pack(">BQ", 0x80, 1 << 63), b"%d" % (1 << 63), b"%d" % (1 << 64), b"9" * 30, b"-0", b"nan", b"00000000000", b"18446744073709551615",
]  # fmt: skip


def _mutated(dice, honest, headers):
    """A few honest members with one or two changes in their headers, nearly always with a checksum that is right."""
    first = dice.randrange(len(headers))
    last = min(first + dice.randint(1, 4), len(headers) - 1)
    begin = headers[first][0]
    data = bytearray(honest[begin : min(headers[last][1], begin + 16_384)] + bytes(1024))
    places = [place - begin for place, _end in headers[first : last + 1] if place - begin + 512 < len(data)]
    for _change in range(dice.randint(1, 2)):
        at = dice.choice(places)
        turn = dice.randrange(6)
        if turn < 3:
            field = dice.choice([SIZE, UID, GID, MTIME, MODE, MAJOR, MINOR])
            width = field.stop - field.start
            data[at + field.start : at + field.stop] = dice.choice(NUMBERS)[:width].ljust(width, b"\0")
        elif turn == 3:
            data[at + 156] = dice.choice(b"0123456789xgLKSVMD\0")
        elif turn == 4:  # what follows a header: records, maps
            for _byte in range(dice.randint(1, 8)):
                data[min(at + 512 + dice.randrange(512), len(data) - 1)] = dice.choice(b"0123456789 =\n\0-.\xff")
        else:
            lines = bytes(data[at + 512 : at + 1024]).split(b"\n")
            lines[dice.randrange(len(lines))] = dice.choice(NUMBERS)
            data[at + 512 : at + 1024] = b"\n".join(lines)[:512].ljust(512, b"\0")
        if dice.randrange(20):
            data[at : at + 512] = sealed(data[at : at + 512])
    return bytes(data)


def test_nothing_but_our_errors_comes_of_changed_headers(tmp_path):
    """Thousands of honest headers with a change in them: read, restored, and compared, each ends in a result or in an
    error of ours."""
    dice = random.Random(13)
    streams = [(honest, _headers(honest)) for honest in _honest(tmp_path)]
    source = TarSource(str(tmp_path / "tree"))
    outcomes = {True: 0, False: 0}
    tracemalloc.start()
    for case in range(3000):
        data = _mutated(dice, *dice.choice(streams))
        try:
            taken(data, dice.choice([512, 700, 65_536]))
            outcomes[True] += 1
        except ColdstoreError:
            outcomes[False] += 1
        if case % 10 == 0:
            target = DirectoryTarget(str(tmp_path / "out"), overwrite=True, devices=True)
            try:
                target.write(0, data)
                target.finish()
            except ColdstoreError:
                pass
            finally:
                target.close()
            compared(data, source)
    _kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert min(outcomes.values()) > 200
    assert peak < 60 * MIB


def test_a_signal_ends_a_validation_of_zeros_without_end(tmp_path):
    """However well what is read compresses: a stop is noticed between two pieces."""

    class Endless(io.RawIOBase):
        def __init__(self):
            self.reads = 0

        def read(self, size):
            self.reads += 1
            if self.reads == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return bytes(size)

    from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Stopped
    from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import on_signals

    for kind in ("tar", "image"):
        with on_signals() as stop, pytest.raises(Stopped):
            compared(Endless(), None, kind, stop)
