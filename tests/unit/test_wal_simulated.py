"""The simulated disk: what it keeps at a power loss, what it loses, and how it falls ill."""

from __future__ import annotations

import errno
import random

import pytest

from perdure.wal.simulated import Call, Fault, SimulatedCrash, SimulatedFile, SimulatedFilesystem, When

SYNCED = bytes(range(1, 251)) * 40
LATER = b"LATER" * 3000


def with_tail() -> tuple[SimulatedFilesystem, SimulatedFile]:
    """A file of which SYNCED is durable, its name too, and LATER is written behind it."""
    fs = SimulatedFilesystem()
    file = fs.create("/data/f")
    file.write(SYNCED)
    file.sync()
    fs.sync_directory("/data")
    file.write(LATER)
    return fs, file


def states(fs: SimulatedFilesystem, count: int = 400) -> list[SimulatedFilesystem]:
    return [fs.crash(random.Random(seed)) for seed in range(count)]


def test_synced_bytes_survive_every_power_loss() -> None:
    fs, _ = with_tail()
    for state in [*states(fs), *fs.legal_states(500)]:
        assert state.content("/data/f")[: len(SYNCED)] == SYNCED


def test_unsynced_bytes_are_lost_kept_torn_reordered_or_zeros() -> None:
    fs, _ = with_tail()
    for found in ({s.content("/data/f") for s in states(fs)}, {s.content("/data/f") for s in fs.legal_states(500)}):
        tails = {content[len(SYNCED) :] for content in found}
        assert b"" in tails and LATER in tails and bytes(len(LATER)) in tails
        assert any(0 < len(tail) < len(LATER) and LATER.startswith(tail) for tail in tails)
        page = 4096 - len(SYNCED) % 4096
        holes = [tail for tail in tails if len(tail) == len(LATER) and tail not in (LATER, bytes(len(LATER)))]
        assert any(tail[:page] == bytes(page) for tail in holes)
        assert any(tail[-page:] == bytes(page) for tail in holes)
        assert any(0 < tail.count(0) < 1024 for tail in holes), "a torn sector"


def test_legal_states_are_distinct_and_the_same_each_time() -> None:
    first = [tuple(state.files().items()) for state in with_tail()[0].legal_states(300)]
    again = [tuple(state.files().items()) for state in with_tail()[0].legal_states(300)]
    assert first == again
    assert len(set(first)) == len(first) > 20
    assert len(list(with_tail()[0].legal_states(7))) <= 7


def test_a_crash_is_the_same_for_the_same_seed() -> None:
    fs, _ = with_tail()
    assert fs.crash(random.Random(5)).files() == fs.crash(random.Random(5)).files()


def test_power_loss_leaves_a_disk_on_which_everything_is_durable() -> None:
    fs, _ = with_tail()
    state = fs.crash(random.Random(1))
    assert [other.files() for other in state.legal_states(50)] == [state.files()]


def test_truncation_is_lost_or_kept() -> None:
    fs, file = with_tail()
    file.sync()
    file.truncate(10)
    file.write(b"new")
    found = {state.content("/data/f") for state in [*states(fs), *fs.legal_states(500)]}
    assert {SYNCED + LATER, SYNCED[:10], SYNCED[:10] + b"new"} <= found
    assert SYNCED[:10] + b"n" in found


def test_name_without_a_directory_sync_may_be_missing_even_if_the_file_is_synced() -> None:
    fs = SimulatedFilesystem()
    file = fs.create("/data/f")
    file.write(b"x")
    file.sync()
    assert {tuple(state.files().items()) for state in fs.legal_states(50)} == {(), (("/data/f", b"x"),)}


def test_rename_is_done_or_not_and_never_half() -> None:
    fs = SimulatedFilesystem()
    for name, data in (("name", b"old"), ("temp", b"new")):
        file = fs.create("/data/" + name)
        file.write(data)
        file.sync()
    fs.sync_directory("/data")
    fs.rename("/data/temp", "/data/name")
    before = {"/data/name": b"old", "/data/temp": b"new"}
    after = {"/data/name": b"new"}
    found = [state.files() for state in [*states(fs), *fs.legal_states(50)]]
    assert all(files in (before, after) for files in found)
    assert before in found and after in found


def test_independent_name_changes_are_lost_in_any_order() -> None:
    fs = SimulatedFilesystem()
    for name in ("a", "b"):
        fs.create("/data/" + name).sync()
    fs.sync_directory("/data")
    fs.remove("/data/a")
    fs.create("/data/c")
    fs.rename("/data/c", "/data/d")
    found = {tuple(state.files()) for state in [*states(fs), *fs.legal_states(50)]}
    assert ("/data/a", "/data/b", "/data/d") in found, "the removal lost, the later rename kept"
    assert ("/data/b",) in found, "the removal kept, the later names lost"
    assert ("/data/b", "/data/c") in found
    assert not any({"/data/c", "/data/d"} <= set(names) for names in found)


def test_directory_without_a_sync_of_its_parent_may_be_missing() -> None:
    fs = SimulatedFilesystem()
    fs.make_directory("/data/sub")
    file = fs.create("/data/sub/f")
    file.sync()
    fs.sync_directory("/data/sub")
    found = {"/data/sub" in state.directories for state in fs.legal_states(50)}
    assert found == {False, True}
    fs.sync_directory("/data")
    assert all("/data/sub/f" in state.files() for state in states(fs, 50))


def test_failed_fsync_loses_pages_that_still_read_well_and_no_later_fsync_brings_them() -> None:
    fs, file = with_tail()
    fs.sick["sync"] = errno.EIO
    with pytest.raises(OSError):
        file.sync()
    fs.sick.clear()
    assert fs.content("/data/f") == SYNCED + LATER
    file.write(b"x" * 8192)
    file.sync()
    found = {state.content("/data/f") for state in [*states(fs), *fs.legal_states(500)]}
    assert SYNCED + LATER + b"x" * 8192 in found
    assert any(content[len(SYNCED) + 3000 : len(SYNCED) + 3100] == bytes(100) for content in found)
    assert all(content.endswith(b"x" * 8192) and len(content) == len(SYNCED + LATER) + 8192 for content in found)
    killed = fs.kill()
    assert any(b"\0" * 100 in state.content("/data/f") for state in states(killed))


def test_kill_keeps_what_was_written_and_makes_nothing_durable() -> None:
    fs, _ = with_tail()
    fs.create("/data/g")
    killed = fs.kill()
    assert killed.content("/data/f") == SYNCED + LATER
    assert killed.files() == fs.files()
    assert any(state.content("/data/f") == SYNCED for state in states(killed))
    assert any("/data/g" not in state.files() for state in states(killed))
    killed.open_append("/data/f").sync()
    killed.sync_directory("/data")
    assert all(state.files() == killed.files() for state in states(killed, 50))
    assert fs.crash(random.Random(0)) is not fs


@pytest.mark.parametrize(("when", "written"), [(When.BEFORE, 0), (When.PART, 5), (When.AFTER, 10)])
def test_crash_at_a_call_stops_everything(when: When, written: int) -> None:
    fs = SimulatedFilesystem()
    file = fs.create("/data/f")
    fs.faults[fs.calls + 1] = Fault(crash=when)
    with pytest.raises(SimulatedCrash):
        file.write(b"x" * 10)
    for call in (file.sync, lambda: fs.names("/data"), file.close):
        with pytest.raises(SimulatedCrash):
            call()
    assert len(fs.kill().content("/data/f")) == written


def test_calls_are_numbered_and_can_be_made_to_fail_or_be_short() -> None:
    fs = SimulatedFilesystem()
    fs.trace = []
    file = fs.create("/data/f")
    fs.faults = {2: Fault(error=errno.EDQUOT), 3: Fault(short=1)}
    with pytest.raises(OSError) as raised:
        file.write(b"abc")
    assert raised.value.errno == errno.EDQUOT
    assert file.write(b"abc") == 1
    assert fs.content("/data/f") == b"a"
    assert fs.trace == [
        Call(1, "create", "/data/f", 0),
        Call(2, "write", "/data/f", 3),
        Call(3, "write", "/data/f", 3),
    ]


def test_hook_runs_at_each_call() -> None:
    fs = SimulatedFilesystem()
    seen: list[str] = []
    fs.on_call = lambda call: seen.append(call.name)
    fs.create("/data/f").sync()
    assert seen == ["create", "sync"]


def test_full_disk_writes_short_and_then_nothing() -> None:
    fs = SimulatedFilesystem(capacity=10)
    file = fs.create("/data/f")
    assert file.write(b"x" * 8) == 8
    assert file.write(b"y" * 8) == 2
    with pytest.raises(OSError) as raised:
        file.write(b"z")
    assert raised.value.errno == errno.ENOSPC
    file.truncate(4)
    assert file.write(b"z" * 8) == 6
    fs.remove("/data/f")
    assert fs.create("/data/g").write(b"x" * 10) == 10


def test_reserved_space_is_the_files_own() -> None:
    fs = SimulatedFilesystem(capacity=100)
    file, other = fs.create("/data/f"), fs.create("/data/g")
    assert file.allocate(0, 60)
    with pytest.raises(OSError):
        other.allocate(0, 50)
    assert other.write(b"x" * 50) == 40
    assert file.write(b"x" * 60) == 60
    with pytest.raises(OSError):
        file.write(b"x")
    fs.can_reserve = False
    assert not file.allocate(0, 1)
