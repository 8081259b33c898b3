"""Sorted sets as priority queues: ZPOPMIN, ZMPOP and their blocking forms.

All are logged as ZPOPMIN or ZPOPMAX of the key that gave members, so that the log says what
was taken without saying who waited for it.
"""

from __future__ import annotations

from perdure.store.blocking import deadline_of_seconds
from perdure.store.command import BLOCKING, FAST, MOVABLE_KEYS, NOSCRIPT, WRITE, KeySpec, command
from perdure.store.commands.list_moves import numbered_keys
from perdure.store.commands.zsets import (
    GROUP,
    WRITES_FAST,
    WRITES_SLOWLY,
    find_zset,
    one_key,
    remove_if_empty,
    score_reply,
    scored_reply,
    word_of,
)
from perdure.store.errors import (
    MPOP_COUNT_NOT_POSITIVE,
    MUST_BE_POSITIVE,
    NUMKEYS_NOT_POSITIVE,
    SYNTAX,
    CommandError,
)
from perdure.store.events import ZSET
from perdure.store.numbers import parse_integer
from perdure.store.resp import EMPTY_ARRAY, bulk, encode
from perdure.store.tx import Tx
from perdure.store.zset_value import ZSet

_TAKEN = ("RW", "access", "delete")
_ONE = one_key(*_TAKEN)
_ALL_BUT_LAST = (KeySpec(_TAKEN, ("index", 1), ("range", -2, 1, 0)),)
_BLOCKING_ACL = ("write", "sortedset", "fast", "blocking")


def _take(
    tx: Tx, key: bytes, value: ZSet, lowest: bool, count: int, record: list[bytes]
) -> tuple[list[bytes], list[float]]:
    """Take up to ``count`` (> 0) members with the lowest or highest scores; them and their scores, as they went."""
    size = len(value.scores)
    count = min(count, size)
    tx.log(encode(record))
    tx.changes += count - 1
    members, scores = value.cut(0, count) if lowest else value.cut(size - count, size)
    if not lowest:
        members.reverse()
        scores.reverse()
    if tx.notifying:
        tx.notify(ZSET, b"zpopmin" if lowest else b"zpopmax", key)
    remove_if_empty(tx, key, value)
    return members, scores


def _pop(tx: Tx, argv: list[bytes], lowest: bool) -> bytes:
    """ZPOPMIN and ZPOPMAX."""
    if len(argv) > 3:
        raise CommandError(SYNTAX)
    key = argv[1]
    count = 1
    if len(argv) == 3:
        count = parse_integer(argv[2], MUST_BE_POSITIVE)
        if count < 0:
            raise CommandError(MUST_BE_POSITIVE)
    value = find_zset(tx, key)
    if value is None or not count:
        return EMPTY_ARRAY
    members, scores = _take(tx, key, value, lowest, count, argv)
    return scored_reply(members, scores, tx.resp3 and len(argv) == 3, tx.resp3)


@command(
    "ZPOPMIN",
    arity=-2,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_ONE,
    group=GROUP,
    since="5.0.0",
    acl=WRITES_FAST,
    syntax="key [count]",
    summary="Removes the members with the lowest scores and returns them.",
    complexity="O(log(N)+M) for M members removed of N",
)
def zpopmin(tx: Tx, argv: list[bytes]) -> bytes:
    """ZPOPMIN key [count]"""
    return _pop(tx, argv, True)


@command(
    "ZPOPMAX",
    arity=-2,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_ONE,
    group=GROUP,
    since="5.0.0",
    acl=WRITES_FAST,
    syntax="key [count]",
    summary="Removes the members with the highest scores and returns them.",
    complexity="O(log(N)+M) for M members removed of N",
)
def zpopmax(tx: Tx, argv: list[bytes]) -> bytes:
    """ZPOPMAX key [count]"""
    return _pop(tx, argv, False)


def _blocking_pop(tx: Tx, argv: list[bytes], lowest: bool) -> bytes:
    """BZPOPMIN and BZPOPMAX."""
    deadline_ms = deadline_of_seconds(tx, argv[-1])
    keys = argv[1:-1]
    name = b"ZPOPMIN" if lowest else b"ZPOPMAX"

    def attempt(tx: Tx, key: bytes) -> bytes | None:
        value = find_zset(tx, key)
        if value is None:
            return None
        members, scores = _take(tx, key, value, lowest, 1, [name, key])
        return b"*3\r\n" + bulk(key) + bulk(members[0]) + score_reply(scores[0], tx.resp3)

    for key in keys:
        reply = attempt(tx, key)
        if reply is not None:
            return reply
    return tx.block(keys, deadline_ms, attempt, tx.null_array, ZSet)


@command(
    "BZPOPMIN",
    arity=-3,
    flags=WRITE | NOSCRIPT | BLOCKING | FAST,
    keys_at=(1, -2, 1),
    key_specs=_ALL_BUT_LAST,
    group=GROUP,
    since="5.0.0",
    acl=_BLOCKING_ACL,
    history=(("6.0.0", "Takes a timeout with a fraction."),),
    syntax="key [key ...] timeout",
    summary="Removes the member with the lowest score of the first sorted set that has one, or waits for one.",
    complexity="O(log(N)) for N members",
)
def bzpopmin(tx: Tx, argv: list[bytes]) -> bytes:
    """BZPOPMIN key [key ...] timeout"""
    return _blocking_pop(tx, argv, True)


@command(
    "BZPOPMAX",
    arity=-3,
    flags=WRITE | NOSCRIPT | BLOCKING | FAST,
    keys_at=(1, -2, 1),
    key_specs=_ALL_BUT_LAST,
    group=GROUP,
    since="5.0.0",
    acl=_BLOCKING_ACL,
    history=(("6.0.0", "Takes a timeout with a fraction."),),
    syntax="key [key ...] timeout",
    summary="Removes the member with the highest score of the first sorted set that has one, or waits for one.",
    complexity="O(log(N)) for N members",
)
def bzpopmax(tx: Tx, argv: list[bytes]) -> bytes:
    """BZPOPMAX key [key ...] timeout"""
    return _blocking_pop(tx, argv, False)


# ---- of the first of several keys ---------------------------------------------------------------


def _parse_mpop(argv: list[bytes], at: int) -> tuple[list[bytes], bool, int]:
    """Keys, whether the lowest scores are wanted, and of how many members, from their number at ``argv[at]`` on."""
    number = parse_integer(argv[at], NUMKEYS_NOT_POSITIVE)
    if number < 1:
        raise CommandError(NUMKEYS_NOT_POSITIVE)
    where = at + number + 1
    if where >= len(argv):
        raise CommandError(SYNTAX)
    side = word_of(argv[where])
    if side not in (b"MIN", b"MAX"):
        raise CommandError(SYNTAX)
    count = 0
    rest = argv[where + 1 :]
    while rest:
        if word_of(rest[0]) != b"COUNT" or count or len(rest) < 2:
            raise CommandError(SYNTAX)
        count = parse_integer(rest[1], MPOP_COUNT_NOT_POSITIVE)
        if count < 1:
            raise CommandError(MPOP_COUNT_NOT_POSITIVE)
        rest = rest[2:]
    return argv[at + 1 : where], side == b"MIN", count or 1


def _pop_first(tx: Tx, key: bytes, lowest: bool, count: int) -> bytes | None:
    """ZMPOP of one key; None if it is not there."""
    value = find_zset(tx, key)
    if value is None:
        return None
    name = b"ZPOPMIN" if lowest else b"ZPOPMAX"
    members, scores = _take(tx, key, value, lowest, count, [name, key, b"%d" % min(count, len(value.scores))])
    return b"*2\r\n" + bulk(key) + scored_reply(members, scores, True, tx.resp3)


@command(
    "ZMPOP",
    arity=-4,
    flags=WRITE | MOVABLE_KEYS,
    find_keys=lambda argv: numbered_keys(argv, 1),
    key_specs=(KeySpec(_TAKEN, ("index", 1), ("keynum", 0, 1, 1)),),
    group=GROUP,
    since="7.0.0",
    acl=WRITES_SLOWLY,
    syntax="numkeys key [key ...] <MIN | MAX> [COUNT count]",
    summary="Removes members from the first sorted set that has any and returns them.",
    complexity="O(K+log(N)+M) for K keys and M members removed of N",
)
def zmpop(tx: Tx, argv: list[bytes]) -> bytes:
    """ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]"""
    keys, lowest, count = _parse_mpop(argv, 1)
    for key in keys:
        reply = _pop_first(tx, key, lowest, count)
        if reply is not None:
            return reply
    return tx.null_array


@command(
    "BZMPOP",
    arity=-5,
    flags=WRITE | BLOCKING | MOVABLE_KEYS,
    find_keys=lambda argv: numbered_keys(argv, 2),
    key_specs=(KeySpec(_TAKEN, ("index", 2), ("keynum", 0, 1, 1)),),
    group=GROUP,
    since="7.0.0",
    acl=("write", "sortedset", "slow", "blocking"),
    syntax="timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
    summary="Removes members from the first sorted set that has any, or waits for one.",
    complexity="O(K+log(N)+M) for K keys and M members removed of N",
)
def bzmpop(tx: Tx, argv: list[bytes]) -> bytes:
    """BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]"""
    keys, lowest, count = _parse_mpop(argv, 2)
    deadline_ms = deadline_of_seconds(tx, argv[1])
    for key in keys:
        reply = _pop_first(tx, key, lowest, count)
        if reply is not None:
            return reply
    return tx.block(keys, deadline_ms, lambda tx, key: _pop_first(tx, key, lowest, count), tx.null_array, ZSet)
