"""Compiled shortcuts do what the handlers do: same replies, records, values and errors, whatever is there."""

from __future__ import annotations

import sys
from random import Random
from typing import Any

import pytest

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types
from perdure.store.command import TABLE, Handler
from perdure.store.database import Keyspace
from perdure.store.errors import CommandError
from perdure.store.tx import NoLog, Tx
from perdure.store.uses import Recency

shortcuts = pytest.importorskip("perdure.store.shortcuts", reason="the compiled shortcuts are not built here")
SHORTCUTS: dict[Handler, Handler] = shortcuts.SHORTCUTS
NAMES = sorted(name for name, entry in TABLE.items() if entry.handler in SHORTCUTS)
CHANGES = [b"DEL", b"EXPIRE", b"RENAME", b"ZSCAN", b"SSCAN", b"ZRANK", b"SREM", b"ZREM", b"SET", b"APPEND", b"COPY"]
NUMBERS = [b"7", b"-1", b"-10", b"1022", b"1023", b"007", b"-0", b"9" * 18, b"9" * 19, b"-" + b"9" * 18, b"1 ",
           b"9223372036854775807", b"-9223372036854775808"]  # fmt: skip


class MoodyLog:
    """Grants a little room at a time and sometimes refuses, by chance."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def admit(self, nbytes: int) -> int:
        if self.rng.random() < 0.1:
            raise CommandError(b"MISCONF no")
        return self.rng.choice((0, 30, 200))


class Side:
    """A keyspace and its commands, with or without shortcuts."""

    def __init__(self, seed: int, compiled: bool, log: Any = None) -> None:
        self.compiled = compiled
        self.tx = Tx(Keyspace(), log or NoLog(), Random(seed), {})
        self.tx.now_ms = self.tx.clock_ms = 1_000_000

    def run(self, line: list[bytes]) -> bytes:
        handler = TABLE[line[0]].handler
        try:
            return (SHORTCUTS.get(handler, handler) if self.compiled else handler)(self.tx, list(line))
        except CommandError as error:
            return error.text

    def state(self) -> Any:
        tx, db = self.tx, self.tx.db
        values = {key: (value.__class__, value_types.of(value).plain(value)) for key, value in dict.items(db)}
        encodings = {key: value_types.of(value).encoding(value, tx.limits) for key, value in dict.items(db)}
        return (values, encodings, db.expires, db.order.entries, db.order.gone, tx.records, tx.room, tx.changes,
                tx.events, tx.lookups, tx.misses, db.uses and db.uses.numbers)  # fmt: skip


class Lines:
    """Command lines on few keys, so that every type meets every command."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def key(self) -> bytes:
        return self.rng.choice((b"string", b"list", b"set", b"hash", b"zset", b"other", b"k" * 200, b"k" * 2000))

    def member(self) -> bytes:
        rng = self.rng
        if rng.random() < 0.02:
            return b"m" * rng.choice((0, 64, 65, 247, 248, 249, 256, 1100, 3000))
        return b"%d" % rng.randrange(200) if rng.random() < 0.5 else b"m%d" % rng.randrange(200)

    def score(self) -> bytes:
        rng = self.rng
        odd = (b"0", b"-0", b"007", b"1.5", b"-3", b"1e3", b"inf", b"x", b"", b"-", b"9" * 15, b"9" * 16, b"1.0", b"+1")
        return rng.choice(odd) if rng.random() < 0.3 else b"%d" % rng.randrange(-20, 20)

    def index(self) -> bytes:
        rng = self.rng
        return rng.choice(NUMBERS) if rng.random() < 0.1 else b"%d" % rng.randrange(-60, 60)

    def arguments(self, name: bytes) -> list[bytes]:
        rng = self.rng
        if name == b"MSET":
            return [text for _ in range(rng.randrange(1, 4)) for text in (self.key(), self.member())]
        if name in (b"RENAME", b"COPY"):
            return [self.key(), self.key()]
        if name == b"EXPIRE":
            return [self.key(), rng.choice((b"100", b"1000"))]
        if name in (b"SSCAN", b"ZSCAN"):
            return [self.key(), b"0"]
        if name == b"ZADD":
            return [self.key(), self.score(), self.member()]
        if name == b"HSET":
            return [self.key(), self.member(), self.member()]
        if name == b"LRANGE":
            return [self.key(), self.index(), self.index()]
        single = name in (b"DEL", b"INCR") or (b"POP" in name)
        return [self.key()] if single else [self.key(), self.member()]

    def line(self) -> list[bytes]:
        rng = self.rng
        if rng.random() < 0.02:
            return [b"SET", b"string", rng.choice(NUMBERS)]
        name = rng.choice(NAMES if rng.random() < 0.97 else CHANGES)
        line = [name, *self.arguments(name)]
        if rng.random() < 0.03:
            line.append(self.member())
        return line if TABLE[name].arity_fits(len(line)) else [b"INCR", b"string"]


def alike(sides: tuple[Side, Side], lines: Lines, count: int) -> None:
    for _ in range(count):
        line = lines.line()
        assert sides[0].run(line) == sides[1].run(line), line
        assert sides[0].tx.records == sides[1].tx.records
    assert sides[0].state() == sides[1].state()
    for side in sides:
        side.tx.db._check()
        for value in dict.values(side.tx.db):
            if hasattr(value, "_check"):
                value._check()


def two(seed: int, moody: bool = False) -> tuple[Side, Side]:
    logs = (MoodyLog(seed), MoodyLog(seed)) if moody else (None, None)
    return Side(seed, True, logs[0]), Side(seed, False, logs[1])


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_random_lines_come_out_the_same(seed: int, resp3: bool) -> None:
    sides = two(seed)
    lines = Lines(seed)
    for side in sides:
        side.tx.speak(resp3)
    for _ in range(10):
        alike(sides, lines, 300)
        for side in sides:
            side.tx.now_ms += 150_000
            side.tx.records.clear()


@pytest.mark.parametrize("seed", range(5))
def test_a_log_that_refuses_leaves_the_same(seed: int) -> None:
    sides = two(seed, moody=True)
    alike(sides, Lines(seed), 2000)


def test_events_and_uses_are_kept_the_same() -> None:
    sides = two(1)
    lines = Lines(1)
    for side in sides:
        side.tx.notifying = -1
    alike(sides, lines, 1000)
    for side in sides:
        side.tx.notifying = 0
        side.tx.db.follow_uses(Recency(side.tx))
    alike(sides, lines, 1000)


@pytest.mark.parametrize("scores", [3, 100_000])
def test_large_sorted_sets_come_out_the_same_while_blocks_are_cut_and_joined(scores: int) -> None:
    sides = two(2)
    rng = Random(2)
    for number in range(12_000):
        grows = rng.random() < (0.8 if number < 7000 else 0.2)
        line = [b"ZADD", b"z", b"%d" % rng.randrange(scores), b"m%d" % rng.randrange(9000)]
        if not grows:
            line = [rng.choice((b"ZPOPMIN", b"ZPOPMAX")), b"z"]
        elif rng.random() < 0.05:
            line = [b"ZRANK", b"z", line[3]]
        assert sides[0].run(line) == sides[1].run(line)
        if number % 1000 == 0 and b"z" in sides[0].tx.db:
            values = [side.tx.db[b"z"] for side in sides]
            assert values[0].order.members == values[1].order.members
            assert values[0].order.scores == values[1].order.scores
            values[0]._check()
    assert sides[0].state() == sides[1].state()


def test_large_sets_and_hashes_come_out_the_same() -> None:
    sides = two(3)
    rng = Random(3)
    for number in range(8000):
        member = b"m%d" % rng.randrange(5000)
        lines = [b"SADD", b"s", member], [b"SPOP", b"s"], [b"SREM", b"s", member], [b"HSET", b"h", member, b"v"]
        line = lines[rng.choices(range(4), (5, 2 if number < 5000 else 6, 1, 3))[0]]
        assert sides[0].run(line) == sides[1].run(line)
    assert sides[0].state() == sides[1].state()
    assert sides[0].tx.db[b"s"].order.entries == sides[1].tx.db[b"s"].order.entries
    sides[0].tx.db[b"s"]._check()
    sides[0].tx.db[b"h"]._check()


def test_ranges_of_a_list_of_many_blocks_come_out_the_same() -> None:
    sides = two(4)
    rng = Random(4)
    for _ in range(600):
        line = [rng.choice((b"LPUSH", b"RPUSH")), b"l", b"x" * rng.choice((1, 9, 100, 240, 300))]
        assert sides[0].run(line) == sides[1].run(line)
    for _ in range(2000):
        start, stop = rng.randrange(-700, 700), rng.randrange(-700, 700)
        line = [b"LRANGE", b"l", b"%d" % start, b"%d" % stop]
        assert sides[0].run(line) == sides[1].run(line)


@pytest.mark.parametrize("name", NAMES)
def test_the_common_form_does_without_the_handler(name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(1, True)
    for n in range(200):
        side.run([b"ZADD", b"zset", b"%d" % n, b"%d" % n])
        side.run([b"SADD", b"set", b"m%d" % n])
        side.run([b"LPUSH", b"list", b"%d" % n])
        side.run([b"RPUSH", b"list", b"x" * n])
        side.run([b"HSET", b"hash", b"%d" % n, b"%d" % n])
    side.run([b"SPOP", b"set"])
    common = {b"MSET": [b"a", b"1", b"b", b"2"], b"INCR": [b"string"], b"ZADD": [b"zset", b"5", b"7"],
              b"HSET": [b"hash", b"a", b"b"], b"SADD": [b"set", b"x"], b"SPOP": [b"set"]}  # fmt: skip
    for kind in (b"LPUSH", b"RPUSH"):
        common[kind] = [b"list", b"e"]
    common[b"LRANGE"] = [b"list", b"10", b"40"]
    for kind in (b"LPOP", b"RPOP"):
        common[kind] = [b"list"]
    for kind in (b"ZPOPMIN", b"ZPOPMAX"):
        common[kind] = [b"zset"]
    plain = TABLE[name].handler
    asked: list[int] = []
    monkeypatch.setattr(sys.modules[plain.__module__], plain.__name__, lambda *_: asked.append(1))
    SHORTCUTS[plain](side.tx, [name, *common[name]])
    assert not asked
