"""Replay: the log's commands run again as they were, and what cannot be run is named."""

from __future__ import annotations

from random import Random

import pytest

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store.database import Keyspace
from perdure.store.replay import ReplayError, replay
from perdure.store.tx import NoLog, Tx


def loading(clock_ms: int = 5_000_000) -> Tx:
    tx = Tx(Keyspace(16), NoLog(), Random(1), {})
    tx.now_ms, tx.clock_ms = 0, clock_ms
    return tx


def lines(*texts: str) -> list[list[bytes]]:
    return [text.encode().split() for text in texts]


def test_commands_run_in_the_database_selected() -> None:
    tx = loading()
    assert replay(tx, lines("SELECT 3", "SET a 1", "incr a", "select 0", "set b 2", "SELECT 3")) == 6
    replay(tx, lines("MULTI", "SET c 3", "SELECT 1", "MSET d 4 e 5", "EXEC"))
    databases = tx.keyspace.databases
    assert [dict(databases[i]) for i in (0, 1, 3)] == [{b"b": b"2"}, {b"d": b"4", b"e": b"5"}, {b"a": b"2", b"c": b"3"}]
    tx.keyspace._check()


def test_nothing_expires_while_the_log_is_replayed() -> None:
    tx = loading()
    replay(tx, lines("SET a 1 PXAT 1000", "APPEND a 2", "SET b 1 PXAT 2000", "SET b 2 KEEPTTL", "GETEX a PXAT 3000"))
    assert tx.db == {b"a": b"12", b"b": b"2"}
    assert tx.db.expires == {b"a": 3000, b"b": 2000}
    replay(tx, lines("SET a 5", "DEL b"))
    assert tx.db == {b"a": b"5"}
    assert not tx.db.expires


def test_relative_times_of_a_foreign_log_count_from_the_clock() -> None:
    tx = loading(clock_ms=7_000)
    replay(tx, lines("SETEX a 10 v"))
    assert tx.db.expires == {b"a": 17_000}


def test_a_value_larger_than_todays_limit_is_replayed() -> None:
    tx = loading()
    tx.max_bulk_bytes = 10
    replay(tx, lines("APPEND a 12345678", "APPEND a 12345678", "SETRANGE a 20 x"))
    assert len(tx.db[b"a"]) == 21
    assert tx.max_bulk_bytes == 10


def test_a_command_without_a_name_is_an_error() -> None:
    with pytest.raises(ReplayError, match="without a name"):
        replay(loading(), [[b"SET", b"a", b"1"], []])


def test_a_value_larger_than_memory_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(ReplayError, match="out of memory"):
        replay(loading(), lines("SETRANGE a 4000000000000000000 x"))


def test_records_do_not_gather() -> None:
    tx = loading()
    replay(tx, [[b"INCR", b"n"]] * 5000)
    assert tx.db == {b"n": b"5000"}
    assert not tx.records


@pytest.mark.parametrize(("text", "reason"), [
    ("NOSUCH a", "unknown command 'NOSUCH'"),
    ("INCR text", "not an integer"),
    ("HSET text f v", "WRONGTYPE"),
    ("SET a", "wrong number of arguments"),
    ("SELECT 16", "DB index is out of range"),
    ("SELECT x", "DB index is out of range"),
    ("SELECT", "wrong number of arguments"),
    ("OBJECT NOSUCH a", "unknown subcommand 'NOSUCH'"),
])  # fmt: skip
def test_a_command_that_fails_is_named_with_its_reason_and_place(text: str, reason: str) -> None:
    tx = loading()
    with pytest.raises(ReplayError, match=reason) as caught:
        replay(tx, [*lines("SET text words"), *lines(text), *lines("SET never 1")])
    assert caught.value.index == 1
    assert caught.value.name == text.split()[0].encode()
    assert tx.db == {b"text": b"words"}
    assert not tx.records
