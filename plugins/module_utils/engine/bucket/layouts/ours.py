# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own layout: every key is a pure function of facts that never change.

<prefix><volume-id>/<UTC start> <snapshot-id>[.<partition>].<tar|img>.<lz4|zst>   an archive, or its first object
....002                                                                        its second object, and so on
....index.zst                                                                  its index
....journal/<first part, 5 digits>                                             while its upload is unfinished
<prefix><volume-id>/<UTC start> <snapshot-id>.manifest.json
<prefix><volume-id>/<UTC start> <snapshot-id>.receipt.<UTC time>.<level>.json
<prefix>claims/<snapshot-id>.json
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Optional

from ....common.errors import Refused
from ... import origin as origins
from ...codecs import SUFFIXES
from ...origin import Origin
from . import Named

_FORMATS = {"tar": "tar", "image": "img"}
_FORMS = {suffix: name for name, suffix in _FORMATS.items()}
_CODECS = {suffix: name for name, suffix in SUFFIXES.items()}
_FURTHER = r"\.(?:00[2-9]|0[1-9]\d|[1-9]\d{2,})"  # the end of the key of an object but the first
_ARCHIVE_END = re.compile(rf"(?:\.\d+)?\.(?:tar|img)\.(?:lz4|zst)(?:{_FURTHER})?\Z")
_KEY = re.compile(
    r"(?P<volume>vol-[^/]+)/(?P<start>[^ /]+) (?P<snapshot>snap-[^ ./]+)"
    r"(?:(?:\.(?P<part>\d+))?\.(?P<form>tar|img)\.(?P<codec>lz4|zst)"
    rf"(?:(?P<i>\.index\.zst)|(?P<j>\.journal/\d+)|(?P<a>(?:{_FURTHER})?))"
    r"|(?P<m>\.manifest\.json)|(?P<r>\.receipt\.[^/]+\.json))"
)
_KINDS = {"i": "index", "j": "journal", "a": "archive", "m": "manifest", "r": "receipt"}


def base(prefix: str, origin: Origin) -> str:
    """What all keys of an origin begin with."""
    return _checked(prefix) + origins.base(origin)


def archive_key(prefix: str, origin: Origin, partition: Optional[int], form: str, codec: str) -> str:
    part = "" if partition is None else f".{partition}"
    return f"{base(prefix, origin)}{part}.{_FORMATS[form]}.{SUFFIXES[codec]}"


def object_key(archive: str, number: int) -> str:
    """The key of one of an archive's objects, from 1; the first has the archive's own."""
    return archive if number == 1 else f"{archive}.{number:03d}"


def is_object_of(key: str, archive: str) -> bool:
    return key == archive or (key.startswith(archive) and re.fullmatch(_FURTHER, key[len(archive) :]) is not None)


def manifest_key(prefix: str, origin: Origin) -> str:
    return base(prefix, origin) + ".manifest.json"


def receipt_key(prefix: str, origin: Origin, when: datetime, level: str) -> str:
    return f"{base(prefix, origin)}.receipt.{when:%Y%m%dT%H%M%S.%fZ}.{level}.json"


def claim_key(prefix: str, name: str) -> str:
    """name: the origin's, which is a snapshot's id."""
    return f"{_checked(prefix)}claims/{name}.json"


def manifest_of(archive: str) -> str:
    """The key of the manifest that an archive's key belongs to."""
    return _ARCHIVE_END.sub("", archive) + ".manifest.json"


def parse(rest: str) -> Optional[Named]:
    """What a key says, without its prefix."""
    match = _KEY.fullmatch(rest)
    if not match:
        return None
    facts = (
        "ours",
        _KINDS[next(name for name in _KINDS if match[name] is not None)],
        match["volume"],
        match["start"],
        match["snapshot"],
    )
    if match["form"] is None:
        return Named(*facts)
    number = None if match["part"] is None else int(match["part"])
    found = Named(*facts, number, _FORMS[match["form"]], _CODECS[match["codec"]])
    return found._replace(object=int(match["a"][1:])) if match["a"] else found


def _checked(prefix: str) -> str:
    """Raises Refused for a prefix that would run into what follows it."""
    if prefix and not prefix.endswith("/"):
        raise Refused(f"the prefix {prefix!r} does not end in a slash")
    return prefix
