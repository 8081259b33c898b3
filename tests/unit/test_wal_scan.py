"""Framing and scanning: units are whole, memory is bounded by what is there, proofs are found."""

from __future__ import annotations

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from log_builder import LOG_ID, OwnFile, command, payload

from perdure.wal import format as lines
from perdure.wal import scan
from perdure.wal.resp import Stop, frame, is_whole, whole_units
from perdure.wal.scan import Position, Window, find_command, find_proof, scan_foreign, scan_own
from perdure.wal.simulated import SimulatedFilesystem

SEED = lines.seed_of(LOG_ID)
MULTI, EXEC = command("MULTI"), command("EXEC")
SET = command("SET", "k", "v")
words = st.lists(st.binary(max_size=40), min_size=1, max_size=5)


def window_on(data: bytes, chunk: int = scan.CHUNK_BYTES) -> Window:
    fs = SimulatedFilesystem(("/data",))
    fs.put("/data/f", data)
    return Window(fs, "/data/f", chunk)


def anything(_offset: int, _line: bytes) -> bool:
    return True


@given(words)
def test_a_command_is_framed_and_no_part_of_it_is(args: list[bytes]) -> None:
    whole = command(*args)
    assert frame(whole + b"x", 0) == len(whole)
    for length in range(len(whole)):
        assert frame(whole[:length] or b"*", 0) < 0


@given(st.binary(max_size=80))
def test_arbitrary_bytes_never_frame_beyond_themselves(data: bytes) -> None:
    units = whole_units(b"*" + data, anything)
    assert 0 <= units.end <= units.at <= len(data) + 1


@pytest.mark.parametrize("data", [
    b"*0\r\n", b"*-1\r\n", b"*+1\r\n$1\r\na\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$1\r\nabc", b"*1\r\n:1\r\n", b"*\r\n",
    b"*1\n$1\na\n" + b" " * 30, b"*1\r\n$1\r\na\n\r", b"*" + b"9" * 30, b"*2\r\n$1\r\na\r\nx", b"\0\0", b"PING\r\n",
    MULTI + SET + MULTI, EXEC, MULTI + SET + EXEC + EXEC,
])  # fmt: skip
def test_what_is_no_command_is_invalid(data: bytes) -> None:
    assert whole_units(data, anything).stop is Stop.INVALID


def test_a_huge_length_is_only_a_need() -> None:
    units = whole_units(b"*1000000\r\n$9223372036854775807\r\n", anything)
    assert units.stop is Stop.INCOMPLETE
    assert units.need > 1 << 60


def test_a_group_is_one_unit() -> None:
    data = SET + MULTI + SET + b"#TS:1\r\n" + SET + EXEC.lower()
    assert whole_units(data, anything) == (len(data), 5, [(len(SET + MULTI + SET), len(SET + MULTI + SET) + 7)],
                                           Stop.END, len(data), 0)  # fmt: skip
    for length in range(len(SET), len(data)):
        assert whole_units(data[:length], anything).end == len(SET)
    assert is_whole(SET + MULTI + SET + EXEC)
    assert not is_whole(SET + MULTI + SET)


@settings(max_examples=60)
@given(st.lists(words, max_size=12), st.integers(0, 60), st.sampled_from([64, 100, 1000]))
def test_foreign_bytes_are_read_alike_in_any_chunks(commands: list[list[bytes]], cut: int, chunk: int) -> None:
    units = [command(*args) for args in commands]
    data = b"#TS:1\r\n".join(units)
    data = data[: max(0, len(data) - cut)]
    at, parts = Position(0, 5, 9), []
    whole = scan.CHUNK_BYTES
    try:
        scan.CHUNK_BYTES = chunk
        damage = scan_foreign(window_on(data, chunk), at, scan.may_stand_in_foreign_file, parts.append)
    finally:
        scan.CHUNK_BYTES = whole
    got = b"".join(parts)
    assert b"".join(units).startswith(got)
    assert at.lsn == 5 + len(got)
    assert at.chain == crc32c(data[: at.offset], 9)
    assert (damage is None) == (at.offset == len(data))


def test_a_large_foreign_group_is_delivered_whole() -> None:
    group = MULTI + command("SET", "k", b"x" * 3_000_000) * 3 + EXEC
    at, parts = Position(0, 0, 0), []
    assert scan_foreign(window_on(SET + group + SET), at, anything, parts.append) is None
    assert b"".join(parts) == SET + group + SET
    assert any(group in part for part in parts)


def test_a_batch_longer_than_the_file_is_not_allocated() -> None:
    header, _ = lines.batch_header(SEED, 0, b"", 0, 1, 0)
    line = header.replace(b"#W 0 0 ", b"#W 0 999999999999999999 ")
    damage = scan_own(window_on(line), Position(0, 0, 0), SEED, None, lambda _: None)
    assert damage is not None
    assert damage.incomplete


def test_proof_is_found_across_chunk_borders() -> None:
    own = OwnFile(lsn=50).batch(payload(("SET", "a", "1")), durable=50)
    mark = len(own.data)
    own.batch(payload(("SET", "b", "2")), durable=own.lsn)
    line = own.data[mark:]
    for before in range(900, 1100):
        window = window_on(b"x" * before + line, 1024)
        proof = find_proof(window, 0, 50, SEED)
        assert proof is not None
        assert proof.offset == before
    assert find_proof(window_on(b"x" + line), 0, own.lsn, SEED) is None
    assert find_proof(window_on(b"x" + line), 0, 50, SEED + 1) is None
    assert find_proof(window_on(b"x" + line[:-1]), 0, 50, SEED) is None


def test_an_end_line_is_a_proof() -> None:
    line, _ = lines.end_line(SEED, 50, 3)
    assert find_proof(window_on(b"xxx" + line), 0, 50, SEED) is not None
    assert find_proof(window_on(b"xxx" + line), 0, 51, SEED) is None


def test_lines_that_a_client_hid_cost_a_bounded_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_PROOF_BYTES", 10_000)
    hidden = b"#W 900 1000 800 1 00000000 00000000\r\n"
    proof = find_proof(window_on(b"x" + hidden * 100), 0, 50, SEED)
    assert proof is not None
    assert "more lines" in proof.reason


def test_a_whole_command_behind_garbage_is_found() -> None:
    assert find_command(window_on(b"*zz" + b"y" * 100 + SET), 0) == 103
    assert find_command(window_on(b"*zz" + b"y" * 100 + SET[:-1]), 0) is None


def test_a_lost_header_never_turns_a_payload_into_foreign_commands() -> None:
    own = OwnFile()
    at = len(own.data)
    own.batch(payload(("SET", "a", "1")))
    eol = own.data.index(b"\n", at) + 1
    for spoiled in (b"# x\r\n", b"\r\n", b"#X" + own.data[at + 2 : eol]):
        delivered: list[bytes] = []
        data = own.data[:at] + spoiled + own.data[eol:]
        window = window_on(data)
        damage = scan_own(window, Position(at, 0, own.ends[0][2]), SEED, None, delivered.append)
        assert damage is not None
        assert delivered == []
