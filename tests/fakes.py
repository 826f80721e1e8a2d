# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests use in place of time and data."""

from datetime import datetime, timedelta, timezone

from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot

SNAPSHOT = Snapshot("snap-0000000000000000a", "vol-0000000000000000a", "2017-01-01T00:00:00+00:00", 1, "a test", "123456789012")


class MovedClock:
    """Time that stands still until a test, or a sleep, moves it."""

    def __init__(self):
        self.seconds = 1000.0
        self.slept = []

    def monotonic(self):
        return self.seconds

    def now(self):
        return datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=self.seconds)

    def sleep(self, seconds, stop):
        stop.check()
        self.slept.append(seconds)
        self.seconds += seconds


class BytesSource:
    """Bytes in memory as a source, whose every read is counted."""

    kind = "image"
    in_order = False
    on_error = "fail"

    def __init__(self, data, chunk=1 << 20):
        from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Chunk

        self.data = data
        self.chunks = [Chunk(at, min(chunk, len(data) - at)) for at in range(0, len(data), chunk)]
        self.reads = []
        self.problems = []

    def plan(self, on_member=None):
        yield from self.chunks

    def read(self, chunk):
        self.reads.append(chunk.offset)
        return self.data[chunk.offset : chunk.offset + chunk.length]

    def fetch(self, row):
        return self.read

    def remarks(self):
        return {}

    def check(self):
        pass

    def leave_out(self, listed):
        pass

    def close(self):
        pass


class BytesTarget:
    """Bytes in memory as a target: zeros where nothing was written, and every write as it came."""

    def __init__(self, size, in_order=False):
        self.in_order = in_order
        self.written = 0
        self.content = bytearray(size)
        self.writes = []

    def write(self, offset, data):
        assert not self.in_order or not self.writes or offset >= self.writes[-1][0] + len(self.writes[-1][1])
        self.content[offset : offset + len(data)] = data
        self.writes.append((offset, bytes(data)))
        self.written += len(data)

    def finish(self):
        pass

    def close(self):
        pass
