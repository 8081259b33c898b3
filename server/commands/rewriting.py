"""BGREWRITEAOF: the log made anew (``server.rewrite``)."""

from __future__ import annotations

from perdure.server.client import IN_MULTI
from perdure.server.tx import ServerTx
from perdure.store.command import ADMIN, NO_ASYNC_LOADING, NOSCRIPT, command
from perdure.store.errors import CommandError
from perdure.store.resp import simple
from perdure.store.rewrite_errors import REWRITE_IMPOSSIBLE, REWRITE_UNDER_WAY


@command(
    "BGREWRITEAOF", arity=1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING, group="server",
    acl=("admin", "slow", "dangerous"), complexity="O(1), and O(N) for N keys in another process",
    summary="Has the log made anew out of what is in memory, by another process.",
)  # fmt: skip
def bgrewriteaof(tx: ServerTx, argv: list[bytes]) -> bytes:
    """BGREWRITEAOF"""
    server = tx.server
    rewriter = server.rewriter
    if rewriter.in_progress:
        raise CommandError(REWRITE_UNDER_WAY)
    if server.children.active is not None or tx.session.state & IN_MULTI:
        rewriter.schedule()
        return simple(b"Background append only file rewriting scheduled")
    if not rewriter.begin():
        raise CommandError(REWRITE_IMPOSSIBLE)
    return simple(b"Background append only file rewriting started")
