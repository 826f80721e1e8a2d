# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping glibc from giving every large block back to the kernel.

By default glibc maps a block of some megabytes afresh for each frame and unmaps it again, and the kernel zeroes every page each
time. That is a quarter of the time spent on fetching and decoding. With this, blocks of up to 32 MiB are kept and reused, in one
arena for all threads, so no more is kept than was once in use at the same time.
"""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)
_LARGEST = 32 * 1024 * 1024  # bytes: the largest threshold that older glibc takes
_NEVER = 2**31 - 1


@cache
def reuse_large_blocks() -> bool:
    """Do it once per process. False if the C library has no mallopt (musl), which is not an error."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(_M_ARENA_MAX, 1), mallopt(_M_MMAP_THRESHOLD, _LARGEST), mallopt(_M_TRIM_THRESHOLD, _NEVER)]
    return done == [1, 1, 1]
