# SPDX-License-Identifier: GPL-3.0-or-later
"""Large blocks are used again."""

import subprocess
import sys

from conftest import TREE

SCRIPT = """
import os
import resource
import threading
from ansible_collections.coldstore.ebs.plugins.module_utils.common.memory import reuse_large_blocks

assert not WANTED or reuse_large_blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
data = os.urandom(1 << 20)

def work():
    for _frame in range(100):
        stored, raw = data * 5, data * 4

for _thread in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(wanted):
    script = SCRIPT.replace("WANTED", str(wanted))
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(TREE)}, check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_blocks_of_frames_are_not_mapped_afresh_each_time():
    """The kernel zeroes pages for the first frames, and not again for those of later threads."""
    assert faults(True) * 2 < faults(False)
