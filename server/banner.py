"""What a person wants to know of a server that has just started: where, what, how safe.

It must not know: anything that changes while the server runs.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from perdure.server.version import PERDURE_VERSION, REDIS_VERSION

if TYPE_CHECKING:
    from perdure.server.listeners import Listeners
    from perdure.server.server import Server

_POLICIES = {
    "always": "every write is fsynced before it is answered",
    "everysec": "every write is in the kernel before it is answered, and fsynced within about a second",
    "no": "every write is in the kernel before it is answered; the kernel decides when it is on the disk",
}


def lines(server: Server, listeners: Listeners) -> list[str]:
    """The banner."""
    config = server.config
    out = [f"perdure {PERDURE_VERSION}, compatible with Redis {REDIS_VERSION}"]
    for sock in listeners.sockets:
        out.append(f"  listening on  {_place(sock)}{', TLS' if listeners.is_tls(sock) else ''}")
    out.append(f"  data in       {config['dir']}")
    if config["appendonly"]:
        policy = config["appendfsync"]
        out.append(f"  log           {config['appenddirname']}/, appendfsync {policy}: {_POLICIES[policy]}")
        out.append(f"  recovered     {_recovered(server)}")
    else:
        out.append(f"  log           none (appendonly no): {_without_log(server)}")
        out.append(f"  recovered     {_recovered(server)}")
    if not server.compiled:
        out.append("  hot path      plain Python: slower; it is compiled at installation where there is a C compiler")
    out.append("Ready to accept connections")
    return out


def _place(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix socket {name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _without_log(server: Server) -> str:
    points = server.config["save"]
    if not points:
        return "what was not saved (SAVE, BGSAVE) is lost when the process ends"
    shown = ", ".join(f"{changes} changes in {seconds} seconds" for seconds, changes in points)
    return f"what came after the last snapshot is lost in a crash; snapshots after {shown}, and at the end"


def _recovered(server: Server) -> str:
    recovery = server.recovery
    if recovery is None or not recovery.found:
        if server.saves.loaded_file:
            return f"{server.keyspace.key_count()} keys from the snapshot {server.saves.loaded_file}"
        return "nothing: there is no log yet" if recovery is not None else "nothing: there is no snapshot"
    text = f"{server.keyspace.key_count()} keys from {recovery.commands} commands, up to lsn {recovery.end.lsn}"
    if recovery.cut is not None:
        text += f"; a torn tail of {recovery.cut.bytes} bytes was cut"
    return text
