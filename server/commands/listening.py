"""MONITOR.  What is told, and how: ``server.monitor``."""

from __future__ import annotations

from perdure.server.client import IN_MULTI, MONITORING
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError
from perdure.store.resp import OK


@command(
    "MONITOR", arity=1, flags=ADMIN | NOSCRIPT | LOADING | STALE, group="server", acl=("admin", "slow", "dangerous"),
    complexity="O(N) for N connections that monitor, at each command", summary="Shows every command that is run.",
)  # fmt: skip
def monitor(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MONITOR; not answered where it is so already, as in stock"""
    client = tx.session
    if client.state & IN_MULTI:
        raise CommandError(errors.MONITOR_IN_MULTI)
    if client.state & MONITORING:
        return b""
    tx.server.engine.monitors.add(client)
    return OK
