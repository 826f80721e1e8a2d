# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping glibc from giving every large block back to the kernel.

By default a block of some megabytes is mapped afresh for each frame and unmapped after it, and the kernel zeroes every
page of it again: a quarter of the time of fetching and decoding. Blocks of up to 32 MiB are kept and used again
instead, in one arena for all threads, so what is kept is what was in use at a time.
"""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)
_LARGEST = 32 * 1024 * 1024  # bytes: the largest threshold that older glibc takes
_NEVER = 2**31 - 1


@cache
def reuse_large_blocks() -> bool:
    """Once a process; False where the C library has no mallopt (musl), which is no error."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(_M_ARENA_MAX, 1), mallopt(_M_MMAP_THRESHOLD, _LARGEST), mallopt(_M_TRIM_THRESHOLD, _NEVER)]
    return done == [1, 1, 1]
