"""Strings: what is logged, what is changed in place, what is bounded.  ``tests/oracle`` compares with stock."""

from __future__ import annotations

from random import Random

import pytest

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types
from perdure.store.command import TABLE
from perdure.store.database import Keyspace
from perdure.store.errors import CommandError
from perdure.store.tx import NoLog, Tx

NOW_MS = 1_000_000


@pytest.fixture
def tx() -> Tx:
    tx = Tx(Keyspace(16), NoLog(), Random(1), {})
    tx.now_ms = tx.clock_ms = NOW_MS
    return tx


def run(tx: Tx, text: str) -> bytes:
    argv = [b"" if word == b"''" else word for word in text.encode().split()]
    return TABLE[argv[0].upper()].handler(tx, argv)


def logged(tx: Tx, text: str) -> str:
    """What the command logs, as text, without the SELECT that begins a batch."""
    run(tx, text)
    words = tx.take().split(b"\r\n")
    text = " ".join(word.decode() for word in words if word[:1] not in (b"*", b"$"))
    return text.removeprefix("SELECT 0 ").strip()


@pytest.mark.parametrize(("line", "record"), [
    ("SET k v", "SET k v"),
    ("set k v EX 10", "SET k v PXAT 1010000"),
    ("SET k v PX 10", "SET k v PXAT 1000010"),
    ("SET k v EXAT 5000", "SET k v PXAT 5000000"),
    ("SET k v PXAT 5 GET", "SET k v PXAT 5"),
    ("SET k v XX GET", "SET k v"),
    ("SET k v NX", ""),
    ("SET n v NX GET", "SET n v"),
    ("SET n v XX", ""),
    ("SET k v KEEPTTL", "SET k v KEEPTTL"),
    ("SET n v KEEPTTL", "SET n v"),
    ("SETEX k 10 v", "SET k v PXAT 1010000"),
    ("PSETEX k 10 v", "SET k v PXAT 1000010"),
    ("SETNX k v", ""),
    ("SETNX n v", "SET n v"),
    ("GETSET k v", "SET k v"),
    ("MSETNX n v m w", "MSET n v m w"),
    ("MSETNX n v k w", ""),
    ("GETDEL k", "DEL k"),
    ("GETDEL n", ""),
    ("GETEX k", ""),
    ("GETEX k EX 10", "PEXPIREAT k 1010000"),
    ("GETEX k PXAT 999999", "DEL k"),
    ("GETEX k PERSIST", "PERSIST k"),
    ("GETEX five PERSIST", ""),
    ("APPEND k x", "APPEND k x"),
    ("APPEND k ''", ""),
    ("SETRANGE k 2 x", "SETRANGE k 2 x"),
    ("SETRANGE n 2 ''", ""),
    ("INCR five", "INCR five"),
    ("DECRBY five 3", "DECRBY five 3"),
    ("INCRBYFLOAT five 0.5", "SET five 5.5 KEEPTTL"),
    ("INCRBYFLOAT n 0.5", "SET n 0.5"),
    ("GET old", "DEL old"),
    ("INCR old", "DEL old INCR old"),
    ("SET old v KEEPTTL", "DEL old SET old v"),
    ("MGET k old n", "DEL old"),
])  # fmt: skip
def test_the_record_hangs_neither_on_the_time_nor_on_what_was_there(tx: Tx, line: str, record: str) -> None:
    run(tx, "SET k v0 EX 100")
    run(tx, "SET five 5")
    run(tx, "SET old v PXAT 999999")
    tx.take()
    assert logged(tx, line) == record
    tx.keyspace._check()


def test_appending_changes_in_place() -> None:
    keyspace = Keyspace(1)
    tx = Tx(keyspace, NoLog(), Random(1), {})
    run(tx, "SET k start")
    run(tx, "APPEND k more")
    value = tx.db[b"k"]
    for _ in range(100):
        run(tx, "APPEND k more")
        run(tx, "SETRANGE k 3 x")
    assert tx.db[b"k"] is value
    assert bytes(value) == b"staxt" + b"more" * 101


def test_a_copy_shares_nothing_with_a_value_changed_in_place(tx: Tx) -> None:
    run(tx, "APPEND k a")
    run(tx, "APPEND k b")
    value = tx.db[b"k"]
    kind = value_types.of(value)
    copied, shown = kind.copy(value), kind.plain(value)
    run(tx, "APPEND k c")
    assert (copied, shown, bytes(value)) == (b"ab", b"ab", b"abc")
    assert list(kind.rebuild(b"k", value)) == [[b"SET", b"k", b"abc"]]


def test_a_string_grows_no_larger_than_allowed_and_nothing_is_made_or_logged_before(tx: Tx) -> None:
    tx.max_bulk_bytes = 100
    run(tx, "SET k 12345")
    tx.take()
    for line in ("SETRANGE k 9223372036854775807 x", "SETRANGE n 100 x", f"APPEND k {'x' * 96}", "SETRANGE k 99 xy"):
        with pytest.raises(CommandError, match="maximum allowed size"):
            run(tx, line)
    assert not tx.records
    assert tx.db == {b"k": b"12345"}


def test_lcs_refuses_strings_whose_table_would_be_too_large(tx: Tx) -> None:
    tx.max_bulk_bytes = 4 * 101 * 101
    run(tx, f"SET a {'x' * 100}")
    run(tx, f"SET b {'x' * 101}")
    assert run(tx, "LCS a a LEN") == b":100\r\n"
    with pytest.raises(CommandError, match="exceeds proto-max-bulk-len"):
        run(tx, "LCS a b")


def test_lcs_of_the_largest_allowed_strings_is_quick_enough_to_run_here(tx: Tx) -> None:
    """Some hundred million cells of stock's table: row by row in whole-row steps, not cell by cell."""
    tx.db.put(b"a", b"xy" * 5500)
    tx.db.put(b"b", b"yxz" * 4000)
    assert run(tx, "LCS a b LEN") == b":%d\r\n" % 8000
