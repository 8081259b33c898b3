"""RDB files between a stock redis-server and ours: what one wrote, the other reads.

``Oracle`` loads a file by DEBUG RELOAD NOSAVE and writes one by SAVE, so one server serves
all examples.  DEBUG DIGEST is stock's own sum over all keys and values.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

from oracle_harness import Oracle, assert_same_state, oracle_state, plain

from perdure.snapshot.keyspace import Loader, dump
from perdure.snapshot.rdb.events import Entry, Event
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.source import source_of
from perdure.snapshot.rdb.writer import Writer
from perdure.store import value_types
from perdure.store.database import Keyspace
from perdure.store.tx import NoLog, Tx

DUMP = "dump.rdb"


def stock_loads(stock: Oracle, data: bytes) -> None:
    """Have stock load a file in the place of all that it has."""
    Path(stock.folder, DUMP).write_bytes(data)
    reply = stock(b"DEBUG", b"RELOAD", b"NOSAVE")
    assert reply == b"+OK\r\n", reply


def stock_saves(stock: Oracle) -> bytes:
    """What stock writes of all that it has."""
    reply = stock(b"SAVE")
    assert reply == b"+OK\r\n", reply
    return Path(stock.folder, DUMP).read_bytes()


def digest(stock: Oracle) -> bytes:
    """Stock's sum over everything."""
    found = plain(stock(b"DEBUG", b"DIGEST"))
    assert isinstance(found, bytes)
    return found


def events_of(data: bytes, **options: Any) -> list[Event]:
    """What a file holds."""
    return list(Reader(source_of(data, "test.rdb"), **options))


def keyspace_of(data: bytes, now_ms: int | None = None, **options: Any) -> Keyspace:
    """A keyspace out of a file."""
    return loaded(data, now_ms, **options).keyspace


def loaded(data: bytes, now_ms: int | None = None, **options: Any) -> Loader:
    """A keyspace out of a file, and how that went."""
    keyspace = Keyspace(16)
    tx = Tx(keyspace, NoLog(), Random(1), {})
    tx.clock_ms = int(time.time() * 1000)
    loader = Loader(Reader(source_of(data, "test.rdb")), keyspace, tx.limits, now_ms=now_ms, **options).all()
    keyspace._check()
    return loader


def file_of(keyspace: Keyspace, **options: Any) -> bytes:
    """A keyspace as a file."""
    out: list[bytes] = []
    size = dump(keyspace, Writer(out.append, **options))
    data = b"".join(out)
    assert size == len(data)
    return data


def contents(keyspace: Keyspace) -> list[dict[bytes, Any]]:
    """Everything in a keyspace: (type, plain value, deadline) by key."""
    return [
        {
            key: ((kind := value_types.of(value)).name, kind.plain(value), db.expires.get(key, -1))
            for key, value in dict.items(db)
        }
        for db in keyspace.databases
    ]


def encodings(keyspace: Keyspace) -> dict[bytes, bytes]:
    """The encoding of each key of database 0."""
    limits = dict(value_types.DEFAULT_LIMITS)
    return {key: value_types.of(value).encoding(value, limits) for key, value in keyspace.databases[0].items()}


def state_of(keyspace: Keyspace) -> dict[int, dict[bytes, Any]]:
    """``contents`` by the numbers of databases that are not empty, as ``oracle_state`` has it."""
    return {index: db for index, db in enumerate(contents(keyspace)) if db}


def check_against_stock(stock: Oracle, data: bytes) -> bytes:
    """Both read a file: the same keyspace, the same encodings; ours writes it again and stock has the same digest.

    Returns the digest.
    """
    stock_loads(stock, data)
    theirs, summed = oracle_state(stock), digest(stock)
    keyspace = loaded(data, int(time.time() * 1000)).keyspace
    assert_same_state(theirs, state_of(keyspace), tolerance_ms=0)
    named = {name: plain(stock(b"OBJECT", b"ENCODING", name)) for name in theirs.get(0, {})}
    # Stock says embstr of a short number that it has just loaded, as well.
    assert encodings(keyspace) == {name: named[name] for name in named}
    again = file_of(keyspace)
    codes = {(e.db, e.key): e.code for e in events_of(stock_saves(stock)) if isinstance(e, Entry)}
    assert {(e.db, e.key): e.code for e in events_of(again) if isinstance(e, Entry)} == codes
    stock_loads(stock, again)
    assert digest(stock) == summed
    return summed
