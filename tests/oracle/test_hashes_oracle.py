"""The hashes group beside stock: replies, errors and the order of checks, and what it logs."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from oracle_harness import Oracle, Ours, assert_same, check_all_log_first, check_replay, plain, words
from oracle_keys_lines import HASHES_GROUP
from oracle_lines import Lines

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "HSET h1 f v g w", "HSET h2 n 10 x 10.5")


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2500, HASHES_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "HSET s1 a", "HSET s1 a b c", "HMSET s1 a b c", "HSET s1 a b", "HINCRBY s1 f x", "HINCRBY s1 f 1",
        "HINCRBYFLOAT s1 f x", "HINCRBYFLOAT s1 f inf", "HINCRBYFLOAT s1 f nan", "HINCRBYFLOAT h1 f inf",
        "HINCRBYFLOAT h1 f 1", "HSET h1 i inf", "HINCRBYFLOAT h1 i -1", "HINCRBYFLOAT h1 i -inf", "HINCRBY h1 i 1",
        "HINCRBY h1 f 1", "HSET h1 m 9223372036854775807", "HINCRBY h1 m 1", "HINCRBY h1 m -1", "HRANDFIELD s1 x",
        "HRANDFIELD s1 1 FOO", "HRANDFIELD s1 0", "HRANDFIELD nokey 5 WITHVALUES", "HRANDFIELD nokey",
        "HRANDFIELD h1 -9223372036854775807 WITHVALUES", "HRANDFIELD h1 -9223372036854775808", "HRANDFIELD h1 1 a b",
        "HSCAN s1 x", "HSCAN s1 0 FOO", "HSCAN nokey 0 FOO", "HSCAN nokey x", "HSCAN h1 0 FOO", "HSCAN h1 0 TYPE hash",
        "HSCAN h1 0 COUNT 0", "HSCAN h1 77 COUNT 1", "HGETALL nokey", "HKEYS nokey", "HVALS nokey", "HMGET nokey a b",
        "HMGET s1 a", "HSTRLEN h1 nofield", "HDEL h1 f f f", "HDEL h1 g i m", "EXISTS h1",
    ))  # fmt: skip


def test_sizes_change_the_encoding_as_in_stock(stock: Oracle) -> None:
    lines = []
    for n in (511, 512, 513):
        key = b"n%d" % n
        for start in range(0, n, 64):
            lines.append([b"HSET", key, *(arg for i in range(start, min(n, start + 64)) for arg in (b"%d" % i, b"v"))])
        lines += [[b"OBJECT", b"ENCODING", key], [b"HDEL", key, b"5", b"6", b"7"], [b"OBJECT", b"ENCODING", key],
                  [b"HLEN", key], [b"COPY", key, key + b"c"], [b"OBJECT", b"ENCODING", key + b"c"]]  # fmt: skip
    for size in (64, 65):
        long = b"x" * size
        for argv in ([b"HSET", b"k", b"f", long], [b"HSET", b"k", long, b"v"], [b"HSETNX", b"k", b"f", long]):
            lines += [[b"DEL", b"k"], argv, [b"OBJECT", b"ENCODING", b"k"], [b"HSET", b"k", b"f", b"1"],
                      [b"OBJECT", b"ENCODING", b"k"]]  # fmt: skip
    assert_same(stock, lines)


def test_random_fields_come_with_their_own_values() -> None:
    ours = Ours()
    for resp3 in (False, True):
        ours.speak(resp3)
        for n in (5, 300):
            ours(b"DEL", b"h")
            ours(b"HSET", b"h", *(arg for i in range(n) for arg in (b"f%d" % i, b"v%d" % i)))
            for count in (b"3", b"290", b"1000", b"-3", b"-1000"):
                shown = plain(ours(b"HRANDFIELD", b"h", count, b"WITHVALUES"))
                pairs = shown if resp3 else list(zip(shown[::2], shown[1::2], strict=True))
                assert pairs
                assert all(field[1:] == value[1:] for field, value in pairs)


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(3000, HASHES_GROUP))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(2000 + seed).many(1500, HASHES_GROUP))
    check_replay(ours, stock)


def big_hash(ours: Ours, count: int, name: bytes = b"stay") -> set[bytes]:
    fields = {b"%b%d" % (name, n) for n in range(count)}
    ours(b"HSET", b"h", *(arg for field in fields for arg in (field, b"v" * 65)))
    return fields


def test_hscan_sees_every_field_that_stays() -> None:
    rng = Random(6)
    ours = Ours()
    stay = big_hash(ours, 400)
    seen: set[bytes] = set()
    cursor = b"0"
    calls = 0
    while calls == 0 or cursor != b"0":
        cursor, page = plain(ours(b"HSCAN", b"h", cursor, b"COUNT", b"4", b"MATCH", b"stay*"))
        seen.update(page[::2])
        calls += 1
        for _ in range(25):
            field = b"go%d" % rng.randrange(300)
            ours(*rng.choice(([b"HSET", b"h", field, b"1"], [b"HDEL", b"h", field], [b"HINCRBY", b"h", field, b"1"])))
        assert calls < 2000
    assert seen == stay
    ours.check()


def test_random_fields_are_fair_and_distinct_where_they_must_be() -> None:
    for count in (10, 200):
        ours = Ours()
        fields = big_hash(ours, count)
        picked = Counter(plain(ours(b"HRANDFIELD", b"h", b"-%d" % (200 * count))))
        single = Counter(plain(ours(b"HRANDFIELD", b"h")) for _ in range(200 * count))
        for counts in (picked, single):
            assert set(counts) == fields
            assert max(counts.values()) < 2 * min(counts.values())
        for asked in (1, count // 10, count // 2, count - 1, count, 10 * count):
            found = plain(ours(b"HRANDFIELD", b"h", b"%d" % asked))
            assert len(set(found)) == len(found) == min(asked, count)
        ours.check()


def test_a_reply_with_repetition_is_bounded() -> None:
    ours = Ours()
    big_hash(ours, 3)
    ours.tx.max_bulk_bytes = 64_000
    assert ours(b"HRANDFIELD", b"h", b"-1001") == b"-ERR value is out of range\r\n"
    assert ours(b"HRANDFIELD", b"h", b"-9223372036854775807") == b"-ERR value is out of range\r\n"
    assert ours(b"HRANDFIELD", b"h", b"-999", b"WITHVALUES") == b"-ERR value is out of range\r\n"
    assert len(plain(ours(b"HRANDFIELD", b"h", b"-999"))) == 999
