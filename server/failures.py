"""What goes wrong on a connection: what the operator's log says, what is counted, what the client is told.

Each takes the connection that it is about.  It must not know: how requests are read.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from perdure.server.client import REPLY_OFF, suppress_reply
from perdure.store import errors, resp

if TYPE_CHECKING:
    from perdure.server.connection import Connection


def protocol_error(connection: Connection, reason: bytes) -> bytes:
    """A client broke the protocol; the reply, behind which its connection is closed."""
    text = errors.protocol_error(reason)
    server, client = connection.server, connection.client
    server.log.verbose(f"Protocol error from client {client.address.decode()}: {reason.decode('latin-1')}")
    server.stats.count_error(text)
    return b"" if client.state & REPLY_OFF else resp.error(text)


def too_big(connection: Connection) -> None:
    """Close a client that holds too much of the server's memory with one request, or one transaction."""
    server, client = connection.server, connection.client
    server.log.warning(f"Closing client {client.address.decode()} that reached max query buffer length")
    server.stats.query_limit_disconnections += 1
    connection.close()


def cross_protocol(connection: Connection) -> None:
    """Close a client that speaks HTTP, as stock does, with everything that it sent."""
    connection.server.log.warning(
        f"Connection from {connection.client.address.decode()} aborted: it sends HTTP (POST or Host:). "
        "If it is a web page that was made to talk to this port, someone is trying to get in."
    )
    connection.abort()


def internal_error(connection: Connection, name: bytes, failure: Exception) -> bytes:
    """A command raised what no command should; the reply."""
    server, client = connection.server, connection.client
    trace = "".join(traceback.format_exception(failure)).replace("\n", " | ")
    server.log.warning(f"Internal error: command {name[:64]!r} failed: {trace}")
    server.stats.count_error(errors.INTERNAL)
    reply = resp.error(errors.INTERNAL)
    return suppress_reply(client, reply) if client.state & REPLY_OFF else reply
