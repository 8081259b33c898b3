"""``client-output-buffer-limit``: who does not take what it is sent is closed.

A class of clients has a hard limit in bytes, passed for no moment, and a soft one,
passed for no longer than so many seconds.

=======  =====================================================================
pubsub   who has subscribed, and who is told of commands (MONITOR) or of every
         change of keys (CLIENT TRACKING BCAST).  Counted is all that is unsent:
         for the socket, for the log, and in this tick
normal   everyone else.  Counted is what waits for the socket: answers that
         wait for the log are no fault of the client's
=======  =====================================================================

Stock has those two kinds of listeners among the normal ones, which have no limit by
default: one that does not read takes all memory.

It is looked at whenever much is written or the socket takes no more, and ten times a
second for those that are over their soft limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.server.client import CLOSING, MONITORING, SUBSCRIBED, Client

if TYPE_CHECKING:
    from perdure.server.server import Server


def listens(client: Client) -> bool:
    """Is the client of the class pubsub?"""
    return bool(client.state & (SUBSCRIBED | MONITORING) or (client.tracking is not None and client.tracking.bcast))


def unsent_bytes(client: Client) -> int:
    """What counts for the limit."""
    connection = client.connection
    unsent = 0 if connection is None else int(connection.transport.get_write_buffer_size())
    return unsent + client.held_bytes + client.pushed_bytes if listens(client) else unsent


def check(server: Server, client: Client) -> None:
    """Close a client that is over a limit of its class."""
    hard, soft, soft_s = server.limits.output["pubsub" if listens(client) else "normal"]
    unsent = unsent_bytes(client)
    too_much = bool(hard and unsent > hard)
    if soft and unsent > soft:
        now_ms = server.now_ms()
        if not client.over_soft_ms:
            client.over_soft_ms = now_ms
            server.over_soft[client] = None
        too_much = too_much or now_ms - client.over_soft_ms > soft_s * 1000
    elif client.over_soft_ms:
        forget(server, client)
    if too_much and client.connection is not None and not client.state & CLOSING:
        server.log.warning(
            f"Client {client.address.decode()} scheduled to be closed ASAP for overcoming of output buffer limits."
        )
        server.stats.output_limit_disconnections += 1
        client.connection.abort()


def recheck(server: Server) -> None:
    """Ten times a second: is anybody over a soft limit for too long?"""
    for client in list(server.over_soft):
        check(server, client)


def forget(server: Server, client: Client) -> None:
    """``client`` is over no soft limit, or has gone."""
    client.over_soft_ms = 0
    server.over_soft.pop(client, None)
