"""The value of a sorted set: encodings that stick, packing that nobody sees, copies that share nothing."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_geo_lines import GEO_GROUP
from oracle_harness import Ours, check_replay, plain
from oracle_lines import Lines
from oracle_zsets_lines import ZSETS_GROUP

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types, warm
from perdure.store.command import TABLE
from perdure.store.database import Keyspace
from perdure.store.tx import NoLog, Tx
from perdure.store.value_types import DEFAULT_LIMITS
from perdure.store.zset_value import ZSet, zset_of

LIMITS = {"zset-max-listpack-entries": 4, "zset-max-listpack-value": 8}


def new_tx(limits: dict[str, int] = LIMITS) -> Tx:
    return Tx(Keyspace(2), NoLog(), Random(1), dict(limits))


def run(tx: Tx, line: str) -> bytes:
    argv = line.encode().split()
    return TABLE[argv[0]].handler(tx, argv)


def encoding(tx: Tx, key: bytes = b"z") -> bytes:
    value = tx.db[key]
    return value_types.of(value).encoding(value, tx.limits)


def test_a_sorted_set_turns_big_by_count_and_stays_so() -> None:
    tx = new_tx()
    run(tx, "ZADD z 1 a 2 b 3 c 4 d")
    assert encoding(tx) == b"listpack"
    run(tx, "ZINCRBY z 1 e")
    assert encoding(tx) == b"skiplist"
    run(tx, "ZREM z a b c")
    assert encoding(tx) == b"skiplist"


@pytest.mark.parametrize("line", ["ZADD z 1 123456789", "ZADD z 1 a 2 123456789", "ZINCRBY z 1 123456789"])
def test_a_sorted_set_turns_big_by_a_long_member(line: str) -> None:
    tx = new_tx()
    run(tx, "ZADD z 1 12345678")
    assert encoding(tx) == b"listpack"
    run(tx, line)
    run(tx, "ZREM z 123456789")
    assert encoding(tx) == b"skiplist"


def test_missing_thresholds_are_stocks() -> None:
    tx = new_tx({})
    assert tx.limits["zset-max-listpack-entries"] == 128
    assert tx.limits["zset-max-listpack-value"] == 64


# ---- packing -------------------------------------------------------------------------------------

scores_of = st.dictionaries(st.binary(max_size=9), st.floats(allow_nan=False), min_size=1, max_size=200)


@given(scores_of)
def test_packing_changes_nothing_that_can_be_seen(scores: dict[bytes, float]) -> None:
    value = zset_of(dict(scores), DEFAULT_LIMITS)
    kind = value_types.of(value)
    before = kind.plain(value), kind.encoding(value, {}), list(kind.rebuild(b"k", value)), len(value)
    value.pack()
    assert (value.packed is not None) == (len(scores) <= 128)
    value._check()
    assert (kind.plain(value), kind.encoding(value, {}), list(kind.rebuild(b"k", value)), len(value)) == before
    assert kind.members is not None
    assert kind.members(value, 0, 3) == kind.members(kind.copy(value), 0, 3)
    if value.packed is not None:
        value.unpack()
    value._check()
    assert dict(value.scores) == scores


def test_what_was_used_longest_ago_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_MOST", 3)
    tx = new_tx()
    for n in range(6):
        run(tx, f"ZADD z{n} 1 a")
    assert [tx.db[b"z%d" % n].packed is not None for n in range(6)] == [True, True, True, False, False, False]
    assert run(tx, "ZSCORE z0 a") == b"$1\r\n1\r\n"
    assert [tx.db[b"z%d" % n].packed is not None for n in range(6)] == [False, True, True, True, False, False]
    run(tx, "ZADD z5 1 a 2 b 3 c 4 d 5 e")
    for n in range(5):
        run(tx, f"ZCARD z{n}")
    assert tx.db[b"z5"].packed is None, "a big one is never packed"
    tx.keyspace._check()
    assert len(tx.keyspace.warm.places) <= 3


def test_with_hardly_anything_unpacked_all_commands_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(5).many(2500, ZSETS_GROUP + GEO_GROUP)
    lines = [argv for argv in lines if argv[0].upper() != b"ZRANDMEMBER"]
    usual = Ours(now_ms=1_000_000)
    replies = usual.run(lines)
    monkeypatch.setattr(warm, "_MOST", 1)
    packing = Ours(now_ms=1_000_000)
    assert packing.run(lines) == replies
    assert packing.raw_state() == usual.raw_state()
    packing.check()
    check_replay(packing)


# ---- what others ask of it -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 100, 300])
def test_a_copy_shares_nothing_changeable_and_keeps_the_encoding(count: int) -> None:
    value = zset_of({b"%d" % n: float(n % 5) for n in range(count)}, LIMITS)
    twin = value_types.of(value).copy(value)
    assert (twin.big is None) == (value.big is None)
    if twin.packed is not None:
        twin.unpack()
    twin.put(b"new", 1.0, LIMITS)
    twin.remove(b"0")
    assert len(value) == count
    assert b"0" in value.scores
    value._check()
    twin._check()


@given(scores_of)
def test_rebuild_makes_the_same_sorted_set_in_bounded_commands(scores: dict[bytes, float]) -> None:
    tx = new_tx()
    value = zset_of(scores, DEFAULT_LIMITS)
    for line in value_types.of(value).rebuild(b"k", value):
        assert len(line) <= 130
        TABLE[line[0]].handler(tx, line)
    assert value_types.of(value).plain(tx.db[b"k"]) == value_types.of(value).plain(value)


def test_a_member_costs_its_memory_once() -> None:
    """The order has the dict's own objects, whichever command brought another copy of the same bytes."""
    ours = Ours()
    rng = Random(2)
    for _ in range(3000):
        member, score = b"member%d" % rng.randrange(300), b"%d" % rng.randrange(50)
        ours(*rng.choice(([b"ZADD", b"z", score, member], [b"ZINCRBY", b"z", b"1", member], [b"ZPOPMIN", b"z"])))
    ours.check()


def free_everything(tx: Tx, count: int) -> int:
    steps = 1
    while tx.keyspace.free_some(count):
        steps += 1
    return steps


@pytest.mark.parametrize("line", ["DEL z", "UNLINK z", "FLUSHALL", "ZREMRANGEBYRANK z 0 -1", "ZUNIONSTORE z 1 nokey"])
def test_a_big_sorted_set_is_freed_in_pieces(line: str) -> None:
    tx = new_tx()
    tx.db.put(b"z", zset_of({b"%d" % n: float(n) for n in range(20_000)}, LIMITS))
    run(tx, line)
    assert not tx.keyspace.databases[0]
    assert free_everything(tx, 5000) >= 4
    assert tx.keyspace.garbage == []


# ---- a machine against a dict --------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["zadd", "zadd", "zincrby", "zrem", "zpopmin", "zpopmax", "byscore", "byrank", "scan"]),
        st.integers(0, 40).map(lambda n: b"m%d" % n),
        st.one_of(st.integers(-3, 3).map(float), st.sampled_from([0.5, -0.0, float("inf"), float("-inf")])),
    ),
    max_size=120,
)


class Machine:
    """One sorted set beside a dict."""

    def __init__(self) -> None:
        self.tx = new_tx()
        self.model: dict[bytes, float] = {}

    def run(self, *argv: bytes) -> Any:
        return plain(TABLE[argv[0]].handler(self.tx, list(argv)))

    def ordered(self) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.model.items())

    def step(self, kind: str, member: bytes, score: float) -> None:
        text = b"%.17g" % score
        if kind == "zadd":
            assert self.run(b"ZADD", b"z", text, member) == (member not in self.model)
            self.model[member] = score
        elif kind == "zincrby":
            total = self.model.get(member, 0.0) + score
            if total == total:
                assert float(self.run(b"ZINCRBY", b"z", text, member)) == total
                self.model[member] = total
        elif kind == "zrem":
            assert self.run(b"ZREM", b"z", member) == (self.model.pop(member, None) is not None)
        elif kind in ("zpopmin", "zpopmax"):
            popped = self.ordered()[:2] if kind == "zpopmin" else self.ordered()[-2:][::-1]
            assert self.run(kind.upper().encode(), b"z", b"2")[::2] == [name for _, name in popped]
            for _, name in popped:
                del self.model[name]
        elif kind == "byscore":
            gone = [name for at, name in self.ordered() if at < -1]
            assert self.run(b"ZREMRANGEBYSCORE", b"z", b"-inf", b"(-1") == len(gone)
            for name in gone:
                del self.model[name]
        elif kind == "byrank":
            gone = [name for _, name in self.ordered()[1:3]]
            assert self.run(b"ZREMRANGEBYRANK", b"z", b"1", b"2") == len(gone)
            for name in gone:
                del self.model[name]
        else:
            cursor, page = self.run(b"ZSCAN", b"z", b"0", b"COUNT", b"1000")
            assert cursor == b"0"
            assert {name: float(at) for name, at in zip(page[::2], page[1::2], strict=True)} == self.model

    def check(self) -> None:
        assert self.run(b"ZRANGE", b"z", b"0", b"-1") == [name for _, name in self.ordered()]
        value = self.tx.db.get(b"z")
        assert (value is None) == (not self.model)
        if isinstance(value, ZSet):
            value._check()


@given(steps)
def test_any_script_leaves_what_a_dict_has_in_order(script: list[tuple[str, bytes, float]]) -> None:
    machine = Machine()
    for kind, member, score in script:
        machine.step(kind, member, score)
        machine.check()
    machine.tx.keyspace._check()
