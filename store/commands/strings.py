"""Strings: SET, GET and their kind.  APPEND and SETRANGE are in ``string_edits``,
counting is in ``counters``, LCS in ``lcs``.

A string is ``bytes``, or ``bytearray`` once APPEND or SETRANGE changed it in place
(``string_value``); a bytearray leaves its database only as a copy.

What is logged hangs neither on the time nor on what was there: SETEX, PSETEX and
SET EX are SET PXAT; SETNX, GETSET and SET with NX, XX or GET are SET; MSETNX is
MSET; GETEX is PEXPIREAT, PERSIST or DEL; GETDEL is DEL.

SET, GET and the other commands of the hot path build their record and their reply
themselves and look at the deadlines only if the database has any.
"""

from __future__ import annotations

from functools import partial

import perdure.store.string_value  # noqa: F401 - makes the type known
from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.errors import (
    SYNTAX,
    WRONG_TYPE,
    CommandError,
    invalid_expire,
    wrong_arity,
)
from perdure.store.events import EXPIRED, GENERIC, NEW, STRING
from perdure.store.numbers import INT64_MAX, parse_integer
from perdure.store.resp import BULK_HEADS, CRLF, OK, ONE, ZERO, array_head, bulk, encode, integer
from perdure.store.tx import Tx

_join = b"".join
_EMPTY = b"$0\r\n\r\n"

READ_FAST = ("read", "string", "fast")
READ_SLOW = ("read", "string", "slow")
WRITE_FAST = ("write", "string", "fast")
WRITE_SLOW = ("write", "string", "slow")


def key_spec(*flags: str, last: int = 0, step: int = 1, notes: str = "") -> tuple[KeySpec, ...]:
    """One specification: keys from the first argument on, up to ``last`` behind it (-1: to the end)."""
    return (KeySpec(flags, ("index", 1), ("range", last, step, 0), notes),)


string_command = partial(command, group="string")
"""``@command`` for this data type."""

# ---- GET ---------------------------------------------------------------------------


@string_command(
    "GET",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RO", "access"),
    acl=READ_FAST,
    syntax="key",
    summary="Returns the string value of a key.",
    complexity="O(1)",
)
def get(tx: Tx, argv: list[bytes]) -> bytes:
    """GET key"""
    db = tx.db
    key = argv[1]
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value.__class__ is bytes:
        try:
            return _join((BULK_HEADS[len(value)], value, CRLF))
        except IndexError:
            return bulk(value)
    if value is None:
        tx.missed(key)
        return tx.null
    if value.__class__ is bytearray:
        return bulk(value)
    raise tx.refuse(WRONG_TYPE)


@string_command(
    "MGET",
    arity=-2,
    flags=READONLY | FAST,
    keys_at=(1, -1, 1),
    key_specs=key_spec("RO", "access", last=-1),
    acl=READ_FAST,
    tips=("request_policy:multi_shard",),
    syntax="key [key ...]",
    summary="Returns the string values of several keys; null for those that are absent or hold another type.",
    complexity="O(N) for N keys",
)
def mget(tx: Tx, argv: list[bytes]) -> bytes:
    """MGET key [key ...]"""
    db = tx.db
    find = tx.lookup if db.expires else db.get
    heads = BULK_HEADS
    parts = [array_head(len(argv) - 1)]
    for key in argv[1:]:
        value = find(key)
        if value.__class__ is bytes and len(value) < len(heads):
            parts += (heads[len(value)], value, CRLF)
        elif value.__class__ is bytes or value.__class__ is bytearray:
            parts.append(bulk(value))
        else:
            if value is None:
                tx.missed(key)
            parts.append(tx.null)
    tx.lookups += len(argv) - 1
    return _join(parts)


@string_command(
    "STRLEN",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RO"),
    since="2.2.0",
    acl=READ_FAST,
    syntax="key",
    summary="Returns the length of a string in bytes, 0 for a key that does not exist.",
    complexity="O(1)",
)
def strlen(tx: Tx, argv: list[bytes]) -> bytes:
    """STRLEN key"""
    value = tx.read_string(argv[1])
    return ZERO if value is None else integer(len(value))


def _range(tx: Tx, argv: list[bytes]) -> bytes:
    start = parse_integer(argv[2])
    end = parse_integer(argv[3])
    value = tx.read_string(argv[1])
    if not value or (start < 0 and end < 0 and start > end):
        return _EMPTY
    length = len(value)
    if start < 0:
        start = max(0, start + length)
    if end < 0:
        end = max(0, end + length)
    # A stop beyond the end is cut here: Python would cut it too, but not beyond 2**63.
    return bulk(value[start : min(end, length) + 1]) if start < length else _EMPTY


@string_command(
    "GETRANGE",
    arity=4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RO", "access"),
    since="2.4.0",
    acl=READ_SLOW,
    syntax="key start end",
    summary="Returns the part of a string between two positions, both included; negative ones count from its end.",
    complexity="O(N) for N bytes returned",
)
def getrange(tx: Tx, argv: list[bytes]) -> bytes:
    """GETRANGE key start end"""
    return _range(tx, argv)


@string_command(
    "SUBSTR",
    arity=4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RO", "access"),
    acl=READ_SLOW,
    syntax="key start end",
    doc_flags=("deprecated",),
    replaced_by="`GETRANGE`",
    deprecated_since="2.0.0",
    summary="The old name of GETRANGE.",
    complexity="O(N) for N bytes returned",
)
def substr(tx: Tx, argv: list[bytes]) -> bytes:
    """SUBSTR key start end"""
    return _range(tx, argv)


# ---- SET ---------------------------------------------------------------------------

_NX, _XX, _GET, _KEEPTTL, _PERSIST, _EX, _PX, _EXAT, _PXAT = (1 << bit for bit in range(9))
_TIMES = _EX | _PX | _EXAT | _PXAT
_OPTIONS = {
    b"NX": _NX, b"XX": _XX, b"GET": _GET, b"KEEPTTL": _KEEPTTL, b"PERSIST": _PERSIST,
    b"EX": _EX, b"PX": _PX, b"EXAT": _EXAT, b"PXAT": _PXAT,
}  # fmt: skip
# What an option cannot stand beside.  Given twice it is no error: the last one counts.
_AGAINST = {
    _NX: _XX,
    _XX: _NX,
    _GET: 0,
    _KEEPTTL: _TIMES | _PERSIST,
    _PERSIST: _TIMES | _KEEPTTL,
    **{time: (_TIMES ^ time) | _KEEPTTL | _PERSIST for time in (_EX, _PX, _EXAT, _PXAT)},
}
_COMMON_TIMES = {b"EX": _EX, b"ex": _EX, b"PX": _PX, b"px": _PX, b"PXAT": _PXAT}
_OF_SET = _NX | _XX | _GET | _KEEPTTL | _TIMES
_OF_GETEX = _PERSIST | _TIMES


def _parse_options(argv: list[bytes], first: int, known: int) -> tuple[int, bytes]:
    """The options from ``argv[first]`` on, as flags, and the argument of the one that gives a time."""
    given = 0
    time = b""
    i = first
    while i < len(argv):
        # Stock compares C strings, which end at a NUL byte.
        option = _OPTIONS.get(argv[i].partition(b"\0")[0].upper(), 0) & known
        if not option or given & _AGAINST[option]:
            raise CommandError(SYNTAX)
        given |= option
        i += 1
        if option & _TIMES:
            if i == len(argv):
                raise CommandError(SYNTAX)
            time = argv[i]
            i += 1
    return given, time


def _deadline(tx: Tx, time: bytes, given: int, name: bytes) -> int:
    """The deadline in unix ms that one of ``_TIMES`` asks for."""
    n = parse_integer(time)
    deadline_ms = n * 1000 if given & (_EX | _EXAT) else n
    if n <= 0 or deadline_ms > INT64_MAX:
        raise CommandError(invalid_expire(name))
    if given & (_EX | _PX):
        deadline_ms += tx.clock_ms
        if deadline_ms > INT64_MAX:
            raise CommandError(invalid_expire(name))
    return deadline_ms


_THERE, _ABSENT, _EXPIRED = range(3)


def _presence(tx: Tx, key: bytes) -> int:
    """Is a key there that is about to be written, or has it expired?  Only who listens needs to know."""
    db = tx.db
    if key not in db:
        return _ABSENT
    return _EXPIRED if db.expires.get(key, tx.now_ms + 1) <= tx.now_ms else _THERE


def _tell_set(tx: Tx, key: bytes, before: int, expires: bool = False) -> None:
    """A key was set, and given a deadline; ``before`` is its ``_presence`` then."""
    if before == _EXPIRED:
        tx.notify(EXPIRED, b"expired", key)
    if before != _THERE:
        tx.notify(NEW, b"new", key)
    tx.notify(STRING, b"set", key)
    if expires:
        tx.notify(GENERIC, b"expire", key)


def _store(tx: Tx, key: bytes, value: bytes) -> None:
    """Log SET key value, and do it."""
    before = _presence(tx, key) if tx.notifying else _THERE
    tx.log(encode((b"SET", key, value)))
    tx.db.replace(key, value)
    if tx.notifying:
        _tell_set(tx, key, before)


def _store_until(tx: Tx, key: bytes, value: bytes, deadline_ms: int) -> None:
    """Log SET key value PXAT deadline, and do it."""
    until = b"%d" % deadline_ms
    heads = BULK_HEADS
    try:
        record = _join((
            b"*5\r\n$3\r\nSET\r\n", heads[len(key)], key, CRLF, heads[len(value)], value,
            b"\r\n$4\r\nPXAT\r\n", heads[len(until)], until, CRLF,
        ))  # fmt: skip
    except IndexError:
        record = encode((b"SET", key, value, b"PXAT", until))
    before = _presence(tx, key) if tx.notifying else _THERE
    tx.log(record)
    db = tx.db
    if key not in db:
        db.order.append(key)
    db[key] = value
    db.expire_at(key, deadline_ms)
    if tx.notifying:
        _tell_set(tx, key, before, True)


@string_command(
    "SET",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, 1, 1),
    key_specs=key_spec(
        "RW", "access", "update", "variable_flags", notes="With GET it reads the key as well as writing it."
    ),
    acl=WRITE_SLOW,
    history=(
        ("2.6.12", "Takes `EX`, `PX`, `NX` and `XX`."),
        ("6.0.0", "Takes `KEEPTTL`."),
        ("6.2.0", "Takes `GET`, `EXAT` and `PXAT`."),
        ("7.0.0", "`NX` and `GET` can be combined."),
    ),
    syntax=(
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
        "PXAT unix-time-milliseconds | KEEPTTL]"
    ),
    summary="Sets the string value of a key, whatever it held, with an expiry and a condition if asked.",
    complexity="O(1)",
)
def set_(tx: Tx, argv: list[bytes]) -> bytes:
    """SET key value [NX | XX] [GET] [EX | PX | EXAT | PXAT time | KEEPTTL]"""
    if len(argv) != 3:
        return _set_with_options(tx, argv)
    _, key, value = argv
    if tx.notifying:
        _store(tx, key, value)
        return OK
    try:
        record = _join((b"*3\r\n$3\r\nSET\r\n", BULK_HEADS[len(key)], key, CRLF, BULK_HEADS[len(value)], value, CRLF))
    except IndexError:
        record = b"*3\r\n$3\r\nSET\r\n%b%b" % (bulk(key), bulk(value))
    tx.log(record)
    db = tx.db
    count = len(db)
    db[key] = value  # the one look-up: whether the key was there, the count tells
    if len(db) != count:
        db.order.append(key)
    elif db.expires and key in db.expires:
        del db.expires[key]
    return OK


def _read_before_writing(tx: Tx, argv: list[bytes]) -> bytes:
    """GET for a write, whose calls are no look-ups by themselves."""
    reply = get(tx, argv)
    tx.lookups += 1
    return reply


def _set_with_options(tx: Tx, argv: list[bytes]) -> bytes:
    key, value = argv[1], argv[2]
    if len(argv) == 5 and argv[3] in _COMMON_TIMES:
        _store_until(tx, key, value, _deadline(tx, argv[4], _COMMON_TIMES[argv[3]], b"set"))
        return OK
    given, time = _parse_options(argv, 3, _OF_SET)
    deadline_ms = _deadline(tx, time, given, b"set") if given & _TIMES else 0
    reply = _read_before_writing(tx, argv) if given & _GET else OK
    old = tx.lookup(key)
    if given & (_XX if old is None else _NX):
        return reply if given & _GET else tx.null
    if deadline_ms:
        _store_until(tx, key, value, deadline_ms)
    elif given & _KEEPTTL and old is not None:
        tx.log(encode((b"SET", key, value, b"KEEPTTL")))
        tx.db[key] = value
        if tx.notifying:
            _tell_set(tx, key, _THERE)
    else:
        _store(tx, key, value)
    return reply


@string_command(
    "SETEX",
    arity=4,
    flags=WRITE | DENYOOM,
    keys_at=(1, 1, 1),
    key_specs=key_spec("OW", "update"),
    since="2.0.0",
    acl=WRITE_SLOW,
    syntax="key seconds value",
    summary="Sets a key's string value and its time to live in seconds.",
    complexity="O(1)",
)
def setex(tx: Tx, argv: list[bytes]) -> bytes:
    """SETEX key seconds value"""
    _store_until(tx, argv[1], argv[3], _deadline(tx, argv[2], _EX, b"setex"))
    return OK


@string_command(
    "PSETEX",
    arity=4,
    flags=WRITE | DENYOOM,
    keys_at=(1, 1, 1),
    key_specs=key_spec("OW", "update"),
    since="2.6.0",
    acl=WRITE_SLOW,
    syntax="key milliseconds value",
    summary="Sets a key's string value and its time to live in milliseconds.",
    complexity="O(1)",
)
def psetex(tx: Tx, argv: list[bytes]) -> bytes:
    """PSETEX key milliseconds value"""
    _store_until(tx, argv[1], argv[3], _deadline(tx, argv[2], _PX, b"psetex"))
    return OK


@string_command(
    "SETNX",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("OW", "insert"),
    acl=WRITE_FAST,
    syntax="key value",
    summary="Sets the string value of a key that does not exist yet.",
    complexity="O(1)",
)
def setnx(tx: Tx, argv: list[bytes]) -> bytes:
    """SETNX key value"""
    key = argv[1]
    if key in tx.db and tx.lookup(key) is not None:
        return ZERO
    _store(tx, key, argv[2])
    return ONE


@string_command(
    "GETSET",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RW", "access", "update"),
    acl=WRITE_FAST,
    syntax="key value",
    doc_flags=("deprecated",),
    replaced_by="`SET` with the `!GET` argument",
    deprecated_since="6.2.0",
    summary="Sets a key's string value and returns the one before.",
    complexity="O(1)",
)
def getset(tx: Tx, argv: list[bytes]) -> bytes:
    """GETSET key value"""
    reply = _read_before_writing(tx, argv)
    _store(tx, argv[1], argv[2])
    return reply


# ---- several keys ------------------------------------------------------------------


def _store_pairs(tx: Tx, argv: list[bytes]) -> None:
    """Log ``argv``, an MSET, and do it."""
    tx.log(encode(argv))
    tx.changes += len(argv) // 2 - 1
    db = tx.db
    expires = db.expires
    append = db.order.append
    for key, value in zip(argv[1::2], argv[2::2], strict=True):
        if tx.notifying:
            _tell_set(tx, key, _presence(tx, key))
        if key not in db:
            append(key)
        elif expires and key in expires:
            del expires[key]
        db[key] = value


@string_command(
    "MSET",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, -1, 2),
    key_specs=key_spec("OW", "update", last=-1, step=2),
    since="1.0.1",
    acl=WRITE_SLOW,
    tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
    syntax="key value [key value ...]",
    summary="Sets the string values of several keys at once.",
    complexity="O(N) for N keys",
)
def mset(tx: Tx, argv: list[bytes]) -> bytes:
    """MSET key value [key value ...]"""
    if len(argv) % 2 == 0:
        raise CommandError(wrong_arity(b"mset"))
    _store_pairs(tx, argv)
    return OK


@string_command(
    "MSETNX",
    arity=-3,
    flags=WRITE | DENYOOM,
    keys_at=(1, -1, 2),
    key_specs=key_spec("OW", "insert", last=-1, step=2),
    since="1.0.1",
    acl=WRITE_SLOW,
    tips=("request_policy:multi_shard", "response_policy:agg_min"),
    syntax="key value [key value ...]",
    summary="Sets the string values of several keys if none of them exists.",
    complexity="O(N) for N keys",
)
def msetnx(tx: Tx, argv: list[bytes]) -> bytes:
    """MSETNX key value [key value ...]"""
    if len(argv) % 2 == 0:
        raise CommandError(wrong_arity(b"msetnx"))
    if any(tx.lookup(key) is not None for key in argv[1::2]):
        return ZERO
    _store_pairs(tx, [b"MSET", *argv[1:]])
    return ONE


# ---- reading with an effect --------------------------------------------------------


@string_command(
    "GETDEL",
    arity=2,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RW", "access", "delete"),
    since="6.2.0",
    acl=WRITE_FAST,
    syntax="key",
    summary="Returns the string value of a key and deletes the key.",
    complexity="O(1)",
)
def getdel(tx: Tx, argv: list[bytes]) -> bytes:
    """GETDEL key"""
    key = argv[1]
    value = tx.read_string(key)
    tx.lookups += 1
    if value is None:
        return tx.null
    tx.log(encode((b"DEL", key)))
    tx.db.remove(key)
    if tx.notifying:
        tx.notify(GENERIC, b"del", key)
    return bulk(value)


@string_command(
    "GETEX",
    arity=-2,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RW", "access", "update", notes="It changes the time to live, which is a write."),
    since="6.2.0",
    acl=WRITE_FAST,
    syntax=("key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"),
    summary="Returns the string value of a key and sets or takes away its time to live.",
    complexity="O(1)",
)
def getex(tx: Tx, argv: list[bytes]) -> bytes:
    """GETEX key [EX | PX | EXAT | PXAT time | PERSIST]"""
    key = argv[1]
    given, time = _parse_options(argv, 2, _OF_GETEX)
    value = tx.read_string(key)
    tx.lookups += 1
    if value is None:
        return tx.null
    db = tx.db
    if given & _TIMES:
        deadline_ms = _deadline(tx, time, given, b"getex")
        # While a log is replayed (now_ms is 0), only the log says what has expired.
        if deadline_ms <= tx.now_ms:
            tx.log(encode((b"DEL", key)))
            db.remove(key)
            event = b"del"
        else:
            tx.log(encode((b"PEXPIREAT", key, b"%d" % deadline_ms)))
            db.expire_at(key, deadline_ms)
            event = b"expire"
        if tx.notifying:
            tx.notify(GENERIC, event, key)
    elif given & _PERSIST and key in db.expires:
        tx.log(encode((b"PERSIST", key)))
        db.persist(key)
        if tx.notifying:
            tx.notify(GENERIC, b"persist", key)
    return bulk(value)
