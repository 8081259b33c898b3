"""Deadlines of hash fields: arguments, events, what is logged, what a restart and a copy keep, and what it costs.

Stock 7.0 does not know these commands; expected values are those of the documentation of 7.4.
"""

from __future__ import annotations

from random import Random

import pytest
from oracle_harness import Ours, commands_of, plain, words

from perdure.store import value_types
from perdure.store.events import GENERIC, HASH
from perdure.store.expiry import expire_cycle
from perdure.store.field_deadlines import FieldDeadlines
from perdure.store.field_expiry import expire_fields
from perdure.store.hash_value import ExpiringHash, Hash
from perdure.store.replay import replay
from perdure.store.tx import NoLog, Tx

NOW_MS = 1_000_000


class NoSweeps(FieldDeadlines):
    """Deadlines of which nobody may ask for all that are due."""

    __slots__ = ()

    def due(self, limit: int = 0) -> list[bytes]:
        raise AssertionError("a look at one field is a look at one field")


@pytest.fixture
def ours() -> Ours:
    ours = Ours(now_ms=NOW_MS)
    ours.run(words("HSET h a 1 b 2 c 3", "SET s text"))
    ours.records.clear()
    return ours


def run(ours: Ours, line: str) -> bytes:
    return ours(*words(line)[0])


def logged(ours: Ours) -> list[str]:
    """What was logged since the last look, as text."""
    lines = [b" ".join(argv).decode() for argv in commands_of(b"".join(ours.records))]
    ours.records.clear()
    return [line for line in lines if not line.startswith("SELECT")]


@pytest.mark.parametrize(("line", "text"), [
    ("HEXPIRE s x FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HEXPIRE h x FIELDS 1 a", "ERR value is not an integer or out of range"),
    ("HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0"),
    ("HEXPIRE h 70368744178 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
    ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
    ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
    ("HEXPIRE h 1 FOO FIELDS 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HEXPIRE h 1 NX FOO 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
    ("HEXPIRE h 1 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
    ("HEXPIRE h 1 FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 1 NX FIELDS 1", "ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE nokey 1 FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
    ("HTTL h FOO 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HTTL s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HTTL h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
    ("HTTL h FIELDS 1 a b", "ERR The `numfields` parameter must match the number of arguments"),
    ("HPERSIST h FIELDS -1 a", "ERR Number of fields must be a positive integer"),
    ("HPERSIST h FIELDS 3 a", "ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 1 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
    ("HTTL h FIELDS 1", "ERR wrong number of arguments for 'httl' command"),
])  # fmt: skip
def test_what_is_refused_says_why_and_changes_nothing(ours: Ours, line: str, text: str) -> None:
    assert run(ours, line) == f"-{text}\r\n".encode()
    assert not logged(ours)


@pytest.mark.parametrize(("lines", "reply", "record"), [
    (["HEXPIRE h 10 FIELDS 3 a b x"], [1, 1, -2], ["HPEXPIREAT h 1010000 FIELDS 2 a b"]),
    (["HPEXPIRE h 10 NX FIELDS 2 a a"], [1, 0], ["HPEXPIREAT h 1000010 FIELDS 1 a"]),
    (["HPEXPIRE h 10 FIELDS 2 a a"], [1, 1], ["HPEXPIREAT h 1000010 FIELDS 1 a"]),
    (["HEXPIREAT h 5000 gt FIELDS 1 a"], [0], []),
    (["HEXPIREAT h 5000 lt FIELDS 1 a"], [1], ["HPEXPIREAT h 5000000 FIELDS 1 a"]),
    (["HPEXPIREAT h 999999 FIELDS 2 a a"], [2, -2], ["HDEL h a"]),
    (["HEXPIRE h 0 FIELDS 3 c b a"], [2, 2, 2], ["HDEL h c b a"]),
    (["HEXPIRE nokey 10 FIELDS 2 a b"], [-2, -2], []),
    (["HPERSIST h FIELDS 2 a x"], [-1, -2], []),
    (["HEXPIRE h 10 FIELDS 1 a", "HPERSIST h FIELDS 3 a a b"], [1, -1, -1], ["HPERSIST h FIELDS 1 a"]),
    (["HEXPIRE h 10 FIELDS 1 a", "HINCRBY h a 2"], 3, ["HINCRBY h a 2"]),
    (["HEXPIRE h 10 FIELDS 1 a", "HINCRBYFLOAT h a 2"], b"3",
     ["MULTI", "HSET h a 3", "HPEXPIREAT h 1010000 FIELDS 1 a", "EXEC"]),
])  # fmt: skip
def test_the_record_hangs_neither_on_the_time_nor_on_what_was_refused(
    ours: Ours, lines: list[str], reply: list[int], record: list[str]
) -> None:
    for line in lines:
        ours.records.clear()
        told = run(ours, line)
    assert plain(told) == reply
    assert logged(ours) == record


def test_events_say_what_happened_to_the_key(ours: Ours) -> None:
    ours.tx.notifying = HASH | GENERIC
    for line, told in (
        ("HEXPIRE h 10 FIELDS 1 a", ["hexpire"]),
        ("HEXPIRE h 10 NX FIELDS 1 a", []),
        ("HPERSIST h FIELDS 1 a", ["hpersist"]),
        ("HPEXPIREAT h 1 FIELDS 1 a", ["hdel"]),
        ("HPEXPIRE h 5 FIELDS 1 b", ["hexpire"]),
    ):
        run(ours, line)
        assert [event.decode() for _, event, _ in ours.tx.events] == told
        ours.tx.events.clear()
    ours.set_time(NOW_MS + 5)
    assert expire_fields(ours.tx, 100) == 1
    run(ours, "HPEXPIRE h 0 FIELDS 1 c")
    assert [event for _, event, _ in ours.tx.events] == [b"hexpired", b"hdel", b"del"]
    assert b"h" not in ours.tx.db


def test_the_encoding_is_named_as_in_7_4(ours: Ours) -> None:
    assert run(ours, "OBJECT ENCODING h") == b"$8\r\nlistpack\r\n"
    run(ours, "HEXPIRE h 10 FIELDS 1 a")
    assert run(ours, "OBJECT ENCODING h") == b"$10\r\nlistpackex\r\n"
    ours(b"HSET", b"h", b"long", b"x" * 100)
    assert run(ours, "OBJECT ENCODING h") == b"$9\r\nhashtable\r\n"


def test_copies_and_rebuilt_hashes_keep_deadlines(ours: Ours) -> None:
    ours.run(words("HEXPIRE h 10 FIELDS 2 a b", "COPY h twin", "RENAME h moved", "MOVE moved 3"))
    assert plain(run(ours, "HPEXPIRETIME twin FIELDS 3 a b c")) == [1_010_000, 1_010_000, -1]
    ours.run(words("HPERSIST twin FIELDS 1 a", "SELECT 3"))
    assert plain(run(ours, "HTTL moved FIELDS 3 a b c")) == [10, 10, -1]
    value = ours.tx.db[b"moved"]
    for line in value_types.of(value).rebuild(b"again", value):
        ours(*line)
    kind = value_types.of(value)
    assert kind.plain(ours.tx.db[b"again"]) == kind.plain(value)
    ours.set_time(NOW_MS + 10_000)
    assert expire_fields(ours.tx, 100) == 5
    assert plain(run(ours, "HLEN again")) == 1
    ours.check()


def test_after_a_restart_fields_expire_by_the_clock_of_the_server_and_not_of_the_loading(ours: Ours) -> None:
    ours.run(words("HSET h a 1 b 2", "HPEXPIRE h 50 FIELDS 1 a"))
    again = Ours(now_ms=NOW_MS)
    loading = Tx(again.keyspace, NoLog(), Random(2), {})
    replay(loading, commands_of(b"".join(ours.records)))
    again.keyspace.clock = again.tx
    assert plain(run(again, "HGET h a")) == b"1"
    again.set_time(NOW_MS + 50)
    assert plain(run(again, "HGET h a")) is None
    assert expire_fields(again.tx, 10) == 1


def test_a_hash_without_deadlines_is_what_it_was() -> None:
    ours = Ours(now_ms=NOW_MS)
    ours.run(words("HSET h a 1", "HEXPIRE h 10 GT FIELDS 1 a", "HPERSIST h FIELDS 1 a", "HTTL h FIELDS 1 a"))
    assert ours.tx.db[b"h"].__class__ is Hash
    assert not hasattr(ours.tx.db[b"h"], "deadlines")
    assert not ours.tx.db.member_expires


def test_the_deadline_of_the_key_is_another_one(ours: Ours) -> None:
    ours.run(words("HPEXPIRE h 50 FIELDS 1 a", "PEXPIRE h 80"))
    ours.set_time(NOW_MS + 60)
    assert expire_cycle(ours.tx, 100) == 0
    assert expire_fields(ours.tx, 100) == 1
    ours.set_time(NOW_MS + 80)
    assert plain(run(ours, "HLEN h")) == 0
    assert logged(ours)[-1] == "DEL h"


def test_a_step_removes_no_more_than_it_may_however_many_are_due(ours: Ours) -> None:
    for n in range(20):
        names = [b"f%d" % i for i in range(100)]
        ours(b"HSET", b"big%d" % n, *(word for name in names for word in (name, b"v")), b"stays", b"v")
        ours(b"HPEXPIRE", b"big%d" % n, b"5", b"FIELDS", b"100", *names)
    ours.set_time(NOW_MS + 1_000_000)
    removed = []
    while steps := expire_fields(ours.tx, 150):
        removed.append(steps)
        ours.tx.take()
    assert sum(removed) == 2000
    assert max(removed) <= 150
    assert len(removed) < 40
    assert not ours.tx.db.member_expires
    assert {plain(ours(b"HLEN", b"big%d" % n)) for n in range(20)} == {1}


def test_reading_one_field_of_many_that_are_due_looks_at_that_one() -> None:
    ours = Ours(now_ms=NOW_MS)
    names = [b"f%d" % i for i in range(5000)]
    ours(b"HSET", b"h", *(word for name in names for word in (name, b"v")))
    ours(b"HPEXPIRE", b"h", b"5", b"FIELDS", b"5000", *names)
    ours(b"HSET", b"h", b"f7", b"new")
    ours.set_time(NOW_MS + 5)
    value = ours.tx.db[b"h"]
    assert value.__class__ is ExpiringHash
    value.deadlines.__class__ = NoSweeps
    assert plain(ours(b"HGET", b"h", b"f7")) == b"new"
    assert plain(ours(b"HSET", b"h", b"f8", b"x", b"f7", b"x")) == 1
    assert plain(ours(b"HINCRBY", b"h", b"f9", b"4")) == 4
    assert plain(ours(b"HMGET", b"h", b"f9", b"f10")) == [b"4", None]
    assert plain(ours(b"HEXPIRE", b"h", b"1", b"FIELDS", b"2", b"f9", b"f10")) == [1, -2]
