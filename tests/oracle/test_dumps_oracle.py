"""DUMP and RESTORE beside stock: payloads byte for byte, order of checks, the log, and values across the wire."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from oracle_dumps_lines import BAD_DATA, BAD_SUM, DUMPS_GROUP, GOOD, plain_of_payload
from oracle_generators import IN_A_DUMP
from oracle_harness import (
    Argv,
    Oracle,
    Ours,
    assert_same,
    check_all_log_first,
    check_replay,
    commands_of,
    plain,
    replayed,
    words,
)
from oracle_lines import Lines
from server_in_process import InProcess

from perdure.snapshot.rdb import payload as payloads
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.events import FieldsWithExpiry
from perdure.store.hash_value import ExpiringHash

pytestmark = pytest.mark.oracle

LOOKING = [b"TYPE", b"OBJECT|ENCODING", b"PTTL", b"HGETALL", b"LRANGE", b"SMEMBERS", b"ZRANGE", b"XRANGE", b"GET"]
MIX = DUMPS_GROUP * 4 + IN_A_DUMP + LOOKING


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_answer_as_stock_does(stock: Oracle, seed: int) -> None:
    assert_same(stock, Lines(seed).many(1500, MIX))


def test_checks_come_in_the_order_of_stock(stock: Oracle) -> None:
    good = GOOD[0]
    assert_same(stock, [
        [b"SET", b"k", b"v"],
        *([b"RESTORE", key, ttl, payload, *options]
          for key in (b"k", b"new")
          for ttl in (b"0", b"x", b"-1")
          for payload in (good, BAD_DATA[0], BAD_SUM[0])
          for options in ([], [b"JUNK"], [b"REPLACE"], [b"IDLETIME", b"-1"], [b"FREQ", b"300"], [b"FREQ"],
                          [b"IDLETIME", b"1", b"FREQ", b"1"], [b"FREQ", b"1", b"IDLETIME", b"1"],
                          [b"IDLETIME", b"x", b"JUNK"], [b"REPLACE", b"REPLACE"])),
        [b"RESTORE", b"k", b"0"], [b"DUMP"], [b"DUMP", b"no"], [b"DUMP", b"k", b"x"],
    ])  # fmt: skip


def test_deadlines_are_those_of_stock(stock: Oracle) -> None:
    good = GOOD[1]
    assert_same(stock, [
        line
        for ttl in (b"0", b"1000000", b"9223372036854775807", b"9223372036854775000")
        for options in ([], [b"ABSTTL"])
        for there in (False, True)
        for line in (
            [b"SET", b"k", b"v", b"EX", b"1000"] if there else [b"DEL", b"k"],
            [b"RESTORE", b"k", ttl, good, b"REPLACE", *options],
            [b"PEXPIRETIME", b"k"],
        )
    ])  # fmt: skip


def test_an_idle_time_is_kept(stock: Oracle) -> None:
    assert_same(stock, [[b"RESTORE", b"k", b"0", GOOD[0], b"IDLETIME", b"5000"], *words("OBJECT IDLETIME k", "GET k")])


def test_a_counter_of_uses_is_kept_under_lfu(stock: Oracle, tmp_path: Path) -> None:
    ours = InProcess(tmp_path)
    lines = [
        *words("CONFIG SET maxmemory-policy allkeys-lfu"), [b"RESTORE", b"k", b"0", GOOD[0], b"FREQ", b"77"],
        [b"RESTORE", b"i", b"0", GOOD[0], b"IDLETIME", b"77"], *words("OBJECT FREQ k", "OBJECT FREQ i"),
    ]  # fmt: skip
    try:
        stock.reset()
        assert stock.run(lines) == [ours(*line) for line in lines]
    finally:
        stock(b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction")
        ours.close()


def test_log_first() -> None:
    check_all_log_first([], Lines(50).many(800, MIX))


def test_what_was_logged_replays_here_and_in_stock(stock: Oracle) -> None:
    ours = Ours()
    ours.run(Lines(60).many(1500, MIX))
    check_replay(ours, stock)


def _lines_of_every_encoding() -> list[Argv]:
    numbers = b" ".join(b"%d" % n for n in range(300)).decode()
    wide = " ".join(f"f{n} {n * 7919}" for n in range(200))
    return words(
        "SET empty ''", "SET short abc", "SET n8 -128", "SET n16 32767", "SET n32 -2147483648", "SET n64 9999999999",
        "SET lead 0123", f"SET long {'abcdefgh' * 40}", f"SET twenty {'a' * 20}", f"SET more {'a' * 21}",
        "SET float 3.0", f"RPUSH few a b 1 -5 4095 4096 -4097 40000 9000000 -3000000000 99999999999 {'x' * 63}",
        f"RPUSH few {'y' * 64} {'z' * 5000} ''", f"RPUSH many {numbers}",
        f"RPUSH many {'q' * 8192} {'w' * 3000} {numbers}",
        "SADD int16 1 2 -3", "SADD int32 1 70000", "SADD int64 1 99999999999", "SADD int32back 1 70000",
        "SREM int32back 70000", "HSET hash a 1 b two c ''", f"HSET wide {wide}", f"HSET wide v {'v' * 64}",
        "ZADD zset 1 a 2.5 b -inf c inf d 1e300 e 0.1 f -7 g 123456789012 h",
        "XADD st 1-1 a 1 b 2", "XADD st 1-2 a 3 b 4", "XADD st 2-0 c 5", f"XADD st 9-9 a {'v' * 300} b 100000",
        "XGROUP CREATE st g 0", "XGROUP CREATE st g2 1-1 ENTRIESREAD 1", "XADD ex 5-1 a b", "XSETID ex 9-1",
    )  # fmt: skip


def test_payloads_are_stocks_byte_for_byte(stock: Oracle) -> None:
    """Where the order of members is not that of a table of stock's."""
    stock.reset()
    lines = _lines_of_every_encoding()
    ours = Ours()
    for argv in lines:
        assert stock(*argv)[:1] not in b"-"
        ours(*argv)
    for key in sorted({argv[1] for argv in lines} - {b"CREATE"}):
        assert plain(ours(b"DUMP", key)) == plain(stock(b"DUMP", key)), key


def test_large_forms_have_the_type_and_the_length_of_stocks(stock: Oracle) -> None:
    stock.reset()
    ours = Ours()
    lines = [
        [b"HSET", b"h", *(b"%d" % n for n in range(1200))],
        [b"SADD", b"s", *(b"m%d" % n for n in range(300))],
        [b"SADD", b"si", *(b"%d" % n for n in range(600))],
        [b"ZADD", b"z", *(word for n in range(300) for word in (b"%d" % (n * n), b"m%d" % n))],
        [b"HSET", b"was-big", b"f", b"x" * 65], [b"HSET", b"was-big", b"f", b"x"],
        [b"SADD", b"was-text", b"a", b"1", b"2"], [b"SREM", b"was-text", b"a"],
    ]  # fmt: skip
    for argv in lines:
        stock(*argv)
        ours(*argv)
    for key in {argv[1] for argv in lines}:
        its, mine = plain(stock(b"DUMP", key)), plain(ours(b"DUMP", key))
        assert (its[0], len(its)) == (mine[0], len(mine)), key
        assert plain_of_payload(its) == plain_of_payload(mine)


@pytest.mark.parametrize("seed", range(2))
def test_values_move_between_stock_and_ours_and_back(stock: Oracle, seed: int) -> None:
    stock.reset()
    ours, there = Ours(), Ours()
    ours.run(Lines(300 + seed).many(700, IN_A_DUMP))
    for db in ours.keyspace.databases:
        for key in db:
            payload = plain(ours(b"DUMP", key))
            assert stock(b"RESTORE", key, b"0", payload, b"REPLACE") == b"+OK\r\n", key
            back = plain(stock(b"DUMP", key))
            assert there(b"RESTORE", key, b"0", back, b"REPLACE") == b"+OK\r\n", key
            assert plain_of_payload(payload) == plain_of_payload(back), key
    there.check()


def _expiring(version: int) -> bytes:
    value = FieldsWithExpiry({b"a": b"1", b"b": b"2"}, {b"a": 4_000_000_000_000})
    return payloads.dump(b"hash", value, Encoder(version))


def test_fields_that_expire_need_a_later_version_and_are_logged_for_it() -> None:
    """The record has a payload that stock 7.0 takes, and the deadlines behind it, as HPEXPIREAT logs them."""
    ours = Ours()
    assert ours(b"RESTORE", b"h", b"0", _expiring(12)) == b"+OK\r\n"
    assert plain(ours(b"HPEXPIRETIME", b"h", b"FIELDS", b"2", b"a", b"b")) == [4_000_000_000_000, -1]
    logged = commands_of(ours.records[-1])
    assert [line[0] for line in logged] == [b"SELECT", b"MULTI", b"RESTORE", b"HPEXPIREAT", b"EXEC"]
    assert payloads.verify(logged[2][3]) == 10
    again = replayed(b"".join(ours.records), ours.tx.clock_ms)
    assert again.raw_state() == ours.raw_state()
    payload = plain(ours(b"DUMP", b"h"))
    assert payloads.verify(payload) == 12
    assert ours(b"RESTORE", b"h2", b"0", payload) == b"+OK\r\n"
    value = ours.keyspace.databases[0][b"h2"]
    assert isinstance(value, ExpiringHash)
    assert value.deadlines.by_field == {b"a": 4_000_000_000_000}
    assert ours.keyspace.databases[0].member_expires[b"h2"] == 4_000_000_000_000


def test_fields_that_are_due_are_not_dumped() -> None:
    ours = Ours()
    ours.run(words("HSET h a 1 b 2", "HPEXPIREAT h 4000000000000 FIELDS 1 a", "HSET all f v",
                   "HPEXPIREAT all 4000000000000 FIELDS 1 f"))  # fmt: skip
    ours.set_time(4_000_000_000_001)
    assert plain_of_payload(plain(ours(b"DUMP", b"h"))) == (b"hash", frozenset({(b"b", b"2")}))
    assert plain(ours(b"DUMP", b"all")) is None


def test_compression_is_an_option(tmp_path: Path) -> None:
    server = InProcess(tmp_path)
    try:
        server(b"SET", b"k", b"a" * 1000)
        packed = plain(server(b"DUMP", b"k"))
        server(b"CONFIG", b"SET", b"rdbcompression", b"no")
        whole = plain(server(b"DUMP", b"k"))
    finally:
        server.close()
    assert len(packed) < 40 < 1000 < len(whole)


def test_a_stream_with_all_that_it_remembers_moves(stock: Oracle) -> None:
    """Groups, consumers, pending entries, tombstones, and the ids behind its entries."""
    stock.reset()
    ours = Ours()
    lines = words(
        "XADD x 1-1 a 1", "XADD x 2-1 a 2", "XADD x 3-1 b 3", "XADD x 4-1 a 4", "XADD x 5-1 a 5", "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g alice COUNT 2 STREAMS x >", "XREADGROUP GROUP g bob COUNT 2 STREAMS x >", "XACK x g 2-1",
        "XDEL x 1-1", "XDEL x 5-1", "XGROUP CREATE x g2 $", "XGROUP CREATECONSUMER x g2 idle",
    )  # fmt: skip
    theirs = stock.run(lines)
    ours.set_time(int(time.time() * 1000))
    assert [reply[:1] for reply in theirs] == [reply[:1] for reply in ours.run(lines)]
    for source, target, name in ((stock, ours, b"from-stock"), (ours, stock, b"from-ours")):
        assert target(b"RESTORE", name, b"0", plain(source(b"DUMP", b"x"))) == b"+OK\r\n"
    ours.check()
    asked: list[Any] = []
    for server in (stock, ours):
        for key in (b"x", b"from-stock" if server is ours else b"from-ours"):
            found = plain(server(b"XINFO", b"STREAM", key, b"FULL"))
            for group in found[-1]:
                for consumer in group[-1]:
                    consumer[3] = 0  # when it was seen
                    for pending in consumer[-1]:
                        pending[1] = 0  # when it was delivered
                for pending in group[11]:
                    pending[2] = 0
            asked.append([found, plain(server(b"XADD", key, b"6-1", b"a", b"6")), plain(server(b"XLEN", key))])
    assert asked[0] == asked[1] == asked[2] == asked[3]
