"""Lists at their ends and by range: LPUSH, LPOP, LRANGE and their kind; the value is ``store.list_value.List``.

Elements are found and changed inside of a list in ``list_edits``, moved between lists in
``list_moves``, and waited for in ``list_blocking``.
"""

from __future__ import annotations

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.errors import MUST_BE_POSITIVE, WRONG_TYPE, CommandError, wrong_arity
from perdure.store.events import GENERIC, LIST, NEW
from perdure.store.list_value import List
from perdure.store.numbers import parse_integer
from perdure.store.resp import (
    BULK_HEADS,
    CRLF,
    EMPTY_ARRAY,
    ZERO,
    array_head,
    bulk,
    encode,
    integer,
    require_bytes,
)
from perdure.store.tx import Tx

_join = b"".join
_LPUSH = b"*3\r\n$5\r\nLPUSH\r\n"
_RPUSH = b"*3\r\n$5\r\nRPUSH\r\n"
_LPOP = b"*2\r\n$4\r\nLPOP\r\n"
_RPOP = b"*2\r\n$4\r\nRPOP\r\n"


def spec(*flags: str, at: int = 1) -> tuple[KeySpec, ...]:
    """One key, argument ``at``."""
    return (KeySpec(flags, ("index", at), ("range", 0, 1, 0)),)


ACCESSED, INSERTED, TAKEN = spec("RO", "access"), spec("RW", "insert"), spec("RW", "access", "delete")
_FAST_WRITES = ("write", "list", "fast")
WRITES, READS = ("write", "list", "slow"), ("read", "list", "slow")
_SEVERAL = "Takes several elements."


def find_list(tx: Tx, key: bytes) -> List | None:
    """A key's list, None if there is no such key; CommandError (WRONGTYPE) if it is something else."""
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value.__class__ is List:
        return value
    if value is None:
        require_bytes((key,))
        return None
    raise CommandError(WRONG_TYPE)


def read_list(tx: Tx, key: bytes) -> List | None:
    """As ``find_list``, for a command that reads: misses and wrong types are counted (``Tx.misses``)."""
    db = tx.db
    value = db.get(key)
    if db.expires and key in db.expires:
        value = tx.lookup(key)
    if value.__class__ is List:
        return value
    if value is None:
        tx.missed(key)
        return None
    raise tx.refuse(WRONG_TYPE)


# ---- pushing -----------------------------------------------------------------------------


def _push(tx: Tx, argv: list[bytes], left: bool, create: bool) -> bytes:
    """Any of the pushes."""
    key = argv[1]
    value = find_list(tx, key)
    if value is None and not create:
        require_bytes(argv)
        return ZERO
    tx.log(encode(argv))
    tx.changes += len(argv) - 3
    if value is None:
        value = List()
        tx.db.replace(key, value)
        if tx.notifying:
            tx.notify(NEW, b"new", key)
    items = map(bulk, argv[2:])
    if left:
        value.extend_left(items)
    else:
        value.extend_right(items)
    if tx.notifying:
        tx.notify(LIST, b"lpush" if left else b"rpush", key)
    return integer(value.length)


@command(
    "LPUSH", arity=-3, flags=WRITE | DENYOOM | FAST, keys_at=(1, 1, 1), key_specs=INSERTED, group="list",
    since="1.0.0", acl=_FAST_WRITES, history=(("2.4.0", _SEVERAL),), syntax="key element [element ...]",
    summary="Puts elements before the first of a list, which is made if there is none; returns the list's length.",
    complexity="O(1) for each element",
)  # fmt: skip
def lpush(tx: Tx, argv: list[bytes]) -> bytes:
    """LPUSH key element [element ...]"""
    if len(argv) != 3:
        return _push(tx, argv, True, True)
    _, key, element = argv
    db = tx.db
    value = db.get(key)
    if value.__class__ is not List or (db.expires and key in db.expires):
        return _push(tx, argv, True, True)
    try:
        item = _join((BULK_HEADS[len(element)], element, CRLF))
        record = _join((_LPUSH, BULK_HEADS[len(key)], key, CRLF, item))
    except IndexError:
        return _push(tx, argv, True, True)
    tx.log(record)
    value.push_left(item)
    if tx.notifying:
        tx.notify(LIST, b"lpush", key)
    return integer(value.length)


@command(
    "RPUSH", arity=-3, flags=WRITE | DENYOOM | FAST, keys_at=(1, 1, 1), key_specs=INSERTED, group="list",
    since="1.0.0", acl=_FAST_WRITES, history=(("2.4.0", _SEVERAL),), syntax="key element [element ...]",
    summary="Puts elements behind the last of a list, which is made if there is none; returns the list's length.",
    complexity="O(1) for each element",
)  # fmt: skip
def rpush(tx: Tx, argv: list[bytes]) -> bytes:
    """RPUSH key element [element ...]"""
    if len(argv) != 3:
        return _push(tx, argv, False, True)
    _, key, element = argv
    db = tx.db
    value = db.get(key)
    if value.__class__ is not List or (db.expires and key in db.expires):
        return _push(tx, argv, False, True)
    try:
        item = _join((BULK_HEADS[len(element)], element, CRLF))
        record = _join((_RPUSH, BULK_HEADS[len(key)], key, CRLF, item))
    except IndexError:
        return _push(tx, argv, False, True)
    tx.log(record)
    value.push_right(item)
    if tx.notifying:
        tx.notify(LIST, b"rpush", key)
    return integer(value.length)


@command(
    "LPUSHX", arity=-3, flags=WRITE | DENYOOM | FAST, keys_at=(1, 1, 1), key_specs=INSERTED, group="list",
    since="2.2.0", acl=_FAST_WRITES, history=(("4.0.0", _SEVERAL),), syntax="key element [element ...]",
    summary="Puts elements before the first of a list if there is one.", complexity="O(1) for each element",
)  # fmt: skip
def lpushx(tx: Tx, argv: list[bytes]) -> bytes:
    """LPUSHX key element [element ...]"""
    return _push(tx, argv, True, False)


@command(
    "RPUSHX", arity=-3, flags=WRITE | DENYOOM | FAST, keys_at=(1, 1, 1), key_specs=INSERTED, group="list",
    since="2.2.0", acl=_FAST_WRITES, history=(("4.0.0", _SEVERAL),), syntax="key element [element ...]",
    summary="Puts elements behind the last of a list if there is one.", complexity="O(1) for each element",
)  # fmt: skip
def rpushx(tx: Tx, argv: list[bytes]) -> bytes:
    """RPUSHX key element [element ...]"""
    return _push(tx, argv, False, False)


# ---- popping -----------------------------------------------------------------------------


def end_removal(tx: Tx, key: bytes, value: List, event: bytes) -> None:
    """Elements of a list were removed: tell of it, and remove the key with the last of them."""
    if tx.notifying:
        tx.notify(LIST, event, key)
    if not value.length:
        tx.db.remove(key)
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)


def pop_item(tx: Tx, key: bytes, value: List, left: bool) -> bytes:
    """Take an element off an end of a key's list, and log that; its reply."""
    try:
        tx.log(_join((_LPOP if left else _RPOP, BULK_HEADS[len(key)], key, CRLF)))
    except IndexError:
        tx.log(encode((b"LPOP" if left else b"RPOP", key)))
    item = value.pop_left() if left else value.pop_right()
    if not value.length or tx.notifying:
        end_removal(tx, key, value, b"lpop" if left else b"rpop")
    return item


def pop_items(tx: Tx, key: bytes, value: List, left: bool, count: int) -> bytes:
    """Take up to ``count`` (> 0) elements off an end, and log that; their array, the outermost first."""
    count = min(count, value.length)
    tx.log(encode((b"LPOP" if left else b"RPOP", key, b"%d" % count)))
    tx.changes += count - 1
    if left:
        members = value.items(0, count)
        value.drop_left(count)
    else:
        members = _join(value.take_right(count))
    end_removal(tx, key, value, b"lpop" if left else b"rpop")
    return array_head(count) + members


def _pop_counted(tx: Tx, argv: list[bytes], left: bool) -> bytes:
    """LPOP and RPOP with a count."""
    if len(argv) > 3:
        raise CommandError(wrong_arity(b"lpop" if left else b"rpop"))
    count = parse_integer(argv[2], MUST_BE_POSITIVE)
    if count < 0:
        raise CommandError(MUST_BE_POSITIVE)
    value = find_list(tx, argv[1])
    if value is None:
        return tx.null_array
    return pop_items(tx, argv[1], value, left, count) if count else EMPTY_ARRAY


@command(
    "LPOP", arity=-2, flags=WRITE | FAST, keys_at=(1, 1, 1), key_specs=TAKEN, group="list", since="1.0.0",
    acl=_FAST_WRITES, history=(("6.2.0", "Takes a count."),), syntax="key [count]",
    summary="Takes the first element of a list, or the first few, away and returns it.",
    complexity="O(N) for N elements returned",
)  # fmt: skip
def lpop(tx: Tx, argv: list[bytes]) -> bytes:
    """LPOP key [count]"""
    if len(argv) != 2:
        return _pop_counted(tx, argv, True)
    key = argv[1]
    value = find_list(tx, key)
    return tx.null if value is None else pop_item(tx, key, value, True)


@command(
    "RPOP", arity=-2, flags=WRITE | FAST, keys_at=(1, 1, 1), key_specs=TAKEN, group="list", since="1.0.0",
    acl=_FAST_WRITES, history=(("6.2.0", "Takes a count."),), syntax="key [count]",
    summary="Takes the last element of a list, or the last few, away and returns it.",
    complexity="O(N) for N elements returned",
)  # fmt: skip
def rpop(tx: Tx, argv: list[bytes]) -> bytes:
    """RPOP key [count]"""
    if len(argv) != 2:
        return _pop_counted(tx, argv, False)
    key = argv[1]
    value = find_list(tx, key)
    return tx.null if value is None else pop_item(tx, key, value, False)


# ---- reading -----------------------------------------------------------------------------


@command(
    "LLEN", arity=2, flags=READONLY | FAST, keys_at=(1, 1, 1), key_specs=spec("RO"), group="list", since="1.0.0",
    acl=("read", "list", "fast"), syntax="key", summary="Counts the elements of a list.", complexity="O(1)",
)  # fmt: skip
def llen(tx: Tx, argv: list[bytes]) -> bytes:
    """LLEN key"""
    value = read_list(tx, argv[1])
    return ZERO if value is None else integer(value.length)


@command(
    "LRANGE", arity=4, flags=READONLY, keys_at=(1, 1, 1), key_specs=ACCESSED, group="list", since="1.0.0",
    acl=READS, syntax="key start stop",
    summary="Returns the elements of a list from one index to another, both included.",
    complexity="O(S+N) where S is the distance of the range from the nearer end, in blocks of elements, and N is "
    "what is returned",
)  # fmt: skip
def lrange(tx: Tx, argv: list[bytes]) -> bytes:
    """LRANGE key start stop"""
    start = parse_integer(argv[2])
    stop = parse_integer(argv[3])
    value = read_list(tx, argv[1])
    if value is None:
        return EMPTY_ARRAY
    length = value.length
    if start < 0:
        start = max(start + length, 0)
    if stop < 0:
        stop += length
    stop = min(stop + 1, length)
    if start >= stop:
        return EMPTY_ARRAY
    return array_head(stop - start) + value.items(start, stop)


@command(
    "LINDEX", arity=3, flags=READONLY, keys_at=(1, 1, 1), key_specs=ACCESSED, group="list", since="1.0.0",
    acl=READS, syntax="key index", summary="Returns the element at an index, counted from the end if it is negative.",
    complexity="O(N) for the N blocks of elements between it and the nearer end: O(1) near the ends",
)  # fmt: skip
def lindex(tx: Tx, argv: list[bytes]) -> bytes:
    """LINDEX key index"""
    value = read_list(tx, argv[1])
    if value is None:
        return tx.null
    try:
        index = parse_integer(argv[2])
    except CommandError as error:
        raise tx.refuse(error.text) from None
    if index < 0:
        index += value.length
    return value.item(index) if 0 <= index < value.length else tx.null
