"""Scripts that take long: on a C stack of their own, in slices, and everybody else is told -BUSY.

``run`` runs a command that may run Lua on a greenlet.  Most are done at once, and their
reply is returned.  The hook (``on_hook``) of one that has run for ``busy-reply-threshold``
switches back instead: the client is SUSPENDED, its answer comes later, the engine is BUSY,
and the loop resumes the script once a turn until it is done or killed.

What a turn is made of besides (client, database, protocol, time, ``engine.need``) is put
away and put back around a pause, so that nothing that others do meanwhile is seen.

The greenlet is kept for all runs, begun where the C stack is shallow: a new one for each
would cost ten times as much as switching to it.

It must not know: Lua.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from perdure.server import failures
from perdure.server.client import BUSY, SUSPENDED, Client
from perdure.server.scripting.machine import KILLED_FUNCTION, KILLED_SCRIPT
from perdure.server.scripting.run import Run, Stage
from perdure.store import script_errors
from perdure.store.command import RUNS_LUA, Command
from perdure.store.errors import CommandError

if TYPE_CHECKING:
    from perdure.server.engine import Engine

_PAUSED = object()


def may_take_long(client: Client, entry: Command) -> bool:
    """May the command run a script: EVAL and its kind, or an EXEC with one of them queued?"""
    if entry.flags & RUNS_LUA:
        return True
    return entry.name == b"EXEC" and any(queued.flags & RUNS_LUA for queued, _ in client.queue)


class Slices:
    """Who runs scripts for one engine."""

    def __init__(self, engine: Engine, stage: Stage) -> None:
        self.engine = engine
        self.stage = stage
        self.client: Client | None = None
        """Whose command is suspended."""
        self._runner: greenlet | None = None
        self._main: greenlet | None = None
        self._abandoned = False

    # ---- running ---------------------------------------------------------------------------

    def run(self, client: Client, entry: Command, argv: list[bytes]) -> bytes:
        """Run an admitted command; its reply, or b"" if the answer will come later."""
        self._main = getcurrent()
        runner = self._runner
        if runner is None or runner.dead:
            runner = self._runner = greenlet(self._work)
            runner.switch()
        result = runner.switch((entry, argv))
        if result is _PAUSED:
            self._suspend(client)
            return b""
        return _reply_of(result)

    def _work(self) -> None:
        """The greenlet: commands in, replies out."""
        result: Any = None
        while True:
            assert self._main is not None
            entry, argv = self._main.switch(result)
            try:
                result = self.engine.run(entry, argv)
            except Exception as failure:
                result = failure

    # ---- pauses ------------------------------------------------------------------------------

    def on_hook(self) -> int:
        """The script has run for some instructions more: why it must end, 0 if it need not."""
        run = self.stage.run
        if run is None:
            return 0
        if run.killed or self._abandoned:
            return KILLED_SCRIPT if run.is_eval else KILLED_FUNCTION
        server = self.engine.server
        threshold_ms = server.config["busy-reply-threshold"]
        if not threshold_ms or getcurrent() is not self._runner:
            return 0
        if self.client is None and run.client.connection is None:
            return 0  # nobody to answer later
        if (time.monotonic() - run.began_s) * 1000 < threshold_ms:
            return 0
        if not run.told_slow:
            run.told_slow = True
            kill = "SCRIPT KILL" if run.is_eval else "FUNCTION KILL"
            server.log.warning(
                f"Slow script detected: still in execution after {duration_ms(run)} milliseconds. "
                f"You can try killing the script using the {kill} command. "
                f"Script name is: {run.name.decode('utf-8', 'backslashreplace')}."
            )
        self._pause()
        if run.killed or self._abandoned:
            server.log.notice(f"Script killed by user with {'SCRIPT' if run.is_eval else 'FUNCTION'} KILL.")
            return KILLED_SCRIPT if run.is_eval else KILLED_FUNCTION
        return 0

    def _pause(self) -> None:
        """Give the loop a turn."""
        engine, tx = self.engine, self.engine.tx
        kept = tx.client, tx.db_index, tx.resp3, tx.now_ms, tx.clock_ms, engine.need
        assert self._main is not None
        self._main.switch(_PAUSED)
        tx.client, db_index, resp3, tx.now_ms, tx.clock_ms, engine.need = kept
        if tx.db_index != db_index:
            tx.select(db_index)
        if tx.resp3 is not resp3:
            tx.speak(resp3)

    def _suspend(self, client: Client) -> None:
        self.client = client
        client.state |= SUSPENDED
        self.engine.state |= BUSY
        self.engine.refresh_state()
        self.engine.call_soon(self._resume)

    def _resume(self) -> None:
        """Another slice."""
        client = self.client
        if client is None:
            return  # abandoned
        assert self._runner is not None
        self._main = getcurrent()
        result = self._runner.switch()
        if result is _PAUSED:
            self.engine.call_soon(self._resume)
            return
        need = self.engine.need
        self._awake(client)
        connection = client.connection
        if connection is None:
            self.engine.server.discard_transaction(client)
            self.engine.schedule_tick()
            return
        if isinstance(result, Exception):
            result = failures.internal_error(connection, b"(a script)", result)
        reply = self.engine.end_of_turn(client, result)
        connection.answer_late(self.engine.outbox.around(reply), max(need, self.engine.need))
        self.engine.schedule_tick()
        connection.resume()

    def _awake(self, client: Client) -> None:
        self.client = None
        client.state &= ~SUSPENDED
        self.engine.state &= ~BUSY
        self.engine.refresh_state()

    def abandon(self) -> None:
        """The process ends: drop what the suspended script has done, and end it."""
        client = self.client
        if client is None:
            return
        assert self._runner is not None
        self.engine.tx.drop_group()
        client.queue.clear()  # nothing more of an EXEC
        self._abandoned = True
        self._main = getcurrent()
        while self._runner.switch() is _PAUSED:
            pass
        self.engine.tx.drop_group()
        self._awake(client)

    # ---- killing -------------------------------------------------------------------------------

    def busy_text(self) -> bytes:
        """What everybody else is told."""
        run = self.stage.run
        return script_errors.BUSY_SCRIPT if run is None or run.is_eval else script_errors.BUSY_FUNCTION

    def kill(self, *, is_eval: bool) -> None:
        """SCRIPT KILL or FUNCTION KILL.  CommandError if there is nothing to kill, or it must not be."""
        run = self.stage.run
        if run is None or self.client is None:
            raise CommandError(script_errors.NOT_BUSY)
        if run.wrote:
            raise CommandError(script_errors.UNKILLABLE)
        if run.is_eval is not is_eval:
            raise CommandError(self.busy_text())
        run.killed = True


def duration_ms(run: Run) -> int:
    """How long a script runs already."""
    return int((time.monotonic() - run.began_s) * 1000)


def _reply_of(result: Any) -> bytes:
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]

