"""What memory is used for: what INFO, MEMORY STATS and MEMORY DOCTOR tell of.

All of it is bounded work: sizes of tables are asked, nothing is walked but the clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.server import process_stats
from perdure.store.database import Database

if TYPE_CHECKING:
    from perdure.server.server import Server

_ORDER_BYTES = 9
"""A key's place in its database's order: a pointer, and the list's spare room."""
_CLIENT_BYTES = 2048
"""A client's own objects, about."""


@dataclass(frozen=True, slots=True)
class Report:
    """Bytes, and counts of keys and clients.

    used
        as ``server.memory_use`` counts
    active, resident
        what the allocators hold for that, and how much of it is in memory
    databases
        (number, bytes of its table of keys, of its table of deadlines), of those that have keys
    """

    used: int
    peak: int
    startup: int
    active: int
    resident: int
    rss: int
    clients: int
    client_count: int
    log: int
    keys: int
    databases: tuple[tuple[int, int, int], ...]

    @property
    def overhead(self) -> int:
        """All that is no data."""
        return self.startup + self.clients + self.log + sum(keys + deadlines for _, keys, deadlines in self.databases)

    @property
    def dataset(self) -> int:
        """The rest."""
        return max(0, self.used - self.overhead)


def unsent_bytes(client: Any) -> int:
    """What a client has not been sent yet."""
    connection = client.connection
    transport = None if connection is None else connection.transport
    return int(client.held_bytes) + (0 if transport is None else int(transport.get_write_buffer_size()))


def _tables(index: int, db: Database) -> tuple[int, int, int]:
    keys = db.__sizeof__() + _ORDER_BYTES * len(db)
    if db.uses is not None:
        keys += db.uses.numbers.__sizeof__()
    return index, keys, db.expires.__sizeof__() + _ORDER_BYTES * db.deadlines.entries


def report(server: Server) -> Report:
    """How things are now."""
    memory = server.engine.max_memory
    now = process_stats.memory()
    used = memory.used()
    active = max(memory.meter.active(), used)
    clients = list(server.clients.values())
    return Report(
        used=used,
        peak=memory.peak,
        startup=min(server.startup_memory, used),
        active=active,
        resident=max(now.used - server.program_memory, active),
        rss=now.rss,
        clients=sum(_CLIENT_BYTES + client.queue_bytes + unsent_bytes(client) for client in clients),
        client_count=len(clients),
        log=memory.not_counted(),
        keys=server.keyspace.key_count(),
        databases=tuple(_tables(index, db) for index, db in enumerate(server.keyspace.databases) if len(db)),
    )
