"""Waiting for elements of lists: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP (``store.blocking``).

The log has what they did under the names of those that do not wait.
"""

from __future__ import annotations

from perdure.store.blocking import Retry, deadline_of_seconds
from perdure.store.command import BLOCKING, DENYOOM, MOVABLE_KEYS, NOSCRIPT, WRITE, KeySpec, command
from perdure.store.commands.list_moves import (
    FROM_AND_TO,
    Popping,
    is_left,
    move,
    numbered_keys,
    pop_first,
    read_popping,
)
from perdure.store.commands.lists import WRITES, find_list, pop_item, pop_items
from perdure.store.list_value import List
from perdure.store.resp import bulk, encode, require_bytes
from perdure.store.tx import Tx

_ACL = (*WRITES, "blocking")
_POPPED = (KeySpec(("RW", "access", "delete"), ("index", 1), ("range", -2, 1, 0)),)
_TIMEOUT = (("6.0.0", "The timeout may have a fraction."),)


def _pop_with_key(tx: Tx, key: bytes, value: List, left: bool) -> bytes:
    return b"*2\r\n" + bulk(key) + pop_item(tx, key, value, left)


def _take_left(tx: Tx, key: bytes) -> bytes | None:
    value = find_list(tx, key)
    return None if value is None else _pop_with_key(tx, key, value, True)


def _take_right(tx: Tx, key: bytes) -> bytes | None:
    value = find_list(tx, key)
    return None if value is None else _pop_with_key(tx, key, value, False)


def _pop(tx: Tx, argv: list[bytes], left: bool) -> bytes:
    deadline_ms = deadline_of_seconds(tx, argv[-1])
    require_bytes(argv)
    keys = argv[1:-1]
    for key in keys:
        value = find_list(tx, key)
        if value is not None:
            return _pop_with_key(tx, key, value, left)
    return tx.block(keys, deadline_ms, _take_left if left else _take_right, tx.null_array, List)


@command(
    "BLPOP", arity=-3, flags=WRITE | NOSCRIPT | BLOCKING, keys_at=(1, -2, 1), key_specs=_POPPED, group="list",
    since="2.0.0", acl=_ACL, history=_TIMEOUT, syntax="key [key ...] timeout", complexity="O(N) for N keys",
    summary="Takes the first element of the first list that there is, or waits for one.",
)  # fmt: skip
def blpop(tx: Tx, argv: list[bytes]) -> bytes:
    """BLPOP key [key ...] timeout: logged as LPOP"""
    return _pop(tx, argv, True)


@command(
    "BRPOP", arity=-3, flags=WRITE | NOSCRIPT | BLOCKING, keys_at=(1, -2, 1), key_specs=_POPPED, group="list",
    since="2.0.0", acl=_ACL, history=_TIMEOUT, syntax="key [key ...] timeout", complexity="O(N) for N keys",
    summary="Takes the last element of the first list that there is, or waits for one.",
)  # fmt: skip
def brpop(tx: Tx, argv: list[bytes]) -> bytes:
    """BRPOP key [key ...] timeout: logged as RPOP"""
    return _pop(tx, argv, False)


def _move_or_wait(
    tx: Tx, source: bytes, destination: bytes, from_left: bool, to_left: bool, record: bytes, deadline_ms: int
) -> bytes:
    """Who cannot wait is answered null, whose time is over a null array, as in stock."""

    def take(tx: Tx, source: bytes) -> bytes | None:
        value = find_list(tx, source)
        return None if value is None else move(tx, source, value, destination, from_left, to_left, record)

    reply = take(tx, source)
    if reply is None:
        reply = tx.null if tx.block([source], deadline_ms, take, tx.null_array, List) else b""
    return reply


@command(
    "BLMOVE", arity=6, flags=WRITE | DENYOOM | NOSCRIPT | BLOCKING, keys_at=(1, 2, 1), key_specs=FROM_AND_TO,
    group="list", since="6.2.0", acl=_ACL, syntax="source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
    summary="Moves an element from list to list and returns it, or waits for one.", complexity="O(1)",
)  # fmt: skip
def blmove(tx: Tx, argv: list[bytes]) -> bytes:
    """BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout: logged as LMOVE"""
    _, source, destination, source_end, destination_end, timeout = argv
    from_left, to_left = is_left(source_end), is_left(destination_end)
    deadline_ms = deadline_of_seconds(tx, timeout)
    record = encode((b"LMOVE", source, destination, source_end, destination_end))
    return _move_or_wait(tx, source, destination, from_left, to_left, record, deadline_ms)


@command(
    "BRPOPLPUSH", arity=4, flags=WRITE | DENYOOM | NOSCRIPT | BLOCKING, keys_at=(1, 2, 1), key_specs=FROM_AND_TO,
    group="list", since="2.2.0", acl=_ACL, history=_TIMEOUT, syntax="source destination timeout",
    doc_flags=("deprecated",), deprecated_since="6.2.0",
    replaced_by="`BLMOVE` with the `RIGHT` and `LEFT` arguments", complexity="O(1)",
    summary="Moves the last element of a list before the first of another and returns it, or waits for one.",
)  # fmt: skip
def brpoplpush(tx: Tx, argv: list[bytes]) -> bytes:
    """BRPOPLPUSH source destination timeout: logged as RPOPLPUSH"""
    _, source, destination, timeout = argv
    deadline_ms = deadline_of_seconds(tx, timeout)
    record = encode((b"RPOPLPUSH", source, destination))
    return _move_or_wait(tx, source, destination, False, True, record, deadline_ms)


def _take_several(popping: Popping) -> Retry:
    def take(tx: Tx, key: bytes) -> bytes | None:
        value = find_list(tx, key)
        if value is None:
            return None
        return b"*2\r\n" + bulk(key) + pop_items(tx, key, value, popping.left, popping.count)

    return take


@command(
    "BLMPOP", arity=-5, flags=WRITE | BLOCKING | MOVABLE_KEYS, find_keys=lambda argv: numbered_keys(argv, 2),
    key_specs=(KeySpec(("RW", "access", "delete"), ("index", 2), ("keynum", 0, 1, 1)),), group="list", since="7.0.0",
    acl=_ACL, syntax="timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    summary="Takes elements off an end of the first of several lists that there is, or waits for some.",
    complexity="O(N+M) for N keys and M elements returned",
)  # fmt: skip
def blmpop(tx: Tx, argv: list[bytes]) -> bytes:
    """BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]: logged as LPOP or RPOP"""
    popping = read_popping(argv, 2)
    deadline_ms = deadline_of_seconds(tx, argv[1])
    require_bytes(argv)
    reply = pop_first(tx, popping)
    if reply is None:
        reply = tx.block(popping.keys, deadline_ms, _take_several(popping), tx.null_array, List)
    return reply
