"""The functions of the ``redis`` table.

``redis.call`` and ``redis.pcall`` are one call into the run of the script; the others
check their arguments as stock does and say so in its words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from perdure.server.scripting.machine import LuaError, Machine, PythonFunctions
from perdure.server.scripting.run import Run, Stage, arguments_of
from perdure.server.scripting.values import lua_value
from perdure.store import script_errors
from perdure.store.command import WRITE, find
from perdure.store.errors import CommandError

if TYPE_CHECKING:
    from perdure.server.engine import Hot

_LARGE_BYTES = 1 << 20
_ERROR, _BULK = b"-$"
_ALL_TIMED = 100
_TIMED_ONE_IN = 16
_MEMBER_COST = 3
"""An array's small members take so many times their bytes in a reply, beyond what a string takes."""


class Api:
    """The table's functions for one machine, which is made with them: ``machine`` is set behind."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.machine: Machine

    def for_eval(self) -> PythonFunctions:
        """All that a script has."""
        return [
            *self.for_functions(),
            (b"replicate_commands", lambda *arguments: True),
            (b"breakpoint", lambda *arguments: False),
            (b"debug", lambda *arguments: None),
        ]

    def for_functions(self) -> PythonFunctions:
        """What a library's functions have."""
        return [
            (b"call", self._caller(catches=False)),
            (b"pcall", self._caller(catches=True)),
            (b"log", self.log),
            (b"sha1hex", self.sha1hex),
            (b"setresp", self.setresp),
            (b"set_repl", self.set_repl),
            (b"acl_check_cmd", self.acl_check_cmd),
        ]

    def for_loading(self) -> PythonFunctions:
        """What a library has while it is loaded."""
        return [(b"log", self.log), (b"register_function", self.register_function)]

    def _caller(self, *, catches: bool) -> Callable[..., Any]:
        """redis.call, which raises a command's error, or redis.pcall, which returns it."""
        stage = self.stage

        def call(*arguments: Any) -> Any:
            machine, run = self.machine, stage.run
            if machine.used() > machine.full_bytes:
                machine.make_room(0)
            try:
                if run is None:
                    raise LuaError(script_errors.NO_SCRIPT_RUNS, is_table=True)
                argv = arguments_of(arguments)
                engine = run.engine
                found = run.hot.get(argv[0])
                if (
                    found is None
                    or found[3] & (engine.state | run.session.state)
                    or not found[1] <= len(argv) <= found[2]
                    or found[4].flags & run.refused
                ):
                    reply = run.command(argv)
                else:
                    reply = _run_hot(run, found, argv)
                if reply[0] == _BULK and len(reply) <= _LARGE_BYTES:
                    start = reply.index(b"\n") + 1
                    if start < len(reply):
                        return reply[start:-2]
                if reply[0] == _ERROR:
                    raise LuaError(reply[1:-2], is_table=True, counted=True)
                if len(reply) > _LARGE_BYTES:
                    machine.make_room(len(reply) if reply[0] == _BULK else _MEMBER_COST * len(reply))
                return lua_value(machine, reply, run.resp3)
            except LuaError as refusal:
                if catches and refusal.is_table:
                    return machine.failure(refusal.text, refusal.counted)
                raise

        return call

    # ---- the others ----------------------------------------------------------------------------

    def log(self, *arguments: Any) -> None:
        """redis.log(level, text, ...)"""
        if len(arguments) < 2:
            raise LuaError(script_errors.LOG_ARGUMENTS, is_table=True)
        level = _number(arguments[0])
        if level is None:
            raise LuaError(script_errors.LOG_LEVEL_NOT_A_NUMBER, is_table=True)
        if not 0 <= int(level) <= 3:
            raise LuaError(script_errors.LOG_LEVEL_UNKNOWN, is_table=True)
        words = [text for text in map(_text, arguments[1:]) if text is not None]
        self.stage.log(int(level), b" ".join(words))

    def sha1hex(self, *arguments: Any) -> bytes:
        """redis.sha1hex(text)"""
        if len(arguments) != 1:
            raise LuaError(script_errors.WRONG_NUMBER_OF_ARGUMENTS, is_table=True)
        return hashlib.sha1(_text(arguments[0]) or b"").hexdigest().encode()

    def setresp(self, *arguments: Any) -> None:
        """redis.setresp(2 or 3): the protocol of replies inside of the script"""
        if len(arguments) != 1:
            raise LuaError(script_errors.SETRESP_ARGUMENTS, is_table=True)
        version = _number(arguments[0])
        if version is None or int(version) not in (2, 3):
            raise LuaError(script_errors.SETRESP_VERSION, is_table=True)
        run = self.stage.run
        if run is not None:
            run.resp3 = run.session.resp3 = int(version) == 3
            run.engine.tx.speak(run.resp3)
            self.machine.speak(run.client.resp3, run.resp3)

    def set_repl(self, *arguments: Any) -> None:
        """redis.set_repl(flags): checked, and without effect: what changes memory is logged (LOG-FIRST)"""
        if len(arguments) != 1:
            raise LuaError(script_errors.SET_REPL_ARGUMENTS, is_table=True)
        flags = int(_number(arguments[0]) or 0)
        if flags & ~3:
            raise LuaError(script_errors.SET_REPL_FLAGS, is_table=True)

    def acl_check_cmd(self, *arguments: Any) -> bool:
        """redis.acl_check_cmd(command, argument ...): may the script's caller run this?"""
        argv = arguments_of(arguments)
        entry = find(argv)
        if entry is None or (entry.subcommands and len(argv) > 1):
            raise LuaError(script_errors.ACL_CHECK_UNKNOWN_COMMAND, is_table=True)
        run = self.stage.run
        user = None if run is None else run.client.user
        return user is None or user.denial(entry, argv) is None

    def register_function(self, *arguments: Any) -> None:
        """redis.register_function(name, callback) or (a table of named arguments)"""
        self.stage.registration(arguments)


def _run_hot(run: Run, found: Hot, argv: list[bytes]) -> bytes:
    """The short way of a common command, as a client's (``server.connection``); one in some calls is timed, for all."""
    entry = found[4]
    if entry.flags & WRITE:
        run.wrote = True
    entry.calls = calls = entry.calls + 1
    slow = len(argv) > found[5] or calls <= _ALL_TIMED
    began = perf_counter_ns() if slow or not calls % _TIMED_ONE_IN else 0
    try:
        return found[0](run.engine.tx, argv)
    except CommandError as error:
        entry.failed_calls += 1
        run.engine.stats.count_error(error.text)
        raise LuaError(error.text, is_table=True, counted=True) from None
    finally:
        if began:
            took = perf_counter_ns() - began
            run.engine.timings.took(entry, argv, took, 1 if slow else _TIMED_ONE_IN)


def _number(value: Any) -> float | None:
    if value.__class__ is int or value.__class__ is float:
        return None if value != value or value in (float("inf"), float("-inf")) else value
    if value.__class__ is bytes:
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _text(value: Any) -> bytes | None:
    """What Lua makes of a string or a number."""
    if value.__class__ is bytes:
        return value
    return b"%.14g" % value if value.__class__ is int or value.__class__ is float else None
