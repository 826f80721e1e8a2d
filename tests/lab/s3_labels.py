# SPDX-License-Identifier: GPL-3.0-or-later
r"""What S3 refuses in tags and metadata, as its documentation has it.

Tags (API reference, S3Tag; user guide, "Categorizing your objects using tags"): ten an object, keys of 1 to 128 and values of
0 to 256 places in UTF-16, of ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$; keys that begin with aws: are AWS's own. Metadata (user guide,
"Working with object metadata"): 2 KB, names and values together.
"""

import unicodedata
from urllib.parse import parse_qsl


def wrong_tags(tagging):
    """The code of the error that a Tagging header gets, or None."""
    pairs = parse_qsl(tagging, keep_blank_values=True)
    if len(pairs) > 10:
        return "BadRequest"
    if len({key for key, _value in pairs}) != len(pairs):
        return "InvalidArgument"
    for key, value in pairs:
        if not 1 <= _places(key) <= 128 or _places(value) > 256 or key.startswith("aws:") or not all(map(_allowed, key + value)):
            return "InvalidTag"
    return None


def wrong_metadata(metadata):
    """The code of the error that {name: value} gets, or None."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    return "MetadataTooLarge" if size > 2048 else None


def _places(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _allowed(character):
    return unicodedata.category(character)[0] in "LZN" or character in "_.:/=+-@"
