"""Strings that count: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

A counter is a string in the canonical form of a 64-bit integer; who sends half a
million INCR a second should pay for reading, adding and printing it, and for no
layers.  INCRBYFLOAT counts in long doubles as stock does (``numbers``) and is logged
by its result.
"""

from __future__ import annotations

from perdure.store.command import DENYOOM, FAST, WRITE
from perdure.store.commands.strings import WRITE_FAST, key_spec, string_command
from perdure.store.errors import (
    DECREMENT_OVERFLOW,
    NAN_OR_INFINITY,
    NOT_A_FLOAT,
    NOT_AN_INTEGER,
    OVERFLOW,
    WRONG_TYPE,
    CommandError,
)
from perdure.store.events import STRING
from perdure.store.numbers import (
    INT64_MAX,
    INT64_MIN,
    LongDouble,
    add_long_doubles,
    parse_integer,
    print_long_double,
    read_long_double,
)
from perdure.store.resp import BULK_HEADS, CRLF, bulk, encode, integer
from perdure.store.tx import Tx

_join = b"".join
_NUMBER_CHARS = 20
_SPECS = key_spec("RW", "access", "update")


def _count(tx: Tx, key: bytes, change: int, record: bytes) -> bytes:
    """Add ``change`` to the counter at ``key`` and log ``record``."""
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value is None:
        tx.log(record)
        db.replace(key, b"%d" % change)
        if tx.notifying:
            tx.notify_write(STRING, b"incrby", key, True)
        return integer(change)
    if value.__class__ is not bytes and value.__class__ is not bytearray:
        raise CommandError(WRONG_TYPE)
    if len(value) > _NUMBER_CHARS:
        raise CommandError(NOT_AN_INTEGER)
    try:
        n = int(value)
    except ValueError:
        raise CommandError(NOT_AN_INTEGER) from None
    if b"%d" % n != value or not INT64_MIN <= n <= INT64_MAX:
        raise CommandError(NOT_AN_INTEGER)
    n += change
    if not INT64_MIN <= n <= INT64_MAX:
        raise CommandError(OVERFLOW)
    tx.log(record)
    db[key] = b"%d" % n
    if tx.notifying:
        tx.notify_write(STRING, b"incrby", key, False)
    return integer(n)


@string_command(
    "INCR",
    arity=2,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_SPECS,
    acl=WRITE_FAST,
    syntax="key",
    summary="Adds one to the integer of a key; a key that does not exist counts from 0.",
    complexity="O(1)",
)
def incr(tx: Tx, argv: list[bytes]) -> bytes:
    """INCR key"""
    key = argv[1]
    try:
        record = _join((b"*2\r\n$4\r\nINCR\r\n", BULK_HEADS[len(key)], key, CRLF))
    except IndexError:
        record = encode(argv)
    return _count(tx, key, 1, record)


@string_command(
    "DECR",
    arity=2,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_SPECS,
    acl=WRITE_FAST,
    syntax="key",
    summary="Takes one from the integer of a key; a key that does not exist counts from 0.",
    complexity="O(1)",
)
def decr(tx: Tx, argv: list[bytes]) -> bytes:
    """DECR key"""
    return _count(tx, argv[1], -1, encode(argv))


@string_command(
    "INCRBY",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_SPECS,
    acl=WRITE_FAST,
    syntax="key increment",
    summary="Adds an integer to the integer of a key; a key that does not exist counts from 0.",
    complexity="O(1)",
)
def incrby(tx: Tx, argv: list[bytes]) -> bytes:
    """INCRBY key increment"""
    return _count(tx, argv[1], parse_integer(argv[2]), encode(argv))


@string_command(
    "DECRBY",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_SPECS,
    acl=WRITE_FAST,
    syntax="key decrement",
    summary="Takes an integer from the integer of a key; a key that does not exist counts from 0.",
    complexity="O(1)",
)
def decrby(tx: Tx, argv: list[bytes]) -> bytes:
    """DECRBY key decrement"""
    change = parse_integer(argv[2])
    if change == INT64_MIN:
        raise CommandError(DECREMENT_OVERFLOW)
    return _count(tx, argv[1], -change, encode(argv))


def _long_double(text: bytes | bytearray) -> LongDouble:
    value = read_long_double(text)
    if value is None:
        raise CommandError(NOT_A_FLOAT)
    return value


@string_command(
    "INCRBYFLOAT",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=_SPECS,
    since="2.6.0",
    acl=WRITE_FAST,
    syntax="key increment",
    summary="Adds a floating point number to the number of a key; a key that does not exist counts from 0.",
    complexity="O(1)",
)
def incrbyfloat(tx: Tx, argv: list[bytes]) -> bytes:
    """INCRBYFLOAT key increment"""
    key = argv[1]
    value = tx.lookup_string(key)
    old = (0, 0) if value is None else _long_double(value)
    total = add_long_doubles(old, _long_double(argv[2]))
    if total is None:
        raise CommandError(NAN_OR_INFINITY)
    text = print_long_double(total)
    if value is None:
        tx.log(encode((b"SET", key, text)))
        tx.db.replace(key, text)
    else:
        tx.log(encode((b"SET", key, text, b"KEEPTTL")))
        tx.db[key] = text
    if tx.notifying:
        tx.notify_write(STRING, b"incrbyfloat", key, value is None)
    return bulk(text)
