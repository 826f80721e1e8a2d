# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bucket, by an S3 client that comes in as an argument.

object    bytes under a key, with a CRC64NVME of all of them (objects.py, checksums.py)
upload    an object that is written in parts (uploads.py)
layout    what a key says, of ours and of other tools (layouts/)
listing   the snapshots in it, from keys and manifests; what its bytes are is the census, members by path are a search
sleeping  objects in classes and tiers that cannot be read at once: what puts them there, and what wakes them
probe     whether its server does what all of this stands on

Whatever is written carries a checksum and a condition: S3 compares the one, and nothing is replaced that was not named by its
ETag. Every call names the bucket's owner, is tried again where that may help, with a limit, and fails with call, key and
request id. Not promised: that a listing is of one moment, or that what it shows can be read; and servers other than AWS keep to
it as far as the probe finds.
"""
