"""A script that takes long: everybody else is told so, it can be killed, and nothing is mixed up.

On a real server, whose loop turns while the script runs.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oracle_harness import encode, read_frame
from server_harness import PerdureServer

from perdure.store import script_errors

LOOP = b"while true do end"
BUSY = b"-" + script_errors.BUSY_SCRIPT + b"\r\n"
BUSY_FUNCTION = b"-" + script_errors.BUSY_FUNCTION + b"\r\n"
WAITS = b"redis.call('set', KEYS[1], 'begun') while true do end"


class Talk:
    """One connection."""

    def __init__(self, server: PerdureServer) -> None:
        self.socket = server.connect(30)
        self.stream = self.socket.makefile("rb")

    def send(self, *argv: bytes) -> None:
        self.socket.sendall(encode(argv))

    def read(self) -> bytes:
        return read_frame(self.stream)

    def __call__(self, *argv: bytes) -> bytes:
        self.send(*argv)
        return self.read()

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    """One server for the tests that leave it running."""
    with PerdureServer(tmp_path_factory.mktemp("shared"), "--busy-reply-threshold", "20") as server:
        server.start()
        yield server


@pytest.fixture
def talk(shared: PerdureServer) -> Iterator[Callable[[], Talk]]:
    yield from connections(shared)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PerdureServer]:
    """A server of the test's own."""
    with PerdureServer(tmp_path / "data", "--busy-reply-threshold", "20") as server:
        server.start()
        yield server


@pytest.fixture
def own_talk(server: PerdureServer) -> Iterator[Callable[[], Talk]]:
    yield from connections(server)


def connections(server: PerdureServer) -> Iterator[Callable[[], Talk]]:
    """What makes connections, all of which are closed in the end; the server is emptied before."""
    talks: list[Talk] = []

    def begin() -> Talk:
        talks.append(Talk(server))
        return talks[-1]

    begin()(b"FLUSHALL")
    yield begin
    for one in talks:
        one.close()


def until_busy(other: Talk, busy: bytes = BUSY) -> None:
    """Ask until the script has taken too long."""
    while other(b"PING") != busy:
        pass


def test_others_are_told_that_a_script_runs_and_may_kill_it(talk: Callable[[], Talk]) -> None:
    caller, other = talk(), talk()
    caller.send(b"EVAL", LOOP, b"0")
    caller.send(b"SET", b"behind", b"1")
    until_busy(other)
    for line in (
        [b"GET", b"k"],
        [b"EVAL", b"return 1", b"0"],
        [b"FUNCTION", b"LIST"],
        [b"INFO"],
        [b"SCRIPT", b"FLUSH"],
    ):
        assert other(*line) == BUSY
    assert other(b"NOSUCH").startswith(b"-ERR unknown command")
    assert other(b"GET").startswith(b"-ERR wrong number")
    assert other(b"FUNCTION", b"KILL") == BUSY
    stats = other(b"FUNCTION", b"STATS")
    assert b"running_script" in stats and LOOP in stats and b"duration_ms" in stats
    assert other(b"MULTI") == b"+OK\r\n"
    assert other(b"SET", b"a", b"b") == BUSY
    assert other(b"EXEC").startswith(b"-EXECABORT Transaction discarded because of: BUSY")
    newcomer = talk()
    assert newcomer(b"SCRIPT", b"KILL") == b"+OK\r\n"
    assert caller.read().startswith(b"-ERR Script killed by user with SCRIPT KILL. script: ")
    assert caller.read() == b"+OK\r\n"
    assert other(b"GET", b"behind") == b"$1\r\n1\r\n"
    assert other(b"SCRIPT", b"KILL") == b"-" + script_errors.NOT_BUSY + b"\r\n"


@pytest.mark.parametrize(
    "source",
    [
        b"while true do pcall(function() while true do end end) end",
        b"while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        b"coroutine.wrap(function() while true do end end)()",
        b"while true do xpcall(function() while true do end end, function() while true do end end) end",
        b"local function f() return f() end f()",
        b"while true do redis.call('ping') end",
        b"while true do pcall(redis.call, 'nosuch') end",
        b"table.sort({3, 2, 1}, function() while true do end end)",
        b"string.gsub('x', 'x', function() while true do end end)",
        b"setmetatable({}, {__index = function() while true do end end}).x = nil; "
        b"local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        b"load(function() while true do end end)",
        b"local t = {} for i = 1, 1e6 do t[i] = i end while true do cjson.encode(t) end",
    ],
)
def test_no_loop_escapes_its_killer(talk: Callable[[], Talk], source: bytes) -> None:
    caller, other = talk(), talk()
    caller.send(b"EVAL", source, b"0")
    until_busy(other)
    assert other(b"SCRIPT", b"KILL") == b"+OK\r\n"
    assert caller.read().startswith(b"-ERR Script killed by user with SCRIPT KILL.")
    assert caller(b"EVAL", b"return redis.call('ping')", b"0") == b"+PONG\r\n"


def test_a_script_that_has_written_cannot_be_killed_and_is_whole(talk: Callable[[], Talk]) -> None:
    caller, other = talk(), talk()
    source = (
        b"redis.call('set', 'a', 1) for i = 1, 2e7 do end "
        b"redis.call('select', 3) redis.call('set', 'b', 2) return 'done'"
    )
    caller.send(b"EVAL", source, b"0")
    until_busy(other)
    assert other(b"SCRIPT", b"KILL") == b"-" + script_errors.UNKILLABLE + b"\r\n"
    assert caller.read() == b"$4\r\ndone\r\n"
    assert other(b"GET", b"a") == b"$1\r\n1\r\n"
    assert other(b"SELECT", b"3") == b"+OK\r\n"
    assert other(b"GET", b"b") == b"$1\r\n2\r\n"
    assert caller(b"DBSIZE") == b":1\r\n"


def test_a_transaction_with_a_slow_script_is_one(talk: Callable[[], Talk]) -> None:
    caller, other = talk(), talk()
    other(b"SET", b"n", b"0")
    for line in ([b"MULTI"], [b"INCR", b"n"], [b"EVAL", b"for i = 1, 2e7 do end return KEYS[1]", b"1", b"key"],
                 [b"INCR", b"n"], [b"EXEC"]):  # fmt: skip
        caller.send(*line)
    assert [caller.read() for _ in range(4)] == [b"+OK\r\n"] + 3 * [b"+QUEUED\r\n"]
    until_busy(other)
    assert caller.read() == b"*3\r\n:1\r\n$3\r\nkey\r\n:2\r\n"
    assert other(b"GET", b"n") == b"$1\r\n2\r\n"


def test_functions_are_killed_by_their_own_command(talk: Callable[[], Talk]) -> None:
    caller, other = talk(), talk()
    library = b"#!lua name=l\nredis.register_function('f', function() while true do end end)"
    assert other(b"FUNCTION", b"LOAD", library) == b"$1\r\nl\r\n"
    caller.send(b"FCALL", b"f", b"0")
    until_busy(other, BUSY_FUNCTION)
    assert other(b"SCRIPT", b"KILL") == BUSY_FUNCTION
    assert other(b"FUNCTION", b"KILL") == b"+OK\r\n"
    assert caller.read().startswith(b"-ERR Script killed by user with FUNCTION KILL. script: f, on @user_function:2.")


def test_a_caller_that_leaves_does_not_stop_its_script(talk: Callable[[], Talk]) -> None:
    caller, other, half = talk(), talk(), talk()
    caller.send(b"EVAL", b"redis.call('incr', 'n') for i = 1, 2e7 do end redis.call('incr', 'n')", b"0")
    until_busy(other)
    caller.close()
    while (reply := other(b"GET", b"n")) == BUSY:
        pass
    assert reply == b"$1\r\n2\r\n"
    half.send(b"EVAL", b"for i = 1, 2e7 do end return 'late'", b"0")
    half.socket.shutdown(socket.SHUT_WR)
    assert half.read() == b"$4\r\nlate\r\n"
    assert half.stream.read() == b""


def test_time_expiry_and_waiting_clients_stand_still_meanwhile(talk: Callable[[], Talk]) -> None:
    caller, other, waiter, listener = talk(), talk(), talk(), talk()
    listener(b"SUBSCRIBE", b"news")
    waiter.send(b"BLPOP", b"list", b"0")
    other(b"SET", b"due", b"v", b"PX", b"60")
    source = (
        b"redis.call('rpush', 'list', 'x') redis.call('publish', 'news', 'half') for i = 1, 4e7 do end "
        b"return {redis.call('llen', 'list'), redis.call('get', 'due')}"
    )
    caller.send(b"EVAL", source, b"0")
    until_busy(other)
    assert caller.read() == b"*2\r\n:1\r\n$1\r\nv\r\n"
    assert waiter.read() == b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n"
    assert listener.read().endswith(b"half\r\n")


def test_shutdown_drops_what_a_script_has_half_done(server: PerdureServer, own_talk: Callable[[], Talk]) -> None:
    caller, other = own_talk(), own_talk()
    assert other(b"SET", b"before", b"1") == b"+OK\r\n"
    caller.send(b"EVAL", b"redis.call('set', 'half', 1) redis.call('set', 'half2', 1) while true do end", b"0")
    until_busy(other)
    other.send(b"SHUTDOWN", b"NOSAVE")
    assert server.process is not None
    assert server.process.wait(30) == 0
    server.start()
    again = own_talk()
    assert again(b"MGET", b"before", b"half", b"half2") == b"*3\r\n$1\r\n1\r\n$-1\r\n$-1\r\n"


def test_shutdown_drops_a_transaction_whose_script_does_not_end(
    server: PerdureServer, own_talk: Callable[[], Talk]
) -> None:
    caller, other = own_talk(), own_talk()
    for line in ([b"MULTI"], [b"SET", b"half", b"1"], [b"EVAL", LOOP, b"0"], [b"SET", b"half2", b"1"], [b"EXEC"]):
        caller.send(*line)
    until_busy(other)
    assert server.terminate() == 0
    server.start()
    assert own_talk()(b"DBSIZE") == b":0\r\n"


def test_a_killed_server_keeps_all_of_a_script_or_nothing(server: PerdureServer, own_talk: Callable[[], Talk]) -> None:
    caller, other = own_talk(), own_talk()
    caller(b"EVAL", b"for i = 1, 50 do redis.call('set', 'k' .. i, i) end", b"0")
    caller.send(b"EVAL", b"for i = 1, 50 do redis.call('set', 'half' .. i, i) end while true do end", b"0")
    until_busy(other)
    server.kill9()
    server.start()
    assert own_talk()(b"DBSIZE") == b":50\r\n"


def test_zero_is_never_too_long(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "patient", "--busy-reply-threshold", "0") as patient:
        patient.start()
        caller, other = Talk(patient), Talk(patient)
        caller.send(b"EVAL", b"for i = 1, 2e7 do end return 1", b"0")
        assert other(b"PING") == b"+PONG\r\n"
        assert caller.read() == b":1\r\n"
        caller.close()
        other.close()
