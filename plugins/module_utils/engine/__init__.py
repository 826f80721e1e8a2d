# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes and objects: archiving, comparing and restoring. It knows neither Ansible nor EC2; clients come in as arguments.

source     what can be read in chunks: a filesystem as a tar, a device, an archive            sources, archives
target     what decoded bytes can be written to: a directory, a device or file                targets
chunk      a fixed range of a source's bytes; a frame is one chunk, compressed                codecs
row        neighbouring chunks that are fetched as one request                                sources/rows
bucket     objects, uploads, what sleeps, and where everything lies                           bucket
documents  manifest, receipt, claim, index: what is known of archives without reading them    documents

Three loops, one for each verb:

    archive.py   source.plan -> read -> compress -> digest -> parts -> index -> manifest, last
    compare.py   archive.plan beside source.plan -> fetch rows -> prove, decode -> compare -> differences
    copy.py      source.plan -> fetch rows -> prove, decode -> target.write -> target.finish

validate.py runs compare.py for all archives of a snapshot and writes a receipt; settle.py ends a claim with what the bucket proves.

Memory is bounded by chunks and rows in flight, whatever the size of a source. What grows with the number of files is on disk
(spool.py). Only pipeline.py owns threads. Not promised: that a source does not change while it is read (it raises an error if it
notices), and that an archive can be read without the library of its codec.
"""
