# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of very many extents, as a database leaves it that punches holes into its pages; on a filesystem with blocks of 1 KiB.

python extents.py make ROOT EXTENTS   1 KiB of data and a hole of 1 KiB, over and over
python extents.py plan ROOT           lay it out, as archiving and validating do
python extents.py copy ROOT TARGET    plan it, read it, and restore it from what was read
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "tree"))

from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget


def make(root, extents):
    with open(root / "pages", "wb", buffering=0) as file:
        for number in range(extents):
            os.pwrite(file.fileno(), b"page" * 256, number * 2048)
        file.truncate(extents * 2048)


def main():
    verb, root, *more = sys.argv[1:]
    if verb == "make":
        make(Path(root), int(more[0]))
        return
    source = TarSource(root)
    if verb == "plan":
        print(sum(1 for _chunk in source.plan()), "chunks")
        return
    target = DirectoryTarget(more[0])
    try:
        for chunk in source.plan():
            target.write(chunk.offset, source.read(chunk))
        target.finish()
    finally:
        target.close()


if __name__ == "__main__":
    main()
