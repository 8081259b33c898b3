"""SORT and SORT_RO beside stock: options, weights, patterns, what is stored, and what is logged."""

from __future__ import annotations

import oracle_lists_lines  # noqa: F401 - plugs in its generators
import pytest
from oracle_harness import Oracle, Ours, assert_same, check_all_log_first, check_replay, commands_of, words
from oracle_lines import NO_FLOATS, NO_INTEGERS, Lines
from oracle_sets_lines import SORT_GROUP

pytestmark = pytest.mark.oracle

SETUP = words(
    "SADD s 3 1 2 10", "SADD mixed b a C", "SADD bad 1 2 x", "SET w_1 30", "SET w_2 20", "SET w_3 10", "SET x_1 one",
    "SET x_2 two", "HSET h_1 f 5 name eins", "HSET h_2 f 4 name zwei", "HSET h_3 g 1", "SET str 1",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2500, SORT_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "SORT str", "SORT str FOO", "SORT nokey FOO", "SORT nokey", "SORT s LIMIT", "SORT s LIMIT 1",
        "SORT s LIMIT x 1", "SORT str LIMIT 1 x", "SORT s BY", "SORT s GET", "SORT s STORE", "SORT_RO s STORE d",
        "SORT_RO s", "SORT mixed", "SORT bad", "SORT bad ALPHA", "SORT bad BY nosort LIMIT 0 0", "SORT s BY x_*",
        "SORT s BY x_* ALPHA LIMIT 2 2", "SORT s ASC DESC", "SORT s DESC ASC", "SORT s LIMIT 0 1 LIMIT 1 2",
        "SORT s BY x_* BY w_*", "SORT nokey GET #", "SORT nokey BY nosort", "SORT s ALPHA ALPHA",
        "SORT s alpha desc limit -5 2", "SORT s LIMIT 1 -1", "SORT s LIMIT 4 1", "SORT s LIMIT 3 100",
        "SORT s LIMIT 9223372036854775807 9223372036854775807",
        "SORT s LIMIT -9223372036854775808 -9223372036854775808", "SORT s LIMIT 1 0",
    ))  # fmt: skip


def test_patterns_find_what_stock_finds(stock: Oracle) -> None:
    lines = SETUP + [
        [b"SET", b"->f1", b"arrow"], [b"SET", b"w_1->", b"half"], [b"SET", b"h_1->f", b"key"],
        [b"SET", b"w_1*", b"star"], [b"SET", b"1", b"itself"], [b"SET", b"w_1\0x", b"nul"],
        [b"HSET", b"h_1", b"f\0x", b"nul field"], [b"HSET", b"1t", b"a->b", b"2"],
    ]  # fmt: skip
    for pattern in (
        b"w_*", b"#", b"##", b"#\0x", b"h_*->f", b"h_*->", b"w_*->", b"h_*->nosuch", b"w_*->f", b"*", b"w_**",
        b"w_*\0x", b"w_\0*", b"h_*->f\0x", b"h_*->\0f", b"nostar", b"", b"*t->a->b", b"->*", b"->f*", b"x_*",
        b"str*->f",
    ):  # fmt: skip
        lines += [[b"SORT", b"s", b"GET", pattern], [b"SORT", b"s", b"BY", pattern, b"GET", b"#", b"GET", pattern],
                  [b"SORT_RO", b"s", b"BY", pattern, b"ALPHA", b"LIMIT", b"3", b"1"]]  # fmt: skip
    assert_same(stock, lines)


WEIGHTS = [
    b"1", b"-1", b"+1", b" 1", b"\t1", b"1 ", b"0x10", b"0x1p-3", b"1e3", b"1e308", b"1e309", b"-1e309", b"1e-308",
    b"5e-324", b"0x1p-1074", b"1e-400", b"inf", b"-Infinity", b"nan", b"nan(1)", b"", b"\0x", b"1\0x", b".5", b"5.",
    b".", b"-", b"1_0", b"9007199254740993", b"9223372036854775807", b"0x", b"1e", b"  ", b"0" * 400 + b"1", b"0" * 400,
    b"9" * 308, b"9" * 309, *NO_INTEGERS, *NO_FLOATS,
]  # fmt: skip


def test_weights_are_read_as_c_reads_them(stock: Oracle) -> None:
    lines = []
    for weight in WEIGHTS:
        lines += [
            [b"DEL", b"k"], [b"SADD", b"k", weight, b"0.25"], [b"SORT", b"k"], [b"SORT", b"k", b"DESC"],
            [b"SET", b"w_a", weight], [b"SADD", b"k2", b"a", b"0.25"], [b"SORT", b"k2", b"BY", b"w_*"],
        ]  # fmt: skip
    assert_same(stock, lines)


def test_equal_weights_stand_by_their_bytes(stock: Oracle) -> None:
    lines = words("SADD s a b c d e f B A", "SET w_a 1", "SET w_b 1", "SET w_c 0", "SADD n 1 1.0 01 +1 1e0 0 -0 0.0")
    for more in ([], [b"DESC"], [b"LIMIT", b"1", b"3"], [b"DESC", b"LIMIT", b"2", b"3"]):
        lines += [[b"SORT", b"s", b"BY", b"w_*", *more], [b"SORT", b"n", *more], [b"SORT", b"s", b"ALPHA", *more]]
    assert_same(stock, lines)


def test_lists_keep_their_order_where_nothing_is_sorted(stock: Oracle) -> None:
    lines = words("RPUSH l 5 3 1 4 1 5 9 2 6", "SADD s 5 3 1", "SADD t b a c")
    for key in ("l", "s", "nokey"):
        for limit in ("", " LIMIT 0 3", " LIMIT 2 100", " LIMIT 8 1", " LIMIT 9 1", " LIMIT -1 2", " LIMIT 3 -1"):
            lines += words(*(f"SORT {key} BY nosort{order}{limit}{get}" for order in ("", " DESC", " ASC")
                             for get in ("", " GET # GET nokey*") if key != "s" or not limit))  # fmt: skip
    for key in ("l", "s", "t", "nokey"):
        for order in ("", " DESC"):
            lines += words(f"SORT {key} BY nosort{order} STORE d", "LRANGE d 0 -1", "TYPE d")
    assert_same(stock, lines)


def test_equal_weights_with_alpha_keep_a_lists_order(stock: Oracle) -> None:
    lines = words("RPUSH l a b c d e f g", "SET w_b x", "SET w_d x", "SET w_e a", "SET w_f xy")
    lines += [[b"SET", b"w_c", b"x\0y"], [b"SET", b"w_g", b"x\0a"], [b"RPUSH", b"n", b"x\0b", b"x", b"x\0a"]]
    for order in ("", " DESC"):
        lines += words(f"SORT l BY w_* ALPHA{order}", f"SORT l BY w_* ALPHA{order} STORE d", "LRANGE d 0 -1",
                       f"SORT n ALPHA{order}", f"SORT n ALPHA{order} STORE d", "LRANGE d 0 -1")  # fmt: skip
    assert_same(stock, lines)


def test_what_is_stored_takes_the_place_of_whatever_was_there(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "RPUSH l 3 1 2", "SORT l STORE l", "LRANGE l 0 -1", "SET d text EX 100", "SORT s STORE d", "TTL d",
        "LRANGE d 0 -1", "SORT s GET x_* GET # STORE d", "LRANGE d 0 -1", "SORT nokey STORE d", "EXISTS d",
        "SORT nokey STORE d", "SORT s LIMIT 5 5 STORE s", "EXISTS s", "SORT bad STORE str", "TYPE str",
        "SORT l STORE a STORE b", "EXISTS a b", "SET old v PXAT 1", "SORT l STORE old", "LRANGE old 0 -1",
        "OBJECT ENCODING old", "SORT l DESC LIMIT 0 2 STORE l", "LRANGE l 0 -1",
    ))  # fmt: skip


def test_what_is_stored_is_logged_as_the_list_that_it_is() -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(words("SORT s GET x_* STORE d", "SORT s STORE d", "SORT nokey STORE d"))
    logged = [commands_of(payload)[1:] for payload in ours.records[-3:]]
    assert logged == [
        words("RPUSH d one two '' ''"), words("MULTI", "DEL d", "RPUSH d 1 2 3 10", "EXEC"), words("DEL d"),
    ]  # fmt: skip
    ours.tx.begin_group(100)
    ours.run(words("SORT s STORE d", "SORT s DESC STORE d"))
    ours.tx.end_group()
    assert commands_of(ours.tx.take())[1:] == words("MULTI", "RPUSH d 1 2 3 10", "DEL d", "RPUSH d 10 3 2 1", "EXEC")


def test_a_reply_of_many_patterns_is_bounded() -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.tx.max_bulk_bytes = 64
    assert ours(b"SORT", b"s", b"GET", b"#", b"GET", b"#", b"GET", b"#") == b"-ERR value is out of range\r\n"
    assert ours(b"SORT", b"s", b"GET", b"#", b"GET", b"#").startswith(b"*8\r\n")


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(2500, SORT_GROUP))


def test_what_was_logged_replays_here_and_in_stock(stock: Oracle) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(2000).many(2500, SORT_GROUP))
    check_replay(ours, stock)
