"""The lists group beside stock: replies, errors and the order of checks, and what it logs."""

from __future__ import annotations

import pytest
from oracle_harness import Argv, Oracle, Ours, assert_same, check_all_log_first, check_replay, words
from oracle_lines import Lines
from oracle_lists_lines import LISTS_GROUP

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "RPUSH l1 a b c a b c", "RPUSH l2 1 2 3")
WITHOUT_WAITING = [name for name in LISTS_GROUP if not name.startswith(b"B")]


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(2000, LISTS_GROUP))


@pytest.mark.parametrize("limits", [b"1", b"2", b"-1", b"-5"])
def test_the_encoding_is_stocks_whatever_the_thresholds(stock: Oracle, limits: bytes) -> None:
    lines: list[Argv] = []
    for count in (1, 2, 3, 200, 2000):
        for size in (1, 64, 250, 9000):
            key = b"%d-%d" % (count, size)
            if count * size <= 600_000:
                lines += [
                    [b"RPUSH", key, *[b"x" * size] * count],
                    [b"OBJECT", b"ENCODING", key],
                    [b"LTRIM", key, b"0", b"0"],
                    [b"OBJECT", b"ENCODING", key],
                ]
    stock(b"CONFIG", b"SET", b"list-max-listpack-size", limits)
    try:
        assert_same(stock, lines, protocols=(False,))
    finally:
        stock(b"CONFIG", b"SET", b"list-max-listpack-size", b"-2")


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "LPUSH s1 a", "LPUSHX s1 a", "LPUSHX no a b", "RPUSHX no a", "LPOP s1", "LPOP s1 x", "LPOP s1 -1",
        "LPOP s1 1 2", "LPOP no x", "LPOP no -1", "LPOP no 0", "LPOP no 1", "LPOP no", "LPOP l1 0", "RPOP l1 0",
        "RPOP l1 1 2 3", "LPOP l1 9223372036854775808", "LLEN s1", "LLEN no", "LRANGE s1 x y", "LRANGE s1 0 y",
        "LRANGE s1 0 1", "LRANGE no x 1", "LRANGE no 0 1", "LRANGE l1 -100 100", "LRANGE l1 4 2",
        "LRANGE l1 6 9", "LRANGE l1 -1 -2", "LRANGE l1 -9223372036854775808 9223372036854775807", "LINDEX s1 x",
        "LINDEX no x", "LINDEX l1 x", "LINDEX l1 6", "LINDEX l1 -6", "LINDEX l1 -7", "LSET s1 x y",
        "LSET no x y", "LSET l1 x y", "LSET l1 6 y", "LSET l1 -7 y", "LSET l1 -6 y", "LINSERT s1 foo a b",
        "LINSERT s1 before a b", "LINSERT no foo a b", "LINSERT no after a b", "LINSERT l1 after nono b",
        "LINSERT l1 after c new", "LINSERT l1 BEFORE y newer", "LREM s1 x a", "LREM s1 0 a", "LREM no x a",
        "LREM no 0 a", "LREM l1 0 nono", "LREM l1 -1 a", "LREM l1 -9223372036854775808 b", "LTRIM s1 x y",
        "LTRIM s1 0 y", "LTRIM s1 0 1", "LTRIM no x 1", "LTRIM no 0 1", "LTRIM l1 0 -1", "LTRIM l1 -100 100",
        "LPOS s1 a RANK 0", "LPOS s1 a RANK x", "LPOS s1 a COUNT -1", "LPOS s1 a COUNT x",
        "LPOS s1 a MAXLEN -1", "LPOS s1 a FOO 1", "LPOS s1 a RANK", "LPOS s1 a RANK 1 COUNT", "LPOS s1 a",
        "LPOS no a", "LPOS no a COUNT 0", "LPOS no a RANK -9223372036854775808",
        "LPOS l1 c RANK -9223372036854775807", "LPOS l1 c RANK -9223372036854775808",
        "LPOS l1 c RANK -9223372036854775808 COUNT 1", "LPOS l1 c RANK -9223372036854775808 COUNT 0 MAXLEN 3",
        "LPOS l1 c RANK 1 RANK -1 COUNT 5 COUNT 0", "LMOVE s1 l1 foo left", "LMOVE s1 l1 left foo",
        "LMOVE s1 l1 left left", "LMOVE no s1 left left", "LMOVE l1 s1 left left", "LMOVE l1 l1 left right",
        "RPOPLPUSH s1 l1", "RPOPLPUSH no s1", "RPOPLPUSH l1 s1", "RPOPLPUSH l1 l1", "LMPOP x s1 left",
        "LMPOP 0 s1 left", "LMPOP -1 s1 left", "LMPOP 2 s1 left", "LMPOP 1 s1 foo", "LMPOP 1 s1 left foo",
        "LMPOP 1 s1 left count", "LMPOP 1 s1 left count x", "LMPOP 1 s1 left count 0",
        "LMPOP 1 s1 left count 1 count 1", "LMPOP 1 s1 left", "LMPOP 2 no s1 left",
        "LMPOP 2 l2 s1 left count 99", "LMPOP 9223372036854775807 s1 left", "LMPOP 1 l1 l1 left", "EXISTS l2",
        "LRANGE l1 0 -1",
    ))  # fmt: skip


def test_the_last_element_takes_the_key_and_its_deadline_with_it(stock: Oracle) -> None:
    lines: list[Argv] = []
    for last in words(
        "LPOP k",
        "RPOP k",
        "LPOP k 5",
        "RPOP k 1",
        "LREM k 0 a",
        "LTRIM k 1 0",
        "LMPOP 1 k LEFT",
        "LMOVE k j LEFT LEFT",
        "RPOPLPUSH k j",
        "BLPOP k 0",
        "BRPOPLPUSH k j 0",
        "LMOVE k k LEFT RIGHT",
        "RPOPLPUSH k k",
    ):
        lines += [
            *words("DEL k j", "RPUSH k a", "EXPIRE k 1000"),
            last,
            *words("EXISTS k", "TTL k", "RPUSH k b", "TTL k"),
        ]
    assert_same(stock, lines)


def test_long_and_short_elements_mix_as_in_stock(stock: Oracle) -> None:
    sizes = (0, 1, 9, 10, 99, 100, 247, 248, 249, 250, 255, 256, 257, 999, 1000, 2040, 2048, 3000, 70_000)
    elements = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    lines: list[Argv] = [[b"RPUSH", b"k", *elements], [b"LPUSH", b"k", *elements]]
    for i, element in enumerate(elements):
        lines += [
            [b"LPOS", b"k", element, b"COUNT", b"0"],
            [b"LSET", b"k", b"%d" % i, elements[-i]],
            [b"LINDEX", b"k", b"%d" % -i],
            [b"LINSERT", b"k", b"AFTER", element, elements[i // 2]],
            [b"LREM", b"k", b"-1", elements[i - 3]],
            [b"LRANGE", b"k", b"%d" % i, b"-1"],
        ]
    lines += [
        [b"LPOP", b"k", b"7"],
        [b"RPOP", b"k", b"7"],
        [b"LTRIM", b"k", b"3", b"-4"],
        [b"LRANGE", b"k", b"0", b"-1"],
    ]
    assert_same(stock, lines, protocols=(False,))


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(3000, LISTS_GROUP))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(2000 + seed).many(1500, LISTS_GROUP))
    check_replay(ours, stock)


def test_nothing_is_logged_where_nothing_changed() -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.records.clear()
    ours.run(words(
        "LPUSHX no a", "LPOP no", "LPOP l1 0", "LTRIM l1 0 -1", "LTRIM no 1 0", "LREM l1 0 nono",
        "LINSERT l1 BEFORE nono a", "LMOVE no l1 LEFT LEFT", "LMPOP 2 no none LEFT", "BLPOP no 0",
        "BLMOVE no l1 LEFT LEFT 0", "LSET l1 99 a",
    ))  # fmt: skip
    assert ours.records == []
