# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a source becomes an archive; ../archive.py is the loop.

frame    one chunk, compressed, with a digest of what is stored (frames.py)
part     whole frames, one after another, that are sent as one request
object   up to 10,000 parts; an archive has as many objects as it needs
upload   what the objects are until all of them are completed (upload.py)
journal  which frames each finished part holds, and under which claim (journal.py)

    resume    what an earlier run left, and S3 still has, is taken over; the rest of it is removed
    plan      chunks that the journal has go into the index; the others are read, compressed and hashed, several at a time
    gather    frames are put into parts, and parts sent, several at a time, each with a CRC that S3 compares
    record    what is finished is written down, every 256 MiB
    publish   the index, then the objects; then the manifest, by the caller, and the journal goes

The frames of a source are the same, and so are its parts, as long as its plan and the recipe are; so what is made twice is
equal, and adopted. Memory is bounded by the frames and parts in flight. Not promised: that an archive without a manifest is
one, whatever lies under its keys; that a source that changed while it was read gives an archive of one moment; that parts
survive a lifecycle rule that aborts uploads: they are sent again then.
"""
