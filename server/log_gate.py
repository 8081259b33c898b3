"""The log as the store and the engine see it.

``LogGate`` turns the writer's refusal into the error that clients get
(REFUSE-WHOLE).  ``NoLogWriter`` stands in the writer's place while there is no log:
with ``appendonly no``, and until loading is over.
"""

from __future__ import annotations

from typing import Protocol

from perdure.store.errors import CommandError, log_refused
from perdure.wal.writer import LogRefused


class Admits(Protocol):
    """What the gate needs of a writer."""

    def admit(self, nbytes: int) -> int: ...


class LogGate:
    """``store.tx.LogSink`` on a log writer."""

    __slots__ = ("writer",)

    def __init__(self, writer: Admits) -> None:
        self.writer = writer

    def admit(self, nbytes: int) -> int:
        """Room in the open batch for ``nbytes`` more; CommandError (MISCONF) if the log cannot take them."""
        try:
            return self.writer.admit(nbytes)
        except LogRefused as refusal:
            raise CommandError(log_refused(refusal.text.encode())) from None


class NoLogWriter:
    """Takes everything, keeps nothing, and is always done."""

    def __init__(self) -> None:
        self.busy = False
        self.inline = True
        self.full = False
        self.safe = 0
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
