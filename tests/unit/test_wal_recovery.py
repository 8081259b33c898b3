"""Recovery: what is read, what is cut, what is refused, and that a refusal changes nothing.

The order of files, BASE and the single file: ``test_wal_recovery_files``.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    first_file,
    payload,
    read,
    set_batch,
    two_files,
)

from perdure.wal.damage import LogDamaged
from perdure.wal.manifest import Entry, incr_name, manifest_name
from perdure.wal.recovery import mend
from perdure.wal.simulated import SimulatedFilesystem

# ---- what loads ------------------------------------------------------------


def test_nothing_at_all_is_a_fresh_start() -> None:
    for fs in (SimulatedFilesystem(("/data",)), Log().disk()):
        recovery = read(fs).recovery
        assert not recovery.found
        end = recovery.end
        assert (end.log_id, end.lsn, end.chain, end.entries, end.next_seq, end.drop) == (None, 0, 0, (), 1, ())


def test_a_whole_log_is_read_in_order() -> None:
    log, one, two = two_files()
    seen: list[tuple[int, int, int]] = []
    applied = read(log.disk(), progress=lambda done, total, commands: seen.append((done, total, commands)))
    recovery = applied.recovery
    assert applied.data == bodies(one, two)
    assert recovery.cut is None
    assert recovery.unverified == ()
    assert recovery.found
    assert (recovery.batches, recovery.files, recovery.payload_bytes) == (5, 2, two.lsn)
    end = recovery.end
    assert (end.log_id, end.lsn, end.chain, end.next_seq) == (LOG_ID, two.lsn, two.chain, 3)
    assert end.entries == tuple(log.entries)
    assert seen[-1] == (len(one.data) + len(two.data), len(one.data) + len(two.data), recovery.commands)


def test_empty_trailing_files_are_dropped_and_their_place_is_taken_again() -> None:
    log, _, two = two_files()
    three = OwnFile(two.lsn, two.chain).end()
    four = OwnFile(three.lsn, three.chain).time().batch(b"", durable=three.lsn)
    log.add(three).add(four).with_manifest()
    end = read(log.disk()).recovery.end
    assert (end.lsn, end.chain, end.next_seq) == (two.lsn, two.chain, 5)
    assert [e.name for e in end.entries] == [FIRST, LAST]
    assert end.drop == (incr_name(BASENAME, 3), incr_name(BASENAME, 4))


def test_history_and_temporary_files_and_unnamed_births_are_dropped() -> None:
    log, _, _ = two_files()
    log.entries.append(Entry("appendonly.aof.0.incr.aof", 9, "h"))
    log.with_manifest()
    birth = incr_name(BASENAME, 12)
    strange = incr_name(BASENAME, 13)
    fs = log.disk(**{
        "appendonly.aof.0.incr.aof": b"zzz",
        "temp-appendonly.aof.manifest": b"half",
        birth: OwnFile().data + bytes(4096),
        strange: b"*1\r\n$4\r\nPING\r\n",
        "unrelated": b"",
    })
    end = read(fs).recovery.end
    assert set(end.drop) == {"appendonly.aof.0.incr.aof", "temp-appendonly.aof.manifest", birth}
    assert end.next_seq == 14


def test_a_log_cut_short_at_its_birth_is_a_fresh_start() -> None:
    line = OwnFile().data
    for content in (b"", line, line[:17], bytes(100), line[:30] + bytes(500)):
        end = read(Log().disk(**{FIRST: content})).recovery.end
        assert (end.entries, end.drop, end.next_seq, end.log_id) == ((), (FIRST,), 2, None)


@pytest.mark.parametrize("content", [first_file().data, SELECT, b"garbage", OwnFile().data + b"x", bytes(9) + b"x"])
def test_a_missing_manifest_is_refused_if_files_hold_data(content: bytes) -> None:
    with pytest.raises(LogDamaged, match="manifest is missing"):
        read(Log().disk(**{FIRST: content}))
    with pytest.raises(LogDamaged, match="manifest is missing"):
        read(Log().disk(**{"appendonly.aof.1.base.aof": content}))


# ---- foreign bytes ----------------------------------------------------------


def test_a_log_of_stock_is_read_and_called_unverified() -> None:
    first, second = SELECT + command("SET", "a", "1"), b"#TS:17\r\n" + SELECT + b"# note\r\n" + command("INCR", "n")
    base = SELECT + command("SET", "base", "0")
    log = Log().add_foreign(base, "b", "appendonly.aof.1.base.aof").add_foreign(first).add_foreign(second)
    applied = read(log.with_manifest(stock=True).disk())
    plain = SELECT + command("INCR", "n")
    assert applied.data == base + first + plain
    recovery = applied.recovery
    assert recovery.end.log_id is None
    assert recovery.end.lsn == len(first + plain)
    assert len(recovery.unverified) == 4
    pinned = recovery.end.entries[0]
    assert (pinned.bytes, pinned.lsn) == (len(base), 0)
    assert pinned.crc32c is not None


def test_what_stock_appended_is_read_and_pinned_by_the_next_file() -> None:
    tail = b"#TS:17\r\n" + SELECT + command("MULTI") + command("INCR", "n") + command("EXEC") + b"#TS:18\r\n"
    log, _, two = two_files()
    two.data += b"#TS:16\r\n"
    commands = tail.replace(b"#TS:17\r\n", b"").replace(b"#TS:18\r\n", b"")
    two.data += b"#TS:17\r\n"
    two.foreign(tail[8:], len(commands))
    log.files[LAST] = two.data
    applied = read(log.disk())
    assert applied.data.endswith(commands)
    assert (applied.recovery.end.lsn, applied.recovery.end.chain) == (two.lsn, two.chain)
    assert applied.recovery.unverified == (
        f"{LAST}: 4 commands ({len(commands)} bytes) behind the last batch were written by another server"
        " and carry no checksum",
    )
    three = OwnFile(two.lsn, two.chain).batch(set_batch("e"))
    log.add(three).with_manifest()
    assert read(log.disk()).recovery.end.lsn == three.lsn
    for at in range(len(two.data) - len(tail) + 8, len(two.data)):
        with pytest.raises(LogDamaged):
            read(log.disk(**{LAST: two.data[:at] + bytes([two.data[at] ^ 1]) + two.data[at + 1 :]}))


def test_a_manifest_that_stock_rewrote_still_has_our_files_verified() -> None:
    log, one, two = two_files()
    log.with_manifest(stock=True)
    recovery = read(log.disk()).recovery
    assert (recovery.end.log_id, recovery.end.lsn, recovery.end.chain) == (LOG_ID, two.lsn, two.chain)
    assert len(recovery.unverified) == 1
    assert manifest_name(BASENAME) in recovery.unverified[0]
    assert recovery.end.entries == tuple(two_files()[0].entries)
    for offset in range(len(one.data)):
        with pytest.raises(LogDamaged):
            read(log.disk(**{FIRST: one.data[:offset] + bytes([one.data[offset] ^ 1]) + one.data[offset + 1 :]}))
    for offset in range(len(two.data) - 1):
        with pytest.raises(LogDamaged):
            read(log.disk(**{LAST: two.data[:offset] + bytes([two.data[offset] ^ 1]) + two.data[offset + 1 :]}))


def test_a_batch_behind_foreign_commands_is_refused() -> None:
    log, _, two = two_files()
    two.foreign(SELECT).batch(set_batch("x"))
    with pytest.raises(LogDamaged, match="line of ours"):
        read(log.disk(**{LAST: two.data}))


def test_garbage_amid_foreign_commands_is_refused_and_at_their_end_cut() -> None:
    log, _, two = two_files()
    whole = two.data + SELECT
    with pytest.raises(LogDamaged, match="commands follow"):
        read(log.disk(**{LAST: whole + b"*garbage" + SELECT}))
    cut = read(log.disk(**{LAST: whole + b"*garbage"})).recovery.cut
    assert cut is not None
    assert cut.offset == len(whole)


@pytest.mark.parametrize("tail", [
    command("SET", "k", "v")[:-1], command("MULTI") + SELECT, bytes(600), b"garbage", b"#TS:17", b"*3\r\n$900\r\nxx",
    b"# a remark\r\n", b"#" + b"x" * 1022, b"#W 12", b"#END", b"#", b"\n", SELECT + b"*1\r\n$9\r\n",
])  # fmt: skip
@pytest.mark.parametrize("clean", [True, False])
def test_a_torn_or_strange_tail_is_cut_and_reported(tail: bytes, clean: bool) -> None:
    log, one, two = two_files()
    if clean:
        two.end()
    fs = log.disk(**{LAST: two.data + tail})
    applied = read(fs)
    kept = SELECT if tail.startswith(SELECT) else b""
    assert applied.data == bodies(one, two) + kept
    cut = applied.recovery.cut
    assert cut is not None
    assert (cut.file, cut.offset) == (LAST, len(two.data + kept))
    assert cut.bytes == len(tail) - len(kept)
    assert cut.zeros == (not tail.strip(b"\0"))
    mend(fs, DIRECTORY, applied.recovery)
    assert fs.content(f"{DIRECTORY}/{LAST}") == two.data + kept
    aside = f"{DIRECTORY}/{LAST}.cut-{cut.offset}"
    assert fs.exists(aside) != cut.zeros
    if not cut.zeros:
        assert fs.content(aside) == tail[len(kept) :]
    again = read(fs).recovery
    assert again.cut is None
    assert again.end == applied.recovery.end
    with pytest.raises(LogDamaged, match="aof-load-truncated"):
        read(log.disk(**{LAST: two.data + tail}), load_truncated=False)


# ---- tears ------------------------------------------------------------------


@pytest.mark.parametrize("stock", [False, True])
def test_every_truncation_of_the_last_file_yields_the_whole_batches_before_it(stock: bool) -> None:
    log, one, two = two_files()
    log.with_manifest(stock)
    for length in range(len(two.data) + 1):
        fs = log.disk(**{LAST: two.data[:length]})
        applied = read(fs)
        whole = [end for end in two.ends if end[0] <= length]
        lsn, chain = whole[-1][1:] if len(whole) > 1 else (one.lsn, one.chain)
        end = applied.recovery.end
        assert applied.data == bodies(one, two)[:lsn]
        assert (end.lsn, end.chain, end.next_seq) == (lsn, chain, 3)
        cut = applied.recovery.cut
        if length in [0, *(end[0] for end in two.ends)] and not (length == 0 and not stock):
            assert cut is None
        else:
            assert cut is not None
            assert cut.offset == max([0, *(end[0] for end in whole)])
            assert cut.bytes == length - cut.offset
        dropped = not stock or length >= two.ends[0][0]
        if len(whole) <= 1 and dropped:
            assert end.drop == (LAST,)
            assert [e.name for e in end.entries] == [FIRST]
        mend(fs, DIRECTORY, applied.recovery)
        again = read(fs).recovery.end
        assert (again.lsn, again.chain, again.entries) == (end.lsn, end.chain, end.entries)


bodies_of_batches = st.lists(st.lists(st.binary(max_size=90), min_size=1, max_size=3), max_size=4)


@st.composite
def spoiled_logs(draw: st.DrawFn) -> tuple[Log, bytes, list[tuple[int, int, int]], bytes]:
    """A log, all its commands, (offset, lsn, durable) of the last file's headers, the last file spoiled."""
    log, everything, own, headers = Log(), b"", OwnFile(), []
    count = draw(st.integers(1, 3))
    for number in range(count):
        headers = []
        own = OwnFile(own.lsn, own.chain) if number else own
        for words in draw(bodies_of_batches):
            durable = draw(st.sampled_from([own.start_lsn, own.lsn]))
            headers.append((len(own.data), own.lsn, durable))
            own.batch(payload(("SET", *words)), durable)
        for start, stop in zip(own.ends, own.ends[1:], strict=False):
            everything += own.data[start[0] : stop[0]][start[1] - stop[1] :]
        if number + 1 < count:
            own.end()
        log.add(own)
    data = own.data
    at = draw(st.integers(0, len(data)))
    length = draw(st.integers(0, 300))
    kind = draw(st.sampled_from(["cut", "zeros", "garbage", "copy", "insert"]))
    if kind == "cut":
        data = data[:at]
    elif kind == "zeros":
        data = data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]
    elif kind == "garbage":
        data = data[:at] + draw(st.binary(max_size=40)) + data[at + length :]
    elif kind == "copy":
        data = data[:at] + data[at - length if at > length else 0 : at] + data[at:]
    else:
        data = data[:at] + draw(st.sampled_from([b"#TS:1\r\n", SELECT, b"#\n", b"\n"])) + data[at:]
    return log.with_manifest(), everything, headers, data


@settings(max_examples=400, deadline=None)
@given(spoiled_logs())
def test_a_spoiled_last_file_is_refused_or_a_prefix_with_all_that_was_safe(
    spoiled: tuple[Log, bytes, list[tuple[int, int, int]], bytes],
) -> None:
    log, everything, headers, data = spoiled
    last = log.entries[-1].name
    original = log.files[last]
    fs = log.disk(**{last: data})
    try:
        applied = read(fs)
    except LogDamaged as error:
        assert not original.startswith(data), error
        return
    end = applied.recovery.end
    foreign = any("behind the last batch" in line for line in applied.recovery.unverified)
    assert applied.data == everything[: end.lsn] or (foreign and everything.startswith(applied.data[: -len(SELECT)]))
    stops = [offset for offset, _, _ in headers[1:]] + [len(original)]
    for (offset, lsn, durable), following in zip(headers, stops, strict=False):
        if lsn >= end.lsn and original[offset:following] in data:
            assert durable <= end.lsn
    mend(fs, DIRECTORY, applied.recovery)
    assert read(fs).recovery.end == end


def test_zeros_for_the_end_of_an_unsynced_tail_are_cut() -> None:
    log, one, two = two_files(fsynced=False)
    for length in range(two.ends[0][0], len(two.data)):
        applied = read(log.disk(**{LAST: two.data[:length] + bytes(512)}))
        whole = [end for end in two.ends if end[0] <= length]
        assert applied.data == bodies(one, two)[: whole[-1][1]]
        assert applied.recovery.cut is not None


def test_a_hole_in_an_unsynced_tail_is_cut_and_in_a_safe_one_refused() -> None:
    for fsynced in (False, True):
        log, one, two = two_files(fsynced)
        start = two.ends[0][0]
        spoiled = two.data[: start + 10] + bytes(50) + two.data[start + 60 :]
        fs = log.disk(**{LAST: spoiled})
        if fsynced:
            with pytest.raises(LogDamaged, match="was safe") as caught:
                read(fs)
            assert (caught.value.offset, caught.value.lsn_from) == (start, one.lsn)
            assert LAST in str(caught.value)
            assert str(start) in str(caught.value)
        else:
            assert read(fs).data == bodies(one)


def test_a_hole_before_an_end_line_is_refused() -> None:
    log, _, two = two_files(fsynced=False)
    two.end()
    start = two.ends[0][0]
    with pytest.raises(LogDamaged, match="END"):
        read(log.disk(**{LAST: two.data[: start + 10] + bytes(50) + two.data[start + 60 :]}))


def test_a_file_that_is_not_the_last_may_not_be_cut_anywhere() -> None:
    log, one, _ = two_files()
    for length in range(len(one.data)):
        with pytest.raises(LogDamaged) as caught:
            read(log.disk(**{FIRST: one.data[:length]}))
        assert "incr.aof" in caught.value.file
        assert caught.value.offset <= length


# ---- rot ----------------------------------------------------------------------


@pytest.mark.parametrize("fsynced", [True, False])
@pytest.mark.parametrize("clean", [True, False])
def test_every_flipped_bit_is_refused_or_harmless(fsynced: bool, clean: bool) -> None:
    log, one, two = two_files(fsynced)
    two.time().batch(set_batch("timed"), durable=two.lsn if fsynced else two.start_lsn)
    if clean:
        two.time().end()
    log.files[LAST] = two.data
    everything = bodies(one, two)
    harmless = 0
    for name, data in log.files.items():
        for at in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[at // 8] ^= 1 << at % 8
            try:
                applied = read(log.disk(**{name: bytes(flipped)}))
            except LogDamaged:
                continue
            assert applied.data == everything
            assert applied.recovery.cut is None
            assert b"#TS:" in data
            harmless += 1
    assert harmless < 100


def test_rot_in_the_last_batch_says_which_bit() -> None:
    log, _, two = two_files()
    flipped = bytearray(two.data)
    flipped[-20] ^= 16
    with pytest.raises(LogDamaged, match=rf"offset {len(two.data) - 20}, bit 4"):
        read(log.disk(**{LAST: bytes(flipped)}))
