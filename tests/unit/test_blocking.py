"""Waiting clients in a server without sockets: order, batches, deadlines, back-pressure, and what it costs."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from server_model import FakeTransport

import perdure.server.commands  # noqa: F401 - fills the command table
from perdure.server.client import BLOCKED, WAITED
from perdure.server.config import Config
from perdure.server.connection import MAX_PENDING_BYTES, Connection
from perdure.server.log_gate import NoLogWriter
from perdure.server.logfile import Log
from perdure.server.server import Server
from perdure.server.touched import commands_of
from perdure.store.command import TABLE
from perdure.store.list_value import List
from perdure.store.resp import encode
from perdure.wal.writer import LogRefused

NOW_MS = 1_800_000_000_000


class Writer(NoLogWriter):
    """A log that keeps its batches, and is as slow, or as full, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[bytes] = []
        self.admits = 1 << 30
        self.slow = False

    def admit(self, nbytes: int) -> int:
        if not self.admits:
            raise LogRefused(errno.ENOSPC)
        self.admits -= 1
        return 0

    def commit(self, payload: bytes) -> int:
        self.batches.append(payload)
        if self.slow:
            self.busy = True
        else:
            self.safe = len(self.batches)
        return len(self.batches)


class Timer:
    """A timer of the loop's."""

    def __init__(self, at_ms: int, job: Callable[[], None]) -> None:
        self.at_ms = at_ms
        self.job = job
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose turns and time the test gives."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []
        self.now_ms = NOW_MS

    def call_soon(self, job: Callable[[], None]) -> None:
        self.soon.append(job)

    def call_later(self, seconds: float, job: Callable[[], None]) -> Timer:
        timer = Timer(self.now_ms + round(seconds * 1000), job)
        self.timers.append(timer)
        return timer


class Socket(FakeTransport):
    """A client's end: what came out, and whether it is read from."""

    def __init__(self) -> None:
        self.out = b""
        self.reads = True
        super().__init__(self._came)

    def _came(self, data: bytes) -> None:
        self.out += data

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out


class House:
    """A server, and connections to it."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        loop: Any = self.loop
        self.server = Server(Config(str(folder)), Log(str(folder / "log")), loop, Random(1))
        self.server.now_ms = lambda: self.loop.now_ms  # type: ignore[method-assign]
        self.writer = Writer()
        self.server.start_log(self.writer)
        self.engine = self.server.engine
        self.waits = self.engine.waits

    def connect(self) -> tuple[Connection, Socket]:
        connection, transport = Connection(self.server), Socket()
        connection.connection_made(transport)  # type: ignore[arg-type]
        return connection, transport

    def turn(self) -> None:
        """Everything that is to be done soon."""
        while self.loop.soon:
            jobs, self.loop.soon = self.loop.soon, []
            for job in jobs:
                job()

    def say(self, connection: Connection, *lines: str) -> None:
        """Commands in one chunk, and the turns of the loop behind it."""
        connection.data_received(b"".join(encode(line.encode().split()) for line in lines))
        self.turn()

    def pass_time(self, ms: int) -> None:
        """The clock goes on, and timers run."""
        self.loop.now_ms += ms
        due = [timer for timer in self.loop.timers if timer.at_ms <= self.loop.now_ms]
        self.loop.timers = [timer for timer in self.loop.timers if timer not in due]
        for timer in due:
            if not timer.cancelled:
                timer.job()
        self.turn()

    def logged(self) -> list[list[bytes]]:
        return [line for batch in self.writer.batches for line in commands_of(batch) if line[0] != b"SELECT"]

    def check(self) -> None:
        self.waits._check(list(self.server.clients.values()))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path)
    monkeypatch.setattr("perdure.server.connection.time_ns", lambda: house.loop.now_ms * 1_000_000)
    return house


def words(*lines: str) -> list[list[bytes]]:
    return [line.encode().split() for line in lines]


# ---- the log -----------------------------------------------------------------------------


def test_what_a_client_waited_for_is_logged_behind_what_brought_it(house: House) -> None:
    (waiter, got), (pusher, _) = house.connect(), house.connect()
    house.say(waiter, "BLMOVE a b LEFT RIGHT 0")
    house.say(pusher, "MULTI", "RPUSH a x", "RPUSH a y", "EXEC")
    assert got.take() == b"$1\r\nx\r\n"
    assert house.logged() == words("MULTI", "RPUSH a x", "RPUSH a y", "EXEC", "LMOVE a b LEFT RIGHT")
    house.check()


@pytest.mark.parametrize("line", ["BLPOP a 0", "BLMPOP 0 1 a LEFT", "BLMOVE a b LEFT LEFT 0"])
def test_the_answer_waits_for_the_batch_that_holds_it(house: House, line: str) -> None:
    """ANSWER-AFTER, for the one who pushed and for the one who was woken."""
    (waiter, got), (pusher, pushed) = house.connect(), house.connect()
    house.say(waiter, line)
    house.writer.slow = True
    house.say(pusher, "RPUSH a x")
    assert (got.take(), pushed.take()) == (b"", b"")
    house.writer.busy = False
    house.writer.safe = 1
    house.engine.log_progressed()
    house.turn()
    assert b"x\r\n" in got.take()
    assert pushed.take() == b":1\r\n"


def test_a_null_answer_waits_for_what_took_the_element_away(house: House) -> None:
    (waiter, got), (other, _) = house.connect(), house.connect()
    house.say(other, "RPUSH a x")
    house.writer.slow = True
    house.say(other, "DEL a")
    house.say(waiter, "BLPOP a 1")
    house.pass_time(1000)
    assert got.take() == b""
    house.writer.busy = False
    house.writer.safe = 2
    house.engine.log_progressed()
    house.turn()
    assert got.take() == b"*-1\r\n"


def test_a_log_that_refuses_ends_the_waiting_with_its_refusal(house: House) -> None:
    """REFUSE-WHOLE: the push is in, the pop is not."""
    (waiter, got), (pusher, pushed) = house.connect(), house.connect()
    house.say(waiter, "BLPOP a 0")
    house.writer.admits = 1
    house.say(pusher, "RPUSH a x")
    assert pushed.take() == b":1\r\n"
    assert got.take().startswith(b"-MISCONF ")
    assert list(house.server.keyspace.databases[0][b"a"]) == [b"x"]
    house.check()


# ---- who is woken --------------------------------------------------------------------------


def test_nobody_waits_and_nothing_of_it_runs(house: House) -> None:
    (waiter, got), (pusher, _) = house.connect(), house.connect()
    house.say(waiter, "BLPOP a 0")
    assert house.engine.state & WAITED
    house.say(pusher, "RPUSH a x")
    assert got.take()
    assert not house.engine.state & WAITED
    assert not house.waits.ready
    house.check()


def test_a_read_that_finds_the_key_expired_wakes_who_wants_to_know(house: House) -> None:
    (reader, _), (waiter, got) = house.connect(), house.connect()
    house.say(reader, "SET a x PX 10")
    asked: list[bytes] = []
    house.engine.enter(waiter.client)
    house.waits.add(waiter.client, [b"a"], 0, lambda tx, key: asked.append(key) or b"+gone\r\n", b"", None)
    house.pass_time(20)
    house.say(reader, "GET a")
    assert asked == [b"a"]
    assert got.take() == b"+gone\r\n"
    house.check()


def test_active_expiry_wakes_who_wants_to_know(house: House) -> None:
    (reader, _), (waiter, got) = house.connect(), house.connect()
    house.say(reader, "SET a x PX 10")
    house.waits.add(waiter.client, [b"a"], 0, lambda tx, key: b"+gone\r\n", b"", None)
    house.pass_time(20)
    house.server._expire()
    house.turn()
    assert got.take() == b"+gone\r\n"


def test_a_command_that_fails_within_itself_ends_the_waiting_and_nothing_else(house: House) -> None:
    (waiter, got), (pusher, pushed) = house.connect(), house.connect()

    def retry(tx: Any, key: bytes) -> bytes:
        raise RuntimeError("of the test")

    house.waits.add(waiter.client, [b"a"], 0, retry, b"", None)
    house.say(pusher, "SET a x")
    assert got.take().startswith(b"-ERR ")
    assert pushed.take() == b"+OK\r\n"
    house.check()


def test_one_element_costs_one_retry_however_many_wait(house: House) -> None:
    count = 9_999
    waiting = [house.connect() for _ in range(count)]
    asked = 0

    def retry(tx: Any, key: bytes) -> bytes | None:
        nonlocal asked
        asked += 1
        return TABLE[b"LPOP"].handler(tx, [b"LPOP", key])

    for connection, _ in waiting:
        house.waits.add(connection.client, [b"a", b"b"], NOW_MS + 1000, retry, b"", List)
    pusher, _ = house.connect()
    for n in range(50):
        house.say(pusher, f"RPUSH a {n}", "SET other x")
    assert asked == 50
    assert [got.take() for _, got in waiting[:50]] == [b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(50)]
    house.say(pusher, "SET a x", "APPEND a y", "DEL a", "RENAME other a", "DEL a")
    assert asked == 50
    for connection, _ in waiting[50:60]:
        connection.connection_lost(None)
    house.say(pusher, "RPUSH a " + " ".join(map(str, range(9000))))
    assert asked == 9050
    house.check()
    house.pass_time(1000)
    assert house.waits.count == 0
    assert not house.waits._queues
    assert not house.waits._names
    house.check()


def test_those_behind_one_who_wants_more_are_served(house: House) -> None:
    (first, got_first), (second, got_second), (pusher, _) = (house.connect() for _ in range(3))
    house.waits.add(first.client, [b"a"], 0, lambda tx, key: None, b"", List)
    house.waits.add(second.client, [b"a"], 0, lambda tx, key: b"+yes\r\n", b"", List)
    house.say(pusher, "RPUSH a x")
    assert (got_first.take(), got_second.take()) == (b"", b"+yes\r\n")
    house.check()


# ---- time ------------------------------------------------------------------------------------


def test_deadlines_pass_in_order_with_one_timer(house: House) -> None:
    rng = Random(4)
    waiting = []
    for ms in rng.sample(range(10, 5000), 300):
        connection, got = house.connect()
        house.say(connection, f"BLPOP a {ms / 1000}")
        waiting.append((ms, got))
        assert len([timer for timer in house.loop.timers if not timer.cancelled]) == 1
    for _ in range(50):
        house.pass_time(100)
        passed = house.loop.now_ms - NOW_MS
        assert all(got.out == (b"*-1\r\n" if ms <= passed else b"") for ms, got in waiting)
        house.check()
    assert house.waits.count == 0


def test_a_timer_that_comes_early_is_set_again(house: House) -> None:
    connection, got = house.connect()
    house.say(connection, "BLPOP a 10")
    house.loop.now_ms += 4000
    house.waits.time_passed()
    house.turn()
    assert got.out == b""
    house.check()
    house.pass_time(6000)
    assert got.out == b"*-1\r\n"


def test_a_deadline_beyond_all_timers_is_waited_for_in_pieces(house: House) -> None:
    connection, got = house.connect()
    house.say(connection, "BLPOP a 1000000")
    for _ in range(11):
        house.pass_time(86_400_000)
        assert got.out == b""
        house.check()
    house.pass_time(86_400_000)
    assert got.out == b"*-1\r\n"


def test_deadlines_of_those_who_were_served_do_not_pile_up(house: House) -> None:
    (waiter, got), (pusher, _) = house.connect(), house.connect()
    for _ in range(1000):
        house.say(waiter, "BLPOP a 100")
        house.say(pusher, "RPUSH a x")
        house.check()
    assert got.take().count(b"$1\r\nx\r\n") == 1000
    assert len(house.waits._heap) < 100


def test_who_waits_is_not_idle(house: House) -> None:
    (waiter, transport), (idler, idle) = house.connect(), house.connect()
    house.say(idler, "CONFIG SET timeout 1")
    house.say(waiter, "BLPOP a 0")
    for connection in (waiter, idler):
        connection.client.interaction_ms = 0
    house.server._cron()
    assert idle.closed
    assert not transport.closed


# ---- what is sent behind ---------------------------------------------------------------------


def test_what_is_sent_behind_a_blocked_command_is_bounded_and_runs_in_order(house: House) -> None:
    (waiter, got), (pusher, _) = house.connect(), house.connect()
    house.say(waiter, "PING 1", "BLPOP a 0", "PING 2", "BLPOP a 0", "PING 3")
    assert got.take() == b"$1\r\n1\r\n"
    assert got.reads
    chunk = encode([b"ECHO", b"x" * 10_000])
    sent = 0
    while got.reads:
        waiter.data_received(chunk)
        sent += 1
        assert sent * len(chunk) < 2 * MAX_PENDING_BYTES
    house.say(pusher, "RPUSH a x")
    assert got.take() == b"*2\r\n$1\r\na\r\n$1\r\nx\r\n$1\r\n2\r\n"
    assert waiter.client.state & BLOCKED
    assert not got.reads
    house.say(pusher, "RPUSH a y")
    assert got.take() == b"*2\r\n$1\r\na\r\n$1\r\ny\r\n$1\r\n3\r\n" + sent * (b"$10000\r\n" + b"x" * 10_000 + b"\r\n")
    assert got.reads
    house.check()


def test_a_request_cut_in_two_while_its_client_is_blocked_is_whole_afterwards(house: House) -> None:
    (waiter, got), (pusher, _) = house.connect(), house.connect()
    house.say(waiter, "BLPOP a 0")
    for part in (b"*2\r\n$4\r\nECHO\r\n$3\r", b"\nab", b"c\r\n*1\r\n$4\r\nPI"):
        waiter.data_received(part)
    house.say(pusher, "RPUSH a x")
    waiter.data_received(b"NG\r\nPING 2\r\n")
    house.turn()
    assert got.take() == b"*2\r\n$1\r\na\r\n$1\r\nx\r\n$3\r\nabc\r\n+PONG\r\n$1\r\n2\r\n"


def test_who_ends_sending_while_blocked_has_left(house: House) -> None:
    (waiter, got), (pusher, pushed) = house.connect(), house.connect()
    house.say(waiter, "BLPOP a 0", "PING")
    waiter.eof_received()
    house.say(pusher, "RPUSH a x", "LLEN a")
    assert got.closed
    assert pushed.take() == b":1\r\n:1\r\n"
    house.check()


def test_who_has_left_is_in_no_queue(house: House) -> None:
    (waiter, _), (pusher, pushed) = house.connect(), house.connect()
    house.say(waiter, "BLPOP a b c 100")
    waiter.connection_lost(None)
    house.check()
    assert house.waits.count == 0
    house.say(pusher, "RPUSH a x", "LLEN a")
    assert pushed.take() == b":1\r\n:1\r\n"


# ---- books -----------------------------------------------------------------------------------


def test_a_blocked_command_counts_once(house: House) -> None:
    (waiter, _), (pusher, _) = house.connect(), house.connect()
    entry = TABLE[b"BLPOP"]
    calls, failed = entry.calls, entry.failed_calls
    house.say(waiter, "BLPOP a 0")
    assert entry.calls == calls + 1
    house.say(pusher, "RPUSH a x")
    assert entry.calls == calls + 1
    house.say(waiter, "BLPOP a 0")
    house.say(pusher, f"CLIENT UNBLOCK {waiter.client.id} ERROR")
    assert (entry.calls, entry.failed_calls) == (calls + 2, failed + 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_books_are_right_after_everything(house: House, seed: int) -> None:
    rng = Random(seed)
    crowd = [house.connect() for _ in range(12)]

    def key() -> str:
        return rng.choice("abcd")

    for _ in range(1500):
        at = rng.randrange(len(crowd))
        connection = crowd[at][0]
        roll = rng.random()
        if roll < 0.03:
            connection.connection_lost(None)
            crowd[at] = house.connect()
        elif roll < 0.1:
            house.pass_time(rng.randrange(2000))
        else:
            house.say(connection, rng.choice((
                f"BLPOP {key()} {key()} {rng.choice((0, 0.5, 1, 5))}", f"BLMOVE {key()} {key()} LEFT RIGHT 3",
                f"BLMPOP 0 2 {key()} {key()} RIGHT", f"RPUSH {key()} x y", f"LPUSH {key()} x", f"DEL {key()}",
                f"SET {key()} s", f"RENAME {key()} {key()}", "FLUSHALL", f"SELECT {rng.randrange(2)}", "SWAPDB 0 1",
                f"CLIENT UNBLOCK {crowd[0][0].client.id}", f"CLIENT KILL ID {crowd[1][0].client.id}",
                f"PEXPIRE {key()} {rng.randrange(1000)}", "MULTI", "EXEC", "RESET",
            )))  # fmt: skip
        crowd = [house.connect() if each[1].closed else each for each in crowd]
        house.check()
        house.server.keyspace._check()
