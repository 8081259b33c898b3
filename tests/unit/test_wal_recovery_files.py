"""Recovery: files and batches out of their order, BASE, the single file, and a crash while mending."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest
from crc32c import crc32c
from log_builder import (
    BASENAME,
    DIRECTORY,
    FIRST,
    LAST,
    LOG_ID,
    SELECT,
    Log,
    OwnFile,
    bodies,
    command,
    payload,
    read,
    set_batch,
    two_files,
)

from perdure.wal.damage import LogDamaged, RdbBaseUnsupported
from perdure.wal.manifest import Entry, incr_name, manifest_name, render
from perdure.wal.recovery import BaseRead, mend, read_log
from perdure.wal.simulated import Fault, SimulatedCrash, SimulatedFilesystem, When

# ---- order ----------------------------------------------------------------------


def test_swapped_missing_and_doubled_files_are_refused() -> None:
    log, one, two = two_files()
    three = OwnFile(two.lsn, two.chain).batch(set_batch("e"))
    log.add(three).with_manifest()
    third = incr_name(BASENAME, 3)
    for changed in (
        {FIRST: two.data, LAST: one.data},
        {LAST: three.data, third: two.data},
        {LAST: None},
        {FIRST: None},
        {third: None},
        {third: two.data},
        {third: OwnFile(two.lsn, two.chain, log_id=b"f" * 32).batch(set_batch("e")).data},
    ):
        with pytest.raises(LogDamaged):
            read(log.disk(**changed))


def test_doubled_reordered_and_dropped_batches_are_refused() -> None:
    log, _, two = two_files()
    (a, _, _), (b, _, _), (c, _, _), (d, _, _) = two.ends
    head, one, other, last = two.data[:a], two.data[a:b], two.data[b:c], two.data[c:d]
    doubled = ((one, one, other, last), (one, other, other, last), (one, other, last, last))
    for order in (*doubled, (other, one, last), (one, last)):
        with pytest.raises(LogDamaged):
            read(log.disk(**{LAST: head + b"".join(order)}))


def test_our_file_under_stocks_entry_is_refused_with_our_manifest() -> None:
    log, _, two = two_files()
    log.entries[1] = Entry(LAST, 2, "i")
    with pytest.raises(LogDamaged, match="knows nothing"):
        read(log.with_manifest().disk())
    log.entries[1] = Entry(LAST, 2, "i", lsn=two.start_lsn)
    with pytest.raises(LogDamaged, match="half"):
        read(log.with_manifest().disk())


def test_a_wrong_start_line_is_refused_even_if_nothing_follows() -> None:
    log, _, two = two_files()
    start = two.data[: two.ends[0][0]]
    for content in (start[:-3] + b"0\r\n", OwnFile().data, b"x", b"*", SELECT):
        with pytest.raises(LogDamaged):
            read(log.disk(**{LAST: content}))


def test_a_later_file_supersedes_the_tail_of_the_one_before() -> None:
    log, one, two = two_files()
    _, lsn, chain = two.ends[1]
    three = OwnFile(lsn, chain).batch(set_batch("kept"))
    log.add(three).with_manifest()
    kept = bodies(one) + bodies(two)[: lsn - two.start_lsn] + bodies(three)
    offset = two.ends[1][0]
    for tail in (two.data[offset:], b"", b"torn garbage", bytes(300)):
        applied = read(log.disk(**{LAST: two.data[:offset] + tail}))
        assert applied.data == kept
        assert applied.recovery.cut is None
        assert (applied.recovery.end.lsn, applied.recovery.end.chain) == (three.lsn, three.chain)
    with pytest.raises(LogDamaged):
        read(log.disk(**{LAST: two.data[: offset - 1]}))


def test_a_later_file_may_supersede_a_whole_file() -> None:
    log, one, two = two_files()
    three = OwnFile(two.start_lsn, two.start_prev).batch(set_batch("kept"))
    applied = read(log.add(three).with_manifest().disk())
    assert applied.data == bodies(one, three)


def test_a_later_file_that_begins_inside_a_batch_is_refused() -> None:
    log, _, two = two_files()
    log.add(OwnFile(two.lsn - 1, two.chain).batch(set_batch("x"))).with_manifest()
    with pytest.raises(LogDamaged, match="inside this batch"):
        read(log.disk())


def test_a_client_cannot_hide_a_batch_in_a_value() -> None:
    inner = OwnFile(lsn=5_000, log_id=b"f" * 32).batch(set_batch("evil"), durable=5_000).end().data
    own = OwnFile().batch(payload(("SET", "k", inner)))
    log = Log().add(own).with_manifest()
    for length in range(own.ends[0][0] + 1, len(own.data)):
        assert read(log.disk(**{FIRST: own.data[:length]})).data == b""


def test_commands_that_stock_appended_behind_a_torn_batch_are_not_cut_away() -> None:
    log, _, two = two_files()
    start = two.ends[2][0]
    torn = two.data[: two.data.index(SELECT, start) + len(SELECT)]
    appended = SELECT + command("SET", "answered", "by stock" * 30)
    with pytest.raises(LogDamaged, match="another server has appended"):
        read(log.disk(**{LAST: torn + appended}))
    assert read(log.disk(**{LAST: torn})).recovery.cut is not None


# ---- BASE and the single file ----------------------------------------------------


def with_base(body: bytes, **facts: int) -> Log:
    base = Entry("appendonly.aof.1.base.aof", 1, "b", **facts)
    own = OwnFile(lsn=700, prev=0xABC).batch(set_batch("a"))
    name = incr_name(BASENAME, 2)
    entries = [base, Entry(name, 2, "i", lsn=700, prev=0xABC)]
    return Log({base.name: body, name: own.data}, entries).with_manifest()


def test_a_base_of_ours_is_verified_whole() -> None:
    body = SELECT + command("SET", "base", "0")
    log = with_base(body, lsn=700, bytes=len(body), crc32c=crc32c(body))
    recovery = read(log.disk()).recovery
    assert recovery.unverified == ()
    name = log.entries[0].name
    for offset in range(len(body)):
        with pytest.raises(LogDamaged):
            read(log.disk(**{name: body[:offset]}))
        with pytest.raises(LogDamaged):
            read(log.disk(**{name: body[:offset] + bytes([body[offset] ^ 1]) + body[offset + 1 :]}))
    with pytest.raises(LogDamaged, match="BASE was taken"):
        read(with_base(body, lsn=600, bytes=len(body), crc32c=crc32c(body)).disk())
    with pytest.raises(LogDamaged, match="what is before is missing"):
        log.entries.pop(0)
        read(log.with_manifest().disk())


def test_a_base_in_rdb_form_is_refused_with_what_to_do_or_loaded_by_whoever_can() -> None:
    rdb = b"REDIS0010 and so on"
    log = with_base(rdb)
    with pytest.raises(RdbBaseUnsupported, match="aof-use-rdb-preamble no"):
        read(log.disk())
    name = "appendonly.aof.1.base.rdb"
    log.entries[0] = Entry(name, 1, "b")
    log.files[name] = rdb
    log.with_manifest()
    with pytest.raises(RdbBaseUnsupported, match=name):
        read(log.disk())
    loaded: list[str] = []

    def load(path: str, tell: Callable[[int], None]) -> BaseRead:
        loaded.append(path)
        tell(len(rdb))
        return BaseRead(len(rdb), 40)

    recovery = read(log.disk(), load_base=load).recovery
    assert loaded == [f"{DIRECTORY}/{name}"]
    assert recovery.commands > 40
    pinned = recovery.end.entries[0]
    assert pinned.bytes == len(rdb)
    log.entries[0] = pinned
    log.with_manifest()
    assert read(log.disk(), load_base=load).recovery.unverified == ()
    with pytest.raises(LogDamaged):
        read(log.disk(**{name: rdb[:-1] + b"x"}), load_base=load)
    with pytest.raises(LogDamaged, match="does not begin as an RDB"):
        read(log.disk(**{name: b"SEDIS" + rdb[5:]}), load_base=load)


def single(body: bytes) -> SimulatedFilesystem:
    fs = SimulatedFilesystem(("/data",))
    fs.put(f"/data/{BASENAME}", body)
    return fs


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the simulated disk rename from one directory to another: atomic and at once on the platter."""
    rename = SimulatedFilesystem.rename

    def move(self: SimulatedFilesystem, source: str, target: str) -> None:
        if os.path.dirname(source) == os.path.dirname(target):
            rename(self, source, target)
            return
        fault = self._begin("rename", source)
        data = self.content(source)
        above = self.directories[os.path.dirname(source)]
        name = os.path.basename(source)
        del above.names[name]
        above.disk.pop(name, None)
        above.ops.clear()
        self.put(target, data)
        self._end(fault)

    monkeypatch.setattr(SimulatedFilesystem, "rename", move)


def test_a_single_file_is_read_in_place_and_moved_as_stock_does(moves: None) -> None:
    body = SELECT + command("SET", "a", "1")
    fs = single(body + command("SET", "torn", "x")[:-3])
    applied = read(fs)
    assert applied.data == body
    end = applied.recovery.end
    assert end.upgrade_from == f"/data/{BASENAME}"
    assert [(e.name, e.seq, e.kind) for e in end.entries] == [(BASENAME, 1, "b")]
    assert end.next_seq == 2
    mend(fs, DIRECTORY, applied.recovery)
    assert not fs.exists(f"/data/{BASENAME}")
    assert fs.content(f"{DIRECTORY}/{BASENAME}") == body
    assert fs.content(f"{DIRECTORY}/{manifest_name(BASENAME)}") == b"file appendonly.aof seq 1 type b\n"
    again = read(fs).recovery
    assert again.end.upgrade_from is None
    assert (again.end.entries, again.cut) == (end.entries, None)


def test_a_single_file_beside_a_log_in_the_directory_is_left_alone() -> None:
    log, one, two = two_files()
    fs = log.disk()
    fs.put(f"/data/{BASENAME}", SELECT)
    applied = read(fs)
    assert applied.data == bodies(one, two)
    assert applied.recovery.end.upgrade_from is None


def test_a_single_file_with_an_rdb_beginning_is_refused_by_whom_cannot_read_rdb() -> None:
    with pytest.raises(RdbBaseUnsupported, match=BASENAME):
        read(single(b"REDIS0009..."))


@pytest.mark.parametrize("magic", [b"REDIS0009", b"VALKEY080"])
def test_commands_go_on_behind_an_rdb_preamble(magic: bytes, moves: None) -> None:
    rdb, body = magic + b"*3 is no command here", SELECT + command("SET", "a", "1")

    def load(path: str, tell: Callable[[int], None]) -> BaseRead:
        return BaseRead(len(rdb), 7)

    fs = single(rdb + body + command("SET", "torn", "x")[:-3])
    applied = read(fs, load_base=load)
    assert applied.data == body
    assert applied.recovery.commands == 7 + 2
    assert applied.recovery.cut is not None
    assert applied.recovery.cut.offset == len(rdb + body)
    base = applied.recovery.end.entries[0]
    assert (base.bytes, base.crc32c) == (len(rdb + body), crc32c(rdb + body))
    mend(fs, DIRECTORY, applied.recovery)
    assert fs.content(f"{DIRECTORY}/{BASENAME}") == rdb + body
    assert read(fs, load_base=load).data == body


def test_progress_counts_the_bytes_of_an_rdb_base_as_they_are_loaded() -> None:
    rdb = b"REDIS0010" + bytes(3 << 20)
    told: list[int] = []

    def load(path: str, tell: Callable[[int], None]) -> BaseRead:
        for done in range(0, len(rdb), 1 << 19):
            tell(done)
        return BaseRead(len(rdb), 1)

    read(single(rdb), load_base=load, progress=lambda done, total, commands: told.append(done))
    assert told == sorted(told)
    assert told[-1] == len(rdb)
    assert len(told) == 4


def crashed_disks(build: Callable[[], SimulatedFilesystem]) -> Iterator[SimulatedFilesystem]:
    """What a power loss before or in the middle of each call of ``mend`` may leave."""
    whole = build()
    recovery = read(whole).recovery
    before = whole.calls
    mend(whole, DIRECTORY, recovery)
    for number in range(before + 1, whole.calls + 1):
        for when in When:
            fs = build()
            recovery = read(fs).recovery
            fs.faults[fs.calls - before + number] = Fault(crash=when)
            with contextlib.suppress(SimulatedCrash):
                mend(fs, DIRECTORY, recovery)
            yield from fs.legal_states(100)


def test_a_move_that_a_crash_stopped_anywhere_is_completed(moves: None) -> None:
    body = SELECT + command("SET", "a", "1") + command("SET", "a", "2")
    states = 0
    for state in crashed_disks(lambda: single(body + command("SET", "torn", "x")[:-3])):
        applied = read(state)
        assert applied.data == body
        mend(state, DIRECTORY, applied.recovery)
        done = read(state)
        assert done.data == body
        assert done.recovery.cut is None
        assert done.recovery.end.upgrade_from is None
        states += 1
    assert states > 50


def test_mending_that_a_crash_stopped_anywhere_is_completed() -> None:
    log, _, two = two_files()
    tail = b"#W torn by a crash"
    states = 0
    for state in crashed_disks(lambda: log.disk(**{LAST: two.data + tail})):
        mend(state, DIRECTORY, read(state).recovery)
        assert state.content(f"{DIRECTORY}/{LAST}") == two.data
        aside = [name for name in state.names(DIRECTORY) if ".cut-" in name and not name.startswith("temp-")]
        assert [state.content(f"{DIRECTORY}/{name}") for name in aside] == [tail]
        assert read(state).recovery.cut is None
        states += 1
    assert states > 30


def test_what_apply_raises_goes_through() -> None:
    log, _, _ = two_files()

    def apply(_payload: bytes) -> int:
        raise MemoryError

    with pytest.raises(MemoryError):
        read_log(log.disk(), DIRECTORY, BASENAME, apply)


def test_a_manifest_that_names_nothing_is_an_empty_log() -> None:
    fs = Log().disk(**{manifest_name(BASENAME): render(LOG_ID, ())})
    end = read(fs).recovery.end
    assert (end.log_id, end.lsn, end.entries) == (LOG_ID, 0, ())
