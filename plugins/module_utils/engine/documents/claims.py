# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exclusive right of one lane to one snapshot: one S3 object, only written conditionally.

    take     IfNoneMatch: * if there is none; IfMatch if it is free, failed before, or has expired
    renew    IfMatch: a lane that has lost the claim finds out, and has to stop
    settle   IfMatch: ends it with a result; release gives it back

A claim has expired when it was last written longer ago than its lease, both by the server's clock: a host with a wrong clock
neither loses claims nor steals them. The holder gives up earlier, by its own monotonic clock.
"""

from __future__ import annotations

import secrets
import shlex
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable, NamedTuple, Optional

from ...common.errors import Corrupt, Lost, Refused, Transient, Unfit
from ...common.lane import Holder, Lane
from ...common.stop import Stop
from .. import origin as origins
from ..bucket.layouts import ours
from ..bucket.objects import Content, Store
from ..bucket.sleeping import kept_awake
from ..origin import Origin
from ..pipeline import ordered_map
from . import document

_VERSION = 1
RESULTS = ("migrated", "validated", "failed")
_SHAPE = {
    "snapshot": origins.SHAPE, "owner": str, "run": str, "lease": (int, float), "state": str, "result": str, "reason": str,
    "attempts": int, "token": str,
}  # fmt: skip
_LOOKS = 16  # claims that are read at a time
# What can be claimed again after it was settled: a retagged failure, and what was migrated but not validated.
REDO = {"migrate": ("failed",), "validate": ("migrated", "validated"), "drill": RESULTS}
_FREE: dict[str, Any] = {"state": "free", "result": "", "run": "", "reason": "", "attempts": 0, "before": {}}
_GUEST = "Another lane has it, or may have it. What was made under it is left as it is."
_Unusable = (Corrupt, Refused)  # the object is not a claim, or one of a later version: somebody has to look at it
_MARGIN = 0.25  # of the lease, before its end, the holder considers a claim it could not renew as lost


@dataclass(frozen=True)
class Claim:
    """A claim that this lane holds. Renewing, settling and releasing return a new one."""

    store: Store
    key: str
    body: Mapping[str, Any]
    etag: str
    renewed: float

    @property
    def token(self) -> str:
        return str(self.body["token"])

    @property
    def holder(self) -> Holder:
        return Holder(named(self.store, self.key), self.token)

    @property
    def origin(self) -> Origin:
        """The origin as it was when the claim was taken. Work that only needs this can continue when EC2 no longer has it."""
        return origins.from_facts(self.body["snapshot"])

    @property
    def attempts(self) -> int:
        """How many attempts were started, including this one."""
        return int(self.body["attempts"])

    @property
    def standing(self) -> str:
        """'held', 'free', or the result it was settled with."""
        return str(self.body["result"] or self.body["state"])

    def check(self) -> None:
        """Raises Lost when the lease is so close to its end that another lane may take over."""
        if self.store.clock.monotonic() - self.renewed > self.body["lease"] * (1 - _MARGIN):
            raise Lost("the claim could not be renewed in time", _GUEST, key=self.key)

    def renew(self) -> Claim:
        """Raises Lost if the claim is not ours any more."""
        return self._write(dict(self.body))

    def settle(self, result: str, reason: str = "") -> Claim:
        """End it with 'migrated', 'validated' or 'failed'."""
        if result not in RESULTS:
            raise Refused(f"a claim can be settled as one of {', '.join(RESULTS)}, not {result!r}")
        return self._write(dict(self.body, state="settled", result=result, reason=reason))

    @property
    def advice(self) -> Mapping[str, str]:
        """How the snapshot is to be archived, as far as it says so itself."""
        return dict(self.body.get("advice", {}))

    @property
    def before(self) -> str:
        """The result it was settled with when it was taken: 'migrated', 'validated', or ''."""
        return str(self.body.get("before", {}).get("result", ""))

    @property
    def visit(self) -> bool:
        """Whether it was taken for what leaves it as it was, such as a drill."""
        return bool(self.body.get("found"))

    def leave(self, again: bool = False) -> Claim:
        """End a visit: the claim stands as it did before. again: whether it may be visited by others in this run."""
        return self._write({**_put_back(self.body), "found": {}, "visited": None if again else self.body["run"]})

    def release(self, reason: str = "", counts: bool = True) -> Claim:
        """Give it back. With a reason it is not tried again in this run; without one, an earlier result still holds.

        counts: whether a failure with a reason counts as an attempt. A stop does not count as an attempt.
        """
        if self.visit:
            return self.leave(again=not reason)
        if reason:
            attempts = self.attempts if counts else self.attempts - 1
            return self._write(dict(self.body, state="free", attempts=attempts, reason=reason, before={}))
        if self.before:
            return self._write({**self.body, "state": "settled", **self.body["before"]})
        return self._write(dict(self.body, state="free", attempts=self.attempts - 1))

    def fail(self, reason: str, attempts: int, kind: str = "") -> Claim:
        """Give it back for another run to try, or settle it as failed if this was its last attempt.

        kind: of the error. If the worker is to blame, others may try in this run; what was refused waits for the next run. Neither
        counts as an attempt, because the snapshot is not to blame.
        """
        if kind == Unfit.kind:
            return self.release()
        if kind == Refused.kind or self.visit:
            return self.release(reason, counts=False)
        return self.settle("failed", reason) if self.spent(attempts, kind) else self.release(reason)

    def spent(self, attempts: int, kind: str = "") -> bool:
        """Whether a failure of this kind is the last of so many attempts."""
        return self.attempts >= attempts and kind not in (Unfit.kind, Refused.kind)

    def _write(self, body: dict[str, Any]) -> Claim:
        began = self.store.clock.monotonic()
        body["nonce"] = secrets.token_hex(8)
        try:
            etag = self.store.put(self.key, _encode(body), replaces=self.etag)
        except Lost as error:
            raise _gone(self.key) from error
        return replace(self, body=body, etag=etag, renewed=began)


@dataclass(frozen=True)
class Terms:
    """How claims are taken. lease in seconds, from the last write; Refused unless it and attempts are at least 1.

    owner: who, for people. run: one run of a playbook; a snapshot that failed in it is not tried twice in it.
    redo: the results after which a snapshot may be claimed again. attempts: how often one may be begun in all.
    visit: the claim is left as it was found, however it ends, and counts no attempt; once a run.
    advice: how the snapshot is to be archived, as far as it says so itself; raises Refused if that cannot be done. It is given what
    the claim said that is taken over, whose work is gone on with, or None.
    """

    owner: str
    run: str
    lease: float = 900
    redo: tuple[str, ...] = ()
    attempts: int = 3
    visit: bool = False
    advice: Callable[[Origin, Optional[Mapping[str, str]]], Mapping[str, str]] = lambda _origin, taken_with: taken_with or {}

    def __post_init__(self) -> None:
        if self.lease < 1 or self.attempts < 1:
            raise Refused(f"lease and attempts have to be at least 1, not {self.lease} and {self.attempts}")


class Passed(NamedTuple):
    """Snapshots that were skipped, and why, by id. unusable: nobody can claim them until somebody fixes the cause."""

    taken: dict[str, str]
    unusable: dict[str, str]


def take_first(store: Store, prefix: str, wanted: Iterable[Origin], terms: Terms) -> tuple[Optional[Claim], Passed]:
    """The first available claim, if any, and why each snapshot before it could not be claimed."""
    passed = Passed({}, {})
    for origin in wanted:
        name = origins.name(origin)
        try:
            return take(store, ours.claim_key(prefix, name), origin, terms), passed
        except Lost as error:
            passed.taken[name] = error.message
        except _Unusable as error:
            if "call" in error.facts:  # S3 refuses it, and will refuse the others, too
                raise
            passed.unusable[name] = str(error)
    return None, passed


def free(store: Store, prefix: str, snapshots: Mapping[str, Origin], terms: Terms) -> tuple[dict[str, Mapping[str, str]], Passed]:
    """The snapshots that could be claimed now, in order, with what they say of their archives, and why the others could not.

    Nothing is claimed.
    """

    def look(snapshot_id: str) -> tuple[str, Optional[Mapping[str, str]], str, str]:
        key = ours.claim_key(prefix, snapshot_id)
        try:
            there = _read(store, key)
            before = {} if there is None else _decode(store, there, key)
            if there is not None:
                _refuse_taken(before, there.age, key, terms)
            return snapshot_id, _advice(before, snapshots[snapshot_id], terms), "", ""
        except Lost as error:
            return snapshot_id, None, error.message, ""
        except _Unusable as error:
            return snapshot_id, None, "", str(error)

    found: dict[str, Mapping[str, str]] = {}
    passed = Passed({}, {})
    for snapshot_id, advice, taken, unusable in ordered_map(look, snapshots, _LOOKS, 2 * _LOOKS, store.stop):
        if advice is not None:
            found[snapshot_id] = advice
        elif taken:
            passed.taken[snapshot_id] = taken
        else:
            passed.unusable[snapshot_id] = unusable
    return found, passed


def _advice(before: Mapping[str, Any], origin: Origin, terms: Terms) -> Mapping[str, str]:
    """A lane that died has begun its archives as its claim says: tags that were changed since are for the next attempt."""
    return terms.advice(origin, before.get("advice") if before.get("state") == "held" else None)


def described(store: Store, prefix: str, snapshot_ids: Iterable[str]) -> dict[str, Origin]:
    """Snapshots as their claims describe them; those without a claim, or with a damaged one, are left out."""

    def look(snapshot_id: str) -> Optional[Origin]:
        key = ours.claim_key(prefix, snapshot_id)
        try:
            there = _read(store, key)
            body = {} if there is None else _decode(store, there, key)
        except _Unusable:
            return None
        return origins.from_facts(body["snapshot"]) if "snapshot" in body else None

    looks = ordered_map(look, snapshot_ids, _LOOKS, 2 * _LOOKS, store.stop)
    return {origins.name(each): each for each in looks if each is not None}


def take(store: Store, key: str, origin: Origin, terms: Terms) -> Claim:
    """Claim a snapshot. Raises Lost, saying who has it, if it is not available; Corrupt if the object is not a claim; Refused if
    the snapshot cannot be archived as it says."""
    began = store.clock.monotonic()
    there = _read(store, key)
    before: dict[str, Any] = {} if there is None else _decode(store, there, key)
    if there is not None:
        _refuse_taken(before, there.age, key, terms)
    before = _put_back(before)
    forget = before.get("state") == "settled"
    stood = {name: before[name] for name in ("result", "run")} if forget and before["result"] != "failed" else {}
    body = {
        "snapshot_id": origins.name(origin),
        "snapshot": origins.facts(origin),
        "owner": terms.owner,
        "run": terms.run,
        "lease": terms.lease,
        "state": "held",
        "result": "",
        "reason": "",
        "before": stood or before.get("before", {}),
        "advice": dict(_advice(before, origin, terms)),
        "attempts": 1 if forget else int(before.get("attempts", 0)) + 1,
        "token": secrets.token_hex(16),
        "nonce": secrets.token_hex(8),
        "found": {},
        "visited": before.get("visited"),
    }
    if terms.visit:
        found = {name: before.get(name, value) for name, value in _FREE.items()}
        if found["state"] == "held":  # its lane died
            found["state"] = "free"
        body.update(found=found, attempts=found["attempts"], before=found["before"])
    etag = store.put(key, _encode(body), replaces=there.etag if there else None)
    return Claim(store, key, body, etag, began)


def held(store: Store, key: str, token: str) -> Claim:
    """The claim taken earlier, by its token. Raises Lost if it is no longer ours."""
    began = store.clock.monotonic()
    there = _read(store, key)
    body = {} if there is None else _decode(store, there, key)
    if there is None or body.get("token") != token or body.get("state") != "held":
        raise _gone(key)
    return Claim(store, key, body, there.etag, began - there.age)


def refuse_held(store: Store, key: str) -> None:
    """Raises Lost, saying who has it, while a lane holds the claim: others must not touch what was made under it."""
    there = store.get(key)
    body = {} if there is None else _decode(store, there, key)
    if there is not None and body["state"] == "held" and there.age <= body["lease"]:
        raise _refusal(body, there.age, key)


def named(store: Store, key: str) -> str:
    """A claim's object, as named in what was made under it."""
    return f"{store.bucket}/{key}"


def _refusal(body: Mapping[str, Any], age: float, key: str) -> Lost:
    return Lost(f"{body['owner']} holds the claim, for {int(body['lease'] - age)} s unless renewed", key=key)


def _gone(key: str) -> Lost:
    return Lost("the claim is not ours any more", _GUEST, key=key)


def _refuse_taken(body: Mapping[str, Any], age: float, key: str, terms: Terms) -> None:
    state = body["state"]
    if state == "held" and age <= body["lease"]:
        raise _refusal(body, age, key)
    body = _put_back(body)
    state = body["state"]
    if terms.visit:
        if body.get("visited") == terms.run:
            raise Lost("another lane has seen to it in this run", key=key)
        return
    if state == "settled" and (body["result"] not in terms.redo or body["run"] == terms.run):
        raise Lost(f"the snapshot was settled as {body['result']}", key=key)
    if state == "free" and body["reason"] and body["run"] == terms.run:
        raise Lost(f"it failed in this run already: {body['reason']}", key=key)
    if state != "settled" and int(body["attempts"]) >= terms.attempts:
        raise Lost(f"{body['attempts']} attempts did not succeed: {body['reason'] or 'their lanes died'}", key=key)


def _put_back(body: Mapping[str, Any]) -> dict[str, Any]:
    """A claim as it was before the visit that it is held for, if it is."""
    return {**body, **body.get("found", {})}


def _encode(body: Mapping[str, Any]) -> bytes:
    return document.encode("claim", _VERSION, body)


def _read(store: Store, key: str) -> Optional[Content]:
    with kept_awake(store, key, _removal(store, key)):
        return store.get(key)


def _removal(store: Store, key: str) -> str:
    where = shlex.quote(f"s3://{store.bucket}/{key}")
    return f"If no run works on the snapshot, remove the claim (aws s3 rm {where}): it can be claimed again then."


def _decode(store: Store, content: Content, key: str) -> dict[str, Any]:
    """Raises Corrupt for anything that is not a claim, Refused for one of a later version."""
    try:
        return document.decode(content.body, "claim", _VERSION, key, _SHAPE)
    except Corrupt as error:
        where = shlex.quote(f"s3://{store.bucket}/{key}")
        raise Corrupt(error.message, f"Look at it (aws s3 cp {where} -). {_removal(store, key)}", key=key) from error


def calm(store: Store) -> Store:
    """The same bucket without the job's stop: a claim has to be given back even when the job has been stopped."""
    return replace(store, stop=Stop())


class Keeper:
    """Renews a claim while its lane works. tick() is called often, from a ticker; renew() before anything is published.

    If S3 cannot be reached, it keeps trying until the lease is nearly over; then the claim counts as lost.
    """

    def __init__(self, held_now: Claim) -> None:
        self._held = held_now
        self._lock = threading.Lock()
        self.lane = Lane(held_now.holder, self.renew, self.check)

    def check(self) -> None:
        """Raises Lost when the lease is so close to its end that another lane may take over."""
        self._held.check()

    def tick(self) -> None:
        """Renew if a quarter of the lease has passed. Raises Lost."""
        since = self._held.store.clock.monotonic() - self._held.renewed
        if since < self._held.body["lease"] / 4:
            return
        try:
            self.renew()
        except Transient:
            self.check()

    def renew(self) -> None:
        """Raises Lost if the claim is not ours any more."""
        with self._lock:
            self._held = self._held.renew()

    def release(self) -> str:
        """Give it back. Returns its state now."""
        with self._lock:
            self._held = self._held.release()
            return self._held.standing
