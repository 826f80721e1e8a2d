# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors carry facts, and their kind decides whether anything is tried again."""

import errno

import botocore.exceptions
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common import errors
from ansible_collections.coldstore.ebs.plugins.module_utils.common.retry import Policy, retry
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from fakes import MovedClock

KINDS = [errors.Refused, errors.Unfit, errors.Transient, errors.Permanent, errors.Corrupt, errors.Lost, errors.Stopped]


def client_error(code, status=400, operation="PutObject"):
    reply = {"Error": {"Code": code, "Message": "a message."}, "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "R1"}}
    return botocore.exceptions.ClientError(reply, operation)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_advice_and_only_transient_is_retried(kind):
    """An error says what to do next, and is tried again only if that may help."""
    assert kind("x").advice != errors.ColdstoreError.advice
    calls = []

    def fail():
        calls.append(1)
        raise kind("x")

    with pytest.raises(kind):
        retry(fail, Stop(), MovedClock(), Policy(attempts=4))
    assert len(calls) == (4 if kind is errors.Transient else 1)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, errors.Transient), ("InternalError", 500, errors.Transient), ("BadDigest", 400, errors.Transient),
        ("ExpiredToken", 400, errors.Transient), ("RequestLimitExceeded", 503, errors.Transient), ("X", 502, errors.Transient),
        ("AccessDenied", 403, errors.Refused), ("UnauthorizedOperation", 403, errors.Refused),
        ("ConditionalRequestConflict", 409, errors.Transient), ("NotImplemented", 501, errors.Permanent), ("501", 501, errors.Permanent),
        ("NotImplemented", 400, errors.Permanent), ("InvalidAccessKeyId", 403, errors.Refused),
        ("NoSuchKey", 404, errors.Permanent), ("EntityTooLarge", 400, errors.Permanent),
    ],
)  # fmt: skip
def test_aws_codes_become_kinds(code, status, kind):
    """Throttling and damage are transient, denial is refused, the rest is permanent."""
    error = errors.classify(client_error(code, status), bucket="b", key="k")
    assert error.__class__ is kind
    assert error.facts["request_id"] == "R1"
    assert error.facts["call"] == "PutObject"


def test_denial_names_the_iam_action():
    """A user can paste the missing action into a policy."""
    assert "s3:ListMultipartUploadParts is denied" in str(
        errors.classify(client_error("AccessDenied", 403, "ListParts"), bucket="b")
    )
    assert "ec2:CreateVolume is denied" in str(errors.classify(client_error("UnauthorizedOperation", 403, "CreateVolume")))


@pytest.mark.parametrize(
    "name", ["EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "SSLError"]
)
def test_connection_errors_of_botocore_are_transient(name):
    """Every way a connection can fail may work a second time."""
    kind = getattr(botocore.exceptions, name)
    assert isinstance(errors.classify(kind(endpoint_url="http://x", error="e")), errors.Transient)


def test_credentials_that_cannot_be_renewed_for_a_moment_are_asked_for_again():
    """The metadata service failed once, or answered with those that had expired: both of botocore's ways to say so."""
    failed = botocore.exceptions.CredentialRetrievalError(provider="iam-role", error_msg="no answer")
    expired = RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
    for error in (failed, expired):
        assert isinstance(errors.classify(error), errors.Transient)
    assert errors.classify(RuntimeError("cannot schedule new futures after shutdown")) is None


def test_no_credentials_are_refused_and_bugs_are_not_hidden():
    """What is neither AWS nor the network stays what it is."""
    assert isinstance(errors.classify(botocore.exceptions.NoCredentialsError()), errors.Refused)
    assert errors.classify(ZeroDivisionError()) is None
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 / 0, Stop(), MovedClock())


def test_an_error_is_one_line_with_its_facts():
    """Even with a hostile file name in it."""
    text = str(errors.Permanent("cannot read", "Do this.", path=b"a\nb\xff", offset=12))
    assert "\n" not in text
    assert "offset 12" in text
    assert text.endswith("Do this.")


def test_retry_backs_off_with_a_limit():
    """The pauses are random, bounded, and end."""
    clock = MovedClock()

    def fail():
        raise client_error("SlowDown", 503)

    with pytest.raises(errors.Transient) as caught:
        retry(fail, Stop(), clock, Policy(attempts=6, base=1, cap=5))
    assert len(clock.slept) == 5
    assert all(0 <= pause <= 5 for pause in clock.slept)
    assert caught.value.facts["attempts"] == 6


def test_who_cannot_be_reached_is_named():
    """Without the rest of the URL, and with what the system said."""
    url = "https://sts.eu-central-1.amazonaws.com/x?y"
    silent = errors.classify(botocore.exceptions.ConnectTimeoutError(endpoint_url=url))
    assert silent.message == "sts.eu-central-1.amazonaws.com does not answer"
    assert isinstance(silent, errors.Silent)
    cause = "<x.HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno -2] Name or service not known"
    unknown = errors.classify(botocore.exceptions.EndpointConnectionError(endpoint_url=url, error=cause))
    assert unknown.message == "sts.eu-central-1.amazonaws.com cannot be reached: [Errno -2] Name or service not known"
    assert not isinstance(unknown, errors.Silent)


@pytest.mark.parametrize(("error", "limit"), [("ReadTimeoutError", 30), ("EndpointConnectionError", 60)])
def test_silence_is_borne_less_long_than_refusal(error, limit):
    """Each attempt of it costs the time-out; the last may begin just before the limit."""
    clock = MovedClock()
    attempts = []

    def call():
        attempts.append(clock.seconds)
        clock.seconds += 7
        raise getattr(botocore.exceptions, error)(endpoint_url="https://x", error="e")

    with pytest.raises(errors.Unreachable):
        retry(call, Stop(), clock)
    assert limit - 27 <= attempts[-1] - attempts[0] < limit


def test_patience_outlasts_an_outage_of_minutes_and_has_an_end():
    """By the clock and by the number of attempts, whichever is first; an attempt that lasts counts as well."""
    patience = Store(None, "b").patience
    for outage, hangs, survived in ((480, 0, True), (480, 120, True), (float("inf"), 0, False), (float("inf"), 240, False)):
        clock = MovedClock()
        begun = clock.seconds

        def call(clock=clock, begun=begun, outage=outage, hangs=hangs):
            clock.seconds += hangs
            if clock.seconds - begun < outage:
                raise client_error("SlowDown", 503)
            return "done"

        if survived:
            assert retry(call, Stop(), clock, patience) == "done"
            continue
        with pytest.raises(errors.Transient) as caught:
            retry(call, Stop(), clock, patience)
        assert 480 < clock.seconds - begun <= 600 + hangs
        assert caught.value.facts["attempts"] <= patience.attempts


def test_a_stop_ends_retrying():
    """A job that is to end does not start another attempt."""
    stop = Stop()

    def fail():
        stop.request("enough")
        raise errors.Transient("x")

    with pytest.raises(errors.Stopped, match="enough"):
        retry(fail, stop, MovedClock())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EMFILE, "Too many open files"),
        client_error("AttachmentLimitExceeded", operation="AttachVolume"), client_error("InsufficientVolumeCapacity"),
    ],
)  # fmt: skip
def test_what_a_worker_has_no_more_of_is_its_own_fault(error):
    """A snapshot loses no attempt by it, and the advice is about the worker."""
    known = errors.classify(error)
    assert (known.kind, isinstance(known, errors.Refused)) == ("unfit", True)
    assert known.advice != errors.Refused.advice


def test_what_the_system_says_of_a_file_is_no_fault_of_the_worker():
    """A bad sector stays one wherever it is read."""
    assert errors.classify(OSError(errno.EIO, "Input/output error")).kind == "permanent"
