"""What clients are told unasked: when it goes (ANSWER-AFTER), in how many writes, and to whom no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_bench import StandingClock, command
from server_model import FakeLoop, FakeTransport, make_server, time_of

from perdure.server import output_limits
from perdure.server.client import MONITORED, NOTIFYING, PAUSED, TRACK_DIRTY, TRACKED
from perdure.server.connection import Connection
from perdure.server.log_gate import NoLogWriter
from perdure.server.monitor import quoted
from perdure.server.tracking import Tracking


class Writer(NoLogWriter):
    """A log whose batches are safe when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.slow = False

    def commit(self, payload: bytes) -> int:
        self.number += 1
        if self.slow:
            self.busy = True
        else:
            self.safe = self.number
        return self.number


class Socket(FakeTransport):
    """Notes each write; ``unsent`` is what it pretends not to have sent."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.unsent = 0
        super().__init__(self.writes.append)

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Guest:
    """A client with a connection."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.socket = Socket()
        self.connection = Connection(room.server)
        self.connection.connection_made(self.socket)  # type: ignore[arg-type]
        self.client = self.connection.client

    def send(self, *lines: str) -> None:
        """Commands, in one chunk; the tick goes on."""
        self.connection.data_received(b"".join(command(*line.encode().split()) for line in lines))

    def do(self, *lines: str) -> None:
        """Commands, and the tick ends."""
        self.send(*lines)
        self.room.turn()

    def take(self) -> list[bytes]:
        """What it was sent since it was last asked, write by write."""
        writes = list(self.socket.writes)
        self.socket.writes.clear()
        return writes


class Room:
    """A server with fake sockets, a loop that turns when it is told to, and a clock that stands still."""

    def __init__(self) -> None:
        self.loop, self.clock = FakeLoop(), StandingClock()
        self.server = make_server(self.loop, self.clock)
        self.writer = Writer()
        self.server.start_log(self.writer)
        self.engine = self.server.engine

    def guest(self, *lines: str) -> Guest:
        guest = Guest(self)
        if lines:
            guest.do(*lines)
            guest.take()
        return guest

    def turn(self) -> None:
        while self.loop.soon:
            self.loop.turn()
        self.check()

    def be_slow(self) -> None:
        """From here on batches are with a slow log, until ``be_safe``."""
        self.writer.slow, self.writer.inline = True, False
        self.engine.refresh_state()
        assert self.engine.state & TRACK_DIRTY

    def be_safe(self) -> None:
        """Every batch committed so far is safe; what is open is committed."""
        self.writer.busy, self.writer.safe = False, self.writer.number
        self.engine.log_progressed()
        self.turn()

    def check(self) -> None:
        engine, clients = self.engine, self.server.clients.values()
        engine.pubsub._check(clients)
        engine.tracker._check(clients)
        engine.monitors._check(list(clients))
        engine.pause._check(clients)
        assert bool(engine.tx.notifying) == bool(engine.state & NOTIFYING)


@pytest.fixture
def room() -> Iterator[Room]:
    found = Room()
    with time_of(found.clock):
        yield found


def message(channel: str, text: str) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(channel), channel.encode(), len(text), text.encode(),
    )  # fmt: skip


def invalidation(key: str) -> bytes:
    return b">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%b\r\n" % (len(key), key.encode())


# ---- ANSWER-AFTER --------------------------------------------------------------------


def test_a_message_goes_with_the_batch_that_is_open_in_its_tick(room: Room) -> None:
    """Whoever wrote it: nobody looks at keys while batches are safe at once."""
    listener, writer, other = room.guest("SUBSCRIBE x"), room.guest(), room.guest()
    writer.send("SET k v")
    other.send("PUBLISH x 1")
    assert not listener.take()
    room.writer.slow = True
    room.turn()
    assert not listener.take() and not other.take()
    room.be_safe()
    assert listener.take() == [message("x", "1")] and other.take() == [b":1\r\n"]


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        (["PUBLISH x 1"], False),
        (["GET clean", "PUBLISH x 1"], False),
        (["GET dirty", "PUBLISH x 1"], True),
        (["SET mine 1", "PUBLISH x 1"], True),
        (["MULTI", "GET clean", "PUBLISH x 1", "EXEC"], False),
        (["MULTI", "GET dirty", "PUBLISH x 1", "EXEC"], True),
        (["MULTI", "PUBLISH x 1", "SET mine 1", "EXEC"], True),
        (["SPUBLISH y 1", "PUBLISH x 1"], False),
    ],
)
def test_a_message_waits_for_what_its_sender_wrote_or_read(room: Room, lines: list[str], waits: bool) -> None:
    listener, writer, me = room.guest("SUBSCRIBE x"), room.guest(), room.guest()
    room.be_slow()
    writer.do("SET dirty 1")
    room.engine.outbox.unknown_batch = 0  # the log was slow long before
    me.do(*lines)
    assert bool(listener.take()) is not waits
    room.be_safe()
    room.be_safe()
    assert bool(listener.take()) is waits


def test_a_message_of_a_later_tick_waits_for_its_senders_batch_and_not_for_anothers(room: Room) -> None:
    listener, me, other = room.guest("SUBSCRIBE x"), room.guest(), room.guest()
    room.be_slow()
    me.do("SET a 1")
    room.engine.outbox.unknown_batch = 0
    other.do("SET b 1")  # open until the first is safe
    me.do("PUBLISH x me")
    assert not listener.take()
    room.be_safe()
    assert listener.take() == [message("x", "me")]
    other.do("PUBLISH x other")
    assert not listener.take()
    room.be_safe()
    assert listener.take() == [message("x", "other")]


def test_nobody_knows_who_wrote_the_batch_in_which_the_log_became_slow(room: Room) -> None:
    listener, writer, other = room.guest("SUBSCRIBE x"), room.guest(), room.guest()
    room.writer.slow = True
    writer.do("SET a 1")
    assert room.engine.state & TRACK_DIRTY
    other.do("PUBLISH x 1")
    assert not listener.take()
    room.be_safe()
    assert listener.take() == [message("x", "1")]


def test_events_wait_for_the_batch_with_the_change(room: Room) -> None:
    room.engine.notifications.configure("KA")
    listener, me = room.guest("SUBSCRIBE __keyspace@0__:k"), room.guest("SET k 1 PX 100")
    listener.take()
    room.be_slow()
    room.clock.advance(0.2)
    room.server._expire()
    room.turn()
    assert not listener.take()
    me.do("GET j")
    assert me.take() == [b"$-1\r\n"]
    room.be_safe()
    assert listener.take() == [message("__keyspace@0__:k", "expired")]


def test_an_invalidation_that_waits_holds_up_no_answer_to_its_client(room: Room) -> None:
    me, writer = room.guest("HELLO 3", "CLIENT TRACKING ON", "GET k"), room.guest()
    room.be_slow()
    writer.do("SET k 1")
    me.do("GET clean")
    assert me.take() == [b"_\r\n"]
    me.do("GET k")
    assert not me.take()
    room.be_safe()
    assert b"".join(me.take()).count(invalidation("k")) == 1


def test_messages_keep_their_place_among_the_answers(room: Room) -> None:
    me, writer = room.guest("HELLO 3", "SUBSCRIBE x"), room.guest()
    room.be_slow()
    writer.do("SET k 1", "PUBLISH x 1")
    me.do("UNSUBSCRIBE x")
    assert not me.take()
    room.be_safe()
    assert b"".join(me.take()).startswith(b">3\r\n$7\r\nmessage\r\n")


def test_a_monitor_sees_a_write_when_it_is_safe(room: Room) -> None:
    monitor, writer = room.guest("MONITOR"), room.guest()
    room.be_slow()
    writer.do("SET k 1")
    assert not monitor.take()
    room.be_safe()
    assert b'"SET" "k" "1"' in b"".join(monitor.take())


# ---- one write a client and tick -------------------------------------------------------


def test_what_a_client_gets_in_a_tick_is_one_write(room: Room) -> None:
    listener, sender = room.guest("HELLO 3", "SUBSCRIBE x", "PSUBSCRIBE *", "CLIENT TRACKING ON BCAST"), room.guest()
    listener.send("PING")
    for i in range(50):
        sender.send(f"PUBLISH x {i}", f"SET k{i} 1")
    listener.send("PING")
    room.turn()
    (data,) = listener.take()
    assert data.startswith(b"+PONG\r\n") and data.count(b"message") == 100 and data.count(b"invalidate") == 1
    assert len(sender.take()) == 1


def test_a_message_costs_what_it_reaches(room: Room) -> None:
    listeners = [room.guest(f"SUBSCRIBE c{i}") for i in range(200)]
    sender = room.guest()
    added = []
    add = room.engine.outbox.add
    room.engine.pubsub._outbox = type("Spy", (), {"add": lambda self, *a: (added.append(a), add(*a))})()
    sender.do("PUBLISH c7 x")
    assert len(added) == 1 and listeners[7].take() == [message("c7", "x")]


# ---- the hot path ------------------------------------------------------------------------


def test_state_says_whether_anybody_observes(room: Room) -> None:
    bits = NOTIFYING | TRACKED | MONITORED | PAUSED
    state = lambda: room.engine.state & bits  # noqa: E731
    room.engine.notifications.configure("KEA")
    assert state() == 0, "events that nobody listens to"
    listener = room.guest("SSUBSCRIBE x")
    assert state() == 0, "shard channels have no events"
    listener.do("SUBSCRIBE x")
    assert state() == NOTIFYING
    room.engine.notifications.configure("")
    assert state() == 0
    listener.do("HELLO 3", "CLIENT TRACKING ON")
    listener.do("RESET", "MONITOR")
    assert state() == MONITORED
    tracker = room.guest("CLIENT TRACKING ON", "CLIENT PAUSE 1000")
    assert state() == MONITORED | TRACKED | PAUSED
    room.clock.advance(2)
    tracker.do("PING")
    for guest in (listener, tracker):
        guest.connection.connection_lost(None)
    assert state() == 0


def test_reads_of_others_stay_on_the_hot_path_while_someone_tracks(room: Room) -> None:
    room.guest("HELLO 3", "CLIENT TRACKING ON", "GET k")
    hot = room.engine.hot[b"GET"]
    assert not hot[3] & (room.engine.state | room.guest().client.state)


def test_a_read_on_the_hot_path_that_finds_a_key_expired_tells(room: Room) -> None:
    me, other = room.guest("HELLO 3", "CLIENT TRACKING ON", "SET k 1 PX 100", "GET k"), room.guest()
    everything = room.guest("HELLO 3", "CLIENT TRACKING ON BCAST NOLOOP")
    room.clock.advance(0.2)
    other.do("GET k")
    assert me.take() == everything.take() == [invalidation("k")]


# ---- the table -----------------------------------------------------------------------------


def test_the_table_forgets_who_left_when_its_key_changes(room: Room) -> None:
    first, second, writer = (
        room.guest("CLIENT TRACKING ON", "GET k"),
        room.guest("CLIENT TRACKING ON", "GET k j"),
        room.guest(),
    )
    second.do("GET k", "GET k")
    tracker = room.engine.tracker
    assert (len(tracker.table), tracker.items) == (1, 2)
    first.connection.connection_lost(None)
    assert tracker.items == 2
    writer.do("SET k 1")
    assert (len(tracker.table), tracker.items) == (0, 0)


def test_the_oldest_keys_go_first_and_in_bounded_pieces(room: Room) -> None:
    me = room.guest("HELLO 3", "CLIENT TRACKING ON")
    tracker = room.engine.tracker
    tracker.remember(me.client, [b"%d" % i for i in range(5000)])
    tracker.max_keys = 100
    tracker.limit()
    assert len(tracker.table) == 4000 and b"999" not in tracker.table and b"1000" in tracker.table
    for _ in range(4):
        tracker.tick()
    assert len(tracker.table) == 100
    room.turn()
    assert b"".join(me.take()).count(b"invalidate") == 4900


def test_what_is_remembered_is_freed_bit_by_bit_once_nobody_tracks(room: Room) -> None:
    me = room.guest("CLIENT TRACKING ON", "MGET a b c", "CLIENT TRACKING OFF")
    tracker = room.engine.tracker
    assert len(tracker.table) == 3
    me.do("CLIENT TRACKING ON")
    tracker.tick()
    assert len(tracker.table) == 3
    me.do("CLIENT TRACKING OFF")
    tracker.tick()
    assert not tracker.table and not tracker.items
    assert sum(map(len, room.server.keyspace.garbage)) == 3


def test_many_prefixes_cost_a_look_up_for_each_of_their_lengths(room: Room) -> None:
    me, tracker = room.guest("HELLO 3"), room.engine.tracker
    asked = Tracking()
    asked.bcast, asked.prefixes = True, dict.fromkeys([b"p%03d" % i for i in range(1000)])
    tracker.enable(me.client, asked)
    assert tracker._lengths == {4: 1000}
    room.guest().do("MSET p007x 1 p 1 other 1")
    assert me.take() == [invalidation("p007x")]


# ---- limits of output ------------------------------------------------------------------------


def limit(room: Room, pubsub: tuple[int, int, int], normal: tuple[int, int, int] = (0, 0, 0)) -> None:
    room.server.limits.output = {"normal": normal, "replica": (0, 0, 0), "pubsub": pubsub}
    room.server.limits.listener_check_bytes = min(x or 1 << 60 for x in pubsub[:2])


def is_closed(guest: Guest) -> bool:
    return guest.socket.closed


@pytest.mark.parametrize("how", ["SUBSCRIBE x", "PSUBSCRIBE *", "MONITOR"])
def test_who_does_not_take_what_it_is_told_is_closed_at_the_hard_limit(room: Room, how: str) -> None:
    listener, other, sender = room.guest(how), room.guest("SUBSCRIBE x"), room.guest()
    limit(room, (10_000, 0, 0))
    listener.connection.paused, listener.socket.unsent = True, 9000
    sender.do("PUBLISH x " + "m" * 500)
    assert not is_closed(listener)
    listener.socket.unsent = 10_001
    sender.do("PUBLISH x " + "m" * 500)
    assert is_closed(listener) and not is_closed(other)
    assert room.server.stats.output_limit_disconnections == 1
    sender.do("PUBLISH x y")
    assert len(other.take()) == 3


def test_one_tick_may_not_bring_more_than_the_limit(room: Room) -> None:
    listener, sender = room.guest("SUBSCRIBE x"), room.guest()
    limit(room, (10_000, 0, 0))
    sender.send(*["PUBLISH x " + "m" * 1000] * 20)
    assert is_closed(listener)
    room.turn()
    assert not listener.take()


def test_what_waits_for_the_log_counts_for_a_listener(room: Room) -> None:
    listener, sender = room.guest("SUBSCRIBE x"), room.guest()
    limit(room, (10_000, 0, 0))
    room.be_slow()
    sender.do("SET k 1")
    for _ in range(12):
        sender.do("PUBLISH x " + "m" * 1000)
    assert is_closed(listener)
    room.be_safe()


def test_the_soft_limit_may_be_passed_for_its_time(room: Room) -> None:
    listener, sender = room.guest("SUBSCRIBE x"), room.guest()
    limit(room, (0, 1000, 5))
    listener.connection.paused, listener.socket.unsent = True, 2000
    sender.do("PUBLISH x 1")
    room.clock.advance(4)
    output_limits.recheck(room.server)
    assert not is_closed(listener)
    listener.socket.unsent = 500
    output_limits.recheck(room.server)
    assert not room.server.over_soft
    listener.socket.unsent = 2000
    sender.do("PUBLISH x 1")
    room.clock.advance(5)
    output_limits.recheck(room.server)
    assert not is_closed(listener), "stock closes when it is longer than that"
    room.clock.advance(1)
    output_limits.recheck(room.server)
    assert is_closed(listener)


def test_normal_clients_have_their_own_limits(room: Room) -> None:
    me = room.guest()
    limit(room, (100, 0, 0), (5000, 0, 0))
    me.socket.unsent = 4000
    output_limits.check(room.server, me.client)
    assert not is_closed(me)
    me.socket.unsent = 6000
    output_limits.check(room.server, me.client)
    assert is_closed(me)


def test_the_option_is_read_at_once(room: Room) -> None:
    me = room.guest()
    me.connection.data_received(command(b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 5mb 1mb 7"))
    room.turn()
    assert room.server.limits.output["pubsub"] == (5 << 20, 1 << 20, 7)
    assert room.server.limits.listener_check_bytes == 1 << 20


def test_listeners_are_never_idle(room: Room) -> None:
    guests = [room.guest(line) for line in ("SUBSCRIBE x", "MONITOR", "CLIENT TRACKING ON")]
    room.server.config._values["timeout"] = 10
    now_s = room.clock.unix_ms() / 1000 + 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perdure.server.server.time.time", lambda: now_s)
        room.server._cron()
    assert [is_closed(guest) for guest in guests] == [False, False, True]


# ---- pauses --------------------------------------------------------------------------------


def test_nothing_expires_by_the_clock_in_a_pause(room: Room) -> None:
    me = room.guest("SET k 1 PX 10", "CLIENT PAUSE 1000 WRITE")
    room.clock.advance(0.5)
    room.server._cron()
    me.do("GET k", "DBSIZE")
    assert me.take() == [b"$-1\r\n:1\r\n"]
    room.clock.advance(0.6)
    room.engine.pause.time_passed()
    room.server._cron()
    me.do("DBSIZE")
    assert me.take() == [b":0\r\n"]


def test_commands_that_were_kept_back_are_counted_once(room: Room) -> None:
    me, other = room.guest(), room.guest("CLIENT PAUSE 1000 WRITE")
    before = room.server.stats.commands
    me.do("GET k", "SET k 1", "GET k")
    me.do("GET j")
    assert me.take() == [b"$-1\r\n"] and room.server.stats.commands == before + 1
    other.do("CLIENT UNPAUSE")
    assert b"".join(me.take()) == b"+OK\r\n$1\r\n1\r\n$-1\r\n" and room.server.stats.commands == before + 5


# ---- quoting -------------------------------------------------------------------------------


def test_arguments_are_quoted_as_c_would() -> None:
    assert quoted(b"plain text!") == b'"plain text!"'
    assert quoted(b"a\"b\\c\n\r\t\a\b\x00\x7f\xff'") == b'"a\\"b\\\\c\\n\\r\\t\\a\\b\\x00\\x7f\\xff\'"'


# ---- the books -----------------------------------------------------------------------------

WORDS = """\
SUBSCRIBE a b; UNSUBSCRIBE a; UNSUBSCRIBE; PSUBSCRIBE a* *; PUNSUBSCRIBE; PUNSUBSCRIBE *; SSUBSCRIBE a; SUNSUBSCRIBE
PUBLISH a 1; SPUBLISH a 1; CLIENT TRACKING ON; CLIENT TRACKING OFF; CLIENT TRACKING ON BCAST PREFIX a PREFIX b
CLIENT TRACKING ON BCAST; CLIENT TRACKING ON REDIRECT 1; CLIENT TRACKING ON OPTIN; CLIENT CACHING YES; MGET a b c; GET a
SET a 1; MSET a 1 b 2; DEL a b; FLUSHALL; SET a 1 PX 50; MONITOR; RESET; HELLO 3; HELLO 2; MULTI; EXEC; DISCARD
CLIENT PAUSE 100 WRITE; CLIENT PAUSE 40; CLIENT UNPAUSE; CLIENT KILL ID 2; CONFIG SET notify-keyspace-events KEA
CONFIG SET tracking-table-max-keys 2; later; leave; slow; safe"""


def _step(room: Room, guests: list[Guest], who: int, line: str) -> None:
    guest: Any = guests[who]
    if line == "later":
        room.clock.advance(0.06)
        room.engine.pause.time_passed()
        room.server._expire()
        room.turn()
    elif line == "slow":
        room.be_slow()
    elif line == "safe":
        room.be_safe()
    elif line == "leave" or guest.socket.closed:
        if guest.client.connection is not None:
            guest.connection.connection_lost(None)
        guests[who] = room.guest()
    else:
        guest.do(line)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(WORDS.replace("\n", "; ").split("; "))), max_size=60))
def test_the_books_are_right_after_every_step(dialog: list[tuple[int, str]]) -> None:
    room = Room()
    with time_of(room.clock):
        guests = [room.guest() for _ in range(3)]
        for who, line in dialog:
            _step(room, guests, who, line)
            room.check()
        for guest in guests:
            if guest.client.connection is not None:
                guest.connection.connection_lost(None)
        room.check()
        assert not any(room.engine.pubsub.registry) and not room.engine.tracker.prefixes
        for _ in range(3):
            room.be_safe()
        assert not room.engine.outbox.entries and not room.engine.outbox.late and not room.engine.outbox.told
