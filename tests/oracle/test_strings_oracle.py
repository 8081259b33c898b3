"""Strings beside stock: every option in every company, every edge of a range, numbers by the thousand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product
from random import Random

import pytest
from oracle_harness import Argv, Oracle, Ours, assert_same, words

from perdure.store.numbers import print_double, read_double

pytestmark = pytest.mark.oracle

FUTURE = b"4000000000"
KINDS_OF_KEY = {
    "absent": [],
    "string": words("SET k old"),
    "expiring": words("SET k old EX 5000"),
    "expired": words("SET k old PXAT 1000"),
    "hash": words("HSET k f v"),
}
AFTER = words("GET k", "PEXPIRETIME k", "TTL k", "TYPE k")


def _in_every_state(lines: list[Argv]) -> Iterator[Argv]:
    for setup in KINDS_OF_KEY.values():
        for argv in lines:
            yield from ([b"DEL", b"k"], *setup, argv, *AFTER)


def test_set_options_in_any_company_and_order(stock: Oracle) -> None:
    options = [
        [b"NX"], [b"XX"], [b"GET"], [b"KEEPTTL"], [b"EX", b"500"], [b"PX", b"500000"], [b"EXAT", FUTURE],
        [b"PXAT", FUTURE + b"000"], [b"EX"], [b"PERSIST"], [b"EX", b"0"], [b"EXAT", b"1"], [b"px", b"x"],
    ]  # fmt: skip
    lines = [[b"SET", b"k", b"new"]]
    for n in (1, 2, 3):
        for chosen in permutations(options, n):
            lines.append([b"SET", b"k", b"new", *(word for option in chosen for word in option)])
    assert_same(stock, list(_in_every_state(lines[:180])))
    assert_same(stock, list(_in_every_state(Random(1).sample(lines[180:], 300))))


def test_options_given_twice(stock: Oracle) -> None:
    lines = words(
        "SET k v NX NX", "SET k v XX XX GET GET", "SET k v EX 100 EX 900", "SET k v EX 100 EX",
        "SET k v KEEPTTL KEEPTTL", "SET k v PX 100000 PX x", "GETEX k EX 100 EX 900", "GETEX k PERSIST PERSIST",
        "GETEX k PXAT 1 PXAT 4000000000000",
    )  # fmt: skip
    assert_same(stock, list(_in_every_state(lines)))


def test_options_end_at_a_nul_byte(stock: Oracle) -> None:
    lines = [[b"SET", b"k", b"v", word] for word in (b"NX\0y", b"get\0", b"\0NX", b"KEEPTTL\0\0", b"", b"N")]
    lines += [[b"GETEX", b"k", b"PERSIST\0x"], [b"LCS", b"k", b"k", b"LEN\0"]]
    assert_same(stock, list(_in_every_state(lines)))


@pytest.mark.parametrize("number", [
    b"1", b"0", b"-1", b"9223372036854775", b"9223372036854776", b"9223372036854775807", b"-9223372036854775808",
    b"9223372036854775808", b"9223370000000000000", b"1.5", b"", b" 5", b"05", b"abc", b"5\0",
])  # fmt: skip
def test_every_time_argument(stock: Oracle, number: bytes) -> None:
    lines = [[b"SETEX", b"k", number, b"v"], [b"PSETEX", b"k", number, b"v"]]
    for option in (b"EX", b"PX", b"EXAT", b"PXAT"):
        lines += [[b"SET", b"k", b"v", option, number], [b"GETEX", b"k", option, number],
                  [b"SET", b"k", b"v", b"NX", b"GET", option, number]]  # fmt: skip
    if number in (b"1", b"9223372036854775"):
        # One second from now is no time to compare at.
        lines = [argv for argv in lines if b"AT" in argv[-2]] if number == b"1" else lines
    assert_same(stock, list(_in_every_state(lines)))


def test_every_other_command_in_every_state(stock: Oracle) -> None:
    lines = words(
        "GET k", "GETDEL k", "GETEX k", "GETEX k PERSIST", "GETEX k PERSIST EX 5", "GETEX k KEEPTTL", "GETSET k n",
        "SETNX k n", "MSET k a j b", "MSETNX k a j b", "MSETNX j a j b", "DEL j", "MSET k", "MSET k a j",
        "MSETNX k a j", "MGET k j k", "STRLEN k",
        "APPEND k xyz", "APPEND k ''", "SETRANGE k 1 xy", "SETRANGE k 0 ''", "SETRANGE k 9 ''", "SETRANGE k -1 x",
        "SETRANGE k 536870911 xy", "SETRANGE k 9223372036854775807 xy", "GETRANGE k 0 -1", "SUBSTR k 1 1", "INCR k",
        "DECR k", "INCRBY k 5", "DECRBY k 5", "INCRBYFLOAT k 1.5", "LCS k k", "LCS k j IDX LEN", "LCS k j JUNK",
        "LCS k j MINMATCHLEN", "LCS k j MINMATCHLEN x", "SET k 10", "INCRBYFLOAT k inf", "INCRBY k x", "GETRANGE k x 1",
        "GETRANGE k 1 x", "SETRANGE k x x", "INCRBYFLOAT k x",
    )  # fmt: skip
    assert_same(stock, list(_in_every_state(lines)))


def test_every_range(stock: Oracle) -> None:
    edges = [b"%d" % n for n in range(-7, 8)] + [b"9223372036854775807", b"-9223372036854775808"]
    lines = words("SET k abcde", "SET e ''", "APPEND a abc", "APPEND a de")
    for name, (start, end) in product((b"k", b"e", b"a", b"none"), product(edges, edges)):
        lines.append([b"GETRANGE", name, start, end])
    assert_same(stock, lines)


def test_the_size_limit_is_met_before_anything_is_made(stock: Oracle) -> None:
    try:
        for ours_too in (False, True):
            stock.reset(ours_too)
            stock(b"CONFIG", b"SET", b"proto-max-bulk-len", b"1048576")
            ours = Ours()
            ours.speak(ours_too)
            ours.tx.max_bulk_bytes = 1048576
            block = b"x" * 262144
            lines = [[b"APPEND", b"k", block]] * 5 + [[b"APPEND", b"k", b""], [b"SETRANGE", b"k", b"1048575", b"xy"],
                     [b"SETRANGE", b"k", b"1048575", b"x"], [b"SETRANGE", b"n", b"1048576", b""], [b"STRLEN", b"k"],
                     [b"SETRANGE", b"n", b"1048570", b"1234567"], [b"APPEND", b"k", b"x"], [b"LCS", b"k", b"k"],
                     [b"SET", b"s", b"y" * 511], [b"LCS", b"s", b"s"], [b"SET", b"t", b"y" * 512], [b"LCS", b"t", b"t"],
                     [b"LCS", b"s", b"t", b"LEN"], [b"LCS", b"t", b"s", b"LEN", b"IDX"]]  # fmt: skip
            for argv in lines:
                assert stock(*argv) == ours(*argv), argv[0::2]
    finally:
        stock(b"CONFIG", b"SET", b"proto-max-bulk-len", b"536870912")


def test_encodings(stock: Oracle) -> None:
    values = [b"", b"1", b"-1", b"007", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"1.0",
              b"x" * 44, b"x" * 45, b"1" * 20, b" 1"]  # fmt: skip
    lines: list[Argv] = []
    ask = [b"OBJECT", b"ENCODING", b"k"]
    for value in values:
        for argv in (
            [b"SET", b"k", value], [b"APPEND", b"k", b"5"], [b"DEL", b"k"], [b"APPEND", b"k", value],
            [b"SETRANGE", b"k", b"0", b"1"], [b"GETSET", b"k", value], [b"MSET", b"k", value], [b"DEL", b"k"],
            [b"SETRANGE", b"k", b"0", value], [b"SET", b"k", b"5"], [b"INCR", b"k"], [b"INCRBYFLOAT", b"k", b"0.5"],
        ):  # fmt: skip
            lines += [argv, ask]
    assert_same(stock, lines)


def test_counters_at_the_edges(stock: Oracle) -> None:
    numbers = [b"0", b"1", b"-1", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806",
               b"-9223372036854775807", b"9223372036854775808", b"", b"+1", b"01", b"-0", b"1.0", b"\xd9\xa1",
               b"1_0"]  # fmt: skip
    lines: list[Argv] = []
    for old, change in product(numbers, numbers):
        for name in (b"INCRBY", b"DECRBY"):
            lines += [[b"SET", b"k", old], [name, b"k", change], [b"GET", b"k"], [name, b"none", change]]
            lines.append([b"DEL", b"none"])
        lines += [[b"SET", b"k", old], [b"INCR", b"k"], [b"SET", b"k", old], [b"DECR", b"k"], [b"GET", b"k"]]
    assert_same(stock, lines)


def _number(rng: Random) -> bytes:
    roll = rng.random()
    sign = rng.choice(("", "", "-", "+"))
    if roll < 0.3:
        text = str(rng.randrange(10 ** rng.randrange(1, 25)))
        text += rng.choice(("", f".{rng.randrange(10 ** rng.randrange(1, 25))}"))
    elif roll < 0.5:
        text = repr(rng.random() * 10.0 ** rng.randrange(-20, 20))
    elif roll < 0.7:
        power = rng.choice((rng.randrange(-30, 30), rng.randrange(-5000, 5000), rng.randrange(-4970, -4920)))
        text = f"{rng.randrange(100)}.{rng.randrange(10**20)}e{power}"
    elif roll < 0.8:
        power = rng.choice((rng.randrange(-80, 80), rng.randrange(-16600, 16500)))
        text = f"0x{rng.getrandbits(rng.randrange(1, 90)):x}.{rng.getrandbits(70):x}p{power}"
    elif roll < 0.9:
        text = str((2 * rng.randrange(1 << 63, 1 << 64) + 1) << rng.randrange(200))  # half way between two
    else:
        text = rng.choice((
            "inf", "nan", "1e5000", "1e-5000", "0e99999999999", "0x", ".", "1.", ".5", "1e", "1e+", "0x.8", "0x1.p",
            "0", "0.0", "infinity", "nan(1)", "INF", "1_0", " 1", "1 ", "0x1p-16445", "0x1p-16446", "0x1.8p-16446",
            "0x1p16383", "0x1p16384", "0x.fffffffffffffffffp16384", "9" * 4950, "1" + "0" * 4932,
            "0." + "0" * 4900 + "1", "1" * 5119, "1" * 5120, "0x1p99999999",
            "0x0p99999999", "5e-4951", "3.6e-4951", "1.9e-4951", "1.8e-4951",
            "1e308", "2e308", "0x1.fffffffffffff8p1023", "0x1.fffffffffffff7p1023", "5e-324", "3e-324", "2e-324",
            "0x1p-1074", "0x1p-1075", "0x1.1p-1075",
        ))  # fmt: skip
    return (sign + text).encode()


def test_long_doubles_by_the_thousand(stock: Oracle) -> None:
    """What INCRBYFLOAT reads, adds, rounds and prints, to the last digit."""
    rng = Random(20)
    lines: list[Argv] = []
    for _ in range(6000):
        lines += [[b"SET", b"k", _number(rng)], [b"INCRBYFLOAT", b"k", _number(rng)]]
    for _ in range(500):
        lines.append([b"INCRBYFLOAT", b"sum", b"%.*f" % (rng.randrange(12), rng.uniform(-1000, 1000))])
    assert_same(stock, lines, protocols=(False,))


def test_doubles_by_the_thousand(stock: Oracle) -> None:
    """What ZADD takes for a score, and how ZSCORE prints it, in stock and in ``numbers``."""
    rng = Random(21)
    stock.reset()
    # A listpack keeps -0 as the integer 0.
    stock(b"CONFIG", b"SET", b"zset-max-listpack-entries", b"0")
    texts = [_number(rng) for _ in range(5000)] + [b"%.17g" % rng.uniform(-1, 1) for _ in range(500)]
    for start in range(0, len(texts), 500):
        part = texts[start : start + 500]
        replies = stock.run([
            argv for text in part for argv in ([b"ZADD", b"z", text, b"m"], [b"ZSCORE", b"z", b"m"], [b"DEL", b"z"])
        ])  # fmt: skip
        for text, added, score in zip(part, replies[::3], replies[1::3], strict=True):
            value = read_double(text)
            assert (value is None) == added.startswith(b"-"), text[:100]
            if value is not None:
                assert score.split(b"\r\n")[1] == print_double(value), text[:100]
    stock(b"CONFIG", b"SET", b"zset-max-listpack-entries", b"128")


def test_common_subsequences(stock: Oracle) -> None:
    rng = Random(22)
    lines: list[Argv] = []
    for _ in range(250):
        letters = b"abcdefghij"[: rng.choice((1, 2, 3, 4, 10))]
        for key in (b"a", b"b"):
            lines.append([b"SET", key, bytes(rng.choice(letters) for _ in range(rng.randrange(45)))])
        lines += words("LCS a b", "LCS b a", "LCS a b LEN", "LCS a b IDX", "LCS b a IDX", "LCS a a IDX",
                       "LCS a b IDX WITHMATCHLEN MINMATCHLEN 2", "LCS a b MINMATCHLEN 3 WITHMATCHLEN",
                       "LCS a b IDX MINMATCHLEN -5", "LCS none b IDX", "LCS none none")  # fmt: skip
    assert_same(stock, lines)


def test_a_common_subsequence_of_long_strings(stock: Oracle) -> None:
    rng = Random(23)
    lines = [[b"SET", key, bytes(rng.choice(b"acgt") for _ in range(n))] for key, n in ((b"a", 2500), (b"b", 3100))]
    assert_same(stock, lines + words("LCS a b", "LCS a b IDX", "LCS b a IDX WITHMATCHLEN"), protocols=(True,))
