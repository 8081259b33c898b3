"""A hypothesis machine over hashes whose fields expire: every hash command, time, active expiry, a log that refuses.

The model is a dict for each key, field -> (value, deadline), from which what is due is taken away whenever it is looked
at.  At the end the log replays to the same keyspace, due fields included.
"""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from oracle_harness import Ours, commands_of, plain, replayed

from perdure.store.events import GENERIC, HASH
from perdure.store.field_expiry import expire_fields

keys = st.sampled_from([b"h", b"g"])
fields = st.integers(0, 7).map(lambda n: b"f%d" % n)
several = st.lists(fields, min_size=1, max_size=4)
conditions = st.sampled_from(["", "NX", "XX", "GT", "LT"])
spans = st.integers(0, 300)
Fields = dict[bytes, tuple[bytes, int | None]]


class FieldExpiryMachine(RuleBasedStateMachine):
    """Two hashes, one clock, one log."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = Ours(now_ms=1_000_000)
        self.ours.tx.rng = Random(5)
        self.ours.tx.notifying = HASH | GENERIC
        self.ours.tx.limits["hash-max-listpack-entries"] = 4
        self.model: dict[bytes, Fields] = {}

    @property
    def now_ms(self) -> int:
        return self.ours.tx.now_ms

    def alive(self, key: bytes) -> Fields:
        """A hash of the model, without what is due."""
        found = self.model.setdefault(key, {})
        for field in [f for f, (_, deadline) in found.items() if deadline is not None and deadline <= self.now_ms]:
            del found[field]
        return found

    @rule(key=keys, names=several, value=st.sampled_from([b"1", b"2", b"x"]))
    def hset(self, key: bytes, names: list[bytes], value: bytes) -> None:
        found = self.alive(key)
        new = {name for name in names if name not in found}
        assert self.ours(b"HSET", key, *(word for name in names for word in (name, value))) == b":%d\r\n" % len(new)
        found.update(dict.fromkeys(names, (value, None)))

    @rule(key=keys, name=fields)
    def hsetnx(self, key: bytes, name: bytes) -> None:
        found = self.alive(key)
        assert self.ours(b"HSETNX", key, name, b"7") == b":%d\r\n" % (name not in found)
        found.setdefault(name, (b"7", None))

    @rule(key=keys, name=fields, floating=st.booleans())
    def count(self, key: bytes, name: bytes, floating: bool) -> None:
        found = self.alive(key)
        value, deadline = found.get(name, (b"0", None))
        reply = self.ours(b"HINCRBYFLOAT" if floating else b"HINCRBY", key, name, b"3")
        if value == b"x":
            assert reply.startswith(b"-ERR hash value is not")
        else:
            found[name] = b"%d" % (int(value) + 3), deadline
            assert plain(reply) in (found[name][0], int(found[name][0]))

    @rule(key=keys, names=several)
    def hdel(self, key: bytes, names: list[bytes]) -> None:
        found = self.alive(key)
        gone = {name for name in names if name in found}
        assert self.ours(b"HDEL", key, *names) == b":%d\r\n" % len(gone)
        for name in gone:
            del found[name]
        if not found:
            assert not gone or self.ours(b"EXISTS", key) == b":0\r\n"

    @rule(key=keys, names=several, span=spans, way=st.integers(0, 3), condition=conditions)
    def expire(self, key: bytes, names: list[bytes], span: int, way: int, condition: str) -> None:
        found = self.alive(key)
        name = (b"HPEXPIRE", b"HPEXPIREAT", b"HEXPIRE", b"HEXPIREAT")[way]
        unit = 1000 if way > 1 else 1
        start = self.now_ms if way % 2 == 0 else 0
        asked = span if way % 2 == 0 else (self.now_ms + span - 40) // unit
        deadline = start + asked * unit
        words = [condition.encode()] if condition else []
        told = plain(self.ours(name, key, b"%d" % asked, *words, b"FIELDS", b"%d" % len(names), *names))
        assert told == [self.expire_one(found, field, deadline, condition) for field in names]

    def expire_one(self, found: Fields, field: bytes, deadline: int, condition: str) -> int:
        if field not in found:
            return -2
        value, old = found[field]
        infinite = float("inf") if old is None else old
        allowed = {
            "": True, "NX": old is None, "XX": old is not None, "GT": deadline > infinite, "LT": deadline < infinite,
        }[condition]  # fmt: skip
        if not allowed:
            return 0
        if deadline <= self.now_ms:
            del found[field]
            return 2
        found[field] = value, deadline
        return 1

    @rule(key=keys, names=several)
    def hpersist(self, key: bytes, names: list[bytes]) -> None:
        found = self.alive(key)
        expected = []
        for name in names:
            value, deadline = found.get(name, (b"", None))
            expected.append(-2 if name not in found else -1 if deadline is None else 1)
            if name in found:
                found[name] = value, None
        assert plain(self.ours(b"HPERSIST", key, b"FIELDS", b"%d" % len(names), *names)) == expected

    @rule(source=keys, newkey=keys, way=st.sampled_from([b"COPY", b"RENAME"]))
    def place(self, source: bytes, newkey: bytes, way: bytes) -> None:
        if source == newkey or not self.alive(source):
            return
        self.ours(way, source, newkey, *([b"REPLACE"] if way == b"COPY" else []))
        self.model[newkey] = dict(self.model[source]) if way == b"COPY" else self.model.pop(source)

    @rule(key=keys, value=st.sampled_from([None, b"text"]))
    def something_else(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            self.ours(b"SET", key, value)
        self.ours(b"DEL", key)
        self.model[key] = {}

    @rule(span=st.integers(1, 200))
    def wait(self, span: int) -> None:
        self.ours.set_time(self.now_ms + span)

    @rule(limit=st.integers(1, 6), refuses=st.booleans())
    def cycle(self, limit: int, refuses: bool) -> None:
        """A step of active expiry: fields that are due and no others, and none that cannot be logged."""
        tx = self.ours.tx
        self.ours.sink.refuses = refuses
        removed = expire_fields(tx, limit)
        self.ours.sink.refuses = False
        payload = tx.take()
        self.ours.records += [payload] if payload else []
        assert removed <= limit
        assert not (refuses and (removed or payload))

    @rule()
    def everything_due_goes(self) -> None:
        """Enough steps leave nothing that is due, neither a field nor a key without fields."""
        while expire_fields(self.ours.tx, 2):
            pass
        payload = self.ours.tx.take()
        self.ours.records += [payload] if payload else []
        for key in (b"h", b"g"):
            assert (key in self.ours.tx.db) == bool(self.alive(key))
            assert not self.alive(key) or dict.__len__(self.ours.tx.db[key]) == len(self.alive(key))

    @rule(key=keys, refuses=st.booleans())
    def look(self, key: bytes, refuses: bool) -> None:
        """All that reads a hash tells what the model tells, also while the log refuses."""
        found = self.alive(key)
        ours = self.ours
        ours.sink.refuses = refuses
        names = [b"f%d" % n for n in range(8)]
        shown = plain(ours(b"HGETALL", key))
        assert dict(zip(shown[::2], shown[1::2], strict=True)) == {name: value for name, (value, _) in found.items()}
        assert set(plain(ours(b"HKEYS", key))) == set(found)
        assert sorted(plain(ours(b"HVALS", key))) == sorted(value for value, _ in found.values())
        assert plain(ours(b"HLEN", key)) == len(found)
        assert plain(ours(b"HMGET", key, *names)) == [found.get(name, (None,))[0] for name in names]
        for name in names:
            value = found[name][0] if name in found else None
            assert plain(ours(b"HGET", key, name)) == value
            assert plain(ours(b"HEXISTS", key, name)) == (name in found)
            assert plain(ours(b"HSTRLEN", key, name)) == len(value or b"")
        assert plain(ours(b"HRANDFIELD", key)) in (found or {None: None})
        assert set(plain(ours(b"HRANDFIELD", key, b"20"))) == set(found)
        assert set(plain(ours(b"HRANDFIELD", key, b"-9"))) <= set(found)
        cursor, page = plain(ours(b"HSCAN", key, b"0", b"COUNT", b"100"))
        assert (cursor, set(page[::2])) == (b"0", set(found))
        asked = [b"FIELDS", b"8", *names]
        deadlines = [-2 if name not in found else found[name][1] or -1 for name in names]
        assert plain(ours(b"HPEXPIRETIME", key, *asked)) == deadlines
        assert plain(ours(b"HPTTL", key, *asked)) == [d if d < 0 else d - self.now_ms for d in deadlines]
        assert plain(ours(b"HEXPIRETIME", key, *asked)) == [d if d < 0 else -(-d // 1000) for d in deadlines]
        assert plain(ours(b"HTTL", key, *asked)) == [d if d < 0 else -((self.now_ms - d) // 1000) for d in deadlines]
        ours.sink.refuses = False

    @rule(key=keys, name=fields)
    def a_refused_write_changes_nothing(self, key: bytes, name: bytes) -> None:
        before = self.ours.raw_state()
        self.ours.sink.refuses = True
        for argv in ([b"HINCRBY", key, name, b"1"], [b"HSETNX", key, name, b"1"], [b"HSET", key, name, b"1"],
                     [b"HPEXPIRE", key, b"5", b"FIELDS", b"1", name], [b"HINCRBYFLOAT", key, name, b"1"],
                     [b"HPEXPIRE", key, b"0", b"FIELDS", b"1", name], [b"HDEL", key, name]):  # fmt: skip
            self.ours(*argv)
        self.ours.sink.refuses = False
        assert self.ours.raw_state() == before

    @invariant()
    def structures_are_sound(self) -> None:
        self.ours.tx.events.clear()
        self.ours.check()
        db = self.ours.tx.db
        for key, value in db.items():
            if value.__class__.__name__ == "ExpiringHash" and value.deadlines.by_field:
                assert db.member_expires[key] <= value.deadlines.first_ms()

    def teardown(self) -> None:
        payload = b"".join(self.ours.records)
        again = replayed(payload, self.now_ms + 1_000_000)
        assert again.raw_state() == self.ours.raw_state()
        again.check()
        logged = {argv[0] for argv in commands_of(payload)}
        assert not logged & {b"HEXPIRE", b"HPEXPIRE", b"HEXPIREAT"}, "relative deadlines are logged absolute"


TestFieldExpiryMachine = FieldExpiryMachine.TestCase
TestFieldExpiryMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
