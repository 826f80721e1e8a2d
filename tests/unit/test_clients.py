# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of a module: what they are made of, and what they cost."""

from types import SimpleNamespace

import boto3.session
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.adapter import clients
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Refused


@pytest.fixture
def module():
    """The arguments of one, with credentials; no session is left of another."""
    clients._session.cache_clear()
    yield SimpleNamespace(params={"region": "eu-central-1", "access_key": "a", "secret_key": "b"})
    clients._session.cache_clear()


def test_they_are_made_by_one_session(module, monkeypatch):
    """Making a session takes longer than all calls of a small snapshot."""
    made = []

    class Counted(boto3.session.Session):
        def __init__(self, *arguments, **options):
            made.append(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(boto3.session, "Session", Counted)
    s3, ec2 = clients.client(module, "s3"), clients.client(module, "ec2", region="eu-west-1")
    assert (s3.meta.region_name, ec2.meta.region_name) == ("eu-central-1", "eu-west-1")
    assert len(made) == 1


def test_what_the_user_sets_counts_and_nothing_is_tried_twice(module):
    """aws_config, endpoint_url, and keys of another account."""
    module.params.update(aws_config={"connect_timeout": 7}, endpoint_url="http://127.0.0.1:9", validate_certs=False)
    made = clients.client(module, "s3", {"read_timeout": 60}, aws_access_key_id="c", aws_secret_access_key="d")
    config = made.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (7, 60, 1)
    assert made.meta.endpoint_url == "http://127.0.0.1:9"
    assert made._request_signer._credentials.access_key == "c"
    assert "coldstore.ebs/" in config.user_agent_extra


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"profile": "nobodys", "access_key": None, "secret_key": None}, "nobodys"), ({"endpoint_url": "nowhere"}, "nowhere")],
)
def test_a_client_that_cannot_be_made_says_why(module, arguments, words):
    """In one sentence, and not with a trace."""
    module.params.update(arguments)
    with pytest.raises(Refused, match=f"cannot connect to AWS: .*{words}"):
        clients.client(module, "s3")
