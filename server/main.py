"""``perdure-server``: from the command line to a process that ends well.

Order of a start: configuration; listening sockets (a port in use touches nothing);
the lock on the data directory; into the background, if asked; clients are let in
and told ``-LOADING``; recovery; ready.  SIGTERM, SIGINT and SHUTDOWN: no new
clients, the open batch committed, the log fsynced and ended, answers sent, exit
status 0; status 1 if the log could not be brought to its end.  With save points a
snapshot is written first, and the server goes on if that fails (``server.shutdown``).
"""

from __future__ import annotations

from perdure.server import heap_first  # noqa: F401  counts what comes after it

# isort: split
import asyncio
import contextlib
import gc
import os
import signal
import sys
from random import SystemRandom

import uvloop

import perdure.server.commands  # noqa: F401  registers every command
from perdure.server import accepting, banner, daemon, listen, lock, shutdown, startup
from perdure.server.acl import AclRefused
from perdure.server.bind_config import bind_config, bind_listeners
from perdure.server.config import Config, ConfigError, load
from perdure.server.config_file import parse_command_line
from perdure.server.listeners import Listeners
from perdure.server.logfile import Log
from perdure.server.server import Server
from perdure.server.version import PERDURE_VERSION
from perdure.store.command import rename
from perdure.wal.filesystem import RealFilesystem

_GC_THRESHOLDS = (100_000, 50, 100)
"""Commands make garbage that reference counts free at once; looking for cycles often only costs."""


def main(argv: list[str] | None = None) -> int:
    """The console script; returns the exit status."""
    try:
        invocation = parse_command_line(sys.argv[1:] if argv is None else argv, PERDURE_VERSION)
        if invocation.answer is not None:
            print(invocation.answer, file=sys.stderr if invocation.status else sys.stdout)
            return invocation.status
        config = load(invocation, sys.stdin.buffer.read, os.getcwd())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    for line in config.rename_lines:
        trouble = rename(line.words[1], line.words[2])
        if trouble:
            print(line.error(trouble), file=sys.stderr)
            return 1
    log = Log(config.path("logfile"), config["loglevel"])
    trouble = log.open_error()
    if trouble:
        print(trouble, file=sys.stderr)
        return 1
    log.notice(f"perdure {PERDURE_VERSION} is starting, pid {os.getpid()}")
    for warning in config.warnings():
        log.warning(warning)
    return _start(config, log)


def _start(config: Config, log: Log) -> int:
    """Take what a server needs for itself: addresses, the directory, the background."""
    listeners = Listeners(config, log)
    held: lock.DirectoryLock | None = None
    try:
        listeners.open()
        held = lock.take(config["dir"])
        supervisor, trouble = daemon.find_supervisor(config["supervised"], os.environ)
        if trouble:
            log.warning(trouble)
        background = config["daemonize"] and not supervisor
        if background:
            daemon.daemonize()
        log.role = "M"
        pidfile = _write_pidfile(config, log, background)
        try:
            return _run(config, log, listeners, held, supervisor)
        finally:
            if pidfile:
                daemon.remove_pidfile(pidfile)
    except (listen.ListenFailed, lock.LockError, AclRefused) as error:
        log.warning(str(error))
        return 1
    finally:
        listeners.close()
        if held is not None:
            held.release()


def _write_pidfile(config: Config, log: Log, background: bool) -> str:
    path = config.path("pidfile") or (daemon.DEFAULT_PIDFILE if background else "")
    if path:
        trouble = daemon.write_pidfile(path)
        if trouble:
            log.warning(trouble)
            return ""
    return path


def _run(
    config: Config, log: Log, listeners: Listeners, held: lock.DirectoryLock, supervisor: daemon.Supervisor
) -> int:
    """The event loop, from its first turn to its last."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    server = Server(config, log, loop, SystemRandom())
    bind_config(server)
    server.acl.load_at_start()
    bind_listeners(config, listeners)
    ended: asyncio.Future[tuple[str, int]] = loop.create_future()

    def stop(reason: str, status: int) -> None:
        if not ended.done():
            ended.set_result((reason, status))

    server.stop = stop
    try:
        return loop.run_until_complete(_serve(server, listeners, held, supervisor, ended))
    finally:
        with contextlib.suppress(RuntimeError):
            loop.close()


async def _serve(
    server: Server,
    listeners: Listeners,
    held: lock.DirectoryLock,
    supervisor: daemon.Supervisor,
    ended: asyncio.Future[tuple[str, int]],
) -> int:
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT"):
        loop.add_signal_handler(getattr(signal, name), shutdown.by_signal, server, name)
    poller = accepting.make_poller(server)
    server.compiled = poller is not None
    await listeners.serve(server, poller)
    server.start_cron()
    recovering = asyncio.ensure_future(startup.recover(server, RealFilesystem(), held))
    await asyncio.wait((recovering, ended), return_when=asyncio.FIRST_COMPLETED)
    if recovering.done():
        refusal = recovering.exception()
        if refusal is not None:
            for line in startup.refusal_lines(refusal):
                server.log.warning(line)
            return 1
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        for line in banner.lines(server, listeners):
            server.log.notice(line)
        supervisor.ready()
        await ended
    else:
        startup.abandon(server)
    reason, status = ended.result()
    supervisor.stopping()
    server.log.warning(f"{reason}: shutting down")
    listeners.close()
    return _finish(server, status)


def _finish(server: Server, status: int) -> int:
    """Commit what is open, end the log, send what may go, let clients go."""
    server.stop_cron()
    engine = server.engine
    server.scripts.slices.abandon()
    trouble = ""
    try:
        engine.end_of_tick()
        server.writer.close()
    except OSError as error:
        trouble = error.strerror or str(error)
    if not trouble:
        engine.log_progressed()
    for client in list(server.clients.values()):
        if client.connection is not None:
            client.held.clear()
            client.connection.close()
    if trouble:
        server.log.warning(
            f"The log could not be brought to its end: {trouble}. What was answered is in it as far as "
            "appendfsync promises; what was not answered may be missing"
        )
        return 1
    server.log.warning("perdure is now ready to exit, bye bye...")
    return status
