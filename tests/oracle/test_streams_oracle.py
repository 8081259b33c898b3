"""Streams beside stock: replies, errors and the order of checks, where nodes end, and what is logged."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from oracle_harness import Argv, Oracle, Ours, assert_same, assert_same_state, differences, oracle_state, plain, words
from oracle_lines import INTEGERS, Lines
from oracle_streams_lines import HUGE_IDS, NO_IDS, NODES_GROUP, ODD_IDS, STREAMS_GROUP

pytestmark = pytest.mark.oracle

SETUP = words(
    "SET s1 text",
    "XADD k1 1-1 a b",
    "XADD k1 2-1 a b",
    "XADD k1 3-1 c d",
    "XGROUP CREATE k1 g1 0",
    "XGROUP CREATE x1 g1 0 MKSTREAM",
)
GROUP = [*STREAMS_GROUP, b"DEL", b"SET"]


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_get_stocks_replies(stock: Oracle, seed: int) -> None:
    assert_same(stock, SETUP + Lines(seed).many(3000, GROUP))


@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_on_few_keys_get_stocks_replies(
    stock: Oracle, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long lives: what is deleted, trimmed, claimed and read meets on the same streams."""
    monkeypatch.setattr("oracle_lines.KEYS", [b"x1", b"k1", b"s1"])
    assert_same(stock, SETUP + Lines(50 + seed).many(2500, STREAMS_GROUP))


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "XADD s1 nomkstream", "XADD s1 maxlen x * a b", "XADD s1 * a", "XADD s1 0 a b", "XADD s1 5-5 a b", "XADD s1",
        "XADD k1 nomkstream nomkstream maxlen", "XADD k1 maxlen 5 minid 5 x", "XADD k1 limit 1 * a b",
        "XADD k1 limit 0 9-1 a b", "XADD k1 maxlen 5 limit 0 9-1 a b", "XADD k1 maxlen ~ 5 limit -1 9 a b",
        "XADD k1 maxlen -1 * a b", "XADD k1 maxlen ~ * a b", "XADD k1 maxlen = * a b", "XADD k1 minid - 9-1 a b",
        "XADD k1 minid 1-* 9-1 a b", "XADD k1 3-1 a b", "XADD k1 3-0 a b", "XADD k1 2-* a b", "XADD nokey 0-0 a b",
        "XADD nokey 0-* a b", "XADD nokey 0-* a b", "XADD k1 0-* a", "EXISTS nokey2", "XADD nokey2 nomkstream 1-1 a b",
        "EXISTS nokey2", "XADD k1 maxlen 1 limit", "XADD k1 9-9", "XADD k1 maxlen = 2 4-4 a b", "XLEN k1",
        "XTRIM s1 maxlen", "XTRIM s1 maxlen x", "XTRIM s1 maxlen 1", "XTRIM nokey3 maxlen 1", "XTRIM k1 limit 5",
        "XTRIM k1 limit 0 x", "XTRIM k1 nomkstream 1", "XTRIM k1 maxlen 1 2", "XTRIM k1 minid 3 maxlen 1",
        "XTRIM k1 maxlen =", "XTRIM k1 maxlen ~", "XDEL s1 x", "XDEL nokey3 x", "XDEL k1 1-1 x", "XDEL k1 -",
        "XLEN s1", "XRANGE s1 x y", "XRANGE s1 - + COUNT x", "XRANGE s1 - + COUNT", "XRANGE s1 - +",
        "XRANGE nokey3 - + COUNT 0", "XRANGE k1 - + COUNT 0", "XRANGE k1 - + COUNT -1",
        "XRANGE k1 - + COUNT 1 COUNT 2", "XREVRANGE k1 - + x", "XREVRANGE k1 + - COUNT 1", "XRANGE k1 (- +",
        "XRANGE k1 (0 (5", "XSETID s1 x", "XSETID s1 5 entriesadded", "XSETID s1 5", "XSETID nokey3 5", "XSETID k1 1",
        "XSETID k1 5 maxdeletedid 6", "XSETID k1 5 entriesadded 1", "XSETID k1 5 entriesadded 1 maxdeletedid 6",
        "XSETID k1 5 entriesadded -1", "XSETID k1 5 maxdeletedid - x", "XREAD streams s1 x", "XREAD streams k1 s1 x 0",
        "XREAD streams k1 s1 0 0", "XREAD count x streams k1 1 2", "XREAD block -1 streams k1 k1 1",
        "XREAD streams k1 >", "XREAD streams k1 +", "XREAD group g c streams k1 0", "XREAD noack streams k1 0",
        "XREAD count 1 block", "XREAD foo bar baz", "XREAD count 1 count", "XREAD streams k1 nokey3 0 0",
        "XREAD streams nokey3 k1 $ $", "XREAD streams k1 k1 0 $", "XREAD STREAMS k1 0 0",
    ))  # fmt: skip


def test_every_word_for_an_id_is_read_as_stock_reads_it(stock: Oracle) -> None:
    lines: list[Argv] = []
    for word in [*NO_IDS, *ODD_IDS, *HUGE_IDS, b"7-*", b"007-*", b"7-*x", b"7-**", b"7-*\0x", b"-*", b"7\0-*"]:
        lines += [[b"DEL", b"k"], [b"XADD", b"k", word, b"a", b"b"],
                  [b"XADD", b"k", b"MINID", word, b"99-9", b"a", b"b"],
                  [b"XRANGE", b"k", word, b"+"], [b"XRANGE", b"k", b"-", word], [b"XRANGE", b"k", b"(" + word, b"+"],
                  [b"XREVRANGE", b"k", b"(" + word, b"-"], [b"XREAD", b"STREAMS", b"k", word], [b"XDEL", b"k", word],
                  [b"XSETID", b"k", word], [b"XGROUP", b"CREATE", b"k", b"g", word], [b"XACK", b"k", b"g", word],
                  [b"XGROUP", b"SETID", b"k", b"g", word], [b"XCLAIM", b"k", b"g", b"c", b"0", word],
                  [b"XINFO", b"GROUPS", b"k"], [b"XAUTOCLAIM", b"k", b"g", b"c", b"0", word],
                  [b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"k", word]]  # fmt: skip
    assert_same(stock, lines)


def test_ids_go_on_behind_the_last_one_whatever_the_time(stock: Oracle) -> None:
    far = 9_000_000_000_000
    lines = words(
        f"XADD k {far}-5 a b", "XADD k * a b", f"XADD k {far}-* a b", "XADD k * c d e f", "XADD k MAXLEN ~ 2 * a b",
        f"XADD k {far + 1}-* a b", "XADD k * a b", f"XADD k {far + 1}-18446744073709551615 a b", "XADD k * a b",
        "XADD k 18446744073709551615-18446744073709551614 a b", "XADD k * a b", "XADD k * a b", "XADD k 1-1 a b",
        "XADD k NOMKSTREAM * a b", "XRANGE k - +", "XADD j 18446744073709551615-* a b", "XADD j * a b",
    )  # fmt: skip
    assert_same(stock, lines)


def test_a_new_id_is_the_time() -> None:
    ours = Ours(now_ms=1_700_000_000_123)
    assert plain(ours(b"XADD", b"k", b"*", b"a", b"b")) == b"1700000000123-0"
    assert plain(ours(b"XADD", b"k", b"*", b"a", b"b")) == b"1700000000123-1"
    ours.set_time(1_700_000_000_100)
    assert plain(ours(b"XADD", b"k", b"*", b"a", b"b")) == b"1700000000123-2"
    ours.set_time(1_700_000_000_124)
    assert plain(ours(b"XADD", b"k", b"*", b"x" * 2000, b"y" * 5000)) == b"1700000000124-0"
    assert plain(ours(b"XADD", b"k", b"*", *[b"f"] * 200)) == b"1700000000124-1"
    ours.check()


# ---- where nodes end -------------------------------------------------------------------


@pytest.fixture(params=[(100, 4096), (7, 300), (0, 500), (5, 0), (1, 1), (300, 100_000)], ids=str)
def limits(request: pytest.FixtureRequest, stock: Oracle) -> Iterator[dict[str, int]]:
    """Thresholds of stock and for ours."""
    names = ("stream-node-max-entries", "stream-node-max-bytes")
    for name, value in zip(names, request.param, strict=True):
        stock(b"CONFIG", b"SET", name.encode(), b"%d" % value)
    yield dict(zip(names, request.param, strict=True))
    stock(b"CONFIG", b"SET", names[0].encode(), b"100", names[1].encode(), b"4096")


def same_with_limits(stock: Oracle, limits: dict[str, int], lines: list[Argv]) -> None:
    stock.reset()
    ours = Ours()
    ours.tx.limits.update(limits)
    found = differences(stock, ours, lines)
    assert not found, f"{len(found)} differences with {limits}:\n" + "\n".join(found[:8])
    assert_same_state(oracle_state(stock), ours.state())
    ours.check()


def long_streams(seed: int, count: int) -> list[Argv]:
    """Two streams that grow, with fields that repeat or not, values of all sizes, holes and trims of all kinds."""
    rng = Random(seed)
    lines: list[Argv] = []
    ms = 1000
    for n in range(count):
        key = rng.choice((b"k1", b"k2"))
        ms += rng.choice((0, 0, 1, 1, 3, 200, 70_000) if rng.random() < 0.95 else (1 << 31, 1 << 33))
        if rng.random() < 0.8:
            fields = rng.choice(([b"f"], [b"f"], [b"f", b"12"], [b"%d" % rng.randrange(5)]))
            pairs = [word for field in fields for word in (field, _value(rng))]
            seq = rng.choice((n, n, n + (1 << 40)))
            lines.append([b"XADD", key, b"%d-%d" % (ms, seq), *pairs])
            continue
        some = b"%d-%d" % (rng.randrange(1000, ms + 2), n)
        approx = rng.choice((b"~", b"~", b"="))
        most = b"%d" % rng.randrange(10, 500)
        lines.append(rng.choice((
            [b"XTRIM", key, b"MAXLEN", approx, most], [b"XTRIM", key, b"MINID", approx, some],
            [b"XTRIM", key, b"MAXLEN", b"~", most, b"LIMIT", b"%d" % rng.choice((0, 1, 30, 250))],
            [b"XADD", key, b"MAXLEN", approx, most, b"%d-%d" % (ms, n), b"f", b"trim"],
            [b"XADD", key, b"MINID", approx, some, b"%d-%d" % (ms, n), b"f", b"trim"],
            [b"XINFO", b"STREAM", key], [b"XRANGE", key, some, b"+", b"COUNT", b"3"],
            [b"XREVRANGE", key, some, b"-", b"COUNT", b"120"],
        )) if rng.random() < 0.2 else [b"XDEL", key, *_recent(lines, rng, key)])  # fmt: skip
    return [*lines, [b"XINFO", b"STREAM", b"k1"], [b"XINFO", b"STREAM", b"k2"]]


def _recent(lines: list[Argv], rng: Random, key: bytes) -> Argv:
    """Ids that were added of late, or long ago."""
    some = rng.sample(lines[-rng.choice((20, 300, 3000)) :], k=min(len(lines), 4)) if len(lines) > 4 else []
    return [line[2] for line in some if line[0] == b"XADD" and line[1] == key and line[2] != b"MAXLEN"] or [b"1-1"]


def _value(rng: Random) -> bytes:
    roll = rng.random()
    if roll < 0.4:
        ends = (0, 5, 127, 128, -1, 4095, 4096, -4096, -4097, 32767, 32768, 1 << 23, 1 << 31, 1 << 62)
        return b"%d" % rng.choice(ends)
    if roll < 0.5:
        return rng.choice((*INTEGERS, b"-", b"01", b"9223372036854775808", b""))
    return b"v" * rng.choice((1, 10, 40, 62, 63, 64, 65, 126, 127, 128, 300) if roll < 0.98 else (4094, 4096, 17_000))


@pytest.mark.parametrize("seed", range(2))
def test_nodes_end_where_stocks_do(stock: Oracle, limits: dict[str, int], seed: int) -> None:
    same_with_limits(stock, limits, long_streams(seed, 2500))


def test_generated_lines_find_nodes_where_stock_has_them(
    stock: Oracle, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle_lines.KEYS", [b"x1", b"x2"])
    same_with_limits(stock, limits, Lines(7).many(1500, NODES_GROUP))


def test_no_more_than_a_hundred_nodes_go_at_once_unless_limit_says_so(stock: Oracle) -> None:
    lines = [[b"XADD", key, b"%d" % n, b"f", b"v"] for key in (b"a", b"b", b"c", b"d") for n in range(1, 12_002)]
    lines += words("XADD a MAXLEN ~ 5 99999 f v", "XTRIM b MAXLEN ~ 5", "XTRIM b MAXLEN ~ 5", "XTRIM c MINID ~ 11000",
                   "XTRIM d MAXLEN ~ 5 LIMIT 0", "XLEN a", "XLEN b", "XLEN c", "XLEN d", "XINFO STREAM a")  # fmt: skip
    assert_same(stock, lines, protocols=(False,))
