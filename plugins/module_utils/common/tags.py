# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS takes as a tag.

EC2 takes any character, but what its replies cannot hold (XML has no control characters) nobody could read again. S3 takes
letters, separators, numbers and some signs, and both count places in UTF-16, of which some characters take two (EC2 user guide,
"Tag your Amazon EC2 resources"; S3 user guide, "Categorizing your objects using tags"; S3 API reference, S3Tag).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from itertools import accumulate, takewhile

from .errors import Refused

_KEY, _VALUE = 128, 256  # places
_MOST = 45  # of EC2's 50 a resource; the rest is ours
_S3_SIGNS = frozenset("_.:/=+-@")  # ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$


def fits_s3(key: str, value: str) -> bool:
    """Whether an object can have this tag."""
    return _fits(key, value) and all(unicodedata.category(each)[0] in "LZN" or each in _S3_SIGNS for each in key + value)


def check(tags: Mapping[str, str]) -> None:
    """Raises Refused for tags that EC2 does not take, or that nobody could read again."""
    if len(tags) > _MOST:
        raise Refused(f"{len(tags)} tags are more than the {_MOST} that there is room for", "Leave some out.")
    for key, value in tags.items():
        if not _fits(key, value) or readable(key) != key or readable(value) != value:
            raise Refused(
                f"{key!r}: {value!r} is no tag that EC2 takes",
                f"A key has 1 to {_KEY} characters and does not begin with aws:, a value has up to {_VALUE}, all in one line.",
            )


def readable(text: str) -> str:
    """The text as the value of a tag: in one line, and cut."""
    clean = one_line(text)
    ends = takewhile(lambda end: end <= _VALUE, accumulate(map(_places, clean)))
    return clean[: sum(1 for _end in ends)]


def one_line(text: str) -> str:
    """With spaces for control characters and for surrogates, which are no characters."""
    return "".join(" " if unicodedata.category(each) in ("Cc", "Cs") else each for each in text)


def _fits(key: str, value: str) -> bool:
    return 1 <= _places(key) <= _KEY and _places(value) <= _VALUE and not key.lower().startswith("aws:")


def _places(text: str) -> int:
    return len(text) + sum(each > "\uffff" for each in text)
