"""The bits group beside stock: replies, errors and the order of checks, ranges over long strings, and what it logs."""

from __future__ import annotations

from random import Random

import pytest
from oracle_bits_lines import BITS_GROUP
from oracle_harness import Oracle, Ours, assert_same, check_all_log_first, check_replay, commands_of, words
from oracle_lines import Argv, Lines

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "SET e ''", "SET n 12", "HSET h1 f v g w")


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2500, BITS_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "SETBIT h1 x y", "SETBIT h1 1 y", "SETBIT h1 1 2", "SETBIT h1 -1 2", "SETBIT h1 1 1", "SETBIT s1 4294967296 1",
        "GETBIT h1 x", "GETBIT h1 1", "GETBIT nokey x", "BITCOUNT h1 x y z", "BITCOUNT nokey x y z", "BITCOUNT s1 1",
        "BITCOUNT s1 x 1", "BITCOUNT s1 1 x FOO", "BITCOUNT s1 1 1 FOO", "BITCOUNT s1 1 1 BIT 1", "BITPOS h1 x",
        "BITPOS h1 2", "BITPOS h1 1", "BITPOS nokey 1 x y z", "BITPOS nokey 0 x", "BITPOS s1 1 x y FOO",
        "BITPOS s1 1 1 y FOO", "BITPOS s1 1 1 y BIT", "BITPOS s1 1 1 1 BIT 1", "BITPOS e 0", "BITPOS e 1 0 -1",
        "BITPOS e 0 0", "BITOP FOO d h1", "BITOP NOT d s1 h1", "BITOP NOT d h1", "BITOP OR d s1 h1", "BITOP AND h1 e",
        "EXISTS h1", "HSET h1 f v", "BITOP NOT h1 nokey", "BITOP XOR d nokey s1", "GET d", "BITFIELD h1",
        "BITFIELD h1 GET", "BITFIELD h1 GET u64 0", "BITFIELD h1 GET u8 x", "BITFIELD h1 SET u8 0 x",
        "BITFIELD s1 GET u8 0 SET u8 0",
        "BITFIELD s1 OVERFLOW", "BITFIELD s1 OVERFLOW FOO", "BITFIELD s1 SET u8 0 1 OVERFLOW FOO", "GET s1",
        "BITFIELD_RO s1 SET u8 0 1", "BITFIELD_RO s1 GET u8 0 SET u8 0 x", "BITFIELD_RO h1 SET u8 0 1",
    ))  # fmt: skip


def test_the_encoding_is_raw_once_bits_were_looked_at_for_writing(stock: Oracle) -> None:
    lines: list[str] = []
    for line in ("SETBIT k 0 0", "SETBIT k 7 1", "BITFIELD k SET u1 0 0", "BITFIELD k GET u1 0", "GETBIT k 0",
                 "BITFIELD k OVERFLOW FAIL SET u1 0 7", "BITOP OR k k", "BITCOUNT k", "BITFIELD k"):  # fmt: skip
        lines += ["SET k 12", line, "OBJECT ENCODING k", "GET k", "DEL k", line, "EXISTS k"]
    assert_same(stock, words(*lines))


def test_every_overflow_at_every_edge_is_stocks(stock: Oracle) -> None:
    lines: list[Argv] = []
    for kind in (b"i1", b"i8", b"i63", b"i64", b"u1", b"u8", b"u63"):
        width = int(kind[1:])
        edges = [0, 1, -1, (1 << width - 1) - 1, -(1 << width - 1), min((1 << width) - 1, (1 << 63) - 1), -(1 << 63)]
        for start in edges:
            for step in edges:
                for way in (b"WRAP", b"SAT", b"FAIL"):
                    line = b"BITFIELD k SET %b #3 %d OVERFLOW %b INCRBY %b #3 %d SET %b 5 %d GET %b #3"
                    lines.append((line % (kind, start, way, kind, step, kind, step, kind)).split())
    assert_same(stock, lines)


def long_strings() -> list[Argv]:
    """Strings of some hundred kilobytes, so that ranges go over several pieces."""
    rng = Random(5)
    size = 200_000
    sparse = bytearray(size)
    sparse[70_001] = 4
    sparse[150_000] = 255
    return [
        [b"SET", b"zeros", bytes(size)],
        [b"SET", b"ones", b"\xff" * (size - 7)],
        [b"SET", b"sparse", bytes(sparse)],
        [b"SET", b"holes", bytes(byte ^ 0xFF for byte in sparse)],
        [b"SET", b"noise", rng.randbytes(size + 13)],
        [b"SET", b"short", b"\x0f\xf0"],
    ]


def test_long_strings_are_counted_and_searched_as_by_stock(stock: Oracle) -> None:
    rng = Random(6)
    lines = long_strings()
    for _ in range(300):
        key = rng.choice((b"zeros", b"ones", b"sparse", b"holes", b"noise"))
        unit = rng.choice((b"BIT", b"BYTE"))
        top = 1_600_000 if unit == b"BIT" else 200_000
        ends = [b"%d" % rng.randint(-top, top) for _ in range(2)]
        lines += [[b"BITCOUNT", key, *ends, unit], [b"BITPOS", key, rng.choice((b"0", b"1")), *ends, unit],
                  [b"BITPOS", key, rng.choice((b"0", b"1")), ends[0]]]  # fmt: skip
    for key in (b"zeros", b"ones", b"sparse", b"holes", b"noise"):
        lines += [[b"BITCOUNT", key], [b"BITPOS", key, b"0"], [b"BITPOS", key, b"1"]]
    assert_same(stock, lines)


def test_long_strings_are_combined_as_by_stock(stock: Oracle) -> None:
    keys = [b"zeros", b"ones", b"sparse", b"holes", b"noise", b"short", b"nokey"]
    rng = Random(7)
    lines = long_strings()
    for operation in (b"AND", b"OR", b"XOR"):
        for _ in range(6):
            lines += [[b"BITOP", operation, b"d", *rng.choices(keys, k=rng.randint(1, 4))], [b"GET", b"d"]]
    for key in keys:
        lines += [[b"BITOP", b"NOT", b"d", key], [b"GET", b"d"]]
    assert_same(stock, lines, protocols=(False,))


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(3000, BITS_GROUP))


@pytest.mark.parametrize("seed", range(2))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(3000 + seed).many(1500, BITS_GROUP))
    check_replay(ours, stock)


def test_nothing_is_logged_where_nothing_changed() -> None:
    ours = Ours()
    ours.run(words("SET k a", "SETBIT n 0 0"))
    logged = len(ours.records)
    for line in ("SETBIT k 1 1", "SETBIT n 3 0", "BITFIELD k SET u8 0 97", "BITFIELD k GET u8 0 INCRBY i8 0 0",
                 "BITFIELD k OVERFLOW FAIL SET u1 0 9", "BITOP NOT none nokey", "BITFIELD k OVERFLOW SAT"):  # fmt: skip
        ours.run(words(line))
    assert len(ours.records) == logged
    ours.run(words("BITFIELD n OVERFLOW FAIL SET u1 100 9"))  # the string has grown all the same, as in stock
    assert [line[0] for line in commands_of(ours.records[-1])] == [b"SELECT", b"BITFIELD"]


def test_setting_bits_changes_in_place() -> None:
    ours = Ours()
    ours(b"SETBIT", b"k", b"1000000", b"1")
    value = ours.tx.db[b"k"]
    for n in range(100):
        ours(b"SETBIT", b"k", b"%d" % (n * 977), b"1")
        ours(b"BITFIELD", b"k", b"INCRBY", b"u16", b"#%d" % n, b"5")
    assert ours.tx.db[b"k"] is value
