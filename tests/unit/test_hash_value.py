"""The value of a hash: encodings that stick, copies that share nothing, orders that keep up."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types
from perdure.store.command import TABLE
from perdure.store.database import Keyspace
from perdure.store.hash_value import Hash
from perdure.store.tx import NoLog, Tx

LIMITS = {"hash-max-listpack-entries": 4, "hash-max-listpack-value": 8}


def new_tx() -> Tx:
    return Tx(Keyspace(2), NoLog(), Random(1), dict(LIMITS))


def run(tx: Tx, *argv: bytes) -> bytes:
    return TABLE[argv[0]].handler(tx, list(argv))


def encoding(tx: Tx, key: bytes = b"h") -> bytes:
    value = tx.db[key]
    return value_types.of(value).encoding(value, tx.limits)


def test_a_hash_turns_big_by_count_and_stays_so() -> None:
    tx = new_tx()
    run(tx, b"HSET", b"h", b"a", b"1", b"b", b"2", b"c", b"3", b"d", b"4")
    assert encoding(tx) == b"listpack"
    run(tx, b"HSETNX", b"h", b"e", b"5")
    assert encoding(tx) == b"hashtable"
    run(tx, b"HDEL", b"h", b"a", b"b", b"c")
    assert encoding(tx) == b"hashtable"


def test_a_hash_turns_big_by_a_long_field_or_value() -> None:
    for field, content in ((b"f" * 9, b"1"), (b"f", b"1" * 9)):
        tx = new_tx()
        run(tx, b"HSET", b"h", b"a", b"12345678")
        assert encoding(tx) == b"listpack"
        run(tx, b"HMSET", b"h", b"a", b"1", field, content)
        run(tx, b"HDEL", b"h", field)
        run(tx, b"HSET", b"h", b"a", b"1")
        assert encoding(tx) == b"hashtable"


def test_missing_thresholds_are_stocks() -> None:
    tx = Tx(Keyspace(1), NoLog(), Random(1), {})
    assert tx.limits["hash-max-listpack-entries"] == 512
    assert tx.limits["hash-max-listpack-value"] == 64


def test_a_copy_shares_nothing_changeable_and_keeps_the_encoding() -> None:
    value = Hash({b"a": b"1", b"b": b"2"})
    value.big = True
    value.ordered()
    twin = value_types.of(value).copy(value)
    twin.put(b"c", b"3")
    twin.remove(b"a")
    assert dict(value) == {b"a": b"1", b"b": b"2"}
    assert twin.big
    value._check()
    twin._check()


@given(st.dictionaries(st.binary(max_size=8), st.binary(max_size=8), min_size=1, max_size=200))
def test_rebuild_makes_the_same_hash_in_bounded_commands(items: dict[bytes, bytes]) -> None:
    tx = new_tx()
    value = Hash(items)
    for line in value_types.of(value).rebuild(b"k", value):
        assert len(line) <= 130
        run(tx, *line)
    assert value_types.of(value).plain(tx.db[b"k"]) == value_types.of(value).plain(value)


operations = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "random", "update"]), st.integers(0, 60).map(lambda n: b"%d" % n)),
    max_size=120,
)


@given(operations)
def test_order_keeps_up_with_any_change(script: list[tuple[str, bytes]]) -> None:
    tx = new_tx()
    model: dict[bytes, bytes] = {}
    for kind, field in script:
        if kind == "remove":
            run(tx, b"HDEL", b"h", field)
            model.pop(field, None)
        elif kind == "random" and model:
            assert tx.db[b"h"].ordered().choose(tx.rng) in model
        elif kind == "update":
            run(tx, b"HSET", b"h", field, b"x", b"0", b"y")
            model.update({field: b"x", b"0": b"y"})
        else:
            run(tx, b"HSET", b"h", field, b"1")
            model[field] = b"1"
        assert dict(tx.db.get(b"h", {})) == model
        if model:
            tx.db[b"h"]._check()
        tx.db._check()
