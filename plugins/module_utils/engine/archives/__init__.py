# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a bucket, read by chunk like a disk."""
