"""DUMP and RESTORE: a value as bytes that stock takes, and back (``snapshot.rdb.payload``).

A payload is of version 10, stock 7.0's, unless that cannot hold the value.  RESTORE takes
payloads of every version that is read; one that stock 7.0 would not take is logged as one
that it does, so that it loads our log.
"""

from __future__ import annotations

from typing import Any

from perdure.server.tx import ServerTx
from perdure.snapshot.keyspace import put
from perdure.snapshot.rdb import payload as payloads
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.store_values import ENCODERS, MAKERS, is_empty, shown_fields
from perdure.store.command import ASKING, DENYOOM, READONLY, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.dump_errors import (
    BAD_DUMP_CHECKSUM,
    BAD_DUMP_DATA,
    BUSY_KEY,
    INVALID_FREQ,
    INVALID_IDLETIME,
    INVALID_RESTORE_TTL,
)
from perdure.store.errors import SYNTAX, CommandError
from perdure.store.events import GENERIC
from perdure.store.hash_value import ExpiringHash, Hash
from perdure.store.numbers import parse_integer
from perdure.store.resp import OK, bulk, encode
from perdure.store.tx import Tx

_STOCK = 10
_MOST_FREQ = 255
_FIELDS_A_LINE = 64


def payload_of(tx: Tx, value: Any) -> bytes:
    """A value as DUMP gives it."""
    compress = tx.server.config["rdbcompression"] if isinstance(tx, ServerTx) else True
    if value.__class__ is ExpiringHash:
        fields = shown_fields(value)
        encoder = Encoder(payloads.version_for(fields), compress, tx.limits)
        return payloads.dump(b"hash", fields, encoder, value.big)
    code, pieces = ENCODERS[value.__class__](value, Encoder(_STOCK, compress, tx.limits))
    return payloads.finished(code, b"".join(pieces), _STOCK)


@command(
    "DUMP",
    arity=2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=(KeySpec(("RO", "access"), ("index", 1), ("range", 0, 1, 0)),),
    since="2.6.0",
    acl=("keyspace", "read", "slow"),
    tips=("nondeterministic_output",),
    syntax="key",
    summary="Returns a key's value as bytes that RESTORE takes.",
    complexity="O(N) for N members, and for the bytes that they have",
)
def dump(tx: Tx, argv: list[bytes]) -> bytes:
    """DUMP key"""
    key = argv[1]
    value = tx.lookup(key)
    if value is None or (value.__class__ is ExpiringHash and not value):
        tx.missed(key)
        return tx.null
    return bulk(payload_of(tx, value))


class _Options:
    """What stands behind the payload of RESTORE."""

    __slots__ = ("absolute", "freq", "idle_s", "replace")

    def __init__(self, argv: list[bytes]) -> None:
        self.replace = self.absolute = False
        self.idle_s = self.freq = -1
        at = 4
        while at < len(argv):
            word = argv[at].upper()
            more = at + 1 < len(argv)
            if word == b"REPLACE":
                self.replace = True
            elif word == b"ABSTTL":
                self.absolute = True
            elif word == b"IDLETIME" and more and self.freq < 0:
                at += 1
                self.idle_s = parse_integer(argv[at])
                if self.idle_s < 0:
                    raise CommandError(INVALID_IDLETIME)
            elif word == b"FREQ" and more and self.idle_s < 0:
                at += 1
                self.freq = parse_integer(argv[at])
                if not 0 <= self.freq <= _MOST_FREQ:
                    raise CommandError(INVALID_FREQ)
            else:
                raise CommandError(SYNTAX)
            at += 1


def _load(tx: Tx, payload: bytes) -> tuple[Any, int]:
    """A payload's value, and its version."""
    try:
        payloads.verify(payload)
    except RdbError:
        raise CommandError(BAD_DUMP_CHECKSUM) from None
    try:
        found = payloads.load(payload)
    except RdbError:
        raise CommandError(BAD_DUMP_DATA) from None
    if is_empty(found.value):
        raise CommandError(BAD_DUMP_DATA)
    return MAKERS[found.type](found.value, found.code, tx.keyspace, tx.limits), found.version


def _log(tx: Tx, argv: list[bytes], value: Any, version: int, deadline_ms: int, options: _Options) -> None:
    """As it came, but with an absolute deadline, and with a payload that stock takes."""
    line = argv.copy()
    if deadline_ms and not options.absolute:
        line[2] = b"%d" % deadline_ms
        line.append(b"ABSTTL")
    records = []
    if version > _STOCK:
        plain = value
        if isinstance(value, ExpiringHash):
            plain = Hash(dict.items(value))
            plain.big = value.big
            records = _field_deadlines(argv[1], value)
        line[3] = payload_of(tx, plain)
    tx.log_together([encode(line), *records])


def _field_deadlines(key: bytes, value: ExpiringHash) -> list[bytes]:
    """Records that give the fields of a hash their deadlines."""
    by_deadline: dict[int, list[bytes]] = {}
    for field, moment in value.deadlines.by_field.items():
        by_deadline.setdefault(moment, []).append(field)
    return [
        encode([b"HPEXPIREAT", key, b"%d" % moment, b"FIELDS", b"%d" % len(part), *part])
        for moment, fields in by_deadline.items()
        for start in range(0, len(fields), _FIELDS_A_LINE)
        for part in (fields[start : start + _FIELDS_A_LINE],)
    ]


def _wrapped(n: int) -> int:
    """A sum as C keeps it in a signed 64-bit number: a deadline beyond all time is past."""
    return (n + (1 << 63) & (1 << 64) - 1) - (1 << 63)


_RESTORE: dict[str, Any] = {
    "arity": -4,
    "keys_at": (1, 1, 1),
    "key_specs": (KeySpec(("OW", "update"), ("index", 1), ("range", 0, 1, 0)),),
    "acl": ("keyspace", "write", "slow", "dangerous"),
    "syntax": "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    "history": (
        ("3.0.0", "Takes `REPLACE`."),
        ("5.0.0", "Takes `ABSTTL`."),
        ("5.0.0", "Takes `IDLETIME` and `FREQ`."),
    ),
    "complexity": "O(N) for N members and the bytes that they have, O(N*log(N)) for sorted sets",
}


@command(
    "RESTORE-ASKING",
    flags=WRITE | DENYOOM | ASKING,
    since="3.0.0",
    group="server",
    doc_flags=("syscmd",),
    summary="Does what RESTORE does; MIGRATE of a cluster's node says it so.",
    **_RESTORE,
)
@command(
    "RESTORE",
    flags=WRITE | DENYOOM,
    since="2.6.0",
    summary="Makes a key of the bytes that DUMP returned.",
    **_RESTORE,
)
def restore(tx: Tx, argv: list[bytes]) -> bytes:
    """RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]"""
    options = _Options(argv)
    key = argv[1]
    if not options.replace and tx.lookup(key) is not None:
        raise CommandError(BUSY_KEY)
    ttl = parse_integer(argv[2])
    if ttl < 0:
        raise CommandError(INVALID_RESTORE_TTL)
    value, version = _load(tx, argv[3])
    deadline_ms = ttl if options.absolute or not ttl else _wrapped(ttl + tx.clock_ms)
    db = tx.db
    old = dict.get(db, key)
    if ttl and deadline_ms <= tx.now_ms:
        if old is not None:
            tx.log(encode((b"DEL", key)))
            dispose(tx, db.remove(key))
            if tx.notifying:
                tx.notify(GENERIC, b"del", key)
        return OK
    _log(tx, argv, value, version, deadline_ms, options)
    if old is not None:
        dispose(tx, db.remove(key))
    put(db, key, value, deadline_ms if ttl else None)
    if (options.idle_s >= 0 or options.freq >= 0) and (tx.now_ms or db.uses is not None):
        idle_ms = options.idle_s * 1000 if options.idle_s >= 0 else None
        db.set_use(tx, key, idle_ms, options.freq if options.freq >= 0 else None)
    if tx.notifying:
        tx.notify_write(GENERIC, b"restore", key, True)
    return OK
