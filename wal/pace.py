"""How fast the disk's fsyncs are, and where the next one should therefore run.

On a fast disk an fsync in place is cheaper than a thread's round trip; on a slow
one it would stop the loop, and with it every read.  So: in place while the moving
average is below ``FAST_US``; one that takes ``SLOW_US`` or more sends them off the
loop; ``RUN`` fast ones in a row bring them back.  The first one runs in place.

It must not know: files, threads.
"""

from __future__ import annotations

FAST_US = 1_000
SLOW_US = 10_000
RUN = 16
WEIGHT = 0.125
"""Of the newest fsync in the moving average."""


class Pace:
    """Judges the fsyncs of one file system.  ``inline``: the next one should run in place."""

    __slots__ = ("average_us", "fast_in_a_row", "inline")

    def __init__(self) -> None:
        self.inline = True
        self.average_us = 0.0
        self.fast_in_a_row = 0

    def note(self, us: float) -> None:
        """Take the time of one more fsync into account."""
        self.average_us += (us - self.average_us) * WEIGHT
        if us >= SLOW_US or (self.inline and self.average_us >= FAST_US):
            self.inline = False
            self.fast_in_a_row = 0
        elif not self.inline:
            self.fast_in_a_row = self.fast_in_a_row + 1 if us < FAST_US else 0
            if self.fast_in_a_row >= RUN:
                self.inline = True
                self.average_us = us
