# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files make up one billing period: of a file, a manifest, a directory or an s3:// prefix.

AWS lays reports out in three ways, and keeps older versions beside the newest:

    <prefix>/<report>/20260901-20261001/[<assembly>/]<report>-00001.csv.gz        legacy, csv, and its manifests
    <prefix>/<report>/<report>/year=2026/month=9/<report>-00001.snappy.parquet     legacy, Parquet
    <prefix>/<export>/data/BILLING_PERIOD=2026-09/[<execution>/]<export>-00001.…   Data Exports; manifests in metadata/

Source: AWS Data Exports user guide, "Understanding your Amazon S3 bucket directory structure" and "Cost and Usage Report
delivery". A manifest says which files belong together; without one, the directory that was written last is used. Each
report has its own, and one prefix may hold those of several payers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Callable, NamedTuple

from ..common.errors import Refused
from ..common.retry import retry
from ..common.stop import Stop

_DATA = (".csv", ".csv.gz", ".gz", ".zip", ".parquet")
_PERIODS = (
    re.compile(r"(?:^|/)(\d{4})(\d{2})\d{2}-\d{8}(?:/|$)"),
    re.compile(r"(?:^|/)BILLING_PERIOD=(\d{4})-(\d{2})(?:/|$)"),
    re.compile(r"(?:^|/)year=(\d{4})/month=(\d{1,2})(?:/|$)"),
)
# Not the manifests of the Redshift integration, which do not name the files of the report.
_IS_MANIFEST = re.compile(r"(?i)(?:^|[-/])manifest\.json$")
_MANIFEST = 64 * 1024**2  # bytes; a real one has some kilobytes


class File(NamedTuple):
    """A file somewhere. modified is only used for comparisons."""

    name: str
    size: int
    modified: float


class PassedOver(NamedTuple):
    """A file that was not read, and why."""

    file: str
    why: str


class Located(NamedTuple):
    """paths: local files of one period, or of unknown periods. origin: where they come from."""

    paths: list[str]
    origin: list[str]
    passed_over: list[PassedOver]


def month_of(name: str) -> str:
    """The billing period in a path, as YYYY-MM; '' if there is none."""
    for pattern in _PERIODS:
        found = pattern.search(name)
        if found:
            return f"{found[1]}-{int(found[2]):02}"
    return ""


def locate(sources: Sequence[str], period: str, spool: str, s3: Any, today: date, stop: Stop) -> Located:
    """The local files to read for these sources. Files in S3 are downloaded to `spool`, a directory of the caller.

    sources: paths, or s3:// URIs, of files, manifests or directories. period: YYYY-MM, or '' for the newest complete
    one. s3: makes an S3 client when called. Raises Refused if there is nothing, or if a file in a manifest is missing.
    """
    if not sources:
        raise Refused("no cost report was given", "Name a file, a manifest, a directory or an s3:// prefix.")
    parts = [
        _from_s3(source, period, spool, s3(), today, stop) if source.startswith("s3://") else _from_disk(source, period, today)
        for source in sources
    ]
    return Located(
        [path for part in parts for path in part.paths],
        [origin for part in parts for origin in part.origin],
        [each for part in parts for each in part.passed_over],
    )


def _from_disk(source: str, period: str, today: date) -> Located:
    if os.path.isfile(source):
        if not source.endswith(".json"):
            return Located([source], [source], [])
        top = _top(os.path.abspath(source))
        with open(source, "rb") as file:
            names = _named(file.read(_MANIFEST), source, _walk(top))
        paths = [os.path.join(top, name) for name in names]
        return Located(paths, paths, [])
    if not os.path.isdir(source):
        raise Refused("there is no such cost report", "Correct the path.", path=source)

    def read(name: str) -> bytes:
        with open(os.path.join(source, name), "rb") as file:
            return file.read(_MANIFEST)

    chosen, passed_over = choose(list(_walk(source)), period, today, read, source)
    paths = [os.path.join(source, name) for name in chosen]
    return Located(paths, paths, [PassedOver(os.path.join(source, name), why) for name, why in passed_over])


def _top(manifest: str) -> str:
    """Where to look for the files of a manifest: above the directory of its period, if it is in one."""
    above = os.path.dirname(manifest)
    while month_of(above):
        above = os.path.dirname(above)
    return os.path.dirname(above) if os.path.basename(above) == "metadata" else above


def _walk(root: str) -> Iterator[File]:
    def fail(error: OSError) -> None:
        raise error

    for directory, _names, files in os.walk(root, onerror=fail):
        for file in files:
            path = os.path.join(directory, file)
            facts = os.stat(path)
            yield File(os.path.relpath(path, root), facts.st_size, facts.st_mtime)


def _from_s3(source: str, period: str, spool: str, s3: Any, today: date, stop: Stop) -> Located:
    bucket, _slash, prefix = source[len("s3://") :].partition("/")
    if not bucket:
        raise Refused("the URI does not name a bucket", "Write s3://bucket/prefix.", path=source)
    entries = list(_listed(s3, bucket, prefix, stop))
    if not entries:
        raise Refused("there is nothing below this prefix", "Correct it, or wait for the first delivery.", path=source)

    def read(key: str) -> bytes:
        return bytes(retry(lambda: s3.get_object(Bucket=bucket, Key=key)["Body"].read(_MANIFEST), stop, bucket=bucket, key=key))

    exact = [each for each in entries if each.name == prefix]
    if exact and not prefix.endswith(".json"):
        chosen, passed_over = [prefix], list[PassedOver]()
    elif exact:
        top = _top(prefix)
        entries = list(_listed(s3, bucket, f"{top}/" if top else "", stop))
        chosen, passed_over = _named(read(prefix), source, entries), []
    else:
        chosen, passed_over = choose(entries, period, today, read, source)
    sizes = {each.name: each.size for each in entries}
    needed = sum(sizes[key] for key in chosen)
    free = shutil.disk_usage(spool).free
    if needed > free:
        raise Refused(f"the report has {needed} bytes, but the spool only has room for {free}", "Name another spool.", path=spool)
    paths = []
    for key in chosen:
        path = os.path.join(spool, f"{len(os.listdir(spool)):06}-{os.path.basename(key)}")
        _download(s3, bucket, key, path, stop)
        paths.append(path)
    return Located(
        paths, [f"s3://{bucket}/{key}" for key in chosen], [PassedOver(f"s3://{bucket}/{key}", why) for key, why in passed_over]
    )


def _listed(s3: Any, bucket: str, prefix: str, stop: Stop) -> Iterator[File]:
    arguments = {"Bucket": bucket, "Prefix": prefix}
    while True:
        reply = retry(lambda: s3.list_objects_v2(**arguments), stop, bucket=bucket)
        for item in reply.get("Contents", []):
            yield File(item["Key"], int(item["Size"]), item["LastModified"].timestamp())
        if not reply.get("IsTruncated"):
            return
        arguments["ContinuationToken"] = reply["NextContinuationToken"]


def _download(s3: Any, bucket: str, key: str, path: str, stop: Stop) -> None:
    retry(lambda: s3.download_file(bucket, key, path), stop, bucket=bucket, key=key)


def choose(
    entries: Iterable[File], period: str, today: date, read: Callable[[str], bytes], source: str
) -> tuple[list[str], list[PassedOver]]:
    """Among everything below a prefix: the data files of one period of each report, and the files that were skipped.

    read: returns the content of a file by name. Raises Refused if there is no data, or none of that period.
    """
    held = [each for each in entries if "cost_and_usage_data_status" not in each.name and each.size]
    data = [each for each in held if each.name.lower().endswith(_DATA)]
    if not data:
        raise Refused("there is no csv, gzip, zip or Parquet file", "Name the place where the report is delivered.", path=source)
    months = sorted({month_of(each.name) for each in data})
    month = _month(months, period, today, source)
    wanted = [each for each in data if month_of(each.name) == month]
    manifests: dict[tuple[str, str], File] = {}
    for each in sorted(held, key=lambda each: each.modified):
        if _IS_MANIFEST.search(each.name) and month_of(each.name) == month:
            manifests[_report_of(each.name), os.path.basename(each.name)] = each  # the newest of each report
    chosen: list[str] = []
    for (report, _name), manifest in sorted(manifests.items()):
        here = [each for each in wanted if each.name.startswith(report)]
        chosen += _named(read(manifest.name), manifest.name, here or wanted)
    without: dict[str, list[File]] = {}
    for each in wanted:
        if not any(each.name.startswith(report) for report, _name in manifests):
            without.setdefault(_report_of(each.name), []).append(each)
    for files in without.values():
        latest = os.path.dirname(max(files, key=lambda each: each.modified).name)
        chosen += sorted(each.name for each in files if os.path.dirname(each.name) == latest)
    taken = set(chosen)
    passed_over = [
        PassedOver(each.name, "an older version" if month_of(each.name) == month else f"for {month_of(each.name) or 'no month'}")
        for each in sorted(data)
        if each.name not in taken
    ]
    return list(dict.fromkeys(chosen)), passed_over


def _report_of(name: str) -> str:
    """The folder of the report that a file belongs to, with a slash: everything before the period."""
    found = next(filter(None, (pattern.search(name) for pattern in _PERIODS)), None)
    above = name[: found.start()] if found else os.path.dirname(name)
    above = re.sub(r"(^|/)(?:meta)?data$", "", above)
    return f"{above}/" if above else ""


def _month(months: Sequence[str], period: str, today: date, source: str) -> str:
    if period:
        if period not in months and months != [""]:
            raise Refused(f"there is no report for {period}, only for {', '.join(filter(None, months))}", path=source)
        return period if period in months else ""
    complete = [month for month in months if month and month < today.strftime("%Y-%m")]
    return complete[-1] if complete else months[-1]


def _named(body: bytes, manifest: str, entries: Iterable[File]) -> list[str]:
    """The entries named in a manifest, in its order. Raises Refused if one is missing."""
    try:
        facts = json.loads(body)
        keys = [str(key) for key in facts.get("reportKeys") or facts.get("dataFiles") or []]
    except (ValueError, AttributeError):
        raise Refused("this is not a manifest of a cost report: it is not JSON", path=manifest) from None
    if not keys:
        raise Refused("this is not a manifest of a cost report: it does not name any files", path=manifest)
    there = {each.name: each for each in entries}
    return [_match(key, there, manifest) for key in keys]


def _match(key: str, there: dict[str, File], manifest: str) -> str:
    """A manifest has keys in the bucket. This may be a copy of part of it, so the longest common ending counts."""
    parts = re.sub(r"^s3://[^/]+/", "", key).split("/")
    for at in range(len(parts)):
        ending = "/".join(parts[at:])
        found = [name for name in there if name == ending or name.endswith(f"/{ending}")]
        if found:
            return max(found, key=lambda name: there[name].modified)
    raise Refused(f"the manifest names {parts[-1]}, which is not there", "Fetch the whole report.", path=manifest)
