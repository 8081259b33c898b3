"""What the log writes when it is idle: up to where it is durable.

A batch header says what was durable when it was written.  When no batch has followed for a
while, one of length 0 says it, so that what was answered is soon provably durable on the
disk itself (a tear cannot be taken for damage, nor damage for a tear).

It must not know: policies, fsyncs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.wal.format import MAX_LINE_BYTES, batch_header, seed_of

if TYPE_CHECKING:
    from perdure.wal.writer import LogWriter

IDLE_S = 1.0


class Idle:
    """``announced``: the durable lsn that the last header has; ``since``: when the last batch was committed."""

    __slots__ = ("_batch", "announced", "since")

    def __init__(self, announced: int) -> None:
        self.announced = announced
        self.since = 0.0
        self._batch = 0

    def announce(self, log: LogWriter, now: float) -> None:
        """Write such a batch, if there is something to say and the time has come.

        It is no batch of the owner's and nobody waits for it: if it cannot be
        written it is tried again later, and refuses nothing.
        """
        if log.batch != self._batch:
            self._batch, self.since = log.batch, now
        if self.announced == log.durable_lsn or now - self.since < IDLE_S:
            return
        seed, unix_ms = seed_of(log.place.log_id), log.clock.unix_ms()
        header, chain = batch_header(seed, log.lsn, b"", log.durable_lsn, unix_ms, log._chain)
        if not log.has_room(len(header) + MAX_LINE_BYTES):
            return
        if log.put_line(header, chain) is None:
            self.announced = log.durable_lsn
        else:
            self.since = now
