# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints that accept a connection and never answer, as a VPC without a route has them."""

import socket
import threading
from contextlib import contextmanager

from conftest import result_of


@contextmanager
def nobody():
    """Yields (URL, list of the connections that were accepted)."""
    callers = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    callers.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", callers
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for caller in callers:
                caller.close()


def test_who_does_not_answer_is_given_up_soon_and_named(lab, seeds, bucket, monkeypatch):
    """Few attempts of some seconds: botocore's and ours are not multiplied. Without STS there is a way out."""
    monkeypatch.delitem(lab.environment, "AWS_URL")
    asked = {"snapshot_ids": [seeds["empty"]], "bucket": bucket, "check": True}
    wanted = {
        "STS": ("snapshot_claim", asked),
        "S3": ("snapshot_claim", {**asked, "bucket_owner": lab.account}),
        "EC2": ("ebs_temp_volume", {"state": "absent", "volume_id": "vol-0123456789abcdef0"}),
    }
    with nobody() as sts, nobody() as s3, nobody() as ec2:
        silent = {"STS": sts, "S3": s3, "EC2": ec2}
        running = {}
        for service, (module, arguments) in wanted.items():
            with monkeypatch.context() as only:
                only.setitem(lab.environment, f"AWS_ENDPOINT_URL_{service}", silent[service][0])
                running[service] = lab.start_module(module, **arguments)
        results = {service: result_of(process) for service, process in running.items()}
        for service, (url, callers) in silent.items():
            assert results[service]["msg"].startswith(f"{url.partition('//')[2]} does not answer"), results[service]["msg"]
            assert 2 <= len(callers) <= 4, service
    assert "name the account that owns the bucket as bucket_owner" in results["STS"]["msg"]
    assert "coldstore_bucket_owner" in results["STS"]["msg"]
    assert {service: result["kind"] for service, result in results.items()} == {
        "STS": "refused", "S3": "transient", "EC2": "transient"
    }  # fmt: skip


def test_whose_owner_is_named_is_found_without_sts(lab, seeds, bucket, monkeypatch):
    """The way out that the message names."""
    monkeypatch.delitem(lab.environment, "AWS_URL")
    monkeypatch.setitem(lab.environment, "AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    arguments = {"bucket": bucket, "snapshot_ids": [seeds["empty"]], "check": True}
    assert "cannot be reached" in lab.module("snapshot_claim", **arguments)["msg"]
    assert lab.ok("snapshot_claim", bucket_owner=lab.account, **arguments)["waiting"] == 1
