"""Sorted sets by parts: ZRANDMEMBER takes some members by chance, ZSCAN all of them page by page."""

from __future__ import annotations

from perdure.store.command import READONLY, command
from perdure.store.commands.scanning import EMPTY_PAGE, page_reply, parse_cursor, parse_options
from perdure.store.commands.zsets import ACCESSED, GROUP, READS_SLOWLY, members_reply, read_zset, scored_reply, word_of
from perdure.store.errors import BEYOND_LONG, OUT_OF_RANGE, SYNTAX, CommandError
from perdure.store.numbers import INT64_MAX, INT64_MIN, parse_integer, print_double
from perdure.store.resp import EMPTY_ARRAY, bulk
from perdure.store.tx import Tx
from perdure.store.zset_value import ZSet

_WHOLE_SCORES = 2.0**62
_LEAST_BYTES = 64
"""What a member of a reply takes in memory while the reply is made, at the least."""


def _random_members(tx: Tx, value: ZSet, count: int) -> list[bytes]:
    """``count`` members, distinct if it is positive.  O(count * log(n)), or O(n) where that is less."""
    rng = tx.rng
    size = len(value.scores)
    at = value.order.at
    if count < 0:
        if -count >= size:
            return rng.choices(list(value.scores), k=-count)
        return [at(int(rng.random() * size)) for _ in range(-count)]
    if count >= size:
        return value.order.slice(0, size)[0]
    if 3 * count >= size:
        return rng.sample(list(value.scores), count)
    return [at(rank) for rank in rng.sample(range(size), count)]


@command(
    "ZRANDMEMBER",
    arity=-2,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="6.2.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    syntax="key [count [WITHSCORES]]",
    summary="Returns random members: distinct ones, or with a negative count any ones.",
    complexity="O(M*log(N)) for M members returned of N",
)
def zrandmember(tx: Tx, argv: list[bytes]) -> bytes:
    """ZRANDMEMBER key [count [WITHSCORES]]"""
    if len(argv) == 2:
        value = read_zset(tx, argv[1])
        return tx.null if value is None else bulk(_random_members(tx, value, -1)[0])
    count = parse_integer(argv[2])
    if count == INT64_MIN:
        raise CommandError(BEYOND_LONG)
    with_scores = len(argv) > 3
    if with_scores:
        if len(argv) > 4 or word_of(argv[3]) != b"WITHSCORES":
            raise CommandError(SYNTAX)
        if not -(INT64_MAX // 2) <= count <= INT64_MAX // 2:
            raise CommandError(OUT_OF_RANGE)
    value = read_zset(tx, argv[1])
    if value is None or not count:
        return EMPTY_ARRAY
    # With repetition a short command could ask for any amount; a reply has the bound of a string.
    if -count > tx.max_bulk_bytes // _LEAST_BYTES:
        raise tx.refuse(OUT_OF_RANGE)
    members = _random_members(tx, value, count)
    if count < 0 and sum(map(len, members)) > tx.max_bulk_bytes:
        raise tx.refuse(OUT_OF_RANGE)
    if not with_scores:
        return members_reply(members)
    return scored_reply(members, [value.scores[member] for member in members], tx.resp3, tx.resp3)


def _print_score(score: float, big: bool) -> bytes:
    """A score in a page: stock's listpack has whole numbers up to 2**62 as integers, and shows them as such."""
    if not big and abs(score) <= _WHOLE_SCORES and score.is_integer():
        return b"%d" % score
    return print_double(score)


@command(
    "ZSCAN",
    arity=-3,
    flags=READONLY,
    keys_at=(1, 1, 1),
    key_specs=ACCESSED,
    group=GROUP,
    since="2.8.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    syntax="key cursor [MATCH pattern] [COUNT count]",
    summary="Goes through the members of a sorted set and their scores page by page.",
    complexity="O(1) for a page, O(N) for a whole scan of N members",
)
def zscan(tx: Tx, argv: list[bytes]) -> bytes:
    """ZSCAN key cursor [MATCH pattern] [COUNT count]: a sorted set that is not big comes in one page, as in stock"""
    cursor = parse_cursor(argv[2])
    value = read_zset(tx, argv[1])
    if value is None:
        return EMPTY_PAGE
    try:
        options = parse_options(argv, 3, False)
    except CommandError as error:
        raise tx.refuse(error.text) from None
    if value.big is not None:
        cursor, members = value.scanned(value.big).page(cursor, options.count)
    else:
        cursor = 0
        members = value.order.slice(0, value.order.size)[0]
    if options.match is not None:
        members = list(filter(options.match, members))
    shown: list[bytes] = []
    for member in members:
        shown += (member, _print_score(value.scores[member], value.big is not None))
    return page_reply(cursor, shown)
