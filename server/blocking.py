"""Clients that wait for keys (``store.blocking``): who waits for what, and when they are answered.

A wait is of one client, for one or several keys of its database.  Each key has a queue
of its waits in order of arrival.  A record of the log that touches such a key
(``server.touched``) makes it ready; ready keys are served in the order in which they
were touched, once the command, the transaction or the script that touched them has
ended (``serve``).  What a served client changes (BLMOVE pushes) may make other keys
ready, which are served behind them.

A queue is kept apart by what its waits want: the class of value that any of them can
take from, or None.  As long as the key holds a value of that class, whoever came first
is served; once it does not, nobody more of that queue is asked.  So one element that is
pushed costs one retry, however many wait.  A wait that wants None is asked whenever its
key is touched, also when it is gone (XREADGROUP).

A woken client's answer waits for the batch that holds what it took (ANSWER-AFTER), as
any answer.  What it pipelined behind the blocked command runs in a later turn of the loop.

Deadlines are in one heap with one timer on its earliest; entries of waits that ended
otherwise are dropped when they come up, or all at once when they are the most.

While nobody waits nothing of this runs: ``WAITED`` in the engine's state is what sends
writes the careful way.  Adding and ending a wait is O(k) for its k keys, and O(log n) for
its deadline among n.

Invariants (``_check``): a client that is ``BLOCKED`` has a wait, which stands in the
queue of each of its keys; no queue is empty; every wait with a deadline is in the heap.

It must not know: what commands wait for, sockets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from perdure.server import failures
from perdure.server.client import BLOCKED, BUSY, TRACK_DIRTY, WAITED, Client
from perdure.server.touched import EVERY_DATABASE, touched
from perdure.store import errors, resp
from perdure.store.blocking import FOR_EVER, Retry
from perdure.store.errors import CommandError

if TYPE_CHECKING:
    from perdure.server.connection import Connection
    from perdure.server.engine import Engine

Place = tuple[int, bytes]
_STALE_SLACK = 64
_LEAST_DELAY_S, _MOST_DELAY_S = 0.001, 86_400.0
"""What the timer is set to; a deadline that is farther away is looked at again."""


class Wait:
    """One client's waiting; ``places`` are the (database, key) it waits for."""

    __slots__ = ("argv", "client", "deadline_ms", "empty", "nanoseconds", "over", "places", "retry", "wants")

    def __init__(
        self, client: Client, places: list[Place], deadline_ms: int, retry: Retry, empty: bytes, wants: type | None
    ) -> None:
        self.client = client
        self.places = places
        self.deadline_ms = deadline_ms
        self.retry = retry
        self.empty = empty
        self.wants = wants
        self.over = False
        self.argv: list[bytes] = []
        self.nanoseconds = 0

    def began(self, argv: list[bytes], nanoseconds: int) -> None:
        """The command line, and what its first try took."""
        self.argv, self.nanoseconds = argv, nanoseconds


Queue = OrderedDict[Wait, None]


class Waits:
    """Everybody who waits; loop and clock are the server's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.count = 0
        self.with_deadline = 0
        self.ready: dict[Place, None] = {}
        """Keys that were touched since the last ``serve``, in that order."""
        self._queues: dict[Place, dict[type | None, Queue]] = {}
        self._names: dict[bytes, int] = {}
        """How many places have a key's name, whatever their database."""
        self._heap: list[tuple[int, int, Wait]] = []
        self._arrivals = 0
        self._timer: Any = None
        self._timer_ms = 0
        self._resuming: list[Connection] = []

    def __bool__(self) -> bool:
        return self.count > 0

    # ---- coming and going --------------------------------------------------------------

    def add(
        self,
        client: Client,
        keys: list[bytes],
        deadline_ms: int,
        retry: Retry,
        empty: bytes,
        wants: type | None,
    ) -> None:
        """``client`` waits from now on."""
        places = [(client.db_index, key) for key in dict.fromkeys(keys)]
        wait = client.wait = Wait(client, places, deadline_ms, retry, empty, wants)
        client.state |= BLOCKED
        for place in places:
            queues = self._queues.get(place)
            if queues is None:
                queues = self._queues[place] = {}
                self._names[place[1]] = self._names.get(place[1], 0) + 1
            queue = queues.get(wants)
            if queue is None:
                queue = queues[wants] = OrderedDict()
            queue[wait] = None
        self.count += 1
        self.engine.state |= WAITED
        if deadline_ms != FOR_EVER:
            self.with_deadline += 1
            self._arrivals += 1
            heappush(self._heap, (deadline_ms, self._arrivals, wait))
            self._set_timer()

    def forget(self, client: Client) -> None:
        """``client`` waits no more, and is not answered: it left."""
        if client.wait is not None:
            self._end(client.wait)

    def _end(self, wait: Wait) -> None:
        """Take a wait out of everything; its client may run commands again."""
        wait.over = True
        wait.client.wait = None
        wait.client.state &= ~BLOCKED
        for place in wait.places:
            queues = self._queues[place]
            queue = queues[wait.wants]
            del queue[wait]
            if not queue:
                del queues[wait.wants]
                if not queues:
                    del self._queues[place]
                    self._forget_name(place[1])
        self.count -= 1
        if not self.count:
            self.ready.clear()
            self.engine.state &= ~WAITED
        if wait.deadline_ms != FOR_EVER:
            self.with_deadline -= 1
            if len(self._heap) > 2 * self.with_deadline + _STALE_SLACK:
                self._heap = [entry for entry in self._heap if not entry[2].over]
                heapify(self._heap)

    def _forget_name(self, name: bytes) -> None:
        if self._names[name] > 1:
            self._names[name] -= 1
        else:
            del self._names[name]

    # ---- being served -------------------------------------------------------------------

    def concern(self, keys: list[bytes]) -> bool:
        """Could a command that touched only keys of these names (any if []) make one ready?"""
        return not keys or not self._names.keys().isdisjoint(keys)

    def touch(self, keys: Iterable[tuple[int, bytes | None]]) -> None:
        """These keys were changed: (database, key), None for every key, database -1 for all."""
        for db_index, key in keys:
            if key is None:
                for place in self._queues:
                    if db_index in (place[0], EVERY_DATABASE):
                        self.ready[place] = None
            elif (db_index, key) in self._queues:
                self.ready[db_index, key] = None

    def expired(self, db_index: int, key: bytes) -> None:
        """A key was found to have expired, perhaps by a read, behind which nobody asks for what is ready."""
        if (db_index, key) in self._queues:
            self.ready[db_index, key] = None
            self.engine.call_soon(self.serve)

    def serve(self) -> None:
        """Ask those who wait for keys that are ready; called between commands, at the time of the last one."""
        engine = self.engine
        if engine.state & BUSY or engine.pause.held:
            return  # in the middle of a script, or of a migration, behind which this is called again
        tx = engine.tx
        client, need = tx.client, engine.need
        while self.ready:
            place = next(iter(self.ready))
            del self.ready[place]
            for wants in list(self._queues.get(place, ())):
                self._serve_queue(place, wants)
        engine.need = need
        if client is None:
            tx.client = None
        elif tx.client is not client:
            engine.enter(client)
        if tx.records:
            engine.schedule_tick()

    def _serve_queue(self, place: Place, wants: type | None) -> None:
        queue = self._queues[place][wants]
        while queue and self._holds(place, wants):
            if not self._ask(next(iter(queue)), place):
                # It waits for more than there is; those behind it need not.
                for wait in list(queue)[1:]:
                    if not wait.over and self._holds(place, wants):
                        self._ask(wait, place)
                return

    def _holds(self, place: Place, wants: type | None) -> bool:
        """Has the key a value that those who want ``wants`` can take from?"""
        return wants is None or dict.get(self.engine.tx.keyspace.databases[place[0]], place[1]).__class__ is wants

    def _ask(self, wait: Wait, place: Place) -> bool:
        """Run a wait's retry in its client's name; was it answered?"""
        engine, client = self.engine, wait.client
        tx = engine.tx
        engine.enter(client)
        engine.need = 0
        records = tx.records
        before = len(records)
        began = perf_counter_ns()
        failed = False
        reply: bytes | None
        try:
            reply = wait.retry(tx, place[1])
        except CommandError as error:
            failed = True
            engine.stats.count_error(error.text)
            reply = resp.error(error.text)
        except Exception as failure:
            failed = True
            assert client.connection is not None, "who has left waits no more"
            reply = failures.internal_error(client.connection, _name(client), failure)
        if len(records) > before:
            changed = touched(records[before:], place[0])
            engine.wrote(records[before:], place[0], [key for _, key in changed if key is not None])
        elif engine.state & TRACK_DIRTY:
            engine.depend_on([place[1]])
        if reply is None:
            return False
        self._count(wait, perf_counter_ns() - began, failed)
        self._answer(wait, reply, engine.need)
        return True

    def _count(self, wait: Wait, nanoseconds: int, failed: bool) -> None:
        """Book a wait that is answered otherwise than for its time being over."""
        entry = wait.client.last_command
        if entry is not None:
            entry.failed_calls += failed
            self.engine.timings.unblocked(wait.client, entry, wait.argv, wait.nanoseconds, nanoseconds)

    def answer(self, wait: Wait, reply: bytes) -> None:
        """End a wait for something that is no key (``server.durability``) with its answer."""
        self._answer(wait, reply, 0)

    def _answer(self, wait: Wait, reply: bytes, need: int) -> None:
        """End a wait with its answer, which may go once batch ``need`` is safe."""
        self._end(wait)
        connection = wait.client.connection
        if connection is None:
            return
        connection.answer_late(reply, need)
        if not self._resuming:
            self.engine.call_soon(self._resume)
        self._resuming.append(connection)

    def _resume(self) -> None:
        """Let answered clients go on with what they sent behind the blocked command."""
        resuming, self._resuming = self._resuming, []
        for connection in resuming:
            connection.resume()

    # ---- ending otherwise ---------------------------------------------------------------

    def unblock(self, client: Client, with_error: bool) -> bool:
        """CLIENT UNBLOCK: answer as if the time were over, or with an error; did it wait?"""
        wait = client.wait
        if wait is None:
            return False
        if with_error:
            self.engine.stats.count_error(errors.UNBLOCKED)
            self._count(wait, 0, True)
            self._answer(wait, resp.error(errors.UNBLOCKED), 0)
        else:
            self._time_out(wait)
        return True

    def _time_out(self, wait: Wait) -> None:
        """Nothing came.  That may tell of what a batch that is not safe took away (ANSWER-AFTER)."""
        engine = self.engine
        before, engine.need = engine.need, 0
        if engine.state & TRACK_DIRTY:
            engine.depend_on([key for _, key in wait.places])
        need, engine.need = engine.need, before
        self._answer(wait, wait.empty, need)

    def _set_timer(self) -> None:
        """Have the timer run at the earliest deadline."""
        heap = self._heap
        while heap and heap[0][2].over:
            heappop(heap)
        if not heap or (self._timer is not None and self._timer_ms <= heap[0][0]):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = heap[0][0]
        server = self.engine.server
        delay_s = min(max((self._timer_ms - server.now_ms()) / 1000, _LEAST_DELAY_S), _MOST_DELAY_S)
        self._timer = server.loop.call_later(delay_s, self.time_passed)

    def time_passed(self) -> None:
        """Answer those whose deadline has passed."""
        self._timer = None
        heap, now_ms = self._heap, self.engine.server.now_ms()
        while heap and (heap[0][2].over or heap[0][0] <= now_ms):
            wait = heappop(heap)[2]
            if not wait.over:
                self._time_out(wait)
                heap = self._heap
        self._set_timer()

    def _check(self, clients: Iterable[Client]) -> None:
        waits = [client.wait for client in clients if client.wait is not None]
        assert all((client.wait is not None) == bool(client.state & BLOCKED) for client in clients)
        assert len(waits) == self.count
        expected: dict[Place, dict[type | None, set[Wait]]] = {}
        for wait in waits:
            assert not wait.over
            for place in wait.places:
                expected.setdefault(place, {}).setdefault(wait.wants, set()).add(wait)
        found = {
            place: {wants: set(queue) for wants, queue in queues.items()} for place, queues in self._queues.items()
        }
        assert found == expected
        assert sum(self._names.values()) == len(self._queues)
        timed = {wait for wait in waits if wait.deadline_ms != FOR_EVER}
        assert {entry[2] for entry in self._heap if not entry[2].over} == timed
        assert len(timed) == self.with_deadline
        assert len(self._heap) <= 2 * self.with_deadline + _STALE_SLACK + 1
        assert not timed or self._timer is not None
        assert bool(self.engine.state & WAITED) == bool(self)


def _name(client: Client) -> bytes:
    return b"" if client.last_command is None else client.last_command.lower_name
