"""PREFIX under crashes: after any of them the log is a prefix of what was committed, with all that was answered.

``always``: everything that was safe is there after a power loss.  ``everysec``
and ``no``: everything that was safe is there after the process was killed, and
everything below ``durable_lsn`` after a power loss.

PERDURE_FULL=1 makes the sweeps exhaustive; else they take a fixed sample.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator

import pytest
from log_bench import StandingClock
from log_model import Life, Promise, judge, random_executor, random_life, stopped

from perdure.wal.executor import InlineExecutor
from perdure.wal.simulated import MUTATING, Call, Fault, SimulatedCrash, SimulatedFilesystem, When

FULL = os.environ.get("PERDURE_FULL") == "1"
POLICIES = ("always", "everysec", "no")
STATES = 60 if FULL else 12


def judge_all(fs: SimulatedFilesystem, promise: Promise, limit: int) -> int:
    """Every state that a power loss at this moment may leave, and a kill; how many there were."""
    judge(fs.kill(), promise, promise.kill_floor)
    count = 1
    for state in fs.legal_states(limit):
        judge(state, promise, promise.power_floor)
        count += 1
    return count


def short_writes(rng: random.Random) -> Callable[[Call], Fault | None]:
    """Some writes take a part; some of those that go on behind them fail."""
    before = [False]

    def fault(call: Call) -> Fault | None:
        if call.name != "write":
            return None
        dice, behind = rng.random(), before[0]
        before[0] = dice < 0.3
        if behind and dice > 0.6:
            return Fault(error=errno.EIO)
        return Fault(short=rng.randint(1, 500)) if before[0] else None

    return fault


# ---- random lives, one after the other on the same disk ------------------------------


def lives(seed: int, count: int) -> int:
    """One disk, several lives with faults, each ended by a crash; how many states were judged."""
    rng = random.Random(seed)
    fs, promise, judged = SimulatedFilesystem(), Promise(), 0
    for _ in range(count):
        ill = rng.random() < 0.5
        fs.faults[rng.randint(1, rng.choice((40, 150, 500)))] = Fault(crash=rng.choice(list(When)))
        if rng.random() < 0.3:
            fs.on_call = short_writes(random.Random(rng.random()))
        fs.capacity = rng.choice((None, None, None, len(b"".join(promise.payloads)) * 2 + 60_000))
        life = Life(fs, promise, rng.choice(POLICIES), random_executor(rng), StandingClock())
        life.options = {"timestamps": rng.random() < 0.3, "reserve_bytes": rng.choice((0, 8192, 100_000))}
        try:
            random_life(life, rng, rng.choice((10, 60, 150)), ill)
        except SimulatedCrash:
            pass
        except OSError:
            assert life.writer is None, "only a start may fail"
        stopped(life)
        fs.on_call, fs.sick, fs.capacity = None, {}, None
        judged += judge_all(fs, promise, STATES)
        if rng.random() < 0.3:
            # Only a kill: nothing that was promised to survive a power loss is more than before.
            floor = promise.power_floor
            fs = fs.kill()
            promise = judge(fs, promise, promise.kill_floor)
            promise.power_floor = floor
        else:
            fs = fs.crash(rng)
            promise = judge(fs, promise, promise.power_floor)
    return judged


@pytest.mark.parametrize("chunk", range(8))
def test_random_lives_with_crashes_keep_every_answered_batch(chunk: int) -> None:
    seeds = range(chunk * 1000, chunk * 1000 + (100 if FULL else 12))
    assert sum(lives(seed, 6) for seed in seeds) > len(seeds) * 20


# ---- a crash at every call of a fixed run -----------------------------------------------


def fixed_run(life: Life, batches: int) -> None:
    """A start, batches of various sizes with ticks between them, and a close."""
    writer = life.start()
    for number in range(batches):
        life.commit((1, 50, 700, 5000)[number % 4])
        life.tick((0.01, 0.3, 1.1)[number % 3])
    for _ in range(3):
        life.tick(0.6)
    writer.close()
    life.look()


def calls_of(policy: str, batches: int) -> int:
    fs = SimulatedFilesystem()
    fixed_run(Life(fs, Promise(), policy, InlineExecutor(), StandingClock()), batches)
    return fs.calls


def sweep(total: int, every: int) -> Iterator[tuple[int, When]]:
    for number in range(1, total + 1):
        if FULL:
            yield from ((number, when) for when in When)
        elif number % every == 0 or number < 25 or number > total - 12:
            yield number, list(When)[number % 3]


@pytest.mark.parametrize("policy", POLICIES)
def test_crash_at_every_call_of_a_run(policy: str) -> None:
    batches = 200 if FULL else 24
    judged = 0
    for number, when in sweep(calls_of(policy, batches), 3):
        fs, promise = SimulatedFilesystem(), Promise()
        fs.faults[number] = Fault(crash=when)
        life = Life(fs, promise, policy, InlineExecutor(), StandingClock())
        with pytest.raises(SimulatedCrash):
            fixed_run(life, batches)
        stopped(life)
        judged += judge_all(fs, promise, STATES)
    assert judged > 200


# ---- a crash at every call of the next start ------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(4))
def test_crash_at_every_call_of_the_start_after_a_crash(policy: str, seed: int) -> None:
    rng = random.Random(seed)
    fs, promise = SimulatedFilesystem(), Promise()
    total = calls_of(policy, 24)
    fs.faults[rng.randint(total // 2, total)] = Fault(crash=When.PART)
    life = Life(fs, promise, policy, InlineExecutor(), StandingClock())
    with pytest.raises(SimulatedCrash):
        fixed_run(life, 24)
    stopped(life)
    for killed in (True, False):
        floor = promise.power_floor
        torn = fs.kill() if killed else fs.crash(rng)
        held = judge(torn, promise, promise.kill_floor if killed else floor)
        held.power_floor = min(held.power_floor, floor) if killed else held.power_floor
        for number in range(1, 200):
            again = torn.kill()
            again.faults[number] = Fault(crash=list(When)[number % 3])
            there = held.copy()
            life = Life(again, there, policy, InlineExecutor(), StandingClock())
            try:
                life.start()
            except SimulatedCrash:
                judge_all(again, there, STATES)
                continue
            break
        assert 15 < number < 199


# ---- NO-SECOND-FSYNC: a crash at every call of a rotation --------------------------------------


def ill_run(life: Life, failing: int, illness: str) -> None:
    """Batches, then an fsync that fails, a rotation, more batches."""
    life.start()
    for number in range(6):
        life.commit(400 * number)
        life.tick(0.3)
    fs = life.fs
    left = [failing]

    def fail(call: Call) -> Fault | None:
        if call.name == illness and left[0] > 0:
            left[0] -= 1
            return Fault(error=errno.EIO)
        return None

    fs.on_call = fail
    for number in range(6):
        life.commit(300 * number)
        life.tick(1.1)
    fs.on_call = None
    for number in range(4):
        life.tick(1.1)
        life.commit(300 * number)


@pytest.mark.parametrize("policy", ["always", "everysec"])
@pytest.mark.parametrize(("failing", "more"), [(1, ""), (3, ""), (1, "rename"), (1, "sync_directory"), (1, "create")])
def test_crash_at_every_call_of_a_rotation(policy: str, failing: int, more: str) -> None:
    def run(crash_at: int, when: When) -> tuple[SimulatedFilesystem, Promise, bool]:
        fs, promise = SimulatedFilesystem(), Promise()
        fs.faults[crash_at] = Fault(crash=when)
        life = Life(fs, promise, policy, InlineExecutor(), StandingClock())
        ended = False
        try:
            if more:
                fs.on_call = None
            ill_run(life, failing, "sync")
            if more:
                fs.sick = {more: errno.EIO, "sync": errno.EIO}
                life.commit(500)
                life.tick(1.1)
                fs.sick = {more: errno.EIO}
                life.tick(1.1)
                life.tick(1.1)
                fs.sick = {}
                life.tick(1.1)
                life.commit(500)
                assert not life.writer.busy  # type: ignore[union-attr]
            ended = True
        except SimulatedCrash:
            pass
        stopped(life)
        if ended:
            assert life.writer is not None and life.writer.rotations >= 1
        return fs, promise, ended

    fs, promise, ended = run(1 << 30, When.AFTER)
    assert ended
    judge_all(fs, promise, STATES)
    judged = 0
    total = fs.calls
    for number in range(1 if FULL else total // 4, total + 1):
        for when in When if FULL else (list(When)[number % 3],):
            fs, promise, ended = run(number, when)
            assert not ended
            judged += judge_all(fs, promise, STATES)
    assert judged > 100


def test_sweeps_know_which_calls_change_the_disk() -> None:
    fs = SimulatedFilesystem()
    fs.trace = []
    fixed_run(Life(fs, Promise(), "everysec", InlineExecutor(), StandingClock()), 24)
    names = {call.name for call in fs.trace}
    assert {"create", "write", "sync", "allocate", "truncate", "rename", "sync_directory"} <= names & MUTATING
