# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that are to sleep begin in STANDARD, so that every byte can be validated, and carry a tag.

A lifecycle rule of the bucket moves what carries it, a day later; keys, versions and checksums stay as the manifest says. A
rule that says nothing of sizes leaves objects below 128 KiB where they are (S3 user guide, "Transitioning objects"), which costs
less than moving them; one with a size of its own has to include all that is worth moving.

A rule of somebody's without that tag puts to sleep what is read to know what an archive is, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...common.errors import Asleep, ColdstoreError, Refused
from .store import Store
from .thaw import ASLEEP

TAG = "coldstore.ebs:class"
_SMALL = 128 * 1024  # bytes
CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")


def sleeps(storage_class: str) -> bool:
    """Whether what is in it cannot be read at once."""
    return storage_class in ASLEEP


def check_rule(store: Store, prefix: str, storage_class: str) -> None:
    """Raise Refused unless a rule of the bucket moves our tagged archives to this class, and not on their first day."""
    if not sleeps(storage_class):
        return
    if not any(_moves(rule, prefix, storage_class) for rule in store.lifecycle()):
        raise Refused(
            f"the bucket has no lifecycle rule that moves objects tagged {TAG}={storage_class} there after a day or more",
            "Add it (docs/glacier.md), choose a class that can be read at once, such as GLACIER_IR, or do not validate.",
            bucket=store.bucket,
        )


def takes_along(store: Store, prefix: str) -> str:
    """In a sentence, the rule that will put manifests and indexes below the prefix to sleep as well; '' if there is none."""
    rule = _rule_without_tag(store, prefix)
    if not rule:
        return ""
    return (
        f"lifecycle rule {rule} of bucket {store.bucket} will put manifests and indexes to sleep as well, and then nothing is known"
        f" of an archive before they are thawed: limit it to the tag {TAG} (docs/glacier.md)"
    )


@contextmanager
def kept_awake(store: Store, key: str, advice: str = Asleep.advice) -> Iterator[None]:
    """The body reads what should never sleep: a manifest, an index, a receipt, a claim. If it does, the error names the rule."""
    try:
        yield
    except Asleep as error:
        rule = _rule_without_tag(store, key)
        who = f"Lifecycle rule {rule} of the bucket" if rule else "A lifecycle rule of the bucket"
        error.advice = f"{who} moved it there: limit that to the tag {TAG} (docs/glacier.md). {advice}"
        error.at(rule=rule or None)
        raise


def _rule_without_tag(store: Store, where: str) -> str:
    """The id of a rule that puts this key, or keys below this prefix, to sleep without a tag; '' if none is known to."""
    try:
        rules = store.lifecycle()
    except ColdstoreError:
        return ""
    for rule in rules:
        found = rule.get("Filter", {})
        both = found.get("And", {})
        prefix = rule.get("Prefix") or found.get("Prefix") or both.get("Prefix", "")
        classes = {each.get("StorageClass", "") for each in rule.get("Transitions", [])}
        meant = not found.get("Tag") and not both.get("Tags") and (where.startswith(prefix) or prefix.startswith(where))
        if rule.get("Status") == "Enabled" and meant and classes & ASLEEP:
            return str(rule.get("ID", ""))
    return ""


def _moves(rule: Mapping[str, Any], prefix: str, storage_class: str) -> bool:
    found = rule.get("Filter", {})
    both = found.get("And", {})
    tags = [found["Tag"]] if "Tag" in found else both.get("Tags", [])
    return (
        rule.get("Status") == "Enabled"
        and tags == [{"Key": TAG, "Value": storage_class}]
        and prefix.startswith(both.get("Prefix", ""))
        and int(both.get("ObjectSizeGreaterThan", 0)) <= _SMALL
        and "ObjectSizeLessThan" not in both
        and any(each.get("StorageClass") == storage_class and each.get("Days", 0) >= 1 for each in rule.get("Transitions", []))
    )
