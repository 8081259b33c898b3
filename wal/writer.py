"""The log's writer: group commit, the three fsync policies, and what is done when the disk is ill.

The owner (one thread, one event loop) asks ``admit`` for room before it accepts a
record (LOG-FIRST, REFUSE-WHOLE), gathers the records of a tick, hands them over by
``commit`` as one batch, and lets the replies of batch n go when ``safe >= n``
(ANSWER-AFTER).  While ``busy`` it goes on gathering.

Two small machines share the file.  Writing:

=========  ==========================================  ===============================================
idle       every batch is handed to the kernel         commit -> idle (written in place), writing
                                                       (an fsync is slow), retrying (the write failed)
writing    a batch is being written by a job           done -> idle, failed -> retrying
retrying   the batch stays in memory, the file is cut  tick, after a backoff -> writing
           back to the last whole batch, writes are    a rotation, which takes the batch along -> idle
           refused (``torn``: even the cut failed)
=========  ==========================================  ===============================================

Syncing:

=========  ==========================================  ===============================================
resting    no fsync under way                          policy, tick -> syncing; in place -> resting
syncing    an fsync runs as a job                      done -> resting, failed -> rotating
rotating   NO-SECOND-FSYNC: the file is not trusted,   done -> resting, on a new file
           writes are refused, the kept batches go     failed -> rotating, from tick after a backoff
           to a new file (see ``rotation``)
=========  ==========================================  ===============================================

``close`` ends both; after it nothing is called any more.

Policies.  ``always``: a batch is safe when an fsync that began after its write has
returned.  ``everysec``, ``no``: when its write has returned, never before; unless
more than ``keep_limit_bytes`` wait for an fsync that runs, then it waits for it.

Kept: the payloads of all batches since the last good fsync, so that they can be
written once more.  ``no`` therefore fsyncs when ``sync_at_bytes`` are kept.

Invariants: durable_lsn <= written_lsn <= lsn; kept covers exactly durable_lsn to
lsn; ``safe`` never goes back; no byte behind a torn one is ever written.

``compaction``, ``ending`` and ``idle`` are parts of it and know its insides.

It must not know: keys, replies, event loops, threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from perdure.wal import format as lines
from perdure.wal.atomic import remove_quietly, write_all
from perdure.wal.compaction import Compaction
from perdure.wal.ending import finish
from perdure.wal.format import batch_header
from perdure.wal.idle import Idle
from perdure.wal.jobs import LogRefused, as_os_error, put, settle_file, timed_sync
from perdure.wal.manifest import manifest_name
from perdure.wal.pace import Pace
from perdure.wal.rotation import NewFile, OldFile, Outcome, Place, prepare, rotate, switch
from perdure.wal.space import Space

if TYPE_CHECKING:
    from perdure.wal.executor import Clock, Executor
    from perdure.wal.filesystem import File, Filesystem
    from perdure.wal.recovery import LogEnd

__all__ = ["POLICIES", "LogRefused", "LogWriter"]

MIB = 1 << 20
POLICIES = ("always", "everysec", "no")
BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.05, 1.0
SYNC_EVERY_S = 1.0
SLOW_SYNC_S = 0.02


class LogWriter:
    """One run's hold on the log.  See the module's docstring; attributes are for reading."""

    def __init__(
        self,
        fs: Filesystem,
        directory: str,
        basename: str,
        end: LogEnd,
        executor: Executor,
        clock: Clock,
        policy: str,
        *,
        new_log_id: bytes,
        manifest: str = "",
        batches: int = 0,
        timestamps: bool = False,
        on_progress: Callable[[], None] = lambda: None,
        reserve_bytes: int = 16 * MIB,
        batch_soft_bytes: int = 64 * MIB,
        batch_hard_bytes: int = 320 * MIB,
        sync_at_bytes: int = 64 * MIB,
        keep_limit_bytes: int = 256 * MIB,
    ) -> None:
        log_id = new_log_id if end.log_id is None else end.log_id
        self.place = Place(fs, directory, basename, log_id, manifest or manifest_name(basename))
        self._seed = lines.seed_of(self.place.log_id)
        self.entries = tuple(end.entries)
        self.next_seq = end.next_seq
        self._drop = tuple(end.drop)
        self.executor, self.clock, self._on_progress = executor, clock, on_progress
        self.compaction = Compaction(self)
        self._limits = reserve_bytes, batch_soft_bytes, batch_hard_bytes
        self._sync_at, self._keep_limit = sync_at_bytes, keep_limit_bytes
        self._timestamps, self._stamped_s = timestamps, 0
        self.policy = policy
        # What the owner goes by.
        self.busy, self.safe, self.full, self.inline = False, batches, False, True
        self.refusing: LogRefused | None = None
        # What INFO shows.
        self.lsn = self.written_lsn = self.durable_lsn = end.lsn
        self.batch = batches
        self.fsync_in_flight = False
        self.last_fsync_us = 0.0
        self.fsyncs = self.failures = self.delayed_fsync = self.rotations = 0
        self.last_write_error = ""
        self.file_bytes = self.total_bytes = 0
        # Positions: the chain after what was framed, written, synced; batch numbers; the file's durable bytes.
        self._chain = self._written_chain = self._durable_chain = end.chain
        self._written = self._synced = batches
        self._durable_size = 0
        self._idle = Idle(end.lsn)
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        # The two machines.
        self._pending = b""
        self._writing = self.torn = self._rotating = self.closed = self._quiet = False
        self._prepared: NewFile | None = None
        self._write_error: LogRefused | None = None
        self._sync_error: LogRefused | None = None
        self._backoff_s, self._retry_at = BACKOFF_FIRST_S, 0.0
        self._sync_started = 0.0
        self._pace = Pace()
        self.file: File
        self._space: Space
        self._is_open = False
        self.set_policy(policy)

    # ---- the start ---------------------------------------------------------

    def open(self) -> None:
        """Begin this run's INCR file, durably, and drop what recovery found to be of no use.

        OSError: nothing was begun (a file that was created is removed again if that is possible).
        """
        fs, directory = self.place.fs, self.place.directory
        fs.make_directory(directory)
        fs.sync_directory(os.path.dirname(directory) or ".")
        if last := next((entry for entry in reversed(self.entries) if entry.kind == "i"), None):
            settle_file(fs, os.path.join(directory, last.name), self.place.log_id)
        new = prepare(self.place, self.next_seq, self.lsn, self._chain, (), self.clock.unix_ms())
        try:
            switch(self.place, (*self.entries, new.entry))
        except OSError:
            # The manifest may name the file already, so it stays.
            new.file.close()
            raise
        self.entries += (new.entry,)
        self._adopt(new, 0)
        for name in self._drop:
            remove_quietly(fs, os.path.join(directory, name))
        self.total_bytes += sum(fs.size(os.path.join(directory, former.name)) for former in self.entries[:-1])
        self._sync_started = self._idle.since = self.clock.monotonic()
        self._is_open = True
        self._settle()

    def _adopt(self, new: NewFile, granted: int) -> None:
        """Go on in ``new``, which holds every batch, durably; ``granted`` is the open batch's."""
        self.next_seq = max(self.next_seq, new.entry.seq + 1)
        self.file = new.file
        self._space = Space(new.file, new.size, self.clock, *self._limits, granted)
        self.total_bytes += new.size
        self.file_bytes = self._durable_size = new.size
        self._chain = self._written_chain = self._durable_chain = new.chain
        self.written_lsn = self.durable_lsn = self._idle.announced = self.lsn
        self._written = self._synced = self.batch
        self._kept.clear()
        self._kept_bytes = 0
        self._pending, self.torn, self._stamped_s = b"", False, 0
        self._write_error = self._sync_error = self._prepared = None
        self._backoff_s = BACKOFF_FIRST_S

    # ---- the good path ------------------------------------------------------

    def admit(self, nbytes: int) -> int:
        """Reserve room for ``nbytes`` more in the open batch, behind all that was granted to it before.

        Returns how many further bytes are granted with it.  Raises LogRefused:
        the disk is full, or the log is refusing, or the batch is too large.
        May set or clear ``refusing`` without a call of ``on_progress``.
        """
        if refused := self._sync_error or self._write_error:
            raise LogRefused(refused.errno)
        space = self._space
        try:
            return space.grant(nbytes, self.file_bytes + len(self._pending))
        except LogRefused as refusal:
            if space.error is not None:
                self.failures, self.last_write_error = self.failures + 1, refusal.text
            raise
        finally:
            self.refusing = space.error
            self.full = space.full

    def commit(self, payload: bytes) -> int:
        """Close the open batch, whose records are ``payload``, and write it; returns its number, 1 for the first.

        Only while not ``busy``.  Never raises for the disk's sake: see ``busy`` and ``safe``.
        """
        if self.busy or not payload:
            raise RuntimeError("a batch is under way, or there is none")
        now_ms = self.clock.unix_ms()
        durable = self._idle.announced = self.durable_lsn
        header, self._chain = batch_header(self._seed, self.lsn, payload, durable, now_ms, self._chain)
        data = header + payload
        if self._timestamps:
            data = self._stamp(now_ms) + data
        self._kept.append(payload)
        self._kept_bytes += len(payload)
        self.lsn += len(payload)
        self._space.granted = 0
        self.batch = batch = self.batch + 1
        if self.torn or (self.fsync_in_flight and self._sync_is_slow()):
            self._commit_by_job(data)
            return batch
        try:
            taken = self.file.write(data)
            if taken != len(data):
                write_all(self.file, data[taken:])
        except OSError as error:
            self._commit_failed(data, error)
            return batch
        self.file_bytes += len(data)
        self.total_bytes += len(data)
        self.written_lsn = self.lsn
        self._written = batch
        self._written_chain = self._chain
        if self._lazy and self._kept_bytes < self._sync_at:
            self.safe = batch
        else:
            self._commit_synced()
        return batch

    def _commit_by_job(self, data: bytes) -> None:
        self._quiet, self._pending = True, data
        self._submit_write()
        self._quiet = False

    def _commit_failed(self, data: bytes, error: OSError) -> None:
        """The write in place failed: cut back at once, retry from ``tick``."""
        self._quiet, self._pending = True, data
        try:
            self.file.truncate(self.file_bytes)
        except OSError:
            self.torn = True
        self._write_failed(error)
        self._quiet = False

    def _commit_synced(self) -> None:
        """The batch is written; start or do the fsync that it waits for."""
        self._quiet = True
        if self.fsync_in_flight:
            # It began before this batch was written; its end starts the next one if need be.
            self._settle()
        elif not self._lazy and self._pace.inline:
            self._sync_in_place()
        else:
            self._start_sync()
        self._quiet = False

    def _stamp(self, now_ms: int) -> bytes:
        """A #TS line if this second has none yet."""
        now_s = now_ms // 1000
        if now_s == self._stamped_s:
            return b""
        self._stamped_s = now_s
        return lines.time_line(now_s)

    def _sync_is_slow(self) -> bool:
        slow = self.clock.monotonic() - self._sync_started > SLOW_SYNC_S
        self.delayed_fsync += slow
        return slow

    # ---- writing by a job ---------------------------------------------------

    def _submit_write(self) -> None:
        self._writing = True
        job = partial(put, self.file, self._pending, self.file_bytes, self.torn)
        self.executor.submit(job, self._write_done)
        self._settle()

    def _write_done(self, result: tuple[OSError | None, bool] | None, crash: BaseException | None) -> None:
        self._writing = False
        error, self.torn = (as_os_error(crash), True) if result is None else result
        if self._sync_error is not None:
            # Whatever came of it: a rotation takes the batch along.
            self._start_rotation()
        elif error is not None:
            self._write_failed(error)
        else:
            self._write_succeeded()

    def _write_succeeded(self) -> None:
        self.file_bytes += len(self._pending)
        self.total_bytes += len(self._pending)
        self._pending = b""
        self._written, self.written_lsn, self._written_chain = self.batch, self.lsn, self._chain
        if self._write_error is not None:
            self._write_error = None
            self._backoff_s = BACKOFF_FIRST_S
            self._space.again(self.file_bytes)
        if self.fsync_in_flight or (self._lazy and self._kept_bytes < self._sync_at):
            self._settle()
        else:
            self._start_sync()

    def _write_failed(self, error: OSError) -> None:
        self._space.cut(self.file_bytes)
        self._write_error = self._note_failure(error)
        self._back_off()
        self._settle()

    # ---- syncing ------------------------------------------------------------

    def _sync_in_place(self) -> None:
        try:
            self._sync_now()
        except OSError:
            self._start_rotation()
            return
        self.safe = self._synced
        self.inline = self._pace.inline

    def _here(self) -> tuple[int, int, int, int]:
        return self._written, self.written_lsn, self._written_chain, self.file_bytes

    def _start_sync(self) -> None:
        """An fsync, by a job, of all that is written."""
        self.fsync_in_flight = True
        self._sync_started = self.clock.monotonic()
        count, kept_bytes = len(self._kept), self._kept_bytes
        if self._written < self.batch:
            count, kept_bytes = count - 1, kept_bytes - len(self._kept[-1])
        done = partial(self._sync_done, self._here(), count, kept_bytes)
        self.executor.submit(partial(timed_sync, self.file, self.clock), done)
        self._settle()

    def _sync_done(
        self,
        where: tuple[int, int, int, int],
        count: int,
        kept_bytes: int,
        us: float | None,
        crash: BaseException | None,
    ) -> None:
        self.fsync_in_flight = False
        if us is None:
            self._sync_failed(as_os_error(crash))
            return
        self._sync_succeeded(us, where, count, kept_bytes)
        if self._written > self._synced and (not self._lazy or self._kept_bytes >= self._sync_at):
            self._start_sync()
        else:
            self._settle()

    def _sync_succeeded(self, us: float, where: tuple[int, int, int, int], count: int, kept_bytes: int) -> None:
        self.fsyncs += 1
        self.last_fsync_us = us
        self._pace.note(us)
        self._synced, self.durable_lsn, self._durable_chain, self._durable_size = where
        del self._kept[:count]
        self._kept_bytes -= kept_bytes

    def _sync_failed(self, error: OSError) -> None:
        self._sync_error = self._note_failure(error)
        if self._writing:
            # Its job uses the file: the rotation starts when it ends.
            self._settle()
        else:
            self._start_rotation()

    # ---- rotating (NO-SECOND-FSYNC) -------------------------------------------

    def _start_rotation(self) -> None:
        if self.compaction.editing:  # it writes the manifest; ``tick`` comes back to this
            self._settle()
            return
        self._rotating = True
        self.executor.submit(self._rotation_job(), self._rotation_done)
        self._settle()

    def _rotation_job(self) -> Callable[[], Outcome]:
        return partial(
            rotate,
            self.place,
            self.entries,
            OldFile(self.file, self._durable_size),
            tuple(self._kept),
            seq=self.next_seq,
            lsn=self.durable_lsn,
            prev=self._durable_chain,
            unix_ms=self.clock.unix_ms(),
            prepared=self._prepared,
        )

    def _rotation_done(self, outcome: Outcome | None, crash: BaseException | None) -> None:
        self._rotating = False
        outcome = outcome or Outcome(None, as_os_error(crash))
        self._prepared = outcome.prepared
        if outcome.error is not None or outcome.prepared is None:
            if outcome.prepared is None:
                # The name may be taken by what a failed attempt could not remove.
                self.next_seq += 1
            self._sync_error = self._note_failure(outcome.error or OSError(errno.EIO, "no file"))
            self._back_off()
        else:
            self.entries += (outcome.prepared.entry,)
            self.total_bytes -= self.file_bytes - self._durable_size
            self.rotations += 1
            self._adopt(outcome.prepared, self._space.granted)
            self._space.again(self.file_bytes)
        self._settle()

    # ---- time ---------------------------------------------------------------

    def tick(self) -> None:
        """What is due: to be called about every 100 ms, and when a busy period has ended."""
        if self.closed:
            return
        now = self.clock.monotonic()
        self.compaction.tick(now)
        if self._sync_error is not None:
            if not self._rotating and not self._writing and now >= self._retry_at:
                self._start_rotation()
            return
        if self._pending and not self._writing and now >= self._retry_at:
            self._submit_write()
        if self.compaction.turning:
            self._settle()
            return
        if not self.fsync_in_flight and self._sync_is_due(now):
            self._start_sync()
        if self._space.error is not None and now >= self._space.retry_at:
            self._space.again(self.file_bytes + len(self._pending))
            self._settle()
        if not self.busy and not self.fsync_in_flight:
            if self._written:
                self._space.ahead(self.file_bytes)
            self._idle.announce(self, now)

    def _sync_is_due(self, now: float) -> bool:
        if self._written == self._synced:
            return False
        timed = self.policy == "everysec" and now - self._sync_started >= SYNC_EVERY_S
        return timed or not self._lazy or self._kept_bytes >= self._sync_at

    def has_room(self, nbytes: int) -> bool:
        """Is so much reserved behind the file's end, where that can be?"""
        return not self._space.supported or self.file_bytes + nbytes <= self._space.reserved

    def put_line(self, line: bytes, chain: int) -> OSError | None:
        """Write an annotation that carries no payload, in place."""
        error, self.torn = put(self.file, line, self.file_bytes, self.torn)
        if error is not None:
            self._space.cut(self.file_bytes)
            self._note_failure(error)
            return error
        self.file_bytes += len(line)
        self.total_bytes += len(line)
        self._chain = self._written_chain = chain
        return None

    # ---- configuration --------------------------------------------------------

    def set_policy(self, policy: str) -> None:
        """Change the fsync policy; what was safe stays safe, what waits is judged by the new one."""
        if policy not in POLICIES:
            raise ValueError(f"no such fsync policy: {policy}")
        self.policy = policy
        self._lazy = policy != "always"
        if not self._is_open:
            return
        resting = not self.fsync_in_flight and not self.compaction.turning and self._sync_error is None
        if not self._lazy and self._written > self._synced and resting:
            self._start_sync()
        else:
            self._settle()

    def set_timestamps(self, on: bool) -> None:
        """Write ``#TS:`` lines for stock's tools, or not."""
        self._timestamps = on

    # ---- the end --------------------------------------------------------------

    def close(self) -> None:
        """Write what is left, an END line, and fsync; blocks.

        OSError: that could not be done.  The writer is then as it was, its batches
        still kept: ``close`` may be called again, or the log used on.
        """
        if self.closed:
            return
        self.executor.drain()  # not quiet: the owner commits what was open while the log was busy
        before = self._view()
        self._quiet = True
        try:
            self.compaction.close()
            finish(self)
            self.closed = True
        finally:
            self._quiet = False
            self._settle()
            if before != self._view():
                self._on_progress()

    def _sync_now(self) -> None:
        """fsync in place.  OSError: the file is not trusted any more, the next step is a rotation."""
        try:
            us = timed_sync(self.file, self.clock)
        except OSError as error:
            self._sync_error = self._note_failure(error)
            raise
        self._sync_succeeded(us, self._here(), len(self._kept), self._kept_bytes)

    # ---- what the owner sees ----------------------------------------------------

    def _settle(self) -> None:
        """Recompute ``safe``, ``busy``, ``refusing`` and ``inline``, and tell the owner if one of them changed.

        The owner may commit from within, so it is the last thing that a caller does.
        """
        if self.compaction.turning:
            self.compaction.proceed()
        before = self._view()
        waits = not self._lazy or (self.fsync_in_flight and self._kept_bytes > self._keep_limit)
        self.safe = max(self.safe, self._synced if waits else self._written)
        stopped = self.closed or self._sync_error is not None or self.compaction.turning
        self.busy = stopped or self._pending != b"" or self.safe < self.batch
        self.refusing = self._sync_error or self._write_error or self._space.error
        self.inline = not self.busy and self._is_quick()
        if not self._quiet and before != self._view():
            self._on_progress()

    def _view(self) -> tuple[int, bool, int]:
        return self.safe, self.busy, 0 if self.refusing is None else self.refusing.errno

    def _is_quick(self) -> bool:
        """Will the next commit be safe when it returns, if nothing fails?"""
        if self.fsync_in_flight:
            return self._lazy and self.clock.monotonic() - self._sync_started <= SLOW_SYNC_S
        return self._lazy or self._pace.inline

    def _note_failure(self, error: OSError) -> LogRefused:
        refusal = LogRefused(error.errno or errno.EIO)
        self.failures, self.last_write_error = self.failures + 1, refusal.text
        return refusal

    def _back_off(self) -> None:
        self._retry_at = self.clock.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_LAST_S)

    def _check(self) -> None:
        """Assert the invariants."""
        assert self.durable_lsn <= self.written_lsn <= self.lsn
        assert self._synced <= self._written <= self.batch
        assert self.durable_lsn + sum(map(len, self._kept)) == self.lsn
        assert self._kept_bytes == sum(map(len, self._kept))
        assert self._synced + len(self._kept) == self.batch
        assert self.safe <= (self._written if self._lazy else self.batch)
        assert self._durable_size <= self.file_bytes
        self.compaction._check()
        assert self.busy or (self.safe == self.batch and not self._pending)
        assert self._written == self.batch or self._pending
