# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of stored frames: BLAKE3, which is four times as fast as SHA-256, or SHA-256 if a host may use nothing else.

The index names the digest of its archive; readers accept both. b3sum and sha256sum compute the same digests.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Callable

from ..common.errors import Refused, Unfit

DIGESTS = ("blake3", "sha256")


def fit(digest: str) -> str:
    """The digest to write if this one is requested: in FIPS mode it is always SHA-256. Raises Refused for an unknown one."""
    if digest not in DIGESTS:
        raise Refused(f"digest {digest!r} is unknown; it has to be one of {', '.join(DIGESTS)}")
    return "sha256" if _fips() else digest


def hasher(digest: str) -> Callable[..., Any]:
    """The equivalent of hashlib.sha256 for this digest. Raises Refused for an unknown one, Unfit if its library is missing."""
    if digest == "sha256":
        return hashlib.sha256
    if digest != "blake3":
        raise Refused(f"the archive has digests of an unknown kind, {digest!r}", "Update coldstore.ebs.")
    try:
        from blake3 import blake3
    except ImportError as error:
        raise Unfit("the Python library blake3 is missing", "The role coldstore.ebs.worker installs it.") from error
    made: Callable[..., Any] = blake3
    return made


def _fips() -> bool:
    """Whether the kernel, or at least OpenSSL, is in FIPS mode."""
    import _hashlib

    kernel = Path("/proc/sys/crypto/fips_enabled")
    asked: Callable[[], int] = getattr(_hashlib, "get_fips_mode", lambda: 0)
    return bool(asked()) or (kernel.exists() and kernel.read_text().strip() == "1")
