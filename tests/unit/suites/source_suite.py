# SPDX-License-Identifier: GPL-3.0-or-later
"""What every source promises. A test module gives a fixture `source` (and `again`, a second one of the same) and
inherits from SourceSuite."""

from concurrent.futures import ThreadPoolExecutor


class SourceSuite:
    def test_chunks_lie_one_after_the_other(self, source):
        """Offsets are running sums of lengths, and no chunk is empty."""
        at = 0
        for chunk in source.plan():
            assert chunk.offset == at
            assert chunk.length > 0
            at += chunk.length

    def test_a_plan_is_the_same_every_time(self, source, again):
        """Fingerprints of two plans, of two sources, are equal: this is what resume and validation stand on."""
        first = [chunk.fingerprint() for chunk in source.plan()]
        assert first == [chunk.fingerprint() for chunk in source.plan()]
        assert first == [chunk.fingerprint() for chunk in again.plan()]
        assert len(set(first)) == len(first)

    def test_chunks_read_backwards_are_the_stream(self, source, again):
        """Any order, any time."""
        forwards = b"".join(bytes(source.read(chunk)) for chunk in source.plan())
        chunks = list(again.plan())
        backwards = [bytes(again.read(chunk)) for chunk in reversed(chunks)]
        assert b"".join(reversed(backwards)) == forwards
        assert len(forwards) == sum(chunk.length for chunk in chunks)

    def test_chunks_can_be_read_from_many_threads(self, source):
        """Eight threads read the same chunks and get the same bytes."""
        chunks = list(source.plan()) * 4
        with ThreadPoolExecutor(8) as executor:
            read = [bytes(data) for data in executor.map(source.read, chunks)]
        quarter = len(chunks) // 4
        assert read[:quarter] * 4 == read
