"""A hypothesis machine over the keyspace: commands, time, active expiry and a log that refuses, against plain dicts.

The model is a dict for each database, key -> (value, deadline), from which what is due is taken away whenever it is
looked at.  After each step the structures' own ``_check`` hold, and at the end the log replays to the same keyspace.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from oracle_harness import Ours, plain, replayed

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types
from perdure.store.expiry import expire_cycle

keys = st.integers(0, 9).map(lambda n: b"k%d" % n)
indexes = st.integers(0, 2)
spans = st.integers(-50, 3000)
Model = dict[bytes, tuple[Any, int | None]]


class KeyspaceMachine(RuleBasedStateMachine):
    """Three databases, one clock, one log."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = Ours(now_ms=1_000_000)
        self.model: list[Model] = [{}, {}, {}]
        self.here = 0

    @property
    def now_ms(self) -> int:
        return self.ours.tx.now_ms

    def alive(self, index: int | None = None) -> Model:
        """A database of the model, without what is due."""
        number = self.here if index is None else index
        db = self.model[number]
        for key in [key for key, (_, deadline) in db.items() if deadline is not None and deadline <= self.now_ms]:
            del db[key]
        return db

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.ours.tx.rng = Random(seed)

    @rule(index=indexes)
    def select(self, index: int) -> None:
        assert self.ours(b"SELECT", b"%d" % index) == b"+OK\r\n"
        self.here = index

    @rule(key=keys, value=st.binary(max_size=4))
    def set(self, key: bytes, value: bytes) -> None:
        assert self.ours(b"SET", key, value) == b"+OK\r\n"
        self.alive()[key] = value, None

    @rule(some=st.lists(st.tuples(keys, st.one_of(st.none(), spans)), min_size=1, max_size=8))
    def fill(self, some: list[tuple[bytes, int | None]]) -> None:
        """Several keys at once, some with deadlines, so that the others find keys."""
        for key, span in some:
            self.set(key, b"full")
            if span is not None:
                self.expire(key, span)

    @rule(key=keys, field=st.sampled_from([b"f", b"g"]), value=st.binary(max_size=4))
    def hset(self, key: bytes, field: bytes, value: bytes) -> None:
        db = self.alive()
        old, deadline = db.get(key, ({}, None))
        reply = self.ours(b"HSET", key, field, value)
        if isinstance(old, dict):
            assert reply == b":%d\r\n" % (field not in old)
            db[key] = {**old, field: value}, deadline
        else:
            assert reply.startswith(b"-WRONGTYPE")

    @rule(key=keys, field=st.sampled_from([b"f", b"g"]))
    def hdel(self, key: bytes, field: bytes) -> None:
        db = self.alive()
        old, deadline = db.get(key, ({}, None))
        self.ours(b"HDEL", key, field)
        if isinstance(old, dict) and field in old:
            rest = {f: v for f, v in old.items() if f != field}
            if rest:
                db[key] = rest, deadline
            else:
                del db[key]

    @rule(some=st.lists(keys, min_size=1, max_size=4))
    def delete(self, some: list[bytes]) -> None:
        db = self.alive()
        gone = {key for key in some if key in db}
        assert self.ours(b"DEL", *some) == b":%d\r\n" % len(gone)
        for key in gone:
            del db[key]

    @rule(key=keys, span=spans)
    def expire(self, key: bytes, span: int) -> None:
        db = self.alive()
        assert self.ours(b"PEXPIRE", key, b"%d" % span) == b":%d\r\n" % (key in db)
        if key in db:
            db[key] = db[key][0], self.now_ms + span

    @rule(key=keys)
    def persist(self, key: bytes) -> None:
        db = self.alive()
        had = key in db and db[key][1] is not None
        assert self.ours(b"PERSIST", key) == b":%d\r\n" % had
        if had:
            db[key] = db[key][0], None

    @rule(source=keys, newkey=keys)
    def rename(self, source: bytes, newkey: bytes) -> None:
        db = self.alive()
        reply = self.ours(b"RENAME", source, newkey)
        assert reply.startswith(b"+OK" if source in db else b"-ERR no such key")
        if source in db:
            db[newkey] = db.pop(source)

    @rule(key=keys, index=indexes)
    def move(self, key: bytes, index: int) -> None:
        reply = self.ours(b"MOVE", key, b"%d" % index)
        if index != self.here:
            moved = key in self.alive() and key not in self.alive(index)
            assert reply == b":%d\r\n" % moved
            if moved:
                self.model[index][key] = self.model[self.here].pop(key)

    @rule(source=keys, newkey=keys, index=indexes)
    def copy(self, source: bytes, newkey: bytes, index: int) -> None:
        reply = self.ours(b"COPY", source, newkey, b"DB", b"%d" % index, b"REPLACE")
        if index != self.here or source != newkey:
            assert reply == b":%d\r\n" % (source in self.alive())
            if source in self.alive():
                self.model[index][newkey] = self.alive()[source]

    @rule(a=indexes, b=indexes)
    def swap(self, a: int, b: int) -> None:
        assert self.ours(b"SWAPDB", b"%d" % a, b"%d" % b) == b"+OK\r\n"
        self.model[a], self.model[b] = self.model[b], self.model[a]

    @rule(everything=st.booleans())
    def flush(self, everything: bool) -> None:
        self.ours(b"FLUSHALL" if everything else b"FLUSHDB")
        for index in range(3):
            if everything or index == self.here:
                self.model[index] = {}

    @rule(span=st.integers(1, 2500))
    def wait(self, span: int) -> None:
        self.ours.set_time(self.now_ms + span)

    @rule(limit=st.integers(1, 30), refuses=st.booleans())
    def cycle(self, limit: int, refuses: bool) -> None:
        """Active expiry: it removes nothing but what is due, and nothing at all that it cannot log."""
        tx = self.ours.tx
        before = self.ours.keyspace.key_count()
        self.ours.sink.refuses = refuses
        removed = expire_cycle(tx, limit)
        self.ours.sink.refuses = False
        payload = tx.take()
        self.ours.records += [payload] if payload else []
        assert tx.db_index == self.here
        assert tx.db is self.ours.keyspace.databases[self.here]
        assert self.ours.keyspace.key_count() == before - removed
        assert removed <= limit
        assert not (refuses and (removed or payload))

    @rule()
    def look_everywhere(self) -> None:
        """KEYS, SCAN, DBSIZE, RANDOMKEY and deadlines tell what the model tells."""
        db = self.alive()
        assert set(plain(self.ours(b"KEYS", b"*"))) == set(db)
        cursor, seen = b"0", set()
        while True:
            cursor, page = plain(self.ours(b"SCAN", cursor, b"COUNT", b"2"))
            seen.update(page)
            if cursor == b"0":
                break
        assert seen == set(db)
        assert plain(self.ours(b"DBSIZE")) == len(db)
        assert plain(self.ours(b"RANDOMKEY")) in (db or {None: None})
        for key, (_, deadline) in db.items():
            assert plain(self.ours(b"PEXPIRETIME", key)) == (-1 if deadline is None else deadline)

    @rule()
    def everything_due_goes(self) -> None:
        """Enough cycles leave nothing that is due."""
        while expire_cycle(self.ours.tx, 5) or self._any_due():
            pass
        payload = self.ours.tx.take()
        self.ours.records += [payload] if payload else []

    def _any_due(self) -> bool:
        return any(
            deadline <= self.now_ms for db in self.ours.keyspace.databases for deadline in db.expires.values()
        )

    @rule()
    def free(self) -> None:
        self.ours.keyspace.free_some(3)

    @invariant()
    def structures_are_sound_and_hold_the_model(self) -> None:
        self.ours.check()
        for index in range(3):
            db = self.ours.keyspace.databases[index]
            shown = {
                key: (value_types.of(value).plain(value), db.expires.get(key))
                for key, value in db.items()
                if db.expires.get(key, self.now_ms + 1) > self.now_ms
            }
            told = {
                key: (frozenset(value.items()) if isinstance(value, dict) else value, deadline)
                for key, (value, deadline) in self.alive(index).items()
            }
            assert shown == told

    def teardown(self) -> None:
        again = replayed(b"".join(self.ours.records), self.now_ms + 1_000_000)
        assert again.raw_state() == self.ours.raw_state()
        again.check()


TestKeyspaceMachine = KeyspaceMachine.TestCase
TestKeyspaceMachine.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
