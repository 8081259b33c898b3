"""PREFIX at the level of keys: after a crash the keyspace is the one after a prefix of what was executed, with all
that was answered.

A crash is a moment (a call of the disk) and a legal state of the disk.  ``always``: what was
answered survives a power loss.  ``everysec`` and ``no``: a kill; and what lies below
``durable_lsn`` a power loss.  Transactions are there whole or not at all.

A failure names its seed; ``lives(seed, Crashes())`` replays it.  The sweeps judge several states at every
call of runs of 200 commands; PERDURE_SWEEP=1 (``make crash``) takes more runs, states and seeds and stops
in the middle of every write, PERDURE_SWEEP=full takes many.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from log_bench import StandingClock
from server_crashes import Crashes, crash_on, noted
from server_model import ILLNESSES, Life, Promise, random_executor, random_step, requests, slow_syncs, time_of

from perdure.wal.executor import InlineExecutor, ManualExecutor
from perdure.wal.simulated import MUTATING, Call, Fault, SimulatedCrash, SimulatedFilesystem, When

SWEEP = os.environ.get("PERDURE_SWEEP", "")
SEEDS = {"1": 200, "full": 4000}.get(SWEEP, 40)
STATES = {"1": 12, "full": 60}.get(SWEEP, 8)
POLICIES = ("always", "everysec", "no")
LEAST_A_CHUNK = 300
"""Distinct crashes of each of the eight chunks: 2,400 in all, and the machine's."""


def lives(seed: int, crashes: Crashes, count: int = 4) -> None:
    """One disk, several processes with faults, each ended by a crash."""
    rng = random.Random(seed)
    fs, promise = SimulatedFilesystem(), Promise()
    for _ in range(count):
        clock = StandingClock()
        life = Life(fs, promise, random_executor(rng), clock)
        life.policy, life.timestamps = rng.choice(POLICIES), rng.random() < 0.2
        ill, judging = rng.random() < 0.4, rng.random() * 0.15

        def judge_some(call: Call, life: Life = life, share: float = judging) -> None:
            if call.name in MUTATING and rng.random() < share:
                life.look()
                crashes.judge_all(life.fs, life.promise, STATES)

        fs.on_call = slow_syncs(clock, rng, judge_some)
        fs.faults[rng.randint(1, rng.choice((30, 120, 300)))] = Fault(crash=rng.choice(list(When)))
        ended = False
        try:
            with time_of(clock):
                life.start(3, seed)
                for _ in range(rng.choice((20, 60, 100))):
                    random_step(life, rng, ill)
                fs.faults.clear()
                life.settle()
                ended = rng.random() < 0.5
                if ended:
                    life.close()
        except SimulatedCrash:
            life.look()
        fs.on_call, fs.sick = None, {}
        crashes.judge_all(fs, promise, STATES)
        if ended:
            assert promise.power_floor == len(promise.states) - 1, "a clean end loses nothing"
        fs, promise = crash_on(fs, promise, rng)


@pytest.mark.parametrize("chunk", range(8))
def test_random_lives_with_crashes_keep_every_answered_command(chunk: int) -> None:
    crashes = Crashes()
    for seed in range(chunk * 100_000, chunk * 100_000 + SEEDS):
        with noted(f"lives({seed}, Crashes()) replays it"):
            lives(seed, crashes)
    assert crashes.count >= LEAST_A_CHUNK


# ---- hypothesis chooses -------------------------------------------------------------------------


class ServerOnACrashingDisk(RuleBasedStateMachine):
    """Commands, jobs, time, illness and crashes in any order."""

    @initialize(policy=st.sampled_from(POLICIES), manual=st.booleans())
    def begin(self, policy: str, manual: bool) -> None:
        self.fs, self.promise = SimulatedFilesystem(), Promise()
        self.policy, self.manual = policy, manual
        self.crashes = Crashes()
        self._start()

    def _start(self) -> None:
        self.clock = StandingClock()
        executor = ManualExecutor() if self.manual else InlineExecutor()
        self.life = Life(self.fs, self.promise, executor, self.clock)
        self.life.policy = self.policy
        with time_of(self.clock):
            self.life.start(3)

    def _do(self, job: Callable[[], object]) -> None:
        try:
            with time_of(self.clock):
                job()
            self.life.look()
        except SimulatedCrash:
            self.life.look()
            self._crash(random.Random(self.fs.calls))

    def _crash(self, rng: random.Random) -> None:
        self.fs.on_call, self.fs.sick = None, {}
        self.crashes.judge_all(self.fs, self.promise, STATES)
        self.fs, self.promise = crash_on(self.fs, self.promise, rng)
        self._start()

    @rule(seed=st.integers(0, 1 << 32), who=st.integers(0, 2), turn=st.booleans())
    def send(self, seed: int, who: int, turn: bool) -> None:
        found = requests(random.Random(seed), self.promise, self.clock)
        self._do(lambda: self.life.clients[who].send(*found))
        if turn:
            self._do(self.life.turn)

    @rule(seconds=st.sampled_from((0.01, 0.1, 0.3, 1.1)))
    def time_passes(self, seconds: float) -> None:
        self._do(lambda: self.life.cron(seconds))

    @precondition(lambda self: isinstance(self.life.executor, ManualExecutor) and self.life.executor.jobs)
    @rule(seed=st.integers(0, 8))
    def job_ends(self, seed: int) -> None:
        self._do(lambda: self.life.run_job(random.Random(seed)))

    @rule(name=st.sampled_from(ILLNESSES), code=st.sampled_from((5, 28)))
    def disk_is_ill(self, name: str, code: int) -> None:
        self.fs.sick[name] = code

    @rule()
    def disk_is_well(self) -> None:
        self.fs.sick = {}

    @rule(slow=st.booleans())
    def disk_is_slow(self, slow: bool) -> None:
        self.fs.on_call = slow_syncs(self.clock, random.Random(1), lambda call: None) if slow else None

    @rule(calls=st.integers(1, 12), when=st.sampled_from(When))
    def machine_will_stop(self, calls: int, when: When) -> None:
        self.fs.faults[self.fs.calls + calls] = Fault(crash=when)

    @rule(seed=st.integers(0, 1 << 16))
    def machine_stops(self, seed: int) -> None:
        self._crash(random.Random(seed))

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.fs.faults.clear()
            # A machine that stopped at a call that failed anyway notices it at the next one.
            self._do(self.life.settle)
            self._crash(random.Random(0))


TestServerOnACrashingDisk = ServerOnACrashingDisk.TestCase
TestServerOnACrashingDisk.settings = settings(
    max_examples={"1": 400, "full": 5000}.get(SWEEP, 80),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


# ---- every call of a run -------------------------------------------------------------------------

COMMANDS = 200
RUNS = {"1": 10, "full": 100}.get(SWEEP, 2)


def new_life(policy: str, run: int) -> Life:
    """In every other run the log's slow calls take their time."""
    life = Life(SimulatedFilesystem(), Promise(), ManualExecutor() if run % 2 else InlineExecutor(), StandingClock())
    life.policy = policy
    return life


def fixed_run(life: Life, run: int) -> None:
    """A start, 200 requests of all sorts with turns of the loop, jobs and time between them, an end."""
    rng = random.Random(run)
    life.start(3)
    sent = 0
    while sent < COMMANDS:
        found = [words for words in requests(rng, life.promise, life.clock) if words[0] != b"CONFIG"]
        rng.choice(life.clients).send(*found)
        sent += len(found)
        if rng.random() < 0.7:
            life.turn()
        if rng.random() < 0.5:
            life.run_job(rng)
        if rng.random() < 0.3:
            life.cron(rng.choice((0.01, 0.3, 1.1)))
    life.turn()
    life.close()


def slow_every_third(life: Life, then: Callable[[Call], None]) -> Callable[[Call], None]:
    """Every third call takes long enough that fsyncs leave the loop, the same ones in each run."""

    def on_call(call: Call) -> None:
        if call.number % 3 == 0:
            life.clock.advance(0.012)
        then(call)

    return on_call


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("policy", POLICIES)
def test_crash_at_every_call_of_a_run_keeps_every_answered_command(policy: str, run: int) -> None:
    crashes, life = Crashes(), new_life(policy, run)
    writes = []

    def judge_here(call: Call) -> None:
        # The disk before a call is the disk after the one before; what a call leaves half done comes below.
        if call.name == "write":
            writes.append(call.number)
        life.look()
        crashes.judge_all(life.fs, life.promise, STATES)

    life.fs.on_call = slow_every_third(life, judge_here)
    with time_of(life.clock):
        fixed_run(life, run)
    life.fs.on_call = None
    crashes.judge_all(life.fs, life.promise, STATES)
    assert life.promise.power_floor == len(life.promise.states) - 1 > 25
    for number in writes if SWEEP else writes[::8]:
        life = new_life(policy, run)
        life.fs.on_call = slow_every_third(life, lambda call: None)
        life.fs.faults[number] = Fault(crash=When.PART)
        with time_of(life.clock), pytest.raises(SimulatedCrash):
            fixed_run(life, run)
        life.look()
        life.fs.on_call = None
        crashes.judge_all(life.fs, life.promise, STATES)
    assert crashes.count > 50
