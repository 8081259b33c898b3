"""Where a chunk from the network ends means nothing: requests cut at any byte are answered as if they had come whole.

All connections share one reader, so a cut must not be felt by another client either.
"""

from __future__ import annotations

import pytest
from log_bench import StandingClock, command
from server_model import Life, Promise, time_of

from perdure.wal.executor import InlineExecutor
from perdure.wal.simulated import SimulatedFilesystem

REQUESTS = [
    (command(b"PING") + command(b"SET", b"k", b"hello") + command(b"GET", b"k"), [b"PONG", b"OK", b"hello"]),
    (command(b"SET", b"k", b"*1\r\n$4\r\nPING\r\n*") + command(b"STRLEN", b"k"), [b"OK", 15]),
    (command(b"MULTI") + command(b"INCR", b"n") + command(b"EXEC"), [b"OK", b"QUEUED", [1]]),
    (command(b"APPEND", b"k", b"$" * 3) + command(b"GET", b"k"), [3, b"$$$"]),
]


@pytest.mark.parametrize(("data", "answers"), REQUESTS)
@pytest.mark.parametrize("filler", [0, 20_000])
def test_a_chunk_may_end_anywhere(data: bytes, answers: list[object], filler: int) -> None:
    large = command(b"ECHO", b"*$\r\n" * (filler // 4)) if filler else b""
    for cut in range(1, len(data)):
        clock = StandingClock()
        life = Life(SimulatedFilesystem(), Promise(), InlineExecutor(), clock)
        with time_of(clock):
            life.start(2)
            one, other = life.clients
            one.receive(large + data[:cut])
            other.send("ECHO other")
            life.turn()
            one.receive(data[cut:])
            life.turn()
        assert one.replies[bool(filler) :] == answers, data[:cut]
        assert other.replies == [b"other"]
