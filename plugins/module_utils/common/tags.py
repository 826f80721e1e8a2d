# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS accepts as a tag.

EC2 accepts any character, but control characters cannot be read back, because its replies are XML. S3 accepts letters,
separators, numbers and some signs. Both count UTF-16 code units, of which some characters take two (EC2 user guide, "Tag your
Amazon EC2 resources"; S3 user guide, "Categorizing your objects using tags"; S3 API reference, S3Tag).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from itertools import accumulate, takewhile

from .errors import Refused

_KEY, _VALUE = 128, 256  # UTF-16 code units
_MOST = 45  # of EC2's 50 a resource; the rest is ours
_S3_SIGNS = frozenset("_.:/=+-@")  # ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$


def fits_s3(key: str, value: str) -> bool:
    """Whether an object can have this tag."""
    return _fits(key, value) and all(unicodedata.category(each)[0] in "LZN" or each in _S3_SIGNS for each in key + value)


def check(tags: Mapping[str, str]) -> None:
    """Raises Refused for tags that EC2 does not accept, or that cannot be read back."""
    if len(tags) > _MOST:
        raise Refused(f"there are {len(tags)} tags, but only room for {_MOST}", "Leave some out.")
    for key, value in tags.items():
        if not _fits(key, value) or readable(key) != key or readable(value) != value:
            raise Refused(
                f"{key!r}: {value!r} is not a tag that EC2 accepts",
                f"A key has 1 to {_KEY} characters and does not begin with aws:, a value has up to {_VALUE}; both are one line.",
            )


def readable(text: str) -> str:
    """The text as the value of a tag: on one line, and cut to fit."""
    clean = one_line(text)
    ends = takewhile(lambda end: end <= _VALUE, accumulate(map(_places, clean)))
    return clean[: sum(1 for _end in ends)]


def one_line(text: str) -> str:
    """The text with spaces instead of control characters, and of surrogates, which are not characters."""
    return "".join(" " if unicodedata.category(each) in ("Cc", "Cs") else each for each in text)


def _fits(key: str, value: str) -> bool:
    return 1 <= _places(key) <= _KEY and _places(value) <= _VALUE and not key.lower().startswith("aws:")


def _places(text: str) -> int:
    return len(text) + sum(each > "\uffff" for each in text)
