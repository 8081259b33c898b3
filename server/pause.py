"""CLIENT PAUSE: commands are kept back for a while, and the keyspace stands still.

=======  ====================================================================
WRITE    writes, PUBLISH, and an EXEC with any of them, are kept back
ALL      every command is
=======  ====================================================================

The client of a command that is kept back is ``POSTPONED``: what it sends behind it
waits, too, and all of it goes on when the pause is over, in the order in which the
clients came, before anybody else is read from.  Who monitors is never kept back, and may not touch keys.

Meanwhile nothing expires: a key that is due is not shown, and stays where it is
(``keeps_expired``), unless a transaction that began the pause goes on to write.

A pause that meets another can only make it longer and stricter.

Keys that leave for another server (``server.migration``) are ``held`` meanwhile: whatever may
change one of them is kept back in the same way, all else runs.  A script and a flush may
change any key.  Who waits for keys (``server.blocking``) is not served, for what is served may
push to a key that is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perdure.server.client import IN_MULTI, MONITORING, PAUSED, POSTPONED, Client
from perdure.store.command import MAY_REPLICATE, READONLY, RUNS_LUA, WRITE, Command

if TYPE_CHECKING:
    from perdure.server.engine import Engine

CHANGES = WRITE | MAY_REPLICATE
USES_KEYS = CHANGES | READONLY
_OFF, PAUSE_WRITE, PAUSE_ALL = range(3)
_LONGEST_TIMER_S = 3600.0


def flags_of(client: Client, entry: Command) -> int:
    """The command's flags; those of the whole queue for EXEC."""
    flags = entry.flags
    if entry.name == b"EXEC" and client.state & IN_MULTI:
        for queued, _ in client.queue:
            flags |= queued.flags
    return flags


class Pause:
    """The pause that there is, if any."""

    __slots__ = ("_ends_ms", "_engine", "_kind", "_postponed", "_timer", "held", "is_over", "keeps_expired")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kind = _OFF
        self._ends_ms = 0
        self._timer: Any = None
        self._postponed: dict[Client, None] = {}
        self.held: Counter[bytes] = Counter()
        """Names of keys that must stay as they are, in whatever database, and by how many they are held."""
        self.keeps_expired = False
        """Does what runs now leave a key that is due where it is?"""
        self.is_over = False
        """Has a pause ended in this tick, and clients are to go on?"""

    def __len__(self) -> int:
        """How many clients wait for the end."""
        return len(self._postponed)

    def begin(self, kind: int, ends_ms: int) -> None:
        """Pause until ``ends_ms`` (unix ms) at least."""
        if ends_ms < self._engine.server.now_ms() and not self._kind:
            return
        self._kind = max(self._kind, kind)
        self._ends_ms = max(self._ends_ms, ends_ms)
        self._engine.state |= PAUSED
        self._set_timer()

    def end(self) -> None:
        """The pause is over: who was kept back goes on, once what runs now has ended."""
        self._kind = _OFF
        self._ends_ms = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._let_on()

    def _let_on(self) -> None:
        """Who was kept back tries again."""
        if not self._kind and not self.held:
            self.keeps_expired = False
            self._engine.state &= ~PAUSED
        self.is_over = bool(self._postponed)
        self._engine.schedule_tick()

    def hold(self, keys: Iterable[bytes]) -> None:
        """Nobody changes these keys until ``let_go``."""
        self.held.update(keys)
        self._engine.state |= PAUSED

    def let_go(self, keys: Iterable[bytes]) -> None:
        """These keys may be changed again, unless others hold them, too."""
        for key in keys:
            if self.held[key] > 1:
                self.held[key] -= 1
            else:
                del self.held[key]
        if not self.held and self._engine.waits.ready:
            self._engine.call_soon(self._engine.waits.serve)
        self._let_on()

    def _set_timer(self) -> None:
        server = self._engine.server
        if self._timer is not None:
            self._timer.cancel()
        delay_s = (self._ends_ms - server.now_ms() + 1) / 1000
        self._timer = server.loop.call_later(min(max(delay_s, 0.001), _LONGEST_TIMER_S), self.time_passed)

    def time_passed(self) -> None:
        """End the pause if its time is over."""
        self._timer = None
        if self._kind and self._ends_ms < self._engine.server.now_ms():
            self.end()
        elif self._kind:
            self._set_timer()

    def keeps_back(self, client: Client, entry: Command, argv: list[bytes], *, only_reads: bool = False) -> bool:
        """Must the command wait?  Then its client is postponed.  Asked while there is a pause, for what is admitted.

        ``only_reads``: it is a script that has promised not to write.
        """
        if self._kind and self._ends_ms < self._engine.server.now_ms():
            self.end()
        if not self._engine.state & PAUSED:
            return False
        changes = not only_reads and bool(flags_of(client, entry) & CHANGES)
        stopped = self._kind == PAUSE_ALL or (changes and (self._kind or self._may_change_held(client, entry, argv)))
        if client.state & MONITORING or not stopped:
            self.keeps_expired = not changes
            return False
        client.state |= POSTPONED
        self._postponed[client] = None
        return True

    def _may_change_held(self, client: Client, entry: Command, argv: list[bytes]) -> bool:
        lines = [(entry, argv)]
        if entry.name == b"EXEC" and client.state & IN_MULTI:
            lines = client.queue
        for queued, line in lines:
            if queued.flags & RUNS_LUA:
                return True
            if queued.flags & CHANGES:
                keys = queued.keys(line)
                if not self.held.keys().isdisjoint(keys) or (not keys and queued.flags & WRITE):
                    return True
        return False

    def go_on(self) -> None:
        """At the end of the tick: let the clients go on that were kept back; some may be kept back again."""
        self.is_over = False
        postponed, self._postponed = self._postponed, {}
        for client in postponed:
            client.state &= ~POSTPONED
        for client in postponed:
            if client.connection is not None:
                client.connection.resume()

    def forget(self, client: Client) -> None:
        """``client`` has gone."""
        self._postponed.pop(client, None)
        client.state &= ~POSTPONED

    def _check(self, clients: Iterable[Client]) -> None:
        assert {client for client in clients if client.state & POSTPONED} == set(self._postponed)
        assert bool(self._kind or self.held) == bool(self._engine.state & PAUSED)
        assert all(count > 0 for count in self.held.values())
