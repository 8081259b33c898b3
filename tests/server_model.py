"""A whole server on a disk that can stop at any call, and what must be there afterwards.

Engine, store, connections, startup and log writer are the real ones; the event loop,
the sockets, the clock and the disk are not.  ``Life`` is one process from its start to
its end, ``Promise`` what outlives it:

- the states: the keyspace after each unit that was executed (a command, an EXEC with
  all it ran, a round of active expiry), read from memory by ``plain``;
- which of them the log ends at, by lsn, from what was committed;
- two floors, the states that must survive a kill and a power loss.

The floors come from answers as they reach a socket: an answer reveals its own unit and
the last unit that changed a key that its command names, and so it must be explained by
what is recovered (ANSWER-AFTER, PREFIX).  A message reveals what its sender was doing or
had been answered before, an event of a key the unit that it came from; ``Listener`` gets
all of them.  ``durable_lsn`` is believed as a promise of its own.
"""

from __future__ import annotations

import errno
import gc
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hiredis
import pytest
from log_bench import StandingClock, command

import perdure.server.commands  # noqa: F401 - registers every command
from perdure.server import connection as connection_module
from perdure.server import startup
from perdure.server.bind_config import bind_config
from perdure.server.client import IN_MULTI
from perdure.server.config import Config
from perdure.server.config_file import Line
from perdure.server.connection import Connection
from perdure.server.logfile import Log
from perdure.server.pubsub import PATTERN
from perdure.server.server import Server
from perdure.store import value_types
from perdure.store.command import find
from perdure.store.database import Keyspace
from perdure.wal.executor import Executor, InlineExecutor, ManualExecutor
from perdure.wal.recovery import mend
from perdure.wal.simulated import Call, SimulatedFilesystem
from perdure.wal.writer import LogWriter

DATABASES = 4
State = dict[tuple[int, bytes], tuple[Any, int | None]]
"""(database, key) -> (plain value, deadline in unix ms)."""


def plain(keyspace: Keyspace) -> State:
    """The whole keyspace as plain data."""
    return {
        (index, key): (value_types.of(value).plain(value), database.expires.get(key))
        for index, database in enumerate(keyspace.databases)
        for key, value in dict.items(database)
    }


# ---- what a server stands on -----------------------------------------------------------


class FakeLoop:
    """An event loop whose turns the test gives."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, job: Callable[[], object]) -> None:
        self.soon.append(job)

    def call_later(self, seconds: float, job: Callable[[], object]) -> None:
        """Nothing that the tests look at comes later; ``Life.cron`` gives the clock's turns."""

    def turn(self) -> None:
        """What was asked for until now."""
        jobs, self.soon = self.soon, []
        for job in jobs:
            job()


class FakeTransport:
    """A socket: gives what is written to ``on_write``."""

    def __init__(self, on_write: Callable[[bytes], None]) -> None:
        self.on_write = on_write
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.on_write(bytes(data))

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 4321) if name.endswith("name") else None

    def set_write_buffer_limits(self, high: int) -> None:
        """Endless."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """The test goes on giving; the connection keeps it in its backlog."""

    def resume_reading(self) -> None:
        """As before."""


def make_server(loop: Any, clock: StandingClock, policy: str = "everysec", seed: int = 1) -> Server:
    """A server that still loads."""
    config = Config("/data")
    for words in ([b"appendfsync", policy.encode()], [b"databases", b"%d" % DATABASES]):
        config.take(Line("the test", 0, b" ".join(words), words))
    server = Server(config, Log("/dev/null", "warning"), loop, random.Random(seed))
    server.now_ms = clock.unix_ms  # type: ignore[method-assign]
    bind_config(server)
    return server


@contextmanager
def time_of(clock: StandingClock) -> Iterator[None]:
    """Connections go by ``clock``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_module, "time_ns", lambda: clock.unix_ms() * 1_000_000)
        yield


def load(fs: SimulatedFilesystem) -> tuple[Server, Any]:
    """A server that has read the log, and what recovery says."""
    server = make_server(FakeLoop(), StandingClock())
    try:
        recovery = startup.load(server, fs, startup.place_of(server))
    finally:
        gc.unfreeze()  # thousands of servers come and go here
    server.keyspace._check()
    return server, recovery


# ---- what was promised --------------------------------------------------------------------


@dataclass
class Promise:
    """What the runs until now executed, and how much of it must survive.  Indexes are those of ``states``."""

    states: list[State] = field(default_factory=lambda: [{}])
    ends: dict[int, int] = field(default_factory=lambda: {0: 0})
    """The state at each lsn at which a batch ends."""
    kill_floor: int = 0
    power_floor: int = 0
    number: int = 0
    """Makes values that no other command writes."""

    def copy(self) -> Promise:
        return Promise(list(self.states), dict(self.ends), self.kill_floor, self.power_floor, self.number)

    def cut(self, index: int, lsn: int) -> None:
        """Recovery found this: what came after it never happened."""
        del self.states[index + 1 :]
        self.ends = {end: at for end, at in self.ends.items() if end <= lsn}


def difference(found: State, expected: State) -> str:
    keys = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    return "; ".join(f"{key}: found {found.get(key)!s:.200}, expected {expected.get(key)!s:.200}" for key in keys[:4])


def judge(fs: SimulatedFilesystem, promise: Promise, floor: int) -> tuple[int, int]:
    """PREFIX: the keyspace that recovery gives is the one after a prefix that reaches ``floor``.

    Returns the state's index and the lsn.
    """
    before = fs.files()
    server, recovery = load(fs)
    assert fs.files() == before, "HANDS-OFF: reading changed the disk"
    lsn = recovery.end.lsn
    assert lsn in promise.ends, f"lsn {lsn} is no end of a batch: {sorted(promise.ends)[-4:]}"
    index, found = promise.ends[lsn], plain(server.keyspace)
    assert found == promise.states[index], f"at {index}: {difference(found, promise.states[index])}"
    assert index >= floor, f"state {index} was recovered, state {floor} was promised"
    return index, lsn


# ---- a process ----------------------------------------------------------------------------------


@dataclass
class Expected:
    """An answer that has not come: what it reveals."""

    words: list[bytes]
    index: int
    synced: bool
    """Was it executed under ``always``?"""
    epoch: int


class FakeClient:
    """Someone who sends requests and notes answers."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.expected: deque[Expected] = deque()
        self.replies: list[Any] = []
        self.watched = 0
        """The last state when it began to watch."""
        self.done = 0
        """The last state that it brought about, or that an answer to it reveals."""
        self.reader = hiredis.Reader()
        self.transport = FakeTransport(self._answered)
        self.connection = Connection(life.server)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        life.by_client[self.connection.client.id] = self

    def send(self, *requests: str | list[bytes]) -> None:
        """Requests, in one chunk."""
        self.receive(b"".join(command(*(r.encode().split() if isinstance(r, str) else r)) for r in requests))

    def receive(self, data: bytes) -> None:
        if data and not self.transport.closed:
            self.connection.data_received(data)

    def _answered(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.replies.append(reply)
            self.life.answered(self.expected.popleft(), data)


class Listener:
    """Someone who has subscribed to everything; what it is told reveals as much as an answer."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.expected: deque[Expected] = deque()
        self.reader = hiredis.Reader()
        self.connection = Connection(life.server)
        self.connection.connection_made(FakeTransport(self._told))  # type: ignore[arg-type]
        self.connection.client.resp3 = True
        life.server.engine.pubsub.subscribe(PATTERN, self.connection.client, b"*")

    def _told(self, data: bytes) -> None:
        self.reader.feed(data)
        while (message := self.reader.gets()) is not False:
            assert message[0] == b"pmessage"
            self.life.answered(self.expected.popleft(), data)


class Life:
    """From one start to the next crash."""

    def __init__(self, fs: SimulatedFilesystem, promise: Promise, executor: Executor, clock: StandingClock) -> None:
        self.fs, self.promise, self.executor, self.clock = fs, promise, executor, clock
        self.policy = "everysec"
        self.timestamps = False
        self.loop = FakeLoop()
        self.writer: LogWriter | None = None
        self.by_client: dict[int, FakeClient] = {}
        self.clients: list[FakeClient] = []
        self.listener: Listener | None = None
        self.said: list[bytes] = []  # channels to which the unit that runs has published
        self.changed: dict[tuple[int, bytes], int] = {}
        """The state in which each key changed last."""
        self.epoch = 0
        """How often the policy was changed: what was safe by a former one stays as safe as that, and no safer."""
        self.written_before = 0
        """The last state then."""
        self.events: list[str] | None = None

    def start(self, clients: int = 0, seed: int = 1) -> None:
        """Recover, mend, open the log.  From here on all that was read is promised."""
        server = self.server = make_server(self.loop, self.clock, self.policy, seed)
        place = startup.place_of(server)
        try:
            recovery = startup.load(server, self.fs, place)
        finally:
            gc.unfreeze()
        mend(self.fs, place.directory, recovery)
        writer = startup.open_writer(server, self.fs, place, recovery, self.executor, self.clock)
        lsn = recovery.end.lsn
        index = self.promise.ends[lsn]
        self.promise.cut(index, lsn)
        self.promise.kill_floor = self.promise.power_floor = index
        server.start_log(writer)
        self.writer = writer
        self._watch(writer)
        self.clients = [FakeClient(self) for _ in range(clients)]
        server.engine.notifications.configure("AKE")
        self.listener = Listener(self)

    # ---- what is seen of it ----------------------------------------------------------

    def _watch(self, writer: LogWriter) -> None:
        """See each command that runs and each batch that is committed."""
        engine = self.server.engine
        commit, execute, set_policy = writer.commit, engine.execute, writer.set_policy
        publish = engine.pubsub.publish

        def watched_publish(channel: bytes, message: bytes) -> int:
            self.said.append(channel)
            return publish(channel, message)

        def watched_commit(payload: bytes) -> int:
            self.promise.ends[writer.lsn + len(payload)] = len(self.promise.states) - 1
            if self.events is not None:
                self.events.append(f"commit {len(payload)}")
            return commit(payload)

        def watched_set_policy(policy: str) -> None:
            self.epoch += 1
            self.written_before = len(self.promise.states) - 1
            set_policy(policy)

        def watched_execute(client: Any, argv: list[bytes]) -> bytes:
            return self._run(argv, lambda: execute(client, argv))

        def watched(handler: Any) -> Any:
            return lambda tx, argv: self._run(argv, lambda: handler(tx, argv))

        writer.commit = watched_commit  # type: ignore[method-assign]
        writer.set_policy = watched_set_policy  # type: ignore[method-assign]
        engine.pubsub.publish = watched_publish  # type: ignore[method-assign]
        engine.execute = watched_execute  # type: ignore[method-assign]
        engine.hot = {name: (watched(hot[0]), *hot[1:]) for name, hot in engine.hot.items()}

    def _run(self, argv: list[bytes], job: Callable[[], bytes]) -> bytes:
        """One unit; note what its answer reveals."""
        client = self.server.tx.client
        assert client is not None
        synced, epoch = getattr(self.server.writer, "policy", "") == "always", self.epoch
        name, in_multi = argv[0].upper(), client.state & IN_MULTI
        queued, watching = [words for _, words in client.queue], list(client.watching)
        reply = b""
        try:
            reply = job()
        finally:
            self.note_state()
            index, me = 0, self.by_client[client.id]
            if name == b"EXEC" and reply.startswith((b"*-1", b"_")):
                # Somebody changed one of the keys; which one, nobody is told.
                index = min((self.changed[at] for at in watching if self.changed.get(at, 0) > me.watched), default=0)
            elif name == b"EXEC" and reply.startswith(b"*"):
                index = max((self._revealed(words, client.db_index) for words in queued), default=0)
            elif name == b"WATCH" and not watching:
                me.watched = len(self.promise.states) - 1
            elif not in_multi and not reply.startswith(b"-MISCONF"):
                index = self._revealed(argv, client.db_index)
            me.expected.append(Expected(list(argv), index, synced, epoch))
            me.done = max(me.done, index)
            self._note_messages(me.done, synced, epoch)
        return reply

    def _note_messages(self, done: int, synced: bool, epoch: int) -> None:
        """A unit has ended, whose client has done, or been told of, what led to state ``done``."""
        now = len(self.promise.states) - 1
        assert self.listener is not None
        for channel in self.said:
            index = now if channel.startswith(b"__key") else done
            self.listener.expected.append(Expected([channel], index, synced, epoch))
        self.said.clear()

    def note_state(self) -> None:
        """A unit has ended: what does the keyspace look like?"""
        states = self.promise.states
        now, before = plain(self.server.keyspace), states[-1]
        if now != before:
            states.append(now)
            for place in now.keys() | before.keys():
                if now.get(place) != before.get(place):
                    self.changed[place] = len(states) - 1

    def _revealed(self, argv: list[bytes], db_index: int) -> int:
        entry = find(argv)
        if entry is None or not entry.arity_fits(len(argv)):
            return 0
        return max((self.changed.get((db_index, key), 0) for key in entry.keys(argv)), default=0)

    def answered(self, expected: Expected, data: bytes) -> None:
        """An answer has reached the socket."""
        promise = self.promise
        if self.events is not None:
            self.events.append(f"answer {data[:20]!r}")
        promise.kill_floor = max(promise.kill_floor, expected.index)
        if expected.synced and expected.epoch == self.epoch and expected.index > self.written_before:
            promise.power_floor = max(promise.power_floor, expected.index)

    def look(self) -> None:
        """``durable_lsn`` is a promise, too."""
        if self.writer is None:
            return
        promise, lsn = self.promise, self.writer.durable_lsn
        promise.power_floor = max(promise.power_floor, promise.ends[lsn])
        promise.kill_floor = max(promise.kill_floor, promise.power_floor)

    # ---- what moves it ---------------------------------------------------------------------

    def turn(self) -> None:
        """A turn of the event loop."""
        self.loop.turn()
        self.look()

    def cron(self, seconds: float) -> None:
        """Time passes, and the clock's work is done."""
        self.clock.advance(seconds)
        assert self.writer is not None
        self.writer.tick()
        self.look()
        self.expire()
        self.turn()

    def expire(self) -> None:
        """A round of active expiry."""
        assert self.writer is not None
        self.server._expire()
        self.note_state()
        self._note_messages(0, self.writer.policy == "always", self.epoch)

    def run_job(self, rng: random.Random) -> None:
        """One of the log's slow calls ends."""
        if isinstance(self.executor, ManualExecutor) and self.executor.jobs:
            self.executor.run_next(rng.randrange(len(self.executor.jobs)))
            self.look()

    def settle(self) -> None:
        """The disk is well: after a while every request is answered."""
        self.fs.sick, self.fs.capacity, self.fs.on_call = {}, None, None
        for _ in range(12):
            self.turn()
            self.executor.drain()
            self.cron(1.1)
        self.check()
        for client in self.clients:
            assert not client.expected, f"no answer to {[e.words for e in client.expected][:3]}"
            assert not client.connection.backlog
        assert self.listener is not None and not self.listener.expected

    def check(self) -> None:
        """The books of all parts are right."""
        assert self.writer is not None
        self.writer._check()
        server = self.server
        server.keyspace._check()
        server.engine.watches._check(server.clients.values())
        server.engine.pubsub._check(server.clients.values())

    def close(self) -> None:
        """End in order."""
        self.server.engine.end_of_tick()
        assert self.writer is not None
        self.writer.close()
        self.server.engine.log_progressed()
        self.look()


# ---- requests and random lives ----------------------------------------------------------------------

KEYS = (b"a", b"b", b"c", b"n", b"h", b"{t}1")
SIZES = (1, 1, 1, 30, 400, 3000, 9000)


def request(rng: random.Random, promise: Promise, clock: StandingClock) -> list[bytes]:
    """A command; most of them write."""
    promise.number += 1
    value = b"v%d." % promise.number + b"x" * rng.choice(SIZES)
    key, other = rng.choice(KEYS), rng.choice(KEYS)
    now_ms, number = clock.unix_ms(), b"%d" % promise.number
    choices: list[list[bytes]] = [
        [b"SET", key, value], [b"set", key, value], [b"SET", key, number], [b"SET", key, value, b"PX", b"1500"],
        [b"SET", key, value, b"KEEPTTL", b"GET"], [b"INCR", b"n"], [b"INCRBY", b"n", number],
        [b"INCRBYFLOAT", b"n", b"0.5"], [b"APPEND", key, value], [b"SETRANGE", key, b"3", number],
        [b"HSET", b"h", rng.choice((b"f", b"g", number)), value], [b"HINCRBY", b"h", b"count", b"2"],
        [b"HDEL", b"h", b"f", b"g"], [b"HINCRBYFLOAT", b"h", b"part", b"1.5"], [b"DEL", key, other], [b"UNLINK", key],
        [b"EXPIRE", key, b"2"], [b"PEXPIREAT", key, b"%d" % (now_ms + rng.choice((-5, 300, 5000)))], [b"PERSIST", key],
        [b"RENAME", key, other], [b"RENAMENX", key, other], [b"COPY", key, other, b"REPLACE"],
        [b"COPY", key, other, b"DB", b"1"], [b"MOVE", key, b"1"], [b"MSET", key, value, other, number],
        [b"GETDEL", key], [b"GETEX", key, b"PX", b"900"], [b"GETSET", key, value], [b"SETNX", key, value],
        [b"SELECT", rng.choice((b"0", b"0", b"1", b"2"))], [b"SWAPDB", b"0", b"1"],
        [b"GET", key], [b"GET", key], [b"MGET", key, other], [b"HGETALL", b"h"], [b"EXISTS", key, other], [b"TTL", key],
        [b"DBSIZE"], [b"TYPE", key], [b"PING"], [b"NOSUCH", key], [b"INCR", key], [b"GET"],
        [b"PUBLISH", b"channel", number], [b"PUBLISH", b"channel", number],
        [b"CONFIG", b"SET", b"appendfsync", rng.choice((b"always", b"everysec", b"no"))],
    ]  # fmt: skip
    if rng.random() < 0.02:
        return [rng.choice((b"FLUSHDB", b"FLUSHALL"))]
    return rng.choice(choices)


def requests(rng: random.Random, promise: Promise, clock: StandingClock) -> list[list[bytes]]:
    """What a client sends at once: a command, a pipeline, a transaction or a part of one."""
    dice = rng.random()
    count = 1 if dice < 0.6 else rng.randint(2, 6)
    found = [request(rng, promise, clock) for _ in range(count)]
    if dice < 0.78:
        return found
    words = [[b"MULTI"], *found, [b"EXEC"] if rng.random() < 0.9 else [b"DISCARD"]]
    if rng.random() < 0.3:
        words.insert(0, [b"WATCH", rng.choice(KEYS)])
    if rng.random() < 0.1:
        words.pop()
    return words


def send(life: Life, rng: random.Random) -> None:
    """One of the clients sends something, in one chunk or in two."""
    client = rng.choice(life.clients)
    data = b"".join(command(*words) for words in requests(rng, life.promise, life.clock))
    cut = rng.randrange(len(data)) if rng.random() < 0.15 else 0
    client.receive(data[:cut])
    client.receive(data[cut:])


ILLNESSES = ("write", "sync", "truncate", "allocate", "create", "rename", "sync_directory", "remove")


def random_step(life: Life, rng: random.Random, ill: bool) -> None:
    """Anything that may happen to a server."""
    dice = rng.random()
    if dice < 0.55:
        send(life, rng)
        if rng.random() < 0.6:
            life.turn()
    elif dice < 0.68:
        life.turn()
    elif dice < 0.80:
        life.cron(rng.choice((0.01, 0.1, 0.1, 0.3, 1.1)))
    elif dice < 0.93:
        life.run_job(rng)
    elif ill:
        life.fs.sick = {}
        if rng.random() < 0.6:
            names = rng.sample(ILLNESSES, rng.randint(1, 3))
            life.fs.sick = {name: rng.choice((errno.EIO, errno.ENOSPC)) for name in names}
    life.look()


def slow_syncs(clock: StandingClock, rng: random.Random, others: Callable[[Call], None]) -> Callable[[Call], None]:
    """Some fsyncs take so long that the log takes them off the loop."""

    def on_call(call: Call) -> None:
        if call.name == "sync" and rng.random() < 0.4:
            clock.advance(rng.choice((0.012, 0.03)))
        others(call)

    return on_call


def random_executor(rng: random.Random) -> Executor:
    return InlineExecutor() if rng.random() < 0.4 else ManualExecutor()
