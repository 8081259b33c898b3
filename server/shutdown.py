"""The end on demand: SHUTDOWN, SIGTERM, SIGINT.

In stock's order: a child is ended; a last snapshot is written if there are save points or it
is asked for; then the owner of the loop finishes the log (``server.main``).  If the snapshot
cannot be written, or the log takes no writes, the server goes on, unless it is forced: what
was answered may not be on the disk yet, and goes there once the disk is well again.

From the snapshot on no command runs any more: what it would change would be in no snapshot.

It must not know: event loops, sockets.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from perdure.server.client import BUSY, LOADING
from perdure.server.pause import PAUSE_ALL

if TYPE_CHECKING:
    from perdure.server.server import Server

_FOREVER_MS = 1 << 60


def prepare(server: Server, words: Collection[str]) -> bool:
    """Do all that may fail; False, and the log says why, if the server is to go on.

    ``words``: "save", "nosave", "force".  Followed by ``Server.stop``.
    """
    log, config = server.log, server.config
    forced = "force" in words
    children = server.children
    if children.active is not None:
        what = "saving an .rdb" if server.saves.in_progress else "rewriting the AOF"
        log.warning(f"There is a child {what}. Killing it!")
        children.end("the server ends")
    refusing = server.engine.log.refusing
    if refusing is not None:
        log.warning(f"The log takes no writes ({refusing})" + ("" if forced else ": can't exit"))
        if not forced:
            return False
    wants = "save" in words or ("nosave" not in words and bool(config["save"]))
    if not wants or server.engine.state & LOADING:
        return True
    log.notice("Saving the final RDB snapshot before exiting.")
    if server.engine.state & BUSY:
        log.warning("A script is running, and half of what it does is no snapshot")
    elif server.saves.save():
        server.engine.pause.begin(PAUSE_ALL, server.now_ms() + _FOREVER_MS)
        return True
    log.warning("Error trying to save the DB, " + ("exiting anyway." if forced else "can't exit."))
    return forced


def by_signal(server: Server, name: str) -> None:
    """SIGTERM or SIGINT has come; ``shutdown-on-sigterm`` and ``shutdown-on-sigint`` say how."""
    server.log.warning(f"Received {name} scheduling shutdown...")
    if prepare(server, server.config[f"shutdown-on-{name.lower()}"]):
        server.stop(f"Received {name}", 0)
    else:
        server.log.warning(
            f"{name} received but errors trying to shut down the server, check the logs for more information"
        )
