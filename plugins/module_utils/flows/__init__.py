# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module does, from its arguments to its result: one file a flow, named after what it does.

    job       what a flow is given: arguments, clients, a stop. Who and where we are, and the claim, are asked for once
    lane      the claim that a flow works under, renewed while it works; FREE for somebody who uses a module by itself
    volume    temporary volumes: attached, removed, kept
    disk      what the kernel has of a volume: its partitions, mounted or not, as sources
    subject   what a bucket has of a snapshot; a choice of it is what a restore reads

Those that work on a volume are nested contexts, from the claim inwards:

    with claimed(job) as lane, gone_after_a_stop(job, lane, volume_id):
        there = disk.of_snapshot(job, snapshot)
        with disk.opened(job, lane, there, ...) as opened, disk.sections(opened.sources, chunk) as sections:
            archive_snapshot(job.store, snapshot, opened.facts, form, sections, recipe, lane)

However such a body ends, sources are closed, and what was mounted is unmounted. After a stop, which no further task survives, the
volume is removed and then the claim given back. A lane that lost its claim touches nothing: all of it is its successor's.

Not promised: that a flow that failed has removed its volume or given its claim back. The role does that in tasks of its own, with
the reason. Nor that a result is proof: only a receipt in the bucket is.
"""
