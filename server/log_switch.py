"""The log, begun and ended while the server runs.

``begin_beside``   a log that starts empty at this moment, for a keyspace that is not: it is one only when a BASE
                   for all before it was adopted (``server.rewrite``); until then its manifest has another name,
                   and what was in the directory before stays the log that a start finds
``end_beside``     that came to nothing: no log, and nothing left of it
``end``            ``appendonly no``: the log is brought to its end, and what follows is not logged
``publish``        a BASE that nothing follows, for a server without a log

Batches are counted on from one writer to the next, so that answers that wait for one keep their order.

It must not know: how a BASE is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.server.log_gate import NoLogWriter
from perdure.wal.atomic import remove_quietly
from perdure.wal.compaction import Adopted, Adoption, Finished, Mark, adopt_base, as_history, clean
from perdure.wal.damage import LogDamaged
from perdure.wal.executor import Executor, SystemClock, ThreadExecutor
from perdure.wal.format import NO_CHAIN
from perdure.wal.jobs import as_os_error
from perdure.wal.manifest import Entry, manifest_name, starting_name
from perdure.wal.recovery import LogEnd
from perdure.wal.rotation import Place, switch
from perdure.wal.survey import Survey, survey
from perdure.wal.writer import LogWriter

if TYPE_CHECKING:
    from perdure.server.server import Server

CANNOT_BEGIN = "Unable to turn on AOF. Check server logs."
"""Stock's words."""


class LogPlace:
    """Where the log is: the data directory, the log's in it, the name of its files."""

    __slots__ = ("basename", "data_directory", "directory")

    def __init__(self, data_directory: str, directory: str, basename: str) -> None:
        self.data_directory = data_directory
        self.directory = directory
        self.basename = basename


def place_of(server: Server) -> LogPlace:
    """The log's place by the configuration."""
    data = os.path.abspath(server.config["dir"])
    return LogPlace(data, os.path.join(data, server.config["appenddirname"]), server.config["appendfilename"])


def has_log(server: Server) -> bool:
    """Is there a log that is written to?"""
    return isinstance(server.writer, LogWriter)


def executor_of(server: Server) -> Executor:
    """Where the log's slow calls run."""
    executor = server.log_executor
    if executor is None:
        executor = server.log_executor = ThreadExecutor(server.loop.call_soon_threadsafe)
    return executor


def in_background(server: Server, job: Callable[[], object]) -> None:
    """Run a slow call of the disk that nobody waits for, and that raises nothing."""
    executor_of(server).submit(job, lambda _result, _error: None)


def new_writer(
    server: Server, end: LogEnd, executor: Executor, *, manifest: str = "", batches: int = 0
) -> LogWriter:
    """The writer of a log by the configuration; it is not open yet."""
    config, place = server.config, place_of(server)
    return LogWriter(
        server.log_fs,
        place.directory,
        place.basename,
        end,
        executor,
        server.log_clock or SystemClock(),
        config["appendfsync"],
        new_log_id=b"%032x" % server.rng.getrandbits(128),
        manifest=manifest,
        batches=batches,
        timestamps=config["aof-timestamp-enabled"],
        on_progress=server.engine.log_progressed,
    )


def _found(server: Server) -> Survey:
    """What is in the log's directory.  OSError if it cannot be said."""
    place = place_of(server)
    server.log_fs.make_directory(place.directory)
    try:
        return survey(server.log_fs, place.directory, place.basename)
    except LogDamaged as damage:
        server.log.warning(f"What is in the log's directory is no log that could be replaced: {damage}")
        raise OSError(0, str(damage)) from None


def next_seq(server: Server) -> int:
    """A number that no file has."""
    return _found(server).next_seq


def begin_beside(server: Server, executor: Executor) -> tuple[LogWriter, Mark]:
    """A log that begins at this moment, at which nothing is open, and has no BASE.  OSError: there is none."""
    found = _found(server)
    place = place_of(server)
    for name in found.drop:
        remove_quietly(server.log_fs, os.path.join(place.directory, name))
    end = LogEnd(None, 0, NO_CHAIN, (), found.next_seq, ())
    batches = server.engine.open_number - 1
    writer = new_writer(server, end, executor, manifest=starting_name(place.basename), batches=batches)
    try:
        writer.open()
    except OSError:
        remove_started(server, writer)
        raise
    writer.compaction.start_beside(_entries(found))
    return writer, writer.compaction.mark(writer.entries[-1])


def _entries(found: Survey) -> tuple[Entry, ...]:
    return () if found.manifest is None else tuple(e for e in found.manifest.entries if e.kind != "h")


def remove_started(server: Server, writer: LogWriter) -> None:
    """What a log that did not become one leaves, its manifest last."""
    place = writer.place
    starting = starting_name(place.basename)
    if place.manifest == starting:
        for name in (*(entry.name for entry in writer.entries), starting):
            remove_quietly(server.log_fs, os.path.join(place.directory, name))


def log_to(server: Server, writer: Any) -> None:
    """Log to ``writer`` from now on."""
    engine = server.engine
    engine.in_command = True  # what waits may go at the end of the tick, not in the midst of somebody's turn
    try:
        server.start_log(writer)
        engine.log_progressed()
    finally:
        engine.in_command = False


def end_beside(server: Server) -> None:
    """The log that was to begin does not."""
    writer = server.writer
    if isinstance(writer, LogWriter):
        _close(server, writer)
        in_background(server, partial(remove_started, server, writer))


def end(server: Server) -> None:
    """``appendonly no``: what was committed is made durable if the disk lets it, and nothing is logged any more."""
    writer = server.writer
    if isinstance(writer, LogWriter):
        _close(server, writer)
        in_background(server, partial(remove_started, server, writer))
        server.log.notice("The log is switched off: what is written from now on is in memory only")


def _close(server: Server, writer: LogWriter) -> None:
    """End a writer as far as it goes; there is no log from now on."""
    if not server.tx.in_group:
        server.engine.commit_now()
    try:
        writer.close()
    except OSError as error:
        server.log.warning(f"The log could not be brought to its end: {error.strerror or error}")
        writer.closed = True
        writer.compaction.close()
    log_to(server, NoLogWriter(writer.batch))


def publish(server: Server, base: Finished, done: Adopted) -> None:
    """Without a log: make ``base`` the whole log, in the place of what there was."""
    place, found = place_of(server), _found(server)
    log_id = b"%032x" % server.rng.getrandbits(128)
    there = Place(server.log_fs, place.directory, place.basename, log_id, manifest_name(place.basename))
    former = as_history(_entries(found))
    executor = executor_of(server)

    def adopted(result: Adoption | None, crash: BaseException | None) -> None:
        outcome = result or Adoption(as_os_error(crash))
        if outcome.error is None:
            in_background(server, partial(_forget, there, base.entry, [e.name for e in former]))
        done(outcome.error)

    executor.submit(partial(adopt_base, there, (base.entry, *former), base), adopted)


def _forget(place: Place, base: Entry, names: list[str]) -> None:
    """History goes; what is left of it at a failure is removed at the next start."""
    try:
        clean(place, names)
        switch(place, (base,))
    except OSError:
        return
