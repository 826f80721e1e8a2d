# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies beside archives and says what they are. Formats: docs/formats.md.

document  JSON in one spelling, with a version and its own SHA-256 (document.py); manifests, receipts, claims and journals are such
index     an archive's frames and members, line by line, compressed, of any length (index.py)
manifest  which archives a snapshot became, and how to make the disk again; it is written last, once (manifest.py)
receipt   what was compared with what, and whether it was equal; they are only ever added (receipt.py)
claim     which lane works on a snapshot, and until when; written on conditions alone (claims.py)

Any changed byte of a document is seen, and a later version is refused by name. Nothing is decided by a clock of this host but
when to give up a claim of its own. Not promised: that a document is true. A manifest is believed once a receipt proves it, a
receipt only for the manifest whose ETag it names.
"""
