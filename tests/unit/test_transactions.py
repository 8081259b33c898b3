"""MULTI, EXEC and WATCH against the engine itself: what is logged, what waits, what breaks a watch, and when."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_harness import PerdureServer

import perdure.server.commands  # noqa: F401 - fills the command table
from perdure.server.client import TRACK_DIRTY, WATCHED, Client
from perdure.server.config import Config
from perdure.server.log_gate import NoLogWriter
from perdure.server.logfile import Log
from perdure.server.server import Server
from perdure.server.touched import commands_of
from perdure.wal.writer import LogRefused

NOW_MS = 1_800_000_000_000


class Writer(NoLogWriter):
    """A log that keeps its batches, and is as slow, or as full, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[bytes] = []
        self.asked: list[int] = []
        self.room = 1 << 40
        self.slow = False

    def admit(self, nbytes: int) -> int:
        self.asked.append(nbytes)
        if nbytes > self.room or self.refusing is not None:
            raise self.refusing or LogRefused(errno.ENOSPC)
        return 0

    def commit(self, payload: bytes) -> int:
        self.batches.append(payload)
        if self.slow:
            self.busy = True
        else:
            self.safe = len(self.batches)
        return len(self.batches)


class House:
    """An engine with clients, without sockets, and with a clock that stands still."""

    def __init__(self, tmp_path: Path) -> None:
        loop: Any = SimpleNamespace(call_soon=lambda job: None, call_later=lambda delay_s, job: None)
        self.server = Server(Config(str(tmp_path)), Log(str(tmp_path / "log")), loop, Random(1))
        self.writer = Writer()
        self.server.start_log(self.writer)
        self.engine = self.server.engine
        self.tx = self.server.tx
        self.now_ms = NOW_MS

    def client(self) -> Client:
        client = self.server.new_client(None)  # type: ignore[arg-type]
        self.server.clients[client.id] = client
        return client

    def __call__(self, client: Client, line: str) -> bytes:
        self.tx.now_ms = self.tx.clock_ms = self.now_ms
        self.engine.enter(client)
        self.engine.need = 0
        return self.engine.execute(client, line.encode().split())

    def run(self, client: Client, *lines: str) -> list[bytes]:
        return [self(client, line) for line in lines]

    def logged(self) -> list[list[bytes]]:
        """The open batch, closed with this."""
        return commands_of(self.tx.take())

    def check(self) -> None:
        self.server.keyspace._check()
        self.engine.watches._check(self.server.clients.values())
        assert bool(self.engine.state & WATCHED) == bool(self.engine.watches)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def words(*lines: str) -> list[list[bytes]]:
    return [line.encode().split() for line in lines]


# ---- one group of the log ------------------------------------------------------------


def test_a_transaction_is_one_group_of_the_log(house: House) -> None:
    me = house.client()
    replies = house.run(me, "SET a 0", "MULTI", "INCR a", "GET a", "SELECT 2", "SET b 1", "HGET b f", "EXEC", "SET c 1")
    assert replies[-2] == (
        b"*5\r\n:1\r\n$1\r\n1\r\n+OK\r\n+OK\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
    )
    assert house.logged() == words(
        "SELECT 0", "SET a 0", "MULTI", "INCR a", "SELECT 2", "SET b 1", "EXEC", "SET c 1"
    )  # fmt: skip
    assert me.db_index == 2


def test_a_transaction_that_changed_nothing_logs_nothing(house: House) -> None:
    me = house.client()
    house.run(me, "MULTI", "GET a", "DEL a", "INCRBY b x", "EXEC")
    assert house.logged() == []
    house.run(me, "SET a 1")
    assert house.logged() == words("SELECT 0", "SET a 1")


def test_many_transactions_in_a_batch_ask_the_log_for_no_more_than_they_may_need(house: House) -> None:
    me = house.client()
    for _ in range(100):
        house.run(me, "MULTI", "SET k v", "EXEC")
    assert sum(house.writer.asked) <= 100 * 400
    assert len(house.logged()) == 301


def test_a_write_behind_a_transaction_is_not_part_of_it(house: House) -> None:
    me, other = house.client(), house.client()
    house.run(me, "MULTI", "SET a 1")
    house.run(other, "SET b 1")
    house.run(me, "EXEC")
    house.run(other, "SET c 1")
    assert house.logged() == words("SELECT 0", "SET b 1", "MULTI", "SET a 1", "EXEC", "SET c 1")


# ---- REFUSE-WHOLE --------------------------------------------------------------------


def test_a_transaction_that_the_log_cannot_take_is_refused_whole(house: House) -> None:
    me = house.client()
    house.run(me, "MULTI", "SET a 1", "SET b " + "x" * 5000)
    house.writer.room = 4000
    reply = house(me, "EXEC")
    assert reply.startswith(b"-EXECABORT Transaction discarded because of: MISCONF ")
    assert house.tx.records == [] and house.server.keyspace.key_count() == 0
    assert house(me, "EXEC") == b"-ERR EXEC without MULTI\r\n"
    assert house.run(me, "MULTI", "GET a", "EXEC")[-1] == b"*1\r\n$-1\r\n"
    house.writer.room = 1 << 40
    assert house.run(me, "MULTI", "SET a 1", "EXEC")[-1] == b"*1\r\n+OK\r\n"


def test_a_log_that_refuses_refuses_writes_at_the_queue_and_lets_reads_through(house: House) -> None:
    me = house.client()
    house.writer.refusing = LogRefused(errno.EIO)
    house.engine.refresh_state()
    replies = house.run(me, "MULTI", "SET a 1", "EXEC", "MULTI", "GET a", "EXEC")
    assert replies[1].startswith(b"-MISCONF ")
    assert replies[2] == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    assert replies[5] == b"*1\r\n$-1\r\n"


def test_an_error_that_nobody_foresaw_closes_the_group(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    me = house.client()
    house.run(me, "MULTI", "SET a 1", "GET a", "SET b 1")

    def broken(tx: Any, argv: list[bytes]) -> bytes:
        raise RuntimeError("broken")

    monkeypatch.setattr(me.queue[1][0], "handler", broken)
    with pytest.raises(RuntimeError):
        house(me, "EXEC")
    assert not me.queue
    house.run(me, "SET c 1")
    assert house.logged() == words("SELECT 0", "MULTI", "SET a 1", "EXEC", "SET c 1")


# ---- ANSWER-AFTER --------------------------------------------------------------------


def in_flight(house: House, line: str) -> Client:
    """A batch with ``line`` is with a slow log, and not safe yet."""
    other = house.client()
    house.writer.inline = False
    house.writer.slow = True
    house.engine.refresh_state()
    house(other, line)
    house.engine.end_of_tick()
    assert house.engine.open_number == 2 and house.writer.safe == 0
    return other


@pytest.mark.parametrize(
    ("queued", "needed"),
    [
        (["GET clean"], 0),
        (["GET dirty"], 1),
        (["GET dirty", "GET clean"], 1),
        (["GET clean", "GET dirty", "PING"], 1),
        (["DBSIZE"], 1),
        (["SET x 1"], 2),
        (["SET x 1", "GET dirty"], 2),
        (["GET open", "GET dirty"], 2),
        (["PING"], 0),
    ],
)
def test_the_whole_array_waits_for_what_the_most_unsafe_of_it_needs(
    house: House, queued: list[str], needed: int
) -> None:
    other = in_flight(house, "SET dirty 1")
    if "GET open" in queued:
        house(other, "SET open 1")
    me = house.client()
    house.run(me, "MULTI", *queued, "EXEC")
    assert house.engine.need == needed


def test_answers_wait_where_the_log_became_slow_inside_the_transaction(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, other = house.client(), house.client()
    house.run(other, "SET a 1")
    house.run(me, "MULTI", "GET a", "PING", "EXEC")
    assert house.engine.need == 0 and not house.engine.state & TRACK_DIRTY  # the whole tick waits anyway
    house.run(me, "MULTI", "GET a", "PING")

    def slower(tx: Any, argv: list[bytes]) -> bytes:
        house.writer.inline = False
        house.engine.refresh_state()
        return b"+OK\r\n"

    monkeypatch.setattr(me.queue[1][0], "handler", slower)
    house(me, "EXEC")
    assert house.engine.state & TRACK_DIRTY and house.engine.need == house.engine.open_number


# ---- WATCH and the clock -------------------------------------------------------------


def test_a_watched_key_that_expires_breaks_the_watch(house: House) -> None:
    me = house.client()
    house.run(me, "SET a 1 PX 100", "WATCH a", "MULTI", "PING")
    house.now_ms += 200
    assert house(me, "EXEC") == b"*-1\r\n"
    house.check()


def test_a_key_that_had_expired_before_may_be_removed_at_last(house: House) -> None:
    me, other = house.client(), house.client()
    house.run(me, "SET a 1 PX 100")
    house.now_ms += 200
    house.run(me, "WATCH a")
    assert house(other, "GET a") == b"$-1\r\n"
    assert house.run(me, "MULTI", "PING", "EXEC")[-1] == b"*1\r\n+PONG\r\n"


def test_a_key_that_had_expired_before_and_is_set_breaks_the_watch(house: House) -> None:
    me, other = house.client(), house.client()
    house.run(me, "SET a 1 PX 100")
    house.now_ms += 200
    house.run(me, "WATCH a")
    house(other, "SET a 2")
    assert house.run(me, "MULTI", "PING", "EXEC")[-1] == b"*-1\r\n"


def test_a_watched_key_that_the_clock_removes_breaks_the_watch(house: House) -> None:
    me = house.client()
    house.run(me, "SET a 1 PX 100", "WATCH a")
    house.now_ms += 200

    def job() -> None:
        house.tx.now_ms = house.tx.clock_ms = house.now_ms
        house.tx.lookup(b"a")

    house.engine.background(job)
    assert me.watched_dirty
    assert house.run(me, "MULTI", "PING", "EXEC")[-1] == b"*-1\r\n"


def test_who_leaves_watches_nothing_any_more(house: House) -> None:
    me, other = house.client(), house.client()
    house.run(me, "WATCH a b")
    house.run(other, "WATCH a")
    house.check()
    house.server.forget_client(me)
    house.check()
    house.server.forget_client(other)
    house.check()
    assert not house.engine.watches


COMMANDS = [
    "WATCH a",
    "WATCH a b",
    "UNWATCH",
    "MULTI",
    "EXEC",
    "DISCARD",
    "SET a 1",
    "SET a 1 PX 50",
    "DEL a b",
    "INCR b",
    "GET a",
    "SELECT 0",
    "SELECT 1",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB 0 1",
    "RESET",
    "FOO",
    "MOVE a 1",
    "later",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(COMMANDS)), max_size=60))
def test_the_books_of_watches_are_right_after_every_command(
    tmp_path_factory: Any, steps: list[tuple[int, str]]
) -> None:
    house = House(tmp_path_factory.getbasetemp())
    clients = [house.client() for _ in range(3)]
    for who, line in steps:
        if line == "later":
            house.now_ms += 60
        else:
            house(clients[who], line)
        house.check()
    log = house.logged()
    depth = 0
    for argv in log:
        depth += {b"MULTI": 1, b"EXEC": -1}.get(argv[0], 0)
        assert 0 <= depth <= 1, log
    assert depth == 0, log


# ---- NO-TOUCH ------------------------------------------------------------------------


def test_reading_without_touching_is_no_use(house: House) -> None:
    me, other = house.client(), house.client()
    house.run(me, "SET a 1", "OBJECT IDLETIME a", "GET a", "CLIENT NO-TOUCH ON")
    house.now_ms += 50_000
    house.run(me, "GET a", "MULTI", "GET a", "STRLEN a", "EXEC")
    assert house(other, "OBJECT IDLETIME a") == b":50\r\n"
    house(me, "TOUCH a")
    assert house(other, "OBJECT IDLETIME a") == b":0\r\n"
    house.now_ms += 50_000
    house.run(me, "CLIENT NO-TOUCH OFF", "GET a")
    assert house(other, "OBJECT IDLETIME a") == b":0\r\n"
    house.check()


# ---- with a server of its own --------------------------------------------------------


def test_a_transaction_survives_kill_nine_whole(tmp_path: Path) -> None:
    with PerdureServer(tmp_path, "--appendfsync", "everysec").start() as server:
        with server.client() as client:
            pipe = client.pipeline(transaction=True)
            for i in range(500):
                pipe.set(f"k{i}", i).incr("n")
            assert pipe.execute()[-1] == 500
        server.kill9()
        with server.start().client() as client:
            assert (client.get("n"), client.dbsize()) == (b"500", 501)


def test_a_transaction_larger_than_the_query_limit_closes_its_client(tmp_path: Path) -> None:
    with PerdureServer(tmp_path, "--client-query-buffer-limit", "1mb").start() as server, server.connect() as sock:
        with sock.makefile("rb") as stream:
            sock.sendall(b"MULTI\r\n")
            assert stream.readline() == b"+OK\r\n"
            value = b"x" * 100_000
            for _ in range(100):
                try:
                    sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (len(value), value))
                    if not stream.readline():
                        break
                except OSError:
                    break
            else:
                pytest.fail("it went on")
        with server.client() as client:
            assert client.ping() and client.get("k") is None
