"""MIGRATE: from stock and from ours, to stock, to ours, and to targets that are ill; replies and what is where."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from fake_targets import END, FakeTarget, Script
from server_harness import PerdureServer, ServerProcess, StockServer, free_port

pytestmark = pytest.mark.oracle

OPTIONS = ("--enable-debug-command", "yes", "--notify-keyspace-events", "KEA")
MILLION_MS = 1_000_000


class Four(NamedTuple):
    """A stock server and ours, as sources; and as targets."""

    sources: tuple[ServerProcess, ServerProcess]
    targets: tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Four]:
    folder = tmp_path_factory.mktemp("migrate")
    with (
        StockServer(folder / "stock", *OPTIONS) as stock,
        PerdureServer(folder / "ours", *OPTIONS) as ours,
        StockServer(folder / "stock target", *OPTIONS, tcp=True) as stock_target,
        PerdureServer(folder / "our target", *OPTIONS, tcp=True) as our_target,
    ):
        yield Four((stock.start(), ours.start()), (stock_target.start(), our_target.start()))


def ask(client: redis.Redis, line: str | list[Any]) -> Any:
    """A reply; an error as its text."""
    words = shlex.split(line) if isinstance(line, str) else line
    client.response_callbacks.clear()
    try:
        return client.execute_command(*words)
    except redis.ResponseError as error:
        return f"-{error}"


def contents(client: redis.Redis) -> dict[bytes, Any]:
    """Type, payload, and whether it expires, by key: payloads of both are the same, but for tables' order."""
    out = {}
    for key in ask(client, "KEYS *"):
        ttl = ask(client, ["PTTL", key])
        kind = ask(client, ["TYPE", key])
        value = ask(client, {b"string": ["GET", key], b"list": ["LRANGE", key, 0, -1], b"hash": ["HGETALL", key],
                             b"set": ["SMEMBERS", key], b"zset": ["ZRANGE", key, 0, -1, "WITHSCORES"],
                             b"stream": ["XINFO", "STREAM", key, "FULL"]}[kind])  # fmt: skip
        out[key] = kind, sorted(value) if kind in (b"hash", b"set") else value, ttl > 0 and round(ttl, -5)
    return out


FILL: list[str | list[Any]] = [
    "SET s v", "SET e v PX 1000000", "RPUSH l a b c", "HSET h a 1 b 2", "SADD si 1 2 3", "SADD st a b c", "SET n 12345",
    "ZADD z 1 a 2.5 b", "XADD x 1-1 a b", "XGROUP CREATE x g 0", ["SET", "big", "abcdefgh" * 40_000],
    ["RPUSH", "many", *range(5000)],
]  # fmt: skip
T = "MIGRATE 127.0.0.1 PORT"

DIALOGS: dict[str, list[str]] = {
    "a key": [f"{T} s 0 5000", "EXISTS s", f"{T} s 0 5000"],
    "each type": [f"{T} {key} 0 5000" for key in ("s", "e", "l", "h", "si", "st", "n", "z", "x", "big", "many")],
    "all at once": [f"{T} '' 0 5000 KEYS s e l h si st n z x big many no s"],
    "to another database": [f"{T} s 7 5000", f"{T} l 7 5000", f"{T} h 0 5000"],
    "from another database": ["SELECT 3", "SET t 1", f"{T} t 0 5000", "EXISTS t", f"{T} s 0 5000"],
    "a database that there is not": [f"{T} s 16 5000", f"{T} s -1 5000", f"{T} s x 5000", f"{T} s 0 5000"],
    "copies": [f"{T} s 0 5000 COPY", "GET s", f"{T} '' 0 5000 COPY KEYS l h", "LLEN l"],
    "what is there": [f"{T} s 0 5000 COPY", f"{T} s 0 5000", "SET s other", f"{T} s 0 5000 REPLACE", "EXISTS s"],
    "some are there": [f"{T} l 0 5000 COPY", f"{T} '' 0 5000 KEYS s l h", "EXISTS s l h",
                       f"{T} '' 0 5000 REPLACE KEYS l"],
    "a key twice": [f"{T} '' 0 5000 KEYS s s", "EXISTS s", f"{T} '' 0 5000 REPLACE KEYS l l"],
    "no key": [f"{T} no 0 5000", f"{T} '' 0 5000 KEYS no nor", f"{T} '' 0 5000", f"{T} '' 0 5000 KEYS", f"{T} no x y",
               "SET '' empty", f"{T} '' 0 5000", "EXISTS ''"],
    "the words": [
        "MIGRATE", f"{T}", f"{T} s 0", f"{T} s 0 x", f"{T} s x 0", f"{T} s 0 5000 BAD", f"{T} s 0 5000 AUTH",
        f"{T} s 0 5000 AUTH2 a", f"{T} s 0 5000 KEYS s", f"{T} s 0 x KEYS s", f"{T} s 0 5000 AUTH2",
        f"{T} s 0 x BAD", f"{T} s 0 1.5", f"{T} s 0 99999999999999999999", f"{T} s 0 5000 copy replace keys",
        f"{T} s 0 -5 COPY COPY", "MIGRATE '' 1 s 0 100", "MIGRATE 127.0.0.1 x s 0 100", "MIGRATE 127.0.0.1 0 s 0 100",
        "MIGRATE 127.0.0.1 -5 s 0 100", "MIGRATE no.such.host.invalid 1 s 0 100", "MIGRATE 127.0.0.1 99999 s 0 100",
        "EXISTS s",
    ],
    "a password that nobody asked for": [f"{T} s 0 5000 AUTH x", "EXISTS s", f"{T} s 0 5000 AUTH2 u p",
                                         f"{T} s 0 5000"],
    "in a transaction": ["MULTI", f"{T} s 0 5000", "GET s", f"{T} l 0 5000 COPY", f"{T} l 0 5000", "SET s again",
                         "EXEC", "GET s"],
    "in a script": ["""EVAL "return redis.call('MIGRATE', '127.0.0.1', ARGV[1], KEYS[1], 0, 5000)" 1 s PORT""",
                    "EXISTS s",
                    """EVAL "return redis.pcall('MIGRATE', '127.0.0.1', ARGV[1], KEYS[1], 16, 5000)" 1 l PORT""",
                    """EVAL "return redis.call('MIGRATE', '127.0.0.1', ARGV[1], KEYS[1], 16, 5000)" 1 l PORT"""],
    "a pipeline of moves": [f"{T} s 0 5000", f"{T} l 0 5000", "GET s", "LLEN l", "SET s 2", f"{T} s 0 5000"],
}  # fmt: skip


def start(server: ServerProcess, lines: list[Any]) -> redis.Redis:
    client = server.client(single_connection_client=True)
    ask(client, "SELECT 0")
    ask(client, "FLUSHALL")
    for line in lines:
        reply = ask(client, line)
        assert not str(reply).startswith("-"), reply
    return client


def play(source: ServerProcess, target: ServerProcess, lines: list[str]) -> tuple[Any, ...]:
    """Replies, and what is at the source, in the target's databases 0 and 7."""
    theirs = start(target, [])
    mine = start(source, FILL)
    replies = [ask(mine, line.replace("PORT", str(target.port))) for line in lines]
    ask(mine, "SELECT 0")
    here, there = contents(mine), contents(theirs)
    ask(theirs, "SELECT 7")
    other = contents(theirs)
    mine.close()
    theirs.close()
    return list(map(str, replies)), here, there, other


@pytest.mark.parametrize("name", DIALOGS)
def test_replies_and_what_is_where_are_those_of_stock(four: Four, name: str) -> None:
    stock, ours = four.sources
    expected = play(stock, four.targets[0], DIALOGS[name])
    for source, target in ((ours, four.targets[0]), (stock, four.targets[1]), (ours, four.targets[1])):
        assert play(source, target, DIALOGS[name]) == expected


GUARDED: dict[str, tuple[list[str], list[str]]] = {
    "a password": (
        ["CONFIG SET requirepass secret"],
        [f"{T} s 0 5000", f"{T} s 0 5000 AUTH wrong", f"{T} '' 0 5000 AUTH wrong KEYS s l", f"{T} s 0 5000 AUTH secret",
         f"{T} l 0 5000 AUTH secret", f"{T} '' 0 5000 AUTH2 default secret KEYS h z"],
    ),
    "a user": (
        ["ACL SETUSER mover on >pass +auth +select +restore ~s ~l"],
        [f"{T} s 0 5000 AUTH2 mover wrong", f"{T} s 0 5000 AUTH2 mover pass", f"{T} h 0 5000 AUTH2 mover pass",
         f"{T} '' 0 5000 AUTH2 mover pass KEYS l h", f"{T} z 0 5000"],
    ),
    "no memory": (["SET filler " + "x" * 100, "CONFIG SET maxmemory 1"], [f"{T} s 0 5000", f"{T} '' 0 5000 KEYS s l"]),
    "writes paused and time over": (["CLIENT PAUSE 100000 WRITE"], [f"{T} s 0 100"]),
}  # fmt: skip
BACK = ["CONFIG SET requirepass ''", "CONFIG SET maxmemory 0", "CLIENT UNPAUSE", "ACL DELUSER mover", "FLUSHALL"]


@pytest.mark.parametrize("name", GUARDED)
def test_targets_that_refuse(four: Four, name: str) -> None:
    prepare, lines = GUARDED[name]
    found = []
    for target in four.targets:
        for source in four.sources:
            theirs = start(target, prepare)
            mine = start(source, FILL)
            try:
                replies = [ask(mine, line.replace("PORT", str(target.port))) for line in lines]
                if name.startswith("writes paused"):
                    ask(theirs, "CLIENT UNPAUSE")
                    time.sleep(0)
                    ask(theirs, "PING")
                found.append((replies, sorted(contents(mine))))
            finally:
                for line in BACK:
                    ask(theirs, line)
                mine.close()
                theirs.close()
    assert found[1] == found[2] == found[3] == found[0]


def test_a_replica_takes_nothing(four: Four) -> None:
    """Stock as the target: it is a replica of a server that there is not."""
    target = four.targets[0]
    found = []
    for source in four.sources:
        theirs = start(target, [f"REPLICAOF 127.0.0.1 {free_port()}"])
        mine = start(source, ["SET s v"])
        found.append((ask(mine, f"MIGRATE 127.0.0.1 {target.port} s 0 5000"), ask(mine, "GET s")))
        ask(theirs, "REPLICAOF NO ONE")
        theirs.close()
        mine.close()
    assert found[1] == found[0] and "READONLY" in found[0][0]


def test_deadlines_go_along(four: Four) -> None:
    for source in four.sources:
        for target in four.targets:
            theirs = start(target, [])
            mine = start(source, ["SET k v PX 1000000"])
            at = int(ask(mine, "PEXPIRETIME k"))
            assert ask(mine, f"MIGRATE 127.0.0.1 {target.port} k 0 5000") == b"OK"
            assert 0 <= int(ask(theirs, "PEXPIRETIME k")) - at < 5000
            mine.close()
            theirs.close()


def test_the_deletion_is_logged_as_del_and_told(four: Four) -> None:
    told = []
    for source in four.sources:
        theirs = start(four.targets[0], [])
        mine = start(source, ["SET s v", "SET t v"])
        with source.client() as other:
            listening = other.pubsub()
            listening.psubscribe("__key*")
            assert listening.get_message(timeout=5)
            ask(mine, f"MIGRATE 127.0.0.1 {four.targets[0].port} '' 0 5000 KEYS s no t")
            ask(mine, "SET end v")
            got = []
            while not got or got[-1][1] != b"end":
                message = listening.get_message(timeout=5)
                assert message is not None
                got.append((message["channel"], message["data"]))
            told.append(got)
            listening.close()
        mine.close()
        theirs.close()
    assert told[1] == told[0]
    log = b"".join(path.read_bytes() for path in sorted(four.sources[1].directory.rglob("*.incr.aof")))
    assert b"*3\r\n$3\r\nDEL\r\n$1\r\ns\r\n$1\r\nt\r\n" in log


# ---- targets that are ill --------------------------------------------------------------

PLUS = b"+OK\r\n"
ILL: dict[str, tuple[list[Script], str]] = {
    "closes at once, then is well": ([[END], [PLUS, PLUS]], "s 0 5000"),
    "closes at once, twice": ([[END], [END]], "s 0 5000"),
    "closes after SELECT, then is well": ([[PLUS, END], [PLUS, PLUS]], "s 0 5000"),
    "closes after the first of three": ([[PLUS, PLUS, END], [PLUS] * 4], "'' 0 5000 KEYS s l h"),
    "closes after the second copy": ([[PLUS, PLUS, PLUS, END], [PLUS] * 4], "'' 0 5000 COPY KEYS s l h"),
    "refuses one and closes": ([[PLUS, b"-ERR no\r\n", END], [PLUS] * 4], "'' 0 5000 KEYS s l h"),
    "refuses the second": ([[PLUS, PLUS, b"-ERR no\r\n", PLUS]], "'' 0 5000 KEYS s l h"),
    "refuses SELECT": ([[b"-ERR no\r\n", PLUS, PLUS]], "'' 0 5000 KEYS s l"),
    "refuses AUTH and SELECT": ([[b"-ERR a\r\n", b"-ERR b\r\n", b"-ERR c\r\n"]], "s 0 5000 AUTH x"),
    "says nothing": ([[b"", b""]], "s 0 100"),
    "says nothing after one": ([[PLUS, PLUS, b""]], "'' 0 100 KEYS s l"),
    "says half a line": ([[PLUS, b"+O"]], "s 0 100"),
    "says an empty line": ([[PLUS, b"\r\n"], [PLUS, b"\r\n"]], "s 0 5000"),
    "says nothing and a line's end": ([[PLUS, b"\n"], [PLUS, b"\n"]], "s 0 5000"),
    "says something else": ([[PLUS, b":1\r\n"]], "s 0 5000"),
}  # fmt: skip


@pytest.mark.parametrize("name", ILL)
@pytest.mark.parametrize("within", ["", "MULTI"])
def test_targets_that_are_ill(four: Four, name: str, within: str) -> None:
    scripts, words = ILL[name]
    found = []
    for source in four.sources:
        mine = start(source, FILL)
        with FakeTarget(*scripts) as target:
            if within:
                ask(mine, "MULTI")
            reply = ask(mine, f"MIGRATE 127.0.0.1 {target.port} {words}")
            if within:
                reply = [str(part) for part in ask(mine, "EXEC")]
            heard = [[word.lower() for word in line] for line in target.heard]
            found.append((reply, heard, target.connections, sorted(contents(mine))))
        mine.close()
    assert found[1] == found[0]


def test_a_target_that_has_ended_is_named(four: Four, tmp_path: Path) -> None:
    """The connection that was kept breaks, and there is no other."""
    found = []
    for source in four.sources:
        with StockServer(tmp_path / str(len(found)), tcp=True) as target:
            target.start()
            mine = start(source, ["SET s v", "SET t v"])
            replies = [ask(mine, f"MIGRATE 127.0.0.1 {target.port} s 0 5000")]
            target.kill9()
            replies.append(ask(mine, f"MIGRATE 127.0.0.1 {target.port} t 0 5000"))
            target.command = ["true"]
        found.append((replies, ask(mine, "EXISTS s t")))
        mine.close()
    assert found[1] == found[0]


def test_connections_are_kept_and_counted(four: Four) -> None:
    found = []
    for source in four.sources:
        mine = start(source, ["SET s v", "SET t v", "SET u v"])
        with FakeTarget([PLUS] * 10, [PLUS] * 10) as target:
            for key in "stu":
                assert ask(mine, f"MIGRATE 127.0.0.1 {target.port} {key} 0 5000") == b"OK"
            found.append((target.connections, len(target.heard)))
        stats = str(ask(mine, "INFO stats"))
        assert "migrate_cached_sockets:0" not in stats
        mine.close()
    assert found[1] == found[0] == (1, 4)


# ---- others meanwhile ------------------------------------------------------------------


@pytest.fixture
def moving(four: Four) -> Iterator[tuple[ServerProcess, redis.Redis, FakeTarget]]:
    """Ours with keys s and l on their way to a target that has not answered yet."""
    ours = four.sources[1]
    mine = start(ours, [*FILL, "SET other 1"])
    with FakeTarget([PLUS] * 10) as target:
        target.go_on.clear()
        mine.connection.send_command("MIGRATE", "127.0.0.1", target.port, "", 0, 60000, "KEYS", "s", "l")  # type: ignore[union-attr]
        assert target.came.wait(20)
        yield ours, mine, target
    mine.close()


WAITS = ["SET s 1", "APPEND s x", "RENAME other s", "COPY other s REPLACE", "FLUSHALL", "SWAPDB 0 1",
         "LMOVE l l2 LEFT LEFT", "MOVE s 5", "EVAL 'return 1' 0",
         "SORT many STORE l", "EXPIRE s 1", "MSET a 1 s 2", "BLPOP l 0"]  # fmt: skip


@pytest.mark.parametrize("line", WAITS)
def test_who_may_change_a_key_that_is_under_way_waits(moving: Any, line: str) -> None:
    ours, mine, target = moving
    with ours.client(single_connection_client=True) as other, ours.client() as third:
        other.connection.send_command(*shlex.split(line))
        while "cmd=" + line.split()[0].lower() not in str(ask(third, "CLIENT LIST")):
            pass
        assert ask(third, "GET s") == b"v"
        assert ask(third, "LRANGE l 0 -1") == [b"a", b"b", b"c"]
        assert not other.connection.can_read(0)
        target.go_on.set()
        assert mine.connection.read_response() == b"OK"
        if not line.startswith("BLPOP"):
            ask_error_or_reply(other)


def ask_error_or_reply(client: redis.Redis) -> Any:
    try:
        return client.connection.read_response()  # type: ignore[union-attr]
    except redis.ResponseError as error:
        return error


FREE = ["GET s", "SET other 2", "LRANGE l 0 -1", "INCR fresh", "EVAL_RO 'return redis.call(\"GET\", KEYS[1])' 1 s",
        "PING", "DEL h", "EXPIRE e 500", "PUBLISH c m", "SORT many LIMIT 0 1",
        "KEYS s", "BLPOP many 1", "TYPE s"]  # fmt: skip


def test_everybody_else_is_served_meanwhile(moving: Any) -> None:
    ours, mine, target = moving
    with ours.client(single_connection_client=True, socket_timeout=20) as other:
        for line in FREE:
            reply = ask(other, line)
            assert not str(reply).startswith("-"), (line, reply)
        ask(other, "MULTI")
        for line in ("GET s", "SET other 3"):
            ask(other, line)
        assert ask(other, "EXEC") == [b"v", b"OK"]
        assert ask(other, "EXISTS s l") == 2
        mine.connection.send_command("GET", "other")  # behind the MIGRATE of the same client
        target.go_on.set()
        assert mine.connection.read_response() == b"OK"
        assert mine.connection.read_response() == b"3"
        assert ask(other, "EXISTS s l") == 0


def test_writes_that_waited_come_behind_the_move(moving: Any) -> None:
    ours, mine, target = moving
    others = [ours.client(single_connection_client=True) for _ in range(3)]
    for n, other in enumerate(others):
        other.connection.send_command("APPEND", "s", str(n))  # type: ignore[union-attr]
        with ours.client() as third:
            while str(ask(third, "CLIENT LIST")).count("cmd=append") <= n:
                pass
    target.go_on.set()
    assert mine.connection.read_response() == b"OK"
    assert [other.connection.read_response() for other in others] == [1, 2, 3]  # type: ignore[union-attr]
    assert ask(others[0], "GET s") == b"012"
    for other in others:
        other.close()


def test_nobody_is_served_into_a_key_that_is_under_way(moving: Any) -> None:
    """Who waited for one list, to push to another that is moved now."""
    ours, mine, target = moving
    with ours.client(single_connection_client=True) as other, ours.client(single_connection_client=True) as third:
        other.connection.send_command("BLPOP", "from", "0")
        while "cmd=blpop" not in str(ask(third, "CLIENT LIST")):
            pass
        assert ask(third, "RPUSH from x") == 1
        assert ask(third, "LLEN from") == 1 and not other.connection.can_read(0)
        target.go_on.set()
        assert mine.connection.read_response() == b"OK"
        assert other.connection.read_response() == [b"from", b"x"]


def test_the_move_ends_although_its_client_has_left(moving: Any) -> None:
    ours, mine, target = moving
    mine.connection.disconnect()
    with ours.client() as other:
        assert ask(other, "GET s") == b"v"
        target.go_on.set()
        while ask(other, "EXISTS s l"):
            pass
        assert ask(other, "SET s new") == b"OK"


def test_another_move_of_the_same_key_waits_for_the_first(moving: Any) -> None:
    ours, mine, target = moving
    with ours.client(single_connection_client=True) as other:
        other.connection.send_command("MIGRATE", "127.0.0.1", target.port, "s", 0, 5000)
        assert ask(mine_of(ours), "GET s") == b"v" and not other.connection.can_read(0)
        target.go_on.set()
        assert mine.connection.read_response() == b"OK"
        assert other.connection.read_response() == b"NOKEY"


def mine_of(server: ServerProcess) -> redis.Redis:
    return server.client()


def test_many_large_values_go_in_pieces(four: Four) -> None:
    """What the source needs beside its keys is bounded by the largest of them."""
    ours, target = four.sources[1], four.targets[0]
    mine, theirs = start(ours, []), start(target, [])
    value = bytes(range(256)) * 8192
    for n in range(40):
        mine.set(f"k{n}", value)
    before = ours.peak_resident_bytes()
    line = ["MIGRATE", "127.0.0.1", target.port, "", 0, 20000, "KEYS", *[f"k{n}" for n in range(40)]]
    assert ask(mine, line) == b"OK"
    assert ours.peak_resident_bytes() - before < 10 * len(value)
    assert ask(theirs, "DBSIZE") == 40 and ask(mine, "DBSIZE") == 0
    assert theirs.get("k7") == value
    mine.close()
    ask(theirs, "FLUSHALL")
    theirs.close()
