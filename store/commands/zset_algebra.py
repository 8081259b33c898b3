"""Unions, intersections and differences of sorted sets: ZUNION, ZINTERSTORE, ZINTERCARD and their kind.

Sets are taken as sorted sets whose scores are all 1.  Inputs are worked off from the
smallest on, as stock does: sums of floats hang on their order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from perdure.store.command import DENYOOM, MOVABLE_KEYS, READONLY, WRITE, KeySpec, command
from perdure.store.commands.list_moves import numbered_keys
from perdure.store.commands.zsets import (
    GROUP,
    READS_SLOWLY,
    WRITES_SLOWLY,
    as_zset,
    members_reply,
    scored_reply,
    store_zset,
    word_of,
)
from perdure.store.errors import LIMIT_NEGATIVE, SYNTAX, WEIGHT_NOT_A_FLOAT, CommandError, no_input_key
from perdure.store.numbers import parse_integer, parse_score
from perdure.store.resp import integer
from perdure.store.set_value import IntSet, Set
from perdure.store.tx import Tx
from perdure.store.zset_value import ordered_pairs

_SUM, _MIN, _MAX = range(3)
_AGGREGATES = {b"SUM": _SUM, b"MIN": _MIN, b"MAX": _MAX}
_UNION, _INTERSECTION, _DIFFERENCE, _CARDINALITY = range(4)
_INPUTS = (KeySpec(("RO", "access"), ("index", 1), ("keynum", 0, 1, 1)),)
_STORED = (
    KeySpec(("OW", "update"), ("index", 1), ("range", 0, 1, 0)),
    KeySpec(("RO", "access"), ("index", 2), ("keynum", 0, 1, 1)),
)
_NOTHING: dict[bytes, float] = {}


@dataclass(slots=True)
class _Input:
    """One sorted set or set: a mapping to scores, or for a set a collection of members."""

    scores: Mapping[bytes, float] | None
    members: Collection[bytes]
    weight: float = 1.0

    def weighted(self, member: bytes) -> float:
        """The score of a member that it has, times its weight; may be NaN."""
        return self.weight if self.scores is None else self.scores[member] * self.weight


@dataclass(slots=True)
class _Request:
    """What a command line asks for."""

    inputs: list[_Input]
    aggregate: int = _SUM
    with_scores: bool = False
    limit: int = 0


def _input(tx: Tx, key: bytes) -> _Input:
    """A key's members; CommandError (WRONGTYPE) unless it is a sorted set, a set or not there."""
    tx.lookups += 1
    value: Any = tx.lookup(key)
    if value is None:
        tx.missed(key)
        return _Input(_NOTHING, _NOTHING)
    if value.__class__ is Set:
        return _Input(None, value)
    if value.__class__ is IntSet:
        return _Input(None, dict.fromkeys(value.members()))
    zset = as_zset(tx, key, value)
    assert zset is not None
    # Another input may make the keyspace pack this one: the dict stays as it is.
    return _Input(zset.scores, zset.scores)


def _parse(tx: Tx, argv: list[bytes], at: int, kind: int) -> _Request:
    """Inputs, whose number is ``argv[at]``, and options behind them; checks in stock's order."""
    count = parse_integer(argv[at])
    if count < 1:
        raise CommandError(no_input_key(argv[0].lower()))
    if count > len(argv) - at - 1:
        raise CommandError(SYNTAX)
    first = at + 1
    request = _Request([_input(tx, key) for key in argv[first : first + count]])
    combines = kind in (_UNION, _INTERSECTION)
    rest = argv[first + count :]
    while rest:
        option = word_of(rest[0])
        if option == b"WEIGHTS" and combines and len(rest) > count:
            for source, text in zip(request.inputs, rest[1 : count + 1], strict=True):
                source.weight = parse_score(text, WEIGHT_NOT_A_FLOAT)
            rest = rest[count + 1 :]
        elif option == b"AGGREGATE" and combines and len(rest) > 1:
            aggregate = _AGGREGATES.get(word_of(rest[1]))
            if aggregate is None:
                raise CommandError(SYNTAX)
            request.aggregate = aggregate
            rest = rest[2:]
        elif option == b"WITHSCORES" and at == 1 and kind != _CARDINALITY:
            request.with_scores = True
            rest = rest[1:]
        elif option == b"LIMIT" and kind == _CARDINALITY and len(rest) > 1:
            request.limit = parse_integer(rest[1], LIMIT_NEGATIVE)
            if request.limit < 0:
                raise CommandError(LIMIT_NEGATIVE)
            rest = rest[2:]
        else:
            raise CommandError(SYNTAX)
    return request


# ---- combining -----------------------------------------------------------------------------------


def _aggregate(kind: int, a: float, b: float) -> float:
    """Two scores as one; the sum of opposite infinities is 0."""
    if kind == _SUM:
        total = a + b
        return total if total == total else 0.0
    if kind == _MIN:
        return b if b < a else a
    return b if b > a else a


def _union(request: _Request) -> dict[bytes, float]:
    result: dict[bytes, float] = {}
    kind = request.aggregate
    for source in sorted(request.inputs, key=lambda source: len(source.members)):
        for member in source.members:
            score = source.weighted(member)
            if score != score:
                score = 0.0
            old = result.get(member)
            result[member] = score if old is None else _aggregate(kind, old, score)
    return result


def _intersection(request: _Request) -> dict[bytes, float]:
    result: dict[bytes, float] = {}
    kind = request.aggregate
    smallest, *others = sorted(request.inputs, key=lambda source: len(source.members))
    for member in smallest.members:
        score = smallest.weighted(member)
        if score != score:
            score = 0.0
        for source in others:
            if member not in source.members:
                break
            score = _aggregate(kind, score, source.weighted(member))
        else:
            result[member] = score
    return result


def _difference(request: _Request) -> dict[bytes, float]:
    first, *others = request.inputs
    left = list(first.members)
    for source in others:
        members = source.members
        left = [member for member in left if member not in members]
    return {member: first.weighted(member) for member in left}


_COMBINE = {_UNION: _union, _INTERSECTION: _intersection, _DIFFERENCE: _difference}


def _answer(tx: Tx, argv: list[bytes], kind: int) -> bytes:
    """ZUNION and its kind."""
    request = _parse(tx, argv, 1, kind)
    members, scores = ordered_pairs(_COMBINE[kind](request))
    return scored_reply(members, scores, tx.resp3, tx.resp3) if request.with_scores else members_reply(members)


def _store(tx: Tx, argv: list[bytes], kind: int) -> bytes:
    """ZUNIONSTORE and its kind."""
    request = _parse(tx, argv, 2, kind)
    return store_zset(tx, argv, argv[1], _COMBINE[kind](request), argv[0].lower())


def _inputs(argv: list[bytes]) -> list[bytes]:
    return numbered_keys(argv, 1)


def _destination_and_inputs(argv: list[bytes]) -> list[bytes]:
    keys = numbered_keys(argv, 2)
    return [argv[1], *keys] if keys else []


# ---- the commands --------------------------------------------------------------------------------


@command(
    "ZUNION",
    arity=-3,
    flags=READONLY | MOVABLE_KEYS,
    find_keys=_inputs,
    key_specs=_INPUTS,
    group=GROUP,
    since="6.2.0",
    acl=READS_SLOWLY,
    syntax="numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
    summary="Returns the members of any of several sorted sets, with their scores combined.",
    complexity="O(N+M*log(M)) for N members in all inputs and M in the result",
)
def zunion(tx: Tx, argv: list[bytes]) -> bytes:
    """ZUNION numkeys key [key ...] [WEIGHTS ...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]"""
    return _answer(tx, argv, _UNION)


@command(
    "ZINTER",
    arity=-3,
    flags=READONLY | MOVABLE_KEYS,
    find_keys=_inputs,
    key_specs=_INPUTS,
    group=GROUP,
    since="6.2.0",
    acl=READS_SLOWLY,
    syntax="numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
    summary="Returns the members of all of several sorted sets, with their scores combined.",
    complexity="O(N*K+M*log(M)) for N members in the smallest of K inputs and M in the result",
)
def zinter(tx: Tx, argv: list[bytes]) -> bytes:
    """ZINTER numkeys key [key ...] [WEIGHTS ...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]"""
    return _answer(tx, argv, _INTERSECTION)


@command(
    "ZDIFF",
    arity=-3,
    flags=READONLY | MOVABLE_KEYS,
    find_keys=_inputs,
    key_specs=_INPUTS,
    group=GROUP,
    since="6.2.0",
    acl=READS_SLOWLY,
    syntax="numkeys key [key ...] [WITHSCORES]",
    summary="Returns the members of the first sorted set that no other has.",
    complexity="O(N*K+M*log(M)) for N members in the first of K inputs and M in the result",
)
def zdiff(tx: Tx, argv: list[bytes]) -> bytes:
    """ZDIFF numkeys key [key ...] [WITHSCORES]"""
    return _answer(tx, argv, _DIFFERENCE)


@command(
    "ZUNIONSTORE",
    arity=-4,
    flags=WRITE | DENYOOM | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=_destination_and_inputs,
    key_specs=_STORED,
    group=GROUP,
    since="2.0.0",
    acl=WRITES_SLOWLY,
    syntax="destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
    summary="Stores the members of any of several sorted sets, with their scores combined.",
    complexity="O(N+M*log(M)) for N members in all inputs and M in the result",
)
def zunionstore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE <SUM | MIN | MAX>]"""
    return _store(tx, argv, _UNION)


@command(
    "ZINTERSTORE",
    arity=-4,
    flags=WRITE | DENYOOM | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=_destination_and_inputs,
    key_specs=_STORED,
    group=GROUP,
    since="2.0.0",
    acl=WRITES_SLOWLY,
    syntax="destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
    summary="Stores the members of all of several sorted sets, with their scores combined.",
    complexity="O(N*K+M*log(M)) for N members in the smallest of K inputs and M in the result",
)
def zinterstore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZINTERSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE <SUM | MIN | MAX>]"""
    return _store(tx, argv, _INTERSECTION)


@command(
    "ZDIFFSTORE",
    arity=-4,
    flags=WRITE | DENYOOM | MOVABLE_KEYS,
    keys_at=(1, 1, 1),
    find_keys=_destination_and_inputs,
    key_specs=_STORED,
    group=GROUP,
    since="6.2.0",
    acl=WRITES_SLOWLY,
    syntax="destination numkeys key [key ...]",
    summary="Stores the members of the first sorted set that no other has.",
    complexity="O(N*K+M*log(M)) for N members in the first of K inputs and M in the result",
)
def zdiffstore(tx: Tx, argv: list[bytes]) -> bytes:
    """ZDIFFSTORE destination numkeys key [key ...]"""
    return _store(tx, argv, _DIFFERENCE)


@command(
    "ZINTERCARD",
    arity=-3,
    flags=READONLY | MOVABLE_KEYS,
    find_keys=_inputs,
    key_specs=_INPUTS,
    group=GROUP,
    since="7.0.0",
    acl=READS_SLOWLY,
    syntax="numkeys key [key ...] [LIMIT limit]",
    summary="Counts the members that all of several sorted sets have, up to a limit.",
    complexity="O(N*K) for N members in the smallest of K inputs",
)
def zintercard(tx: Tx, argv: list[bytes]) -> bytes:
    """ZINTERCARD numkeys key [key ...] [LIMIT limit]: no limit, or 0, counts them all"""
    request = _parse(tx, argv, 1, _CARDINALITY)
    smallest, *others = sorted(request.inputs, key=lambda source: len(source.members))
    rest = [source.members for source in others]
    count = 0
    for member in smallest.members:
        if all(member in members for members in rest):
            count += 1
            if count == request.limit:
                break
    return integer(count)
