"""Why writes are refused, or PING tells of it: the log takes none (REFUSE-WHOLE), or the last snapshot failed.

Asked only while the engine's state has ``LOG_REFUSES``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.server.client import IN_MULTI, Client
from perdure.store.command import WRITE, Command
from perdure.store.errors import CommandError

if TYPE_CHECKING:
    from perdure.server.engine import Engine


def of_command(engine: Engine, client: Client, entry: Command) -> bytes | None:
    """Why a client's command is not admitted, None if it is.  As in stock, PING tells of snapshots that fail."""
    writes = entry.flags & WRITE
    if entry.name == b"PING":
        return engine.save_refusal or None
    if entry.name == b"EXEC":
        writes = client.state & IN_MULTI and any(queued.flags & WRITE for queued, _ in client.queue)
    return of_writes(engine) if writes else None


def of_writes(engine: Engine) -> bytes | None:
    """Why no write is admitted, None if it is."""
    if engine.save_refusal:
        return engine.save_refusal
    try:
        engine.tx.sink.admit(0)
    except CommandError as refusal:
        return refusal.text
    return None
