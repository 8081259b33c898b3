"""``maxmemory``: when memory is short, keys go, or writes are refused.

How it is noticed.  The log's gate is asked by the first record of each batch and, while there
is a limit, again for each ``_LOOK_EVERY`` bytes; so it sees growth, and it looks at the memory
used (``look``).  So do the clock, ten times a second, and a change of the limit.  If it is
short, the state has ``MEMORY_FULL``, which sends writes the careful way.  Without a limit none
of this costs anything.

What is done (``make_room``).  In front of each command that goes the careful way, and at the
end of the tick, keys go by ``store.eviction`` until enough is free or the time is over that
``maxmemory-eviction-tenacity`` gives; then the rest is done soon, and commands go on meanwhile,
as in stock.  If nothing can be freed, what may take memory is refused (``out_of_memory``).

A big value that is deleted, by whomever, is freed bit by bit; memory that is about to be free
is not short, so what there is of that is freed first.

What does not count: records that the log keeps until they are safe.

It must not know: how memory is counted, which keys go.
"""

from __future__ import annotations

from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING

from perdure.server.client import BUSY, IN_MULTI, LOADING, MEMORY_FULL, PAUSED, Client
from perdure.server.latency import EVICTION_CYCLE
from perdure.server.memory_use import Meter
from perdure.store import errors
from perdure.store.command import DENYOOM, Command
from perdure.store.errors import CommandError
from perdure.store.eviction import Evictor
from perdure.store.uses import LfuRules

if TYPE_CHECKING:
    from perdure.server.engine import Engine

_MOST_BETWEEN_LOOKS = 1 << 18
_LEAST_BETWEEN_LOOKS = 1 << 12
_STEP_GARBAGE = 100
_AGAIN_S = 0.001
_NEVER_REFUSED = frozenset({b"EXEC", b"DISCARD", b"QUIT", b"RESET"})
"""What is admitted in a transaction however much memory it takes; EXEC if nothing in it is refused."""


def time_limit_s(tenacity: int) -> float:
    """How long a step of eviction may take, as stock has it: up to 10 linear, then exponential, 100 without end."""
    if tenacity >= 100:
        return float("inf")
    us = 50.0 * tenacity if tenacity <= 10 else 500.0 * 1.15 ** (tenacity - 10)
    return us / 1e6


class MaxMemory:
    """The limit, and what is done about it.

    limit
        ``maxmemory`` in bytes, 0 for none
    look_every
        bytes of the log between two looks at the memory used
    """

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self.engine = engine
        self.meter = meter
        self.limit = 0
        self.look_every = 1 << 62
        self.evictor = Evictor()
        self.rules = LfuRules(engine.tx.rng)
        self.peak = 0
        self._step_s = time_limit_s(10)
        self._short_since = 0.0
        self._again = False

    # ---- the configuration -----------------------------------------------------------

    def set_limit(self, limit: int) -> None:
        """``maxmemory`` is another one."""
        self.limit = limit
        self.look_every = min(max(limit >> 8, _LEAST_BETWEEN_LOOKS), _MOST_BETWEEN_LOOKS) if limit else 1 << 62
        self.meter.watch_closely(limit > 0)
        self.look()

    def set_policy(self, policy: str) -> None:
        """``maxmemory-policy`` is another one."""
        tx = self.engine.tx
        self.evictor.follow(policy, tx.keyspace, tx, self.rules)
        self.look()

    def set_tenacity(self, tenacity: int) -> None:
        """``maxmemory-eviction-tenacity`` is another one."""
        self._step_s = time_limit_s(tenacity)

    # ---- how much is used ------------------------------------------------------------

    def used(self) -> int:
        """Bytes used now; the highest so far is remembered."""
        used = self.meter.used()
        if used > self.peak:
            self.peak = used
        return used

    def not_counted(self) -> int:
        """Bytes that go by themselves: what the log keeps."""
        log = self.engine.log
        kept = getattr(log, "lsn", 0) - getattr(log, "durable_lsn", 0)
        return int(kept) + sum(map(len, self.engine.tx.records))

    def excess(self) -> int:
        """How many bytes are used beyond the limit, 0 for none."""
        if not self.limit:
            return 0
        over = self.used() - self.limit
        return max(0, over - self.not_counted()) if over > 0 else 0

    def look(self) -> None:
        """Is memory short?  If so, what writes goes the careful way from now on."""
        engine = self.engine
        if engine.state & LOADING:
            return
        if self.excess():
            engine.state |= MEMORY_FULL
            engine.schedule_tick()
        elif engine.state & MEMORY_FULL:
            self._relieved()

    def _relieved(self) -> None:
        engine = self.engine
        engine.state &= ~MEMORY_FULL
        engine.out_of_memory = False
        if self._short_since:
            engine.stats.eviction_exceeded_s += perf_counter() - self._short_since
            self._short_since = 0.0

    def short_for_s(self) -> float:
        """For how long memory has been short by now."""
        return perf_counter() - self._short_since if self._short_since else 0.0

    # ---- what is done ----------------------------------------------------------------

    def refusal(self, client: Client, entry: Command) -> bytes | None:
        """Memory was short when last looked at: make room; why ``client``'s command is not admitted, or None."""
        if not self.make_room(client) and self.engine.log.refusing is None and self._takes_memory(client, entry):
            return errors.OUT_OF_MEMORY
        return None

    def _takes_memory(self, client: Client, entry: Command) -> bool:
        if client.state & IN_MULTI:
            if entry.name == b"EXEC":
                return any(queued.flags & DENYOOM for queued, _ in client.queue)
            return entry.name not in _NEVER_REFUSED
        return bool(entry.flags & DENYOOM)

    def make_room(self, client: Client | None = None) -> bool:
        """Free what is too much, for a while.  Is there room, or will there be soon?  Between commands only.

        ``client``: whose turn goes on behind it.
        """
        engine = self.engine
        if engine.state & (LOADING | PAUSED | BUSY):
            return True
        self.look()
        if not engine.state & MEMORY_FULL:
            return True
        room = True
        if self.evictor.evicts or engine.tx.keyspace.garbage:
            outcome: list[bool] = []
            began_ns = perf_counter_ns()
            engine.background(lambda: outcome.append(self._free()))
            engine.timings.sample(EVICTION_CYCLE, began_ns)
            room = outcome[0]
            if client is not None:
                engine.enter(client)
            self.look()
            if room and engine.state & MEMORY_FULL:
                self._go_on_soon()
        else:
            room = False
        if engine.state & MEMORY_FULL and not self._short_since:
            self._short_since = perf_counter()
        engine.out_of_memory = not room
        return room

    def _free(self) -> bool:
        """Free for as long as a step may take; False if nothing more can be freed although memory is short."""
        tx, keyspace = self.engine.tx, self.engine.tx.keyspace
        ends = perf_counter() + self._step_s
        evicts, weighed = self.evictor.evicts, not self.meter.exact
        goal = self.limit + self.not_counted()
        while self.used() > goal:
            if keyspace.garbage:
                keyspace.free_some(_STEP_GARBAGE)
            else:
                try:
                    gone = self.evictor.evict(tx, weighed) if evicts else 0
                except CommandError:
                    return False  # the log takes nothing, and says so to who writes
                if not gone:
                    return False
                self.engine.stats.evicted_keys += 1
                if weighed:
                    self.meter.adjust(-gone)
            if perf_counter() > ends:
                return True
        return True

    def _go_on_soon(self) -> None:
        if not self._again:
            self._again = True
            self.engine.server.loop.call_later(_AGAIN_S, self._go_on)

    def _go_on(self) -> None:
        self._again = False
        self.make_room()
