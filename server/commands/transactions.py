"""MULTI, EXEC, DISCARD, WATCH, UNWATCH.  Who watches what: ``server.transactions``.

EXEC runs the queue as one group of the log.  What the group may need is asked of
the log before anything runs, so a log that cannot take the transaction refuses all
of it (REFUSE-WHOLE), and none of it is ever recovered without the rest.
"""

from __future__ import annotations

from perdure.server.client import IN_MULTI, TRACK_DIRTY
from perdure.server.transactions import Queued, watched_key_expired
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    MAY_REPLICATE,
    NOSCRIPT,
    PUBSUB,
    SKIP_SLOWLOG,
    STALE,
    WRITE,
    KeySpec,
    command,
)
from perdure.store.errors import CommandError
from perdure.store.resp import OK, array

_FLAGS = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY
_ACL = ("fast", "transaction")
_RECORD_MARGIN_BYTES = 256
"""Above a command's own bytes: SELECT and MULTI, and an effect that is longer than what was sent."""
_ARGUMENT_BYTES = 16


@command(
    "MULTI", arity=1, flags=_FLAGS, since="1.2.0", group="transactions", acl=_ACL, complexity="O(1)",
    summary="Begins a transaction: what follows is queued until EXEC.",
)  # fmt: skip
def multi(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MULTI"""
    client = tx.session
    if client.state & IN_MULTI:
        raise CommandError(errors.NESTED_MULTI)
    client.state |= IN_MULTI
    return OK


@command(
    "DISCARD", arity=1, flags=_FLAGS, since="2.0.0", group="transactions", acl=_ACL,
    complexity="O(N) where N is the number of queued commands", summary="Drops a transaction.",
)  # fmt: skip
def discard(tx: ServerTx, argv: list[bytes]) -> bytes:
    """DISCARD"""
    if not tx.session.state & IN_MULTI:
        raise CommandError(errors.DISCARD_WITHOUT_MULTI)
    tx.server.discard_transaction(tx.session)
    return OK


@command(
    "EXEC", arity=1, flags=NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG, since="1.2.0", group="transactions",
    acl=("slow", "transaction"), complexity="That of the commands queued",
    summary="Runs the queued commands as one, unless a watched key has changed.",
)  # fmt: skip
def exec_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """EXEC"""
    client, server = tx.session, tx.server
    if not client.state & IN_MULTI:
        raise CommandError(errors.EXEC_WITHOUT_MULTI)
    run = server.engine.run_queued
    grouped = False
    try:
        if client.flags_multi_error:
            raise CommandError(errors.EXEC_ABORTED)
        if client.watched_dirty or watched_key_expired(client, tx):
            if server.engine.state & TRACK_DIRTY:
                # The answer tells that a watched key was changed (ANSWER-AFTER).
                server.engine.depend_on([key for _, key in client.watching])
            return tx.null_array
        expected = _expected_bytes(client.queue)
        if expected:
            _begin_group(tx, expected)
            grouped = True
        server.forget_watches(client)
        return array([run(client, entry, queued) for entry, queued in client.queue])
    finally:
        if grouped:
            tx.end_group()
        server.discard_transaction(client)


def _expected_bytes(queue: list[Queued]) -> int:
    """What the queue's writes may log at most, by and large; 0 if nothing of it writes (PUBLISH is not logged)."""
    return sum(
        _RECORD_MARGIN_BYTES + sum(map(len, argv)) + _ARGUMENT_BYTES * len(argv)
        for entry, argv in queue
        if entry.flags & (WRITE | MAY_REPLICATE) and not entry.flags & PUBSUB
    )


def _begin_group(tx: ServerTx, expected_bytes: int) -> None:
    try:
        tx.begin_group(expected_bytes)
    except CommandError as refusal:
        raise CommandError(errors.exec_aborted(refusal.text)) from None


@command(
    "WATCH", arity=-2, flags=_FLAGS, keys_at=(1, -1, 1), since="2.2.0", group="transactions", acl=_ACL,
    key_specs=(KeySpec(("RO",), ("index", 1), ("range", -1, 1, 0)),), syntax="key [key ...]",
    complexity="O(1) for each key", summary="Makes the next EXEC do nothing if one of the keys changes before it.",
)  # fmt: skip
def watch(tx: ServerTx, argv: list[bytes]) -> bytes:
    """WATCH key [key ...]"""
    client = tx.session
    if client.state & IN_MULTI:
        raise CommandError(errors.WATCH_IN_MULTI)
    if not client.watched_dirty:
        tx.server.watch_keys(client, argv[1:])
    return OK


@command(
    "UNWATCH", arity=1, flags=_FLAGS, since="2.2.0", group="transactions", acl=_ACL, complexity="O(1)",
    summary="Forgets every key that is watched.",
)  # fmt: skip
def unwatch(tx: ServerTx, argv: list[bytes]) -> bytes:
    """UNWATCH"""
    tx.server.forget_watches(tx.session)
    return OK
