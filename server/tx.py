"""What a server command works with: the store's ``Tx``, and the client and server it runs for."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from perdure.server.client import IN_MULTI, PAUSED, RESTRICTED, TRACKED, WAITED, Client
from perdure.store.blocking import Retry
from perdure.store.command import LOGGED, find
from perdure.store.database import Keyspace
from perdure.store.tx import LogSink, Tx
from perdure.store.value_types import Limits

if TYPE_CHECKING:
    from perdure.server.server import Server


class ServerTx(Tx):
    """The one ``Tx`` of a server.

    client
        whose turn it is
    may_block
        False while a script runs, where nobody can wait
    """

    __slots__ = ("client", "may_block", "server")

    def __init__(self, keyspace: Keyspace, sink: LogSink, rng: Random, limits: Limits, server: Server) -> None:
        super().__init__(keyspace, sink, rng, limits)
        self.server = server
        self.client: Client | None = None
        self.may_block = True

    @property
    def session(self) -> Client:
        """The client, for commands that only a client can give."""
        assert self.client is not None
        return self.client

    @property
    def speaker(self) -> Client | None:
        """Who has sent what runs: for a command of a script, who has sent the script."""
        client = self.client
        return client if client is None or client.caller is None else client.caller

    def expire(self, key: bytes) -> None:
        """As the store's, and counted and told; not while a pause keeps the keyspace as it is."""
        engine = self.server.engine
        if engine.state & PAUSED and engine.pause.keeps_expired:
            return
        before = len(self.db)
        super().expire(key)
        if len(self.db) == before:
            return
        self.server.stats.expired_keys += 1
        if engine.state & TRACKED:
            engine.tracker.expired(key)
        if engine.state & WAITED:
            engine.waits.expired(self.db_index, key)

    def flushed_all(self) -> None:
        """As stock: a save that is under way is of no use any more, and save points want one of the empty data."""
        self.server.saves.flushed_all()

    def may_read_every_key(self, argv: list[bytes]) -> bool:
        """Does the client's user have the right to?"""
        client = self.client
        if client is None or client.user is None or not client.state & RESTRICTED:
            return True
        entry = find(argv, LOGGED)
        return entry is not None and client.user.may_read_all_keys(entry, argv)

    def block(
        self, keys: list[bytes], deadline_ms: int, retry: Retry, empty: bytes, wants: type | None = None
    ) -> bytes:
        """Have the client wait (``server.blocking``); it is answered later."""
        client = self.client
        if client is None or client.connection is None or client.state & IN_MULTI or not self.may_block:
            return empty
        self.server.engine.waits.add(client, keys, deadline_ms, retry, empty, wants)
        return b""
