"""The writer: group commit, the policies, and the end.  On a disk that is ill: ``test_wal_writer_ill_disk``."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest
from log_bench import (
    BASENAME,
    DIRECTORY,
    LOG_ID,
    End,
    StandingClock,
    batch_of,
    begin,
    entries_of,
    files_of,
    path,
    payloads_of,
    write,
)

from perdure.wal.executor import ManualExecutor, SystemClock, ThreadExecutor
from perdure.wal.filesystem import RealFilesystem
from perdure.wal.jobs import doubtful_bytes
from perdure.wal.manifest import incr_name, manifest_name
from perdure.wal.pace import RUN
from perdure.wal.simulated import Call, Fault, SimulatedFilesystem
from perdure.wal.writer import LogWriter

POLICIES = ("always", "everysec", "no")


# ---- the good path ------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_batches_are_in_the_file_and_safe_when_commit_returns(policy: str) -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, policy)
    payloads = write(writer, 1, 5)
    assert (writer.safe, writer.busy, writer.batch) == (5, False, 5)
    assert payloads_of(fs) == payloads
    writer.close()
    [parsed] = files_of(fs)
    assert parsed.ended and parsed.start.log_id == LOG_ID
    assert writer.durable_lsn == writer.lsn == sum(map(len, payloads))


def test_one_batch_is_one_write() -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, "no")
    writer.admit(100)
    fs.trace = []
    writer.commit(batch_of(1))
    assert [call.name for call in fs.trace] == ["write"]


def test_open_makes_the_name_durable_before_the_manifest_names_it() -> None:
    fs = SimulatedFilesystem()
    fs.trace = []
    begin(fs)
    names = [call.name for call in fs.trace if call.name in ("create", "sync", "sync_directory", "rename")]
    assert names == ["sync_directory", "create", "sync", "sync_directory", "create", "sync", "rename", "sync_directory"]


def test_open_unlinks_what_recovery_dropped_behind_the_manifest() -> None:
    fs = SimulatedFilesystem()
    begin(fs).close()
    fs.trace = []
    begin(fs, end=End(log_id=LOG_ID, next_seq=2, drop=(incr_name(BASENAME, 1),)))
    steps = [call.name for call in fs.trace if call.name in ("rename", "remove", "sync_directory")]
    assert steps[-3:] == ["rename", "sync_directory", "remove"]
    assert [entry.seq for entry in entries_of(fs)] == [2]
    assert path(1) not in fs.files()


def test_open_syncs_the_file_that_the_former_run_left() -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, "no")
    payloads = write(writer, 1, 3)
    after = fs.kill()
    end = End(LOG_ID, writer.lsn, writer._chain, entries_of(after), 2)
    write(begin(after, "always", end=end), 4)
    for state in after.legal_states(200):
        assert payloads_of(state)[:3] == payloads


def test_bytes_that_a_killed_run_could_not_fsync_are_written_once_more() -> None:
    """NO-SECOND-FSYNC across processes."""
    fs = SimulatedFilesystem()
    writer = begin(fs, "everysec", executor=ManualExecutor(), clock=(clock := StandingClock()))
    payloads = write(writer, 1, 3)
    fs.sick["sync"] = errno.EIO
    clock.advance(2)
    writer.tick()
    writer.executor.run_next()  # type: ignore[attr-defined]
    assert writer.refusing is not None
    after = fs.kill()
    end = End(LOG_ID, writer.lsn, writer._chain, entries_of(after), 2)
    write(begin(after, "always", end=end), 4)
    for state in after.legal_states(200):
        assert payloads_of(state)[:3] == payloads


def test_only_what_may_not_be_durable_is_written_once_more() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "everysec", clock=clock)
    for number in range(60):
        writer.commit(batch_of(number, 100_000))
        clock.advance(0.2)
        writer.tick()
    size = writer.file_bytes
    assert size > 6_000_000
    assert 1 << 20 < doubtful_bytes(fs, path(), size, LOG_ID) < 5_800_000
    writer.close()
    assert doubtful_bytes(fs, path(), fs.size(path()), LOG_ID) == 1 << 20
    fs.put("/data/other", b"*1\r\n$4\r\nPING\r\n" * 100)
    assert doubtful_bytes(fs, "/data/other", 1400, LOG_ID) == 0


def test_open_fails_whole_when_the_disk_is_full() -> None:
    fs = SimulatedFilesystem(capacity=0)
    with pytest.raises(OSError, match="No space"):
        begin(fs)
    assert fs.files() == {}


def test_open_removes_the_new_file_when_its_fsync_fails() -> None:
    fs = SimulatedFilesystem()
    fs.sick["sync"] = errno.EIO
    with pytest.raises(OSError):
        begin(fs)
    assert fs.files() == {}


def test_commit_wants_a_payload_and_an_idle_writer() -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    writer = begin(fs, "always", executor=executor)
    with pytest.raises(RuntimeError):
        writer.commit(b"")
    writer._pace.inline = False
    write(writer, 1)
    assert writer.busy
    with pytest.raises(RuntimeError):
        writer.commit(batch_of(2))


def test_timestamps_stand_once_a_second() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, clock=clock, timestamps=True)
    write(writer, 1, 3)
    clock.advance(1)
    write(writer, 4, 2)
    writer.set_timestamps(False)
    clock.advance(1)
    write(writer, 6)
    assert files_of(fs)[0].times == 2
    assert fs.content(path()).count(b"#TS:1700001000\r\n") == 1


# ---- policies -------------------------------------------------------------------


def test_always_is_safe_only_when_the_fsync_has_returned() -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    writer = begin(fs, "always", executor=executor)
    writer._pace.inline = False
    told: list[int] = []
    writer._on_progress = lambda: told.append(writer.safe)
    write(writer, 1)
    assert (writer.safe, writer.busy, writer.fsync_in_flight) == (0, True, True)
    executor.run_next()
    assert (writer.safe, writer.busy, told) == (1, False, [1])


def test_always_in_place_fsyncs_before_commit_returns() -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    writer = begin(fs, "always", executor=executor)
    assert writer.inline
    fs.trace = []
    write(writer, 1)
    assert [call.name for call in fs.trace][-2:] == ["write", "sync"]
    assert (writer.safe, len(executor.jobs)) == (1, 0)


def test_one_slow_fsync_sends_them_off_the_loop_and_a_run_of_fast_ones_back() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "always", clock=clock, executor=executor)

    def slow(call: Call) -> Fault | None:
        if call.name == "sync":
            clock.advance(0.02)
        return None

    fs.on_call = slow
    write(writer, 1)
    assert writer.safe == 1 and not writer.inline
    fs.on_call = None
    last = 1 + RUN
    for number in range(2, last + 1):
        assert not writer.inline
        write(writer, number)
        executor.run_next()
    assert writer.inline
    write(writer, last + 1)
    assert writer.safe == last + 1 and not executor.jobs


def test_everysec_fsyncs_once_a_second_if_there_is_something() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "everysec", clock=clock, executor=executor)
    clock.advance(5)
    writer.tick()
    assert not executor.jobs
    write(writer, 1)
    writer.tick()
    assert writer.safe == 1 and writer.durable_lsn == 0
    executor.run_next()
    assert writer.durable_lsn == writer.lsn
    write(writer, 2)
    clock.advance(0.9)
    writer.tick()
    assert not executor.jobs
    clock.advance(0.2)
    writer.tick()
    assert len(executor.jobs) == 1


def test_everysec_writes_by_a_job_while_an_fsync_is_slow_and_is_not_safe_before_the_write_returned() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "everysec", clock=clock, executor=executor)
    write(writer, 1)
    clock.advance(1.1)
    writer.tick()
    write(writer, 2)
    assert writer.safe == 2 and writer.inline
    clock.advance(0.03)
    write(writer, 3)
    assert (writer.safe, writer.busy, writer.inline, writer.delayed_fsync) == (2, True, False, 1)
    assert b"SET\r\n$5\r\nbatch\r\n$11\r\n3x" not in fs.content(path())
    executor.run_next(1)
    assert (writer.safe, writer.busy) == (3, False)
    executor.run_next()
    assert writer._synced == 1 and len(payloads_of(fs)) == 3
    writer._check()


def test_no_fsyncs_when_much_is_kept() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "no", clock=clock, executor=executor, sync_at_bytes=1000, keep_limit_bytes=2000)
    clock.advance(100)
    write(writer, 1)
    writer.tick()
    assert not executor.jobs
    number = 1
    while not executor.jobs:
        number += 1
        write(writer, number)
    assert writer.safe == number and 1000 <= writer._kept_bytes < 1100


def test_too_much_kept_behind_a_slow_fsync_holds_replies() -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    writer = begin(fs, "no", executor=executor, sync_at_bytes=1000, keep_limit_bytes=2000)
    number = 0
    while not writer.busy:
        number += 1
        write(writer, number)
    assert writer.safe == number - 1 and writer._kept_bytes > 2000
    executor.run_next()
    assert (writer.safe, writer.busy) == (number, False)
    assert writer._kept_bytes <= 2000


def test_policy_change_to_always_fsyncs_what_is_written_and_keeps_what_is_safe() -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    writer = begin(fs, "everysec", executor=executor)
    write(writer, 1, 2)
    writer.set_policy("always")
    assert writer.safe == 2 and writer.fsync_in_flight
    writer.commit(batch_of(3))
    assert (writer.safe, writer.busy) == (2, True)
    executor.run_next()
    assert (writer.safe, writer.busy, writer.fsync_in_flight) == (2, True, True)
    executor.run_next()
    assert (writer.safe, writer.busy, writer.durable_lsn) == (3, False, writer.lsn)


def test_policy_change_from_always_lets_a_written_batch_go() -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    told: list[int] = []
    writer = begin(fs, "always", executor=executor, on_progress=lambda: told.append(writer.safe))
    writer._pace.inline = False
    write(writer, 1)
    writer.set_policy("everysec")
    assert (writer.safe, writer.busy, told) == (1, False, [1])
    executor.run_next()
    writer._check()


def test_unknown_policy_is_an_error() -> None:
    writer = begin(SimulatedFilesystem())
    with pytest.raises(ValueError, match="sometimes"):
        writer.set_policy("sometimes")


def test_idle_log_says_on_disk_what_is_durable() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "everysec", clock=clock)
    write(writer, 1)
    for _ in range(30):
        clock.advance(0.1)
        writer.tick()
    batches = files_of(fs)[0].batches
    assert [(facts.length, facts.durable) for facts, _ in batches] == [(writer.lsn, 0), (0, writer.lsn)]
    write(writer, 2)
    writer._check()
    assert len(payloads_of(fs)) == 2


def test_idle_header_that_cannot_be_written_refuses_nothing_and_is_tried_again() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "always", clock=clock)
    write(writer, 1)
    fs.sick = {"write": errno.EIO, "truncate": errno.EIO}
    clock.advance(0.1)
    writer.tick()
    clock.advance(1.1)
    writer.tick()
    assert writer.failures == 1 and writer.refusing is None and not writer.busy
    fs.sick = {}
    write(writer, 2)
    assert writer.safe == 2
    assert len(payloads_of(fs)) == 2


# ---- the end ----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_close_makes_everything_durable(policy: str) -> None:
    fs, executor = SimulatedFilesystem(), ManualExecutor()
    writer = begin(fs, policy, executor=executor)
    writer._pace.inline = False
    payloads = write(writer, 1)
    writer.close()
    assert (writer.safe, writer.busy) == (1, True)  # it takes nothing any more
    for state in fs.legal_states(100):
        assert payloads_of(state) == payloads and files_of(state)[-1].ended
    writer.close()
    writer.tick()


def test_close_writes_what_could_not_be_written_before() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "no", clock=clock)
    fs.sick["write"] = errno.ENOSPC
    payload = batch_of(1)
    writer.commit(payload)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    assert writer.busy and writer.safe == 0
    fs.sick.clear()
    writer.close()
    assert writer.safe == 1 and payloads_of(fs) == [payload] and files_of(fs)[0].ended


def test_close_rotates_when_the_last_fsync_had_failed() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "everysec", clock=clock, executor=executor)
    payloads = write(writer, 1, 3)
    fs.sick["sync"] = errno.EIO
    with pytest.raises(OSError):
        writer.close()
    assert writer.refusing is not None
    with pytest.raises(OSError):
        writer.close()
    fs.sick.clear()
    writer.close()
    assert payloads_of(fs) == payloads
    assert [parsed.ended for parsed in files_of(fs)] == [False, True]


def test_log_goes_on_after_a_close_that_failed() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "everysec", clock=clock)
    payloads = write(writer, 1)
    once = iter([Fault(error=errno.EIO)])
    fs.on_call = lambda call: next(once, None) if call.name == "sync" else None
    with pytest.raises(OSError):
        writer.close()
    clock.advance(1)
    writer.tick()
    assert not writer.busy
    payloads += write(writer, 2)
    writer.close()
    assert payloads_of(fs) == payloads


def test_close_tears_nothing_when_its_last_line_fails_in_the_middle() -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, "no")
    payloads = write(writer, 1)
    answers = iter([Fault(short=3), Fault(error=errno.ENOSPC)])
    fs.on_call = lambda call: next(answers) if call.name == "write" else None
    with pytest.raises(OSError):
        writer.close()
    fs.on_call = None
    payloads += write(writer, 2)
    writer.close()
    assert payloads_of(fs) == payloads


# ---- on the real disk -----------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_real_disk_and_threads(tmp_path: Any, policy: str) -> None:
    done: list[Any] = []
    posted = threading.Event()

    def post(call: Any) -> None:
        done.append(call)
        posted.set()

    executor = ThreadExecutor(post)
    writer = LogWriter(
        RealFilesystem(),
        str(tmp_path / "log"),
        BASENAME,
        End(),  # type: ignore[arg-type]
        executor,
        SystemClock(),
        policy,
        new_log_id=LOG_ID,
    )
    writer.open()
    writer._pace.inline = False
    payloads = [batch_of(number, 1000) for number in range(50)]
    for payload in payloads:
        while writer.busy:
            posted.wait(10)
            posted.clear()
            while done:
                done.pop(0)()
        writer.admit(len(payload))
        writer.commit(payload)
    writer.close()
    executor.shutdown()
    assert writer.safe == 50
    data = (tmp_path / "log" / incr_name(BASENAME, 1)).read_bytes()
    disk = SimulatedFilesystem()
    disk.make_directory(DIRECTORY)
    manifest = manifest_name(BASENAME)
    disk.put(os.path.join(DIRECTORY, manifest), (tmp_path / "log" / manifest).read_bytes())
    disk.put(path(1), data)
    assert payloads_of(disk) == payloads and files_of(disk)[0].ended
