"""WAIT and WAITAOF: wait until what was written is elsewhere, or on the disk.

There are no replicas, so WAIT for one is over when its time is.  WAITAOF is of 7.2.
"""

from __future__ import annotations

from perdure.server.durability import durable_reply
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.blocking import deadline_of_milliseconds
from perdure.store.command import BLOCKING, NOSCRIPT, command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.resp import ZERO
from perdure.store.tx import Tx

_TIPS = ("request_policy:all_shards", "response_policy:agg_min")


def _wait_on(tx: Tx, key: bytes) -> bytes | None:
    """No key ends these waits."""
    return None


@command(
    "WAIT",
    arity=3,
    flags=NOSCRIPT,
    since="3.0.0",
    acl=("slow", "connection"),
    tips=_TIPS,
    syntax="numreplicas timeout",
    summary="Waits until replicas have what the client wrote, or the time is over; returns how many have.",
    complexity="O(1)",
)
def wait(tx: ServerTx, argv: list[bytes]) -> bytes:
    """WAIT numreplicas timeout"""
    replicas = parse_integer(argv[1])
    deadline_ms = deadline_of_milliseconds(tx, argv[2])
    return tx.block([], deadline_ms, _wait_on, ZERO) if replicas > 0 else ZERO


@command(
    "WAITAOF",
    arity=4,
    flags=BLOCKING,
    since="7.2.0",
    acl=("slow", "blocking", "connection"),
    tips=_TIPS,
    syntax="numlocal numreplicas timeout",
    summary="Waits until the logs of this server and of replicas have on the disk what the client wrote.",
    complexity="O(1)",
)
def waitaof(tx: ServerTx, argv: list[bytes]) -> bytes:
    """WAITAOF numlocal numreplicas timeout"""
    local = parse_integer(argv[1])
    if local not in (0, 1):
        raise CommandError(errors.NUMLOCAL_OUT_OF_RANGE)
    replicas = parse_integer(argv[2])
    if replicas < 0:
        raise CommandError(errors.MUST_BE_POSITIVE)
    deadline_ms = deadline_of_milliseconds(tx, argv[3])
    server = tx.server
    if not server.config["appendonly"]:
        if local:
            raise CommandError(errors.WAITAOF_WITHOUT_LOG)
        return tx.block([], deadline_ms, _wait_on, durable_reply(0)) if replicas else durable_reply(0)
    waits = server.durable_waits
    position = waits.position()
    has = waits.is_durable(position)
    if has >= local and not replicas:
        return durable_reply(has)
    reply = tx.block([], deadline_ms, _wait_on, durable_reply(has))
    if not reply and not has and tx.session.wait is not None:
        waits.add(tx.session.wait, position, not replicas)
    return reply
