# SPDX-License-Identifier: GPL-3.0-or-later
"""What a validation says differs."""

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.jobs.differences import Differences, MemberComparison
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Member

FILE = Member(b"a", "file", 0, 1024, 3, 0o644, 0, 0, 0, None, "0" * 32)


def compared(archived, planned):
    differences = Differences()
    comparison = MemberComparison("key", iter(archived), differences)
    for member in planned:
        comparison.member(member)
    comparison.finish()
    return [(each["path"], each["attribute"]) for each in differences.listed]


@pytest.mark.parametrize(
    ("archived", "planned", "found"),
    [
        ("0" * 32, "0" * 32, []),
        ("0" * 32, "1" * 32, [("a", "xattrs")]),
        ("", "0" * 32, [("a", "xattrs")]),
        ("0" * 16, "", [("a", "xattrs")]),
        ("0" * 16, "0" * 32, []),
    ],
)
def test_attributes_are_compared_by_digests_of_one_kind(archived, planned, found):
    """An archive with the digests of an earlier version is not said to differ: its bytes are compared, and have them too."""
    assert compared([FILE._replace(xattrs=archived)], [FILE._replace(xattrs=planned)]) == found


def test_what_is_missing_and_what_is_too_much_is_named():
    """In the order of the walk, in which `a/b` comes before `a!`."""
    names = [b".", b"a", b"a/b", b"a!"]
    members = [FILE._replace(path=name) for name in names]
    assert compared(members, members) == []
    for gone, name in enumerate(names):
        fewer = [*members[:gone], *members[gone + 1 :]]
        assert compared(fewer, members) == [(name.decode(), "member")]
        assert compared(members, fewer) == [(name.decode(), "member")]
