# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments that modules share; doc_fragments/bucket.py describes them."""

from __future__ import annotations

BUCKET = {
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "bucket_owner": {"type": "str"},
    "sse": {"type": "str", "choices": ["AES256", "aws:kms"]},
    "sse_kms_key_id": {"type": "str"},
}
CLAIM = {"claim": {"type": "str"}}
TAG = {"tag": {"type": "str", "default": "snap-to-s3"}}
