"""Saves: SAVE, BGSAVE, save points, and what is known of the last one.

A snapshot is the file ``dbfilename`` in ``dir``.  It is written by a child (``server.children``)
or, for SAVE and the end of the process, here.  What stock does, in stock's words:

- ``save <seconds> <changes>``: a background save begins when so many changes and so many seconds have
  come since the last one that succeeded; behind one that failed not before ``RETRY_S`` more.
- BGSAVE SCHEDULE waits for a child that is under way.
- A background save that failed makes writes fail (``stop-writes-on-bgsave-error``), but only where
  there are save points; one that was ended on purpose (FLUSHALL, the end) is no failure.
- FLUSHALL ends a save that is under way, and saves the empty data if there are save points.

Changes are counted by the store (``Tx.changes``).

It must not know: what is in a snapshot, how a child begins.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from perdure.server import snapshots
from perdure.server.children import Outcome, Report, describe
from perdure.server.client import BUSY, LOADING
from perdure.server.snapshots import Snapshot, temp_name
from perdure.snapshot.rdb.errors import RdbError
from perdure.store.save_errors import SAVE_FAILED
from perdure.wal.atomic import remove_quietly

if TYPE_CHECKING:
    from perdure.server.server import Server

SAVE: Final = "rdb-bgsave"
"""The kind of child."""
RETRY_S: Final = 5
NEVER: Final = -1


class Saves:
    """A server's saves.  Times are unix seconds."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.last_save_s = int(server.started_s)
        self.last_try_s = 0
        self.last_ok = True
        self.last_took_s = NEVER
        self.last_cow_bytes = 0
        self.last_error = ""
        self.scheduled = False
        self.loaded_keys = self.expired_keys = 0
        self.loaded_file = ""
        """The snapshot that was loaded last; and what became of its keys."""
        self._saved_changes = 0
        """The count of changes that the last save has all of."""

    @property
    def changes(self) -> int:
        """Changes since the last save."""
        return self.server.tx.change_count() - self._saved_changes

    @property
    def in_progress(self) -> bool:
        """Is a background save under way?"""
        return self.server.children.is_active(SAVE)

    @property
    def path(self) -> str:
        """The snapshot's file."""
        return str(os.path.join(self.server.config["dir"], self.server.config["dbfilename"]))

    def _now_s(self) -> int:
        return self.server.now_ms() // 1000

    # ---- here ----------------------------------------------------------------------------

    def save(self) -> bool:
        """Save now, while everybody waits; False, and the log says why, if that failed."""
        server = self.server
        counted = server.tx.change_count()
        try:
            self._write(Snapshot(server), lambda done, total: None)
        except (OSError, RdbError) as error:
            self.last_error = describe(error)
            return False
        self._saved_changes = counted
        self.last_save_s = self._now_s()
        self.last_ok, self.last_error = True, ""
        self.look()
        return True

    def _write(self, snapshot: Snapshot, report: Report) -> None:
        server = self.server
        try:
            snapshot.save(
                server.log_fs, server.config["dir"], temp_name(os.getpid()), server.config["dbfilename"], report
            )
        except (OSError, RdbError) as error:
            server.log.warning(f"Saving {self.path} failed: {describe(error)}")
            raise
        server.log.notice("DB saved on disk")

    # ---- in the background -----------------------------------------------------------------

    def start(self) -> bool:
        """Begin a background save, which must be possible now; False, and the log says why, if it did not begin."""
        server = self.server
        server.stats.rdb_saves += 1
        self.last_try_s = self._now_s()
        counted = server.tx.change_count()
        snapshot = Snapshot(server)

        def job(report: Report) -> bytes:
            self._write(snapshot, report)
            return b""

        try:
            child = server.children.start(SAVE, job, lambda outcome: self._ended(outcome, counted))
        except OSError as error:
            self._failed(f"Can't save in background: fork: {error.strerror}")
            return False
        if child.pid:
            server.log.notice(f"Background saving started by pid {child.pid}")
        child.keys_total = snapshot.keys
        return True

    def _ended(self, outcome: Outcome, counted: int) -> None:
        log = self.server.log
        self.last_took_s = int(outcome.seconds)
        self.last_cow_bytes = outcome.cow_bytes if outcome.ok else 0
        if outcome.ok:
            self._saved_changes = max(self._saved_changes, counted)
            self.last_save_s = self._now_s()
            self.last_ok, self.last_error = True, ""
            log.notice("Background saving terminated with success")
        else:
            self._remove(temp_name(outcome.pid or os.getpid()))
            if outcome.killed:
                log.warning(f"Background saving terminated: {outcome.error}")
            elif outcome.signal:
                self._failed(f"Background saving {outcome.error}")
            else:
                self._failed(f"Background saving error: {outcome.error}")
        self.look()

    def _failed(self, text: str) -> None:
        self.last_ok, self.last_error = False, text
        self.server.log.warning(text)
        self.look()

    def _remove(self, name: str) -> None:
        remove_quietly(self.server.log_fs, os.path.join(self.server.config["dir"], name))

    def remove_leftovers(self) -> None:
        """At the start: what processes that are gone did not finish goes."""
        try:
            count = snapshots.remove_leftovers(self.server.log_fs, self.server.config["dir"])
        except OSError as error:
            self.server.log.warning(f"Looking for unfinished snapshots: {error.strerror}")
            return
        if count:
            self.server.log.notice(f"{count} unfinished snapshots of earlier processes removed")

    # ---- the clock ---------------------------------------------------------------------------

    def tick(self) -> None:
        """The clock's turn: is a save due?"""
        server = self.server
        points = server.config["save"]
        if not (points or self.scheduled) or server.children.active is not None:
            return
        if server.engine.state & (BUSY | LOADING) or server.tx.in_group:
            return
        now_s = self._now_s()
        if not self.last_ok and now_s - self.last_try_s <= RETRY_S:
            return
        changes, since_s = self.changes, now_s - self.last_save_s
        for seconds, least in points:
            if changes >= least and since_s > seconds:
                server.log.notice(f"{least} changes in {seconds} seconds. Saving...")
                self.start()
                return
        if self.scheduled and self.start():
            self.scheduled = False

    # ---- what follows from it -------------------------------------------------------------------

    def look(self, *_: object) -> None:
        """Something that may refuse writes has changed: the last save's state, or an option."""
        config, engine = self.server.config, self.server.engine
        refuses = not self.last_ok and config["stop-writes-on-bgsave-error"] and config["save"]
        engine.save_refusal = SAVE_FAILED if refuses else b""
        engine.refresh_state()

    def flushed_all(self) -> None:
        """FLUSHALL has emptied everything."""
        if self.in_progress:
            self.server.children.kill("all data was flushed")
        if self.server.config["save"] and not self.server.engine.state & LOADING:
            self.save()

    def loaded(self, keys: int, expired: int) -> None:
        """A snapshot was loaded: memory is what it holds."""
        self.loaded_keys, self.expired_keys, self.loaded_file = keys, expired, self.path
        self._saved_changes = self.server.tx.change_count()
