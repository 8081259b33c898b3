"""Sorted sets by ranges, of ranks, scores or members: ZRANGE, ZCOUNT, ZREMRANGEBYSCORE and their kind.

Every range becomes a range of ranks first, which costs O(log n); what lies in it is then one
slice of the order.  A range by members is only defined where all scores are equal.  Where
they are not, a small sorted set answers as stock's listpack does, which walks from one end,
and a big one something within bounds, as stock's skiplist does.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.store.command import DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.keys import dispose
from perdure.store.commands.zsets import (
    ACCESSED,
    GROUP,
    READS_FAST,
    READS_SLOWLY,
    WRITES_SLOWLY,
    find_zset,
    members_reply,
    one_key,
    read_zset,
    scored_reply,
    source_zset,
    store_zset,
    word_of,
)
from perdure.store.errors import (
    LEX_RANGE,
    LIMIT_WITHOUT_RANGE,
    SCORE_RANGE,
    SYNTAX,
    WITHSCORES_BY_LEX,
    CommandError,
)
from perdure.store.events import GENERIC, ZSET
from perdure.store.numbers import parse_integer, read_c_double
from perdure.store.resp import EMPTY_ARRAY, ZERO, encode, integer
from perdure.store.tx import Tx
from perdure.store.zset_value import ZSet

_DELETED = one_key("RW", "delete")
AUTO, BY_RANK, BY_SCORE, BY_LEX = range(4)

# ---- reading ranges --------------------------------------------------------------------------


@dataclass(slots=True)
class ScoreRange:
    """Scores between two bounds; ``*_out``: the bound itself is not in it."""

    low: float
    high: float
    low_out: bool
    high_out: bool

    def ranks(self, value: ZSet) -> tuple[int, int]:
        """The range of ranks: first, and behind the last; empty where first >= last."""
        order = value.order
        start = order.below(self.low, self.low_out)
        return start, order.below(self.high, not self.high_out)


@dataclass(slots=True)
class LexRange:
    """Members between two bounds; None as a bound: before (``-``) or behind (``+``) every member."""

    low: bytes | None
    high: bytes | None
    low_out: bool
    high_out: bool
    nothing: bool
    """The lower bound is ``+`` or the upper one ``-``."""

    def _from(self, member: bytes) -> bool:
        return self.low is None or (member > self.low if self.low_out else member >= self.low)

    def _to(self, member: bytes) -> bool:
        return self.high is None or (member < self.high if self.high_out else member <= self.high)

    def ranks(self, value: ZSet, reverse: bool) -> tuple[int, int]:
        """The range of ranks, as of ``ScoreRange``; ``reverse``: from which end stock would walk."""
        if self.nothing:
            return 0, 0
        order = value.order
        if value.big is not None:
            start = 0 if self.low is None else order.lex_below(self.low, self.low_out)
            return start, order.size if self.high is None else order.lex_below(self.high, not self.high_out)
        if (
            self.low is not None
            and self.high is not None
            and (self.low > self.high or (self.low == self.high and (self.low_out or self.high_out)))
        ):
            return 0, 0
        members = [member for block in order.members for member in block]
        if not self._from(members[-1]) or not self._to(members[0]):
            return 0, 0
        return self._walk_down(members) if reverse else self._walk_up(members)

    def _walk_up(self, members: list[bytes]) -> tuple[int, int]:
        start = 0
        while start < len(members) and not self._from(members[start]):
            start += 1
        stop = start
        while stop < len(members) and self._to(members[stop]):
            stop += 1
        return start, stop

    def _walk_down(self, members: list[bytes]) -> tuple[int, int]:
        stop = len(members)
        while stop and not self._to(members[stop - 1]):
            stop -= 1
        start = stop
        while start and self._from(members[start - 1]):
            start -= 1
        return start, stop


def _score_bound(text: bytes) -> tuple[float, bool]:
    out = text[:1] == b"("
    score = read_c_double(text[1:] if out else text)
    if score is None:
        raise CommandError(SCORE_RANGE)
    return score, out


def parse_score_range(low: bytes, high: bytes) -> ScoreRange:
    """``5``, ``(5`` without 5 itself, ``-inf``, ``+inf`` as bounds; CommandError for others."""
    low_score, low_out = _score_bound(low)
    high_score, high_out = _score_bound(high)
    return ScoreRange(low_score, high_score, low_out, high_out)


def parse_lex_range(low: bytes, high: bytes) -> LexRange:
    """``[member``, ``(member`` without the member itself, ``-``, ``+`` as bounds; CommandError for others."""
    bounds: list[tuple[bytes | None, bool]] = []
    for text in (low, high):
        kind = text[:1]
        if kind == b"[" or kind == b"(":
            bounds.append((text[1:], kind == b"("))
        elif (kind == b"-" or kind == b"+") and text[1:2] in (b"", b"\0"):
            bounds.append((None, True))
        else:
            raise CommandError(LEX_RANGE)
    nothing = (bounds[0][0] is None and low[:1] == b"+") or (bounds[1][0] is None and high[:1] == b"-")
    return LexRange(bounds[0][0], bounds[1][0], bounds[0][1], bounds[1][1], nothing)


def rank_range(start: int, end: int, size: int) -> tuple[int, int]:
    """A range of ranks that may count from the end (-1) and includes its end: first, and behind the last."""
    if start < 0:
        start = max(0, start + size)
    if end < 0:
        end += size
    return start, min(end, size - 1) + 1


# ---- ranges as clients ask for them ---------------------------------------------------------------


@dataclass(slots=True)
class Query:
    """What a command of ZRANGE's kind asks for."""

    by: int
    reverse: bool
    offset: int = 0
    limit: int = -1
    with_scores: bool = False
    first: int = 0
    last: int = 0
    scores: ScoreRange | None = None
    lex: LexRange | None = None

    def run(self, value: ZSet) -> tuple[list[bytes], list[float]]:
        """Members and scores, in the order asked for."""
        size = len(value.scores)
        if self.by == BY_RANK:
            start, stop = rank_range(self.first, self.last, size)
            if self.reverse:
                start, stop = size - stop, size - start
        else:
            if self.lex is not None:
                start, stop = self.lex.ranks(value, self.reverse)
            else:
                assert self.scores is not None
                start, stop = self.scores.ranks(value)
            if self.offset < 0:
                return [], []  # as if the offset were behind everything
            if self.reverse:
                stop -= self.offset
                if self.limit >= 0:
                    start = max(start, stop - self.limit)
            else:
                start += self.offset
                if self.limit >= 0:
                    stop = min(stop, start + self.limit)
        if start < 0 or start >= stop:
            return [], []
        members, scores = value.order.slice(start, stop)
        if self.reverse:
            members.reverse()
            scores.reverse()
        return members, scores


def _parse_query(argv: list[bytes], at: int, by: int, reverse: bool | None, storing: bool) -> Query:
    """The range whose bounds are ``argv[at]`` and the next, options behind them; ``reverse`` None: REV decides."""
    query = Query(by, bool(reverse))
    rest = iter(range(at + 2, len(argv)))
    for i in rest:
        option = word_of(argv[i])
        if option == b"WITHSCORES" and not storing:
            query.with_scores = True
        elif option == b"LIMIT" and i + 2 < len(argv):
            query.offset = parse_integer(argv[i + 1])
            query.limit = parse_integer(argv[i + 2])
            next(rest)
            next(rest)
        elif option == b"REV" and reverse is None and not query.reverse:
            query.reverse = True
        elif option == b"BYLEX" and query.by == AUTO:
            query.by = BY_LEX
        elif option == b"BYSCORE" and query.by == AUTO:
            query.by = BY_SCORE
        else:
            raise CommandError(SYNTAX)
    if query.by == AUTO:
        query.by = BY_RANK
    if query.limit != -1 and query.by == BY_RANK:
        raise CommandError(LIMIT_WITHOUT_RANGE)
    if query.with_scores and query.by == BY_LEX:
        raise CommandError(WITHSCORES_BY_LEX)
    low, high = argv[at], argv[at + 1]
    if query.by == BY_RANK:
        query.first, query.last = parse_integer(low), parse_integer(high)
        return query
    if query.reverse:
        low, high = high, low
    if query.by == BY_SCORE:
        query.scores = parse_score_range(low, high)
    else:
        query.lex = parse_lex_range(low, high)
    return query


def _range(tx: Tx, argv: list[bytes], by: int, reverse: bool | None) -> bytes:
    """ZRANGE and its older kind."""
    query = _parse_query(argv, 2, by, reverse, False)
    value = read_zset(tx, argv[1])
    if value is None:
        return EMPTY_ARRAY
    members, scores = query.run(value)
    if query.with_scores:
        return scored_reply(members, scores, tx.resp3, tx.resp3)
    return members_reply(members)


@command(
    "ZRANGE",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="1.2.0",
    acl=READS_SLOWLY,
    history=(("6.2.0", "Takes `REV`, `BYSCORE`, `BYLEX` and `LIMIT`."),),
    syntax="key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
    summary="Returns the members in a range of ranks, scores or members.",
    complexity="O(log(N)+M) for M members returned of N",
)
def zrange(tx: Tx, argv: list[bytes]) -> bytes:
    """ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]"""
    return _range(tx, argv, AUTO, None)


@command(
    "ZREVRANGE",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="1.2.0",
    acl=READS_SLOWLY,
    syntax="key start stop [WITHSCORES]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` argument",
    summary="Returns the members in a range of ranks, from the highest score on.",
    complexity="O(log(N)+M) for M members returned of N",
)
def zrevrange(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREVRANGE key start stop [WITHSCORES]"""
    return _range(tx, argv, BY_RANK, True)


@command(
    "ZRANGEBYSCORE",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="1.0.5",
    acl=READS_SLOWLY,
    history=(("2.0.0", "Takes `WITHSCORES`."),),
    syntax="key min max [WITHSCORES] [LIMIT offset count]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYSCORE` argument",
    summary="Returns the members in a range of scores.",
    complexity="O(log(N)+M) for M members returned of N",
)
def zrangebyscore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]"""
    return _range(tx, argv, BY_SCORE, False)


@command(
    "ZREVRANGEBYSCORE",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.2.0",
    acl=READS_SLOWLY,
    history=(("2.1.6", "Bounds can be left out of the range."),),
    syntax="key max min [WITHSCORES] [LIMIT offset count]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYSCORE` arguments",
    summary="Returns the members in a range of scores, from the highest score on.",
    complexity="O(log(N)+M) for M members returned of N",
)
def zrevrangebyscore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]"""
    return _range(tx, argv, BY_SCORE, True)


@command(
    "ZRANGEBYLEX",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.8.9",
    acl=READS_SLOWLY,
    syntax="key min max [LIMIT offset count]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYLEX` argument",
    summary="Returns the members in a range of members; all scores should be equal.",
    complexity="O(log(N)+M) for M members returned of N",
)
def zrangebylex(tx: Tx, argv: list[bytes]) -> bytes:
    """ZRANGEBYLEX key min max [LIMIT offset count]"""
    return _range(tx, argv, BY_LEX, False)


@command(
    "ZREVRANGEBYLEX",
    arity=-4,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.8.9",
    acl=READS_SLOWLY,
    syntax="key max min [LIMIT offset count]",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYLEX` arguments",
    summary="Returns the members in a range of members, from the last one on; all scores should be equal.",
    complexity="O(log(N)+M) for M members returned of N",
)
def zrevrangebylex(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREVRANGEBYLEX key max min [LIMIT offset count]"""
    return _range(tx, argv, BY_LEX, True)


@command(
    "ZRANGESTORE",
    arity=-5,
    flags=WRITE | DENYOOM,
    keys_at=(1, 2, 1),
    key_specs=(
        KeySpec(("OW", "update"), ("index", 1), ("range", 0, 1, 0)),
        KeySpec(("RO", "access"), ("index", 2), ("range", 0, 1, 0)),
    ),
    group=GROUP,
    since="6.2.0",
    acl=WRITES_SLOWLY,
    syntax="destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
    summary="Stores the members in a range of ranks, scores or members as another sorted set.",
    complexity="O(log(N)+M*log(M)) for M members stored of N",
)
def zrangestore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZRANGESTORE destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]"""
    query = _parse_query(argv, 3, AUTO, None, True)
    source = source_zset(tx, argv[2])
    members: list[bytes] = []
    scores: list[float] = []
    if source is not None:
        members, scores = query.run(source)
    return store_zset(tx, argv, argv[1], dict(zip(members, scores, strict=True)), b"zrangestore")


# ---- counting --------------------------------------------------------------------------------


@command(
    "ZCOUNT",
    arity=4,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.0.0",
    acl=READS_FAST,
    syntax="key min max",
    summary="Counts the members in a range of scores.",
    complexity="O(log(N)) for N members",
)
def zcount(tx: Tx, argv: list[bytes]) -> bytes:
    """ZCOUNT key min max"""
    scores = parse_score_range(argv[2], argv[3])
    value = read_zset(tx, argv[1])
    if value is None:
        return ZERO
    start, stop = scores.ranks(value)
    return integer(max(0, stop - start))


@command(
    "ZLEXCOUNT",
    arity=4,
    flags=READONLY | FAST,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.8.9",
    acl=READS_FAST,
    syntax="key min max",
    summary="Counts the members in a range of members; all scores should be equal.",
    complexity="O(log(N)) for N members",
)
def zlexcount(tx: Tx, argv: list[bytes]) -> bytes:
    """ZLEXCOUNT key min max"""
    lex = parse_lex_range(argv[2], argv[3])
    value = read_zset(tx, argv[1])
    if value is None:
        return ZERO
    start, stop = lex.ranks(value, False)
    return integer(max(0, stop - start))


# ---- removing --------------------------------------------------------------------------------


def _remove_range(tx: Tx, argv: list[bytes], value: ZSet, start: int, stop: int) -> bytes:
    """Remove the ranks start <= rank < stop."""
    if start >= stop:
        return ZERO
    key = argv[1]
    tx.log(encode(argv))
    tx.changes += stop - start - 1
    if stop - start == len(value.scores):
        dispose(tx, tx.db.remove(key))
    else:
        value.cut(start, stop)
    if tx.notifying:
        tx.notify(ZSET, argv[0].lower(), key)
        if key not in tx.db:
            tx.notify(GENERIC, b"del", key)
    return integer(stop - start)


@command(
    "ZREMRANGEBYRANK",
    arity=4,
    flags=WRITE,
    keys_at=(1, 1, 1),
    key_specs=_DELETED,
    group=GROUP,
    since="2.0.0",
    acl=WRITES_SLOWLY,
    syntax="key start stop",
    summary="Removes the members in a range of ranks.",
    complexity="O(log(N)+M) for M members removed of N",
)
def zremrangebyrank(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREMRANGEBYRANK key start stop"""
    first, last = parse_integer(argv[2]), parse_integer(argv[3])
    value = find_zset(tx, argv[1])
    if value is None:
        return ZERO
    start, stop = rank_range(first, last, len(value.scores))
    return _remove_range(tx, argv, value, start, stop)


@command(
    "ZREMRANGEBYSCORE",
    arity=4,
    flags=WRITE,
    keys_at=(1, 1, 1),
    key_specs=_DELETED,
    group=GROUP,
    since="1.2.0",
    acl=WRITES_SLOWLY,
    syntax="key min max",
    summary="Removes the members in a range of scores.",
    complexity="O(log(N)+M) for M members removed of N",
)
def zremrangebyscore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREMRANGEBYSCORE key min max"""
    scores = parse_score_range(argv[2], argv[3])
    value = find_zset(tx, argv[1])
    return ZERO if value is None else _remove_range(tx, argv, value, *scores.ranks(value))


@command(
    "ZREMRANGEBYLEX",
    arity=4,
    flags=WRITE,
    keys_at=(1, 1, 1),
    key_specs=_DELETED,
    group=GROUP,
    since="2.8.9",
    acl=WRITES_SLOWLY,
    syntax="key min max",
    summary="Removes the members in a range of members; all scores should be equal.",
    complexity="O(log(N)+M) for M members removed of N",
)
def zremrangebylex(tx: Tx, argv: list[bytes]) -> bytes:
    """ZREMRANGEBYLEX key min max"""
    lex = parse_lex_range(argv[2], argv[3])
    value = find_zset(tx, argv[1])
    return ZERO if value is None else _remove_range(tx, argv, value, *lex.ranks(value, False))
