"""CLIENT PAUSE and UNPAUSE.  What they do: ``server.pause``."""

from __future__ import annotations

from perdure.server.commands import clients  # noqa: F401 - registers the container
from perdure.server.pause import PAUSE_ALL, PAUSE_WRITE
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError
from perdure.store.numbers import INT64_MAX, parse_integer
from perdure.store.resp import OK

_FLAGS = ADMIN | NOSCRIPT | LOADING | STALE
_ACL = ("admin", "slow", "dangerous", "connection")


@command(
    "CLIENT|PAUSE", arity=-3, flags=_FLAGS, since="2.9.50", group="connection", acl=_ACL,
    syntax="timeout [WRITE | ALL]", history=(("6.2.0", "Takes `WRITE` and `ALL`."),), complexity="O(1)",
    summary="Keeps commands back for a while.",
)  # fmt: skip
def client_pause(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT PAUSE timeout [WRITE | ALL], in ms"""
    if len(argv) > 4:
        raise CommandError(errors.wrong_subcommand(argv[1], b"CLIENT"))
    mode = argv[3].upper() if len(argv) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise CommandError(errors.PAUSE_MODE)
    span_ms = parse_integer(argv[2], errors.TIMEOUT_NOT_AN_INTEGER)
    if span_ms < 0:
        raise CommandError(errors.TIMEOUT_NEGATIVE)
    if 0 < span_ms <= INT64_MAX - tx.clock_ms:  # beyond that stock's clock runs over, and the pause is none
        kind = PAUSE_WRITE if mode == b"WRITE" else PAUSE_ALL
        tx.server.engine.pause.begin(kind, tx.clock_ms + span_ms)
    return OK


@command(
    "CLIENT|UNPAUSE", arity=2, flags=_FLAGS, since="6.2.0", group="connection", acl=_ACL,
    complexity="O(N) for N connections that were kept waiting", summary="Ends a pause before its time.",
)  # fmt: skip
def client_unpause(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT UNPAUSE"""
    tx.server.engine.pause.end()
    return OK
