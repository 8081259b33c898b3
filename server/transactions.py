"""MULTI, EXEC and WATCH: the queue of a client, and who watches which key.

A queued command was admitted when it was queued; EXEC runs the queue as one group
of the log, so that it is there whole or not at all after a crash.

A watched key is touched by a record of the log that names it (``server.touched``),
so a command that changed nothing breaks no transaction.  What a watched key was
like when it was last looked at says which changes are none:

===========  ====================================================================
PRESENT      any record that names it, a flush or a swap of its database, its expiry
ABSENT       any record that names it, a swap that brings it
EXPIRED      as ABSENT, but its removal, at last, is no change: it is ABSENT then
===========  ====================================================================

It must not know: sockets, the log's files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.server.client import Client
from perdure.server.touched import EVERY_DATABASE
from perdure.store import resp
from perdure.store.command import Command

if TYPE_CHECKING:
    from perdure.server.engine import Engine
    from perdure.store.tx import Tx

PRESENT, ABSENT, EXPIRED = range(3)

Queued = tuple[Command, list[bytes]]

IMMEDIATE = frozenset({b"EXEC", b"DISCARD", b"MULTI", b"WATCH", b"QUIT", b"RESET"})
"""Commands that are not queued after MULTI."""


def queue_command(client: Client, entry: Command, argv: list[bytes]) -> bytes:
    """Put an admitted command on the queue, unless EXEC will not run it anyway."""
    if not (client.flags_multi_error or client.watched_dirty):
        client.queue.append((entry, argv))
        client.queue_bytes += sum(map(len, argv)) + 64 * len(argv)
    return resp.QUEUED


class Watches:
    """Who watches which key; true if anyone watches anything."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, bytes], set[Client]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def add(self, client: Client, db_index: int, key: bytes, tx: Tx) -> None:
        """``client`` watches a key from now on."""
        place = (db_index, key)
        if place not in client.watching:
            client.watching[place] = _look(place, tx)
            self._by_key.setdefault(place, set()).add(client)

    def forget(self, client: Client) -> None:
        """``client`` watches nothing any more."""
        for place in client.watching:
            clients = self._by_key[place]
            clients.discard(client)
            if not clients:
                del self._by_key[place]
        client.watching.clear()
        client.watched_dirty = False

    def touch(self, keys: Iterable[tuple[int, bytes | None]], engine: Engine) -> None:
        """These keys were changed: (database, key), None for every key, database -1 for all."""
        tx = engine.tx
        for db_index, key in keys:
            if key is None:
                self._touch_all(db_index, tx)
                continue
            place = (db_index, key)
            clients = self._by_key.get(place)
            if clients:
                now = _look(place, tx)
                for client in clients:
                    if client.watching[place] == EXPIRED and now == ABSENT:
                        client.watching[place] = ABSENT
                    else:
                        client.watched_dirty = True

    def _touch_all(self, db_index: int, tx: Tx) -> None:
        for place, clients in self._by_key.items():
            if db_index not in (place[0], EVERY_DATABASE):
                continue
            now = _look(place, tx)
            for client in clients:
                if PRESENT in (client.watching[place], now):
                    client.watched_dirty = True
                else:
                    client.watching[place] = now

    def _check(self, clients: Iterable[Client]) -> None:
        expected: dict[tuple[int, bytes], set[Client]] = {}
        for client in clients:
            for place in client.watching:
                expected.setdefault(place, set()).add(client)
        assert expected == self._by_key


def _look(place: tuple[int, bytes], tx: Tx) -> int:
    """What a key is like now."""
    db_index, key = place
    db = tx.keyspace.databases[db_index]
    if key not in db:
        return ABSENT
    deadline = db.expires.get(key)
    return EXPIRED if deadline is not None and deadline <= tx.now_ms else PRESENT


def watched_key_expired(client: Client, tx: Tx) -> bool:
    """Has a watched key's deadline passed since it was watched?"""
    return any(was != EXPIRED and _look(place, tx) == EXPIRED for place, was in client.watching.items())
