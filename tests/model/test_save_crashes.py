"""A snapshot on a disk that stops, fills or fails at each call: the old file or the new one is there, whole.

The child's work is done in this process (``InPlace``), so that its calls are crash points, too.
"""

from __future__ import annotations

import contextlib
import errno
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from log_bench import StandingClock
from server_model import FakeLoop, State, make_server, plain

from perdure.server import restoring, startup
from perdure.server.children import InPlace
from perdure.server.log_gate import NoLogWriter
from perdure.server.server import Server
from perdure.server.snapshots import temp_name
from perdure.store.resp import bulk
from perdure.wal.executor import InlineExecutor
from perdure.wal.recovery import mend
from perdure.wal.simulated import Fault, SimulatedCrash, SimulatedFilesystem, When

STATES = 12
DUMP = "/data/dump.rdb"


@dataclass
class Bench:
    """A server without a log on a simulated disk."""

    fs: SimulatedFilesystem = field(default_factory=SimulatedFilesystem)
    clock: StandingClock = field(default_factory=StandingClock)

    def __post_init__(self) -> None:
        self.loop = FakeLoop()
        self.server = make_server(self.loop, self.clock)
        self.server.log_fs = self.fs
        self.server.children.launch = InPlace()
        self.server.saves.last_save_s = self.clock.unix_ms() // 1000
        self.server.start_log(NoLogWriter())

    def fill(self, number: int) -> State:
        """Strings, and a list, that tell which filling it was."""
        tx = self.server.tx
        for at in range(30):
            tx.log(b"a record")
            tx.db.put(b"k%d" % at, b"%d:%d" % (number, at) * 400)
        self.server.engine.end_of_tick()
        return plain(self.server.keyspace)

    def background(self) -> None:
        """A background save, to its end."""
        assert self.server.saves.start() or not self.server.saves.last_ok
        self.loop.turn()
        assert self.server.children.active is None


def loaded(fs: SimulatedFilesystem) -> State:
    """What a start finds in the snapshot; nothing if there is none."""
    server = make_server(FakeLoop(), StandingClock())
    server.log_fs = fs
    try:
        startup.restore_snapshot(server, fs)
    finally:
        gc.unfreeze()
    return plain(server.keyspace)


def calls_of_a_save() -> list[tuple[int, str]]:
    """(number, name) of each call of a save that has a file to replace."""
    bench = Bench()
    bench.fill(1)
    bench.background()
    bench.fill(2)
    bench.fs.trace = []
    bench.background()
    return [(number, call.name) for number, call in enumerate(bench.fs.trace, 1)]


CALLS = calls_of_a_save()


def test_a_save_is_written_aside_synced_renamed_and_its_directory_synced() -> None:
    names = [name for _, name in CALLS]
    assert names[-5:] == ["write", "sync", "close", "rename", "sync_directory"]


@pytest.mark.parametrize("when", list(When))
def test_a_crash_at_any_call_leaves_the_old_snapshot_or_the_new_one(when: When) -> None:
    seen = set()
    for number, _ in CALLS:
        bench = Bench()
        old = bench.fill(1)
        bench.background()
        new = bench.fill(2)
        bench.fs.faults[bench.fs.calls + number] = Fault(crash=when)
        with contextlib.suppress(SimulatedCrash):
            bench.background()
        for after in (bench.fs.kill(), *bench.fs.legal_states(STATES)):
            found = loaded(after)
            assert found in (old, new), number
            seen.add(found == new)
            next_life = Bench(after)
            next_life.server.saves.remove_leftovers()
            assert after.names("/data") == ["dump.rdb"]
            again = next_life.fill(3)
            next_life.background()
            assert loaded(after) == again
    assert seen == {False, True}


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("background", [True, False])
def test_a_call_that_fails_is_told_and_the_next_try_works(code: int, background: bool) -> None:
    for number, name in CALLS:
        bench = Bench()
        saves = bench.server.saves
        old = bench.fill(1)
        bench.background()
        new = bench.fill(2)
        bench.fs.faults[bench.fs.calls + number] = Fault(error=code)
        if background:
            bench.background()
            ok = saves.last_ok
        else:
            ok = saves.save()
        if name == "remove":  # of a file that there is not
            continue
        assert not ok, name
        assert saves.last_error and saves.changes == 30
        assert loaded(bench.fs) in ((old, new) if name == "sync_directory" else (old,))
        assert bench.fs.names("/data") == ["dump.rdb"], name
        bench.background()
        assert saves.last_ok and saves.changes == 0 and saves.last_error == ""
        assert loaded(bench.fs) == new


def test_a_full_disk_keeps_the_old_snapshot_and_a_hundred_failures_pile_up_nothing() -> None:
    bench = Bench()
    old = bench.fill(1)
    bench.background()
    new = bench.fill(2)
    bench.fs.capacity = len(bench.fs.content(DUMP)) + 100
    for number in range(100):
        if number % 2:
            bench.background()
            assert not bench.server.saves.last_ok
        else:
            assert not bench.server.saves.save()
        assert bench.fs.names("/data") == ["dump.rdb"]
    assert "No space left" in bench.server.saves.last_error and loaded(bench.fs) == old
    bench.fs.capacity = None
    bench.background()
    assert loaded(bench.fs) == new


def test_a_short_write_goes_on() -> None:
    bench = Bench()
    new = bench.fill(1)
    first = bench.fs.calls
    bench.fs.on_call = lambda call: Fault(short=7) if call.name == "write" and call.number < first + 6 else None
    bench.background()
    assert loaded(bench.fs) == new


def test_what_a_killed_child_left_is_removed_at_the_next_start() -> None:
    fs = SimulatedFilesystem()
    for name in (temp_name(1), temp_name(99999), "temp-x.rdb", "temp-1.rdb.old", "dump.rdb"):
        fs.put(f"/data/{name}", b"")
    Bench(fs).server.saves.remove_leftovers()
    assert fs.names("/data") == ["dump.rdb", "temp-1.rdb.old", "temp-x.rdb"]


# ---- the clock ------------------------------------------------------------------------------------


def ticks(bench: Bench, seconds: int) -> Iterator[int]:
    """A tick a second; yields the seconds that have passed."""
    for passed in range(1, seconds + 1):
        bench.clock.advance(1)
        bench.server.saves.tick()
        bench.loop.turn()
        yield passed


def points(bench: Bench, text: bytes) -> None:
    bench.server.config.set([(b"save", text)])


def test_a_save_point_is_due_when_its_seconds_are_over_and_enough_has_changed() -> None:
    bench = Bench()
    points(bench, b"10 31 20 1")
    bench.fill(1)  # 30 changes
    began = [passed for passed in ticks(bench, 60) if bench.server.stats.rdb_saves == 1]
    assert began[0] == 21 and bench.server.stats.rdb_saves == 1, "nothing has changed since"
    bench.fill(2)
    bench.fill(3)
    began = [passed for passed in ticks(bench, 30) if bench.server.stats.rdb_saves == 2]
    assert began[0] == 1, "its ten seconds were over"


def test_behind_a_failure_the_next_try_comes_five_seconds_later() -> None:
    bench = Bench()
    points(bench, b"1 1")
    bench.fill(1)
    bench.fs.sick["sync"] = errno.EIO
    tries = [passed for passed in ticks(bench, 20) if bench.server.stats.rdb_saves > len(range(2, passed, 6))]
    assert tries[:3] == [2, 8, 14] and not bench.server.saves.last_ok
    assert bench.server.engine.save_refusal
    bench.fs.sick.clear()
    list(ticks(bench, 7))
    assert bench.server.saves.last_ok and not bench.server.engine.save_refusal


def test_nothing_is_saved_by_the_clock_without_save_points() -> None:
    bench = Bench()
    bench.fill(1)
    list(ticks(bench, 10))
    assert bench.server.stats.rdb_saves == 0 and not bench.fs.exists(DUMP)


# ---- the first log of a snapshot ---------------------------------------------------------------------


def start(fs: SimulatedFilesystem) -> Server:
    """As ``startup.recover`` with ``appendonly yes``."""
    server = make_server(FakeLoop(), StandingClock())
    server.log_fs = fs
    place = startup.place_of(server)
    try:
        recovery = startup.load(server, fs, place)
        restored = not recovery.found and startup.restore_snapshot(server, fs)
    finally:
        gc.unfreeze()
    mend(fs, place.directory, recovery)
    if restored:
        recovery = restoring.begin_log(server, fs, place, recovery)
    server.start_log(startup.open_writer(server, fs, place, recovery, InlineExecutor(), StandingClock()))
    return server


@pytest.mark.parametrize("when", list(When))
def test_a_crash_at_any_call_of_the_first_start_on_a_snapshot_loses_nothing(when: When) -> None:
    bench = Bench()
    expected = bench.fill(1)
    bench.background()
    trial = bench.fs.kill()
    before = trial.calls
    start(trial)
    for number in range(before + 1, trial.calls + 1):
        fs = bench.fs.kill()
        fs.faults[number] = Fault(crash=when)
        with contextlib.suppress(SimulatedCrash):
            start(fs)
        for after in (fs.kill(), *fs.legal_states(STATES)):
            server = start(after)
            assert plain(server.keyspace) == expected, number
            argv = [b"SET", b"new", b"value"]
            server.tx.log(b"".join([b"*3\r\n", *map(bulk, argv)]))
            server.tx.db.put(b"new", b"value")
            server.engine.end_of_tick()
            assert plain(start(after.kill()).keyspace) == {**expected, (0, b"new"): (b"value", None)}
