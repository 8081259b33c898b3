"""MONITOR: every command that runs, told to who asked for it, as a line.

``+1700000000.123456 [0 127.0.0.1:50000] "SET" "key" "value"``: the time at which it
had run, the database and address of its client (``lua`` in a script), and its
arguments, quoted as C would.  Told are commands that ran, also those that failed,
not those that were not admitted; nothing of administration; and no password.

It must not know: sockets.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from perdure.server.client import MONITORED, MONITORING, Client
from perdure.server.outbox import LINE
from perdure.server.secrets import redacted
from perdure.store.command import ADMIN, SKIP_MONITOR, Command

if TYPE_CHECKING:
    from perdure.server.engine import Engine

NOT_SHOWN = ADMIN | SKIP_MONITOR
_PLAIN = re.compile(rb"[ !#-\[\]-~]*")
_ESCAPES = {
    0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x07: b"\\a", 0x08: b"\\b",
}  # fmt: skip
_QUOTED = [
    _ESCAPES.get(byte, bytes((byte,)) if 0x20 <= byte <= 0x7E else b"\\x%02x" % byte) for byte in range(256)
]  # fmt: skip


def quoted(argument: bytes) -> bytes:
    """An argument in double quotes; what cannot be printed as escapes."""
    if _PLAIN.fullmatch(argument):
        return b'"%b"' % argument
    return b'"%b"' % b"".join([_QUOTED[byte] for byte in argument])


class Monitors:
    """Who watches."""

    __slots__ = ("_clients", "_engine")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clients: dict[Client, None] = {}

    def add(self, client: Client) -> None:
        """``client`` is told of every command from now on."""
        self._clients[client] = None
        client.state |= MONITORING
        self._engine.state |= MONITORED

    def forget(self, client: Client) -> None:
        """... and no more."""
        if client.state & MONITORING:
            del self._clients[client]
            client.state &= ~MONITORING
            if not self._clients:
                self._engine.state &= ~MONITORED

    def feed(self, entry: Command, argv: list[bytes], speaker: bytes = b"") -> None:
        """Tell of a command of the engine's client that has run.  ``speaker``: ``lua`` for one of a script."""
        tx = self._engine.tx
        client = tx.client
        if not speaker and client is not None:
            speaker = b"unix:" + client.address.removesuffix(b":0") if client.unix else client.address
        us = time.time_ns() // 1000
        words = b" ".join([quoted(word) for word in redacted(entry, argv)])
        line = b"+%d.%06d [%d %b] %b\r\n" % (us // 1_000_000, us % 1_000_000, tx.db_index, speaker, words)
        for monitor in self._clients:
            self._engine.outbox.add(monitor, line, LINE)

    def _check(self, clients: list[Client]) -> None:
        assert {client for client in clients if client.state & MONITORING} == set(self._clients)
        assert bool(self._clients) == bool(self._engine.state & MONITORED)
