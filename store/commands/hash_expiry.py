"""Deadlines of hash fields, of version 7.4: HEXPIRE, HTTL, HPERSIST and their kind.

Deadlines are unix ms.  Whatever way one was given, the log has HPEXPIREAT, or HDEL if
the deadline had passed already; that a field has expired is logged as HDEL, too.  A log
with an HPEXPIREAT in it can be opened by perdure and by stock from 7.4 on; stock 7.0
refuses it, because it knows no such command.  A log of a keyspace that never used
these commands is not concerned.

HSET gives a field anew, without a deadline; HINCRBY and HINCRBYFLOAT keep it, the
latter's record being HSET and HPEXPIREAT.  How due fields disappear is told in
``store.hash_value``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, command
from perdure.store.commands.hashes import ACCESSED, UPDATED, find_hash, read_hash
from perdure.store.errors import (
    FIELD_COUNT_NOT_POSITIVE,
    FIELD_COUNT_WRONG,
    FIELDS_MISSING,
    FIELDS_NOT_POSITIVE,
    NEGATIVE_EXPIRE,
    CommandError,
    invalid_expire,
)
from perdure.store.events import GENERIC, HASH
from perdure.store.field_deadlines import NEVER
from perdure.store.hash_value import ExpiringHash, Hash, with_deadlines
from perdure.store.numbers import INT64_MAX, parse_integer, read_integer
from perdure.store.resp import array, encode, integer
from perdure.store.tx import Tx

_SECONDS, _MILLISECONDS = 1000, 1
_LAST_MS = (1 << 46) - 1
"""Stock has no room for later deadlines; it is the year 4199."""
_NX, _XX, _GT, _LT = b"NX", b"XX", b"GT", b"LT"
_CONDITIONS = (_NX, _XX, _GT, _LT)
_NO_FIELD, _NO_DEADLINE = integer(-2), integer(-1)
_REFUSED, _SET, _DELETED = integer(0), integer(1), integer(2)

_field_command = partial(command, group="hash", since="7.4.0", keys_at=(1, 1, 1), complexity="O(N) for N fields")
_write = partial(_field_command, key_specs=UPDATED, acl=("write", "hash", "fast"))
_read = partial(_field_command, arity=-5, flags=READONLY | FAST, key_specs=ACCESSED, acl=("read", "hash", "fast"))
_expire_command = partial(_write, arity=-6, flags=WRITE | DENYOOM | FAST)


def _fields(argv: list[bytes], at: int, not_positive: bytes) -> list[bytes]:
    """The fields behind FIELDS numfields, which stand at ``argv[at]``."""
    if argv[at].upper() != b"FIELDS":
        raise CommandError(FIELDS_MISSING)
    count = read_integer(argv[at + 1])
    if count is None or count < 1:
        raise CommandError(not_positive)
    if count != len(argv) - at - 2:
        raise CommandError(FIELD_COUNT_WRONG)
    return argv[at + 2 :]


# ---- setting ---------------------------------------------------------------------------


def _allows(condition: bytes, old_ms: int | None, new_ms: int) -> bool:
    """No deadline counts as one that never comes."""
    if condition == _NX:
        return old_ms is None
    if condition == _XX:
        return old_ms is not None
    if condition == _GT:
        return old_ms is not None and new_ms > old_ms
    return condition != _LT or old_ms is None or new_ms < old_ms


def _expire(tx: Tx, argv: list[bytes], unit: int, base_ms: int) -> bytes:
    """All four commands: the argument's unit in ms, and the time from which it counts."""
    key = argv[1]
    value = find_hash(tx, key)
    span = parse_integer(argv[2])
    if span < 0:
        raise CommandError(NEGATIVE_EXPIRE)
    deadline_ms = span * unit + base_ms
    if span * unit > INT64_MAX or deadline_ms > _LAST_MS:
        raise CommandError(invalid_expire(argv[0].lower()))
    condition = argv[3].upper()
    if condition not in _CONDITIONS:
        condition = b""
    fields = _fields(argv, 4 if condition else 3, FIELDS_NOT_POSITIVE)
    if value is None:
        return array([_NO_FIELD] * len(fields))
    # While a log is replayed (now_ms is 0), only the log says what has expired.
    passed = bool(tx.now_ms) and deadline_ms <= tx.now_ms
    chosen, replies = _choose(value, fields, condition, deadline_ms, passed)
    if not chosen:
        return array(replies)
    if passed:
        _delete(tx, key, value, chosen)
    else:
        tx.log(encode((b"HPEXPIREAT", key, b"%d" % deadline_ms, b"FIELDS", b"%d" % len(chosen), *chosen)))
        deadlines = with_deadlines(value, tx.keyspace).deadlines
        for field in chosen:
            deadlines.set(field, deadline_ms)
        tx.db.member_expires_at(key, deadline_ms)
        if tx.notifying:
            tx.notify(HASH, b"hexpire", key)
    return array(replies)


def _choose(
    value: Hash, fields: list[bytes], condition: bytes, deadline_ms: int, passed: bool
) -> tuple[list[bytes], list[bytes]]:
    """Which fields get the deadline, each once, and each field's reply; one named again is as it was left before."""
    held = value.deadlines.by_field if isinstance(value, ExpiringHash) else {}
    chosen: dict[bytes, None] = {}
    replies = []
    for field in fields:
        given = field in chosen
        if field not in value or (given and passed):
            replies.append(_NO_FIELD)
        elif not _allows(condition, deadline_ms if given else held.get(field), deadline_ms):
            replies.append(_REFUSED)
        else:
            chosen[field] = None
            replies.append(_DELETED if passed else _SET)
    return list(chosen), replies


def _delete(tx: Tx, key: bytes, value: Hash, fields: list[bytes]) -> None:
    """Remove fields whose new deadline has passed, and the key with the last of all."""
    tx.log(encode((b"HDEL", key, *fields)))
    for field in fields:
        value.remove(field)
    is_empty = not dict.__len__(value)
    if is_empty:
        tx.db.remove(key)
    if tx.notifying:
        tx.notify(HASH, b"hdel", key)
        if is_empty:
            tx.notify(GENERIC, b"del", key)


@_expire_command(
    "HEXPIRE",
    syntax="key seconds [NX | XX | GT | LT] FIELDS <numfields field [field ...]>",
    summary="Sets the time to live of fields of a hash in seconds.",
)
def hexpire(tx: Tx, argv: list[bytes]) -> bytes:
    """HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(tx, argv, _SECONDS, tx.clock_ms)


@_expire_command(
    "HPEXPIRE",
    syntax="key milliseconds [NX | XX | GT | LT] FIELDS <numfields field [field ...]>",
    summary="Sets the time to live of fields of a hash in milliseconds.",
)
def hpexpire(tx: Tx, argv: list[bytes]) -> bytes:
    """HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(tx, argv, _MILLISECONDS, tx.clock_ms)


@_expire_command(
    "HEXPIREAT",
    syntax="key unix-time-seconds [NX | XX | GT | LT] FIELDS <numfields field [field ...]>",
    summary="Sets the unix time in seconds at which fields of a hash expire.",
)
def hexpireat(tx: Tx, argv: list[bytes]) -> bytes:
    """HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(tx, argv, _SECONDS, 0)


@_expire_command(
    "HPEXPIREAT",
    syntax="key unix-time-milliseconds [NX | XX | GT | LT] FIELDS <numfields field [field ...]>",
    summary="Sets the unix time in milliseconds at which fields of a hash expire.",
)
def hpexpireat(tx: Tx, argv: list[bytes]) -> bytes:
    """HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(tx, argv, _MILLISECONDS, 0)


@_write(
    "HPERSIST",
    arity=-5,
    flags=WRITE | FAST,
    syntax="key FIELDS <numfields field [field ...]>",
    summary="Takes the deadlines of fields of a hash away.",
)
def hpersist(tx: Tx, argv: list[bytes]) -> bytes:
    """HPERSIST key FIELDS numfields field [field ...]"""
    key = argv[1]
    value = find_hash(tx, key)
    fields = _fields(argv, 2, FIELD_COUNT_NOT_POSITIVE)
    chosen: dict[bytes, None] = {}
    replies = []
    for field, deadline_ms in _deadlines(value, fields):
        if deadline_ms is None or deadline_ms == NEVER or field in chosen:
            replies.append(_NO_FIELD if deadline_ms is None else _NO_DEADLINE)
        else:
            chosen[field] = None
            replies.append(_SET)
    if isinstance(value, ExpiringHash) and chosen:
        tx.log(encode((b"HPERSIST", key, b"FIELDS", b"%d" % len(chosen), *chosen)))
        for field in chosen:
            value.deadlines.drop(field)
        if tx.notifying:
            tx.notify(HASH, b"hpersist", key)
    return array(replies)


# ---- showing ---------------------------------------------------------------------------


def _deadlines(value: Hash | None, fields: list[bytes]) -> Iterator[tuple[bytes, int | None]]:
    """Each field with its deadline: None for no such field, ``NEVER`` for no deadline."""
    held = value.deadlines.by_field if isinstance(value, ExpiringHash) else {}
    for field in fields:
        yield field, held.get(field, NEVER) if value is not None and field in value else None


def _show(tx: Tx, argv: list[bytes], unit: int, base_ms: int) -> bytes:
    """Fields' deadlines from ``base_ms`` on, rounded up to the unit."""
    value = read_hash(tx, argv[1])
    try:
        fields = _fields(argv, 2, FIELD_COUNT_NOT_POSITIVE)
    except CommandError as error:
        raise (error if value is None else tx.refuse(error.text)) from None
    replies = []
    for _, deadline_ms in _deadlines(value, fields):
        if deadline_ms is None or deadline_ms == NEVER:
            replies.append(_NO_FIELD if deadline_ms is None else _NO_DEADLINE)
        else:
            replies.append(integer(-(-(deadline_ms - base_ms) // unit)))
    return array(replies)


@_read(
    "HTTL",
    tips=("nondeterministic_output",),
    syntax="key FIELDS <numfields field [field ...]>",
    summary="Returns fields' time to live in seconds: -1 for none, -2 for no such field.",
)
def httl(tx: Tx, argv: list[bytes]) -> bytes:
    """HTTL key FIELDS numfields field [field ...]"""
    return _show(tx, argv, _SECONDS, tx.clock_ms)


@_read(
    "HPTTL",
    tips=("nondeterministic_output",),
    syntax="key FIELDS <numfields field [field ...]>",
    summary="Returns fields' time to live in milliseconds: -1 for none, -2 for no such field.",
)
def hpttl(tx: Tx, argv: list[bytes]) -> bytes:
    """HPTTL key FIELDS numfields field [field ...]"""
    return _show(tx, argv, _MILLISECONDS, tx.clock_ms)


@_read(
    "HEXPIRETIME",
    syntax="key FIELDS <numfields field [field ...]>",
    summary="Returns the unix time in seconds at which fields expire: -1 for never, -2 for no such field.",
)
def hexpiretime(tx: Tx, argv: list[bytes]) -> bytes:
    """HEXPIRETIME key FIELDS numfields field [field ...]"""
    return _show(tx, argv, _SECONDS, 0)


@_read(
    "HPEXPIRETIME",
    syntax="key FIELDS <numfields field [field ...]>",
    summary="Returns the unix time in milliseconds at which fields expire: -1 for never, -2 for no such field.",
)
def hpexpiretime(tx: Tx, argv: list[bytes]) -> bytes:
    """HPEXPIRETIME key FIELDS numfields field [field ...]"""
    return _show(tx, argv, _MILLISECONDS, 0)
