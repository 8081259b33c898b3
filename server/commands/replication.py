"""REPLICAOF, ROLE, FAILOVER and what replicas send: this version has no replication.

It is a master without replicas, says so, and stays it: REPLICAOF NO ONE succeeds, as in
stock.  Whoever wants to follow gets through the handshake's REPLCONF, which tells
nothing, and is refused at SYNC and PSYNC with a clear text.
"""

from __future__ import annotations

from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    command,
)
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.resp import EMPTY_ARRAY, OK, ZERO, array, bulk

_ACL = ("admin", "slow", "dangerous")
_FLAGS = ADMIN | NOSCRIPT | STALE
_SYNTAX = "<host port | NO ONE>"
_MOST_PORT = 65_535
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1


def _follow(argv: list[bytes]) -> bytes:
    if argv[1].upper() == b"NO" and argv[2].upper() == b"ONE":
        return OK
    if not 0 <= parse_integer(argv[2], errors.INVALID_MASTER_PORT) <= _MOST_PORT:
        raise CommandError(errors.INVALID_MASTER_PORT)
    raise CommandError(errors.NO_REPLICATION)


@command(
    "REPLICAOF", arity=3, flags=_FLAGS | NO_ASYNC_LOADING, group="server", since="5.0.0", acl=_ACL, syntax=_SYNTAX,
    complexity="O(1)", summary="Is to make the server follow another one, or none; only none can be had.",
)  # fmt: skip
def replicaof(tx: ServerTx, argv: list[bytes]) -> bytes:
    """REPLICAOF <host port | NO ONE>"""
    return _follow(argv)


@command(
    "SLAVEOF", arity=3, flags=_FLAGS | NO_ASYNC_LOADING, group="server", acl=_ACL, syntax=_SYNTAX, complexity="O(1)",
    doc_flags=("deprecated",), deprecated_since="5.0.0", replaced_by="`REPLICAOF`",
    summary="Is to make the server follow another one, or none; REPLICAOF's older name.",
)  # fmt: skip
def slaveof(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SLAVEOF <host port | NO ONE>"""
    return _follow(argv)


@command(
    "ROLE", arity=1, flags=NOSCRIPT | LOADING | STALE | FAST, group="server", since="2.8.12",
    acl=("admin", "fast", "dangerous"), complexity="O(1)",
    summary="Returns whom the server follows and who follows it: nobody.",
)  # fmt: skip
def role(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ROLE"""
    return array([bulk(b"master"), ZERO, EMPTY_ARRAY])


@command(
    "FAILOVER", arity=-1, flags=_FLAGS, group="server", since="6.2.0", acl=_ACL, complexity="O(1)",
    syntax="[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
    summary="Is to hand over to a replica; there is none.",
)  # fmt: skip
def failover(tx: ServerTx, argv: list[bytes]) -> bytes:
    """FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]: refused, in stock's order of checks"""
    if len(argv) == 2 and argv[1].upper() == b"ABORT":
        raise CommandError(errors.NO_FAILOVER)
    seen: set[bytes] = set()
    at = 1
    while at < len(argv):
        word, more = argv[at].upper(), len(argv) - at - 1
        if word in seen:
            raise CommandError(errors.SYNTAX)
        seen.add(word)
        if word == b"TIMEOUT" and more >= 1:
            if parse_integer(argv[at + 1]) <= 0:
                raise CommandError(errors.FAILOVER_TIMEOUT)
            at += 2
        elif word == b"TO" and more >= 2:
            parse_integer(argv[at + 2])
            at += 3
        elif word == b"FORCE":
            at += 1
        else:
            raise CommandError(errors.SYNTAX)
    raise CommandError(errors.FAILOVER_WITHOUT_REPLICAS)


def _int(text: bytes) -> int:
    """A number that fits a C int."""
    number = parse_integer(text)
    if not _INT_MIN <= number <= _INT_MAX:
        raise CommandError(errors.BEYOND_INT)
    return number


@command(
    "REPLCONF", arity=-1, flags=_FLAGS | LOADING | ALLOW_BUSY, group="server", since="3.0.0", acl=_ACL,
    doc_flags=("syscmd",), syntax="[option value [option value ...]]", complexity="O(1)",
    summary="Takes what a replica tells of itself, and forgets it.",
)  # fmt: skip
def replconf(tx: ServerTx, argv: list[bytes]) -> bytes:
    """REPLCONF [option value ...]"""
    if len(argv) % 2 == 0:
        raise CommandError(errors.SYNTAX)
    for option, value in zip(argv[1::2], argv[2::2], strict=True):
        word = option.lower()
        if word in (b"ack", b"getack"):  # of whom follows, or is followed
            raise CommandError(errors.NO_REPLICATION)
        if word == b"listening-port":
            parse_integer(value)
        elif word == b"rdb-only":
            _int(value)
        elif word == b"rdb-filter-only":
            for part in value.split():
                if part.lower() != b"functions":
                    raise CommandError(errors.unknown_rdb_filter(part))
        elif word not in (b"ip-address", b"capa"):
            raise CommandError(errors.unknown_replconf(option))
    return OK


@command(
    "SYNC", arity=1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, group="server", acl=_ACL,
    complexity="O(1)", summary="Refuses to send the data to a replica.",
)  # fmt: skip
def sync(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SYNC"""
    raise CommandError(errors.NO_REPLICATION)


@command(
    "PSYNC", arity=-3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, group="server", since="2.8.0", acl=_ACL,
    syntax="replicationid offset", complexity="O(1)", summary="Refuses to send a replica the data or what changed.",
)  # fmt: skip
def psync(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PSYNC replicationid offset"""
    raise CommandError(errors.NO_REPLICATION)
