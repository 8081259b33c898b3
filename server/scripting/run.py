"""One run of a script or a function: what it may do, the commands in it, its reply.

``Stage`` knows whose run it is that Lua calls back to.  A run has a client of its own, so
that SELECT and ``redis.setresp`` in a script change nothing for its caller, and one group
of the log, unless EXEC's is open: MULTI ... EXEC around what it changed, nothing around a
single record.  If it fails half way, what it changed is kept and logged, as in stock.

Which answers must wait (ANSWER-AFTER) is told to the engine by each command inside, as
for EXEC.

It must not know: Lua, how a script is found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.server import disk_refusals
from perdure.server.client import LOG_REFUSES, NO_TOUCH, RESTRICTED, TRACKING, Client
from perdure.server.scripting.machine import Failed, LuaError, LuaFunction
from perdure.server.scripting.shebang import ALLOW_OOM, COMPATIBLE, NO_WRITES
from perdure.server.tx import ServerTx
from perdure.store import resp, script_errors
from perdure.store.command import DENYOOM, MAY_REPLICATE, NOSCRIPT, WRITE, Command, find
from perdure.store.errors import CommandError
from perdure.store.numbers import INT64_MAX, INT64_MIN

if TYPE_CHECKING:
    from perdure.server.engine import Engine, Hot

_GUARDED = NOSCRIPT | WRITE | MAY_REPLICATE | DENYOOM
_EXACT_INTEGERS = 10**15


class Run:
    """A script that runs now, for ``client``.  There is one object for all runs of a server, one behind the other.

    name
        its SHA-1, or the function's name
    hot
        the commands that may take the short way; none for a client whose rights must be looked at
    refused
        flags of commands that must not take it
    """

    __slots__ = (
        "allows_oom",
        "argv",
        "began_s",
        "client",
        "engine",
        "hot",
        "is_eval",
        "killed",
        "name",
        "read_only",
        "refused",
        "resp3",
        "session",
        "told_slow",
        "wrote",
    )

    def __init__(self, engine: Engine, session: Client) -> None:
        self.engine = engine
        self.session = session
        self.client = session
        self.hot: dict[bytes, Hot] = {}
        self.refused = 0
        self.name = b""
        self.argv: list[bytes] = []
        self.is_eval = True
        self.read_only = self.allows_oom = self.resp3 = False
        self.wrote = self.killed = self.told_slow = False
        self.began_s = 0.0

    def begin(self, client: Client, name: bytes, argv: list[bytes], flags: int, *, is_eval: bool, ro: bool) -> None:
        """The next script runs, with ``flags``; ``ro``: by a command that lets it only read."""
        engine = self.engine
        self.client = client
        self.name = name
        self.argv = argv
        self.is_eval = is_eval
        self.read_only = ro or bool(flags & NO_WRITES)
        self.allows_oom = bool(flags & ALLOW_OOM)
        self.hot = {} if client.state & RESTRICTED else engine.hot
        self.refused = NOSCRIPT
        if self.read_only:
            self.refused |= WRITE | MAY_REPLICATE
        if engine.out_of_memory:
            self.refused |= DENYOOM
        self.resp3 = self.wrote = self.killed = self.told_slow = False
        self.began_s = time.monotonic()
        session = self.session
        session.caller = client
        session.db_index = client.db_index
        session.resp3 = False
        session.user = client.user
        session.state = client.state & (NO_TOUCH | TRACKING)

    # ---- commands ------------------------------------------------------------------------

    def command(self, argv: list[bytes]) -> bytes:
        """Run a command of the script's; its reply.  LuaError if it is refused."""
        found = self.engine.hot.get(argv[0])
        if found is not None:
            entry = found[4]
            if not found[1] <= len(argv) <= found[2]:
                raise self._refused(entry, script_errors.SCRIPT_ARITY)
        else:
            entry = self._entry(argv)
        if entry.flags & _GUARDED:
            self._admit(entry, argv)
        elif self.client.state & RESTRICTED:
            self._guard(entry, argv)
        return self.engine.run(entry, argv)

    def _entry(self, argv: list[bytes]) -> Command:
        """A command that is none of the common ones."""
        entry = find(argv)
        if entry is None or (entry.subcommands and len(argv) > 1):
            raise self._refused(None, script_errors.SCRIPT_UNKNOWN_COMMAND)
        if not entry.arity_fits(len(argv)):
            raise self._refused(entry, script_errors.SCRIPT_ARITY)
        own_name = entry.name.partition(b"|")[0]
        if argv[0].upper() != own_name:
            argv[0] = own_name  # renamed: the log must know it by its own name
        return entry

    def _guard(self, entry: Command, argv: list[bytes]) -> None:
        refusal = self.engine.script_refusal(self.client, entry, argv)
        if refusal is not None:
            raise self._refused(entry, refusal)

    def _admit(self, entry: Command, argv: list[bytes]) -> None:
        """What may be said against a command that changes or enlarges something, in stock's order."""
        flags = entry.flags
        if flags & NOSCRIPT:
            raise self._refused(entry, script_errors.NOT_IN_SCRIPT)
        if self.client.state & RESTRICTED:
            self._guard(entry, argv)
        if self.read_only and flags & (WRITE | MAY_REPLICATE):
            raise self._refused(entry, script_errors.SCRIPT_IS_READ_ONLY)
        if not self.wrote:
            if flags & WRITE and self.engine.state & LOG_REFUSES:
                refusal = disk_refusals.of_writes(self.engine)
                if refusal is not None:
                    raise self._refused(entry, refusal)
            if flags & DENYOOM and self.engine.out_of_memory and not self.allows_oom:
                raise self._refused(entry, script_errors.OUT_OF_MEMORY)
        if flags & WRITE:
            self.wrote = True

    def _refused(self, entry: Command | None, text: bytes) -> LuaError:
        if entry is not None:
            entry.rejected_calls += 1
        self.engine.stats.count_error(text)
        return LuaError(text, is_table=True, counted=True)


class Stage:
    """Whose run Lua calls back to, and whose library it loads."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.registration: Any = None
        """What takes a library's functions while it is loaded."""
        self.log: Callable[[int, bytes], None] = lambda level, text: None
        self.on_hook: Callable[[], int] = lambda: 0


def arguments_of(arguments: tuple[Any, ...]) -> list[bytes]:
    """A command line of Lua values: strings as they are, numbers as stock prints them.  LuaError for others."""
    argv = list(arguments)
    if not argv:
        raise LuaError(script_errors.NO_SCRIPT_ARGUMENTS, is_table=True)
    for i, argument in enumerate(argv):
        if argument.__class__ is not bytes:
            argv[i] = _number_text(argument)
    return argv


def _number_text(value: Any) -> bytes:
    if value.__class__ is int:
        return b"%d" % value if -_EXACT_INTEGERS < value < _EXACT_INTEGERS else b"%.17g" % value
    if value.__class__ is float:
        return print_number(value)
    raise LuaError(script_errors.SCRIPT_ARGUMENT_TYPE, is_table=True)


def print_number(value: float) -> bytes:
    """A number as C prints it with 17 digits; Python has no ``-nan``."""
    return b"-nan" if value != value and math.copysign(1, value) < 0 else b"%.17g" % value


# ---- from its flags to its reply -------------------------------------------------------------


def check_flags(engine: Engine, flags: int, read_only_command: bool) -> None:
    """May a script with these flags run at all?  CommandError if not."""
    if flags & COMPATIBLE:
        return
    if not flags & NO_WRITES:
        if engine.state & LOG_REFUSES:
            refusal = disk_refusals.of_writes(engine)
            if refusal is not None and refusal is not engine.save_refusal:
                refusal = script_errors.writing_script_refused(refusal)
            if refusal is not None:
                raise CommandError(refusal)
        if read_only_command:
            raise CommandError(script_errors.WRITING_SCRIPT_IN_RO)
    if engine.out_of_memory and not flags & (ALLOW_OOM | NO_WRITES):
        raise CommandError(script_errors.SCRIPT_OUT_OF_MEMORY)


def run_script(
    stage: Stage, run: Run, invoke: Callable[[LuaFunction, list[bytes], int], Any], function: LuaFunction, keys: int
) -> bytes:
    """Run a function in the script's name (``Machine.evaluate`` or ``Machine.call``); the reply.

    CommandError if it fails and INFO has not counted that.
    """
    tx, client = run.engine.tx, run.client
    grouped = not tx.in_group
    if grouped:
        tx.begin_group(0)
    tx.client = run.session
    tx.may_block = False
    if tx.resp3:
        tx.speak(False)
    stage.run = run
    try:
        result = invoke(function, run.argv, keys)
    except Failed as failed:
        return _failure(run, failed)
    finally:
        stage.run = None
        if grouped:
            tx.end_group(one_bare=True)
        _give_back(tx, client)
    return _reply(run, result)


def _give_back(tx: ServerTx, client: Client) -> None:
    """The turn is the caller's again."""
    tx.client = client
    tx.may_block = True
    if tx.db_index != client.db_index:
        tx.select(client.db_index)
    if tx.resp3 is not client.resp3:
        tx.speak(client.resp3)


def _failure(run: Run, failed: Failed) -> bytes:
    """The reply to a script that ended with an error."""
    if failed.text is None:
        text = script_errors.script_failed(run.name, failed.reason)
    else:
        text = failed.text
        if failed.reason and failed.line:
            text = script_errors.at_script_line(text, run.name, failed.reason, failed.line)
    if failed.counted:
        _count_failure(run)
        return resp.error(text)
    raise CommandError(text)


def _count_failure(run: Run) -> None:
    """The script's reply has an error in it: so its command has failed."""
    entry = find(run.argv)
    if entry is not None:
        entry.failed_calls += 1


def _reply(run: Run, result: Any) -> bytes:
    """What a script returned, in its caller's protocol."""
    kind = result.__class__
    if kind is bytes:
        return resp.bulk(result)
    if kind is int:
        return resp.integer(result)
    client3 = run.client.resp3
    if kind is bool:
        if run.resp3:
            return resp.boolean(result, client3)
        return resp.ONE if result else (resp.NULL_3 if client3 else resp.NULL_2)
    if kind is float:
        return resp.integer(int(result) if INT64_MIN <= result < INT64_MAX else INT64_MIN)
    if kind is tuple:
        if result[2]:
            _count_failure(run)
        for text in result[3:]:
            run.engine.stats.count_error(text if b" " in text[:32] else b"ERR")
        return result[1]  # type: ignore[no-any-return]
    return resp.NULL_3 if client3 else resp.NULL_2
