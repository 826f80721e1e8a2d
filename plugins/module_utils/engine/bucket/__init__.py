# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of one bucket: reading, writing, listing, layouts, and the classes that sleep."""
