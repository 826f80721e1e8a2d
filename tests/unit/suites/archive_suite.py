# SPDX-License-Identifier: GPL-3.0-or-later
"""What every archive promises as a source. A test module gives fixtures `memory` (the bucket), `source` and `again` (the archive,
opened twice), `content` (the image that it holds) and `objects` (the keys of what holds its bytes), and inherits from ArchiveSuite."""

import threading
from contextlib import closing

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Corrupt, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.compare import compare
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.copy import copy
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.differences import Differences
from fakes import BytesSource, BytesTarget
from suites.source_suite import SourceSuite


def differences(archive, source, stop):
    """[(key, attribute, offset)] of what differs, and the totals."""
    found = Differences()
    totals = compare(archive, source, [], found, 3, stop)
    return [(each["archive"], each["attribute"], each["offset"]) for each in found.listed], totals


class ArchiveSuite(SourceSuite):
    proved = True  # whether each of its chunks has a digest

    def test_it_is_loaded_as_often_as_you_like(self, memory, source):
        """What that takes is got once."""
        source.load()
        memory.client.calls.clear()
        source.load()
        assert memory.client.calls == []

    def test_it_holds_what_was_archived(self, source, content):
        """Chunk by chunk; its size is known where something says so."""
        assert b"".join(bytes(source.read(chunk)) for chunk in source.plan()) == content
        assert source.size in (0, len(content))

    def test_chunks_fetched_together_are_those_fetched_alone(self, source):
        """Whatever a request holds."""
        chunks = list(source.plan())
        read = source.fetch(chunks[:1])
        assert bytes(read(chunks[0])) == bytes(source.read(chunks[0]))

    @pytest.mark.parametrize("in_order", [True, False])
    def test_it_is_copied_whole(self, memory, source, content, objects, in_order):
        """To several targets, in whatever order they want, and what is stored is fetched once."""
        targets = [BytesTarget(len(content), in_order), BytesTarget(len(content))]
        copy(source, targets, 3, memory.stop)
        assert [bytes(target.content) for target in targets] == [content, content]
        assert abs(source.fetched - sum(memory.head(key).size for key in objects)) < 1000  # an index, or a seek table

    def test_it_is_equal_to_what_was_archived(self, memory, source, content):
        """And to itself."""
        assert differences(source, BytesSource(content), memory.stop)[0] == []
        found, totals = differences(source, None, memory.stop)
        assert (found, totals.bytes >= len(content.rstrip(b"\0"))) == ([], True)

    @pytest.mark.parametrize("place", [0, 0.3, 1])
    def test_a_byte_that_differs_is_named(self, memory, source, content, place):
        """By the block of the image in which it lies."""
        at = int((len(content) - 1) * place)
        other = bytearray(content)
        other[at] ^= 1
        found, _totals = differences(source, BytesSource(bytes(other)), memory.stop)
        assert [(attribute, offset) for _key, attribute, offset in found] == [("content", at - at % source.grain)]

    @pytest.mark.parametrize("change", [-5000, -1, 1, 5000])
    def test_a_volume_of_another_length_is_different(self, memory, source, content, change):
        """Shorter or longer."""
        other = content[:change] if change < 0 else content + bytes(change)
        assert [attribute for _key, attribute, _offset in differences(source, BytesSource(other), memory.stop)[0]] == ["length"]

    @pytest.mark.parametrize("place", [0.1, 0.6])
    def test_damage_is_named_and_what_is_damaged_is_not_copied(self, memory, source, again, content, objects, place):
        """By the key of the object; nothing but what was archived reaches a target."""
        for key in objects:
            memory.client.damage(memory.bucket, key, int(memory.head(key).size * place))
        found, _totals = differences(source, None, memory.stop)
        assert {attribute for _key, attribute, _offset in found} == {source.unit[0]}
        assert {key for key, _attribute, _offset in found} <= set(objects)
        target = BytesTarget(len(content))
        with pytest.raises(Corrupt) as caught:
            copy(again, [target], 3, memory.stop)
        assert caught.value.facts["key"] in objects
        if self.proved:
            assert all(content[at : at + len(data)] == data for at, data in target.writes)

    def test_an_object_that_is_gone_is_named(self, memory, source, again, content, objects):
        """Where it cannot be told from zeros, by what the volume has in their place."""
        memory.delete(objects[-1:])
        found, _totals = differences(source, BytesSource(content), memory.stop)
        assert {attribute for _key, attribute, _offset in found} <= {source.unit[0], "content", "seek table"}
        assert found

    def test_a_stop_ends_it(self, memory, source, content):
        """Before the next row."""
        target = BytesTarget(len(content))
        memory.stop.request("for a test")
        with pytest.raises(Stopped):
            copy(source, [target], 2, memory.stop)
        with pytest.raises(Stopped):
            compare(source, None, [], Differences(), 2, memory.stop)

    def test_a_plan_that_is_not_used_up_leaves_nothing_running(self, source):
        """No thread that fetches ahead outlives it."""
        before = threading.active_count()
        with closing(source.plan()) as chunks:
            next(chunks)
        assert threading.active_count() == before

    def test_what_a_manifest_says_of_it_is_known(self, source):
        """It is a source as any other: it could be archived again."""
        assert set(source.remarks()) <= {"subvolumes", "flags"}
        source.check()
        source.leave_out([])
        assert source.problems == []
