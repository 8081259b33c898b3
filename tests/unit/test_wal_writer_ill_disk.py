"""The writer on a disk that is full or ill: what it refuses, how it heals, and NO-SECOND-FSYNC."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from log_bench import (
    BASENAME,
    DIRECTORY,
    StandingClock,
    batch_of,
    begin,
    entries_of,
    files_of,
    of_size,
    path,
    payloads_of,
    write,
)

from perdure.wal.executor import ManualExecutor
from perdure.wal.manifest import incr_name
from perdure.wal.simulated import Fault, SimulatedFilesystem
from perdure.wal.writer import LogRefused

POLICIES = ("always", "everysec", "no")


# ---- writes that fail --------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_short_writes_are_continued(policy: str) -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, policy)
    fs.on_call = lambda call: Fault(short=max(1, call.amount // 2)) if call.name == "write" else None
    payloads = write(writer, 1, 3)
    assert writer.safe == 3 and payloads_of(fs) == payloads


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_failed_write_holds_the_batch_refuses_and_heals(policy: str, code: int) -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    progress: list[tuple[int, bool]] = []
    writer = begin(fs, policy, clock=clock, on_progress=lambda: progress.append((writer.safe, writer.busy)))
    payloads = write(writer, 1)
    whole = len(fs.content(path()))
    fs.sick["write"] = code
    writer.admit(100)
    payloads += [batch_of(2)]
    assert writer.commit(payloads[1]) == 2
    assert (writer.safe, writer.busy) == (1, True)
    assert writer.refusing is not None and writer.refusing.errno == code
    assert writer.last_write_error == os.strerror(code)
    with pytest.raises(LogRefused):
        writer.admit(1)
    assert len(fs.content(path())) == whole
    for _ in range(3):
        clock.advance(0.06)
        writer.tick()
    assert writer.busy and writer.safe == 1
    fs.sick.clear()
    clock.advance(1)
    writer.tick()
    assert (writer.safe, writer.busy, writer.refusing) == (2, False, None)
    assert progress[-1] == (2, False)
    payloads += write(writer, 3)
    assert payloads_of(fs) == payloads


def test_write_that_fails_in_the_middle_is_cut_back_to_the_last_whole_batch() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "no", clock=clock)
    payloads = write(writer, 1, 2)
    whole = len(fs.content(path()))
    answers = iter([Fault(short=7), Fault(error=errno.EIO)])
    fs.on_call = lambda call: next(answers) if call.name == "write" else None
    payloads.append(batch_of(3))
    writer.commit(payloads[2])
    assert writer.busy and len(fs.content(path())) == whole
    fs.on_call = None
    clock.advance(0.1)
    writer.tick()
    assert writer.safe == 3 and payloads_of(fs) == payloads


def test_nothing_is_written_behind_a_tear_that_cannot_be_cut() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "no", clock=clock)
    payloads = write(writer, 1, 2)
    whole = len(fs.content(path()))
    answers = iter([Fault(short=7), Fault(error=errno.EIO)])
    fs.on_call = lambda call: next(answers) if call.name == "write" else None
    fs.sick["truncate"] = errno.EIO
    payloads.append(batch_of(3))
    writer.commit(payloads[2])
    fs.on_call, fs.trace = None, []
    for _ in range(3):
        clock.advance(1)
        writer.tick()
    assert {call.name for call in fs.trace} == {"truncate"}
    assert len(fs.content(path())) == whole + 7 and writer.busy
    fs.sick.clear()
    clock.advance(1)
    writer.tick()
    assert writer.safe == 3 and payloads_of(fs) == payloads


def test_retries_back_off() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "no", clock=clock)
    fs.sick["write"] = errno.EIO
    writer.commit(batch_of(1))
    fs.trace = []
    for _ in range(1000):
        clock.advance(0.01)
        writer.tick()
    tries = [call for call in fs.trace if call.name == "write"]
    assert 12 <= len(tries) <= 16


def test_failed_write_by_a_job_is_retried_too() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "everysec", clock=clock, executor=executor)
    payloads = write(writer, 1)
    clock.advance(1.1)
    writer.tick()
    clock.advance(0.1)
    fs.sick["write"] = errno.ENOSPC
    payloads += write(writer, 2)
    executor.run_next(1)
    assert writer.busy and writer.refusing is not None
    fs.sick.clear()
    clock.advance(0.1)
    writer.tick()
    executor.run_next(1)
    assert (writer.safe, writer.busy, writer.refusing) == (2, False, None)
    executor.drain()
    assert payloads_of(fs) == payloads


# ---- space --------------------------------------------------------------------------


def test_full_disk_is_met_before_a_write_is_accepted_and_heals() -> None:
    fs, clock = SimulatedFilesystem(capacity=300_000), StandingClock()
    writer = begin(fs, "everysec", clock=clock, reserve_bytes=100_000)
    number, payloads = 0, []
    with pytest.raises(LogRefused, match="No space"):
        while True:
            number += 1
            payload = batch_of(number, 5000)
            writer.admit(len(payload))
            writer.commit(payload)
            assert writer.safe == number
            payloads.append(payload)
    assert number > 45
    assert writer.refusing is not None and not writer.busy
    assert payloads_of(fs) == payloads
    fs.capacity = 1_000_000
    with pytest.raises(LogRefused):
        writer.admit(1)
    clock.advance(0.06)
    assert writer.admit(100) > 0
    assert writer.refusing is None
    payloads += write(writer, number)
    writer.close()
    assert payloads_of(fs) == payloads


def test_tick_clears_a_refusal_for_space_and_says_so() -> None:
    fs, clock = SimulatedFilesystem(capacity=1000), StandingClock()
    told: list[Any] = []
    writer = begin(fs, "no", clock=clock, on_progress=lambda: told.append(writer.refusing))
    with pytest.raises(LogRefused):
        writer.admit(100)
    clock.advance(0.1)
    writer.tick()
    assert writer.refusing is not None and not told
    fs.capacity = 1 << 30
    clock.advance(0.1)
    writer.tick()
    assert writer.refusing is None and told == [None]


def test_ill_disk_at_reservation_refuses() -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, "no")
    fs.sick["allocate"] = errno.EIO
    with pytest.raises(LogRefused) as refused:
        writer.admit(1)
    assert refused.value.errno == errno.EIO and refused.value.text == os.strerror(errno.EIO)


def test_disk_that_cannot_reserve_lets_writes_through() -> None:
    fs = SimulatedFilesystem(capacity=20_000)
    fs.can_reserve = False
    writer = begin(fs, "no")
    assert writer.admit(100) > 1 << 20
    number = 1
    while not writer.busy:
        writer.commit(batch_of(number, 1000))
        number += 1
    assert writer.refusing is not None and writer.refusing.errno == errno.ENOSPC
    assert len(payloads_of(fs)) == writer.safe == number - 2


def test_granted_bytes_need_no_second_question() -> None:
    fs = SimulatedFilesystem(capacity=1 << 20)
    writer = begin(fs, "no", reserve_bytes=1 << 16)
    room = writer.admit(10)
    calls = fs.calls
    writer.commit(of_size(room))
    assert writer.safe == 1
    assert fs.calls == calls + 1


def test_open_batch_is_bounded() -> None:
    fs = SimulatedFilesystem()
    writer = begin(fs, "no", batch_soft_bytes=1000, batch_hard_bytes=3000)
    assert writer.admit(100) == 900 and not writer.full
    assert writer.admit(100) == 0 and writer.full
    assert writer.admit(1800) == 0
    with pytest.raises(LogRefused) as refused:
        writer.admit(200)
    assert refused.value.errno == errno.EAGAIN and writer.refusing is None
    writer.commit(batch_of(1))
    assert writer.admit(5000) == 0 and writer.full
    writer.commit(batch_of(2))
    writer.admit(1)
    assert not writer.full


def test_payload_larger_than_its_grant_is_written_all_the_same() -> None:
    fs = SimulatedFilesystem(capacity=100_000)
    writer = begin(fs, "no", reserve_bytes=10_000)
    writer.admit(10)
    payload = batch_of(1, 50_000)
    writer.commit(payload)
    assert writer.safe == 1 and payloads_of(fs) == [payload]
    write(writer, 2)
    writer._check()


def test_close_gives_back_what_was_reserved() -> None:
    fs = SimulatedFilesystem(capacity=1 << 25)
    writer = begin(fs, "no")
    write(writer, 1)
    assert fs._left() < 1 << 24
    writer.close()
    assert fs._left() > (1 << 25) - 10_000


# ---- NO-SECOND-FSYNC -------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["always", "everysec"])
@pytest.mark.parametrize("inline", [True, False])
def test_failed_fsync_brings_the_kept_batches_to_a_new_file(policy: str, inline: bool) -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, policy, clock=clock, executor=executor)
    payloads = write(writer, 1, 3)
    clock.advance(1.1)
    writer.tick()
    executor.drain()
    writer._pace.inline = inline
    durable = writer.durable_lsn
    size = len(fs.content(path()))
    fs.on_call = lambda call: Fault(error=errno.EIO) if call.name == "sync" and call.path == path() else None
    payloads += [batch_of(4)]
    writer.commit(payloads[3])
    clock.advance(1.1)
    writer.tick()
    if executor.jobs and not writer._rotating:
        executor.run_next()
    assert writer.refusing is not None and writer.busy
    with pytest.raises(LogRefused):
        writer.admit(1)
    executor.drain()
    assert (writer.safe, writer.busy, writer.refusing, writer.rotations) == (4, False, None, 1)
    assert [entry.seq for entry in entries_of(fs)] == [1, 2]
    new = files_of(fs)[1]
    assert new.start.lsn == durable and [payload for _, payload in new.batches] == payloads[3:]
    assert len(fs.content(path(1))) == size
    assert writer.durable_lsn == writer.lsn
    payloads += write(writer, 5)
    executor.drain()
    payloads += write(writer, 6)
    writer.close()
    assert payloads_of(fs) == payloads


def test_ill_disk_is_rotated_again_until_it_is_well_and_nothing_is_left_over() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "always", clock=clock)
    payloads = write(writer, 1, 2)
    fs.sick["sync"] = errno.EIO
    payloads += [batch_of(3)]
    writer.commit(payloads[2])
    for _ in range(40):
        clock.advance(0.1)
        writer.tick()
        assert writer.busy and writer.safe == 2
    fs.sick.clear()
    clock.advance(1)
    writer.tick()
    assert (writer.safe, writer.busy, writer.refusing) == (3, False, None)
    assert payloads_of(fs) == payloads
    names = fs.names(DIRECTORY)
    assert len(names) == 3, names


def test_ill_manifest_is_switched_again_with_the_same_file() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "always", clock=clock)
    payloads = write(writer, 1, 2)
    once = iter([Fault(error=errno.EIO)])
    fs.on_call = lambda call: next(once, None) if call.name == "sync" else None
    fs.sick["rename"] = errno.EIO
    payloads += [batch_of(3)]
    writer.commit(payloads[2])
    for _ in range(5):
        clock.advance(1)
        writer.tick()
    assert writer.busy and fs.names(DIRECTORY).count(incr_name(BASENAME, 2)) == 1
    fs.sick.clear()
    clock.advance(1)
    writer.tick()
    assert writer.safe == 3
    assert [entry.seq for entry in entries_of(fs)] == [1, 2]
    assert payloads_of(fs) == payloads


def test_failed_fsync_waits_for_a_write_under_way_and_takes_it_along() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "everysec", clock=clock, executor=executor)
    payloads = write(writer, 1)
    clock.advance(1.1)
    writer.tick()
    clock.advance(0.1)
    payloads += write(writer, 2)
    fs.on_call = lambda call: Fault(error=errno.EIO) if call.name == "sync" and call.path == path() else None
    executor.run_next(0)
    assert writer.refusing is not None and len(executor.jobs) == 1
    executor.run_next(0)
    executor.drain()
    assert (writer.safe, writer.busy, writer.refusing) == (2, False, None)
    assert payloads_of(fs) == payloads
    assert files_of(fs)[1].start.lsn == 0


def test_batch_that_could_not_be_written_comes_along_to_the_new_file() -> None:
    fs, clock, executor = SimulatedFilesystem(), StandingClock(), ManualExecutor()
    writer = begin(fs, "everysec", clock=clock, executor=executor)
    payloads = write(writer, 1)
    clock.advance(1.1)
    writer.tick()
    payloads += [batch_of(2)]
    fs.on_call = lambda call: Fault(error=errno.EIO) if call.path == path() else None
    writer.commit(payloads[1])
    assert writer.busy and writer.safe == 1
    executor.drain()
    assert (writer.safe, writer.busy, writer.refusing) == (2, False, None)
    fs.on_call = None
    payloads += write(writer, 3)
    assert payloads_of(fs) == payloads


def test_rotation_behind_an_idle_header_links_to_a_chain_that_held_there() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "everysec", clock=clock)
    payloads = write(writer, 1)
    for _ in range(30):
        clock.advance(0.1)
        writer.tick()
    once = iter([Fault(error=errno.EIO)])
    fs.on_call = lambda call: next(once, None) if call.name == "sync" else None
    payloads += write(writer, 2)
    clock.advance(2)
    writer.tick()
    assert writer.rotations == 1 and payloads_of(fs) == payloads


def test_many_kept_batches_are_rewritten_in_large_pieces() -> None:
    fs, clock = SimulatedFilesystem(), StandingClock()
    writer = begin(fs, "everysec", clock=clock)
    payloads = write(writer, 1, 1000)
    once = iter([Fault(error=errno.EIO)])
    fs.on_call = lambda call: next(once, None) if call.name == "sync" else None
    fs.trace = []
    clock.advance(2)
    writer.tick()
    assert writer.rotations == 1 and payloads_of(fs) == payloads
    assert len([call for call in fs.trace if call.name == "write"]) == 2
