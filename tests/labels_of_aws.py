# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags that S3 takes and tags that it refuses, by what its documentation says of characters, lengths and keys."""

from urllib.parse import urlencode

TAKEN = [
    "plain", "", " ", "a b", "+-=._:/@", "größe", "大きさ", "Ω", "ª", "ǅ", "ʰ",  # \p{L}: Lo, Lu, Ll, Lt, Lm
    "٣", "Ⅷ", "½", "²",  # \p{N}: Nd, Nl, No
    "a\u00a0b", "a\u3000b", "a\u2028b", "a\u2029b",  # \p{Z}: no-break and wide spaces, separators of lines and paragraphs
    "𝒳" * 128, "v" * 256,
]  # fmt: skip
REFUSED = [
    "a\tb", "a\nb", "a\rb", "a\x00b", "a\x1fb", "a\x7fb", "a\x85b", "a\u200bb", "a\ufeffb",  # Cc, Cf
    "a?b", "a,b", "(a)", "a&b", 'a"b', "a'b", "a%b", "a\\b", "a*b", "a$b", "a~b", "a–b", "§", "€",  # punctuation and symbols
    "☃", "😀", "a\u0308", "\ue000",  # symbols, a combining mark, private use
    "v" * 257, "𝒳" * 129,
]  # fmt: skip
KEYS_TAKEN = ["k", "k" * 128, "𝒳" * 64, "my:aws:key"]
KEYS_REFUSED = ["k" * 129, "𝒳" * 65, "aws:own", "a?", "a\tb"]

TAKEN_IN_TAGS = [
    urlencode({f"k{number}": value for number, value in enumerate(TAKEN[at : at + 10])}) for at in range(0, len(TAKEN), 10)
] + [urlencode(dict.fromkeys(KEYS_TAKEN, "v"))]
REFUSED_IN_TAGS = [
    *((urlencode({"k": value}), "InvalidTag") for value in REFUSED),
    *((urlencode({key: "v"}), "InvalidTag") for key in KEYS_REFUSED),
    ("k=1&k=2", "InvalidArgument"),
    (urlencode({f"k{number}": "v" for number in range(11)}), "BadRequest"),
]
