# SPDX-License-Identifier: GPL-3.0-or-later
"""hashlib as a host in FIPS mode has it, or stricter: SHA-2 and nothing else, whatever it is said to be used for; and it says so.

Python runs this file at its start where its directory is in PYTHONPATH.
"""

import _blake2
import _hashlib
import hashlib

SHA2 = {"sha224", "sha256", "sha384", "sha512"}
_new, _openssl_new = hashlib.new, _hashlib.new


def refuse(*_unused, **_also):
    raise ValueError("[digital envelope routines] unsupported")


def only_sha2(new):
    return lambda name, *rest, **options: (new if name.lower().replace("-", "") in SHA2 else refuse)(name, *rest, **options)


for name in {*hashlib.algorithms_available, *hashlib.algorithms_guaranteed} - SHA2:
    if hasattr(hashlib, name):
        setattr(hashlib, name, refuse)
    if hasattr(_hashlib, f"openssl_{name}"):
        setattr(_hashlib, f"openssl_{name}", refuse)
_blake2.blake2b = _blake2.blake2s = refuse
_hashlib.get_fips_mode = lambda: 1
hashlib.new, _hashlib.new = only_sha2(_new), only_sha2(_openssl_new)
