"""What a server command works with: the store's ``Tx``, and the client and server it runs for."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from perdure.server.client import Client
from perdure.store.database import Keyspace
from perdure.store.tx import LogSink, Tx
from perdure.store.value_types import Limits

if TYPE_CHECKING:
    from perdure.server.server import Server


class ServerTx(Tx):
    """The one ``Tx`` of a server; ``client`` is whose turn it is."""

    __slots__ = ("client", "server")

    def __init__(self, keyspace: Keyspace, sink: LogSink, rng: Random, limits: Limits, server: Server) -> None:
        super().__init__(keyspace, sink, rng, limits)
        self.server = server
        self.client: Client | None = None

    @property
    def session(self) -> Client:
        """The client, for commands that only a client can give."""
        assert self.client is not None
        return self.client

    def expire(self, key: bytes) -> None:
        """As the store's, and counted."""
        before = len(self.db)
        super().expire(key)
        self.server.stats.expired_keys += before - len(self.db)
