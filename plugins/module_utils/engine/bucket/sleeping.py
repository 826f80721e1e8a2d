# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that sleep: in storage classes, and tiers of INTELLIGENT_TIERING, that cannot be read at once.

Falling asleep: archives start in STANDARD, so that every byte can be validated, and have a tag. A lifecycle rule of the bucket
moves objects with that tag a day later; keys, versions and checksums stay as in the manifest. A rule without a size leaves objects
below 128 KiB where they are (S3 user guide, "Transitioning objects"), which costs less than moving them; a rule with a size has to
include everything worth moving. A rule without the tag also puts to sleep what is read to find out about an archive.

Waking up: from a class, S3 provides a copy for some days; from a tier, the object itself comes back, and is moved there again when
it is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional

from ...common.errors import Asleep, ColdstoreError, Corrupt, Permanent, Refused
from ...common.stop import after_a_stop
from .objects import Store, Stored

TAG = "coldstore.ebs:class"
_SMALL = 128 * 1024  # bytes
CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
_TIERS = frozenset(["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])
# How long a thaw takes, by storage class (or tier of INTELLIGENT_TIERING) and retrieval tier: S3 user guide,
# "Archive retrieval options".
TAKES = {
    ("GLACIER", "Expedited"): "1 to 5 minutes",
    ("GLACIER", "Standard"): "3 to 5 hours",
    ("GLACIER", "Bulk"): "5 to 12 hours",
    ("DEEP_ARCHIVE", "Standard"): "12 hours",
    ("DEEP_ARCHIVE", "Bulk"): "48 hours",
    ("ARCHIVE_ACCESS", "Expedited"): "1 to 5 minutes",
    ("ARCHIVE_ACCESS", "Standard"): "3 to 5 hours",
    ("ARCHIVE_ACCESS", "Bulk"): "5 to 12 hours",
    ("DEEP_ARCHIVE_ACCESS", "Standard"): "12 hours",
    ("DEEP_ARCHIVE_ACCESS", "Bulk"): "48 hours",
}
ASLEEP = frozenset(storage_class for storage_class, _tier in TAKES)
MAY_SLEEP = ASLEEP | {"INTELLIGENT_TIERING"}  # judging by a listing, which does not tell tiers


class Sleeping(NamedTuple):
    """An object that has to be thawed. under_way: that was already requested. storage_class may be a tier of
    INTELLIGENT_TIERING."""

    key: str
    version: str
    size: int
    storage_class: str
    under_way: bool


def asleep(store: Store, objects: Iterable[tuple[str, str]]) -> list[Sleeping]:
    """Which of these (key, version) pairs cannot be read now. Raises Corrupt if one is missing."""
    found = []
    for key, version in objects:
        there = store.head(key, version)
        if there is None:
            raise Corrupt("the object is missing", "Look for another version of it, or another copy.", key=key)
        where = rests_in(there)
        if where:
            found.append(Sleeping(key, version, there.size, where, 'ongoing-request="true"' in there.thaw))
    return found


def rests_in(stored: Stored) -> str:
    """The storage class or tier in which it cannot be read now; '' if it can be."""
    if stored.archive_tier or stored.storage_class not in ASLEEP:
        return stored.archive_tier
    return "" if 'ongoing-request="false"' in stored.thaw else stored.storage_class


def takes(sleeping: Iterable[Sleeping], tier: str) -> str:
    """How long the slowest of these takes to thaw. Raises Refused if a storage class does not have the tier."""
    slowest = ""
    for each in sleeping:
        known = TAKES.get((each.storage_class, tier))
        if known is None:
            tiers = ", ".join(name for storage_class, name in TAKES if storage_class == each.storage_class)
            raise Refused(f"{each.storage_class} cannot be thawed with tier {tier!r}, only with {tiers}", key=each.key)
        slowest = max(slowest, known, key=_hours)
    return slowest


def wake(store: Store, sleeping: Iterable[Sleeping], tier: str, days: int) -> int:
    """Request the thaws that were not requested yet. Returns how many requests that took."""
    wanted = [each for each in sleeping if not each.under_way]
    return sum(_thaw(store, each.key, each.version, tier, None if each.storage_class in _TIERS else days) for each in wanted)


def wait(store: Store, sleeping: list[Sleeping], seconds: float, pause: float) -> list[Sleeping]:
    """Wait until everything is readable or the time is up. Returns what still sleeps. Raises Stopped on a stop."""
    end = store.clock.monotonic() + seconds
    with after_a_stop("The thaw continues in S3. Run again later to go on."):
        while sleeping and store.clock.monotonic() < end:
            store.clock.sleep(min(pause, max(0.0, end - store.clock.monotonic())), store.stop)
            sleeping = asleep(store, [(each.key, each.version) for each in sleeping])
    return sleeping


def _hours(text: str) -> float:
    words = text.split()
    numbers = [float(word) for word in words if word.isdigit()]
    return (numbers or [0.0])[-1] / (60 if "minutes" in text else 1)


def _thaw(store: Store, key: str, version: str, tier: str, days: Optional[int]) -> bool:
    """Ask S3 for a readable copy of an object in an archive class, for so many days. False if that was already requested.

    Without days, the object itself is moved back, as INTELLIGENT_TIERING does, which does not accept days.
    """
    request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
    if days is not None:
        request["Days"] = days
    arguments: dict[str, Any] = {"Key": key, "RestoreRequest": request}
    if version:
        arguments["VersionId"] = version
    try:
        store.call("restore_object", **arguments)
    except Permanent as error:
        if error.facts.get("code") == "RestoreAlreadyInProgress":
            return False
        raise
    return True


def sleeps(storage_class: str) -> bool:
    """Whether what is in it cannot be read at once."""
    return storage_class in ASLEEP


def check_rule(store: Store, prefix: str, storage_class: str) -> None:
    """Raises Refused unless a rule of the bucket moves our tagged archives to this class, after at least a day."""
    if not sleeps(storage_class):
        return
    if not any(_moves(rule, prefix, storage_class) for rule in rules(store)):
        raise Refused(
            f"the bucket has no lifecycle rule that moves objects tagged {TAG}={storage_class} there after a day or more",
            "Add one (docs/glacier.md), choose a class that can be read at once, such as GLACIER_IR, or do not validate.",
            bucket=store.bucket,
        )


def takes_along(store: Store, prefix: str) -> str:
    """A sentence about a rule that will also put manifests and indexes below the prefix to sleep; '' if there is none."""
    rule = _rule_without_tag(store, prefix)
    if not rule:
        return ""
    return (
        f"lifecycle rule {rule} of bucket {store.bucket} will put manifests and indexes to sleep as well, and then nothing is known"
        f" about an archive until they are thawed: limit the rule to the tag {TAG} (docs/glacier.md)"
    )


@contextmanager
def kept_awake(store: Store, key: str, advice: str = Asleep.advice) -> Iterator[None]:
    """The body reads something that should never sleep: a manifest, index, receipt or claim. If it does, the error names the
    rule."""
    try:
        yield
    except Asleep as error:
        rule = _rule_without_tag(store, key)
        who = f"Lifecycle rule {rule} of the bucket" if rule else "A lifecycle rule of the bucket"
        error.advice = f"{who} moved it there; limit the rule to the tag {TAG} (docs/glacier.md). {advice}"
        error.at(rule=rule or None)
        raise


def _rule_without_tag(store: Store, where: str) -> str:
    """The id of a rule without a tag that puts this key, or keys below this prefix, to sleep; '' if there is none."""
    try:
        found = rules(store)
    except ColdstoreError:
        return ""
    for rule in found:
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


def rules(store: Store) -> list[dict[str, Any]]:
    """The bucket's lifecycle rules, as S3 has them."""
    try:
        return list(store.call("get_bucket_lifecycle_configuration").get("Rules", []))
    except Permanent as error:
        if error.facts.get("code") == "NoSuchLifecycleConfiguration":
            return []
        raise
