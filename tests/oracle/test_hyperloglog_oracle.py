"""HyperLogLogs beside stock: the strings are the same byte for byte, however they came to be."""

from __future__ import annotations

from random import Random

import pytest
from oracle_bits_lines import HLL_GROUP
from oracle_harness import Oracle, Ours, assert_same, check_all_log_first, check_replay, words
from oracle_lines import Argv, Lines

from perdure.store import hyperloglog as hll
from perdure.store.errors import CommandError

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "SET n 12", "HSET h1 f v", "PFADD k0 a b c")


@pytest.mark.parametrize("seed", range(2))
def test_generated_lines_get_stocks_replies_and_make_stocks_strings(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(1000, HLL_GROUP))


@pytest.mark.parametrize("seed", range(3))
def test_strings_agree_byte_for_byte_from_empty_to_dense(stock: Oracle, seed: int) -> None:
    """Element by element, through every split, merge and promotion of the sparse form."""
    rng = Random(seed)
    lines: list[Argv] = []
    for key in (b"a", b"b", b"c"):
        # Elements of which several fall on neighbouring registers, and those of which none does.
        for n in range(1650):
            lines += [[b"PFADD", key, b"%d" % rng.getrandbits(40)], [b"GET", key]]
            if n % 200 == 0:
                lines += [[b"PFCOUNT", key], [b"GET", key], [b"PFDEBUG", b"ENCODING", key]]
        lines += [[b"PFDEBUG", b"ENCODING", key], [b"STRLEN", key]]
    assert_same(stock, lines, protocols=(False,))


def neighbours(count: int, first: int) -> list[bytes]:
    """Elements for ``count`` registers side by side, several for each."""
    found: dict[int, list[bytes]] = {}
    n = 0
    wanted = range(first, first + count)
    while len(found) < count or n < 60_000:
        index, _ = hll.place(b"%d" % n)
        if index in wanted:
            found.setdefault(index, []).append(b"%d" % n)
        n += 1
    return [element for elements in found.values() for element in elements]


def test_runs_of_equal_registers_split_and_merge_as_in_stock(stock: Oracle) -> None:
    rng = Random(9)
    elements = neighbours(80, 5000)
    lines: list[Argv] = []
    for key in (b"a", b"b", b"c", b"d"):
        rng.shuffle(elements)
        for element in elements:
            lines += [[b"PFADD", key, element], [b"GET", key]]
    assert_same(stock, lines, protocols=(False,))


@pytest.mark.parametrize("limit", [0, 18, 100, 3000, 16000])
def test_the_threshold_of_the_sparse_form_is_stocks(stock: Oracle, limit: int) -> None:
    rng = Random(limit)
    lines: list[Argv] = []
    for n in range(600):
        lines += [[b"PFADD", b"k%d" % (n % 3), *(b"%d" % rng.getrandbits(40) for _ in range(rng.choice((1, 5, 20))))]]
        if n % 10 == 0:
            lines += [[b"GET", b"k%d" % (n // 10 % 3)], [b"PFMERGE", b"m%d" % (n // 100), b"k0", b"k1"],
                      [b"GET", b"m%d" % (n // 100)], [b"PFCOUNT", b"k0", b"k2", b"m0"]]  # fmt: skip
    stock.reset()
    stock(b"CONFIG", b"SET", b"hll-sparse-max-bytes", b"%d" % limit)
    ours = Ours()
    ours.tx.limits["hll-sparse-max-bytes"] = limit
    theirs = stock.run(lines)
    stock(b"CONFIG", b"SET", b"hll-sparse-max-bytes", b"3000")
    for argv, expected in zip(lines, theirs, strict=True):
        assert ours(*argv) == expected, argv[:3]


def test_estimates_agree_at_every_size(stock: Oracle) -> None:
    rng = Random(4)
    lines: list[Argv] = []
    for _ in range(60):
        lines.append([b"PFADD", b"k", *(b"%d" % rng.getrandbits(50) for _ in range(2000))])
        lines += [[b"PFCOUNT", b"k"], [b"PFCOUNT", b"k"]]
    assert_same(stock, [*lines, [b"GET", b"k"]], protocols=(False,))


def test_merging_agrees_in_every_combination_of_encodings(stock: Oracle) -> None:
    rng = Random(8)
    sizes = {b"none": 0, b"few": 10, b"some": 300, b"many": 900, b"dense": 5000}
    setup = [[b"PFADD", key, *(b"%d" % rng.getrandbits(50) for _ in range(size))] for key, size in sizes.items()]
    lines = list(setup)
    for target in sizes:
        for _ in range(8):
            sources = rng.choices([*sizes, b"nokey"], k=rng.randint(0, 3))
            lines += [[b"COPY", target, b"t", b"REPLACE"], [b"EXPIRE", b"t", b"1000"], [b"PFCOUNT", b"t"],
                      [b"PFMERGE", b"t", *sources], [b"GET", b"t"], [b"TTL", b"t"], [b"PFCOUNT", b"t"], [b"GET", b"t"],
                      [b"PFCOUNT", b"t", *sources]]  # fmt: skip
    assert_same(stock, lines, protocols=(False,))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "PFADD h1 a", "PFADD s1 a", "PFADD n a", "PFADD nokey", "PFADD nokey", "GET nokey", "PFCOUNT h1", "PFCOUNT s1",
        "PFCOUNT nokey h1", "PFCOUNT k0 s1", "PFCOUNT nothing", "PFCOUNT nothing nothing", "PFMERGE new", "GET new",
        "PFMERGE h1", "PFMERGE new s1", "PFMERGE s1 k0", "PFMERGE new nothing k0", "GET new", "PFDEBUG FOO nothing",
        "PFDEBUG FOO h1", "PFDEBUG FOO s1", "PFDEBUG FOO k0", "PFDEBUG DECODE k0", "PFDEBUG ENCODING k0",
        "PFDEBUG TODENSE k0", "PFDEBUG TODENSE k0", "GET k0", "PFDEBUG DECODE k0", "PFDEBUG GETREG k0", "PFDEBUG x",
        "PFSELFTEST",
    ))  # fmt: skip


def hostile_strings() -> list[bytes]:
    rng = Random(3)
    head = b"HYLL\x01" + bytes(10)
    fresh, stale = head + b"\x00", head + b"\x80"
    out = [
        b"HYLL", b"HYLL\x00" + bytes(11), b"HYLL\x02" + bytes(20), b"hyll\x01" + bytes(20), fresh, stale,
        stale + b"\x00",
        stale + b"\x7f\xff" * 3, stale + b"\x7f\xfe\x00", stale + b"\x7f\xff\x80", stale + b"\x7f\xff\x00",
        stale + b"\x3f" * 256, stale + b"\xff" * 4096, stale + b"\xff" * 4097, b"HYLL\x01" + b"\xff" * 11 + b"\x7f\xff",
        b"HYLL\x00" + b"\xff" * 10 + b"\x7f" + bytes(12288), b"HYLL\x00" + b"\xff" * 12299, b"HYLL\x00" + bytes(12298),
        b"HYLL\x00" + bytes(12300), stale + b"\xff" * 70_000,
    ]  # fmt: skip
    for register in (49, 50, 51, 52, 63):
        packed = hll.dense(hll.new(), bytes([register]) * hll.REGISTERS)
        hll.forget_cardinality(packed)
        out.append(bytes(packed))
    out += [stale + rng.randbytes(rng.choice((3, 40, 400))) for _ in range(40)]
    return out


def test_hostile_strings_are_answered_as_by_stock_as_long_as_they_are_only_read(stock: Oracle) -> None:
    lines: list[Argv] = []
    for value in hostile_strings():
        lines.append([b"SET", b"k", value])
        if len(value) < 65_000:
            lines += [[b"PFDEBUG", b"DECODE", b"k"], [b"PFDEBUG", b"ENCODING", b"k"]]
        lines += [[b"PFCOUNT", b"k"], [b"PFCOUNT", b"k", b"nokey"], [b"GET", b"k"], [b"PFMERGE", b"new", b"k"],
                  [b"DEL", b"new"], [b"PFDEBUG", b"TODENSE", b"k"], [b"GET", b"k"]]  # fmt: skip
    assert_same(stock, lines)


def test_hostile_strings_that_are_written_to_give_an_answer_or_an_error_and_stay_as_they_are_then() -> None:
    for value in hostile_strings():
        ours = Ours()
        ours(b"SET", b"k", value)
        for argv in ([b"PFADD", b"k", b"a"], [b"PFADD", b"k", *(b"%d" % n for n in range(100))], [b"PFMERGE", b"k"]):
            before = bytes(ours.tx.db[b"k"])
            reply = ours(*argv)
            if reply.startswith(b"-"):
                assert reply.startswith((b"-WRONGTYPE", b"-INVALIDOBJ"))
                assert ours.tx.db[b"k"] == before


def test_generated_lines_log_first() -> None:
    check_all_log_first(SETUP, Lines(99).many(500, HLL_GROUP))


@pytest.mark.parametrize("seed", range(2))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, seed: int) -> None:
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(4000 + seed).many(400, HLL_GROUP))
    check_replay(ours, stock)


def test_counting_goes_on_while_the_log_refuses() -> None:
    ours = Ours()
    ours(b"PFADD", b"k", b"a", b"b")
    ours.sink.refuses = True
    before = bytes(ours.tx.db[b"k"])
    assert ours(b"PFCOUNT", b"k") == b":2\r\n"
    assert ours.tx.db[b"k"] == before
    assert ours(b"PFADD", b"k", b"c").startswith(b"-MISCONF")
    ours.sink.refuses = False
    assert ours(b"PFCOUNT", b"k") == b":2\r\n"
    assert ours.tx.db[b"k"] != before


def test_a_dense_one_is_changed_in_place() -> None:
    ours = Ours()
    ours(b"PFADD", b"k", *(b"%d" % n for n in range(3000)))
    value = ours.tx.db[b"k"]
    ours.run([[b"PFADD", b"k", b"more%d" % n] for n in range(100)])
    assert ours.tx.db[b"k"] is value


def test_rows_of_registers_pack_and_compare_register_by_register() -> None:
    rng = Random(1)
    a, b = (bytes(rng.choices(range(64), k=hll.REGISTERS)) for _ in range(2))
    assert hll.larger(a, b) == bytes(map(max, a, b))
    packed = hll.dense(hll.new(), a)
    assert hll.registers_of(packed) == a
    assert [hll.dense_get(packed, index) for index in range(hll.REGISTERS)] == list(a)
    for index in rng.sample(range(hll.REGISTERS), 500):
        assert hll.dense_raise(packed, index, b[index]) == (b[index] > a[index])
        assert hll.dense_get(packed, index) == max(a[index], b[index])
    with pytest.raises(CommandError):
        hll.registers_of(bytes(hll.new()) + b"\x00")
