"""The time to live of keys: EXPIRE, TTL, PERSIST and their kind.

Deadlines are unix ms.  Whatever way one was given, the log has PEXPIREAT, or DEL if
the deadline had passed already, so that replaying does not hang on the time.
"""

from __future__ import annotations

from perdure.store.command import FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.errors import (
    GT_WITH_LT,
    NX_WITH_OTHERS,
    CommandError,
    invalid_expire,
    unsupported_option,
)
from perdure.store.events import GENERIC
from perdure.store.numbers import parse_integer
from perdure.store.resp import ONE, ZERO, encode, integer
from perdure.store.tx import Tx

_MAX = (1 << 63) - 1
_NX, _XX, _GT, _LT = 1, 2, 4, 8
_CONDITIONS = {b"NX": _NX, b"XX": _XX, b"GT": _GT, b"LT": _LT}
_SECONDS, _MILLISECONDS = 1000, 1

_UPDATED = (KeySpec(("RW", "update"), ("index", 1), ("range", 0, 1, 0)),)
_READ = (KeySpec(("RO", "access"), ("index", 1), ("range", 0, 1, 0)),)
_HISTORY = (("7.0.0", "Takes `NX`, `XX`, `GT` and `LT`."),)
_WRITES = ("keyspace", "write", "fast")
_READS = ("keyspace", "read", "fast")


def _conditions(argv: list[bytes]) -> int:
    found = 0
    for arg in argv[3:]:
        condition = _CONDITIONS.get(arg.upper())
        if condition is None:
            raise CommandError(unsupported_option(arg))
        found |= condition
    if found & _NX and found & (_XX | _GT | _LT):
        raise CommandError(NX_WITH_OTHERS)
    if found & _GT and found & _LT:
        raise CommandError(GT_WITH_LT)
    return found


def _allows(conditions: int, old_ms: int | None, new_ms: int) -> bool:
    if old_ms is None:
        return not conditions & (_XX | _GT)
    if conditions & _NX:
        return False
    if conditions & _GT:
        return new_ms > old_ms
    if conditions & _LT:
        return new_ms < old_ms
    return True


def _expire(tx: Tx, argv: list[bytes], unit: int, base_ms: int) -> bytes:
    """All four commands: the argument's unit in ms, and the time from which it counts."""
    conditions = _conditions(argv) if len(argv) > 3 else 0
    deadline_ms = parse_integer(argv[2]) * unit
    if not -_MAX - 1 <= deadline_ms <= _MAX - base_ms:
        raise CommandError(invalid_expire(argv[0].lower()))
    deadline_ms += base_ms
    key = argv[1]
    if tx.lookup(key) is None:
        return ZERO
    db = tx.db
    if conditions and not _allows(conditions, db.expires.get(key), deadline_ms):
        return ZERO
    # While a log is replayed (now_ms is 0), only the log says what has expired.
    if deadline_ms <= tx.now_ms and tx.now_ms:
        tx.log(encode((b"DEL", key)))
        dispose(tx, db.remove(key))
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)
        return ONE
    tx.log(encode((b"PEXPIREAT", key, b"%d" % deadline_ms)))
    db.expire_at(key, deadline_ms)
    if tx.notifying:
        tx.notify(GENERIC, b"expire", key)
    return ONE


@command(
    "EXPIRE",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_UPDATED,
    acl=_WRITES,
    history=_HISTORY,
    syntax="key seconds [NX | XX | GT | LT]",
    summary="Sets a key's time to live in seconds.",
    complexity="O(1)",
)
def expire(tx: Tx, argv: list[bytes]) -> bytes:
    """EXPIRE key seconds [NX | XX | GT | LT]"""
    return _expire(tx, argv, _SECONDS, tx.clock_ms)


@command(
    "PEXPIRE",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_UPDATED,
    since="2.6.0",
    acl=_WRITES,
    history=_HISTORY,
    syntax="key milliseconds [NX | XX | GT | LT]",
    summary="Sets a key's time to live in milliseconds.",
    complexity="O(1)",
)
def pexpire(tx: Tx, argv: list[bytes]) -> bytes:
    """PEXPIRE key milliseconds [NX | XX | GT | LT]"""
    return _expire(tx, argv, _MILLISECONDS, tx.clock_ms)


@command(
    "EXPIREAT",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_UPDATED,
    since="1.2.0",
    acl=_WRITES,
    history=_HISTORY,
    syntax="key unix-time-seconds [NX | XX | GT | LT]",
    summary="Sets the unix time in seconds at which a key expires.",
    complexity="O(1)",
)
def expireat(tx: Tx, argv: list[bytes]) -> bytes:
    """EXPIREAT key unix-time-seconds [NX | XX | GT | LT]"""
    return _expire(tx, argv, _SECONDS, 0)


@command(
    "PEXPIREAT",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_UPDATED,
    since="2.6.0",
    acl=_WRITES,
    history=_HISTORY,
    syntax="key unix-time-milliseconds [NX | XX | GT | LT]",
    summary="Sets the unix time in milliseconds at which a key expires.",
    complexity="O(1)",
)
def pexpireat(tx: Tx, argv: list[bytes]) -> bytes:
    """PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]"""
    return _expire(tx, argv, _MILLISECONDS, 0)


_NO_KEY = b":-2\r\n"
_NO_DEADLINE = b":-1\r\n"


def _show(tx: Tx, key: bytes, unit: int, base_ms: int) -> bytes:
    """A key's deadline from ``base_ms`` on, rounded to the unit."""
    if tx.peek(key) is None:
        tx.missed(key)
        return _NO_KEY
    deadline_ms = tx.db.expires.get(key)
    if deadline_ms is None:
        return _NO_DEADLINE
    left_ms = max(0, deadline_ms - base_ms)
    return integer(left_ms if unit == _MILLISECONDS else (left_ms + 500) // 1000)


@command(
    "TTL",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    acl=_READS,
    tips=("nondeterministic_output",),
    history=(("2.8.0", "Answers -2 for a key that does not exist."),),
    syntax="key",
    summary="Returns a key's time to live in seconds: -1 for none, -2 for no such key.",
    complexity="O(1)",
)
def ttl(tx: Tx, argv: list[bytes]) -> bytes:
    """TTL key"""
    return _show(tx, argv[1], _SECONDS, tx.clock_ms)


@command(
    "PTTL",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    since="2.6.0",
    acl=_READS,
    tips=("nondeterministic_output",),
    history=(("2.8.0", "Answers -2 for a key that does not exist."),),
    syntax="key",
    summary="Returns a key's time to live in milliseconds: -1 for none, -2 for no such key.",
    complexity="O(1)",
)
def pttl(tx: Tx, argv: list[bytes]) -> bytes:
    """PTTL key"""
    return _show(tx, argv[1], _MILLISECONDS, tx.clock_ms)


@command(
    "EXPIRETIME",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    since="7.0.0",
    acl=_READS,
    syntax="key",
    summary="Returns the unix time in seconds at which a key expires: -1 for never, -2 for no such key.",
    complexity="O(1)",
)
def expiretime(tx: Tx, argv: list[bytes]) -> bytes:
    """EXPIRETIME key"""
    return _show(tx, argv[1], _SECONDS, 0)


@command(
    "PEXPIRETIME",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=_READ,
    since="7.0.0",
    acl=_READS,
    syntax="key",
    summary="Returns the unix time in milliseconds at which a key expires: -1 for never, -2 for no such key.",
    complexity="O(1)",
)
def pexpiretime(tx: Tx, argv: list[bytes]) -> bytes:
    """PEXPIRETIME key"""
    return _show(tx, argv[1], _MILLISECONDS, 0)


@command(
    "PERSIST",
    arity=2,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_UPDATED,
    since="2.2.0",
    acl=_WRITES,
    syntax="key",
    summary="Takes a key's time to live away.",
    complexity="O(1)",
)
def persist(tx: Tx, argv: list[bytes]) -> bytes:
    """PERSIST key"""
    key = argv[1]
    if tx.lookup(key) is None or key not in tx.db.expires:
        return ZERO
    tx.log(encode(argv))
    tx.db.persist(key)
    if tx.notifying:
        tx.notify(GENERIC, b"persist", key)
    return ONE
