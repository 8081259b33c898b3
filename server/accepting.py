"""Taking clients in: listening sockets on the loop, and what becomes of those who connect.

Where the compiled hot path was built (``server.native``), a client's socket belongs
to its poller; else, and for TLS, to the event loop's own transports.  Both give a
``Connection`` the same events and take the same calls.  ``PERDURE_NATIVE=no`` in the
environment does without the compiled one.

It must not know: addresses, protocols, commands.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, Protocol

from perdure.server.connection import Connection
from perdure.server.tls_connection import TlsConnection

if TYPE_CHECKING:
    from perdure.server.native import Poller
    from perdure.server.server import Server

_AT_ONCE = 64
"""Clients taken in one turn of the loop."""
_RETRY_S = 0.1


class Listening(Protocol):
    """A listening socket at work."""

    def close(self) -> None:
        """Take nobody in any more."""


def make_poller(server: Server) -> Poller | None:
    """The compiled poller, if there is one and it is wanted."""
    if os.environ.get("PERDURE_NATIVE") == "no":
        return None
    try:
        from perdure.server.native import Poller
    except ImportError:
        return None
    return Poller(server)


async def listen(
    server: Server, poller: Poller | None, sock: socket.socket, context: ssl.SSLContext | None
) -> Listening:
    """Take in clients who connect to ``sock``, and speak TLS if there is a context for it."""
    loop = asyncio.get_running_loop()
    backlog = server.config["tcp-backlog"]
    if context is not None:
        return await loop.create_server(lambda: TlsConnection(server), sock=sock, ssl=context, backlog=backlog)
    if poller is not None:
        return Acceptor(server, poller, sock)
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(lambda: Connection(server), sock=sock, backlog=backlog)
    return await loop.create_server(lambda: Connection(server), sock=sock, backlog=backlog)


class Acceptor:
    """A listening socket whose clients go to the poller."""

    def __init__(self, server: Server, poller: Poller, sock: socket.socket) -> None:
        self.server = server
        self.poller = poller
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._watch()

    def _watch(self) -> None:
        self._retry = None
        self.loop.add_reader(self.sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptors left, most likely: the socket stays readable, so let go of it for a while.
                self.server.log.warning(f"Accepting client connection: {error.strerror}")
                self.loop.remove_reader(self.sock.fileno())
                self._retry = self.loop.call_later(_RETRY_S, self._watch)
                return
            try:
                self.poller.add(sock, Connection(self.server))
            except OSError as error:
                self.server.log.warning(f"Accepting client connection: {error.strerror}")
                sock.close()

    def close(self) -> None:
        """Take nobody in any more."""
        if self._retry is not None:
            self._retry.cancel()
        elif self.sock.fileno() >= 0:
            self.loop.remove_reader(self.sock.fileno())
        self.sock.close()
