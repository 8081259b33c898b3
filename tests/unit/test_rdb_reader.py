"""Reading RDB files: every type and opcode, whatever wrote it, and every way to be wrong."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rdb_forms import (
    FORMS,
    FUTURE_MS,
    LONG,
    MODULE_DATA,
    MODULE_ID,
    STREAM_ID,
    VALKEY_HASH,
    file,
    intset,
    key,
    length,
    listpack,
    lzf_repeated,
    stream,
    text,
    ziplist,
    zipmap,
)
from rdb_stock import events_of, loaded

from perdure.snapshot.keyspace import Loader
from perdure.snapshot.rdb import source as sources
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import (
    UNKNOWN,
    Aux,
    End,
    Entry,
    FieldsWithExpiry,
    Function,
    ResizeDb,
    SelectDb,
    SkippedModule,
    SlotImport,
    SlotInfo,
)
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.source import Source, open_source
from perdure.snapshot.rdb.values import READERS
from perdure.store.database import Keyspace
from perdure.store.uses import Frequency, LfuRules, NoClock, Recency
from perdure.wal.filesystem import RealFilesystem
from perdure.wal.simulated import SimulatedFilesystem


def entries(data: bytes, **options: Any) -> list[Entry]:
    return [event for event in events_of(data, **options) if isinstance(event, Entry)]


def in_steps(data: bytes, step: int) -> Source:
    """A file of which a read gives no more than ``step`` bytes at a time into the buffer."""
    return Source("small.rdb", len(data), lambda offset, size: data[offset : offset + size])


def refusal(data: bytes, **options: Any) -> RdbError:
    with pytest.raises(RdbError) as found:
        events_of(data, **options)
    assert found.value.file == "test.rdb" and found.value.offset is not None
    return found.value


# ---- types -----------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "value", "expected"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_every_type_is_read(code: int, value: bytes, expected: Any) -> None:
    (entry,) = entries(file(key(code, b"name", value)))
    if isinstance(expected, tuple):
        assert isinstance(entry.value, FieldsWithExpiry)
        assert (dict(entry.value), entry.value.expires_ms) == expected
    else:
        assert entry.value == expected
    assert (entry.key, entry.code, entry.db, entry.expires_ms, entry.offset) == (b"name", code, 0, None, 9)
    assert entry.type == READERS[code][0]


def test_there_is_a_form_of_every_type_that_is_read() -> None:
    assert {form[1] for form in FORMS} | {15, 19, 21} == set(READERS)


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_streams_of_every_generation(generation: int) -> None:
    code = {1: 15, 2: 19, 3: 21}[generation]
    (entry,) = entries(file(key(code, b"s", stream(generation))))
    value = entry.value
    (node,) = value.nodes
    assert node.entries == [(STREAM_ID, [b"f", b"1"]), (2 << 64 | 5, [b"other", b"x"])]
    assert (node.first, node.last, node.deleted, node.fields) == (STREAM_ID, 2 << 64 | 5, 1, [b"f"])
    assert (value.length, value.last_id) == (2, 2 << 64 | 5)
    new = generation > 1
    assert (value.first_id, value.max_deleted, value.added) == (
        (STREAM_ID, 1 << 64 | 2, 3) if new else (None, None, None)
    )
    (group,) = value.groups
    assert (group.name, group.last_id, group.entries_read) == (b"group", STREAM_ID, 1 if new else None)
    assert group.pending == [(STREAM_ID, 1234, 3)]
    (consumer,) = group.consumers
    assert (consumer.name, consumer.seen_ms, consumer.pending) == (b"consumer", 5678, [STREAM_ID])
    assert consumer.active_ms == (4321 if generation > 2 else None)


def test_nobody_knows_how_much_a_group_has_read() -> None:
    value = stream(2).replace(text(b"group") + b"\1\1\1", text(b"group") + b"\1\1" + length((1 << 64) - 1))
    assert entries(file(key(19, b"s", value)))[0].value.groups[0].entries_read == UNKNOWN


def test_a_type_of_valkey_is_another_than_that_of_redis() -> None:
    value, expected = VALKEY_HASH
    (entry,) = entries(file(key(22, b"h", value), version=80, valkey=True))
    assert (dict(entry.value), entry.value.expires_ms) == expected
    assert "there is no such type" in refusal(file(key(24, b"h", value), version=80, valkey=True)).reason


# ---- opcodes ---------------------------------------------------------------------------


def test_every_opcode_is_told() -> None:
    data = file(
        b"\xfa" + text(b"redis-ver") + text(b"7.4"), b"\xf5" + text(b"#!lua name=a\n"),
        b"\xf6" + text(b"old") + text(b"LUA") + b"\1" + text(b"about") + text(b"code"),
        b"\xf6" + text(b"old2") + text(b"LUA") + b"\0" + text(b"code"),
        b"\xfe" + length(3), b"\xfb" + length(5) + length(70), b"\xf4" + length(9000) + b"\2\1",
        b"\xf3" + text(b"job") + b"\2" + b"\1\2" + length(100) + length(200),
        b"\xf7" + length(MODULE_ID) + b"\2\1" + MODULE_DATA,
        b"\xfc" + struct.pack("<q", FUTURE_MS) + b"\xf8" + length(100) + key(0, b"a", text(b"1")),
        b"\xfd" + struct.pack("<i", 2_000_000_000) + b"\xf9\xc8" + key(0, b"b", text(b"2")),
        key(7, b"m", length(MODULE_ID) + MODULE_DATA), b"\xfe\0", key(0, b"c", text(b"3")),
    )  # fmt: skip
    found = events_of(data)
    end = found.pop()
    kept = [e if not isinstance(e, Entry | SkippedModule) else e[:7] if isinstance(e, Entry) else e[:4] for e in found]
    assert kept == [
        Aux(b"redis-ver", b"7.4"), Function(b"#!lua name=a\n"), Function(b"#!LUA name=old\ncode"),
        Function(b"#!LUA name=old2\ncode"), SelectDb(3), ResizeDb(5, 70), SlotInfo(9000, 2, 1),
        SlotImport(b"job", [(1, 2), (100, 200)]), (3, None, "testmodul", None),
        (3, b"a", b"string", b"1", FUTURE_MS, 100, None), (3, b"b", b"string", b"2", 2_000_000_000_000, None, 200),
        (3, b"m", "testmodul", None), SelectDb(0), (0, b"c", b"string", b"3", None, None, None),
    ]  # fmt: skip
    assert end == End(len(data), struct.unpack("<Q", data[-8:])[0])


def test_modules_are_skipped_and_counted_or_refused() -> None:
    data = file(b"\xf7" + length(MODULE_ID) + b"\2\1" + MODULE_DATA, key(0, b"a", text(b"1")),
                key(7, b"m", length(MODULE_ID) + MODULE_DATA))  # fmt: skip
    reader = Reader(sources.source_of(data))
    sizes = [event.size for event in reader if isinstance(event, SkippedModule)]
    assert reader.skipped_modules == len(sizes) == 2
    assert all(size > len(MODULE_DATA) for size in sizes)
    assert loaded(data).modules == 2
    assert "testmodul" in refusal(data, modules=False).reason
    only = file(key(7, b"m", length(MODULE_ID) + MODULE_DATA))
    error = refusal(only, modules=False)
    assert (error.key, error.opcode) == (b"m", 7)


@pytest.mark.parametrize("version", range(2, 13))
def test_every_version_is_read(version: int) -> None:
    data = file(key(0, b"a", text(b"1")), version=version)
    found = events_of(data)
    assert found[0].value == b"1"  # type: ignore[union-attr]
    assert isinstance(found[-1], End) and (found[-1].checksum is None) == (version < 5)


# ---- what is wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(("head", "says"), [
    (b"", "no RDB file"), (b"REDIS", "no RDB file"), (b"REDIS00x9", "no RDB file"), (b"RADIS0009", "no RDB file"),
    (b"REDIS0001", "version 1 "), (b"REDIS0013", "version 13, that of Redis 8.6"), (b"REDIS0014", "Redis 8.8"),
    (b"REDIS0015", "Redis 8.10"), (b"REDIS0080", "version 80 "), (b"VALKEY079", "Valkey RDB version 79"),
    (b"VALKEY0", "no RDB file"), (b"REDIS-009", "no RDB file"),
])  # fmt: skip
def test_other_files_and_versions_are_refused_by_name(head: bytes, says: str) -> None:
    with pytest.raises(RdbError, match=says):
        Reader(sources.source_of(head + b"\xff" + bytes(8) if len(head) == 9 else head, "test.rdb"))


@pytest.mark.parametrize(("code", "says"), [
    (6, "4.0's release candidates"), (8, "no such type"), (26, "Redis 8.6"), (27, "Redis 8.8"), (28, "array"),
    (29, "Redis 8.10"), (32, "Redis 8.10"), (33, "no such type"), (242, "no such type"),
])  # fmt: skip
def test_types_that_are_not_read_are_refused_by_name(code: int, says: str) -> None:
    error = refusal(file(key(0, b"a", text(b"1")), key(code, b"k", text(b""))))
    assert says in error.reason and error.opcode == code


def test_an_error_says_file_offset_opcode_and_key() -> None:
    data = file(key(0, b"a", text(b"1")), key(4, b"broken\xff" + b"x" * 100, b"\3" + text(b"f") + b"\xc5"))
    error = refusal(data)
    assert (error.file, error.opcode, error.key) == ("test.rdb", 4, b"broken\xff" + b"x" * 100)
    assert str(error) == (
        f"test.rdb, offset {error.offset}, opcode 4 (hash), key 'broken\\xff{'x' * 57}'...: 0xc5 begins no string"
    )
    assert error.offset is not None and data[error.offset - 1] == 0xC5


def _bad_stream(old: bytes, new: bytes) -> bytes:
    whole = stream(2)
    assert old in whole
    return whole.replace(old, new, 1)


_NODE = [b"1", b"0", b"1", b"f", b"0", b"2", b"0", b"0", b"v", b"4"]


def _node(at: int, item: bytes) -> bytes:
    items = [*_NODE[:at], item, *_NODE[at + 1 :]]
    return b"\1" + text(struct.pack(">QQ", 1, 1)) + text(listpack(items)) + b"\1\1\1" + b"\1\1\0\0\1" + b"\0"


BROKEN = [
    ("more members than bytes", 1, length(1 << 40), "members are announced"),
    ("a string beyond the end", 0, length(1 << 20), "are left"),
    ("a string of 2**63 bytes", 0, length(1 << 63), "are left"),
    ("no length", 1, b"\xc0\1", "begins no length"),
    ("a reserved length", 0, b"\x82", "begins no string"),
    ("LZF that gives too much", 0, b"\xc3" + length(4) + length(1 << 30) + b"\0x\xe0\0", "cannot give"),
    ("LZF that gives less", 0, b"\xc3\2\5\0x", "does not give"),
    ("LZF that gives more", 0, b"\xc3\3\1\1xy", "does not give"),
    ("LZF of nothing", 0, b"\xc3\0\0", "does not give"),
    ("broken LZF", 0, b"\xc3\2\5\x20\xff", "does not give"),
    ("a member twice", 2, b"\2\1a\1a", "twice"), ("a field twice", 4, b"\2\1a\1b\1a\1c", "twice"),
    ("a scored member twice", 5, b"\2" + (b"\1a" + bytes(8)) * 2, "twice"),
    ("a score that is no number", 5, b"\1\1a" + struct.pack("<d", float("nan")), "no number"),
    ("a text that is no score", 3, b"\1\1a\1x", "no number"), ("a nan as text", 3, b"\1\1a\xfd", "no number"),
    ("a packed score that is none", 17, text(listpack([b"a", b"x"])), "no number"),
    ("a packed nan", 17, text(listpack([b"a", b"nan"])), "no number"),
    ("a member without a score", 12, text(ziplist([b"a", b"1", b"b"])), "no score"),
    ("a field without a value", 16, text(listpack([b"a", b"1", b"b"])), "no value"),
    ("a packed field twice", 13, text(ziplist([b"a", b"1", b"a", b"2"])), "twice"),
    ("a packed member twice", 20, text(listpack([b"a", b"a"])), "twice"),
    ("a zipmap's field twice", 9, text(zipmap([b"a", b"1", b"a", b"2"])), "twice"),
    ("an intset of 3 bytes", 11, text(struct.pack("<II", 3, 0)), "length"),
    ("an intset that is short", 11, text(intset([1, 2], 2)[:-1]), "length"),
    ("an intset without a head", 11, text(b"\2\0\0"), "short"),
    ("an intset that does not ascend", 11, text(intset([2, 1], 2)), "ascend"),
    ("a node of no kind", 18, b"\1\3" + text(listpack([b"a"])), "kind 3"),
    ("fields that are not whole", 25, bytes(8) + text(listpack([b"a", b"1"])), "not whole"),
    ("a deadline that is no time", 25, bytes(8) + text(listpack([b"a", b"1", b"x"])), "time"),
    ("a deadline before all time", 24, struct.pack("<q", -5) + b"\1\1" + b"\1a\1b", "time"),
    ("a deadline behind all time", 22, b"\1" + length((1 << 64) - 1) + b"\1a\1b", "time"),
    ("a module's part of no kind", 7, length(MODULE_ID) + b"\6", "kind 6"),
    ("a node with a short id", 15, b"\1" + text(b"short") + text(listpack(_NODE) * 3), "16 bytes"),
    ("a count of entries that is wrong", 19, _bad_stream(b"\2\2\5", b"\3\2\5"), "entries and has"),
    ("entries behind the last id", 19, _bad_stream(b"\2\2\5", b"\2\1\5"), "behind its last id"),
    ("fewer added than there are", 19, _bad_stream(b"\1\1\1\2\3", b"\1\1\1\2\1"), "fewer"),
    ("a pending entry of nobody", 19, stream(2)[:-17] + b"\0", "no consumer"),
    ("a consumer's entry that is not pending", 19, stream(2)[:-1] + b"\2", "not pending"),
    ("a node that says more entries", 19, _node(0, b"2"), "it says"),
    ("a node that says tombstones", 19, _node(1, b"1"), "it says"),
    ("a node's fields without end", 19, _node(4, b"1"), "no end"),
    ("a count of fields below zero", 19, _node(2, b"-1"), "no end"),
    ("a count of fields that is none", 19, _node(2, b"x"), "not whole"),
    ("an entry without a count", 19, _node(9, b"5"), "how many elements"),
    ("an entry before its node", 19, _node(6, b"-1"), "ascend"),
    ("an entry that ends early", 19, _node(5, b"0"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "value", "says"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_broken_values_are_refused_with_the_key(code: int, value: bytes, says: str) -> None:
    error = refusal(file(key(0, b"a", text(b"1")), key(code, b"broken", value), key(0, b"b", text(b"2"))))
    assert says in error.reason, error
    assert error.key == b"broken" and error.opcode == code


@pytest.mark.parametrize(("part", "says"), [
    (b"\xfc" + bytes(8), "a key should follow"),
    (b"\xf7" + length(MODULE_ID) + b"\5\1" + MODULE_DATA, "when it is to be loaded"),
    (b"\xfa" + text(b"perdure-field-deadlines") + text(bytes(7)), "are left"),
    (b"\xfa" + text(b"perdure-field-deadlines") + text(bytes(8) + b"\1f") + key(0, b"a", b"\1x"), "not there"),
    (b"\xfa" + text(b"perdure-field-deadlines") + text(bytes(8) + b"\1f") + key(4, b"a", b"\1\1x\1y"), "not there"),
    (b"\xfa" + text(b"perdure-field-deadlines") + text(bytes(8) + b"\1f"), "a key should follow"),
    (b"\xf3" + text(b"job") + length(1 << 30), "members are announced"),
])  # fmt: skip
def test_broken_opcodes_are_refused(part: bytes, says: str) -> None:
    assert says in refusal(file(part)).reason


def test_the_checksum_is_compared_unless_it_is_0_or_not_wanted() -> None:
    good = file(key(0, b"a", text(b"1")))
    wrong = file(key(0, b"a", text(b"1")), checksum=1)
    assert events_of(good)[-1] == End(len(good), struct.unpack("<Q", good[-8:])[0])
    assert "checksum" in refusal(wrong).reason
    assert isinstance(events_of(wrong, checksum=False)[-1], End)
    assert events_of(file(checksum=0))[-1] == End(18, None)


def test_what_stands_behind_the_end_is_not_read() -> None:
    """A log that begins with an RDB file goes on behind it; ``End`` says where."""
    data = file(key(0, b"a", text(b"1")))
    assert events_of(data + b"*1\r\n$4\r\nPING\r\n")[-1].offset == len(data)  # type: ignore[union-attr]
    log = SimulatedFilesystem()
    opened = log.create("/data/a")
    opened.write(b"head" + data + b"tail")
    (entry, end) = Reader(open_source(log, "/data/a", 4))
    assert (entry.offset, end.offset) == (13, 4 + len(data))  # type: ignore[union-attr]


# ---- a stream, both ways of reading ----------------------------------------------------


def _mixed_file(rng: Random, count: int) -> bytes:
    parts = []
    for n in range(count):
        roll = rng.random()
        if roll < 0.1:
            parts.append(b"\xfe" + length(rng.randrange(200)))
        if roll < 0.3:
            parts.append(b"\xfc" + struct.pack("<q", rng.choice((-1, FUTURE_MS, 5))))
        if 0.25 < roll < 0.4:
            parts.append(b"\xf9" + bytes((rng.randrange(256),)))
        name = b"k%d" % n + b"x" * rng.choice((0, 0, 0, 70, 200))
        if roll < 0.85:
            value = rng.choice((text(rng.randbytes(rng.randrange(200))), text(rng.randbytes(rng.randrange(20_000))),
                                b"\xc0\x80", b"\xc1\1\2", b"\xc2\1\2\3\4", lzf_repeated(b"y", 200),
                                text(b"abc", 32)))  # fmt: skip
            parts.append(key(0, name, value))
        else:
            _, code, value, _ = rng.choice(FORMS)
            parts.append(key(code, name, value))
    return file(*parts, version=12)


@pytest.mark.parametrize("seed", range(8))
def test_a_file_is_the_same_in_whatever_chunks_it_comes(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The fast path, its margin, and values across the ends of chunks."""
    data = _mixed_file(Random(seed), 300)
    whole = list(Reader(sources.source_of(data)))
    assert sum(isinstance(event, Entry) for event in whole) == 300
    for chunk in (1, 7, 161, 500, 4096, 1 << 16):
        monkeypatch.setattr(sources, "CHUNK_BYTES", chunk)
        monkeypatch.setattr(sources, "_PIECE_BYTES", max(chunk, 300))
        assert list(Reader(in_steps(data, chunk))) == whole, chunk


def test_a_file_that_shrinks_while_it_is_read_is_an_error() -> None:
    data = file(*(key(0, b"k%d" % n, text(b"x" * 5000)) for n in range(200)))
    source = Source("shrinks", len(data), lambda offset, size: data[offset : min(offset + size, 400_000)])
    with pytest.raises(RdbError, match="shorter"):
        list(Reader(source))


def test_progress_is_told(tmp_path: Path) -> None:
    data = file(*(key(0, b"k%d" % n, text(b"v")) for n in range(100)))
    (tmp_path / "a").write_bytes(data)
    reader = Reader(open_source(RealFilesystem(), str(tmp_path / "a")))
    offsets = [reader.offset for _ in reader]
    assert offsets == sorted(offsets) and offsets[-1] == reader.size == len(data)
    assert offsets[0] < 20


def test_memory_is_bounded_by_the_largest_value_and_not_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.rdb"
    part = b"".join(key(0, b"k%d" % n, text(LONG * 30)) for n in range(300))
    path.write_bytes(file(part * 25))
    assert path.stat().st_size > 25 << 20
    tracemalloc.start()
    try:
        count = sum(1 for _ in Reader(open_source(RealFilesystem(), str(path))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 7501
    assert peak < 3 * sources.CHUNK_BYTES + (1 << 20)


# ---- into a keyspace -------------------------------------------------------------------


def test_expired_keys_are_left_out_and_counted() -> None:
    data = file(b"\xfc" + struct.pack("<q", 999) + key(0, b"past", text(b"1")),
                b"\xfc" + struct.pack("<q", 1000) + key(4, b"now", b"\1\1f\1v"),
                b"\xfc" + struct.pack("<q", FUTURE_MS) + key(0, b"later", text(b"2")))  # fmt: skip
    found = loaded(data, now_ms=1000)
    assert (found.keys, found.expired, sorted(found.keyspace.databases[0])) == (2, 1, [b"later", b"now"])
    assert found.keyspace.databases[0].expires == {b"now": 1000, b"later": FUTURE_MS}
    assert loaded(data).keys == 3, "a log that goes on says itself what expired"


def test_empty_aggregates_are_left_out_and_counted() -> None:
    data = file(key(1, b"l", b"\0"), key(4, b"h", b"\0"), key(10, b"z", text(ziplist([]))), key(5, b"s", b"\0"),
                key(11, b"i", text(intset([], 2))), key(0, b"string", b"\0"),
                key(15, b"stream", b"\0\0\0\0\0"))  # fmt: skip
    found = loaded(data)
    assert (found.keys, found.empty) == (2, 5)
    assert found.keyspace.databases[0][b"string"] == b""


def test_a_key_twice_is_an_error_unless_it_may_be_replaced() -> None:
    data = file(key(0, b"a", text(b"1")), b"\xfc" + struct.pack("<q", FUTURE_MS) + key(4, b"b", b"\1\1f\1v"),
                key(0, b"b", text(b"2")))  # fmt: skip
    with pytest.raises(RdbError, match="key 'b': the key is there already") as error:
        loaded(data)
    assert error.value.key == b"b" and error.value.offset == data.index(b"\0\1b")
    found = loaded(data, overwrite=True).keyspace.databases[0]
    assert dict(found) == {b"a": b"1", b"b": b"2"} and not found.expires


def test_a_database_that_there_is_not_is_an_error() -> None:
    with pytest.raises(RdbError, match="database 16, and there are 16"):
        loaded(file(b"\xfe\x10", key(0, b"a", text(b"1"))))


def test_facts_and_functions_are_kept_for_who_asks() -> None:
    found = loaded(file(b"\xfa" + text(b"ctime") + b"\xc0\x05", b"\xf5" + text(b"#!lua name=a\n")))
    assert found.facts == {b"ctime": b"5"} and found.functions == [b"#!lua name=a\n"]
    assert isinstance(found.end, End)


def test_uses_are_kept_where_they_are_wanted() -> None:
    data = file(b"\xf8" + length(100) + key(0, b"a", text(b"1")), b"\xf9\xc8" + key(0, b"b", text(b"2")))
    assert loaded(data).keyspace.databases[0].uses is None
    recency = loaded(data, keep_uses=True).keyspace.databases[0].uses
    assert isinstance(recency, Recency)
    assert recency.idle_ms(b"a") == 100_000
    keyspace = Keyspace()
    frequency = Frequency(NoClock(), LfuRules(Random(1)))
    keyspace.databases[0].follow_uses(frequency)
    Loader(Reader(sources.source_of(data)), keyspace, {}).all()
    assert (frequency.count(b"a"), frequency.count(b"b")) == (5, 200)
