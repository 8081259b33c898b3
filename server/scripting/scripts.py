"""What a server has of Lua: the cache of scripts, the machine for them, and who runs now.

A script is kept by its SHA-1 and found by its text, too, so that EVAL of a known text
hashes nothing.  Its compiled form belongs to a machine and is made anew when the machine
is (SCRIPT FLUSH, or its memory was used up).

It must not know: functions of libraries.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from perdure.server.client import Client
from perdure.server.scripting.api import Api
from perdure.server.scripting.libraries import Libraries
from perdure.server.scripting.machine import LuaError, LuaFunction, Machine
from perdure.server.scripting.run import Run, Stage, check_flags, run_script
from perdure.server.scripting.shebang import COMPATIBLE, NO_WRITES, flags_of
from perdure.server.scripting.slices import Slices
from perdure.server.tx import ServerTx
from perdure.store import script_errors
from perdure.store.command import Command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer

if TYPE_CHECKING:
    from perdure.server.server import Server

_ENTRY_BYTES = 200
"""What a script costs beside its text, by and large."""
_LOG_LEVELS = ("debug", "verbose", "notice", "warning")
SHA1_DIGITS = 40


class Script:
    """A script of the cache."""

    __slots__ = ("body", "flags", "function", "sha1", "source")

    def __init__(self, body: bytes, sha1: bytes, flags: int, source: bytes) -> None:
        self.body = body
        self.sha1 = sha1
        self.flags = flags
        self.source = source
        self.function: LuaFunction = None
        """Compiled by the machine that runs scripts now; None if that is to be done yet."""


class Scripts:
    """Scripts and libraries of one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stage = Stage()
        self.stage.log = self._log
        self.slices = Slices(server.engine, self.stage)
        self.stage.on_hook = self.slices.on_hook
        session = Client(0, None, time.time())
        session.address = b"lua"
        self._run = Run(server.engine, session)
        self.by_sha1: dict[bytes, Script] = {}
        self._by_body: dict[bytes, Script] = {}
        self._machine: Machine | None = None
        self.libraries = Libraries(self.stage)
        server.keyspace.libraries = self.libraries

    def _log(self, level: int, text: bytes) -> None:
        write = getattr(self.server.log, _LOG_LEVELS[level])
        write(text.decode("utf-8", "backslashreplace"))

    # ---- the cache -------------------------------------------------------------------------

    @property
    def machine(self) -> Machine:
        """The machine that scripts run on, a new one if there is none that can be trusted."""
        machine = self._machine
        if machine is None or machine.worn:
            self._drop_machine()
            api = Api(self.stage)
            machine = self._machine = Machine(
                for_eval=True, redis=api.for_eval(), loading=[], on_hook=self.stage.on_hook
            )
            api.machine = machine
        return machine

    def take(self, body: bytes) -> Script:
        """The script of a text, compiled and kept.  CommandError if it is none."""
        script = self._by_body.get(body)
        if script is None:
            flags, source = flags_of(body)
            script = Script(body, hashlib.sha1(body).hexdigest().encode(), flags, source)
            self._compile(script)
            self._by_body[body] = self.by_sha1[script.sha1] = script
        return script

    def _compile(self, script: Script) -> None:
        try:
            script.function = self.machine.compile(script.source, b"@user_script")
        except LuaError as refusal:
            raise CommandError(script_errors.script_not_compiled(refusal.text)) from None

    def only_reads(self, entry: Command, argv: list[bytes]) -> bool:
        """Has the script or function of a command line promised not to write?"""
        if entry.name.startswith(b"FCALL"):
            function = self.libraries.function(argv[1])
            return function is not None and bool(function.flags & NO_WRITES)
        if entry.name.startswith(b"EVALSHA"):
            script = self.by_sha1.get(argv[1].lower())
            return script is not None and bool(script.flags & NO_WRITES)
        try:
            return bool(flags_of(argv[1])[0] & NO_WRITES)
        except CommandError:
            return False

    def flush(self) -> None:
        """Forget all scripts."""
        if self.stage.run is None:
            self._drop_machine()
        self.by_sha1.clear()
        self._by_body.clear()

    # ---- running -----------------------------------------------------------------------------

    def evaluate(self, tx: ServerTx, script: Script, argv: list[bytes], keys: int, *, read_only: bool) -> bytes:
        """Run a script for the client whose turn it is; the reply."""
        flags = script.flags
        if flags != COMPATIBLE:
            check_flags(self.server.engine, flags, read_only)
        machine = self.machine
        if script.function is None:
            self._compile(script)
        run = self._run
        run.begin(tx.session, script.sha1, argv, flags, is_eval=True, ro=read_only)
        return self._run_on(machine, machine.evaluate, script.function, keys)

    def call(self, tx: ServerTx, argv: list[bytes], *, read_only: bool) -> bytes:
        """FCALL: run a function of a library; the reply."""
        function = self.libraries.function(argv[1])
        if function is None:
            raise CommandError(script_errors.FUNCTION_NOT_FOUND)
        keys = number_of_keys(argv, script_errors.BAD_NUMBER_OF_KEYS)
        check_flags(self.server.engine, function.flags, read_only)
        machine = self.libraries.machine
        run = self._run
        run.begin(tx.session, function.name, argv, function.flags, is_eval=False, ro=read_only)
        return self._run_on(machine, machine.call, function.callback, keys)

    def _run_on(self, machine: Machine, invoke: Any, function: LuaFunction, keys: int) -> bytes:
        protocol = self._run.client.resp3
        if machine.client_resp3 is not protocol or machine.script_resp3:
            machine.speak(protocol, False)
        try:
            return run_script(self.stage, self._run, invoke, function, keys)
        except LuaError as refusal:
            raise CommandError(_text_of(refusal)) from None
        finally:
            if machine.worn:
                self._replace(self._run.is_eval)

    def _replace(self, is_eval: bool) -> None:
        """A machine's memory was used up: let go of all of it now."""
        if is_eval:
            self._drop_machine()
        else:
            self.libraries.renew()

    def _drop_machine(self) -> None:
        for script in self.by_sha1.values():
            script.function = None
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    # ---- INFO ------------------------------------------------------------------------------------

    def script_bytes(self) -> int:
        """What the cache holds, by and large."""
        return sum(map(len, self._by_body)) + _ENTRY_BYTES * len(self._by_body)

    def vm_bytes(self) -> int:
        """What the scripts' machine holds."""
        return 0 if self._machine is None else self._machine.memory_used()


def _text_of(refusal: LuaError) -> bytes:
    """The reply's text for what could not even begin."""
    return script_errors.LUA_MEMORY if refusal.text == script_errors.LUA_NO_MEMORY else refusal.text


def number_of_keys(argv: list[bytes], not_a_number: bytes) -> int:
    """The number of keys on a command line of EVAL or FCALL.  CommandError if it is none."""
    keys = 0 if argv[2] == b"0" else 1 if argv[2] == b"1" else parse_integer(argv[2], not_a_number)
    if keys > len(argv) - 3:
        raise CommandError(script_errors.TOO_MANY_KEYS)
    if keys < 0:
        raise CommandError(script_errors.NEGATIVE_KEYS)
    return keys
