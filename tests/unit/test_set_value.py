"""The value of a set: encodings that stick, widths, tables that shrink, orders that keep up, and what draws cost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types
from perdure.store.command import TABLE
from perdure.store.database import Keyspace
from perdure.store.key_order import KeyOrder
from perdure.store.set_value import IntSet, Set
from perdure.store.tx import NoLog, Tx

LIMITS = {"set-max-intset-entries": 4}


class CountingRandom(Random):
    """Says how often it was asked."""

    asked = 0

    def random(self) -> float:
        self.asked += 1
        return super().random()


class Counted(bytes):
    """A member that says how often any of them was looked for in a table."""

    looked_for = 0

    def __hash__(self) -> int:
        Counted.looked_for += 1
        return super().__hash__()


def new_tx(rng: Random | None = None, limits: dict[str, int] = LIMITS) -> Tx:
    return Tx(Keyspace(2), NoLog(), rng or Random(1), dict(limits))


def run(tx: Tx, *argv: bytes) -> bytes:
    return TABLE[argv[0]].handler(tx, list(argv))


def encoding(tx: Tx, key: bytes = b"s") -> bytes:
    value = tx.db[key]
    return value_types.of(value).encoding(value, tx.limits)


def test_integers_turn_into_a_table_by_count_and_by_another_member_and_stay_so() -> None:
    for more in ([b"5"], [b"x"], [b"01"]):
        tx = new_tx()
        run(tx, b"SADD", b"s", b"4", b"1", b"3", b"2")
        assert encoding(tx) == b"intset"
        assert tx.db[b"s"].members() == [b"1", b"2", b"3", b"4"]
        run(tx, b"SADD", b"s", *more)
        assert encoding(tx) == b"hashtable"
        run(tx, b"SREM", b"s", *more)
        assert encoding(tx) == b"hashtable"


def test_the_missing_threshold_is_stocks() -> None:
    assert new_tx(limits={}).limits["set-max-intset-entries"] == 512


@pytest.mark.parametrize(
    ("wide", "size"), [(32767, 2), (-32768, 2), (32768, 4), (-32769, 4), (1 << 31, 8), (-(1 << 63), 8)]
)
def test_an_array_is_as_wide_as_its_widest_member_once_was(wide: int, size: int) -> None:
    tx = new_tx()
    run(tx, b"SADD", b"s", b"7", b"-7")
    run(tx, b"SADD", b"s", b"%d" % wide)
    assert tx.db[b"s"].itemsize == size
    run(tx, b"SREM", b"s", b"%d" % wide)
    assert tx.db[b"s"].itemsize == size
    assert list(tx.db[b"s"]) == [-7, 7]


def test_a_copy_shares_nothing_changeable() -> None:
    for value in (Set([b"a", b"b"]), IntSet("i", [1, 2])):
        members = value.members()
        twin = value_types.of(value).copy(value)
        twin.drop(members[:1])
        assert value.members() == members
        assert twin.members() == members[1:]
        assert twin.__class__ is value.__class__


@given(st.sets(st.one_of(st.binary(max_size=8), st.integers(-99, 99).map(lambda n: b"%d" % n)), min_size=1))
def test_rebuild_makes_the_same_set_in_bounded_commands(members: set[bytes]) -> None:
    tx = new_tx(limits={})
    run(tx, b"SADD", b"s", *members)
    value = tx.db[b"s"]
    for line in value_types.of(value).rebuild(b"k", value):
        assert len(line) <= 130
        run(tx, *line)
    assert value_types.of(value).plain(tx.db[b"k"]) == frozenset(members)


operations = st.lists(
    st.tuples(
        st.sampled_from(["SADD", "SADD many", "SREM", "SREM many", "SPOP", "SPOP many", "draw", "SMOVE"]),
        st.one_of(st.integers(0, 60), st.sampled_from([40_000, -(1 << 40), 1 << 62])),
        st.booleans(),
    ),
    max_size=100,
)


@given(operations, st.sampled_from([0, 4, 512]))
def test_any_script_leaves_what_a_plain_set_has(script: list[tuple[str, int, bool]], most: int) -> None:
    tx = new_tx(limits={"set-max-intset-entries": most})
    model: set[bytes] = set()
    for kind, n, integer in script:
        name = b"%d" if integer else b"m%d"
        many = [name % (n + i) for i in range(40)]
        if kind.startswith("SADD"):
            run(tx, b"SADD", b"s", *many[: 40 if "many" in kind else 1])
            model.update(many[: 40 if "many" in kind else 1])
        elif kind.startswith("SREM"):
            run(tx, b"SREM", b"s", *many[: 40 if "many" in kind else 1])
            model.difference_update(many[: 40 if "many" in kind else 1])
        elif kind == "SMOVE":
            run(tx, b"SMOVE", b"s", b"other", many[0])
            model.discard(many[0])
        elif kind == "draw" and isinstance(tx.db.get(b"s"), Set):
            assert tx.db[b"s"].ordered().choose(tx.rng) in model
        elif kind.startswith("SPOP"):
            run(tx, b"SPOP", b"s", *([b"%d" % (n % 30)] if "many" in kind else []))
            left = set(tx.db[b"s"].members()) if b"s" in tx.db else set()
            assert left <= model
            assert len(left) == max(0, len(model) - (n % 30 if "many" in kind else 1))
            model = left
        assert (b"s" in tx.db) == bool(model)
        if model:
            assert sorted(tx.db[b"s"].members()) == sorted(model)
            tx.db[b"s"]._check()
        tx.db._check()


def test_a_set_that_has_shrunk_gives_its_table_back() -> None:
    for how in (b"SREM", b"SPOP"):
        tx = new_tx()
        names = [b"m%d" % n for n in range(20_000)]
        run(tx, b"SADD", b"s", *names)
        full = tx.db[b"s"].__sizeof__()
        for name in names[:-3]:
            run(tx, how, b"s", *([name] if how == b"SREM" else []))
        assert len(tx.db[b"s"]) == 3
        assert tx.db[b"s"].__sizeof__() < full / 100
        tx.db[b"s"]._check()


def test_sets_that_nobody_draws_from_have_no_order() -> None:
    tx = new_tx()
    run(tx, b"SADD", b"s", *(b"m%d" % n for n in range(1000)))
    for argv in (b"SREM s m1", b"SISMEMBER s m2", b"SMEMBERS s", b"SUNIONSTORE d s", b"SPOP d 10000", b"SMOVE s e m9"):
        run(tx, *argv.split())
    assert tx.db[b"s"].order is None
    run(tx, b"SADD", b"few", b"a", b"b", b"c")
    run(tx, b"SPOP", b"few")
    run(tx, b"SRANDMEMBER", b"few")
    run(tx, b"SSCAN", b"few", b"0")
    assert tx.db[b"few"].order is None


def test_a_set_of_very_many_members_has_an_order_before_anybody_draws() -> None:
    tx = new_tx()
    run(tx, b"SADD", b"s", *(b"m%d" % n for n in range(1 << 16)))
    assert tx.db[b"s"].order is None
    run(tx, b"SADD", b"s", b"one more")
    run(tx, b"SUNIONSTORE", b"d", b"s")
    run(tx, b"SADD", b"t", *(b"m%d" % n for n in range((1 << 16) - 1)))
    run(tx, b"SADD", b"t", b"a", b"b")
    for key in (b"s", b"d", b"t"):
        assert tx.db[key].order is not None
        tx.db[key]._check()


@pytest.mark.parametrize("size", [10**3, 10**5, 10**6])
def test_a_draw_costs_the_same_however_big_the_set_is(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[KeyOrder] = []

    def counted_order(members: Set) -> KeyOrder:
        made.append(KeyOrder(members))
        return made[-1]

    monkeypatch.setattr("perdure.store.set_value.KeyOrder", counted_order)
    rng = CountingRandom(7)
    tx = new_tx(rng)
    value = Set(Counted(b"m%d" % n) for n in range(size))
    tx.db.replace(b"s", value)
    run(tx, b"SRANDMEMBER", b"s")
    assert len(made) == 1
    entries = value.ordered().entries
    Counted.looked_for = rng.asked = 0
    for n in range(200):
        run(tx, b"SPOP", b"s")
        run(tx, b"SRANDMEMBER", b"s")
        run(tx, b"SADD", b"s", b"new%d" % n)
        run(tx, b"SPOP", b"s", b"2")
        run(tx, b"SRANDMEMBER", b"s", b"-2")
    assert len(made) == 1 and value.order is made[0]
    assert value.order.entries is entries, "the order was never made anew"
    assert Counted.looked_for < 200 * 50
    assert rng.asked < 200 * 20
    assert len(value) == size - 400


def test_emptying_a_set_draw_by_draw_takes_time_by_its_size_and_no_more() -> None:
    counts = []
    for size in (1000, 8000):
        rng = CountingRandom(7)
        tx = new_tx(rng)
        tx.db.replace(b"s", Set(Counted(b"m%d" % n) for n in range(size)))
        Counted.looked_for = rng.asked = 0
        while b"s" in tx.db:
            run(tx, b"SPOP", b"s")
        counts.append((Counted.looked_for, rng.asked))
    assert counts[1][0] < 9 * counts[0][0]
    assert counts[1][1] < 9 * counts[0][1]
