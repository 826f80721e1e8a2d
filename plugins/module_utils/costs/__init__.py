# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knows money: what a bill says of snapshots, what things cost, and what is worth doing.

located = locate.locate(...)      which files make up one billing period
report  = reports.read(...)       what they say of snapshots, and what else is on them
chains  = lineage.chains(...)     joined with what EC2 knows: each volume's snapshots, oldest first
plans   = advice.advise(...)      what each chain would cost anywhere else, and what to do
sums, assumed                     what all of it comes to, and what the figures stand on
terminal, page, output            for people, and for programs
"""
