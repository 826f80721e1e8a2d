# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes and objects: what becomes an archive, what is compared with one, what comes back. No Ansible and no EC2; clients come in
as arguments.

source     what can be read in chunks: a filesystem as a tar, a device, an archive            sources, archives
target     what decoded bytes can be written to: a directory, a device or file                targets
chunk      a fixed range of a source's bytes; a frame is one chunk, compressed                codecs
row        neighbouring chunks that are fetched as one request                                sources/rows
bucket     objects, uploads, what sleeps, and where everything lies                           bucket
documents  manifest, receipt, claim, index: what is known of archives without reading them    documents

Three loops, one a verb:

    archive.py   source.plan -> read -> compress -> digest -> parts -> index -> manifest, last
    compare.py   archive.plan beside source.plan -> fetch rows -> prove, decode -> compare -> differences
    copy.py      source.plan -> fetch rows -> prove, decode -> target.write -> target.finish

validate.py is compare.py for all archives of a snapshot, with a receipt; settle.py is what the bucket proves of a claim.

Memory is bounded by chunks and rows in flight, whatever a source's size; what grows with the number of files is on disk
(spool.py). Threads belong to pipeline.py alone. Not promised: that a source does not change while it is read (it raises an error
where it sees that it did), and that anything can be read of an archive without the library of its codec.
"""
