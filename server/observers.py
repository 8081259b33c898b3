"""Who is told what a command did: listeners to events, trackers of keys, monitors.

``Engine`` calls ``after_command`` behind every command that ran while anybody observes
(``OBSERVED``), the ones in EXEC and in scripts each, and ``forget`` for a client that
leaves or starts anew.  What is said is put in the outbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.server.client import MONITORED, TRACKED, TRACKING, Client
from perdure.server.monitor import NOT_SHOWN
from perdure.store.command import PUBSUB, READONLY, Command

if TYPE_CHECKING:
    from perdure.server.engine import Engine

_FLUSHES = frozenset({b"FLUSHALL", b"FLUSHDB"})


def after_command(engine: Engine, entry: Command, argv: list[bytes], reply: bytes) -> None:
    """A command of the engine's client has run; its changes have been told (``Engine.wrote``)."""
    client = engine.tx.speaker
    if engine.state & TRACKED:
        if entry.name in _FLUSHES and not reply.startswith(b"-"):
            engine.tracker.flush()  # an empty database is flushed, too, and logs nothing
        if client is not None and client.state & TRACKING and entry.flags & READONLY and not entry.flags & PUBSUB:
            engine.tracker.remember(client, entry.keys(argv))
    if engine.tx.events:
        engine.notifications.publish()
    if engine.state & MONITORED and not entry.flags & NOT_SHOWN:
        engine.monitors.feed(entry, argv)


def turn_ended(client: Client) -> None:
    """What a tracking client sent has ended, as the command of its own that it was, refused or not."""
    entry, tracking = client.last_command, client.tracking
    if tracking is not None and (entry is None or not entry.name.startswith(b"CLIENT|")):
        tracking.caching = False


def forget(engine: Engine, client: Client) -> None:
    """``client`` observes nothing any more."""
    engine.pubsub.forget(client)
    engine.tracker.disable(client)
    engine.monitors.forget(client)
