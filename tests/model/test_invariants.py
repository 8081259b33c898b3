"""LOG-FIRST, ANSWER-AFTER, REFUSE-WHOLE, NO-SECOND-FSYNC, HANDS-OFF: what each forbids, seen at a whole server.

The server is the real one on a simulated disk (``server_model``).  PREFIX is in
``test_server_crashes``, STOCK in tests/crash, ATOMIC-FILE in the tests of the log.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from hiredis import ReplyError
from log_bench import StandingClock
from oracle_generators import FILLING
from oracle_lines import GENERATORS, Lines
from server_crashes import Crashes
from server_model import FakeClient, Life, Promise, load, plain, requests, time_of

from perdure.server import connection
from perdure.server.touched import commands_of
from perdure.store import tx as tx_module
from perdure.store.command import BLOCKING, LOGGED, WRITE, every_command
from perdure.store.database import Keyspace
from perdure.store.errors import CommandError, log_refused
from perdure.store.replay import ReplayError, replay
from perdure.store.tx import NoLog, Tx
from perdure.wal.damage import LogDamaged, RdbBaseUnsupported
from perdure.wal.executor import InlineExecutor, ManualExecutor
from perdure.wal.simulated import MUTATING, Call, Fault, SimulatedFilesystem

WRITES = sorted(entry.name for entry in every_command() if entry.flags & WRITE)
WAITING = {b"MIGRATE", *(entry.name for entry in every_command() if entry.flags & BLOCKING)}
WAITING_NOT = [name for name in WRITES if name not in WAITING]


class House:
    """A life with a manual executor, two clients, and a disk whose fsyncs are slow."""

    def __init__(self, policy: str, clients: int = 3) -> None:
        self.fs, self.clock = SimulatedFilesystem(), StandingClock()
        self.fs.trace = []
        self.executor = ManualExecutor()
        self.life = Life(self.fs, Promise(), self.executor, self.clock)
        self.life.policy = policy
        self.life.start(clients)
        self.crashes = Crashes()

    @property
    def clients(self) -> list[FakeClient]:
        return self.life.clients

    def make_slow(self) -> None:
        """An fsync takes 12 ms, so the next ones leave the loop (``always``)."""

        def slow(call: Call) -> None:
            if call.name == "sync":
                self.clock.advance(0.012)

        self.fs.on_call = slow
        self.ask(0, "SET warm up")
        assert not self.life.writer.inline  # type: ignore[union-attr]
        for client in self.clients:
            client.replies.clear()

    def ask(self, who: int, *lines: str | list[bytes]) -> list[Any]:
        """Send a chunk, give the loop a turn; what has been answered to this client since it was asked last."""
        client = self.clients[who]
        client.send(*lines)
        self.life.turn()
        return self.heard(who)

    def heard(self, who: int) -> list[Any]:
        replies, self.clients[who].replies = self.clients[who].replies, []
        return replies

    def sync(self) -> None:
        """The fsync that runs ends."""
        self.executor.run_next()
        self.life.look()

    def state(self) -> Any:
        return plain(self.life.server.keyspace)

    def crash_everywhere(self) -> None:
        self.life.look()
        self.crashes.judge_all(self.fs, self.life.promise, 30)


@pytest.fixture
def house() -> Iterator[Callable[..., House]]:
    with pytest.MonkeyPatch.context() as patch:

        def build(policy: str, clients: int = 3) -> House:
            found = House(policy, clients)
            patch.setattr(connection, "time_ns", lambda: found.clock.unix_ms() * 1_000_000)
            return found

        yield build


# ---- LOG-FIRST -----------------------------------------------------------------------------------


class Shadow:
    """What the log alone makes of the keyspace; it is asked each time before a record is accepted."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.keyspace = Keyspace(len(tx.keyspace.databases))
        self.replayed = Tx(self.keyspace, NoLog(), Random(0), {})
        self.pending: bytes | None = None
        self.records = 0

    def catch_up(self) -> None:
        """Memory is what was logged makes, no more and no less."""
        if self.pending is not None:
            commands, self.pending = commands_of(self.pending), None
            replay(self.replayed, commands)
        memory, logged = plain(self.tx.keyspace), plain(self.keyspace)
        assert memory == logged, "LOG-FIRST: memory was changed without a record, or before it"

    def accepted(self, record: bytes) -> None:
        self.records += 1
        self.replayed.select(self.tx.db_index)
        self.pending = record


@pytest.mark.parametrize("seed", range(3))
def test_memory_never_changes_before_the_log_has_accepted_the_record(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StandingClock()
    life = Life(SimulatedFilesystem(), Promise(), InlineExecutor(), clock)
    rng, lines = Random(seed), Lines(seed)
    with time_of(clock):
        life.start(1)
        tx = life.server.tx
        shadow, log = Shadow(tx), Tx.log

        def watched(self: Tx, record: bytes) -> None:
            if self is tx:
                shadow.catch_up()
            log(self, record)
            if self is tx:
                shadow.accepted(record)

        monkeypatch.setattr(tx_module.Tx, "log", watched)
        for number in range(2500):
            if number % 2:
                life.clients[0].send(*(line for line in requests(rng, life.promise, clock) if line[0] != b"CONFIG"))
            else:
                life.clients[0].send(lines.line(WAITING_NOT))
            shadow.catch_up()
            if number % 7 == 0:
                clock.advance(0.2)
                life.expire()
                shadow.catch_up()
            life.turn()
        assert shadow.records > 1000


# ---- ANSWER-AFTER: always ---------------------------------------------------------------------------


def test_the_writers_answer_and_every_readers_wait_for_the_fsync(house: Callable[..., House]) -> None:
    h = house("always")
    h.make_slow()
    assert h.ask(0, "SET k v") == []
    assert h.ask(1, "GET k") == []
    assert h.ask(2, "GET clean") == [None], "a read of a clean key never waits"
    assert h.ask(2, "GET warm", "PING") == [b"up", b"PONG"] or h.heard(2) == []
    assert h.ask(2, "DBSIZE") == [], "what looks at all keys waits"
    h.sync()
    assert (h.heard(0), h.heard(1), h.heard(2)) == ([b"OK"], [b"v"], [2])


@pytest.mark.parametrize(
    "line",
    ["GET k", "EXISTS k", "TTL k", "STRLEN k", "TYPE k", "INCR k", "SETNX k x", "MGET clean k", "COPY k other",
     "RENAMENX clean k", "HGETALL k", "DBSIZE", "SCAN 0", "KEYS *", "RANDOMKEY", "OBJECT ENCODING k"],
)  # fmt: skip
def test_whatever_reveals_an_unsynced_write_waits(house: Callable[..., House], line: str) -> None:
    h = house("always")
    h.make_slow()
    h.ask(0, "SET k v")
    assert h.ask(1, line) == []
    while h.executor.jobs:
        h.sync()
    assert len(h.heard(1)) == 1


@pytest.mark.parametrize("line", ["GET clean", "EXISTS a b c", "PING", "ECHO x", "HGETALL h", "TTL clean", "TIME"])
def test_whatever_reveals_no_unsynced_write_is_answered_at_once(house: Callable[..., House], line: str) -> None:
    h = house("always")
    h.make_slow()
    h.ask(0, "SET k v")
    assert len(h.ask(1, line)) == 1


def test_a_batch_that_is_open_behind_one_in_flight_waits_for_its_own_fsync(house: Callable[..., House]) -> None:
    h = house("always")
    h.make_slow()
    assert h.ask(0, "SET k 1") == []
    assert h.ask(1, "SET other 2") == []
    assert h.ask(2, "GET other") == []
    h.sync()
    assert (h.heard(0), h.heard(1), h.heard(2)) == ([b"OK"], [], [])
    h.sync()
    assert (h.heard(1), h.heard(2)) == ([b"OK"], [b"2"])


def test_a_pipeline_keeps_its_order_when_something_in_it_waits(house: Callable[..., House]) -> None:
    h = house("always")
    h.make_slow()
    h.ask(0, "SET k v")
    first = h.ask(1, "ECHO 1", "GET k", "ECHO 2", "GET clean")
    first += h.ask(1, "ECHO 3")
    assert first in ([], [b"1"])
    h.sync()
    assert first + h.heard(1) == [b"1", b"v", b"2", None, b"3"]


def test_a_transaction_waits_as_one_and_a_broken_watch_tells_nothing_early(house: Callable[..., House]) -> None:
    h = house("always")
    h.make_slow()
    h.ask(1, "WATCH k")
    assert h.heard(1) == []
    h.ask(0, "SET k v")
    assert h.ask(1, "MULTI", "GET clean", "EXEC") in ([], [b"OK", b"QUEUED"], [b"OK"])
    assert h.ask(2, "MULTI", "GET clean", "GET k", "EXEC") in ([], [b"OK", b"QUEUED", b"QUEUED"], [b"OK"])
    h.sync()
    assert (h.heard(1)[-1], h.heard(2)[-1]) == (None, [None, b"v"])


def test_the_log_that_becomes_slow_between_a_command_and_its_turn_lets_no_answer_go(
    house: Callable[..., House],
) -> None:
    h = house("everysec")
    assert h.ask(0, "SET a 1") == [b"OK"]
    h.clock.advance(1.1)
    h.life.writer.tick()  # type: ignore[union-attr]
    assert h.executor.jobs, "the fsync of everysec"
    h.clients[0].send("SET b 2")
    h.fs.sick = {"sync": errno.EIO}
    h.sync()
    h.life.turn()
    assert h.heard(0) == [], "the batch could not be committed"
    h.crash_everywhere()
    h.life.settle()
    assert h.heard(0) == [b"OK"]


def test_a_write_that_failed_is_answered_when_the_disk_is_well(house: Callable[..., House]) -> None:
    h = house("everysec")
    h.ask(0, "SET a 1")
    h.fs.sick = {"write": errno.EIO}
    assert h.ask(0, "SET k v") == []
    assert h.ask(1, "GET k") == []
    assert h.ask(2, "GET a") == [b"1"], "reads go on"
    assert isinstance(h.ask(2, "SET b 1")[0], ReplyError)
    h.crash_everywhere()
    h.fs.sick = {}
    h.life.cron(1.1)
    h.executor.drain()
    h.life.turn()
    assert (h.heard(0), h.heard(1)) == ([b"OK"], [b"v"])
    assert h.ask(2, "SET b 1") == [b"OK"]
    h.crash_everywhere()


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_crash_while_answers_are_held_loses_nothing_that_was_answered(
    house: Callable[..., House], policy: str
) -> None:
    h = house(policy)
    if policy == "always":
        h.make_slow()
    for number in range(12):
        h.ask(number % 3, f"SET k{number} v{number}", f"INCR n{number % 2}")
        h.crash_everywhere()
        if number % 4 == 3 and h.executor.jobs:
            h.sync()
            h.crash_everywhere()
    assert h.life.promise.kill_floor > (5 if policy == "always" else 20)
    h.life.settle()


@pytest.mark.parametrize(("policy", "needed"), [("always", "sync"), ("everysec", "write"), ("no", "write")])
def test_no_answer_leaves_before_the_disk_has_done_what_the_policy_asks(
    house: Callable[..., House], policy: str, needed: str
) -> None:
    """The order of the calls of the disk and of the socket: SET's answer stands behind the call that it needs."""
    h = house(policy)
    h.fs.trace = None
    order: list[str] = []
    h.fs.on_call = lambda call: order.append(call.name)
    for client in h.clients:
        write = client.transport.on_write
        client.transport.on_write = lambda data, write=write: (order.append("answer"), write(data))[1]  # type: ignore
    for number in range(50):
        order.clear()
        h.clients[number % 3].send(f"SET k{number} v", *(["GET k0"] if number % 5 == 0 else []))
        assert "answer" not in order
        h.life.turn()
        h.executor.drain()
        assert needed in order and "answer" in order
        assert order.index(needed) < order.index("answer"), order


def test_a_change_of_the_policy_inside_a_transaction_does_not_split_it(house: Callable[..., House]) -> None:
    h = house("always")
    h.make_slow()
    h.ask(0, "SET a 0")
    replies = h.ask(1, "MULTI", "SET a 1", "CONFIG SET appendfsync everysec", "SET b 1", "EXEC", "SET c 1")
    assert replies[-2:] == [[b"OK", b"OK", b"OK"], b"OK"]
    h.crash_everywhere()
    payload = b"".join(h.fs.content(path) for path in h.fs.files() if path.endswith(".incr.aof"))
    group = payload[payload.index(b"MULTI") : payload.index(b"EXEC")]
    assert b"#W" not in group, "a group is never split between batches"


def test_a_clean_end_takes_along_what_was_open_while_the_log_was_busy(house: Callable[..., House]) -> None:
    h = house("always")
    h.make_slow()
    h.ask(0, "SET in-flight 1")
    h.ask(1, "SET open 1")
    h.life.close()
    assert (h.heard(0), h.heard(1)) == ([b"OK"], [b"OK"])
    assert h.life.writer.refusing is None  # type: ignore[union-attr]
    assert h.life.promise.power_floor == len(h.life.promise.states) - 1 == 3
    h.crash_everywhere()


# ---- REFUSE-WHOLE ------------------------------------------------------------------------------------


class RefusesAll:
    """A log without room."""

    def admit(self, nbytes: int) -> int:
        raise CommandError(log_refused(b"No space left on device"))


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_the_log_refuses_changes_nothing(name: bytes) -> None:
    """Each write command, with hundreds of generated arguments, against a log whose refusal its own record meets."""
    clock = StandingClock()
    life = Life(SimulatedFilesystem(), Promise(), InlineExecutor(), clock)
    lines, refused = Lines(len(name)), 0
    with time_of(clock):
        life.start(1)
        server, client = life.server, life.clients[0]
        filling = FILLING.get(LOGGED[name.partition(b"|")[0]].group, [b"SET", b"HSET", b"RPUSH", b"SADD"])
        for attempt in range(5000):
            if attempt >= 300 and refused > 3:
                break
            if server.engine.waits:
                client = FakeClient(life)  # the one before waits for a key
            client.send(*(lines.line(filling) for _ in range(3)))
            life.turn()
            if server.engine.waits:
                client = FakeClient(life)
            while server.tx.records:  # who waited was served, and has logged that
                life.turn()
            good = server.tx.sink
            server.tx.sink = RefusesAll()
            client.replies.clear()
            before, state = plain(server.keyspace), len(server.tx.records)
            client.send([*name.split(b"|"), *GENERATORS[name](lines)])
            life.turn()
            server.tx.sink = good
            assert plain(server.keyspace) == before and len(server.tx.records) == state
            server.keyspace._check()
            reply = client.replies[-1] if client.replies else None
            refused += isinstance(reply, ReplyError) and str(reply).startswith("MISCONF")
    assert refused > 3, "it was never refused, so nothing was shown"


def fill(h: House) -> None:
    """The disk has no byte left, not even what was reserved."""
    h.life.writer._space.reserved = h.life.writer.file_bytes  # type: ignore[union-attr]
    h.fs.capacity = sum(map(len, h.fs.files().values()))
    for directory in h.fs.directories.values():
        for node in directory.names.values():
            node.reserved = len(node.data)


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_full_disk_refuses_writes_serves_reads_and_heals(house: Callable[..., House], policy: str) -> None:
    h = house(policy)
    assert h.ask(0, "SET a 1", "HSET h f v", "SET due x PX 5") == [b"OK", 1, b"OK"]
    h.executor.drain()
    h.life.turn()
    fill(h)
    h.life.server.tx.take()
    before = h.state()
    h.clock.advance(1)
    for number, line in enumerate(["SET a 2", "SET b 2", "DEL a", "HSET h f w", "FLUSHALL", "RENAME a b", "INCR a"]):
        reply = str(h.ask(number % 3, line)[0])
        assert reply.startswith("MISCONF Errors writing to the AOF file: No space left on device"), (line, reply)
    replies = h.ask(0, "MULTI", "SET a 9", "INCR a", "EXEC")
    assert str(replies[-1]).startswith(("EXECABORT", "MISCONF"))
    assert h.ask(1, "GET a", "HGET h f", "EXISTS b") == [b"1", b"v", 0]
    assert h.ask(1, "MULTI", "GET a", "EXEC")[-1] == [b"1"]
    assert h.ask(1, "GET due") == [None], "a key that is due is not shown, though its removal is refused"
    h.life.cron(0.1)
    assert h.state() == before
    h.fs.capacity = None
    h.crash_everywhere()
    h.life.cron(0.2)
    answers = h.ask(2, "SET a 2", "INCR a")
    h.life.settle()
    assert answers + h.heard(2) == [b"OK", 3]
    assert h.ask(1, "GET a") == [b"3"]
    h.crash_everywhere()


def test_a_transaction_meets_a_full_disk_before_its_first_command(house: Callable[..., House]) -> None:
    h = house("everysec")
    h.ask(0, "SET a 1")
    h.ask(1, "MULTI", "SET a 2", "SET b " + "x" * 3000)
    fill(h)
    h.fs.capacity = h.fs.capacity + 2000  # type: ignore[operator]
    before = h.state()
    reply = h.ask(1, "EXEC")
    assert reply, "it ran, and its answer is held"
    assert str(reply[0]).startswith("EXECABORT Transaction discarded because of: MISCONF")
    assert h.state() == before
    assert h.ask(0, "GET a") == [b"1"]


# ---- NO-SECOND-FSYNC ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_a_file_whose_fsync_failed_is_never_trusted_again(house: Callable[..., House], policy: str) -> None:
    h = house(policy)
    first = h.ask(0, "SET a 1")
    if policy == "everysec":
        h.clock.advance(1.1)
        h.life.writer.tick()  # type: ignore[union-attr]
        h.ask(0, "SET b 2")
    path = next(path for path in h.fs.files() if path.endswith(".incr.aof"))
    durable_bytes = h.life.writer._durable_size  # type: ignore[union-attr]
    h.fs.sick = {"sync": errno.EIO}
    if policy == "always":
        assert first == [b"OK"] and h.ask(0, "SET b 2") == []
    for _ in range(4):  # the fsync, the rotation, what may come of it
        if h.executor.jobs:
            h.sync()
    failed_at = h.fs.calls
    h.crash_everywhere()
    h.fs.sick = {}
    h.life.settle()
    h.life.look()
    assert h.life.writer.rotations == 1  # type: ignore[union-attr]
    later = [call for call in h.fs.trace or () if call.path == path and call.number > failed_at]
    assert [call.name for call in later if call.name != "close"] == ["truncate", "sync"], "only to cut it back"
    assert later[0].amount == durable_bytes
    assert h.life.promise.power_floor == len(h.life.promise.states) - 1 == 2
    h.crash_everywhere()


# ---- HANDS-OFF ----------------------------------------------------------------------------------------


def a_log() -> SimulatedFilesystem:
    """The disk of a server that was killed after some fsyncs."""
    h = House("everysec", 1)
    with time_of(h.clock):
        for number in range(6):
            h.ask(0, f"SET k{number} {'v' * 50}")
            h.life.cron(1.1)
            h.executor.drain()
    return h.fs.kill()


def flip(fs: SimulatedFilesystem, path: str) -> None:
    data = bytearray(fs.content(path))
    at = data.index(b"vvvv") + 2
    data[at] ^= 1
    fs.put(path, bytes(data))


def put_nonsense(fs: SimulatedFilesystem, path: str) -> None:
    """A log of stock's, of commands that no keyspace takes."""
    fs.remove(path)
    fs.remove("/data/appendonlydir/appendonly.aof.manifest")
    fs.put("/data/appendonlydir/appendonly.aof.manifest", b"file appendonly.aof.1.incr.aof seq 1 type i\n")
    fs.put(path, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n")


def put_rdb(fs: SimulatedFilesystem, path: str) -> None:
    fs.put("/data/appendonlydir/x.1.base.rdb", b"REDIS0011\xff")
    fs.remove("/data/appendonlydir/appendonly.aof.manifest")
    fs.put(
        "/data/appendonlydir/appendonly.aof.manifest",
        b"file x.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
    )


@pytest.mark.parametrize(
    "harm", [flip, put_nonsense, put_rdb, lambda fs, path: fs.remove(path)], ids=["rot", "nonsense", "rdb", "missing"]
)
def test_a_refused_start_changes_no_byte_on_disk(harm: Callable[[SimulatedFilesystem, str], None]) -> None:
    fs = a_log()
    harm(fs, next(path for path in fs.files() if path.endswith(".incr.aof")))
    before, fs.trace = fs.files(), []
    with pytest.raises((LogDamaged, ReplayError, RdbBaseUnsupported)):
        load(fs)
    assert fs.files() == before
    assert not [call for call in fs.trace if call.name in MUTATING]


def test_reading_meets_an_ill_disk_and_changes_nothing() -> None:
    total = a_log()
    total.trace = []
    load(total)
    for number in range(1, len(total.trace) + 1):
        fs = a_log()
        before, fs.trace = fs.files(), []
        fs.faults[number] = Fault(error=errno.EIO)
        with pytest.raises((OSError, LogDamaged)):
            load(fs)
        assert fs.files() == before and not [call for call in fs.trace if call.name in MUTATING]


