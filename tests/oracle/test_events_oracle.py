"""Keyspace events beside stock: what each command tells, in which order, and what expiry tells.

A subscriber of stock's events listens while the lines run; a message of our own behind
each line says where its events end.  Lines come from the generators of all groups.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from oracle_harness import Argv, Oracle, Ours, compare, plain, read_frame, words
from oracle_lines import KEYS, Lines

from perdure.store.events import EXPIRED, LETTERS, NEW, STRING
from perdure.store.expiry import expire_cycle
from perdure.store.resp import encode

for _module in sorted(Path(__file__).parent.parent.glob("oracle_*_lines.py")):
    import_module(_module.stem)  # plugs in its generators

pytestmark = pytest.mark.oracle

Events = list[tuple[int, bytes, bytes]]
EVERYTHING = sum(LETTERS.values())
UNORDERED = {b"SORT", b"SORT_RO", b"SCAN"}
"""Commands that meet keys in the order in which a table has them, which is nobody's business."""
EXPIRED_FIRST = {b"DEL", b"UNLINK"}
"""Commands of ours that look at all their keys before the log line: what has expired is told of before what is done."""
_PREFIX = b"__keyspace@"


class Listener:
    """A connection to stock that hears all its events."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(oracle.path)
        self.stream = self.socket.makefile("rb")
        self.socket.sendall(encode((b"PSUBSCRIBE", b"__keyspace@*", b"end")))
        for _ in range(2):
            read_frame(self.stream)
        oracle(b"CONFIG", b"SET", b"notify-keyspace-events", b"KAmn")

    def run(self, lines: list[Argv]) -> list[tuple[bytes, Events]]:
        """Run lines; the reply and the events of each."""
        replies = self.oracle.run([argv for line in lines for argv in (line, [b"PUBLISH", b"end", b""])])
        return [(reply, self._heard()) for reply in replies[::2]]

    def _heard(self) -> Events:
        out: Events = []
        while True:
            _, _, channel, event = plain(read_frame(self.stream))
            if channel == b"end":
                return out
            index, _, key = channel.removeprefix(_PREFIX).partition(b"__:")
            out.append((int(index), event, key))

    def close(self) -> None:
        self.oracle(b"CONFIG", b"SET", b"notify-keyspace-events", b"")
        self.stream.close()
        self.socket.close()


@pytest.fixture
def listener(stock: Oracle) -> Iterator[Listener]:
    stock.reset()
    listener = Listener(stock)
    yield listener
    listener.close()


def listening() -> Ours:
    """Our store, with everything wanted."""
    ours = Ours()
    ours.tx.notifying = EVERYTHING
    return ours


def told(ours: Ours, argv: Argv) -> tuple[bytes, Events]:
    """Run a line on ours: its reply and its events."""
    ours.tx.events.clear()
    return ours(*argv), list(ours.tx.events)


def differences(ours: Ours, lines: list[Argv], heard: list[tuple[bytes, Events]]) -> list[str]:
    """Lines whose replies or events are not those of stock."""
    found = []
    for argv, (reply, theirs) in zip(lines, heard, strict=True):
        mine, events = told(ours, argv)
        difference = compare(argv, reply, mine)
        if difference:
            found.append(difference)
        if argv[0].upper() in UNORDERED or (argv[0].upper() in EXPIRED_FIRST and len(argv) > 2):
            theirs, events = sorted(theirs), sorted(events)
        if events != theirs:
            found.append(f"{argv!r:.300}\n    stock: {theirs!r:.400}\n    ours:  {events!r:.400}")
    return found


def check(listener: Listener, ours: Ours, lines: list[Argv]) -> None:
    """The lines tell the same on both."""
    heard = listener.run(lines)
    ours.set_time(int(time.time() * 1000))
    found = differences(ours, lines, heard)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:12])


@pytest.mark.parametrize("seed", range(6))
def test_generated_commands_tell_what_stocks_tell(listener: Listener, seed: int) -> None:
    check(listener, listening(), Lines(3000 + seed).many(2000))


@pytest.mark.parametrize("seed", range(4))
def test_keys_that_have_expired_are_told_of_when_commands_meet_them(listener: Listener, seed: int) -> None:
    """SET takes a deadline that has passed: the key is there, and the next command that meets it finds it expired."""
    lines = Lines(4000 + seed)
    run = []
    for _ in range(300):
        run += [[b"SET", key, b"v", b"PXAT", b"1"] for key in KEYS if lines.rng.random() < 0.4]
        run += [line for line in lines.many(4) if line[0].upper() != b"RANDOMKEY"]
    check(listener, listening(), run)


def test_a_draw_tells_spop_and_with_the_last_member_del(listener: Listener) -> None:
    check(listener, listening(), words(
        "SADD one a", "SPOP one", "SADD i 1 2", "SPOP i", "SPOP i", "SADD m a b c d", "SPOP m 2", "SPOP m 2", "SPOP m",
        "SADD i 1 2 3 4 5 6", "SPOP i 5", "SPOP i 0", "SPOP i 1",
    ))  # fmt: skip


def test_active_expiry_tells_of_each_key() -> None:
    ours = listening()
    ours.run(words(
        "SET a 1 PXAT 1", "SET b 1", "SELECT 3", "HSET h f v", "PEXPIREAT h 99999999999999", "SET c 1 EXAT 1",
    ))  # fmt: skip
    ours.tx.events.clear()
    assert expire_cycle(ours.tx, 100) == 2
    assert sorted(ours.tx.events) == [(0, b"expired", b"a"), (3, b"expired", b"c")]


def test_only_classes_that_are_wanted_are_told() -> None:
    lines = words("SET a 1 EX 100", "SADD s m", "SPOP s", "GET nokey", "SET e 1 PXAT 1", "GET e", "HSET h f v")

    def events_of(wanted: int) -> Events:
        ours = Ours()
        ours.tx.notifying = wanted
        ours.run(lines)
        return list(ours.tx.events)

    assert not events_of(0)
    assert [event for _, event, _ in events_of(STRING)] == [b"set", b"set"]
    assert [event for _, event, _ in events_of(EXPIRED | NEW)] == [b"new", b"new", b"new", b"expired", b"new"]
    one_by_one = [event for wanted in LETTERS.values() for event in events_of(wanted)]
    assert sorted(one_by_one) == sorted(events_of(EVERYTHING))


def test_a_log_that_refuses_lets_nothing_be_told_but_what_was_missed() -> None:
    ours = listening()
    for argv in Lines(77).many(3000):
        ours.sink.refuses = True
        reply, events = told(ours, argv)
        if reply.startswith(b"-MISCONF"):
            assert {event for _, event, _ in events} <= {b"keymiss"}, argv
        ours.sink.refuses = False
        ours(*argv)
