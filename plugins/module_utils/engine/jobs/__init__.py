# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: source -> pipeline -> target, each one function read from top to bottom."""
