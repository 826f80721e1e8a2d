# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a bill as tables: csv, gzip, zip and Parquet, whatever their names. What cannot be read gets one sentence."""

from __future__ import annotations

import csv
import filecmp
import gzip
import io
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..common.errors import ColdstoreError, Corrupt, Permanent, Refused

if TYPE_CHECKING:
    import polars as pl

_HEADER = 1024**2  # bytes; a header line has some kilobytes
_LINES_A_RECORD = 50


def distinct(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The files, each content once; and which are left out, with why: another is the same."""
    kept: list[str] = []
    left_out = []
    for path in paths:
        same = next((other for other in kept if _is_same(path, other)), None)
        if same is None:
            kept.append(path)
        else:
            left_out.append((path, f"identical to {same}"))
    return kept, left_out


def _is_same(one: str, other: str) -> bool:
    return os.path.samefile(one, other) or (
        os.path.getsize(one) == os.path.getsize(other) and filecmp.cmp(one, other, shallow=False)
    )


def scan(path: str) -> tuple[pl.LazyFrame, list[str]]:
    """A lazy table of a file, whatever its name, and its columns."""
    import polars as pl

    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        try:
            scan = pl.scan_parquet(path)
            return scan, scan.collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(path, error) from None
    names = _header(path, magic)
    if magic[:2] != b"\x1f\x8b":
        _check_end(path, len(names))
    is_focus = "billedcost" in {name.lower() for name in names}
    return pl.scan_csv(path, infer_schema=False, null_values="NULL" if is_focus else None), names


def _header(path: str, magic: bytes) -> list[str]:
    try:
        with gzip.open(path, "rb") if magic[:2] == b"\x1f\x8b" else open(path, "rb") as file:
            begin = file.read(_HEADER).lstrip()
            head = begin.partition(b"\n")[0].decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise Refused("this is not a cost report: it is not text, gzip, zip or Parquet", path=path) from None
    if not head:
        raise Refused("the file is empty", "Fetch the report again.", path=path)
    if head.startswith(("<", "{")):
        raise Refused(
            "this is a web page or an error message, not a cost report", "Fetch the report again, with credentials.", path=path
        )
    if "\r" in head.rstrip("\r"):
        raise Refused(
            "its lines end in carriage returns only: a spreadsheet saved it", "Use the files that AWS delivered.", path=path
        )
    return next(csv.reader(io.StringIO(head)))


def _check_end(path: str, columns: int) -> None:
    """Raises Corrupt if a plain csv file ends within a line. Readers of gzip, zip and Parquet notice that themselves."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _HEADER))
        lines = file.read().decode("utf-8", "replace").split("\n")
    if lines[-1].strip("\r") == "":
        return
    for lines_back in range(1, min(len(lines), _LINES_A_RECORD) + 1):  # a quoted field may hold newlines
        records = list(csv.reader(io.StringIO("\n".join(lines[-lines_back:]))))
        if len(records) == 1 and len(records[0]) == columns:
            return
    raise Corrupt("the file is cut short: it ends within a line", "Fetch the report again.", path=path)


def unpacked(path: str, spool: str) -> Iterator[str]:
    """The file itself, or the contents of a zip file.

    Like a gzip file, a member of a zip file is a deflate stream with CRC and size, so only the frame is exchanged and
    nothing is decompressed (RFC 1952; APPNOTE 4.3).
    """
    if not os.path.getsize(path):
        raise Refused("the file is empty", "Fetch the report again.", path=path)
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            yield path
            return
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
            members = [each for each in archive.infolist() if each.filename.lower().endswith(".csv")]
            if not members:
                raise Refused("the zip file does not contain a csv file", "Use the files that AWS delivered.", path=path)
            for number, member in enumerate(members):
                if member.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED) or member.flag_bits & 1:
                    raise Refused("the zip file is encrypted, or compressed in an unusual way", "Unpack it first.", path=path)
                yield _reframed(
                    raw, member, os.path.join(spool, f"{len(os.listdir(spool)):06}-{os.path.basename(path)}.{number}.csv")
                )
    except zipfile.BadZipFile as error:
        raise Corrupt(f"the zip file is damaged or cut short: {error}", "Fetch the report again.", path=path) from None


def _reframed(raw: io.BufferedReader, member: zipfile.ZipInfo, path: str) -> str:
    raw.seek(member.header_offset)
    name_length, extra_length = struct.unpack("<26xHH", raw.read(30))
    raw.seek(name_length + extra_length, os.SEEK_CUR)
    deflated = member.compress_type == zipfile.ZIP_DEFLATED
    with open(path, "wb") as file:
        if deflated:
            file.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
        left = member.compress_size
        while left:
            data = raw.read(min(left, _HEADER))
            if not data:
                raise zipfile.BadZipFile(f"{member.filename} ends early")
            file.write(data)
            left -= len(data)
        if deflated:
            file.write(struct.pack("<II", member.CRC, member.file_size & 0xFFFFFFFF))
    return path


def broken(scans: Sequence[pl.LazyFrame], files: Sequence[str]) -> str:
    """The first file that cannot be read to its end. When reading many, Polars does not say which one it was."""
    import polars as pl

    for scan, file in zip(scans, files):
        try:
            scan.select(pl.col("cost").sum()).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError):
            return file
    return ", ".join(files[:5])


def unreadable(path: str, error: Exception) -> ColdstoreError:
    """One sentence for an error of the reader."""
    if isinstance(error, OSError) and error.errno:
        return Permanent(f"the report cannot be read: {error.strerror}", path=error.filename or path)
    text = " ".join(str(error).split())[:200].rstrip(".")
    return Corrupt(f"the report is damaged or cut short: {text}", "Fetch it again.", path=path)
