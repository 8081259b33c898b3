"""The log as the store and the engine see it.

``LogGate`` turns the writer's refusal into the error that clients get
(REFUSE-WHOLE).  Where memory is limited it makes the writer's grants small, so that memory
is looked at as the log grows (``server.max_memory``).  ``NoLogWriter`` stands in the writer's
place while there is no log: with ``appendonly no``, and until loading is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from perdure.store.errors import CommandError, log_refused
from perdure.wal.writer import LogRefused

if TYPE_CHECKING:
    from perdure.server.max_memory import MaxMemory


class Admits(Protocol):
    """What the gate needs of a writer."""

    def admit(self, nbytes: int) -> int: ...


class LogGate:
    """``store.tx.LogSink`` on a log writer."""

    __slots__ = ("memory", "writer")

    def __init__(self, writer: Admits, memory: MaxMemory | None = None) -> None:
        self.writer = writer
        self.memory = memory

    def admit(self, nbytes: int) -> int:
        """Room in the open batch for ``nbytes`` more; CommandError (MISCONF) if the log cannot take them."""
        try:
            room = self.writer.admit(nbytes)
        except LogRefused as refusal:
            raise CommandError(log_refused(refusal.text.encode())) from None
        memory = self.memory
        if memory is not None and memory.limit:
            memory.look()
            return min(room, memory.look_every)
        return room


class NoLogWriter:
    """Takes everything, keeps nothing, and is always done.  ``batches``: how many there were before."""

    def __init__(self, batches: int = 0) -> None:
        self.busy = False
        self.inline = True
        self.full = False
        self.safe = batches
        self.refusing: LogRefused | None = None

    def admit(self, nbytes: int) -> int:
        """Everything fits."""
        return 1 << 62

    def commit(self, payload: bytes) -> int:
        """A batch that is safe at once, as nothing was promised."""
        self.safe += 1
        return self.safe

    def tick(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
