"""RDB files beside stock: what it holds of them, and any keyspace through both and back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_generators import IN_A_DUMP
from oracle_harness import LOOSE, Oracle, Ours, plain
from oracle_lines import Lines
from rdb_forms import FORMS, FUTURE_MS, MODULE_DATA, MODULE_ID, file, key, length, stream, text
from rdb_stock import (
    check_against_stock,
    contents,
    digest,
    events_of,
    file_of,
    keyspace_of,
    loaded,
    stock_loads,
    stock_saves,
)

from perdure.snapshot.keyspace import put
from perdure.snapshot.rdb.events import Function
from perdure.snapshot.store_values import MAKERS
from perdure.store import value_types
from perdure.store.database import Keyspace
from perdure.store.hash_value import Hash, PackedHash, with_deadlines

pytestmark = pytest.mark.oracle

STOCK_TYPES = [form for form in FORMS if form[1] <= 18 and form[3] != []]
"""Those that stock 7.0 reads."""


def test_every_old_encoding_is_what_stock_makes_of_it(stock: Oracle) -> None:
    parts = [key(code, name.encode(), value) for name, code, value, _ in STOCK_TYPES]
    parts += [key(15, b"stream", stream(1)), b"\xfe\x05", key(19, b"stream 2", stream(2))]
    check_against_stock(stock, file(*parts, version=10))


def test_empty_and_expired_keys_are_left_out_as_stock_does(stock: Oracle) -> None:
    parts = [key(code, name.encode(), value) for name, code, value, expected in FORMS if expected == []]
    past, future = ((1000).to_bytes(8, "little"), FUTURE_MS.to_bytes(8, "little"))
    parts += [key(4, b"h", b"\0"), b"\xfc" + past + key(0, b"past", text(b"1"))]
    parts += [b"\xfc" + future + key(0, b"f", text(b"2"))]
    check_against_stock(stock, file(*parts, version=10))


def test_functions_of_both_kinds_are_what_stock_makes_of_them(stock: Oracle) -> None:
    body = b"redis.register_function('%b', function(keys, args) return 1 end)"
    data = file(
        b"\xf5" + text(b"#!lua name=new\n" + body % b"f1", 14),
        b"\xf6" + text(b"old") + text(b"LUA") + b"\1" + text(b"about") + text(body % b"f2", 14), version=10,
    )  # fmt: skip
    try:
        stock_loads(stock, data)
        theirs = {event.code for event in events_of(stock_saves(stock)) if isinstance(event, Function)}
        assert theirs == {event.code for event in events_of(data) if isinstance(event, Function)}
    finally:
        stock(b"FUNCTION", b"FLUSH")


# ---- any keyspace ----------------------------------------------------------------------

WORDS = st.one_of(
    st.binary(max_size=12),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: b"%d" % n),
    st.integers(-300, 300).map(lambda n: b"%d" % n),
    st.sampled_from([63, 64, 65, 130, 4096, 9000]).map(lambda n: b"w" * n),
    st.text(max_size=70).map(str.encode),
)
SCORES = st.one_of(st.floats(allow_nan=False), st.integers(-100, 100).map(float)).map(lambda score: score or 0.0)
SCORED = st.dictionaries(WORDS, SCORES, min_size=1, max_size=8)
FIELDS = st.dictionaries(WORDS, WORDS, min_size=1, max_size=8)
COUNTS = st.sampled_from([0, 0, 0, 0, 0, 0, 150, 600])


def grown(values: st.SearchStrategy[Any], more: Callable[[int], Any]) -> st.SearchStrategy[Any]:
    """Values, some of them with so many members more that they take the large form."""
    return st.tuples(values, COUNTS).map(lambda pair: type(pair[0])([*_items(pair[0]), *map(more, range(pair[1]))]))


def _items(value: Any) -> list[Any]:
    return list(value.items()) if isinstance(value, dict) else list(value)


VALUES = st.one_of(
    st.tuples(st.just(b"string"), WORDS),
    st.tuples(st.just(b"list"), grown(st.lists(WORDS, min_size=1, max_size=8), lambda n: b"%d" % n)),
    st.tuples(st.just(b"set"), grown(st.sets(WORDS, min_size=1, max_size=8), lambda n: b"%d" % n)).map(
        lambda pair: (pair[0], list(pair[1]))
    ),
    st.tuples(st.just(b"set"), st.sets(st.integers(-70_000, 70_000).map(lambda n: b"%d" % n), min_size=1).map(list)),
    st.tuples(st.just(b"zset"), grown(SCORED, lambda n: (b"%d" % n, n / 3))),
    st.tuples(st.just(b"hash"), grown(FIELDS, lambda n: (b"%d" % n, b"v"))),
)
KEYS = st.dictionaries(
    st.tuples(st.integers(0, 15), WORDS), st.tuples(VALUES, st.one_of(st.none(), st.just(FUTURE_MS))), max_size=12
)


def keyspace_with(keys: dict[tuple[int, bytes], Any]) -> Keyspace:
    keyspace = Keyspace(16)
    limits = dict(value_types.DEFAULT_LIMITS)
    for (index, name), ((kind, value), expires_ms) in keys.items():
        put(keyspace.databases[index], name, MAKERS[kind](value, 0, keyspace, limits), expires_ms)
    return keyspace


def check_round(stock: Oracle, keyspace: Keyspace) -> None:
    """Ours, stock, ours: nothing is lost on the way, and stock sees no difference between its file and ours."""
    before = contents(keyspace)
    stock_loads(stock, file_of(keyspace))
    summed = digest(stock)
    back = keyspace_of(stock_saves(stock))
    for mine, theirs in zip(before, contents(back), strict=True):
        assert mine == theirs
    stock_loads(stock, file_of(back))
    assert digest(stock) == summed


@given(keys=KEYS)
@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_any_keyspace_goes_through_stock_and_back(stock: Oracle, keys: dict[tuple[int, bytes], Any]) -> None:
    check_round(stock, keyspace_with(keys))


def unpacked(keyspace: Keyspace, index: int, name: bytes) -> Hash:
    """A key's hash, not packed any more."""
    value = keyspace.databases[index][name]
    if isinstance(value, PackedHash):
        value = keyspace.databases[index][name] = value.unpacked()
    assert isinstance(value, Hash)
    return value


@given(keys=KEYS, version=st.sampled_from([9, 10, 11, 12]), data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_keyspace_comes_back_in_every_version(
    keys: dict[tuple[int, bytes], Any], version: int, data: st.DataObject
) -> None:
    """Hashes whose fields expire among them."""
    keyspace = keyspace_with(keys)
    for (index, name), ((kind, _), _) in keys.items():
        value = keyspace.databases[index][name]
        if kind == b"hash" and data.draw(st.booleans()):
            value = unpacked(keyspace, index, name)
            field = data.draw(st.sampled_from(sorted(value)))
            with_deadlines(value, keyspace).deadlines.set(field, FUTURE_MS)
    found = keyspace_of(file_of(keyspace, version=version, own_facts=True))
    assert contents(found) == contents(keyspace)
    assert found.databases[0].member_expires.keys() == {
        name for name, value in keyspace.databases[0].items() if getattr(value, "deadlines", None)
    }


def _loose(state: list[dict[bytes, Any]]) -> list[dict[bytes, Any]]:
    return [
        {name: (kind, LOOSE.get(kind, lambda same: same)(value), at) for name, (kind, value, at) in db.items()}
        for db in state
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_keyspace_that_commands_made_goes_through_stock_and_back(stock: Oracle, seed: int) -> None:
    """Streams with groups, and all that is in the middle of a change."""
    ours = Ours()
    names = [*IN_A_DUMP, b"XDEL", b"XTRIM", b"XACK", b"SREM", b"LPOP", b"ZREM", b"HDEL"]
    ours.run(Lines(7000 + seed).many(3000, names))
    check_round(stock, ours.keyspace)
    assert any(kind == b"stream" for db in contents(ours.keyspace) for kind, _, _ in db.values())


def test_field_deadlines_ride_where_stock_does_not_look(stock: Oracle) -> None:
    keyspace = keyspace_with({(0, b"h"): ((b"hash", {b"a": b"1", b"b": b"2"}), FUTURE_MS)})
    with_deadlines(unpacked(keyspace, 0, b"h"), keyspace).deadlines.set(b"a", FUTURE_MS)
    data = file_of(keyspace, own_facts=True)
    stock_loads(stock, data)
    assert plain(stock(b"HGETALL", b"h")) == [b"a", b"1", b"b", b"2"]
    assert contents(keyspace_of(data)) == contents(keyspace)


def test_a_file_of_stock_is_read_to_its_last_fact(stock: Oracle) -> None:
    stock.reset()
    stock(b"SET", b"k", b"v")
    found = loaded(stock_saves(stock))
    assert found.keys == 1 and found.facts[b"redis-ver"] == stock.version
    assert {b"redis-bits", b"ctime", b"used-mem", b"aof-base"} <= found.facts.keys()


def test_a_file_without_its_modules_is_one_that_stock_loads(stock: Oracle) -> None:
    data = file(key(7, b"m", length(MODULE_ID) + MODULE_DATA), key(0, b"a", text(b"1")))
    found = loaded(data)
    assert found.modules == 1
    stock_loads(stock, file_of(found.keyspace))
    assert plain(stock(b"KEYS", b"*")) == [b"a"]
