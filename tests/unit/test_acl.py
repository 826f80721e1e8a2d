# SPDX-License-Identifier: GPL-3.0-or-later
"""POSIX ACLs as the kernel keeps them and as tar writes them."""

import os
import subprocess

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import acl


@pytest.mark.parametrize(
    "text",
    [b"user::rw-,user:1234:r-x,group::r--,group:7:---,mask::rwx,other::--x", b"user::rwx,group::---,other::r--"],
)
def test_the_text_is_the_kernels_acl(text, tmp_path):
    """setfacl, which has a parser of its own, makes the same of it; and back."""
    path = tmp_path / "file"
    path.touch()
    subprocess.run(["setfacl", "--set", text.decode(), path], check=True)
    value = acl.from_text(text)
    assert acl.to_text(value) == text
    assert acl.mode_of(value) == path.stat().st_mode & 0o777
    if b"mask" in text:
        assert os.getxattr(path, acl.ACCESS) == value
    else:
        assert os.listxattr(path) == []
        assert acl.of_mode(0o704) == value


def test_other_spellings_are_understood():
    """Names with ids behind them (star, bsdtar), newlines, short tags, comments, any order."""
    text = b"u::rw-\nother::---  # nobody else\nuser:lisa:rw-:500\ngroup::r--\nmask::rw-\n"
    assert acl.to_text(acl.from_text(text)) == b"user::rw-,user:500:rw-,group::r--,mask::rw-,other::---"


@pytest.mark.parametrize(
    "text", [b"user:lisa:rw-", b"nonsense", b"user::rwz", b"user:99999999999:rwx", b"user:1:rwx:99999999999", b"\xff"]
)
def test_what_is_no_acl_is_an_error(text):
    """Also a name that only another machine knows."""
    with pytest.raises(ValueError, match=r"ACL|nobody"):
        acl.from_text(text)


@pytest.mark.parametrize("value", [b"", b"\1\0\0\0", b"\2\0\0\0x", b"\2\0\0\0" + bytes(7)])
def test_a_value_that_is_no_acl_is_an_error(value):
    """Whatever a filesystem holds in its place."""
    with pytest.raises(ValueError, match="POSIX ACL"):
        acl.to_text(value)
