# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version this is, as documents and requests say it."""

VERSION = "1.0.0"
BY = f"coldstore.ebs {VERSION}"
