"""Sorted sets: ZADD, ZSCORE, ZRANK and their kind; the value is ``store.zset_value.ZSet``.

Ranges are in ``zset_ranges``, pops in ``zset_pops``, unions and the like in ``zset_algebra``,
ZRANDMEMBER and ZSCAN in ``zset_pages``.
"""

from __future__ import annotations

from typing import Any

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.errors import (
    SCORE_NAN,
    SYNTAX,
    WRONG_TYPE,
    ZADD_GT_LT_NX,
    ZADD_INCR_PAIRS,
    ZADD_NX_AND_XX,
    CommandError,
)
from perdure.store.events import GENERIC, ZSET
from perdure.store.numbers import PLAIN, PLAIN_CHARS, parse_score, print_double
from perdure.store.resp import BULK_HEADS, CRLF, ONE, ZERO, array_head, bulk, bulks, encode, integer
from perdure.store.tx import Tx
from perdure.store.zset_value import ZSet, zset_of

_join = b"".join
_ZADD = b"*4\r\n$4\r\nZADD\r\n"
GROUP = "sorted-set"


def one_key(*flags: str) -> tuple[KeySpec, ...]:
    """The specification of a command whose one key is its first argument."""
    return (KeySpec(flags, ("index", 1), ("range", 0, 1, 0)),)


ACCESSED = one_key("RO", "access")
_DELETED = one_key("RW", "delete")
WRITES_FAST = ("write", "sortedset", "fast")
WRITES_SLOWLY = ("write", "sortedset", "slow")
READS_FAST = ("read", "sortedset", "fast")
READS_SLOWLY = ("read", "sortedset", "slow")


# ---- what all commands of sorted sets share ---------------------------------------------


def word_of(text: bytes) -> bytes:
    """An argument as an option's name: upper case, up to a NUL byte, as C compares it."""
    return text.partition(b"\0")[0].upper()


def as_zset(tx: Tx, key: bytes, value: Any) -> ZSet | None:
    """A key's value as a sorted set that is unpacked; CommandError (WRONGTYPE) if it is something else."""
    if value.__class__ is ZSet:
        found: ZSet = value
        if found.packed is not None:
            found.unpack()
            tx.keyspace.warm.add(tx.db, key)
        return found
    if value is None:
        return None
    raise CommandError(WRONG_TYPE)


def find_zset(tx: Tx, key: bytes) -> ZSet | None:
    """A key's sorted set, None if there is no such key; CommandError (WRONGTYPE) if it is something else."""
    db = tx.db
    value = db.get(key)
    if value is None or (db.expires and key in db.expires):
        value = tx.lookup(key)
    return as_zset(tx, key, value)


def read_zset(tx: Tx, key: bytes) -> ZSet | None:
    """As ``find_zset``, for a command that reads: misses and wrong types are counted (``Tx.misses``)."""
    db = tx.db
    value = db.get(key)
    if value is None or (db.expires and key in db.expires):
        value = tx.lookup(key)
    if value.__class__ is ZSet:
        return as_zset(tx, key, value)
    if value is None:
        tx.missed(key)
        return None
    raise tx.refuse(WRONG_TYPE)


def source_zset(tx: Tx, key: bytes) -> ZSet | None:
    """As ``find_zset``, for a write that only reads this key: the look-up is counted."""
    tx.lookups += 1
    value = tx.lookup(key)
    if value is None:
        tx.missed(key)
    return as_zset(tx, key, value)


def new_zset(tx: Tx, key: bytes) -> ZSet:
    """Make an empty sorted set under a key that is not there; the caller fills it."""
    value = ZSet()
    tx.db.replace(key, value)
    tx.keyspace.warm.add(tx.db, key)
    return value


def remove_if_empty(tx: Tx, key: bytes, value: ZSet) -> None:
    """A sorted set has lost members; without any its key goes."""
    if not value.scores:
        tx.db.remove(key)
        if tx.notifying:
            tx.notify(GENERIC, b"del", key)


def store_zset(
    tx: Tx, line: list[bytes], key: bytes, scores: dict[bytes, float], event: bytes, as_result: bool = False
) -> bytes:
    """Make a sorted set the value of a key, which goes away if there are no members; how many there are.

    If there are any, ``line`` is logged, or with ``as_result`` what it came to.
    """
    db = tx.db
    if not scores:
        if key in db:  # perhaps expired: stock deletes it without a look at that
            tx.log(encode((b"DEL", key)))
            dispose(tx, db.remove(key))
            if tx.notifying:
                tx.notify(GENERIC, b"del", key)
        return ZERO
    old = tx.lookup(key)
    if as_result:
        pairs = [text for member, score in scores.items() for text in (print_double(score), member)]
        records = [encode([b"ZADD", key, *pairs])]
        tx.log_together(records if old is None else [encode((b"DEL", key)), *records])
    else:
        tx.log(encode(line))
    if old is not None:
        dispose(tx, old)
    value = zset_of(scores, tx.limits)
    db.replace(key, value)
    if value.big is None:
        tx.keyspace.warm.add(tx.db, key)
    if tx.notifying:
        tx.notify_write(ZSET, event, key, old is None)
    return integer(len(scores))


def score_reply(score: float, resp3: bool) -> bytes:
    """A score: a double, in RESP2 a bulk string."""
    text = print_double(score)
    return b",%b\r\n" % text if resp3 else _join((BULK_HEADS[len(text)], text, CRLF))


def members_reply(members: list[bytes]) -> bytes:
    """Members as an array of bulk strings."""
    return bulks(array_head(len(members)), members)


def scored_reply(members: list[bytes], scores: list[float], nested: bool, resp3: bool) -> bytes:
    """Members with their scores: an array of pairs if ``nested``, else one flat array."""
    parts = [array_head(len(members) if nested else 2 * len(members))]
    heads = BULK_HEADS
    for member, score in zip(members, scores, strict=True):
        text = b"%.17g" % score
        if nested:
            parts.append(b"*2\r\n")
        parts.append(bulk(member))
        parts += (b",", text, CRLF) if resp3 else (heads[len(text)], text, CRLF)
    return _join(parts)


# ---- adding ---------------------------------------------------------------------------------

_NX, _XX, _GT, _LT, _CH, _INCR = 1, 2, 4, 8, 16, 32
_ZADD_OPTIONS = {b"NX": _NX, b"XX": _XX, b"GT": _GT, b"LT": _LT, b"CH": _CH, b"INCR": _INCR}


def _parse_zadd(argv: list[bytes]) -> tuple[int, list[float], list[bytes]]:
    """Options, scores and members of a ZADD; checks in stock's order."""
    options = 0
    at = 2
    while at < len(argv) and (option := _ZADD_OPTIONS.get(word_of(argv[at]), 0)):
        options |= option
        at += 1
    pairs = len(argv) - at
    if not pairs or pairs & 1:
        raise CommandError(SYNTAX)
    if options & _NX and options & _XX:
        raise CommandError(ZADD_NX_AND_XX)
    if (options & _GT and options & (_NX | _LT)) or (options & _LT and options & _NX):
        raise CommandError(ZADD_GT_LT_NX)
    if options & _INCR and pairs > 2:
        raise CommandError(ZADD_INCR_PAIRS)
    return options, [parse_score(text) for text in argv[at::2]], argv[at + 1 :: 2]


def _new_score(old: float | None, score: float, options: int) -> float | None:
    """The score that a member has after ZADD; None where the options forbid a change."""
    if old is None:
        return None if options & _XX else score
    if options & _NX:
        return None
    if options & _INCR:
        score += old
        if score != score:
            raise CommandError(SCORE_NAN)
    if (options & _GT and score <= old) or (options & _LT and score >= old):
        return None
    return score


def add_members(tx: Tx, argv: list[bytes], record: bytes) -> bytes:
    """ZADD of any kind, and what is made of it (GEOADD, ZINCRBY): ``record`` is logged if anything changes."""
    options, scores, members = _parse_zadd(argv)
    key = argv[1]
    value = find_zset(tx, key)
    current = {} if value is None else value.scores
    changes: dict[bytes, float] = {}
    added = updated = 0
    result: float | None = None
    for member, score in zip(members, scores, strict=True):
        old = changes.get(member)
        if old is None:
            old = current.get(member)
        result = _new_score(old, score, options)
        if result is None:
            continue
        if old is None:
            added += 1
        elif old != result:
            updated += 1
        else:
            continue
        changes[member] = result
    if changes:
        tx.log(record)
        tx.changes += added + updated - 1
        is_new = value is None
        if value is None:
            value = new_zset(tx, key)
        limits = tx.limits
        for member, score in changes.items():
            value.put(member, score, limits)
        if tx.notifying:
            tx.notify_write(ZSET, b"zincr" if options & _INCR else b"zadd", key, is_new)
    if options & _INCR:
        return tx.null if result is None else score_reply(result, tx.resp3)
    return integer(added + updated if options & _CH else added)


@command(
    "ZADD",
    arity=-4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=one_key("RW", "update"),
    group=GROUP,
    since="1.2.0",
    acl=WRITES_FAST,
    history=(
        ("2.4.0", "Takes several members."),
        ("3.0.2", "Takes `XX`, `NX`, `CH` and `INCR`."),
        ("6.2.0", "Takes `GT` and `LT`."),
    ),
    syntax="key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
    summary="Sets the scores of members, which are added if they are new.",
    complexity="O(log(N)) for each member of N",
)
def zadd(tx: Tx, argv: list[bytes]) -> bytes:
    """ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]"""
    if len(argv) != 4:
        return add_members(tx, argv, encode(argv))
    _, key, text, member = argv
    db = tx.db
    value = db.get(key)
    if value.__class__ is not ZSet or value.packed is not None or key in db.expires:
        return add_members(tx, argv, encode(argv))
    if len(text) >= PLAIN_CHARS or text.strip(PLAIN):
        return add_members(tx, argv, encode(argv))
    try:
        score = float(text)
    except ValueError:
        return add_members(tx, argv, b"")  # which says what is wrong
    old = value.scores.get(member)
    if old == score:
        return ZERO
    try:
        record = _join((_ZADD, BULK_HEADS[len(key)], key, CRLF, BULK_HEADS[len(text)], text, CRLF,
                        BULK_HEADS[len(member)], member, CRLF))  # fmt: skip
    except IndexError:
        record = encode(argv)
    tx.log(record)
    value.put(member, score, tx.limits)
    if tx.notifying:
        tx.notify(ZSET, b"zadd", key)
    return ONE if old is None else ZERO


@command(
    "ZINCRBY",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=one_key("RW", "access", "update"),
    group=GROUP,
    since="1.2.0",
    acl=WRITES_FAST,
    syntax="key increment member",
    summary="Adds to the score of a member; one that is not there counts as 0.",
    complexity="O(log(N)) for N members",
)
def zincrby(tx: Tx, argv: list[bytes]) -> bytes:
    """ZINCRBY key increment member"""
    _, key, increment, member = argv
    db = tx.db
    value = db.get(key)
    old = value.scores.get(member) if value.__class__ is ZSet else None
    if value is None or old is None or key in db.expires or increment.strip(PLAIN):  # not there, packed, or odd
        return add_members(tx, [b"ZADD", key, b"INCR", increment, member], encode((b"ZINCRBY", key, increment, member)))
    score = old + parse_score(increment)
    if score != old:
        tx.log(encode((b"ZINCRBY", key, increment, member)))
        value.put(member, score, tx.limits)
        if tx.notifying:
            tx.notify(ZSET, b"zincr", key)
    return score_reply(score, tx.resp3)


@command(
    "ZREM",
    arity=-3,
    flags=WRITE | FAST,
    keys_at=(1, 1, 1),
    key_specs=_DELETED,
    group=GROUP,
    since="1.2.0",
    acl=WRITES_FAST,
    history=(("2.4.0", "Takes several members."),),
    syntax="key member [member ...]",
    summary="Removes members, and the key with the last of them.",
    complexity="O(M*log(N)) for M members of N",
)
def zrem(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREM key member [member ...]"""
    key = argv[1]
    value = find_zset(tx, key)
    if value is None:
        return ZERO
    scores = value.scores
    members = [member for member in dict.fromkeys(argv[2:]) if member in scores]
    if not members:
        return ZERO
    tx.log(encode([b"ZREM", key, *members]))
    tx.changes += len(members) - 1
    for member in members:
        value.remove(member)
    if tx.notifying:
        tx.notify(ZSET, b"zrem", key)
    remove_if_empty(tx, key, value)
    return integer(len(members))


# ---- looking --------------------------------------------------------------------------------


@command(
    "ZCARD",
    arity=2,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=one_key("RO"),
    group=GROUP,
    since="1.2.0",
    acl=READS_FAST,
    syntax="key",
    summary="Counts the members of a sorted set.",
    complexity="O(1)",
)
def zcard(tx: Tx, argv: list[bytes]) -> bytes:
    """ZCARD key"""
    value = read_zset(tx, argv[1])
    return ZERO if value is None else integer(len(value.scores))


@command(
    "ZSCORE",
    arity=3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="1.2.0",
    acl=READS_FAST,
    syntax="key member",
    summary="Returns the score of a member.",
    complexity="O(1)",
)
def zscore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZSCORE key member"""
    value = read_zset(tx, argv[1])
    score = None if value is None else value.scores.get(argv[2])
    return tx.null if score is None else score_reply(score, tx.resp3)


@command(
    "ZMSCORE",
    arity=-3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="6.2.0",
    acl=READS_FAST,
    syntax="key member [member ...]",
    summary="Returns the scores of several members.",
    complexity="O(1) for each member",
)
def zmscore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZMSCORE key member [member ...]"""
    value = read_zset(tx, argv[1])
    null = tx.null
    resp3 = tx.resp3
    members = argv[2:]
    if value is None:
        return array_head(len(members)) + null * len(members)
    get = value.scores.get
    found = [null if (score := get(member)) is None else score_reply(score, resp3) for member in members]
    return array_head(len(members)) + _join(found)


def _rank(tx: Tx, argv: list[bytes], reverse: bool) -> bytes:
    """ZRANK and ZREVRANK."""
    with_score = len(argv) > 3
    if with_score and (len(argv) > 4 or word_of(argv[3]) != b"WITHSCORE"):
        raise CommandError(SYNTAX)
    value = read_zset(tx, argv[1])
    score = None if value is None else value.scores.get(argv[2])
    if value is None or score is None:
        return tx.null_array if with_score else tx.null
    rank = value.order.rank(score, argv[2])
    if reverse:
        rank = len(value.scores) - 1 - rank
    if with_score:
        return b"*2\r\n" + integer(rank) + score_reply(score, tx.resp3)
    return integer(rank)


@command(
    "ZRANK",
    arity=-3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.0.0",
    acl=READS_FAST,
    history=(("7.2.0", "Takes `WITHSCORE`."),),
    syntax="key member [WITHSCORE]",
    summary="Returns how many members stand before one, from the lowest score on.",
    complexity="O(log(N)) for N members",
)
def zrank(tx: Tx, argv: list[bytes]) -> bytes:
    """ZRANK key member [WITHSCORE]"""
    return _rank(tx, argv, False)


@command(
    "ZREVRANK",
    arity=-3,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.0.0",
    acl=READS_FAST,
    history=(("7.2.0", "Takes `WITHSCORE`."),),
    syntax="key member [WITHSCORE]",
    summary="Returns how many members stand before one, from the highest score on.",
    complexity="O(log(N)) for N members",
)
def zrevrank(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREVRANK key member [WITHSCORE]"""
    return _rank(tx, argv, True)
