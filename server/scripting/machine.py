"""One Lua: its sandbox, the bound on its memory, and calls into it.

Python functions that scripts call are C functions to Lua (``python.as_function``): a
position in front of a message, and the frame that an error is laid to, come out as in
stock, whose functions are C functions, too.  They refuse with ``LuaError``; the sandbox
makes of it what a script may catch.

Memory.  Lua's allocator refuses beyond ``MEMORY_BYTES``; inside of Lua that is an error that
ends the script.  What Python pushes is pushed without Lua's protection, and must not fail:
Lua would jump over Python's frames, and with them over the giving back of the interpreter's
lock.  So whoever comes from Lua first makes sure of ``MARGIN_BYTES`` (``is_full``,
``make_room``), and of more before something large is pushed; if they cannot be had, the
limit is lifted and the script ends.  References to Lua's tables, which are made before any
code of ours runs, have their places beforehand.  After such an end the machine is not
trusted: its owner makes a new one.

It must not know: commands, the keyspace, clients.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

import lupa.lua51 as lupa

from perdure.server.scripting import builtins
from perdure.server.version import REDIS_VERSION
from perdure.store import script_errors

MEMORY_BYTES = 256 << 20
MARGIN_BYTES = 32 << 20
_OURS = b"=\x01"
_PROTECT = b"function(f) return function(...) return pcall(f, ...) end end"
_SMALL_BYTES = 1 << 20
_REFERENCES = 256
"""Tables and functions of Lua that Python may hold at once without Lua's having to make room for one."""
_COST = 3
"""What a pushed byte may cost at most: the string, and a buffer that it is built in."""
KILLED_SCRIPT, KILLED_FUNCTION, LOADED_TOO_LONG = 1, 2, 3
"""Why a hook ends what runs; the sandbox has the texts, as nothing may be pushed where memory may be used up."""
_MOST_ARGUMENTS = 256
"""So many keys and arguments are pushed one by one; more go as tables."""

LuaFunction = Any
LuaTable = Any
PythonFunctions = list[tuple[bytes, Callable[..., Any]]]


class LuaError(Exception):
    """What a function refuses with, inside of Lua.

    ``text`` is the message; ``is_table`` makes the value a table with the text in ``err``, which is how errors of
    commands are told from others, and which has no position.  ``counted``: INFO's counters of errors know it already.
    """

    def __init__(self, text: bytes, is_table: bool = False, counted: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.is_table = is_table
        self.counted = counted


class Failed(Exception):
    """A script ended with an error; what its reply is made of.  ``text`` None: ``reason`` says why there is none."""

    def __init__(self, text: bytes | None, reason: bytes, line: bytes | None, counted: bool) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        """The source where it happened, if ``text`` is there."""
        self.line = line
        self.counted = counted


def source_of(name: str) -> bytes:
    """One of our Lua sources."""
    source = pkgutil.get_data("perdure.server.scripting", f"lua/{name}.lua")
    assert source is not None, name
    return source


def whole_version(text: str) -> int:
    """``7.0.15`` as REDIS_VERSION_NUM has it: a byte a part."""
    major, minor, patch = map(int, text.split("."))
    return major << 16 | minor << 8 | patch


class Machine:
    """A Lua with its sandbox.

    for_eval
        KEYS and ARGV are globals; a machine for libraries has none
    redis, loading
        the functions of the ``redis`` table, and of the one that a library is loaded with
    on_hook
        called every so many instructions: 0 lets the script go on, ``KILLED_SCRIPT`` ... end it
    """

    def __init__(
        self,
        *,
        for_eval: bool,
        redis: PythonFunctions,
        loading: PythonFunctions,
        on_hook: Callable[[], int],
    ) -> None:
        self.runtime = lupa.LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            max_memory=MEMORY_BYTES,
        )
        self.used: Callable[[], int] = self.runtime.get_memory_used
        self.full_bytes = MEMORY_BYTES - MARGIN_BYTES
        """More than this must not be used when anything is pushed."""
        self.table_from: Callable[..., LuaTable] = self.runtime.table_from
        self._where: LuaFunction = None
        self._protected: LuaFunction = None
        self._collect: LuaFunction = None
        host = {
            b"explain": self._explain,
            b"hook": on_hook,
            b"wrapped": self._wrapped,
            b"redis": redis,
            b"loading": loading,
            b"struct": self._guarded(builtins.functions("struct", self.positioned)),
            b"bit": self._guarded(builtins.functions("bit", self.positioned)),
            b"for_eval": for_eval,
            b"version": REDIS_VERSION.encode(),
            b"version_number": whole_version(REDIS_VERSION),
        }
        libraries = {
            name.encode(): self.runtime.execute(source_of(name), name=_OURS)
            for name in ("math", "cjson", "cmsgpack", "replies")
        }
        self._protected = self.runtime.eval(_PROTECT, name=_OURS)
        inside = self.runtime.execute(
            source_of("sandbox"), self.runtime.table_from(host), self.runtime.table_from(libraries), name=_OURS
        )
        self.runtime.execute(b"debug = nil")  # lupa looks for debug.traceback in every call
        self._where = inside[b"where"]
        self._compile = inside[b"compile"]
        self._eval, self._eval_tables = inside[b"eval"], inside[b"eval_tables"]
        self._call, self._call_tables = inside[b"call"], inside[b"call_tables"]
        self._load = inside[b"load"]
        self._collect = inside[b"collect"]
        self._protocol: LuaFunction = inside[b"protocol"]
        self.client_resp3 = self.script_resp3 = False
        self.status: LuaFunction = inside[b"status"]
        self.failure: LuaFunction = inside[b"failure"]
        self.worn = False
        """Did its memory run out?  Then it is to be replaced."""
        del inside, libraries, host
        references = [self.table_from(()) for _ in range(_REFERENCES)]
        del references

    # ---- running -------------------------------------------------------------------------------

    def compile(self, source: bytes, name: bytes, *, for_library: bool = False) -> LuaFunction:
        """A source as a function.  LuaError with the compiler's message if it is none."""
        self.make_room(len(source))
        compiled = self._compile(source, name, for_library)
        if compiled.__class__ is tuple:
            raise LuaError(compiled[1])
        return compiled

    def evaluate(self, function: LuaFunction, argv: list[bytes], keys: int) -> Any:
        """Run a compiled script; ``argv`` from the third argument on are ``keys`` keys, then arguments.

        Returns a string, a number, a boolean, None, or (True, the reply of a table, is an error in it,
        texts of errors to be counted ...).
        Failed if the script ended with an error.
        """
        if self.is_full():
            self.make_room(0)
        try:
            if len(argv) > _MOST_ARGUMENTS or sum(map(len, argv)) > _SMALL_BYTES:
                return self._finished(self._eval_tables(function, *self._tables(argv, keys)))
            return self._finished(self._eval(function, keys, *argv[3:]))
        except lupa.LuaError as error:
            raise self._broken(error) from None

    def call(self, function: LuaFunction, argv: list[bytes], keys: int) -> Any:
        """The same for a library's function."""
        if self.is_full():
            self.make_room(0)
        try:
            if len(argv) > _MOST_ARGUMENTS or sum(map(len, argv)) > _SMALL_BYTES:
                return self._finished(self._call_tables(function, *self._tables(argv, keys)))
            return self._finished(self._call(function, keys, *argv[3:]))
        except lupa.LuaError as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> Failed:
        """What is raised outside of the script: no memory is left for its error, or a fault of the sandbox."""
        self.worn = True
        if isinstance(error, lupa.LuaMemoryError):
            return Failed(script_errors.LUA_MEMORY, b"", None, False)
        return Failed(None, str(error).encode("utf-8", "backslashreplace"), None, False)

    def _tables(self, argv: list[bytes], keys: int) -> tuple[LuaTable, LuaTable]:
        self.make_room(sum(map(len, argv)) + 64 * len(argv))
        return self.table_from(argv[3 : 3 + keys]), self.table_from(argv[3 + keys :])

    def _finished(self, result: Any) -> Any:
        if result.__class__ is tuple and result[0] is False:
            _, text, reason, line, counted = (*result, None, None, None)[:5]
            if text is None and reason == script_errors.LUA_NO_MEMORY:
                self.worn = True
                raise Failed(script_errors.LUA_MEMORY, b"", None, False)
            raise Failed(text, reason, line, bool(counted))
        return result

    def speak(self, client_resp3: bool, script_resp3: bool) -> None:
        """Which protocols the client and the script speak from now on, for tables that become replies."""
        self.client_resp3, self.script_resp3 = client_resp3, script_resp3
        self._protocol(client_resp3, script_resp3)

    def load(self, function: LuaFunction) -> None:
        """Run a library's code.  LuaError with its message if it fails."""
        try:
            result = self._load(function)
        except lupa.LuaError as error:
            raise LuaError(self._broken(error).text or b"ERR execution failure") from None
        if result.__class__ is tuple:
            if result[1].endswith(script_errors.LUA_NO_MEMORY):
                self.worn = True
            raise LuaError(result[1])

    def close(self) -> None:
        """Let go of Lua and all of its memory.

        Lua holds functions of ours, and these hold functions of Lua's: Lua's collector finds that nobody needs
        either once we need none, in as many rounds as there are layers.
        """
        collect = self._collect
        self.__dict__.clear()
        for _ in range(4):
            collect()

    # ---- memory ---------------------------------------------------------------------------------

    def is_full(self) -> bool:
        """Is there less than the margin left?"""
        return self.used() > self.full_bytes

    def make_room(self, nbytes: int) -> None:
        """See that ``nbytes`` can be pushed; LuaError that ends the script if not."""
        needed = nbytes * _COST + MARGIN_BYTES
        if self.used() + needed <= MEMORY_BYTES:
            return
        self.runtime.set_max_memory(0)  # whatever happens now, nothing fails
        self._collect()
        if self.used() + needed > MEMORY_BYTES:
            self.worn = True
            raise LuaError(script_errors.LUA_NO_MEMORY)
        self.runtime.set_max_memory(MEMORY_BYTES)

    def memory_used(self) -> int:
        """Bytes that it holds, the sandbox included."""
        return int(self.runtime.get_memory_used(total=True))

    # ---- functions of ours ------------------------------------------------------------------------

    def positioned(self, text: bytes) -> LuaError:
        """An error with the script's position in front, as C functions of Lua's raise it."""
        place: bytes = self._where()
        return LuaError(place + text)

    def _wrapped(self, function: LuaFunction) -> Callable[..., Any]:
        """A function written in Lua as one that is a C function to the script."""
        protected = self._protected(function)

        def call(*arguments: Any) -> Any:
            if self.is_full():
                self.make_room(0)
            result = protected(*arguments)
            if result is True:
                return None
            if result[0] is True:
                value = result[1] if len(result) == 2 else result[1:]
                self.make_room(_bytes_in(value))
                return value
            if self.is_full():
                self.runtime.set_max_memory(0)  # the error must get out
                self.worn = True
            error = result[1]
            if error.__class__ is not bytes:
                raise LuaError(error[b"err"], is_table=True)
            if error == script_errors.LUA_NO_MEMORY:
                raise LuaError(error)
            raise self.positioned(error)

        return call


    def _guarded(self, functions: PythonFunctions) -> PythonFunctions:
        """Functions that look first whether there is room for what they push."""

        def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                if self.is_full():
                    self.make_room(0)
                result = function(*arguments)
                size = _bytes_in(result)
                if size > _SMALL_BYTES:
                    self.make_room(size)
                return result

            return call

        return [(name, guarded(function)) for name, function in functions]

    def _explain(self, error: object) -> tuple[bytes | None, bool, bool]:
        """What an error value is to a script: its text, is it a table, is it counted; no text for what is Lua's own."""
        if self.is_full():
            self.runtime.set_max_memory(0)  # the error must get out
            self.worn = True
        return explain(error)


def _bytes_in(value: Any) -> int:
    """What a value to be pushed, or several, take of memory, by and large."""
    if value.__class__ is bytes:
        return len(value)
    if value.__class__ is tuple:
        return sum(len(member) for member in value if member.__class__ is bytes) + 16 * len(value)
    return 0


def explain(error: object) -> tuple[bytes | None, bool, bool]:
    """What a Python exception is to a script: its text, is it a table, is it counted; no text for anything else."""
    if isinstance(error, LuaError):
        return error.text, error.is_table, error.counted
    if isinstance(error, MemoryError):
        return script_errors.LUA_NO_MEMORY, False, False
    if isinstance(error, BaseException):
        return b"ERR " + str(error).encode("utf-8", "backslashreplace"), True, False
    return None, False, False
