# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that lies about what every snapshot needs is found out, and the probe leaves nothing behind."""

from dataclasses import replace

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused, Transient
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.probe import check_class, probe
from memory import MemoryS3, failing


def left(store):
    return store.client.keys("b"), store.client.uploads["b"]


class Ignoring(MemoryS3):
    """A server that takes some argument of an operation and ignores it, or leaves something out of its reply."""

    def __init__(self, operation, *words):
        super().__init__("b")
        self.words = words
        self.operation = operation

    def put_object(self, **arguments):
        return MemoryS3.put_object(self, **self._ignored("put", arguments))

    def complete_multipart_upload(self, **arguments):
        return MemoryS3.complete_multipart_upload(self, **self._ignored("complete", arguments))

    def head_object(self, **arguments):
        reply = MemoryS3.head_object(self, **arguments)
        return {name: value for name, value in reply.items() if self.operation != "head" or name not in self.words}

    def _ignored(self, operation, arguments):
        return {name: value for name, value in arguments.items() if self.operation != operation or name not in self.words}


def test_a_server_like_aws_is_accepted_and_nothing_is_left(memory):
    """In a class that is read at once, and in one that sleeps."""
    for storage_class in ("STANDARD", "DEEP_ARCHIVE"):
        probe(memory, "some/", storage_class)
    check_class(memory, "some/", "GLACIER")
    assert left(memory) == ([], {})


@pytest.mark.parametrize(
    ("operation", "words", "said"),
    [
        ("put", ["IfNoneMatch"], "let 8 of 8 simultaneous writers win although all sent If-None-Match"),
        ("put", ["IfMatch"], "ignores If-Match"),
        ("put", ["ChecksumCRC64NVME"], "does not check the CRC64NVME that is sent"),
        ("complete", ["IfNoneMatch"], "ignores If-None-Match when an upload is completed"),
        ("head", ["ChecksumCRC64NVME"], "does not return the CRC64NVME of an object that was uploaded in parts"),
    ],
)
def test_what_a_server_ignores_is_named_and_nothing_is_left(memory, operation, words, said):
    """Each of them would let two lanes work on one snapshot, or damage go unnoticed."""
    lying = replace(memory, client=Ignoring(operation, *words))
    with pytest.raises(Refused, match=said) as raised:
        probe(lying, "", "STANDARD")
    assert "docs/servers.md" in raised.value.advice
    assert left(lying) == ([], {})


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"])
def test_an_operation_that_the_server_does_not_have_is_named(memory, operation):
    """HTTP 501 is for good."""
    with failing(memory.client, operation, "NotImplemented", 501), pytest.raises(Refused, match=f"does not support {operation}"):
        probe(memory, "", "STANDARD")
    assert left(memory) == ([], {})


@pytest.mark.parametrize("look", [probe, check_class])
def test_what_the_bucket_does_not_accept_is_said_with_what_was_tried(memory, look):
    """The class, and the encryption with its key."""
    store = replace(memory, sse="aws:kms", kms_key_id="alias/none")
    with failing(memory.client, "CreateMultipartUpload", "InvalidStorageClass"), pytest.raises(Refused) as raised:
        look(store, "", "SNOW")
    assert "storage class SNOW, encryption aws:kms with key alias/none" in raised.value.advice
    assert left(memory) == ([], {})


def test_an_outage_says_nothing_about_the_server(memory):
    """It is tried again, and then it is an outage."""
    with failing(memory.client, "PutObject", "ServiceUnavailable", 503), pytest.raises(Transient):
        probe(memory, "", "STANDARD")
    assert left(memory) == ([], {})


def test_what_cannot_be_removed_does_not_hide_the_reason(memory):
    """The first failure is what a user has to know."""
    with (
        failing(memory.client, "CompleteMultipartUpload", "InvalidStorageClass"),
        failing(memory.client, "DeleteObjects", "AccessDenied", 403),
    ):
        with pytest.raises(Refused, match="InvalidStorageClass"):
            probe(memory, "", "STANDARD")
