"""The latency monitor: what held the loop for longer than ``latency-monitor-threshold``, by kind of event.

Each kind has the latest 160 samples, at most one a second (of several in a second the
worst counts), and the worst ever.  Kinds and what is measured, under stock's names where
stock has them:

====================  ===============================================================
command               a command took so long
fast-command          a command did that should be O(1) or O(log n)
command-unblocking    the retry of a command that had waited for a key
expire-cycle          a step of active expiry
eviction-cycle        a step of freeing what ``maxmemory`` has no room for
aof-write             a batch was handed to the log: with its write, whatever the reason
aof-write-alone,      the same, told apart by whether an fsync ran meanwhile
aof-write-pending-fsync
aof-fsync-always      an fsync under ``always``, for which answers wait, on the loop or off it
fork                  a fork, by which a child begins (``server.children``)
aof-fsync-everysec    an fsync under another policy, for which nobody waits
====================  ===============================================================

While the threshold is 0 nothing is measured and nothing kept.

It must not know: clocks, who measures (``server.timings``).
"""

from __future__ import annotations

from collections import deque

HISTORY = 160

COMMAND = b"command"
FAST_COMMAND = b"fast-command"
COMMAND_UNBLOCKING = b"command-unblocking"
EXPIRE_CYCLE = b"expire-cycle"
EVICTION_CYCLE = b"eviction-cycle"
LOG_WRITE = b"aof-write"
LOG_WRITE_ALONE = b"aof-write-alone"
LOG_WRITE_DURING_FSYNC = b"aof-write-pending-fsync"
LOG_FSYNC_ALWAYS = b"aof-fsync-always"
LOG_FSYNC = b"aof-fsync-everysec"
FORK = b"fork"


class Series:
    """The samples of one kind of event."""

    __slots__ = ("samples", "worst_ms")

    def __init__(self) -> None:
        self.samples: deque[tuple[int, int]] = deque(maxlen=HISTORY)
        """(unix s, ms), the oldest first; never empty once it is known."""
        self.worst_ms = 0

    def add(self, unix_s: int, ms: int) -> None:
        """One more sample."""
        self.worst_ms = max(self.worst_ms, ms)
        if self.samples and self.samples[-1][0] == unix_s:
            ms = max(ms, self.samples.pop()[1])
        self.samples.append((unix_s, ms))


class LatencyMonitor:
    """Everything that was sampled, by kind of event."""

    def __init__(self) -> None:
        self.threshold_ms = 0
        self.series: dict[bytes, Series] = {}

    def sample(self, event: bytes, ms: int, unix_s: int) -> None:
        """Something took ``ms``; kept if that is long enough."""
        if self.threshold_ms and ms >= self.threshold_ms:
            series = self.series.get(event)
            if series is None:
                series = self.series[event] = Series()
            series.add(unix_s, ms)

    def forget(self, events: list[bytes]) -> int:
        """Drop what is known of these kinds, of all if none is named; of how many something was."""
        return sum(self.series.pop(event, None) is not None for event in events or list(self.series))
