"""What clients are told unasked: pub/sub messages, keyspace events, invalidations, lines of MONITOR.

While a command runs, whoever has something to say puts it here (``add``), in order.
It is put behind the answers of its client in the tick, so that what goes to a client in
a tick is still one write.  Where that is not all that it must wait for (ANSWER-AFTER),
``dispatch`` sees to it when the whole command has ended: a message that a transaction
sends is part of the transaction, and must not be out if a crash undoes it.

Which batch must be safe before a message goes
----------------------------------------------

nobody looks at keys (no ``TRACK_DIRTY``)   the open batch, if there is one: it is written at the end of the tick
a message of a client (PUBLISH), a line     the last batch that an answer to the client had to wait for, what is held
of MONITOR                                  of the command itself included: what it has read or written, it may tell
about a key (events, invalidations)         the open batch, in which the change stands
``TRACK_DIRTY`` has just begun              the batch that was open then: nobody knows who wrote it

Order: a message stands before the answer to the command that sent it, if its sender
gets it, too; an invalidation and a line of MONITOR stand behind it.  An invalidation
that must wait goes on its own (``late``) and holds up nothing that its client is
answered: to hear of a change later than of the new value costs a cached key, no more.

What a transaction sends to its own client stands behind the answer to EXEC, which is
one array; stock of 7.0 puts it between the array's members, where it is taken for one.

It must not know: what is said.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from perdure.server import output_limits
from perdure.server.client import CLOSING, TRACK_DIRTY, Client

if TYPE_CHECKING:
    from perdure.server.engine import Engine

MESSAGE, LINE, INVALIDATION = range(3)
Answers = list[tuple[Client, bytes]]


class Outbox:
    """Where all of that waits until its command has ended."""

    __slots__ = ("about_keys", "before", "behind", "engine", "entries", "late", "told", "unknown_batch")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.entries: list[tuple[Client, bytes, int]] = []
        """(who is told, what, ``MESSAGE`` ...), in order."""
        self.about_keys = False
        """Is any of the entries about a change of a key?"""
        self.before: list[bytes] = []
        """What the client whose command has ended is told itself, before and behind the answer."""
        self.behind: list[bytes] = []
        self.late: deque[tuple[int, Client, bytes]] = deque()
        """(batch that must be safe, who is told, what), the batches in order."""
        self.told: dict[Client, None] = {}
        """Who is told something in this tick."""
        self.unknown_batch = 0
        """The batch of which nobody knows who wrote it, see above."""

    def add(self, client: Client, data: bytes, kind: int) -> None:
        """Tell ``client`` something once the command that runs has ended, and what it needs is safe."""
        if client.state & CLOSING:
            return
        engine = self.engine
        client.pushed_bytes += len(data)
        if client is engine.tx.client or client.held or engine.state & TRACK_DIRTY:
            self.entries.append((client, data, kind))
        else:  # the tick and its batch are all that it can need
            self.told[client] = None
            engine.tick_answers.append((client, data))
        if not engine.tick_scheduled:
            engine.schedule_tick()
        if client.pushed_bytes > engine.server.limits.listener_check_bytes:
            self._check_limit(client)

    def dispatch(self, sender: Client | None) -> None:
        """The command of ``sender`` (None: something by the clock) has ended: all entries on their way."""
        entries, self.entries = self.entries, []
        number = self._number(sender)
        self.about_keys = False
        tracks = self.engine.state & TRACK_DIRTY
        is_exec = sender is not None and sender.last_command is not None and sender.last_command.name == b"EXEC"
        for client, data, kind in entries:
            if client is sender:
                client.pushed_bytes -= len(data)
                (self.before if kind == MESSAGE and not is_exec else self.behind).append(data)
            elif kind == INVALIDATION and number and tracks:
                client.pushed_bytes -= len(data)
                self.late.append((number, client, data))
            else:
                self._push(client, number, data)

    def _number(self, sender: Client | None) -> int:
        """The batch that must be safe first, 0 for none."""
        engine = self.engine
        opened = engine.open_number if engine.tx.records else 0
        if not engine.state & TRACK_DIRTY:
            return opened
        number = max(engine.need, self.unknown_batch)
        if sender is None:
            number = opened or engine.open_number - 1
        elif self.about_keys:
            number = max(number, opened)
        else:
            number = max(number, sender.needed)
        return number if number > engine.log.safe else 0

    def around(self, reply: bytes) -> bytes:
        """The answer to the command that ended, with what its client is told itself."""
        if not self.before and not self.behind:
            return reply
        out = b"".join((*self.before, reply, *self.behind))
        self.before.clear()
        self.behind.clear()
        return out

    def _push(self, client: Client, number: int, data: bytes) -> None:
        """Put something, counted already, behind a client's answers; it may go once batch ``number`` is safe."""
        engine = self.engine
        if client.state & CLOSING:
            return
        if client.held or (engine.state & TRACK_DIRTY and (number or engine.tick_answers)):
            engine.hold(client, number, data)
            client.pushed_bytes -= len(data)
            self._check_limit(client)
            return
        self.told[client] = None
        (engine.free_answers if engine.state & TRACK_DIRTY else engine.tick_answers).append((client, data))
        engine.schedule_tick()

    def _check_limit(self, client: Client) -> None:
        server = self.engine.server
        if client.pushed_bytes + client.held_bytes > server.limits.listener_check_bytes:
            output_limits.check(server, client)

    # ---- the tick ------------------------------------------------------------------------

    def release_late(self) -> None:
        """Invalidations whose batch is safe by now, on their way."""
        safe = self.engine.log.safe
        while self.late and self.late[0][0] <= safe:
            _, client, data = self.late.popleft()
            client.pushed_bytes += len(data)
            self._push(client, 0, data)

    def gather(self, answers: Answers) -> Answers:
        """One piece for each client, so that it is written to once."""
        pieces: dict[Client, list[bytes]] = {}
        for client, data in answers:
            pieces.setdefault(client, []).append(data)
        return [(client, b"".join(parts)) for client, parts in pieces.items()]

    def sent(self) -> None:
        """The tick is over: who takes too little of what it is told?"""
        told, self.told = self.told, {}
        for client in told:
            client.pushed_bytes = 0
            if client.connection is not None and client.connection.paused:
                output_limits.check(self.engine.server, client)

    def forget(self, client: Client) -> None:
        """``client`` has gone."""
        self.told.pop(client, None)
