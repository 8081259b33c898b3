"""SAVE, BGSAVE, LASTSAVE: snapshots on demand (``server.saves``)."""

from __future__ import annotations

from perdure.server.client import IN_MULTI
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError
from perdure.store.resp import OK, integer
from perdure.store.save_errors import BARE, OTHER_CHILD, SAVE_IN_PROGRESS

_STARTED = b"+Background saving started\r\n"
_SCHEDULED = b"+Background saving scheduled\r\n"


@command(
    "SAVE", arity=1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, group="server",
    acl=("admin", "slow", "dangerous"), complexity="O(N) for N keys",
    summary="Writes a snapshot of all data while everybody waits.",
)  # fmt: skip
def save(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SAVE"""
    saves = tx.server.saves
    if saves.in_progress:
        raise CommandError(SAVE_IN_PROGRESS)
    tx.server.stats.rdb_saves += 1
    if not saves.save():
        raise CommandError(BARE)
    return OK


@command(
    "BGSAVE", arity=-1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING, group="server",
    acl=("admin", "slow", "dangerous"), syntax="[SCHEDULE]", history=(("3.2.2", "Takes `SCHEDULE`."),),
    complexity="O(1), and the time that a fork takes",
    summary="Has a child write a snapshot of all data.",
)  # fmt: skip
def bgsave(tx: ServerTx, argv: list[bytes]) -> bytes:
    """BGSAVE [SCHEDULE]"""
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() != b"SCHEDULE"):
        raise CommandError(errors.SYNTAX)
    server, client = tx.server, tx.session
    if server.saves.in_progress:
        raise CommandError(SAVE_IN_PROGRESS)
    in_exec = tx.in_group or bool(client.state & IN_MULTI)
    if server.children.active is not None or in_exec:
        if len(argv) == 1 and not in_exec:
            raise CommandError(OTHER_CHILD)
        server.saves.scheduled = True
        return _SCHEDULED
    if not server.saves.start():
        raise CommandError(BARE)
    return _STARTED


@command(
    "LASTSAVE", arity=1, flags=LOADING | STALE | FAST, group="server", acl=("admin", "fast", "dangerous"),
    tips=("nondeterministic_output",), complexity="O(1)",
    summary="Returns the unix time of the last snapshot: that of the start while there is none.",
)  # fmt: skip
def lastsave(tx: ServerTx, argv: list[bytes]) -> bytes:
    """LASTSAVE"""
    return integer(tx.server.saves.last_save_s)
