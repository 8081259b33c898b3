"""The engine: admit, run, append, commit, release.

A tick of the event loop is: commands run as their bytes arrive and append their
records to the open batch (``Tx``); at the end of the tick the batch is committed
with one write, and the fsync policy says when answers go (ANSWER-AFTER).

Three ways of an answer
-----------------------

nothing open, nothing held     it goes at once (``server.connection``)
a batch is open in this tick   every client of the tick waits for the end of the tick,
                               where the batch is written: no bookkeeping by key
``TRACK_DIRTY``                the log is busy or its fsync is off the loop, so a batch may
                               be unsafe for long: the engine keeps the keys that the batch in
                               flight and the open batch touch, and an answer waits only if
                               its command wrote, or read such a key.  Reads of clean keys
                               never wait.  What looks at all keys (DBSIZE, SCAN) waits for a
                               batch in flight, but not for one that an ill disk refuses: reads
                               go on (REFUSE-WHOLE).

The hot path (``hot``) is one dict look-up and one call for a command whose gate has
no bit in common with the state; whatever is special goes through ``execute``.

It must not know: sockets, how a record is framed, which options exist.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from perdure.server import disk_refusals, failures, observers, protected
from perdure.server.blocking import Waits
from perdure.server.client import (
    BLOCKED,
    BUSY,
    CLOSING,
    EVERYTHING,
    IN_MULTI,
    LOADING,
    LOG_REFUSES,
    MEMORY_FULL,
    MONITORED,
    MONITORING,
    NEEDS_AUTH,
    NO_TOUCH,
    OBSERVED,
    PAUSED,
    POSTPONED,
    RESTRICTED,
    SUBSCRIBED,
    SUSPENDED,
    TRACK_DIRTY,
    TRACKED,
    TRACKING,
    WAITED,
    WATCHED,
    WRITES_ONLY,
    Client,
)
from perdure.server.max_memory import MaxMemory
from perdure.server.memory_use import Meter
from perdure.server.monitor import Monitors
from perdure.server.notifications import Notifications
from perdure.server.outbox import Outbox
from perdure.server.pause import USES_KEYS, Pause, flags_of
from perdure.server.pubsub import IN_SUBSCRIBED_MODE, PubSub
from perdure.server.scripting.slices import may_take_long
from perdure.server.stats import Stats
from perdure.server.timings import Timings, quick_arguments
from perdure.server.touched import touched
from perdure.server.tracking import Tracker
from perdure.server.transactions import IMMEDIATE, Watches, queue_command
from perdure.server.tx import ServerTx
from perdure.store import command, errors, resp
from perdure.store.command import LOADING as ALLOWED_WHILE_LOADING
from perdure.store.command import NO_AUTH as ALLOWED_WITHOUT_AUTH
from perdure.store.command import Command, find
from perdure.store.errors import CommandError

if TYPE_CHECKING:
    from perdure.server.server import Server

Hot = tuple[Callable[[Any, list[bytes]], bytes], int, int, int, Command, int]
"""Handler, least and most arguments, gate, entry; with up to how many arguments it is surely quick (``timings``)."""
_MANY = 1 << 31
_ANSWERED_FROM_ARGUMENTS = (b"PING", b"ECHO")
_HTTP = (b"POST", b"HOST:")
"""Words of a browser that a web page sends here: its requests' bodies must not be taken for commands."""


class Log(Protocol):
    """What the engine needs of the log's writer; see ``wal.writer``."""

    @property
    def busy(self) -> bool: ...
    @property
    def full(self) -> bool: ...
    @property
    def inline(self) -> bool: ...
    @property
    def safe(self) -> int: ...
    @property
    def refusing(self) -> Exception | None: ...

    def commit(self, payload: bytes) -> int: ...

    def admit(self, nbytes: int) -> int: ...


def hot_table() -> dict[bytes, Hot]:
    """The commands of the hot path by name, in upper and in lower case."""
    table: dict[bytes, Hot] = {}
    for name, entry in command.TABLE.items():
        of_the_store = entry.handler.__module__.startswith("perdure.store.commands.")
        publishes = entry.flags & command.PUBSUB and entry.flags & command.FAST
        if name != entry.name or entry.subcommands or entry.flags & command.BLOCKING:
            continue
        if not (of_the_store or publishes or name in _ANSWERED_FROM_ARGUMENTS):
            continue
        least, most = (entry.arity, entry.arity) if entry.arity > 0 else (-entry.arity, _MANY)
        gate = EVERYTHING if entry.flags & command.WRITE else EVERYTHING & ~WRITES_ONLY
        if name == b"PING":
            gate |= LOG_REFUSES
        table[name] = table[name.lower()] = (entry.handler, least, most, gate, entry, quick_arguments(entry))
    return table


class Engine:
    """Runs commands against one keyspace and one log."""

    def __init__(
        self,
        server: Server,
        tx: ServerTx,
        log: Log,
        call_soon: Callable[[Callable[[], None]], object],
        meter: Meter,
    ) -> None:
        self.server = server
        self.tx = tx
        self.log = log
        self.call_soon = call_soon
        self.stats: Stats = server.stats
        self.hot = hot_table()
        self.state = 0
        self.open_number = 1
        self.need = 0
        """Batch that the answer to the command run last must wait for; set by ``run``, cleared by its caller."""
        self.watches = Watches()
        self.waits = Waits(self)
        self.pause = Pause(self)
        self.outbox = Outbox(self)
        self.notifications = Notifications(self)
        self.pubsub = PubSub(self.outbox, self.notifications.settle)
        self.tracker = Tracker(self)
        self.monitors = Monitors(self)
        self.timings = Timings(self)
        self.max_memory = MaxMemory(self, meter)
        self.out_of_memory = False
        """Is more memory used than ``maxmemory`` allows, and nothing can go?"""
        self.save_refusal = b""
        """Why writes are refused, as the last snapshot failed; b"" if they are not (``server.saves``)."""
        self.waiting: list[Client] = []
        self.tick_answers: list[tuple[Client, bytes]] = []
        """Answers of this tick that wait for its end, and for its batch if there is one: nobody looks at keys."""
        self.free_answers: list[tuple[Client, bytes]] = []
        """Answers that wait for no batch, only for the end of the tick (``TRACK_DIRTY``)."""
        self.send_all: Callable[[list[tuple[Client, bytes]]], None] = self._send_all
        self._released = 0
        self.tick_scheduled = False
        self.goes_on = False  # has the command that ran only begun?  Who goes on with it books what it takes
        self.in_command = False
        """Does a command now change the log's settings?"""
        self._dirty_in_flight: set[bytes] = set()
        self._dirty_open: set[bytes] = set()
        self._all_in_flight = self._all_open = False
        self.after_commit: Callable[[], None] | None = None  # somebody waits for memory to be what the log says

    # ---- a client's turn ---------------------------------------------------------------

    def enter(self, client: Client) -> None:
        """Make ``client`` the one whose commands run."""
        tx = self.tx
        tx.client = client
        if tx.db_index != client.db_index:
            tx.select(client.db_index)
        if tx.resp3 is not client.resp3:
            tx.speak(client.resp3)

    def execute(self, client: Client, argv: list[bytes]) -> bytes:
        """The careful way: everything that may be said about a command is looked at.  Returns the reply.

        A client that is ``POSTPONED`` behind it was not answered: the command is to be run again.
        """
        if self.state & TRACKED:
            self.tracker.limit()
        return self.end_of_turn(client, self._execute(client, argv))

    def end_of_turn(self, client: Client, reply: bytes) -> bytes:
        """What a client sent has been run, or is to be run later: let others know.  Returns the reply."""
        if self.waits.ready and not self.state & BUSY:
            self.waits.serve()
        if client.state & (TRACKING | IN_MULTI | POSTPONED | SUSPENDED) == TRACKING:
            observers.turn_ended(client)
        if self.need > client.needed:
            client.needed = self.need
        if self.outbox.entries:
            self.outbox.dispatch(client)
        return reply

    def _execute(self, client: Client, argv: list[bytes]) -> bytes:
        entry = client.last_command = find(argv)
        if entry is None and argv[0].upper() in _HTTP and client.connection is not None:
            failures.cross_protocol(client.connection)
            return b""
        refusal = self._refusal(client, entry, argv)
        if refusal is not None or entry is None:
            text = refusal or errors.unknown_command(argv)
            if client.state & IN_MULTI:
                client.flags_multi_error = True
            if entry is not None:
                entry.rejected_calls += 1
                if entry.name == b"EXEC":
                    if self.state & MONITORED:
                        self.monitors.feed(entry, argv)  # as stock: it has ended a transaction
                    self.server.discard_transaction(client)
                    text = errors.exec_aborted(text)
            self.stats.count_error(text)
            return resp.error(text)
        if self.state & PAUSED:
            only_reads = bool(entry.flags & command.RUNS_LUA) and self.server.scripts.only_reads(entry, argv)
            if self.pause.keeps_back(client, entry, argv, only_reads=only_reads):
                return b""
        own_name = entry.name.partition(b"|")[0]
        if argv[0].upper() != own_name:
            argv[0] = own_name  # renamed: the log must know it by its own name
        if client.state & IN_MULTI and entry.name not in IMMEDIATE:
            reply = queue_command(client, entry, argv)
            if client.queue_bytes > self.server.limits.max_query_bytes and client.connection is not None:
                failures.too_big(client.connection)
            return reply
        if may_take_long(client, entry):
            return self.server.scripts.slices.run(client, entry, argv)
        return self.run(entry, argv)

    def _refusal(self, client: Client, entry: Command | None, argv: list[bytes]) -> bytes | None:
        """Why a command is not admitted, or None; in stock's order."""
        if entry is None:
            return errors.unknown_command(argv)
        if entry.subcommands and len(argv) > 1:
            return errors.unknown_subcommand(argv[1], entry.name)
        if not entry.arity_fits(len(argv)):
            return errors.wrong_arity(entry.lower_name)
        if entry.flags & command.PROTECTED:
            denied = protected.refusal(self.server.config, client, entry)
            if denied is not None:
                return denied
        if client.state & NEEDS_AUTH and not entry.flags & ALLOWED_WITHOUT_AUTH:
            return errors.NO_AUTH
        if client.state & IN_MULTI and entry.flags & command.NO_MULTI:
            return errors.NOT_IN_MULTI
        if client.state & RESTRICTED:
            denied = self.server.acl.refusal(client, entry, argv)
            if denied is not None:
                return denied
        if self.state & MEMORY_FULL:
            refusal = self.max_memory.refusal(client, entry)
            if refusal is not None:
                return refusal
        if self.state & LOG_REFUSES:
            refusal = disk_refusals.of_command(self, client, entry)
            if refusal is not None:
                return refusal
        if client.state & SUBSCRIBED and not client.resp3 and entry.name not in IN_SUBSCRIBED_MODE:
            return errors.only_in_subscribed_mode(entry.lower_name)
        if self.state & LOADING and not entry.flags & ALLOWED_WHILE_LOADING:
            return errors.LOADING
        if self.state & BUSY and not entry.flags & command.ALLOW_BUSY:
            return self.server.scripts.slices.busy_text()
        if client.state & MONITORING and flags_of(client, entry) & USES_KEYS:
            return errors.MONITOR_AND_KEYS
        return None

    def script_refusal(self, client: Client, entry: Command, argv: list[bytes]) -> bytes | None:
        """Why a command of a script that ``client`` runs is not allowed, noted in ACL LOG; None if it is.

        ``argv`` fits the command's arity.  The text begins with its code.
        """
        return self.server.acl.refusal_in_script(client, entry, argv) if client.state & RESTRICTED else None

    def run_queued(self, client: Client, entry: Command, argv: list[bytes]) -> bytes:
        """As ``run``, for EXEC: what the client's user may do can have changed since the command was queued."""
        if client.state & RESTRICTED:
            denied = self.server.acl.refusal_of_queued(client, entry, argv)
            if denied is not None:
                self.stats.count_error(denied)
                return resp.error(denied)
        return self.run(entry, argv)

    def run(self, entry: Command, argv: list[bytes]) -> bytes:
        """Run an admitted command, one that EXEC had queued, too; its errors become replies.

        ``need`` grows to what this command's answer needs and never shrinks here, so
        that behind EXEC it is what the whole array needs.
        """
        client = self.tx.client
        if client is not None and client.state & NO_TOUCH and entry.flags & command.READONLY:
            return self._run_untouched(entry, argv)
        return self._run(entry, argv)

    def _run_untouched(self, entry: Command, argv: list[bytes]) -> bytes:
        """CLIENT NO-TOUCH: reading is no use of a key."""
        uses = self.tx.db.uses
        if uses is None or entry.name == b"TOUCH":
            return self._run(entry, argv)
        before = {key: uses.numbers.get(key) for key in entry.keys(argv)}
        reply = self._run(entry, argv)
        for key, number in before.items():
            if number is None:
                uses.numbers.pop(key, None)
            elif key in uses.numbers:
                uses.numbers[key] = number
        return reply

    def _run(self, entry: Command, argv: list[bytes]) -> bytes:
        records = self.tx.records
        before = len(records)
        db_index = self.tx.db_index
        tracked = self.state & TRACK_DIRTY
        began = perf_counter_ns()
        try:
            reply = entry.handler(self.tx, argv)
        except CommandError as error:
            entry.failed_calls += 1
            self.stats.count_error(error.text)
            reply = resp.error(error.text)
        took = perf_counter_ns() - began
        entry.calls += 1
        client = self.tx.client
        if client is not None and client.wait is not None and client.state & BLOCKED:
            entry.nanoseconds += took
            client.wait.began(argv, took)  # the rest once it is answered
        elif not self.goes_on:
            self.timings.took(entry, argv, took)
        self.goes_on = False
        if self.state & (TRACK_DIRTY | WATCHED | WAITED | TRACKED):
            if self.state & TRACK_DIRTY and not tracked and records:
                # It began in here (CONFIG SET appendfsync): who read what is not known of what EXEC ran before.
                self.need = self.open_number
            if entry.name != b"EXEC" and not entry.flags & command.RUNS_LUA:  # each command inside has told
                if len(records) > before:
                    self.wrote(records[before:], db_index, entry.keys(argv))
                elif self.state & TRACK_DIRTY:
                    self._depends(entry, argv)
        if self.state & OBSERVED:
            observers.after_command(self, entry, argv, reply)
        return reply

    # ---- which answers wait --------------------------------------------------------------

    def wrote(self, records: list[bytes], db_index: int, keys: list[bytes]) -> None:
        """A command or the clock's work logged ``records``; ``keys``: all that it can have touched, [] for unknown."""
        if self.state & WATCHED:
            self.watches.touch(touched(records, db_index), self)
        if self.state & WAITED and self.waits.concern(keys):
            self.waits.touch(touched(records, db_index))
        if self.state & TRACKED:
            self.tracker.wrote(records, keys)
        if self.tx.events:
            self.notifications.publish()
        if self.state & TRACK_DIRTY:
            self._dirty_open.update(keys)
            self._all_open = self._all_open or not keys
            self.need = self.open_number

    def _depends(self, entry: Command, argv: list[bytes]) -> None:
        """Make the answer wait if the command read what an unsafe batch changed."""
        keys = entry.keys(argv)
        if keys and not entry.reads_beyond_keys:
            self.depend_on(keys)
        elif entry.flags & (command.READONLY | command.WRITE) and self.log.refusing is None:
            if self._all_open or self._dirty_open:
                self.need = self.open_number
            elif self._all_in_flight or self._dirty_in_flight:
                self.need = max(self.need, self.open_number - 1)

    def depend_on(self, keys: list[bytes]) -> None:
        """Make the answer wait if an unsafe batch changed one of ``keys``; only under ``TRACK_DIRTY``."""
        if self._all_open or not self._dirty_open.isdisjoint(keys):
            self.need = self.open_number
        elif self._all_in_flight or not self._dirty_in_flight.isdisjoint(keys):
            self.need = max(self.need, self.open_number - 1)

    def hold(self, client: Client, number: int, data: bytes) -> None:
        """Queue an answer that may go once batch ``number`` is safe; 0: once those before it have gone."""
        if not client.held:
            for _, earlier in _take(self.tick_answers, client):
                client.held.append((self.open_number if self.tx.committable else 0, earlier))
                client.held_bytes += len(earlier)
            self.waiting.append(client)
            self._released = -1
            self.schedule_tick()
        client.held.append((number, data))
        client.held_bytes += len(data)

    # ---- the tick ------------------------------------------------------------------------

    def schedule_tick(self) -> None:
        """Have ``end_of_tick`` called when the events of this tick are done."""
        if not self.tick_scheduled:
            self.tick_scheduled = True
            self.call_soon(self.end_of_tick)

    def end_of_tick(self) -> None:
        """Commit the open batch, if the log is free, and let go what may go.

        Answers go together, so that a client that waits for them is woken once.
        """
        if self.state & MEMORY_FULL:
            self.max_memory.make_room()
        self.tick_scheduled = False
        if self.pause.is_over:
            self.pause.go_on()
        if self.state & TRACKED:
            self.tracker.broadcast()
        if self.outbox.entries:
            self.outbox.dispatch(None)
        number = self.open_number if self.tx.committable else 0
        if number and not self.log.busy:
            self._commit()
        if self.outbox.late:
            self.outbox.release_late()
        if self.free_answers:
            answers, self.free_answers = self.free_answers, []
            self.send_all(self.outbox.gather(answers) if self.outbox.told else answers)
        if self.tick_answers:
            answers, self.tick_answers = self.tick_answers, []
            if self.log.safe >= number:
                self.send_all(self.outbox.gather(answers) if self.outbox.told else answers)
            else:
                for client, data in answers:
                    self.hold(client, number, data)
        if self.waiting:
            self.release()
        if self.outbox.told:
            self.outbox.sent()

    def _send_all(self, answers: list[tuple[Client, bytes]]) -> None:
        """Answers go, each client's in order; ``server.native`` puts its own in this place."""
        sent = 0
        closing: list[Client] = []
        for client, data in answers:
            connection = client.connection
            if connection is not None:
                connection.write(data)
                sent += len(data)
                if client.state & CLOSING:
                    closing.append(client)
        self.stats.net_out += sent
        for client in closing:  # only now: a client may have several answers in the tick
            if client.connection is not None:
                client.connection.close()

    def send_earlier(self, client: Client) -> None:
        """Send now what waits of ``client`` for the end of the tick and needs no batch: something large follows."""
        self.send_all(_take(self.free_answers, client) + _take(self.tick_answers, client))

    def answers_in_tick(self, client: Client) -> bool:
        """Does an answer of ``client`` wait for the end of this tick?"""
        return any(owner is client for owner, _ in self.tick_answers + self.free_answers)

    def commit_now(self) -> None:
        """Commit the open batch in the middle of a turn, if the log is free; not inside of a group."""
        number = self.open_number
        if self.tx.records and not self.log.busy:
            self._commit()
            if self.log.safe < number:  # else what was answered in this tick may go at its end
                answers, self.tick_answers = self.tick_answers, []
                for client, data in answers:
                    self.hold(client, number, data)

    def _commit(self) -> None:
        log = self.log
        payload = self.tx.take()
        number = self.timings.commit(log, payload)
        self.open_number = number + 1
        if log.safe < number or self.state & TRACK_DIRTY:
            self._remember_dirty(payload)
            self.refresh_state()
            if self.tx.records:  # of a script that has not ended
                self._dirty_open.update(key for _, key in touched(self.tx.records, 0) if key is not None)
        if self.after_commit is not None:
            self.after_commit()

    def _remember_dirty(self, payload: bytes) -> None:
        """The batch just committed is in flight: its keys are dirty until it is safe."""
        if self.state & TRACK_DIRTY:
            self._dirty_in_flight, self._dirty_open = self._dirty_open, set()
            self._all_in_flight, self._all_open = self._all_open, False
        else:
            keys = touched([payload], 0)
            self._dirty_in_flight = {key for _, key in keys if key is not None}
            self._all_in_flight = any(key is None for _, key in keys)
        if self.log.safe >= self.open_number - 1:
            self._dirty_in_flight = set()
            self._all_in_flight = False

    def log_progressed(self) -> None:
        """The log became free, safe, refusing or healthy outside of ``commit``."""
        if self.log.safe >= self.open_number - 1:
            self._dirty_in_flight.clear()
            self._all_in_flight = False
        if self.timings.monitor.threshold_ms:
            self.timings.look_at_log(self.log)
        self.refresh_state()
        if self.in_command:
            # Now is the middle of someone's turn, perhaps of a group, which is never split between batches.
            self.schedule_tick()
        else:
            self.end_of_tick()

    def refresh_state(self) -> None:
        """Recompute the state bits that come from the log."""
        log = self.log
        track = log.busy or not log.inline or log.safe < self.open_number - 1 or self.tx.group_is_open
        if track and not self.state & TRACK_DIRTY and self.tx.records:
            keys = touched(self.tx.records, 0)
            self._dirty_open.update(key for _, key in keys if key is not None)
            self._all_open = self._all_open or any(key is None for _, key in keys)
        elif not track:
            self._dirty_open.clear()
            self._all_open = False
        if track and not self.state & TRACK_DIRTY:
            self.outbox.unknown_batch = self.open_number if self.tx.records else self.open_number - 1
        self.state = (
            self.state & ~(TRACK_DIRTY | LOG_REFUSES)
            | (TRACK_DIRTY if track else 0)
            | (LOG_REFUSES if log.refusing is not None or self.save_refusal else 0)
        )

    def release(self) -> None:
        """Send every held answer whose batch is safe."""
        safe = self.log.safe
        if safe == self._released:
            return
        self._released = safe
        waiting, self.waiting = self.waiting, []
        for client in waiting:
            held = client.held
            if not held:
                continue  # killed by a client whose answers went just now, and whose backlog ran then
            connection = client.connection
            if held[-1][0] <= safe and len(held) == 1:
                data = held[0][1]
                held.clear()
            else:
                count = 0
                while count < len(held) and held[count][0] <= safe:
                    count += 1
                data = b"".join([part for _, part in held[:count]])
                del held[:count]
            client.held_bytes -= len(data)
            if held:
                self.waiting.append(client)
            if connection is not None:
                connection.send_released(data)

    def background(self, job: Callable[[], object]) -> None:
        """Run ``job``, which may log (expiry ...), between commands; WATCH and dirty keys see what it touched."""
        if self.state & BUSY:
            return  # in the middle of a script
        records = self.tx.records
        before = len(records)
        self.tx.client = None
        db_index = self.tx.logged_db  # what the open batch has so far ended in; a new one begins with SELECT
        self.tx.select(0)
        job()
        if len(records) > before:
            if self.state & (TRACK_DIRTY | WATCHED | WAITED | OBSERVED):
                keys = [key or b"" for _, key in touched(records[before:], db_index)]
                self.wrote(records[before:], db_index, keys)
                self.need = 0
            self.schedule_tick()
        if self.waits.ready:
            self.waits.serve()


def _take(answers: list[tuple[Client, bytes]], client: Client) -> list[tuple[Client, bytes]]:
    """Take a client's answers out of ``answers``."""
    taken = [item for item in answers if item[0] is client]
    if taken:
        answers[:] = [item for item in answers if item[0] is not client]
    return taken
