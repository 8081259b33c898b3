"""Writing RDB files: what each version can hold, what is told of the rest, and that it is a stream."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_forms import FORMS, FUTURE_MS, STREAM_ID, VALKEY_HASH, crc64, file, key, listpack, stream, text
from rdb_stock import contents, events_of, file_of, keyspace_of

from perdure.snapshot.keyspace import dump
from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb import packing
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import (
    End,
    Entry,
    FieldsWithExpiry,
    Function,
    ResizeDb,
    SelectDb,
    StreamConsumer,
    StreamNode,
    StreamValue,
)
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.source import source_of
from perdure.snapshot.rdb.stream_encoder import stream_pieces
from perdure.snapshot.rdb.stream_values import read_stream
from perdure.snapshot.rdb.writer import FLUSH_BYTES, Writer, standard_aux
from perdure.store.stream_nodes import MAX_LISTPACK, Node

VERSIONS = f.WRITTEN


def written(entries: list[Entry], **options: Any) -> bytes:
    out: list[bytes] = []
    writer = Writer(out.append, **options)
    writer.head()
    writer.select(0, len(entries), 0)
    for entry in entries:
        writer.entry(entry.key, entry.type, entry.value, entry.expires_ms, entry.idle_s, entry.freq)
    writer.end()
    return b"".join(out)


def entries_of(data: bytes) -> list[Entry]:
    return [event for event in events_of(data) if isinstance(event, Entry)]


def every_value() -> list[Entry]:
    """A value of every form, each under a key of its own; hashes with field expiry among them."""
    parts = [key(code, name.encode(), value) for name, code, value, expected in FORMS if expected != []]
    parts += [key(code, b"stream %d" % code, stream(generation)) for generation, code in ((1, 15), (2, 19), (3, 21))]
    return entries_of(file(*parts)) + entries_of(file(key(22, b"valkey", VALKEY_HASH[0]), version=80, valkey=True))


def shown(entry: Entry) -> Any:
    """What a value is, whatever encodes it; streams without what only some versions hold."""
    value = entry.value
    if isinstance(value, FieldsWithExpiry):
        return dict(value), value.expires_ms
    if isinstance(value, StreamValue):
        return [node.entries for node in value.nodes], value.last_id, [group.pending for group in value.groups]
    return sorted(value) if entry.type == b"set" else value


# ---- versions --------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compress", [False, True])
def test_every_value_survives_in_every_version_or_is_told_of(version: int, compress: bool) -> None:
    entries = every_value()
    lost: list[tuple[bytes | None, str]] = []
    data = written(entries, version=version, compress=compress, lost=lambda name, what: lost.append((name, what)))
    assert data[:9] == b"REDIS%04d" % version
    again = {entry.key: entry for entry in entries_of(data)}
    assert len(again) == len(entries)
    losers = {name for name, _ in lost}
    for entry in entries:
        before, after = shown(entry), shown(again[entry.key])
        if entry.key in losers and entry.type == b"hash":
            before = before[0]
        assert after == before, (entry.key, version)
    expiring = {entry.key for entry in entries if isinstance(entry.value, FieldsWithExpiry)}
    old = {9: {b"stream 15", b"stream 19", b"stream 21"} - {b"stream 15"}, 10: {b"stream 21"}, 11: set(), 12: set()}
    assert losers == old[version] | (expiring if version < 12 else set())


def test_a_loss_that_nobody_is_told_of_is_an_error() -> None:
    value = FieldsWithExpiry({b"a": b"1"}, {b"a": FUTURE_MS})
    writer = Writer(lambda data: None)
    with pytest.raises(RdbError, match="key 'k': version 10 cannot hold when fields of a hash expire") as error:
        writer.entry(b"k", b"hash", value)
    assert error.value.key == b"k"
    with pytest.raises(RdbError, match="version 9 cannot hold functions"):
        Writer(lambda data: None, version=9).function(b"code")
    with pytest.raises(RdbError, match="version 13"):
        Writer(lambda data: None, version=13)
    with pytest.raises(RdbError, match="module"):
        writer.entry(b"k", b"module", None)


def test_what_a_loss_leaves_can_be_read() -> None:
    told: list[Any] = []
    out: list[bytes] = []
    writer = Writer(out.append, version=9, lost=lambda name, what: told.append((name, what)))
    writer.head()
    writer.function(b"code")
    writer.entry(b"h", b"hash", FieldsWithExpiry({b"a": b"1"}, {b"a": FUTURE_MS}))
    writer.end()
    assert told == [(None, "version 9 cannot hold functions"),
                    (b"h", "version 9 cannot hold when fields of a hash expire")]  # fmt: skip
    (entry,) = entries_of(b"".join(out))
    assert entry.value == {b"a": b"1"} and not isinstance(entry.value, FieldsWithExpiry)


def test_facts_of_our_own_hold_what_the_version_cannot() -> None:
    value = FieldsWithExpiry({b"a": b"1", b"b": b"2", b"c" * 70: b"3"}, {b"a": FUTURE_MS, b"c" * 70: 5})
    for version in VERSIONS:
        entry = Entry(0, b"h", b"hash", value, FUTURE_MS, None, None, 0, 0)
        data = written([entry, entry._replace(key=b"g", value={b"x": b"y"})], version=version, own_facts=True)
        first, second = entries_of(data)
        assert (dict(first.value), first.value.expires_ms) == (dict(value), value.expires_ms)
        assert first.expires_ms == FUTURE_MS and not isinstance(second.value, FieldsWithExpiry)
        assert (b"perdure-field-deadlines" in data) == (version < 12)


def test_the_types_of_version_10_are_those_of_stock() -> None:
    many = {b"%d" % n: b"v" for n in range(513)}
    rows: list[tuple[bytes, Any, bool | None, int]] = [
        (b"string", b"x", None, f.STRING), (b"list", [b"a"], None, f.LIST_QUICKLIST_2),
        (b"hash", {b"a": b"1"}, None, f.HASH_LISTPACK), (b"hash", {b"a": b"1"}, True, f.HASH),
        (b"hash", many, None, f.HASH),
        (b"hash", {b"a": b"x" * 65}, None, f.HASH), (b"hash", {b"a": b"x" * 64}, None, f.HASH_LISTPACK),
        (b"hash", {b"a": b"x" * 65}, False, f.HASH_LISTPACK), (b"zset", {b"a": 1.0}, None, f.ZSET_LISTPACK),
        (b"zset", dict.fromkeys(list(many)[:129], 1.0), None, f.ZSET), (b"zset", {b"a" * 65: 1.0}, None, f.ZSET),
        (b"set", [b"1", b"2"], None, f.SET_INTSET), (b"set", [b"1", b"2"], True, f.SET),
        (b"set", [b"1", b"b"], None, f.SET),
        (b"set", list(many), None, f.SET), (b"set", list(many)[:512], None, f.SET_INTSET),
        (b"stream", StreamValue([], 0, 0, 0), None, f.STREAM_2),
    ]  # fmt: skip
    for kind, value, big, code in rows:
        assert Encoder(10).value(kind, value, big)[0] == code, (kind, big, code)
    assert Encoder(10, limits={"hash-max-listpack-entries": 1}).value(b"hash", {b"a": b"", b"b": b""})[0] == f.HASH
    assert Encoder(11).value(b"set", [b"1", b"b"])[0] == f.SET_LISTPACK
    assert Encoder(11).value(b"set", [b"b" * 65])[0] == f.SET
    assert Encoder(12).value(b"hash", FieldsWithExpiry({b"a": b"1"}, {b"a": 5}))[0] == f.HASH_LISTPACK_EX
    assert Encoder(12).value(b"hash", FieldsWithExpiry(many, {b"1": 5}))[0] == f.HASH_FIELDS
    plain = ((b"list", [b"a"], f.LIST), (b"hash", {b"a": b"1"}, f.HASH), (b"zset", {b"a": 1.0}, f.ZSET))
    for kind, value, code in plain:
        assert Encoder(9).value(kind, value)[0] == code


def test_fields_of_a_packed_hash_come_by_deadline() -> None:
    """Version 12 looks for what is due from the front."""
    value = FieldsWithExpiry({b"never": b"1", b"late": b"2", b"soon": b"3"}, {b"late": 9000, b"soon": 5})
    _, (first_ms, packed) = Encoder(12, compress=False).value(b"hash", value)
    assert first_ms == struct.pack("<q", 5)
    assert packed == text(listpack([b"soon", b"3", b"5", b"late", b"2", b"9000", b"never", b"1", b"0"]))


# ---- the file --------------------------------------------------------------------------


def test_a_file_has_head_facts_databases_and_checksum() -> None:
    out: list[bytes] = []
    writer = Writer(out.append)
    writer.head(standard_aux("7.0.15", 1_700_000_000, 1_000_000, True))
    writer.function(b"#!lua name=a\n")
    writer.select(3, 2, 1)
    writer.entry(b"a", b"string", b"1", FUTURE_MS, 70)
    writer.entry(b"b", b"string", b"2", None, None, 255)
    size = writer.end()
    data = b"".join(out)
    assert size == len(data) == writer.written
    found = events_of(data)
    assert [tuple(event)[:2] for event in found[:5]] == [
        (b"redis-ver", b"7.0.15"), (b"redis-bits", b"64"), (b"ctime", b"1700000000"), (b"used-mem", b"1000000"),
        (b"aof-base", b"1"),
    ]  # fmt: skip
    assert found[5:8] == [Function(b"#!lua name=a\n"), SelectDb(3), ResizeDb(2, 1)]
    assert [entry[:7] for entry in found[8:10]] == [
        (3, b"a", b"string", b"1", FUTURE_MS, 70, None), (3, b"b", b"string", b"2", None, None, 255),
    ]  # fmt: skip
    assert found[10] == End(len(data), crc64(data[:-8]))


def test_without_a_checksum_there_are_zeros() -> None:
    data = written([], checksum=False)
    assert data.endswith(b"\xff" + bytes(8))
    assert isinstance(events_of(data)[-1], End)


def test_a_sink_may_take_less_than_it_is_given() -> None:
    out = bytearray()

    def sink(data: bytes) -> int:
        out.extend(data[:1000])
        return min(len(data), 1000)

    rng = Random(1)
    entry = Entry(0, b"h", b"hash", {b"f%d" % n: rng.randbytes(100) for n in range(5000)}, None, None, None, 0, 0)
    writer = Writer(sink)
    writer.head()
    writer.entry(entry.key, entry.type, entry.value)
    assert writer.end() == len(out)
    assert entries_of(bytes(out))[0].value == entry.value


@pytest.mark.parametrize(("kind", "make"), [
    (b"hash", lambda n: {b"f%d" % i: b"v" * 100 for i in range(n)}),
    (b"set", lambda n: [b"m%d" % i + b"v" * 100 for i in range(n)]),
    (b"zset", lambda n: {b"m%d" % i + b"v" * 100: float(i) for i in range(n)}),
    (b"list", lambda n: [b"e%d" % i + b"v" * 100 for i in range(n)]),
])  # fmt: skip
def test_a_big_value_goes_out_in_parts(kind: bytes, make: Any) -> None:
    """Its written form is never there as a whole."""
    sizes: list[int] = []
    writer = Writer(lambda data: sizes.append(len(data)), compress=False)
    value = make(20_000)
    writer.head()
    writer.entry(b"k", kind, value)
    total = writer.end()
    assert total > 2_000_000 and max(sizes) < 2 * FLUSH_BYTES


def test_memory_is_bounded_by_the_largest_value_and_not_by_the_file() -> None:
    written_bytes = 0

    def sink(data: bytes) -> None:
        nonlocal written_bytes
        written_bytes += len(data)

    def strings() -> Iterator[tuple[bytes, bytes]]:
        value = Random(1).randbytes(3000)
        for n in range(8000):
            yield b"k%d" % n, value

    writer = Writer(sink)
    writer.head()
    tracemalloc.start()
    try:
        writer.strings(strings())
        writer.end()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written_bytes > 24_000_000 and peak < 4 * FLUSH_BYTES


# ---- packing ---------------------------------------------------------------------------

MEMBERS = st.one_of(
    st.binary(max_size=80),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: b"%d" % n),
    st.integers(-5000, 5000).map(lambda n: b"%d" % n),
    st.sampled_from([62, 63, 64, 65, 124, 125, 126, 127, 128, 4094, 4095, 4096, 16376, 16380, 16383, 70_000]).map(
        lambda n: b"x" * n
    ),
)


@given(st.lists(MEMBERS, max_size=30))
def test_listpacks_are_those_of_the_layout(items: list[bytes]) -> None:
    assert packing.listpack_of(items) == listpack(items)


@given(MEMBERS, st.booleans())
def test_strings_come_back(data: bytes, compress: bool) -> None:
    packed = packing.string_of(data, compress)
    source = source_of(packed)
    assert source.string() == data and not source.left()
    assert len(packed) <= len(data) + 5


@given(st.integers(0, (1 << 64) - 1))
def test_lengths_come_back(n: int) -> None:
    source = source_of(packing.length_of(n))
    assert source.length() == n and not source.left()


@pytest.mark.parametrize("size", range(2, 7))
def test_a_zero_can_be_as_wide_as_it_must(size: int) -> None:
    entry = packing.wide_zero(size)
    assert len(entry) == size and entry[-1] == size - 1


def test_nodes_of_a_list_are_bounded_by_the_option() -> None:
    elements = [b"x" * 1000] * 30
    for fill, per_node in ((-1, 4), (-2, 8), (-3, 16), (-9, 30), (3, 3), (0, 1), (100, 8)):
        code, pieces = Encoder(10, False, {"list-max-listpack-size": fill}).value(b"list", elements)
        source = source_of(b"".join(pieces))
        nodes = source.length()
        assert (code, nodes) == (18, -(-30 // per_node)), fill
    for fill, nodes in ((-2, 1), (128, 1), (3, 1), (2, 2), (1, 3), (0, 3)):
        _, pieces = Encoder(10, False, {"list-max-listpack-size": fill}).value(b"list", [b"a", b"b", b"c"])
        assert source_of(b"".join(pieces)).length() == nodes, fill


# ---- streams ---------------------------------------------------------------------------


def _node(first: int, ids: list[int], fields: list[bytes]) -> Node:
    node = Node(first, fields)
    for entry_id in ids:
        pairs = [word for field in fields for word in (field, b"%d" % (entry_id & 63))]
        node.append(entry_id, pairs, b"")
        node.items[-1] = b"*%d\r\n" % len(pairs) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in pairs)
    return node


@given(st.data())
def test_tombstones_keep_number_bytes_and_last_id(data: st.DataObject) -> None:
    """As ``store.stream_nodes`` counts them, so that a node is full when stock's is."""
    width = data.draw(st.integers(1, 3))
    fields = [data.draw(st.binary(max_size=200)) for _ in range(width)]
    steps = data.draw(st.lists(st.sampled_from([1, 2, 100, 1 << 40, 1 << 64, 9 << 66]), max_size=12))
    ids = [STREAM_ID]
    for step in steps:
        ids.append(ids[-1] + step)
    node = _node(STREAM_ID, ids, fields)
    for place in sorted(data.draw(st.sets(st.integers(0, len(ids) - 1))), reverse=True):
        node.delete(place, place + 1)
    entries = [(entry_id, [w for field in fields for w in (field, b"%d" % (entry_id & 63))]) for entry_id in node.ids]
    event = StreamNode(node.first, node.last, fields, entries, node.dead, node.size)
    value = StreamValue([event], 1, node.count, max(ids), None, None, len(ids))
    encoded = b"".join(stream_pieces(value, 2, False, lambda what: None))
    (found,) = read_stream(source_of(encoded), 2).nodes
    assert found == event


def test_what_only_later_versions_know_of_consumers_is_told() -> None:
    (entry,) = entries_of(file(key(21, b"s", stream(3))))
    lost: list[str] = []
    Encoder(10, lost=lost.append).value(b"stream", entry.value)
    assert lost == ["version 10 cannot hold when a consumer of a stream was last active"]
    entry.value.groups[0].consumers = [StreamConsumer(b"c", 5, 5, [STREAM_ID])]
    Encoder(10).value(b"stream", entry.value)


def test_no_listpack_grows_beyond_what_stock_makes() -> None:
    assert packing.MOST_LISTPACK == MAX_LISTPACK


# ---- keyspaces -------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_keyspace_of_every_form_comes_back(version: int) -> None:
    parts = [key(code, name.encode(), value) for name, code, value, expected in FORMS if expected != []]
    parts += [b"\xfe\x09", key(19, b"s", stream(2)), b"\xfc" + struct.pack("<q", FUTURE_MS) + key(0, b"t", text(b"1"))]
    before = keyspace_of(file(*parts))
    told: list[Any] = []
    data = file_of(before, version=version, own_facts=True, lost=lambda *what: told.append(what))
    after = keyspace_of(data)
    if version == 9:
        before.databases[9].remove(b"s")
        after.databases[9].remove(b"s")
    assert contents(after) == contents(before)
    assert {name for name, _ in told} == ({b"s"} if version == 9 else set())
    resized = [event for event in events_of(data) if isinstance(event, ResizeDb)]
    assert resized == [ResizeDb(len(before.databases[0]), 0), ResizeDb(2, 1)]


def test_idle_times_and_frequencies_are_written_where_asked_for() -> None:
    keyspace = keyspace_of(file(key(0, b"a", text(b"1")), key(4, b"h", b"\1\1f\1v")))
    out: list[bytes] = []
    dump(keyspace, Writer(out.append), idle=lambda db, name: (7, None) if name == b"a" else (None, 9))
    assert {e.key: (e.idle_s, e.freq) for e in entries_of(b"".join(out))} == {b"a": (7, None), b"h": (None, 9)}
    assert isinstance(next(iter(Reader(source_of(b"".join(out))))), SelectDb)
