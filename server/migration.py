"""MIGRATE: keys are moved to another server, or copied.

A ``Job`` says AUTH, SELECT and a RESTORE for each key, as stock does, and then reads the
answers.  A key that the target has taken is deleted here, which is what is logged.  So a
key is here, there, or in both places while the answer is under way; a crash in between
leaves it in both.

Stock stands still meanwhile.  Here the client is SUSPENDED and everybody else is served, but
for who may change a key that is under way (``Pause.hold``): reads go on, such writes wait.
Inside MULTI and scripts nobody can wait; there the process stands still, each step
bounded by the timeout.

A value leaves only once the log is as safe as its policy promises (ANSWER-AFTER), for the
target shows it to whom it likes; inside MULTI and scripts what they wrote themselves is the
exception.

RESTORE lines are made as they are sent, 64 KiB or one value at a time, so memory is bounded
by the largest value, however many keys there are.

A connection that breaks before the target has answered for any key is tried once more:
it may have been an old one that the target had closed long ago.

It must not know: how a value is encoded, what a command line looks like.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from perdure.server import failures
from perdure.server.client import BUSY, SUSPENDED, Client
from perdure.server.migration_wire import CHUNK_BYTES, NO_DB, BlockingWire, Link, LoopWire, Place, Pool, Wire
from perdure.server.tls import TlsError, client_context
from perdure.store import dump_errors, resp
from perdure.store.errors import CommandError
from perdure.store.resp import encode

if TYPE_CHECKING:
    from perdure.server.server import Server
    from perdure.server.tx import ServerTx
    from perdure.store.command import Command

_LOOK_S = 0.001
_DELETED_TOGETHER = 1000

Line = Callable[[bytes], bytes | None]
"""The RESTORE of a key, as it is now; None if there is nothing to move."""
Delete = Callable[["ServerTx", list[bytes]], None]


@dataclass(slots=True)
class Job:
    """One MIGRATE.

    ``place``      where to
    ``db``         the database there
    ``timeout_s``  for each step
    ``auth``       the arguments of AUTH; [] for none
    ``keys``       those that are there, in order
    ``line``       makes a key's RESTORE
    ``delete``     logs and does the deletion of keys in the ``tx``'s database; None if they are only copied
    ``moved``      keys that the target has taken
    """

    place: Place
    db: int
    timeout_s: float
    auth: list[bytes]
    keys: list[bytes]
    line: Line
    delete: Delete | None
    moved: list[bytes] = field(default_factory=list)


class _Broken(Exception):
    """The connection is of no use any more."""

    def __init__(self, writing: bool, timeout: bool) -> None:
        super().__init__()
        self.writing = writing
        self.timeout = timeout


class Migrations:
    """All of a server's; ``pool`` has the connections that are kept for the next."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.pool = Pool(server.loop.call_later)
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- both ways -----------------------------------------------------------------------

    def now(self, tx: ServerTx, job: Job) -> bytes:
        """Run a job while everybody waits; its reply.  CommandError if it fails."""
        refusal = _run_through(self._transfer(job, BlockingWire(job.timeout_s)))
        if job.delete is not None and job.moved:
            job.delete(tx, job.moved)
        if refusal:
            raise CommandError(refusal)
        return resp.OK

    def later(self, client: Client, argv: list[bytes], job: Job) -> bytes:
        """Begin a job for a client, which is answered at its end; what the command returns meanwhile."""
        entry = client.last_command
        assert entry is not None
        client.state |= SUSPENDED
        engine = self._server.engine
        engine.goes_on = True
        engine.pause.hold(job.keys)
        task = self._server.loop.create_task(self._work(client, entry, argv, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return b""

    # ---- in the background ---------------------------------------------------------------

    async def _work(self, client: Client, entry: Command, argv: list[bytes], job: Job) -> None:
        began = perf_counter_ns()
        engine, db_index = self._server.engine, client.db_index
        failure: Exception | None = None
        refusal = b""
        need = 0
        try:
            await self._log_is_safe()
            refusal = await self._transfer(job, LoopWire(self._server.loop, job.timeout_s))
            need = await self._delete(job, db_index)
        except CommandError as error:
            refusal = error.text
        except Exception as error:
            failure = error
        await self._quiet()
        engine.pause.let_go(job.keys)
        self._end(client, entry, argv, perf_counter_ns() - began, bool(refusal or failure))
        if client.connection is None:
            self._server.discard_transaction(client)
            return
        if failure is not None:
            reply = failures.internal_error(client.connection, entry.lower_name, failure)
        elif refusal:
            self._server.stats.count_error(refusal)
            reply = resp.error(refusal)
        else:
            reply = resp.OK
        engine.need = need
        reply = engine.end_of_turn(client, reply)
        client.connection.answer_late(engine.outbox.around(reply), engine.need)
        engine.schedule_tick()
        client.connection.resume()

    def _end(self, client: Client, entry: Command, argv: list[bytes], nanoseconds: int, failed: bool) -> None:
        """Nobody waits for it any more; book what it took."""
        engine = self._server.engine
        if client.connection is not None:
            engine.enter(client)
        else:
            engine.tx.client = None
        client.state &= ~SUSPENDED
        entry.failed_calls += failed
        engine.timings.took(entry, argv, nanoseconds)

    async def _quiet(self) -> None:
        """Wait until no script is in the middle of its run."""
        while self._server.engine.state & BUSY:
            await asyncio.sleep(_LOOK_S)

    async def _log_is_safe(self) -> None:
        """Wait until all that was written so far is as safe as it is promised.  CommandError if it cannot be."""
        engine, tx = self._server.engine, self._server.tx
        need = engine.open_number if tx.records else engine.open_number - 1
        await asyncio.sleep(0)
        while engine.log.safe < need:
            if engine.log.refusing is not None:
                tx.sink.admit(0)
            await asyncio.sleep(_LOOK_S)

    async def _delete(self, job: Job, db_index: int) -> int:
        """Delete what was moved, some at a time; the batch that the answer must wait for."""
        server, engine, tx = self._server, self._server.engine, self._server.tx
        need = 0
        if job.delete is None:
            return need
        for start in range(0, len(job.moved), _DELETED_TOGETHER):
            await self._quiet()
            part = job.moved[start : start + _DELETED_TOGETHER]

            def step(part: list[bytes] = part) -> None:
                tx.select(db_index)
                assert job.delete is not None
                job.delete(tx, part)

            tx.now_ms = tx.clock_ms = server.now_ms()
            engine.background(step)
            need = engine.open_number
            await asyncio.sleep(0)
        return need

    # ---- the conversation ----------------------------------------------------------------

    async def _transfer(self, job: Job, wire: Wire) -> bytes:
        """Send everything and read the answers; the error's text for the client, b"" if all was taken."""
        may_retry = True
        while True:
            link = self.pool.take(job.place, wire)
            try:
                if link is None:
                    link = await self._connect(job, wire)
            except (OSError, TlsError) as error:
                refused = isinstance(error, ConnectionError) or getattr(error, "errno", 0) == errno.EHOSTUNREACH
                # Stock does not look whether it is connected, but begins to write.
                return dump_errors.MIGRATE_CANNOT_WRITE if refused else dump_errors.MIGRATE_CANNOT_CONNECT
            try:
                refusal = await _talk(job, link)
            except _Broken as broken:
                link.close()
                if broken.timeout or job.moved or not may_retry:
                    return dump_errors.MIGRATE_CANNOT_WRITE if broken.writing else dump_errors.MIGRATE_CANNOT_READ
                may_retry = False
                continue
            except BaseException:
                link.close()
                raise
            if link.broken:
                link.close()
            else:
                self.pool.put(link)
            return refusal

    async def _connect(self, job: Job, wire: Wire) -> Link:
        link = Link(job.place, await wire.connect(job.place), wire)
        config = self._server.config
        if config["tls-cluster"]:
            try:
                await link.secure(client_context(config))
            except BaseException:
                link.close()
                raise
        return link


def _run_through(job: Coroutine[Any, Any, bytes]) -> bytes:
    """The result of a coroutine that never waits."""
    try:
        job.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("a blocking wire never suspends")


async def _talk(job: Job, link: Link) -> bytes:
    """One try over one connection: what the target refused, as the client is told, or b"".  _Broken."""
    heads = [encode((b"AUTH", *job.auth))] if job.auth else []
    if link.db != job.db:
        heads.append(encode((b"SELECT", b"%d" % job.db)))
    try:
        sent = await _send(job, link, heads)
    except OSError as error:
        raise _Broken(True, isinstance(error, TimeoutError)) from None
    refused = b""
    try:
        for _ in heads:
            line = await link.line()
            if line.startswith(b"-"):
                refused = refused or line
    except OSError as error:
        raise _Broken(False, isinstance(error, TimeoutError)) from None
    told = b""
    for key in sent:
        try:
            line = await link.line()
        except OSError as error:
            if not told:
                raise _Broken(False, isinstance(error, TimeoutError)) from None
            link.broken = True
            break
        line = refused or line
        if line.startswith(b"-"):
            told = told or line
        else:
            job.moved.append(key)
    link.db = NO_DB if told else job.db
    return dump_errors.target_refused(told[1:]) if told else b""


async def _send(job: Job, link: Link, parts: list[bytes]) -> list[bytes]:
    """Send ``parts`` and a RESTORE for each key that is still there; these keys."""
    sent: list[bytes] = []
    parts = parts.copy()
    size = 0
    for key in job.keys:
        line = job.line(key)
        if line is None:
            continue
        sent.append(key)
        parts.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            await link.write(b"".join(parts))
            parts.clear()
            size = 0
    if parts:
        await link.write(b"".join(parts))
    return sent
