"""A life of the log on a disk that can stop at any call, and what must be there afterwards.

The model knows the payloads that were committed, in order, and two floors into
them: what must survive the end of the process, and what must survive a power loss.
They come from what the owner was told (``safe``), not from the writer's insides;
``durable_lsn`` is believed as a promise of its own.
"""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass, field
from itertools import accumulate

from crc32c import crc32c
from log_bench import BASENAME, DIRECTORY, LOG_ID, StandingClock, batch_of, entries_of

from perdure.wal import format as lines
from perdure.wal.atomic import write_all
from perdure.wal.compaction import Finished, Mark
from perdure.wal.executor import Executor, InlineExecutor, ManualExecutor
from perdure.wal.manifest import TEMP_BASE_PREFIX, Entry, base_name
from perdure.wal.recovery import Recovery, mend, read_log
from perdure.wal.simulated import SimulatedCrash, SimulatedFilesystem
from perdure.wal.writer import LogRefused, LogWriter


@dataclass
class Promise:
    """``payloads`` were committed; of their bytes so many must be there after a kill, after a power loss."""

    payloads: list[bytes] = field(default_factory=list)
    kill_floor: int = 0
    power_floor: int = 0
    number: int = 0

    def next_payload(self, size: int) -> bytes:
        self.number += 1
        return batch_of(self.number, size)

    def end_of(self, count: int) -> int:
        return sum(map(len, self.payloads[:count]))

    def copy(self) -> Promise:
        return Promise(list(self.payloads), self.kill_floor, self.power_floor, self.number)


def recover(fs: SimulatedFilesystem) -> tuple[bytes, Recovery]:
    """Read the log; all it gave."""
    pieces: list[bytes] = []

    def take(payload: bytes) -> int:
        pieces.append(payload)
        return payload.count(b"SET\r\n")

    recovery = read_log(fs, DIRECTORY, BASENAME, take)
    return b"".join(pieces), recovery


def stock_view(fs: SimulatedFilesystem) -> bytes:
    """The commands that stock applies: those of all files that the manifest names, annotations skipped."""
    found = b""
    for entry in entries_of(fs):
        if entry.kind == "h":
            continue
        if entry.kind == "b":
            found += fs.content(os.path.join(DIRECTORY, entry.name))
            continue
        data, at = fs.content(os.path.join(DIRECTORY, entry.name)), 0
        while at < len(data):
            eol = data.index(b"\n", at) + 1
            facts = lines.parse(data[at:eol])
            length = facts.length if isinstance(facts, lines.Batch) else 0
            found += data[eol : eol + length]
            at = eol + length
    return found


def judge(fs: SimulatedFilesystem, promise: Promise, floor: int) -> Promise:
    """PREFIX: what recovery reads is whole batches, from the first one on, and reaches the floor.

    Returns the promise that holds on this disk from now on.
    """
    before = fs.files()
    found, _ = recover(fs)
    assert fs.files() == before, "HANDS-OFF: reading changed the disk"
    ends = [0, *accumulate(map(len, promise.payloads))]
    assert len(found) in ends, f"{len(found)} bytes are no whole batches of {ends[-5:]}"
    assert found == b"".join(promise.payloads)[: len(found)]
    assert len(found) >= floor, f"{len(found)} bytes are there, {floor} were promised"
    return Promise(promise.payloads[: ends.index(len(found))], len(found), len(found), promise.number)


class Life:
    """From one start to the next crash."""

    def __init__(
        self,
        fs: SimulatedFilesystem,
        promise: Promise,
        policy: str,
        executor: Executor,
        clock: StandingClock,
        **options: int | bool,
    ) -> None:
        self.fs, self.promise, self.policy, self.executor, self.clock = fs, promise, policy, executor, clock
        self.options = options
        self.writer: LogWriter | None = None
        self.first = 0
        self.seen = 0
        self.mark: Mark | None = None
        self.base: Finished | None = None
        self.rewriting = False
        self.rewrites = 0

    def start(self) -> LogWriter:
        """Recover, mend, open.  From here on all that was read is promised."""
        found, recovery = recover(self.fs)
        mend(self.fs, DIRECTORY, recovery)
        limits = {"sync_at_bytes": 20_000, "keep_limit_bytes": 40_000, "reserve_bytes": 8192, **self.options}
        writer = LogWriter(
            self.fs,
            DIRECTORY,
            BASENAME,
            recovery.end,
            self.executor,
            self.clock,
            self.policy,
            new_log_id=LOG_ID,
            **limits,  # type: ignore[arg-type]
        )
        writer.open()
        assert stock_view(self.fs) == found, "STOCK: stock would not apply what we do"
        ends = [0, *accumulate(map(len, self.promise.payloads))]
        del self.promise.payloads[ends.index(len(found)) :]
        self.promise.kill_floor = self.promise.power_floor = len(found)
        self.first = len(self.promise.payloads)
        self.writer = writer
        return writer

    def look(self) -> None:
        """Take note of what the owner is promised now."""
        writer = self.writer
        assert writer is not None
        if writer.safe > self.seen:
            self.seen = writer.safe
            end = self.promise.end_of(self.first + writer.safe)
            self.promise.kill_floor = end
            if writer.policy == "always":
                self.promise.power_floor = end
        durable = writer.durable_lsn
        assert durable <= self.promise.end_of(len(self.promise.payloads))
        self.promise.power_floor = max(self.promise.power_floor, durable)
        self.promise.kill_floor = max(self.promise.kill_floor, durable)

    def commit(self, size: int) -> bool:
        """A batch, if the log takes one."""
        writer = self.writer
        assert writer is not None
        if writer.busy:
            return False
        payload = self.promise.next_payload(size)
        try:
            writer.admit(len(payload))
        except LogRefused:
            return False
        # It may reach the disk, but is promised only when it is safe.
        self.promise.payloads.append(payload)
        writer.commit(payload)
        self.look()
        return True

    def rewrite(self) -> None:
        """The next step of a rewrite: turn, write a BASE of all that was committed before, have it adopted."""
        writer = self.writer
        assert writer is not None
        if not self.rewriting:
            self.rewriting = True
            writer.compaction.turn_over(self._turned)
        elif self.mark is not None and self.base is None:
            self._write_base(self.mark)
        elif self.mark is not None and self.base is not None:
            mark, base, self.mark, self.base = self.mark, self.base, None, None
            writer.compaction.adopt(base, mark.seq, self._adopted)

    def _turned(self, mark: Mark | None, error: OSError | None) -> None:
        assert (mark is None) != (error is None)
        self.mark, self.rewriting = mark, mark is not None

    def _write_base(self, mark: Mark) -> None:
        data = b"".join(self.promise.payloads)[: mark.lsn]
        assert len(data) == mark.lsn
        temp = f"{TEMP_BASE_PREFIX}bg-1.aof"
        try:
            if self.fs.exists(f"{DIRECTORY}/{temp}"):
                self.fs.remove(f"{DIRECTORY}/{temp}")
            file = self.fs.create(f"{DIRECTORY}/{temp}")
            write_all(file, data)
            file.sync()
            file.close()
        except OSError:
            self.mark, self.rewriting = None, False
            return
        seq = mark.base_seq
        entry = Entry(base_name(BASENAME, seq), seq, "b", mark.lsn, mark.prev, len(data), crc32c(data))
        self.base = Finished(temp, entry)

    def _adopted(self, error: OSError | None) -> None:
        self.rewriting = False
        self.rewrites += error is None

    def tick(self, seconds: float) -> None:
        assert self.writer is not None
        self.clock.advance(seconds)
        self.writer.tick()
        self.look()


ILLNESSES = ("write", "sync", "truncate", "allocate", "create", "rename", "sync_directory", "remove")


def random_life(life: Life, rng: random.Random, steps: int, ill: bool) -> bool:
    """A run of random steps; True if it ended by a clean close.  SimulatedCrash goes through."""
    writer = life.start()
    executor = life.executor
    for _ in range(steps):
        dice = rng.random()
        if dice < 0.5:
            life.commit(rng.choice((1, 30, 400, 3000, 9000)))
        elif dice < 0.7:
            life.tick(rng.choice((0.01, 0.1, 0.1, 0.3, 1.1)))
        elif dice < 0.9 and isinstance(executor, ManualExecutor):
            if executor.jobs:
                executor.run_next(rng.randrange(len(executor.jobs)))
        elif dice < 0.92:
            life.rewrite()
        elif dice < 0.94:
            life.look()
            writer.set_policy(rng.choice(("always", "everysec", "no")))
            writer._pace.inline = rng.random() < 0.5
        elif ill and dice < 0.97:
            life.fs.sick = {}
            if rng.random() < 0.6:
                names = rng.sample(ILLNESSES, rng.randint(1, 3))
                life.fs.sick = {name: rng.choice((errno.EIO, errno.ENOSPC)) for name in names}
        elif dice > 0.99:
            try:
                writer.close()
            except OSError:
                life.look()
                continue
            life.look()
            return True
        life.look()
        writer._check()
    return False


def random_executor(rng: random.Random) -> Executor:
    return InlineExecutor() if rng.random() < 0.4 else ManualExecutor()


def stopped(life: Life) -> None:
    """What was promised up to the crash, if the life got so far."""
    if life.writer is not None:
        life.look()


__all__ = ["Life", "Promise", "SimulatedCrash", "judge", "random_executor", "random_life", "recover", "stopped"]
