"""What scripts log: one group, effects only; replayed here and loaded by stock it makes the same keyspace."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from oracle_harness import Oracle, assert_same_state, commands_of, oracle_state, replayed
from server_in_process import InProcess

from perdure.server.scripting.libraries import libraries_of
from perdure.server.touched import touched
from perdure.store import value_types
from perdure.store.command import LOGGED, find

pytestmark = pytest.mark.oracle

LIBRARY = b"#!lua name=l\nredis.register_function('f', function(k, a) return redis.call('set', k[1], a[1]) end)"


class Logged(InProcess):
    """A server whose records are kept."""

    records: list[bytes]

    def __call__(self, *argv: bytes) -> bytes:
        reply = super().__call__(*argv)
        self.last = commands_of(self.server.tx.take())
        for line in self.last:
            self.payload.append(line)
        return reply

    payload: list[list[bytes]]
    last: list[list[bytes]]


@pytest.fixture
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    server = Logged(tmp_path_factory.mktemp("ours"))
    server.payload, server.last = [], []
    yield server
    server.close()


def script(ours: Logged, source: str, *arguments: bytes) -> list[list[bytes]]:
    """Run a script; what it logged, without SELECT."""
    ours(b"EVAL", source.encode(), *(arguments or (b"0",)))
    return [[line[0].upper(), *line[1:]] for line in ours.last if line[0] != b"SELECT"]


def test_one_write_is_logged_bare_and_several_as_one_group(ours: Logged) -> None:
    assert script(ours, "return 1") == []
    assert script(ours, "return redis.call('get', 'a')") == []
    assert script(ours, "redis.call('set', 'a', 1)") == [[b"SET", b"a", b"1"]]
    assert script(ours, "redis.call('set', 'a', 1) redis.call('incr', 'a')") == [
        [b"MULTI"], [b"SET", b"a", b"1"], [b"INCR", b"a"], [b"EXEC"],
    ]  # fmt: skip
    assert script(ours, "redis.call('del', 'nokey') redis.call('incr', 'a')") == [[b"INCR", b"a"]]


def test_effects_are_logged_and_not_the_script(ours: Logged) -> None:
    script(ours, "for i = 1, 9 do redis.call('sadd', 's', i) end")
    logged = script(ours, "redis.call('spop', 's') redis.call('expire', 's', 100)")
    assert [line[0].upper() for line in logged] == [b"MULTI", b"SREM", b"PEXPIREAT", b"EXEC"]


def test_what_was_written_before_an_error_stays_and_is_logged(ours: Logged) -> None:
    assert script(ours, "redis.call('set', 'a', 1) redis.call('set', 'b', 2) error('x')") == [
        [b"MULTI"], [b"SET", b"a", b"1"], [b"SET", b"b", b"2"], [b"EXEC"],
    ]  # fmt: skip
    assert ours(b"MGET", b"a", b"b") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


def test_a_script_in_a_transaction_is_part_of_its_group(ours: Logged) -> None:
    for line in ([b"MULTI"], [b"SET", b"x", b"1"], [b"EVAL", b"redis.call('set', 'y', 2)", b"0"],
                 [b"EVAL", b"return 1", b"0"]):  # fmt: skip
        ours(*line)
    ours(b"EXEC")
    names = [line[0].upper() for line in ours.last if line[0] != b"SELECT"]
    assert names == [b"MULTI", b"SET", b"SET", b"EXEC"]


def test_other_databases_are_selected_inside_the_group(ours: Logged) -> None:
    ours(b"EVAL", b"redis.call('set', 'a', 1) redis.call('select', 4) redis.call('set', 'b', 2)", b"0")
    assert ours.last == [
        [b"SELECT", b"0"], [b"MULTI"], [b"SET", b"a", b"1"], [b"SELECT", b"4"], [b"SET", b"b", b"2"], [b"EXEC"],
    ]  # fmt: skip
    ours(b"SET", b"c", b"3")
    assert ours.last == [[b"SELECT", b"0"], [b"SET", b"c", b"3"]]


STATEMENTS = [
    "redis.call('set', KEYS[{k}], '{v}')", "redis.call('incrby', 'n{k}', {v})", "redis.call('rpush', 'l{k}', {v}, {v})",
    "redis.call('lpop', 'l{k}')", "redis.call('sadd', 's{k}', {v})", "redis.call('spop', 's{k}')",
    "redis.call('hset', 'h{k}', 'f{v}', {v})", "redis.call('del', KEYS[{k}])", "redis.call('expire', KEYS[{k}], 1000)",
    "redis.call('select', {k})", "redis.pcall('incr', 'l{k}')", "redis.call('rename', KEYS[{k}], 'r{k}')",
    "redis.call('incrbyfloat', 'fl{k}', {v}.5)", "redis.call('append', KEYS[{k}], '{v}')", "redis.call('flushdb')",
    "redis.pcall('nosuch')", "redis.call('get', KEYS[{k}])", "redis.call('copy', KEYS[{k}], 'c{k}', 'replace')",
]  # fmt: skip


def random_script(rng: Random) -> bytes:
    """Statements, some of which fail and end it."""
    lines = [rng.choice(STATEMENTS).format(k=rng.randint(1, 3), v=rng.randrange(100)) for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.2:
        lines.append("error('x')")
    return " ".join(lines).encode()


@pytest.mark.parametrize("seed", range(2))
def test_random_scripts_replay_to_the_same_keyspace_here_and_in_stock(ours: Logged, seed: int) -> None:
    rng = Random(seed)
    payload = b""
    for _ in range(300):
        InProcess.__call__(ours, b"EVAL", random_script(rng), b"3", b"a", b"b", b"c")
        if rng.random() < 0.3:
            payload += ours.server.tx.take()
    payload += ours.server.tx.take()
    mine = replayed(payload, ours.server.now_ms() + 600_000)
    mine.check()
    expected = [
        ({key: value_types.of(value).plain(value) for key, value in db.items()}, dict(db.expires))
        for db in ours.server.keyspace.databases
    ]
    assert mine.raw_state() == expected
    stock = Oracle("--hz", "1", aof=payload)
    try:
        assert_same_state(oracle_state(stock), mine.state(), tolerance_ms=0)
    finally:
        stock.close()


def test_libraries_are_logged_and_come_back_here_and_in_stock(ours: Logged) -> None:
    other = b"#!lua name=other\nredis.register_function('g', function() return 7 end)"
    third = b"#!lua name=third\nredis.register_function('h', function() return 8 end)"
    for line in (
        [b"FUNCTION", b"LOAD", third], [b"FUNCTION", b"FLUSH"], [b"FUNCTION", b"LOAD", LIBRARY],
        [b"FUNCTION", b"LOAD", other], [b"FUNCTION", b"LOAD", b"REPLACE", other], [b"FUNCTION", b"LOAD", other],
        [b"FUNCTION", b"LOAD", third], [b"FUNCTION", b"DELETE", b"third"], [b"FUNCTION", b"DELETE", b"third"],
        [b"FCALL", b"f", b"1", b"k", b"v"], [b"FLUSHALL"], [b"FCALL", b"f", b"1", b"k", b"w"],
    ):  # fmt: skip
        ours(*line)
    names = [b" ".join(line[:2]).upper() for line in ours.payload if line[0].upper() == b"FUNCTION"]
    assert names == [b"FUNCTION LOAD", b"FUNCTION FLUSH", *[b"FUNCTION LOAD"] * 4, b"FUNCTION DELETE"]
    payload = b"".join(b"*%d\r\n" % len(line) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in line)
                       for line in ours.payload)  # fmt: skip
    mine = replayed(payload, ours.server.now_ms())
    libraries = libraries_of(mine.keyspace)
    assert sorted(libraries.by_name) == [b"l", b"other"]
    assert libraries.by_name[b"other"].code == other
    stock = Oracle(aof=payload)
    try:
        assert stock(b"FCALL", b"g", b"0") == b":7\r\n"
        assert stock(b"GET", b"k") == b"$1\r\nw\r\n"
        assert stock(b"FUNCTION", b"STATS") == ours(b"FUNCTION", b"STATS")
    finally:
        stock.close()


def test_a_restored_payload_is_logged_and_replayed(ours: Logged) -> None:
    ours(b"FUNCTION", b"LOAD", LIBRARY)
    dumped = ours(b"FUNCTION", b"DUMP").partition(b"\r\n")[2][:-2]
    ours(b"FUNCTION", b"FLUSH")
    ours(b"FUNCTION", b"RESTORE", dumped)
    assert ours.last == [[b"SELECT", b"0"], [b"FUNCTION", b"RESTORE", dumped]]
    payload = b"".join(b"*%d\r\n" % len(line) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in line)
                       for line in ours.payload)  # fmt: skip
    assert list(libraries_of(replayed(payload, 0).keyspace).by_name) == [b"l"]


def test_libraries_touch_no_key(ours: Logged) -> None:
    ours(b"WATCH", b"k")
    ours(b"FUNCTION", b"LOAD", LIBRARY)
    assert touched([b"*2\r\n$8\r\nFUNCTION\r\n$5\r\nFLUSH\r\n"], 0) == []
    assert find([b"FUNCTION", b"LOAD", b"x"], LOGGED) is not None
    ours(b"MULTI")
    assert ours(b"EXEC") == b"*0\r\n"


def test_a_watched_key_that_a_script_writes_breaks_the_transaction(ours: Logged) -> None:
    other = ours.server.new_client(None)  # type: ignore[arg-type]
    ours(b"WATCH", b"k")
    engine = ours.server.engine
    for source, reply in ((b"return redis.call('get', 'k')", b"*0\r\n"), (b"redis.call('set', 'k', 1)", b"*-1\r\n")):
        ours(b"WATCH", b"k")
        engine.enter(other)
        engine.execute(other, [b"EVAL", source, b"0"])
        ours(b"MULTI")
        assert ours(b"EXEC") == reply
