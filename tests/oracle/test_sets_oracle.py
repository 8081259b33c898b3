"""The sets group beside stock: replies, errors and the order of checks, encodings, and what it logs."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from oracle_harness import (
    Argv,
    Oracle,
    Ours,
    assert_same,
    assert_same_state,
    check_all_log_first,
    check_replay,
    commands_of,
    oracle_state,
    plain,
    words,
)
from oracle_lines import Lines
from oracle_sets_lines import SETS_GROUP

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "SADD i1 3 1 2", "SADD i2 2 3 4", "SADD h1 a b c", "SADD h2 b c d 3")


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2500, SETS_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "SADD s1 a", "SADD s1 1", "SREM s1 a", "SREM nokey a", "SISMEMBER s1 a", "SMISMEMBER s1 a",
        "SMISMEMBER nokey a b", "SMEMBERS nokey", "SCARD nokey", "SPOP s1", "SPOP nokey", "SPOP nokey x",
        "SPOP s1 x", "SPOP s1 -1", "SPOP s1 1 2", "SPOP nokey 3", "SPOP h1 0", "SRANDMEMBER s1", "SRANDMEMBER s1 x",
        "SRANDMEMBER s1 1 2", "SRANDMEMBER nokey 1", "SRANDMEMBER nokey", "SRANDMEMBER nokey -5",
        "SRANDMEMBER h1 -9223372036854775808", "SRANDMEMBER h1 0", "SMOVE nokey s1 a", "SMOVE h1 s1 nosuch",
        "SMOVE s1 h1 a", "SMOVE h1 h1 a", "SMOVE h1 h1 z", "SMOVE h1 h2 b", "SMOVE h1 new a", "SMOVE h1 new c",
        "EXISTS h1", "SUNION nokey s1", "SUNION nokey nokey", "SINTER nokey s1", "SINTER h2 nokey", "SDIFF nokey s1",
        "SDIFF h2 h2", "SUNIONSTORE d nokey", "SUNIONSTORE s1 h2 s1", "SINTERSTORE d h2 s1", "SUNIONSTORE d h2 i1",
        "SINTERSTORE d nokey h2", "EXISTS d", "SDIFFSTORE s1 h2 i1", "SINTERCARD 0 h2", "SINTERCARD x",
        "SINTERCARD 3 h2 i1", "SINTERCARD 1 h2 i1", "SINTERCARD 2 h2 i1 LIMIT", "SINTERCARD 2 h2 i1 LIMIT x",
        "SINTERCARD 2 h2 s1 LIMIT -1", "SINTERCARD 2 nokey s1", "SINTERCARD 2 h2 i1 LIMIT 1 LIMIT 0",
        "SINTERCARD 1 h2 LIMIT 2", "SINTERCARD 9223372036854775808 h2", "SSCAN s1 x", "SSCAN s1 0 FOO",
        "SSCAN nokey 0 FOO", "SSCAN h2 0 FOO", "SSCAN h2 0 COUNT 0", "SSCAN h2 77 COUNT 1", "SSCAN i2 5 COUNT 1",
    ))  # fmt: skip


def members(argv: Argv, count: int, name: bytes = b"") -> list[Argv]:
    """Lines that add so many members, 64 a line."""
    return [
        argv + [b"%b%d" % (name, i) for i in range(start, min(count, start + 64))] for start in range(0, count, 64)
    ]


def test_sizes_and_members_change_the_encoding_as_in_stock(stock: Oracle) -> None:
    lines: list[Argv] = []
    for n in (511, 512, 513):
        key = b"n%d" % n
        lines += members([b"SADD", key], n)
        for more in ([[b"SREM", key, b"5", b"6", b"7"]], [[b"COPY", key, key + b"c"]]):
            lines += [[b"OBJECT", b"ENCODING", key], *more]
        lines += [[b"OBJECT", b"ENCODING", key + b"c"], [b"SUNIONSTORE", b"u", key, b"nokey"],
                  [b"OBJECT", b"ENCODING", b"u"],
                  [b"SDIFFSTORE", b"d", key, b"n511"], [b"OBJECT", b"ENCODING", b"d"], [b"SMOVE", key, b"m", b"9"],
                  [b"OBJECT", b"ENCODING", b"m"]]  # fmt: skip
    for member in (b"01", b"+1", b"", b"-0", b"1.0", b"9223372036854775807", b"9223372036854775808", b"x"):
        lines += [[b"DEL", b"k"], [b"SADD", b"k", b"1"], [b"SADD", b"k", member], [b"OBJECT", b"ENCODING", b"k"],
                  [b"SREM", b"k", member], [b"OBJECT", b"ENCODING", b"k"], [b"DEL", b"k"],
                  [b"SADD", b"k", member, b"2"], [b"OBJECT", b"ENCODING", b"k"]]  # fmt: skip
    assert_same(stock, lines)


def test_a_difference_keeps_the_encoding_of_the_way_stock_makes_it(stock: Oracle) -> None:
    lines = members([b"SADD", b"big"], 600)
    lines += members([b"SADD", b"much"], 3000, b"x")
    lines += members([b"SADD", b"most"], 595)
    lines += words("SADD mixed 1 2 a", "SADD a a", "SADD one 1")
    for argv in words(
        "d mixed a", "d mixed a a a a a a a a", "d big most", "d big most much", "d big most one one one one",
        "d mixed one one one one one one one one", "d most one one one one one one",
    ):  # fmt: skip
        lines += [[b"SDIFFSTORE", *argv], [b"OBJECT", b"ENCODING", b"d"], [b"SDIFF", *argv[1:]]]
    assert_same(stock, lines)


def test_sets_of_integers_come_in_order_as_in_stock(stock: Oracle) -> None:
    stock.reset()
    ours = Ours()
    rng = Random(4)
    for argv in [
        [b"SADD", b"a", *(b"%d" % rng.randrange(-50_000, 50_000) for _ in range(60))],
        [b"SADD", b"b", *(b"%d" % rng.randrange(-50_000, 50_000) for _ in range(60)), b"5000000000"],
        *words("SMEMBERS a", "SUNION a b", "SDIFF b a", "SINTER a a", "SSCAN b 0", "SRANDMEMBER a 100", "SMEMBERS b",
               "SUNIONSTORE c a b", "SMEMBERS c", "SPOP c 1000", "SADD a 7", "SADD a -99999999", "SMEMBERS a"),
    ]:  # fmt: skip
        assert stock(*argv) == ours(*argv), argv


def test_spop_of_nearly_everything_makes_the_rest_anew(stock: Oracle) -> None:
    """Where all that can stay are integers the encoding changes back, as in stock."""
    lines = [[b"SADD", b"k", *(b"%d" % n for n in range(600))], [b"OBJECT", b"ENCODING", b"k"], [b"SPOP", b"k", b"490"],
             [b"OBJECT", b"ENCODING", b"k"], [b"SPOP", b"k", b"100"], [b"OBJECT", b"ENCODING", b"k"],
             [b"SCARD", b"k"]]  # fmt: skip
    for resp3 in (False, True):
        stock.reset(resp3)
        ours = Ours()
        ours.speak(resp3)
        for argv in lines:
            theirs, mine = stock(*argv), ours(*argv)
            if argv[0] == b"SPOP":
                assert theirs[:6] == mine[:6]
            else:
                assert theirs == mine, argv
        ours.check()


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(3000, SETS_GROUP))
    check_all_log_first(SETUP, words("SPOP i1", "SPOP h1", "SPOP h2 2", "SPOP i2 1", "SPOP i1 2", "SPOP h1", "SPOP h1"))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    rng = Random(seed)
    ours = Ours()
    ours.run(SETUP)
    for argv in Lines(2000 + seed).many(1500, SETS_GROUP):
        ours(*argv)
        if rng.random() < 0.1:
            ours(b"SPOP", argv[-1], *rng.choice(([], [b"1"], [b"2"], [b"5"])))
    check_replay(ours, stock)


def test_what_chance_took_is_logged_by_name(stock: Oracle) -> None:
    ours = Ours()
    ours(b"SADD", b"s", *(b"m%d" % n for n in range(100)))
    popped = [plain(ours(b"SPOP", b"s")), *plain(ours(b"SPOP", b"s", b"7")), *plain(ours(b"SPOP", b"s", b"91"))]
    left = plain(ours(b"SMEMBERS", b"s"))
    assert sorted(popped + left) == sorted(b"m%d" % n for n in range(100))
    logged = [line for payload in ours.records[1:] for line in commands_of(payload) if line[0] != b"SELECT"]
    assert [(line[0], len(line)) for line in logged] == [(b"SREM", 3), (b"SREM", 9), (b"SREM", 93)]
    ours(b"SPOP", b"s", b"5")
    assert commands_of(ours.records[-1])[-1] == [b"DEL", b"s"]
    stock.reset()
    stock.feed(b"".join(ours.records), sum(len(commands_of(payload)) for payload in ours.records))
    assert_same_state(oracle_state(stock), ours.state())


def big_set(ours: Ours, count: int, name: bytes = b"stay") -> set[bytes]:
    found = {b"%b%d" % (name, n) for n in range(count)}
    ours(b"SADD", b"s", *found)
    return found


def test_sscan_sees_every_member_that_stays() -> None:
    """Although members are popped, removed and added all the while."""
    rng = Random(6)
    ours = Ours()
    everything = big_set(ours, 1500)
    seen: set[bytes] = set()
    cursor = b"0"
    calls = 0
    while calls == 0 or cursor != b"0":
        cursor, page = plain(ours(b"SSCAN", b"s", cursor, b"COUNT", b"4", b"MATCH", b"stay*"))
        seen.update(page)
        calls += 1
        for _ in range(8):
            member = b"go%d" % rng.randrange(300)
            everything.discard(plain(ours(*rng.choice((
                [b"SADD", b"s", member], [b"SREM", b"s", member], [b"SADD", b"s", member], [b"SPOP", b"s"],
            )))))  # fmt: skip
        assert calls < 3000
    assert everything <= seen
    assert len(everything) > 300
    ours.check()


def test_random_members_are_fair_and_distinct_where_they_must_be() -> None:
    for count, name in ((10, b"m"), (200, b"m"), (60, b"")):
        ours = Ours()
        everything = big_set(ours, count, name)
        picked = Counter(plain(ours(b"SRANDMEMBER", b"s", b"-%d" % (200 * count))))
        few = Counter(m for _ in range(200) for m in plain(ours(b"SRANDMEMBER", b"s", b"-%d" % (count - 1))))
        single = Counter(plain(ours(b"SRANDMEMBER", b"s")) for _ in range(200 * count))
        popped: Counter[bytes] = Counter()
        for _ in range(200 * count):
            member = plain(ours(b"SPOP", b"s"))
            popped[member] += 1
            ours(b"SADD", b"s", member)
        for counts in (picked, few, single, popped):
            assert set(counts) == everything
            assert max(counts.values()) < 2 * min(counts.values())
        for asked in (1, count // 10, count // 2, count - 1, count, 10 * count):
            found = plain(ours(b"SRANDMEMBER", b"s", b"%d" % asked))
            assert len(set(found)) == len(found) == min(asked, count)
        ours.check()


def test_a_reply_with_repetition_is_bounded() -> None:
    ours = Ours()
    big_set(ours, 3)
    ours.tx.max_bulk_bytes = 64_000
    assert ours(b"SRANDMEMBER", b"s", b"-1001") == b"-ERR value is out of range\r\n"
    assert ours(b"SRANDMEMBER", b"s", b"-9223372036854775807") == b"-ERR value is out of range\r\n"
    assert len(plain(ours(b"SRANDMEMBER", b"s", b"-999"))) == 999
