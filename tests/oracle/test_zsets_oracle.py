"""The sorted sets group beside stock: replies, errors and the order of checks, encodings, and what it logs."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from random import Random

import oracle_sets_lines  # noqa: F401 - plugs in its generators
import pytest
from oracle_harness import (
    Argv,
    Oracle,
    Ours,
    assert_same,
    check_all_log_first,
    check_replay,
    commands_of,
    plain,
    words,
)
from oracle_lines import Lines
from oracle_zsets_lines import ZSETS_GROUP

from perdure.store.command import LOGGED

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "SADD m1 a b f1 f2", "SADD m2 1 2 3", "ZADD z1 1 a 2 b 3 c", "ZADD z2 0 a 0 b 0 c 0 d")


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2000, [*ZSETS_GROUP, b"SADD"]))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "ZADD s1 x a", "ZADD s1 1 a", "ZADD s1 NX XX 1 a", "ZADD s1 GT LT x a", "ZADD s1 NX GT x a",
        "ZADD s1 INCR 1 a 2",
        "ZADD s1 INCR 1 a 2 b", "ZADD s1 NX", "ZADD s1 NX XX", "ZADD z1 1 a x b", "ZSCORE z1 b", "ZADD nokey XX 1 a",
        "ZADD nokey XX INCR 1 a", "EXISTS nokey", "ZADD z1 INCR nan a", "ZADD z1 inf i", "ZADD z1 INCR -inf i",
        "ZINCRBY z1 -inf i", "ZINCRBY z1 x i", "ZINCRBY s1 x i", "ZINCRBY s1 1 i", "ZINCRBY z1 NX i", "ZSCORE z1 i",
        "ZRANGE s1 x 1", "ZRANGE s1 0 1 LIMIT 0 1", "ZRANGE s1 0 1 LIMIT 0 -1", "ZRANGE z1 0 1 LIMIT 1 -1",
        "ZRANGE s1 a b BYSCORE LIMIT x 1", "ZRANGE s1 a b BYLEX WITHSCORES", "ZRANGE z1 a b BYSCORE BYSCORE",
        "ZRANGE z1 0 1 REV REV", "ZREVRANGE z1 0 1 REV", "ZRANGE z1 [a [b BYSCORE", "ZRANGE z1 0 1 BYLEX",
        "ZRANGESTORE d s1 0 1", "ZRANGESTORE d nokey 0 x", "ZRANGESTORE d z1 0 1 WITHSCORES", "ZRANGESTORE z1 z1 0 0",
        "ZRANGE z1 0 -1 WITHSCORES", "ZRANGESTORE s1 z1 5 9", "EXISTS s1", "SET s1 text",
        "ZCOUNT s1 x 1", "ZCOUNT s1 1 1", "ZLEXCOUNT s1 x [b", "ZLEXCOUNT s1 - +", "ZREMRANGEBYSCORE s1 x 1",
        "ZREMRANGEBYRANK s1 x 1", "ZREMRANGEBYLEX s1 x +", "ZREMRANGEBYLEX s1 - +", "ZPOPMIN s1 x", "ZPOPMIN s1 1 2",
        "ZPOPMIN s1 0", "ZPOPMIN s1 -1", "ZPOPMIN s1", "ZPOPMIN nokey 0", "ZMPOP 2 s1 MIN", "ZMPOP 1 s1 MIDDLE",
        "ZMPOP 1 s1 MIN COUNT", "ZMPOP 1 s1 MIN COUNT 0", "ZMPOP 1 s1 MIN COUNT 1 COUNT 1", "ZMPOP 2 nokey s1 MIN",
        "ZMPOP 2 z2 s1 MIN", "BZPOPMIN s1 x", "BZPOPMIN nokey s1 x", "BZPOPMIN s1 -1", "BZPOPMIN nokey s1 0",
        "BZPOPMIN z2 s1 0", "BZMPOP x 1 s1 MIDDLE", "BZMPOP x 1 s1 MIN", "BZMPOP -1 1 nokey MIN",
        "BZMPOP 0.001 1 nokey MIN",
        "ZUNION 0 s1", "ZUNION x s1", "ZUNION 3 s1", "ZUNION 1 s1 JUNK", "ZUNION 2 z1 s1 WEIGHTS",
        "ZUNION 1 z1 WEIGHTS x",
        "ZUNION 1 z1 AGGREGATE x", "ZDIFF 1 z1 WEIGHTS 1", "ZUNIONSTORE d 1 z1 WITHSCORES", "ZINTERCARD 1 z1 LIMIT x",
        "ZINTERCARD 1 z1 LIMIT -1", "ZINTERCARD 1 z1 LIMIT", "ZINTERCARD 0 z1 LIMIT -1", "ZRANDMEMBER s1 x",
        "ZRANDMEMBER s1 1 FOO", "ZRANDMEMBER s1 0", "ZRANDMEMBER nokey 5 WITHSCORES", "ZRANDMEMBER nokey",
        "ZRANDMEMBER z1 -9223372036854775807 WITHSCORES", "ZRANDMEMBER z1 -9223372036854775808", "ZSCAN s1 x",
        "ZSCAN s1 0 FOO", "ZSCAN nokey 0 FOO", "ZSCAN z1 0 COUNT 0", "ZREM z1 a a b c i", "EXISTS z1", "ZMSCORE s1 a",
        "ZMSCORE nokey a b", "ZRANK s1 a", "ZRANK nokey a", "ZCARD s1",
    ))  # fmt: skip


def test_scores_are_kept_and_printed_as_in_stock(stock: Oracle) -> None:
    scores = [
        b"0", b"-0", b"-0.0", b"1e-320", b"5e-324", b"0.1", b"1e16", b"1e17", b"1e18", b"9007199254740993", b"1e300",
        b"inf", b"-inf", b"0x1.8p1", b"3.14159265358979", b"4611686018427387904", b"9223372036854775807", b"1e22",
        b"-1e-5",
    ]  # fmt: skip
    lines: list[Argv] = []
    for key, member in ((b"small", b"m"), (b"big", b"m" * 70)):
        lines += [[b"ZADD", key, score, member + b"%d" % i] for i, score in enumerate(scores)]
        lines += [[b"ZADD", key, b"INCR", b"0", member + b"%d" % i] for i in range(len(scores))]
        lines += [[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], [b"ZSCAN", key, b"0", b"COUNT", b"1000"],
                  [b"ZADD", key, b"-0.0", b"n"], [b"ZSCORE", key, b"n"], [b"ZADD", key, b"CH", b"0", b"n"],
                  [b"ZINCRBY", key, b"-0.0", b"new"], [b"ZUNION", b"1", key, b"WEIGHTS", b"-1", b"WITHSCORES"],
                  [b"ZUNIONSTORE", b"d", b"1", key, b"WEIGHTS", b"-0.0"], [b"ZRANGE", b"d", b"0", b"-1", b"WITHSCORES"],
                  [b"ZPOPMIN", key, b"3"], [b"ZPOPMAX", key]]  # fmt: skip
    assert_same(stock, lines)


def test_opposite_infinities_make_zero_and_no_nan_is_ever_kept(stock: Oracle) -> None:
    lines = words("ZADD a inf x 0 y 1 z", "ZADD b -inf x inf y 2 z", "SADD c x y w")
    for aggregate in ("SUM", "MIN", "MAX"):
        for weights in ("1 1", "0 1", "-1 -1", "inf 0", "-inf inf"):
            options = f"WEIGHTS {weights} AGGREGATE {aggregate} WITHSCORES"
            lines += words(f"ZUNION 2 a b {options}", f"ZINTER 2 a b {options}", f"ZINTER 2 c b {options}",
                           f"ZINTER 2 a a {options}")  # fmt: skip
    assert_same(stock, lines)


def test_sizes_change_the_encoding_as_in_stock(stock: Oracle) -> None:
    lines: list[Argv] = []
    for n in (127, 128, 129):
        key = b"n%d" % n
        pairs = [arg for i in range(n) for arg in (b"%d" % (i % 7), b"%d" % i)]
        lines += [[b"ZADD", key, *pairs], [b"OBJECT", b"ENCODING", key], [b"ZREM", key, b"5", b"6", b"7"],
                  [b"OBJECT", b"ENCODING", key], [b"COPY", key, key + b"c"], [b"OBJECT", b"ENCODING", key + b"c"],
                  [b"ZUNIONSTORE", b"u", b"1", key], [b"OBJECT", b"ENCODING", b"u"],
                  [b"ZRANGESTORE", b"r", key, b"0", b"-1"], [b"OBJECT", b"ENCODING", b"r"]]  # fmt: skip
    for size in (64, 65):
        long = b"x" * size
        for name, *args in ((b"ZADD", b"1", long), (b"ZINCRBY", b"1", long), (b"ZADD", b"1", b"a", b"2", long)):
            argv = [name, b"k", *args]
            lines += [[b"DEL", b"k"], argv, [b"OBJECT", b"ENCODING", b"k"], [b"ZADD", b"k", b"1", b"b"],
                      [b"ZREM", b"k", long], [b"OBJECT", b"ENCODING", b"k"]]  # fmt: skip
    assert_same(stock, lines)


def some_pairs(rng: Random, count: int) -> Argv:
    return [arg for _ in range(count) for arg in (b"%d" % rng.randrange(30), b"m%d" % rng.randrange(2000))]


def big_lines(seed: int, count: int) -> list[Argv]:
    """Lines on a sorted set of hundreds, a few scores for many members, and on one whose scores are all equal."""
    rng = Random(seed)
    lines: list[Argv] = [[b"ZADD", b"lex", *[arg for i in range(400) for arg in (b"0", b"m%d" % rng.randrange(2000))]]]
    for _ in range(count):
        member, n, m = b"m%d" % rng.randrange(2000), b"%d" % rng.randrange(-9, 500), b"%d" % rng.randrange(-9, 500)
        low, high = (rng.choice((b"(", b"")) + b"%d" % rng.randrange(30) for _ in range(2))
        lex = [rng.choice((b"-", b"+", b"[" + member, b"(m%d" % rng.randrange(2000))) for _ in range(2)]
        limit = [b"LIMIT", b"%d" % rng.randrange(20), b"%d" % rng.randrange(-1, 20)]
        lines.append(rng.choice((
            [b"ZADD", b"z", *some_pairs(rng, 30)],
            [b"ZINCRBY", b"z", b"0.5", member], [b"ZREM", b"z", member], [b"ZRANK", b"z", member],
            [b"ZREVRANK", b"z", member], [b"ZRANGE", b"z", n, m, b"WITHSCORES"], [b"ZREVRANGE", b"z", n, m],
            [b"ZRANGEBYSCORE", b"z", low, high, *limit], [b"ZREVRANGEBYSCORE", b"z", high, low, *limit],
            [b"ZCOUNT", b"z", low, high], [b"ZREMRANGEBYRANK", b"z", n, n], [b"ZPOPMIN", b"z", b"3"],
            [b"ZPOPMAX", b"z"], [b"ZREMRANGEBYSCORE", b"z", b"(7", b"7.5"], [b"ZADD", b"lex", b"0", member],
            [b"ZREM", b"lex", member],
            [b"ZRANGEBYLEX", b"lex", *lex, *limit], [b"ZREVRANGEBYLEX", b"lex", *lex[::-1], *limit],
            [b"ZLEXCOUNT", b"lex", *lex], [b"ZRANGE", b"lex", *lex, b"BYLEX"],
            [b"ZREMRANGEBYLEX", b"lex", b"(" + member, b"[" + member + b"5"], [b"ZRANGESTORE", b"d", b"z", n, m],
        )))  # fmt: skip
    return lines


@pytest.mark.parametrize("seed", range(2))
def test_big_sorted_sets_answer_as_stocks_skiplists(stock: Oracle, seed: int) -> None:
    assert_same(stock, big_lines(seed, 1200))


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(2500, ZSETS_GROUP))


@pytest.mark.parametrize("seed", range(2))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(2000 + seed).many(1500, ZSETS_GROUP))
    ours.run(big_lines(seed, 300))
    check_replay(ours, stock)


@pytest.mark.parametrize(("line", "record"), [
    ("BZPOPMIN nokey z2 z1 0", "ZPOPMIN z2"),
    ("BZPOPMAX z1 0", "ZPOPMAX z1"),
    ("ZMPOP 2 nokey z1 MAX COUNT 2", "ZPOPMAX z1 2"),
    ("BZMPOP 0 1 z1 MIN COUNT 9", "ZPOPMIN z1 3"),
    ("ZPOPMIN z1 9", "ZPOPMIN z1 9"),
    ("ZREM z1 nobody a a", "ZREM z1 a"),
    ("ZADD z1 1 a", ""),
    ("ZADD z1 NX 7 a", ""),
    ("ZADD z1 GT CH 0 a 5 b", "ZADD z1 GT CH 0 a 5 b"),
    ("ZINCRBY z1 0 a", ""),
    ("ZREMRANGEBYSCORE z1 7 8", ""),
    ("ZRANGESTORE d z1 9 9", ""),
    ("ZUNIONSTORE z1 1 nokey", "DEL z1"),
    ("ZUNIONSTORE d 2 z1 nokey", "ZUNIONSTORE d 2 z1 nokey"),
    ("BZPOPMIN nokey 1", ""),
])  # fmt: skip
def test_the_log_says_what_was_done_and_nothing_where_nothing_was(line: str, record: str) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.records.clear()
    ours.run(words(line))
    logged = [argv for argv in commands_of(b"".join(ours.records)) if argv[0] != b"SELECT"]
    assert [b" ".join(argv).decode() for argv in logged] == ([record] if record else [])


def test_sources_of_a_stored_result_are_not_touched() -> None:
    for line in words("ZUNIONSTORE d 2 a b", "ZRANGESTORE d a 0 1", "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m"):
        assert LOGGED[line[0]].written_keys(line) == [b"d"]


# ---- members by chance, and page by page ----------------------------------------------------


def big_zset(ours: Ours, count: int, name: bytes = b"stay") -> set[bytes]:
    members = {b"%b%d" % (name, n) for n in range(count)}
    ours(b"ZADD", b"z", *(arg for member in members for arg in (b"%d" % (len(member) % 3), member)))
    return members


def test_zscan_sees_every_member_that_stays() -> None:
    rng = Random(6)
    ours = Ours()
    stay = big_zset(ours, 400)
    seen: set[bytes] = set()
    cursor = b"0"
    calls = 0
    while calls == 0 or cursor != b"0":
        cursor, page = plain(ours(b"ZSCAN", b"z", cursor, b"COUNT", b"4", b"MATCH", b"stay*"))
        seen.update(page[::2])
        calls += 1
        for _ in range(25):
            member = b"go%d" % rng.randrange(300)
            ours(*rng.choice((
                [b"ZADD", b"z", b"1", member], [b"ZREM", b"z", member], [b"ZINCRBY", b"z", b"1", member],
                [b"ZINCRBY", b"z", b"1", b"stay%d" % rng.randrange(400)],
            )))  # fmt: skip
        assert calls < 2000
    assert seen == stay
    ours.check()


def test_random_members_are_fair_and_distinct_where_they_must_be() -> None:
    for count in (10, 200):
        ours = Ours()
        members = big_zset(ours, count)
        picked = Counter(plain(ours(b"ZRANDMEMBER", b"z", b"-%d" % (200 * count))))
        single = Counter(plain(ours(b"ZRANDMEMBER", b"z")) for _ in range(200 * count))
        for counts in (picked, single):
            assert set(counts) == members
            assert max(counts.values()) < 2 * min(counts.values())
        for asked in (1, count // 10, count // 2, count - 1, count, 10 * count):
            found = plain(ours(b"ZRANDMEMBER", b"z", b"%d" % asked))
            assert len(set(found)) == len(found) == min(asked, count)
        shown = plain(ours(b"ZRANDMEMBER", b"z", b"-50", b"WITHSCORES"))
        assert all(float(score) == len(member) % 3 for member, score in zip(shown[::2], shown[1::2], strict=True))
        ours.check()


def test_a_reply_with_repetition_is_bounded() -> None:
    ours = Ours()
    big_zset(ours, 3)
    ours.tx.max_bulk_bytes = 64_000
    assert ours(b"ZRANDMEMBER", b"z", b"-1001") == b"-ERR value is out of range\r\n"
    assert ours(b"ZRANDMEMBER", b"z", b"-9223372036854775807") == b"-ERR value is out of range\r\n"
    assert len(plain(ours(b"ZRANDMEMBER", b"z", b"-999"))) == 999


# ---- what they take -------------------------------------------------------------------------


def used_bytes(oracle: Oracle) -> int:
    return int(plain(oracle(b"INFO", b"memory")).split(b"used_memory:")[1].split(b"\r\n")[0])


def taken_by(lines: list[list[bytes]]) -> int:
    """Bytes that a keyspace takes after these commands, once its keys are out of use."""
    ours = Ours()
    gc.collect()
    tracemalloc.start()
    try:
        for line in lines:
            ours._execute([line[0], *[bytes(bytearray(arg)) for arg in line[1:]]])
            ours.tx.records.clear()
        ours.keyspace.warm.cool()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("members", "keys"), [(1, 5000), (10, 5000), (100, 200), (30_000, 1)])
def test_memory_stays_below_two_and_a_half_times_stocks(stock: Oracle, members: int, keys: int) -> None:
    """Of keys of which many more are there than are in use."""
    rng = Random(3)
    stock.reset()
    lines = [
        [b"ZADD", b"key:%08d" % key, *[
            arg for _ in range(members) for arg in (b"%d" % rng.randrange(10**6), b"member:%07d" % rng.randrange(10**7))
        ]]
        for key in range(keys)
    ]  # fmt: skip
    before = used_bytes(stock)
    stock.run(lines)
    theirs = used_bytes(stock) - before
    taken_by(lines[:100])  # whatever is made once, at the first use
    mine = taken_by(lines)
    stock.reset()
    assert mine < 2.5 * theirs, (mine / keys, theirs / keys)
