# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that works on a bucket."""

    DOCUMENTATION = r"""
options:
  bucket:
    description: The bucket archives are kept in.
    type: str
    required: true
  prefix:
    description: The beginning of all keys; either empty, or ending in a slash.
    type: str
    default: ""
  bucket_owner:
    description:
      - The account that must own the bucket. Every call names it, and S3 refuses it for any other bucket.
      - The default is the account of the credentials.
    type: str
  sse:
    description: Server-side encryption of what is written. The default is the bucket's own setting.
    type: str
    choices: [AES256, "aws:kms"]
  sse_kms_key_id:
    description: The KMS key for O(sse=aws:kms). The default is the account's key for S3.
    type: str
requirements:
  - Python 3.9 or newer on the host the module runs on, with zstandard, lz4, blake3, awscrt and botocore 1.36.0 or newer
"""

    CLAIM = r"""
options:
  claim:
    description:
      - The claim this lane holds on the snapshot, as M(coldstore.ebs.snapshot_claim) returned it.
      - The module renews it while it works. If the claim is lost, the module stops and publishes nothing.
      - Without a claim, nothing keeps another lane from working on the same snapshot.
    type: str
"""

    TAG = r"""
options:
  tag:
    description: The queue tag on snapshots.
    type: str
    default: snap-to-s3
"""
