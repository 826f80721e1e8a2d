# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""List prices, for when the AWS price API cannot be asked. Dollars; S3's and EBS's GB is 2**30 bytes.

Sources: https://aws.amazon.com/ebs/pricing, https://aws.amazon.com/s3/pricing, https://aws.amazon.com/kms/pricing. A region
lists what is known to differ from us-east-1. Its other prices are those of us-east-1, and reported as such.
"""

from __future__ import annotations

from typing import Any

AS_OF = "2026-11-01"
CURRENCY = "USD"
BASE = "us-east-1"

# storage, retrieval: a GB (month). put, get: 1,000 requests. minimum_days: what is paid for at least. overhead_*: bytes an
# object adds, in its class and in STANDARD. minimum_bytes: smaller objects are billed as this.
US_EAST_1: dict[str, Any] = {
    "snapshot": 0.05,
    "snapshot_archive": 0.0125,
    "snapshot_archive_retrieval": 0.03,
    "snapshot_archive_minimum_days": 90,
    "volume": 0.08,  # gp3
    "direct_list": 0.0006,  # 1,000 requests, as the next two
    "direct_get": 0.003,
    "kms": 0.003,
    "classes": {
        "STANDARD": {"storage": 0.023, "put": 0.005, "get": 0.0004, "minimum_days": 0, "retrieval": {"": 0.0}},
        "STANDARD_IA": {
            "storage": 0.0125, "put": 0.01, "get": 0.001, "minimum_days": 30, "retrieval": {"": 0.01}, "minimum_bytes": 128 * 1024,
        },
        "ONEZONE_IA": {
            "storage": 0.01, "put": 0.01, "get": 0.001, "minimum_days": 30, "retrieval": {"": 0.01}, "minimum_bytes": 128 * 1024,
        },
        "GLACIER_IR": {
            "storage": 0.004, "put": 0.02, "get": 0.01, "minimum_days": 90, "retrieval": {"": 0.03}, "minimum_bytes": 128 * 1024,
        },
        "GLACIER": {
            "storage": 0.0036, "put": 0.03, "get": 0.0004, "minimum_days": 90, "overhead_class": 32 * 1024,
            "overhead_standard": 8 * 1024,
            "retrieval": {"Standard": 0.01, "Bulk": 0.0, "Expedited": 0.03},
            "thaw": {"Standard": 0.05, "Bulk": 0.0, "Expedited": 10.0},
        },
        "DEEP_ARCHIVE": {
            "storage": 0.00099, "put": 0.05, "get": 0.0004, "minimum_days": 180, "overhead_class": 32 * 1024,
            "overhead_standard": 8 * 1024,
            "retrieval": {"Standard": 0.02, "Bulk": 0.0025},
            "thaw": {"Standard": 0.10, "Bulk": 0.025},
        },
    },
}  # fmt: skip

# The sleeping tiers of INTELLIGENT_TIERING: retrievals are free, except the fast one.
TIERS: dict[str, Any] = {
    "ARCHIVE_ACCESS": {
        "retrieval": {"Standard": 0.0, "Bulk": 0.0, "Expedited": 0.03},
        "thaw": {"Standard": 0.0, "Bulk": 0.0, "Expedited": 10.0},
    },
    "DEEP_ARCHIVE_ACCESS": {"retrieval": {"Standard": 0.0, "Bulk": 0.0}, "thaw": {"Standard": 0.0, "Bulk": 0.0}},
}

# Hours until the first byte of what sleeps is back, by the tier it is asked for with; every other class answers at once. What is
# within minutes (Expedited) is for single objects, and not promised. S3 user guide, "Understanding archive retrieval options";
# EBS user guide, "Restore an archived snapshot", which takes up to 72.
HOURS: dict[str, dict[str, float]] = {
    "GLACIER": {"Standard": 5, "Bulk": 12},
    "DEEP_ARCHIVE": {"Standard": 12, "Bulk": 48},
    "EBS archive": {"": 72},
}

REGIONS: dict[str, dict[str, Any]] = {
    "us-east-1": {},
    "us-west-1": {"snapshot": 0.055},
    "eu-west-2": {"snapshot": 0.053, "snapshot_archive": 0.01325},
    "ap-southeast-2": {"snapshot": 0.055},
    "af-south-1": {"snapshot": 0.0595},
    "sa-east-1": {"snapshot": 0.068},
}
