"""The keys group beside stock: replies, errors and the order of checks, and what it logs."""

from __future__ import annotations

from random import Random

import pytest
from oracle_harness import Oracle, Ours, assert_same, check_all_log_first, check_replay, plain, words
from oracle_keys_lines import KEYS_GROUP
from oracle_lines import Lines

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "SET s2 5", "HSET h1 f v g w", "SET '' empty", "EXPIRE s2 100000")


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2500, KEYS_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "EXPIRE s1 x foo", "EXPIRE s1 x NX XX", "EXPIRE nokey 9223372036854775807", "EXPIRE nokey 1 foo",
        "EXPIRE s1 100 NX GT LT", "EXPIRE s1 100 GT LT", "EXPIRE s1 9223372036854775 XX",
        "PEXPIRE s1 9223372036854775807",
        "EXPIRE s1 -9223372036854775", "EXPIRE s1 -9223372036854776", "EXPIREAT s1 9223372036854775", "EXPIRETIME s1",
        "COPY s1 s1", "COPY nokey nokey", "COPY s1 s1 DB 16", "COPY s1 s1 DB 0 REPLACE", "COPY s1 x DB 1 DB",
        "COPY s1 x DB 99999999999 FOO", "COPY s1 x FOO DB 99", "MOVE s1 0", "MOVE nokey 0",
        "MOVE nokey 16", "MOVE nokey x",
        "RENAME nokey nokey", "RENAMENX nokey nokey", "RENAME s1 s1", "RENAMENX s1 s1", "SWAPDB x y", "SWAPDB 0 y",
        "SWAPDB 99 y", "SWAPDB 99 98", "SWAPDB 0 0", "SCAN x COUNT x", "SCAN 0 COUNT 0 FOO", "SCAN 0 COUNT 1 FOO",
        "SCAN 0 MATCH", "SCAN 0 TYPE hash TYPE string COUNT 100", "OBJECT", "OBJECT ENCODING", "OBJECT ENCODING nokey",
        "OBJECT FREQ nokey", "OBJECT FREQ s1", "OBJECT HELP x", "OBJECT NOSUCH x", "OBJECT REFCOUNT s2",
        "OBJECT REFCOUNT s1", "OBJECT IDLETIME s1", "OBJECT IDLETIME nokey", "FLUSHDB FOO", "FLUSHALL SYNC FOO",
        "FLUSHALL async", "DBSIZE",
    ))  # fmt: skip


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(3000, KEYS_GROUP))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(1000 + seed).many(1500, [name for name in KEYS_GROUP if not name.startswith(b"FLUSH")]))
    check_replay(ours, stock)


def test_expired_keys_are_logged_as_del_and_invisible_meanwhile() -> None:
    ours = Ours(now_ms=1_000_000)
    ours.run(words("SET a 1", "SET b 2", "SET c 3", "PEXPIRE a 10", "PEXPIRE b 10", "PEXPIRE c 10000"))
    logged = len(ours.records)
    ours.set_time(1_000_010)
    assert ours.run(words("KEYS *", "TTL c", "EXISTS a", "RENAME b d", "RANDOMKEY", "SCAN 0", "DBSIZE")) == [
        b"*1\r\n$1\r\nc\r\n", b":10\r\n", b":0\r\n", b"-ERR no such key\r\n", b"$1\r\nc\r\n",
        b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nc\r\n", b":1\r\n",
    ]  # fmt: skip
    assert [record[-len(b"DEL\r\n$1\r\na\r\n") :] for record in ours.records[logged:]] == [
        b"DEL\r\n$1\r\na\r\n", b"DEL\r\n$1\r\nb\r\n",
    ]  # fmt: skip


def test_expired_keys_stay_invisible_while_the_log_refuses() -> None:
    ours = Ours(now_ms=1_000_000)
    ours.run(words("SET a 1", "SET b 2", "PEXPIRE a 10", "PEXPIRE b 10"))
    ours.set_time(1_000_010)
    ours.sink.refuses = True
    replies = ours.run(words("EXISTS a b", "GET a", "RANDOMKEY", "SCAN 0", "KEYS *", "TYPE a", "TTL b", "DEL a"))
    assert replies == [
        b":0\r\n", b"$-1\r\n", b"$-1\r\n", b"*2\r\n$1\r\n0\r\n*0\r\n", b"*0\r\n", b"+none\r\n", b":-2\r\n", b":0\r\n",
    ]  # fmt: skip
    assert len(ours.tx.db) == 2


def test_a_scan_sees_every_key_that_stays(stock: Oracle) -> None:
    """The guarantee of SCAN through the command itself, while other keys come, go, expire and are renamed."""
    rng = Random(5)
    ours = Ours(now_ms=1_000_000)
    stay = {b"stay%d" % n for n in range(300)}
    ours.run([b"SET", key, b"v"] for key in stay)
    seen: set[bytes] = set()
    cursor = b"0"
    calls = 0
    while calls == 0 or cursor != b"0":
        cursor, page = plain(ours(b"SCAN", cursor, b"COUNT", b"3", b"MATCH", b"stay*"))
        seen.update(page)
        calls += 1
        for _ in range(20):
            key = b"go%d" % rng.randrange(200)
            changes = ([b"SET", key, b"1"], [b"DEL", key], [b"PEXPIRE", key, b"5"], [b"RENAME", key, key + b"x"])
            ours(*rng.choice(changes))
        ours.set_time(ours.tx.now_ms + 1)
        assert calls < 2000
    assert seen == stay
    ours.check()


def test_idle_time_is_kept_from_the_first_question_on() -> None:
    ours = Ours(now_ms=1_000_000)
    ours.run(words("SET a 1", "SET b 2", "HSET h f v"))
    assert ours(b"OBJECT", b"IDLETIME", b"a") == b":0\r\n"
    ours.set_time(1_010_000)
    ours.run(words("GET b", "EXISTS a", "TYPE a", "TTL a", "OBJECT ENCODING a"))
    assert ours(b"OBJECT", b"IDLETIME", b"a") == b":10\r\n"
    assert ours(b"OBJECT", b"IDLETIME", b"b") == b":0\r\n"
    ours.set_time(1_015_500)
    ours.run(words("TOUCH a", "HGET h f", "FLUSHDB", "SET b 3"))
    ours.set_time(1_020_000)
    assert ours(b"OBJECT", b"IDLETIME", b"b") == b":4\r\n"
    ours.check()


def test_flush_and_swap_leave_the_transaction_on_the_right_database() -> None:
    ours = Ours()
    replies = ours.run(words(
        "SET a 1", "SWAPDB 0 1", "EXISTS a", "SET b 2", "SELECT 1", "EXISTS a", "FLUSHDB", "EXISTS a", "SET c 3",
        "FLUSHALL", "DBSIZE", "SET d 4", "SELECT 0", "DBSIZE", "SELECT 1", "EXISTS d",
    ))  # fmt: skip
    assert b"".join(replies[i] for i in (2, 5, 7, 10, 13, 15)) == b":0\r\n:1\r\n:0\r\n:0\r\n:0\r\n:1\r\n"
    ours.check()


def test_what_changes_nothing_logs_nothing() -> None:
    ours = Ours()
    ours.run(words(
        "DEL nokey", "UNLINK nokey nokey", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SWAPDB 3 3", "PERSIST nokey",
        "EXPIRE nokey 10", "MOVE nokey 1", "COPY nokey b", "HDEL nokey f",
    ))  # fmt: skip
    assert ours.records == []
    ours.run(words("SET a 1", "HSET h f v"))
    logged = len(ours.records)
    ours.run(words(
        "PERSIST a", "EXPIRE a 10 XX", "RENAME a a", "RENAMENX a h", "COPY a h", "HDEL h g", "HSETNX h f x", "TOUCH a",
    ))  # fmt: skip
    assert len(ours.records) == logged


def test_big_values_are_freed_bit_by_bit() -> None:
    ours = Ours()
    for n in range(0, 5000, 100):
        ours(b"HSET", b"h", *(arg for i in range(n, n + 100) for arg in (b"%d" % i, b"v")))
    ours(b"DEL", b"h")
    assert ours(b"EXISTS", b"h") == b":0\r\n"
    steps = 1
    while ours.keyspace.free_some(1000):
        steps += 1
    assert 5 <= steps <= 6
    assert ours.keyspace.garbage == []
