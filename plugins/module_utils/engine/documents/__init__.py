# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents beside the archives: each is JSON, versioned, and says enough to be checked by itself."""
