"""The process's state: configuration, clients, counters, the engine and its log, and the clock's work.

``Server`` ties the parts together and holds what has one instance; the work is in
the modules it names.  Ten times a second ``cron`` gives everyone their turn: the
log (fsync of ``everysec``, retries), expiry, idle clients, memory to be freed.

It must not know: how commands work, how the log is written, how options are parsed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from perdure.server import memory_use, observers, output_limits, process_stats
from perdure.server.acl import Acl
from perdure.server.bounded_reader import bounded_reader
from perdure.server.children import Children
from perdure.server.client import (
    BUSY,
    CLOSING,
    IN_MULTI,
    LOADING,
    MONITORING,
    PAUSED,
    SUBSCRIBED,
    SUSPENDED,
    WAITING,
    WATCHED,
    Client,
)
from perdure.server.config import Config
from perdure.server.connection import Connection
from perdure.server.durability import DurableWaits
from perdure.server.engine import Engine
from perdure.server.latency import EXPIRE_CYCLE
from perdure.server.log_gate import LogGate, NoLogWriter
from perdure.server.logfile import Log as LogFile
from perdure.server.migration import Migrations
from perdure.server.options import BY_NAME
from perdure.server.pubsub import listened_to
from perdure.server.rewrite import Rewriter
from perdure.server.saves import Saves
from perdure.server.scripting.scripts import Scripts
from perdure.server.stats import Stats
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.database import Keyspace
from perdure.store.expiry import expire_cycle
from perdure.store.field_expiry import expire_fields
from perdure.wal.executor import Clock, Executor
from perdure.wal.filesystem import Filesystem, RealFilesystem

CRON_S = 0.1
_EXPIRE_BATCH = 200
_EXPIRE_BUDGET_S = 0.002
_FREE_BATCH = 5000
_OUTPUT_LIMIT = "client-output-buffer-limit"
_NEVER_IDLE = WAITING | SUBSCRIBED | MONITORING


@dataclass(slots=True)
class Limits:
    """Bounds that the hot path asks for; kept apart from the configuration's look-up by name."""

    max_bulk_bytes: int = 512 << 20
    max_query_bytes: int = 1 << 30
    output: dict[str, tuple[int, int, int]] = field(default_factory=lambda: BY_NAME[_OUTPUT_LIMIT].default)
    """``client-output-buffer-limit``: class -> (hard bytes, soft bytes, soft seconds), 0 for none."""
    listener_check_bytes: int = 1 << 20
    """So much for one client that was not asked for is a reason to look at its limits."""


@dataclass(slots=True)
class LoadProgress:
    """How far the log's reading is, for INFO and the log."""

    started_s: float = 0.0
    total_bytes: int = 0
    loaded_bytes: int = 0
    commands: int = 0
    used_memory: int = 0
    """What the writer of the file that is loaded used, as that says."""
    abandoned: bool = False


class Server:
    """One perdure server.  ``start_log`` gives it a log writer; until then it loads."""

    def __init__(self, config: Config, log: LogFile, loop: asyncio.AbstractEventLoop, rng: Random) -> None:
        self.config = config
        self.log = log
        self.loop = loop
        self.rng = rng
        self.stats = Stats()
        self.limits = Limits()
        self.started_s = time.time()
        self.run_id = f"{rng.getrandbits(160):040x}"
        self.replication_id = self.run_id
        self.load = LoadProgress()
        self.recovery: Any = None
        self.keyspace = Keyspace(config["databases"])
        self.fs: Filesystem = RealFilesystem()
        """Where the files of users and of the configuration are; the log has its own."""
        self.log_fs: Filesystem = self.fs
        self.log_executor: Executor | None = None
        self.log_clock: Clock | None = None
        self.clients: dict[int, Client] = {}
        self.over_soft: dict[Client, None] = {}
        """Clients whose unsent output is over their soft limit."""
        self.next_client_id = 1
        self.type_limits: dict[str, int] = {}
        self.writer: Any = NoLogWriter()
        self.tx = ServerTx(self.keyspace, LogGate(self.writer), rng, self.type_limits, self)
        self.engine = Engine(self, self.tx, self.writer, loop.call_soon, memory_use.meter())
        self.engine.state |= LOADING
        self.durable_waits = DurableWaits(self)
        self.children = Children(loop, log, self.stats, self.engine.timings.sample)
        self.rewriter = Rewriter(self)
        self.migrations = Migrations(self)
        self.acl = Acl(self)
        self.acl.subscriptions = listened_to
        self.saves = Saves(self)
        self.scripts = Scripts(self)
        self.reader: Any = None
        self.new_reader()
        self.stop: Callable[[str, int], None] = lambda reason, status: None
        self.compiled = False
        """Do clients' sockets belong to the compiled hot path (``server.accepting``)?"""
        self._cron_handle: asyncio.TimerHandle | None = None
        self._expiring_soon = False
        self.program_memory = process_stats.memory().used
        """What was resident before there was any data."""
        self.startup_memory = self.engine.max_memory.used()
        self.active_expire = True
        """DEBUG SET-ACTIVE-EXPIRE: are due keys removed before anyone asks for them?"""

    # ---- the shared reader ---------------------------------------------------------------

    def new_reader(self) -> None:
        """A request reader that stands between requests."""
        self.reader = bounded_reader()

    def now_ms(self) -> int:
        """Unix time in ms."""
        return int(time.time() * 1000)

    # ---- the log -------------------------------------------------------------------------

    def start_log(self, writer: Any) -> None:
        """Loading is over: log to ``writer`` from now on."""
        self.writer = writer
        self.tx.sink = LogGate(writer, self.engine.max_memory)
        self.engine.log = writer
        self.keyspace.clock = self.tx
        self.tx.select(self.tx.db_index)  # the log may have swapped or flushed databases
        self.engine.state &= ~LOADING
        self.engine.refresh_state()
        self.engine.max_memory.look()

    # ---- clients -------------------------------------------------------------------------

    def new_client(self, connection: Connection) -> Client:
        """A client that has just come; ``admit_client`` decides whether it stays."""
        client = Client(self.next_client_id, connection, time.time())
        self.acl.greet(client)
        self.next_client_id += 1
        return client

    def admit_client(self, client: Client, transport: Any) -> bytes | None:
        """Take a client in; an error's text if it must leave."""
        self.stats.connections += 1
        sock = transport.get_extra_info("socket")
        client.unix = sock is not None and sock.family == socket.AF_UNIX
        client.fd = sock.fileno() if sock is not None else -1
        client.address = self._address(transport.get_extra_info("peername"), client.unix)
        client.local_address = self._address(transport.get_extra_info("sockname"), client.unix)
        if len(self.clients) >= self.config["maxclients"]:
            self.stats.rejected_connections += 1
            client.state |= CLOSING
            return errors.MAX_CLIENTS
        open_to_all = self.acl.default.needs_no_password
        if open_to_all and self.config["protected-mode"] and not client.unix and not _is_local(client.address):
            self.stats.rejected_connections += 1
            client.state |= CLOSING
            return errors.PROTECTED_MODE
        self.clients[client.id] = client
        if not client.unix and sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._keep_alive(sock)
        return None

    def _address(self, name: Any, unix: bool) -> bytes:
        if unix:
            return f"{self.config['unixsocket']}:0".encode()
        if not isinstance(name, tuple):
            return b"?:0"
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"{host}:{name[1]}".encode()

    def _keep_alive(self, sock: Any) -> None:
        seconds = self.config["tcp-keepalive"]
        if seconds > 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(seconds // 3, 1))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    def forget_client(self, client: Client) -> None:
        """A client has gone."""
        self.clients.pop(client.id, None)
        self.engine.waits.forget(client)
        self.engine.pause.forget(client)
        self.engine.outbox.forget(client)
        observers.forget(self.engine, client)
        output_limits.forget(self, client)
        if not client.state & SUSPENDED:  # else its EXEC still runs
            self.discard_transaction(client)
        client.held.clear()
        client.held_bytes = 0
        if client in self.engine.waiting:
            self.engine.waiting.remove(client)
        if self.tx.client is client:
            self.tx.client = None

    def discard_transaction(self, client: Client) -> None:
        """Forget a client's MULTI queue and what it watches."""
        client.queue.clear()
        client.queue_bytes = 0
        client.state &= ~IN_MULTI
        client.flags_multi_error = False
        self.forget_watches(client)

    def watch_keys(self, client: Client, keys: list[bytes]) -> None:
        """``client`` watches keys of its database."""
        for key in keys:
            self.engine.watches.add(client, client.db_index, key, self.tx)
        self.engine.state |= WATCHED

    def forget_watches(self, client: Client) -> None:
        """``client`` watches nothing any more."""
        if client.watching:
            self.engine.watches.forget(client)
            if not self.engine.watches:
                self.engine.state &= ~WATCHED
        client.watched_dirty = False

    def kill_client(self, client: Client) -> None:
        """Close another client's connection at once; what it was not sent yet is lost."""
        connection = client.connection
        self.forget_client(client)
        if connection is not None:
            connection.abort()

    # ---- the clock's work ------------------------------------------------------------------

    def start_cron(self) -> None:
        """Begin the work that the clock gives."""
        self._cron_handle = self.loop.call_later(CRON_S, self._cron)

    def stop_cron(self) -> None:
        """No more work by the clock."""
        if self._cron_handle is not None:
            self._cron_handle.cancel()

    def _cron(self) -> None:
        self._cron_handle = self.loop.call_later(CRON_S, self._cron)
        now_s = time.time()
        self.stats.sample(now_s)
        self.engine.max_memory.look()
        if not self.engine.state & LOADING:
            self.writer.tick()
            if self.engine.timings.monitor.threshold_ms:
                self.engine.timings.look_at_log(self.writer)
            if self.active_expire and not self.engine.state & PAUSED:
                self._expire()
        self.keyspace.free_some(_FREE_BATCH)
        self.children.tick()
        self.saves.tick()
        self.rewriter.tick()
        self.engine.tracker.tick()
        if self.over_soft:
            output_limits.recheck(self)
        timeout = self.config["timeout"]
        if timeout:
            for client in list(self.clients.values()):
                idle_ms = 0 if client.state & _NEVER_IDLE else now_s * 1000 - client.interaction_ms
                if idle_ms > timeout * 1000 and client.connection is not None:
                    self.log.verbose("Closing idle client")
                    client.connection.close()

    def _expire(self) -> None:
        """Remove keys and hash fields that are due, a bounded piece at a time."""
        self._expiring_soon = False
        if self.engine.state & BUSY:
            return  # in the middle of a script
        began_ns = time.perf_counter_ns()
        ends = time.monotonic() + _EXPIRE_BUDGET_S
        tx = self.tx
        tx.now_ms = tx.clock_ms = self.now_ms()
        found = _EXPIRE_BATCH

        def step() -> None:
            nonlocal found
            found = expire_cycle(tx, _EXPIRE_BATCH)
            self.stats.expired_keys += found
            found = max(found, expire_fields(tx, _EXPIRE_BATCH))

        while found >= _EXPIRE_BATCH:
            self.engine.background(step)
            if time.monotonic() > ends:
                self.stats.expiry_cut_short += 1
                break
        self.stats.expiry_ns += time.perf_counter_ns() - began_ns
        self.engine.timings.sample(EXPIRE_CYCLE, began_ns)
        if found >= _EXPIRE_BATCH and not self._expiring_soon:
            self._expiring_soon = True
            self.loop.call_later(_EXPIRE_BUDGET_S, self._expire)


def _is_local(address: bytes) -> bool:
    return address.startswith((b"127.", b"[::1]", b"[::ffff:127."))
