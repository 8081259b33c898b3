"""Consumer groups beside stock: order of checks, who waits, and that the log restores all of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from oracle_harness import (
    Oracle,
    Ours,
    assert_same,
    assert_same_state,
    check_all_log_first,
    check_replay,
    commands_of,
    oracle_state,
    read_frame,
    replayed,
    words,
)
from oracle_lines import Lines
from oracle_streams_lines import STREAMS_GROUP

from perdure.store import value_types
from perdure.store.errors import CommandError
from perdure.store.resp import encode
from perdure.store.resp import error as error_reply
from perdure.store.stream_value import Stream
from perdure.store.tx import Tx

pytestmark = pytest.mark.oracle

SETUP = words("SET s1 text", "XADD k1 1-1 a b", "XADD k1 2-1 a b", "XADD k1 3-1 c d", "XGROUP CREATE k1 g1 0")
GROUP = [*STREAMS_GROUP, b"DEL", b"RENAME"]


@pytest.fixture
def few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle_lines.KEYS", [b"x1", b"k1", b"s1"])


def test_checks_come_in_stocks_order(stock: Oracle) -> None:
    assert_same(stock, SETUP + words(
        "XGROUP CREATE s1 g x foo", "XGROUP CREATE s1 g x entriesread -2", "XGROUP CREATE s1 g x entriesread y",
        "XGROUP CREATE s1 g x", "XGROUP CREATE s1 g x mkstream", "XGROUP CREATE nokey g x", "XGROUP CREATE k1 g1 x",
        "XGROUP CREATE nokey g x mkstream", "EXISTS nokey", "XGROUP CREATE k1 g1 0", "XGROUP CREATE k1 g1 0 mkstream",
        "XGROUP CREATE k1 g2 0 mkstream mkstream entriesread 1 entriesread 2", "XGROUP CREATE k1 g2 0 entriesread",
        "XGROUP CREATE k1 g2 0 mkstream mkstream mkstream", "XGROUP CREATE k1 g3 - ",
        "XGROUP CREATE k1 g3 $ mkstream x", "XGROUP SETID s1 g1 x", "XGROUP SETID nokey g1 x", "XGROUP SETID k1 nog x",
        "XGROUP SETID k1 g1 x", "XGROUP SETID k1 g1 0 mkstream", "XGROUP SETID k1 g1 0 entriesread 1 entriesread 1",
        "XGROUP SETID k1 g1 -", "XGROUP DESTROY s1 g1", "XGROUP DESTROY nokey g1", "XGROUP DESTROY k1 nog",
        "XGROUP CREATECONSUMER s1 g1 c", "XGROUP CREATECONSUMER nokey g1 c", "XGROUP CREATECONSUMER k1 nog c",
        "XGROUP DELCONSUMER k1 nog c", "XGROUP DELCONSUMER k1 g1 c", "XGROUP", "XGROUP CREATE k1 g", "XGROUP HELP x",
        "XGROUP nosuch k1 g1", "XACK s1 g1 x", "XACK nokey g1 x", "XACK k1 nog x", "XACK k1 g1 x", "XACK k1 g1 1-1 x",
        "XACK k1 g1 1-1 1-1", "XREADGROUP group g c streams k1", "XREADGROUP streams k1 k1 k1 k1 > > >",
        "XREADGROUP noack noack streams k1 >", "XREADGROUP group g c streams nokey x",
        "XREADGROUP group nog c streams k1 $", "XREADGROUP group g1 c streams s1 $",
        "XREADGROUP group g1 c streams k1 $", "XREADGROUP group g1 c streams k1 x",
        "XREADGROUP group g1 c streams k1 +", "XREADGROUP group g1 c streams k1 k1 > >",
        "XREADGROUP group g1 c streams k1 k1 > 0", "XINFO CONSUMERS k1 g1",
        "XREADGROUP group g1 c count 1 streams k1 k1 0 0", "XREADGROUP group g1 d streams k1 0",
        "XPENDING k1 g1 - + 9", "XREADGROUP group g1 c streams k1 18446744073709551615-18446744073709551615",
        "XINFO STREAM k1 FULL", "XPENDING s1 g1 x", "XPENDING s1 g1", "XPENDING nokey g1", "XPENDING k1 nog",
        "XPENDING k1 g1 - +", "XPENDING k1 g1 idle x - + 1", "XPENDING k1 g1 idle 1 - +", "XPENDING k1 g1 x y z",
        "XPENDING k1 g1 - + 9 c d e", "XPENDING k1 g1 - + 9 nosuch", "XPENDING k1 g1 idle 0 - + 9 c d",
        "XPENDING k1 g1 - + 9 c d e f", "XPENDING k1 g1", "XCLAIM s1 g1 c x 1-1", "XCLAIM nokey g1 c x 1-1",
        "XCLAIM k1 nog c x 1-1", "XCLAIM k1 g1 c x 1-1 y", "XCLAIM k1 g1 c 0 x", "XCLAIM k1 g1 c 0 1-1 idle x",
        "XCLAIM k1 g1 c 0 1-1 time x", "XCLAIM k1 g1 c 0 1-1 time", "XCLAIM k1 g1 c 0 1-1 retrycount x",
        "XCLAIM k1 g1 c 0 1-1 lastid x", "XCLAIM k1 g1 c 0 1-1 force 2-1", "XCLAIM k1 g1 e 0 1-1 1-1 9-9 2-1",
        "XCLAIM k1 g1 e 0 9-9 LASTID 7", "XCLAIM k1 g1 f 0 1-1 LASTID 8 RETRYCOUNT -5",
        "XCLAIM k1 g1 f 99999 1-1 LASTID 5", "XCLAIM k1 g1 f 0 2-1 TIME 5 JUSTID", "XCLAIM k1 g1 f 99999 2-1",
        "XDEL k1 2-1", "XCLAIM k1 g1 f 99999 2-1", "XCLAIM k1 g1 f 0 2-1 FORCE", "XPENDING k1 g1 - + 9",
        "XAUTOCLAIM s1 g1 c x x", "XAUTOCLAIM s1 g1 c 0 x", "XAUTOCLAIM s1 g1 c 0 0 count 0",
        "XAUTOCLAIM s1 g1 c 0 0 x", "XAUTOCLAIM s1 g1 c 0 0", "XAUTOCLAIM nokey g1 c 0 0", "XAUTOCLAIM k1 nog c 0 0",
        "XAUTOCLAIM k1 g1 c 0 (-", "XAUTOCLAIM k1 g1 c 0 0 count x", "XAUTOCLAIM k1 g1 c 0 0 count 576460752303423488",
        "XDEL k1 1-1", "XAUTOCLAIM k1 g1 c 0 0 count 1", "XAUTOCLAIM k1 g1 c 0 0 count 1 justid",
        "XAUTOCLAIM k1 g1 c 0 (3-1", "XINFO STREAM nokey foo", "XINFO STREAM s1 foo", "XINFO STREAM k1 foo",
        "XINFO STREAM k1 full count", "XINFO STREAM k1 full count x", "XINFO STREAM k1 full foo 1",
        "XINFO STREAM k1 full count -1", "XINFO GROUPS s1", "XINFO CONSUMERS nokey g1", "XINFO CONSUMERS k1 nog",
        "XINFO CONSUMERS k1 g1", "XINFO GROUPS k1", "XINFO HELP x",
    ))  # fmt: skip


def test_xautoclaim_looks_at_ten_times_what_it_claims(stock: Oracle) -> None:
    lines = [[b"XADD", b"k", b"%d" % n, b"f", b"v"] for n in range(1, 60)]
    lines += words("XGROUP CREATE k g 0", "XREADGROUP GROUP g c STREAMS k >", "XCLAIM k g c 0 40 55 TIME 5",
                   "XAUTOCLAIM k g d 999999 0 COUNT 1", "XAUTOCLAIM k g d 999999 11 COUNT 2",
                   "XAUTOCLAIM k g d 999999 31-0 COUNT 1", "XAUTOCLAIM k g d 999999 (40 COUNT 2", "XDEL k 5 6 7 8",
                   "XAUTOCLAIM k g d 0 3 COUNT 4", "XAUTOCLAIM k g d 0 7 COUNT 1",
                   "XINFO STREAM k FULL COUNT 0")  # fmt: skip
    assert_same(stock, lines)


def test_lag_is_told_where_stock_tells_it(stock: Oracle) -> None:
    lines = words("XADD k 1 a b", "XGROUP CREATE k g $", "XINFO GROUPS k")
    read = "XREADGROUP GROUP g c COUNT 1 STREAMS k >"
    for change in ("XADD k 2 a b", "XADD k 3 a b", read, "XDEL k 1", read, "XADD k 4 a b", "XDEL k 3", read,
                   "XADD k 5 a b", "XDEL k 5", "XADD k 6 a b", read, "XTRIM k MAXLEN 1", read, "XGROUP SETID k g 0",
                   "XGROUP SETID k g 2", "XGROUP SETID k g 6", "XGROUP SETID k g 99", "XSETID k 50 ENTRIESADDED 40",
                   "XGROUP SETID k g 6 ENTRIESREAD 3", read, "XTRIM k MAXLEN 0", "XINFO STREAM k FULL",
                   "XSETID k 9 ENTRIESADDED 0", "XADD k 60 a b", read, "XGROUP SETID k g 0 ENTRIESREAD 7"):  # fmt: skip
        lines += words(change, "XINFO GROUPS k", "XINFO STREAM k")
    assert_same(stock, lines)


# ---- the log ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_generated_lines_log_first(few_keys: None, seed: int) -> None:
    check_all_log_first(SETUP, Lines(90 + seed).many(1200, GROUP))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_logged_replays_here_and_in_stock(stock: Oracle, few_keys: None, seed: int) -> None:
    """Loaded as a log, and sent as commands; times of deliveries included."""
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(2000 + seed).many(1500, GROUP))
    check_replay(ours, stock)
    stock.reset()
    payload = b"".join(ours.records)
    replies = stock.feed(payload, len(commands_of(payload)))
    assert not [reply for reply in replies if reply.startswith(b"-")]
    assert_same_state(oracle_state(stock), ours.state(), tolerance_ms=0)


def test_a_log_that_stock_wrote_is_replayed(few_keys: None) -> None:
    """``LIMIT`` without ``~``, and XCLAIM of times to come, are what stock's own log may say."""
    ours = replayed(b"".join(map(encode, words(
        "XADD k MAXLEN = 5 LIMIT 7 1-1 a b", "XTRIM k MINID = 1-0 LIMIT 7", "XGROUP CREATE k g 0",
        "XCLAIM k g c 0 1-1 TIME 9000000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
        "XTRIM k MINID = 18446744073709551615-18446744073709551615", "XSETID k 20",
    ))), 1_700_000_000_000)  # fmt: skip
    stream = ours.tx.keyspace.databases[0][b"k"]
    assert (stream.length, stream.last_id >> 64) == (0, 20)
    assert stream.groups[b"g"].pending[1 << 64 | 1].time_ms == 9_000_000_000_000


@pytest.mark.parametrize("seed", range(3))
def test_rebuild_restores_everything_here_and_in_stock(stock: Oracle, few_keys: None, seed: int) -> None:
    """Pending entries that are deleted as well, which stock's own rewrite loses."""
    ours = Ours()
    ours.run(SETUP)
    ours.run(Lines(3000 + seed).many(1500, GROUP))
    ours.run(words("XADD e 1 a b", "XADD e 2 a b", "XGROUP CREATE e g 0", "XREADGROUP GROUP g c STREAMS e >",
                   "XTRIM e MAXLEN 0", "XSETID e 0-0", "XADD e 1-5 a b", "XGROUP CREATE n g 7 MKSTREAM ENTRIESREAD 3",
                   "XADD d 1 a b", "XADD d 2 a b", "XDEL d 2", "XSETID d 1", "XADD o 0-1 a b",
                   "XDEL o 0-1"))  # fmt: skip
    stock.reset()
    fresh = Ours(ours.tx.clock_ms + 1000)
    for index, db in enumerate(ours.keyspace.databases):
        lines = [line for key, value in db.items() for line in value_types.of(value).rebuild(key, value)]
        for line in [[b"SELECT", b"%d" % index], *lines]:
            assert not fresh(*line).startswith(b"-"), line
            assert not stock(*line).startswith(b"-"), line
    assert fresh.raw_state() == ours.raw_state()
    assert_same_state(oracle_state(stock), ours.state(), tolerance_ms=0)
    fresh.check()


def test_several_effects_of_one_command_are_one_group_in_the_log() -> None:
    ours = Ours()
    ours.run(SETUP)
    ours(b"XREADGROUP", b"GROUP", b"g1", b"c", b"STREAMS", b"k1", b">")
    names = [line[0] for line in commands_of(ours.records[-1])]
    assert names == [b"SELECT", b"MULTI", *[b"XCLAIM"] * 3, b"XGROUP", b"EXEC"]


# ---- waiting ---------------------------------------------------------------------------


class WaitingTx(Tx):
    """A ``Tx`` where one client can wait."""

    wait: Any = None

    def block(self, keys: Any, deadline_ms: int, retry: Any, empty: bytes, wants: type | None = None) -> bytes:
        self.wait = (keys, retry, wants)
        return b""


def waiting(ours: Ours) -> None:
    """Let ``ours`` have a client that waits."""
    was = ours.tx
    ours.tx = WaitingTx(ours.keyspace, ours.sink, Random(1), {})
    ours.tx.now_ms = ours.tx.clock_ms = was.clock_ms
    ours.tx.speak(was.resp3)


def served(ours: Ours, lines: list[list[bytes]]) -> Iterator[bytes]:
    """Run the lines; what the waiting client is answered, if anything, asked behind each for each of its keys."""
    for line in lines:
        ours(*line)
        keys, retry, wants = ours.tx.wait  # type: ignore[attr-defined]
        for key in keys:
            if wants is None or ours.tx.db.get(key).__class__ is wants:
                try:
                    reply = retry(ours.tx, key)
                except CommandError as error:
                    reply = error_reply(error.text)
                ours.records.append(ours.tx.take())
                if reply is not None:
                    yield reply


READS = "XREADGROUP GROUP g c BLOCK 0 STREAMS k >"
MADE = ["XGROUP CREATE k g $ MKSTREAM"]


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize(("setup", "blocks", "acts"), [
    (MADE, READS, ["XGROUP DESTROY k g"]),
    (MADE, READS, ["DEL k"]),
    (MADE, READS, ["SET k v"]),
    (MADE, READS, ["RENAME k z"]),
    (MADE, READS, ["FLUSHALL"]),
    (MADE, READS, ["XADD k 1 a b"]),
    (MADE, READS, ["XADD k 1 a b"]),
    (MADE, READS, ["XGROUP CREATE k h 0", "XADD k 1-1 a b"]),
    ([*MADE, "XADD y 1 a b"], READS, ["RENAME y k"]),
    ([*MADE, "XGROUP CREATE j g $ MKSTREAM"], "XREADGROUP GROUP g c NOACK BLOCK 0 STREAMS k j > >", ["XADD j 1 a b"]),
    ([], "XREAD BLOCK 0 STREAMS k $", ["XADD k 1 a b"]),
    ([], "XREAD COUNT 1 BLOCK 0 STREAMS k z $ $", ["SET k a", "DEL k", "XADD z 1 a b"]),
    (["XADD k 1 a b"], "XREAD BLOCK 0 STREAMS k $", ["DEL k", "XADD k 1 a b", "XADD k 2 a b"]),
    (["XADD y 5 a b"], "XREAD BLOCK 0 STREAMS k $", ["RENAME y k"]),
    (["XADD k 1 a b"], "XREAD BLOCK 0 STREAMS k k 5 2", ["XADD k 4 a b", "XADD k 7 a b"]),
])  # fmt: skip
def test_who_waits_is_answered_as_by_stock(
    stock: Oracle, setup: list[str], blocks: str, acts: list[str], resp3: bool
) -> None:
    stock.reset()
    stock.run(words(*setup))
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as stream:
        client.connect(stock.path)
        client.settimeout(60)
        client.sendall(encode((b"HELLO", b"3" if resp3 else b"2")))
        read_frame(stream)
        client.sendall(encode(words(blocks)[0]))
        while b"blocked_clients:1" not in stock(b"INFO", b"clients"):
            pass
        stock.run(words(*acts))
        theirs = read_frame(stream)
    ours = Ours()
    ours.speak(resp3)
    ours.run(words(*setup))
    waiting(ours)
    ours.run(words(blocks))
    replies = list(served(ours, words(*acts)))
    assert replies[0] == theirs
    check_replay(ours)


def test_nobody_waits_where_it_is_not_allowed_or_there_is_something() -> None:
    ours = Ours()
    ours.run(words(*MADE, "XADD k 1 a b"))
    assert ours(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"k", b"$") == b"*-1\r\n"
    waiting(ours)
    for line in words(READS, "XREADGROUP GROUP g c BLOCK 0 STREAMS k 0", "XREAD BLOCK 0 STREAMS k 0-0"):
        assert ours(*line).startswith(b"*1\r\n")
    assert ours.tx.wait is None  # type: ignore[attr-defined]
    assert ours(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"k", b"$") == b""


def test_a_script_may_not_ask_to_wait(stock: Oracle) -> None:
    ours = Ours()
    waiting(ours)
    ours.tx.may_block = False
    for line in ("xread block 0 streams k $", "xread block x streams k $", "XREADGROUP GROUP g c BLOCK x STREAMS k >"):
        call = ",".join(f"'{word}'" for word in line.split())
        theirs = stock(b"EVAL", f"return redis.pcall({call})".encode(), b"0")
        mine = ours(*words(line)[0])
        assert mine.startswith(b"-ERR")
        assert theirs.startswith(mine[:-2])


def test_who_waits_is_not_woken_by_entries_that_are_gone_again() -> None:
    """Stock 7.0 answers such a client with no entries; 7.2 lets it wait, as we do."""
    ours = Ours()
    waiting(ours)
    ours(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"k", b"$")
    assert not list(served(ours, words("XADD k MAXLEN 0 1 a b", "XSETID k 9", "XGROUP CREATE k g 0")))
    assert isinstance(ours.tx.db[b"k"], Stream)
    assert list(served(ours, words("XADD k 10 a b")))
