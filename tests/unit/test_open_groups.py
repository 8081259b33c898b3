"""A group of the log that stays open while the loop turns: what stands before it is committed, it is not split."""

from __future__ import annotations

from random import Random

from oracle_harness import commands_of

from perdure.store.database import Keyspace
from perdure.store.resp import encode
from perdure.store.tx import NoLog, Tx


def record(*words: bytes) -> bytes:
    return encode(words)


def new_tx() -> Tx:
    return Tx(Keyspace(16), NoLog(), Random(1), {})


def names(payload: bytes) -> list[bytes]:
    return [b" ".join(line) for line in commands_of(payload)]


def test_what_stands_before_an_open_group_can_be_taken() -> None:
    tx = new_tx()
    tx.log(record(b"SET", b"a", b"1"))
    tx.begin_group(0)
    assert tx.committable
    tx.log(record(b"SET", b"b", b"2"))
    assert tx.committable
    assert names(tx.take()) == [b"SELECT 0", b"SET a 1"]
    assert not tx.committable
    tx.log(record(b"SET", b"c", b"3"))
    tx.select(4)
    tx.log(record(b"SET", b"d", b"4"))
    tx.end_group()
    assert names(tx.take()) == [b"SELECT 0", b"MULTI", b"SET b 2", b"SET c 3", b"SELECT 4", b"SET d 4", b"EXEC"]


def test_a_group_in_another_database_keeps_its_select() -> None:
    tx = new_tx()
    tx.log(record(b"SET", b"a", b"1"))
    tx.select(2)
    tx.begin_group(0)
    tx.log(record(b"SET", b"b", b"2"))
    assert names(tx.take()) == [b"SELECT 0", b"SET a 1"]
    tx.end_group()
    assert names(tx.take()) == [b"SELECT 2", b"MULTI", b"SET b 2", b"EXEC"]


def test_a_group_that_logged_nothing_leaves_nothing() -> None:
    tx = new_tx()
    tx.log(record(b"SET", b"a", b"1"))
    tx.begin_group(0)
    assert names(tx.take()) == [b"SELECT 0", b"SET a 1"]
    tx.log(record(b"SET", b"b", b"2"))
    tx.end_group()
    assert names(tx.take()) == [b"SELECT 0", b"MULTI", b"SET b 2", b"EXEC"]
    tx.begin_group(0)
    tx.end_group()
    assert tx.take() == b""


def test_one_command_is_bare_if_that_is_asked_for_and_it_is_one() -> None:
    tx = new_tx()
    tx.begin_group(0)
    tx.log(record(b"SET", b"a", b"1"))
    tx.end_group(one_bare=True)
    tx.begin_group(0)
    tx.log(record(b"SET", b"a", b"1") + record(b"SET", b"b", b"1"))
    tx.end_group(one_bare=True)
    tx.begin_group(0)
    tx.log(record(b"SET", b"m", b"*1\r\n$5\r\nMULTI\r\n"))
    tx.end_group(one_bare=True)
    assert [line[0] for line in commands_of(tx.take())] == [
        b"SELECT", b"SET", b"MULTI", b"SET", b"SET", b"EXEC", b"MULTI", b"SET", b"EXEC",
    ]  # fmt: skip


def test_a_dropped_group_leaves_what_stands_before_it() -> None:
    tx = new_tx()
    tx.log(record(b"SET", b"a", b"1"))
    tx.begin_group(0)
    tx.log(record(b"SET", b"b", b"2"))
    tx.log(record(b"SET", b"c", b"3"))
    tx.drop_group()
    assert names(tx.take()) == [b"SELECT 0", b"SET a 1"]
