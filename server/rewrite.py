"""BGREWRITEAOF: the log made anew out of what is in memory, while the server goes on.

::

    idle ----------> waiting ----------> running ---------> adopting ------> idle
       asked for        the open batch     the child writes      the manifest
                        is committed       and verifies a BASE,  names the BASE
                                           the log turns to a
                                           new INCR file

A rewrite begins at a moment at which memory is what the log says: the open batch has just
been committed and nothing has run since.  Then the child is forked, whose memory is of that
moment, and the log turns to a new INCR file that begins at that lsn (``wal.compaction``).  The
child writes the BASE, reads it back and compares (``snapshot.rewrite``); only a BASE that was
found right, with its length and CRC-32C, is put in the place of the old files.

Whatever fails leaves the old files as they are, removes what was begun, and is in INFO and
the log.  After three failures in a row those that nobody asked for wait, a minute first, an hour
at last, as in stock.

``appendonly yes`` while the server runs begins with a rewrite.  The log that is written from that moment on
becomes one when its BASE is adopted; until then a start finds what was there before, as in
stock.  If that rewrite fails there is no log again, and it is tried once more.

``appendonly no``: BGREWRITEAOF writes a BASE that nothing follows.

It must not know: how a BASE is written, what the manifest looks like.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.server import log_switch
from perdure.server.children import Outcome, Report
from perdure.server.client import BUSY, LOADING
from perdure.server.config import ConfigError
from perdure.server.snapshots import rdb_options
from perdure.snapshot.rewrite import BaseForm, Written, write_base
from perdure.wal.atomic import remove_quietly
from perdure.wal.compaction import Finished, Mark
from perdure.wal.manifest import TEMP_BASE_PREFIX, Entry, base_name

if TYPE_CHECKING:
    from perdure.server.server import Server

REWRITE = "rewrite"
"""The child's kind."""
IDLE, WAITING, RUNNING, ADOPTING = range(4)
TRIES_BEFORE_DELAY = 3
FIRST_DELAY_S, LAST_DELAY_S = 60, 3600


class Rewriter:
    """The rewrites of one server.

    ``scheduled``   one is to begin as soon as it can
    ``starting``    the log has no BASE yet
    ``ok``          did the last one end well?
    ``last_s``, ``began_s``, ``rewrites``, ``failures``, ``cow_bytes``, ``base_bytes``
                    for INFO: seconds that the last one took (-1), when this one began, how many began, how many
                    failed in a row, memory copied by the last, the log's size behind the last one
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stage = IDLE
        self.scheduled = self.starting = False
        self.ok = True
        self.last_s = -1
        self.began_s = 0.0
        self.rewrites = self.failures = self.cow_bytes = self.base_bytes = 0
        self._error = ""
        self._temp = ""
        self._rdb = True
        self._mark: Mark | None = None
        self._written: Written | None = None
        self._outstanding = 0
        """The child's end, and the log's turn: both come, whatever comes of them."""
        self._delay_s = 0
        self._next_at = 0.0

    # ---- beginning ------------------------------------------------------------------------

    @property
    def in_progress(self) -> bool:
        """Is one under way?"""
        return self.stage != IDLE

    def begin(self) -> bool:
        """Begin as soon as memory is what the log says, mostly at once; False if it cannot be (see the log).

        Nothing else may be under way.
        """
        assert self.stage == IDLE and self.server.children.active is None
        self.scheduled = False
        self.stage, self._error = WAITING, ""
        engine = self.server.engine
        if not engine.tx.in_group:
            engine.commit_now()
        if self._memory_is_the_log():
            return self._launch()
        engine.after_commit = self._committed
        return True

    def schedule(self) -> None:
        """Begin as soon as it can be, whatever has failed before: somebody asks for it."""
        self.scheduled, self.failures = True, 0

    def _memory_is_the_log(self) -> bool:
        engine = self.server.engine
        return not engine.tx.records and not engine.tx.in_group and not engine.state & BUSY

    def _committed(self) -> None:
        """The open batch was committed."""
        engine = self.server.engine
        if not self._memory_is_the_log():
            return
        engine.after_commit = None
        if self.server.children.active is not None:
            self.stage, self.scheduled = IDLE, True
        else:
            self._launch()

    def _launch(self) -> bool:
        """Now memory is what the log says."""
        server = self.server
        self.stage, self.began_s = RUNNING, time.time()
        self._mark = self._written = None
        self._outstanding = 0
        self._rdb = server.config["aof-use-rdb-preamble"]
        self._temp = f"{TEMP_BASE_PREFIX}bg-{os.getpid()}.aof"
        try:
            if self._has_to_start_a_log():
                writer, self._mark = log_switch.begin_beside(server, log_switch.executor_of(server))
                log_switch.log_to(server, writer)
                self.starting = True
            else:
                server.log_fs.make_directory(log_switch.place_of(server).directory)
            server.children.start(REWRITE, partial(self._job, server.log_fs), self._child_ended)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self._fail(f"{where}{error.strerror or error}")
            self._conclude()
            return False
        self._outstanding = 1
        self.rewrites += 1
        server.log.notice("Background append only file rewriting started")
        if not self.starting and log_switch.has_log(server):
            self._outstanding = 2
            server.writer.compaction.turn_over(self._turned)
        server.engine.refresh_state()
        return True

    def _has_to_start_a_log(self) -> bool:
        return bool(self.server.config["appendonly"]) and not log_switch.has_log(self.server)

    # ---- the child ----------------------------------------------------------------------------

    def _job(self, fs: Any, report: Report) -> bytes:
        """In the child."""
        server = self.server
        path = os.path.join(log_switch.place_of(server).directory, self._temp)
        codes = server.scripts.libraries.codes()
        written = write_base(fs, path, server.keyspace, codes, form_of(server, self._rdb), report)
        return json.dumps(asdict(written)).encode()

    def _child_ended(self, outcome: Outcome) -> None:
        self.cow_bytes = outcome.cow_bytes
        if outcome.ok:
            self._written = Written(**json.loads(outcome.result))
        else:
            self._fail(outcome.error or "it was ended", is_failure=not outcome.killed)
        self._came()

    def _turned(self, mark: Mark | None, error: OSError | None) -> None:
        """The log has turned to a new file, or has not."""
        self._mark = mark
        if mark is None:
            self._fail(f"no new file for the log: {error.strerror if error is not None else 'unknown'}")
            if self.server.children.is_active(REWRITE):
                self.server.children.kill("the log could not turn to a new file")
        self._came()

    # ---- adopting ------------------------------------------------------------------------------

    def _came(self) -> None:
        """The child has ended, or the log has turned: when both are well done, the BASE takes its place."""
        self._outstanding -= 1
        if self._outstanding:
            return
        server, written, mark = self.server, self._written, self._mark
        if self._error or written is None:
            self._conclude()
        elif mark is not None:
            self.stage = ADOPTING
            base = self._finished(written, mark, mark.base_seq)
            server.writer.compaction.adopt(base, mark.seq, self._adopted)
        else:
            self.stage = ADOPTING
            try:
                base = self._finished(written, None, log_switch.next_seq(server))
                log_switch.publish(server, base, self._adopted)
            except OSError as error:
                self._adopted(error)

    def _finished(self, written: Written, mark: Mark | None, seq: int) -> Finished:
        name = base_name(self.server.config["appendfilename"], seq, rdb=self._rdb)
        lsn, prev = (None, None) if mark is None else (mark.lsn, mark.prev)
        return Finished(self._temp, Entry(name, seq, "b", lsn, prev, written.bytes, written.crc32c))

    def _adopted(self, error: OSError | None) -> None:
        """The manifest names the BASE, or does not."""
        if error is not None:
            self._fail(f"the new BASE cannot take its place: {error.strerror or error}")
        self._conclude()

    # ---- the end -----------------------------------------------------------------------------------

    def _fail(self, why: str, *, is_failure: bool = True) -> None:
        """Note why it came to nothing; the first reason counts."""
        if self._error:
            return
        self._error = why
        if is_failure:
            self.ok = False
            self.failures += 1
            self.server.log.warning(f"Rewriting the log failed, the old files stay: {why}")
        else:
            self.server.log.notice(f"Rewriting the log was ended: {why}")

    def _conclude(self) -> None:
        """It is over, well or not."""
        server = self.server
        self.stage = IDLE
        self.last_s = int(time.time() - self.began_s)
        if not self._error:
            self.ok, self.failures = True, 0
            self.starting = False
            self.base_bytes = getattr(server.writer, "total_bytes", 0)
            assert self._written is not None
            server.log.notice(
                f"The log was rewritten: a verified BASE of {self._written.keys} keys, {self._written.bytes} bytes"
            )
            return
        place = log_switch.place_of(server)
        temp = os.path.join(place.directory, self._temp)
        log_switch.in_background(server, partial(remove_quietly, server.log_fs, temp))
        if self.starting:
            self.starting = False
            log_switch.end_beside(server)
        if self._has_to_start_a_log():
            self.scheduled = True

    # ---- what asks for it ----------------------------------------------------------------------------

    def tick(self) -> None:
        """The clock's turn."""
        server = self.server
        if self.starting and self.stage == RUNNING and server.writer.refusing is not None:
            self._fail("the log that is to begin takes no writes")
            server.children.kill("the log that is to begin takes no writes")
        if self.stage != IDLE or server.children.active is not None or server.engine.state & (LOADING | BUSY):
            return
        if self.scheduled:
            if not self._is_delayed():
                self.begin()
        elif log_switch.has_log(server) and self._has_grown() and not self._is_delayed():
            self.begin()

    def _has_grown(self) -> bool:
        config = self.server.config
        percent, size = config["auto-aof-rewrite-percentage"], self.server.writer.total_bytes
        if not percent or size <= config["auto-aof-rewrite-min-size"]:
            return False
        growth = size * 100 // (self.base_bytes or 1) - 100
        return bool(growth >= percent)

    def _is_delayed(self) -> bool:
        """Have so many failed that the next one has to wait?"""
        if self.failures < TRIES_BEFORE_DELAY:
            self._delay_s, self._next_at = 0, 0.0
            return False
        now = time.time()
        if self._next_at:
            if now < self._next_at:
                return True
            self._next_at = 0.0
            return False
        self._delay_s = min(2 * self._delay_s or FIRST_DELAY_S, LAST_DELAY_S)
        self._next_at = now + self._delay_s
        self.server.log.warning(
            f"Rewriting the log has failed {self.failures} times in a row; the next try is in {self._delay_s} seconds"
        )
        return True

    # ---- appendonly, while the server runs ---------------------------------------------------------------

    def switch(self, on: bool) -> None:
        """CONFIG SET appendonly.  ConfigError if it cannot be."""
        server = self.server
        if on:
            if log_switch.has_log(server):
                return
            if self.in_progress or server.children.active is not None or server.engine.state & BUSY:
                self.scheduled = True
                server.log.notice("The log begins when what runs in the background has ended")
            elif not self.begin():
                raise ConfigError(log_switch.CANNOT_BEGIN)
            return
        self.scheduled = False
        if self.stage == WAITING:
            server.engine.after_commit = None
            self.stage = IDLE
        elif self.stage == RUNNING:
            self._fail("the log is switched off", is_failure=False)
            server.children.kill("the log is switched off")
        log_switch.end(server)


def form_of(server: Server, rdb: bool) -> BaseForm:
    """How a BASE is written by the configuration."""
    config = server.config
    return BaseForm(
        **rdb_options(server, aof_base=True),
        rdb=rdb,
        unix_s=server.now_ms() // 1000 if config["aof-timestamp-enabled"] else 0,
        incremental=config["aof-rewrite-incremental-fsync"],
    )
