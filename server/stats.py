"""Counters that INFO shows; CONFIG RESETSTAT sets them back.

Plain numbers, added to by whoever sees the event.  What is counted by command stands
in the command table, the look-ups of keys in ``store.tx``.
"""

from __future__ import annotations

_MAX_ERROR_CODES = 128
_SAMPLES = 16


class Stats:
    """What happened since the start or the last reset."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, int, int]] = []
        self.reset()

    def reset(self) -> None:
        """Back to zero."""
        self.connections = 0
        self.rejected_connections = 0
        self.commands = 0
        self.net_in = 0
        self.net_out = 0
        self.expired_keys = 0
        self.expiry_ns = 0
        """What active expiry took."""
        self.expiry_cut_short = 0
        """How often active expiry left something for its next turn, so as not to hold the loop."""
        self.evicted_keys = 0
        self.eviction_exceeded_s = 0.0
        """For how long memory was short, but for now."""
        self.error_replies = 0
        self.errors: dict[bytes, int] = {}
        self.output_limit_disconnections = 0
        self.query_limit_disconnections = 0
        self.total_forks = 0
        self.latest_fork_us = 0
        self.rdb_saves = 0
        self.samples.clear()

    def count_error(self, text: bytes) -> None:
        """Count an error reply by its code; ``text`` begins with it."""
        self.error_replies += 1
        code = text.split(b" ", 1)[0]
        if code in self.errors:
            self.errors[code] += 1
        elif len(self.errors) < _MAX_ERROR_CODES:
            self.errors[code] = 1

    def sample(self, now_s: float) -> None:
        """Remember the counters, ten times a second, for the ``instantaneous_*`` fields."""
        self.samples.append((now_s, self.commands, self.net_in, self.net_out))
        if len(self.samples) > _SAMPLES:
            del self.samples[0]

    def rates(self) -> tuple[float, float, float]:
        """(commands, bytes in, bytes out) per second over the samples kept."""
        if len(self.samples) < 2:
            return 0.0, 0.0, 0.0
        first, last = self.samples[0], self.samples[-1]
        seconds = max(last[0] - first[0], 0.001)
        return ((last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds, (last[3] - first[3]) / seconds)
