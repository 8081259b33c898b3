"""Clients that wait until the log is durable (WAITAOF).

Such a client waits for a position of the log: what was logged, or was to be, when it
asked; that is everything that it wrote before, and perhaps more of others.  The position
counts once the writer's ``durable_lsn``, what a good fsync has covered, has reached it:
what was only handed to the kernel never counts.

The writer tells its owner what answers may go, which under ``everysec`` is not when an
fsync ends.  So while somebody waits, and only then, the position is looked at every few
milliseconds.

It must not know: sockets, what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.store.resp import array, integer

if TYPE_CHECKING:
    from perdure.server.blocking import Wait
    from perdure.server.server import Server

_FIRST_LOOK_S, _LAST_LOOK_S = 0.0005, 0.01


def durable_reply(local: int) -> bytes:
    """WAITAOF's answer: how many logs of ours, and of replicas, have what was asked for."""
    return array([integer(local), integer(0)])


class DurableWaits:
    """Who waits for which position."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._waiting: list[tuple[Wait, int, bool]] = []
        self._look_s = 0.0

    def position(self) -> int:
        """The end of all that was logged, the open batch included."""
        end: int = getattr(self.server.writer, "lsn", 0) + sum(map(len, self.server.tx.records))
        return end

    def is_durable(self, position: int) -> bool:
        """Has an fsync covered the log up to ``position``?  Never while the log has no BASE yet, or none begins."""
        durable = -1 if self.server.rewriter.starting else getattr(self.server.writer, "durable_lsn", -1)
        return bool(durable >= position)

    def add(self, wait: Wait, position: int, is_enough: bool) -> None:
        """Answer ``wait`` when ``position`` is durable if that ``is_enough``; else say so when its time is over."""
        self._waiting.append((wait, position, is_enough))
        self._look_s = _FIRST_LOOK_S
        if len(self._waiting) == 1:
            self._look_later()

    def _look_later(self) -> None:
        self.server.loop.call_later(self._look_s, self.look)
        self._look_s = min(2 * self._look_s, _LAST_LOOK_S)

    def look(self) -> None:
        """Answer who has waited for what is durable now."""
        left = []
        for wait, position, is_enough in self._waiting:
            if wait.over:
                continue
            if not self.is_durable(position):
                left.append((wait, position, is_enough))
                continue
            wait.empty = durable_reply(1)
            if is_enough:
                self.server.engine.waits.answer(wait, wait.empty)
        self._waiting = left
        if left:
            self._look_later()
