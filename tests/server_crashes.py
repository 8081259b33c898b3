"""Crashes of a whole server (``server_model``): which disks one may leave, and each of them judged.

A failure in a life made of a seed says how it is replayed (``noted``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from log_bench import StandingClock
from server_model import Life, Promise, judge

from perdure.wal.executor import InlineExecutor
from perdure.wal.simulated import SimulatedFilesystem


def crash_on(fs: SimulatedFilesystem, promise: Promise, rng: random.Random) -> tuple[SimulatedFilesystem, Promise]:
    """The next process finds one of the disks that a crash may leave, and is judged by what holds there."""
    killed = rng.random() < 0.4
    after = fs.kill() if killed else fs.crash(rng)
    index, lsn = judge(after, promise, promise.kill_floor if killed else promise.power_floor)
    there = promise.copy()
    there.cut(index, lsn)
    there.kill_floor = index
    there.power_floor = promise.power_floor if killed else index
    return after, there


@contextmanager
def noted(note: str) -> Iterator[None]:
    """What fails within says this too: how it is replayed."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(note)
        raise


def judge_with_start(fs: SimulatedFilesystem, promise: Promise, floor: int) -> None:
    """As ``judge``, and a start on that disk goes through and loses nothing of it, not even at a power loss."""
    index, lsn = judge(fs, promise, floor)
    clock = StandingClock()
    life = Life(fs, promise.copy(), InlineExecutor(), clock)
    life.start()
    assert judge(fs.kill(), promise, index) == (index, lsn)
    for state in fs.legal_states(3):
        assert judge(state, promise, index) == (index, lsn)


class Crashes:
    """Every distinct disk on which recovery was judged; ``count`` of them."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    @property
    def count(self) -> int:
        return len(self._seen)

    def judge_all(self, fs: SimulatedFilesystem, promise: Promise, limit: int) -> None:
        """The process is killed, or the power fails, at this moment: a kill, and up to ``limit`` legal states."""
        self._judge(fs.kill(), promise, promise.kill_floor)
        for state in fs.legal_states(limit):
            self._judge(state, promise, promise.power_floor)

    def _judge(self, fs: SimulatedFilesystem, promise: Promise, floor: int) -> None:
        mark = hash((*fs.files().items(), promise.number, floor))
        if mark not in self._seen:
            self._seen.add(mark)
            if self.count % 6:
                judge(fs, promise, floor)
            else:
                judge_with_start(fs, promise, floor)
