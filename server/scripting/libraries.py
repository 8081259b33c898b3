"""Libraries of functions: data that survives a restart, kept beside the keyspace.

FUNCTION LOAD runs a library's code once, in an environment that has nothing but
``redis.register_function``, the log and constants; what it registered can be called by
FCALL.  Names of functions are unique over all libraries, upper and lower case being the
same; within one library they are not, then the first is the one that is called.

In the log a library is its FUNCTION LOAD line, and recovery runs it through here.  A change
is prepared whole (``prepare``: compiled, run, checked), then logged, then made (``put``), so a
library that does not load changes nothing.

It must not know: clients, commands.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

import lupa.lua51 as lupa

from perdure.server.scripting.api import Api
from perdure.server.scripting.machine import LOADED_TOO_LONG, LuaError, LuaFunction, Machine
from perdure.server.scripting.run import Stage
from perdure.server.scripting.shebang import FLAGS, library_head
from perdure.store import script_errors
from perdure.store.errors import CommandError

_NAME = re.compile(rb"[A-Za-z0-9_]+\Z")
_LOAD_SECONDS = 0.5
_ENTRY_BYTES = 300


class Function:
    """A function of a library; ``description`` is None if it has none."""

    __slots__ = ("callback", "description", "flags", "name")

    def __init__(self, name: bytes, callback: LuaFunction, flags: int, description: bytes | None) -> None:
        self.name = name
        self.callback = callback
        self.flags = flags
        self.description = description

    def flag_names(self) -> list[bytes]:
        """Its flags as FUNCTION LIST has them."""
        return [name for name in _SHOWN_FLAGS if self.flags & FLAGS[name]]


_SHOWN_FLAGS = (b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys")


class Library:
    """A library: its name, its code with the first line, its functions by name."""

    __slots__ = ("code", "functions", "name")

    def __init__(self, name: bytes, code: bytes) -> None:
        self.name = name
        self.code = code
        self.functions: dict[bytes, Function] = {}


class Libraries:
    """All libraries of a keyspace."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.by_name: dict[bytes, Library] = {}
        self._functions: dict[bytes, Function] = {}
        """By name in lower case."""
        self._machine: Machine | None = None
        self._loading_until_s = 0.0

    @property
    def machine(self) -> Machine:
        """The machine that libraries live on."""
        if self._machine is None:
            api = Api(self.stage)
            self._machine = Machine(
                for_eval=False, redis=api.for_functions(), loading=api.for_loading(), on_hook=self._on_hook
            )
            api.machine = self._machine
        return self._machine

    def _on_hook(self) -> int:
        if self._loading_until_s:
            return LOADED_TOO_LONG if time.monotonic() > self._loading_until_s else 0
        return self.stage.on_hook()

    # ---- changes ---------------------------------------------------------------------------

    def prepare(self, code: bytes, *, replace: bool, timed: bool = True) -> Library:
        """A library ready to be ``put``.  CommandError if it cannot be.  ``timed``: it must load in half a second."""
        head = library_head(code)
        if not _NAME.match(head.name):
            raise CommandError(script_errors.BAD_LIBRARY_NAME)
        if head.engine.upper() != b"LUA":
            raise CommandError(script_errors.no_engine(head.engine))
        if head.name in self.by_name and not replace:
            raise CommandError(script_errors.library_exists(head.name))
        library = Library(head.name, code)
        self._load(library, head.source, timed)
        if not library.functions:
            raise CommandError(script_errors.NO_FUNCTIONS)
        self.check_functions(library, {head.name})
        return library

    def check_functions(self, library: Library, without: set[bytes]) -> None:
        """CommandError if a function of ``library`` has the name of one here, libraries in ``without`` not counted."""
        taken = {
            name.lower() for other in self.by_name.values() if other.name not in without for name in other.functions
        }
        for name in library.functions:
            if name.lower() in taken:
                raise CommandError(script_errors.function_exists(name))

    def _load(self, library: Library, source: bytes, timed: bool) -> None:
        machine = self.machine
        try:
            function = machine.compile(source, b"@user_function", for_library=True)
        except LuaError as refusal:
            raise CommandError(script_errors.library_not_compiled(refusal.text)) from None
        self.stage.registration = lambda arguments: _register(library, arguments)
        self._loading_until_s = time.monotonic() + (_LOAD_SECONDS if timed else 1e9)
        try:
            machine.load(function)
        except LuaError as refusal:
            if machine.worn:
                self.renew()
            raise CommandError(script_errors.library_not_loaded(refusal.text)) from None
        finally:
            self.stage.registration = _refuse_registration
            self._loading_until_s = 0.0

    def put(self, library: Library) -> None:
        """Take a prepared library in, in the place of one of its name."""
        old = self.by_name.get(library.name)
        if old is not None:
            self.remove(old.name)
        self.by_name[library.name] = library
        for name, function in library.functions.items():
            self._functions.setdefault(name.lower(), function)

    def remove(self, name: bytes) -> None:
        """Take a library away that is there."""
        library = self.by_name.pop(name)
        for function in library.functions:
            self._functions.pop(function.lower(), None)

    def clear(self) -> None:
        """Take all away; the machine stays."""
        self.by_name.clear()
        self._functions.clear()

    def flush(self) -> None:
        """Take all away, and the machine with them."""
        self.clear()
        if self.stage.run is None:
            self._drop_machine()

    def _drop_machine(self) -> None:
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def renew(self) -> None:
        """A new machine, with the same libraries: the old one's memory was used up."""
        libraries = list(self.by_name.values())
        self.clear()
        for library in libraries:
            library.functions.clear()
        self._drop_machine()
        for library in libraries:
            self.put(self.prepare(library.code, replace=True, timed=False))

    def empty_beside(self) -> Libraries:
        """Room for libraries that may replace these, on the same machine."""
        beside = Libraries(self.stage)
        beside._machine = self.machine
        return beside

    def check_joins(self, others: Iterable[Library], *, replace: bool) -> None:
        """Check that ``others`` may be put here, in the place of those of their names if ``replace``.  CommandError."""
        names: set[bytes] = set()
        for library in others:
            if library.name in self.by_name:
                if not replace:
                    raise CommandError(script_errors.library_there(library.name))
                names.add(library.name)
        for library in others:
            self.check_functions(library, names)

    # ---- looking ---------------------------------------------------------------------------------

    def function(self, name: bytes) -> Function | None:
        """A function by its name in any case."""
        return self._functions.get(name.lower())

    def function_count(self) -> int:
        """How many functions all libraries have."""
        return sum(len(library.functions) for library in self.by_name.values())

    def codes(self) -> list[bytes]:
        """The source of each library: what a file has of them."""
        return [library.code for library in self.by_name.values()]

    def bytes_used(self) -> int:
        """What the libraries hold beside the machine, by and large."""
        return sum(len(library.code) + _ENTRY_BYTES * (1 + len(library.functions)) for library in self.by_name.values())

    def vm_bytes(self) -> int:
        """What the machine holds."""
        return 0 if self._machine is None else self._machine.memory_used()


def libraries_of(keyspace: Any) -> Libraries:
    """A keyspace's libraries; where no server put any, those of nobody in particular (replay, tests)."""
    if keyspace.libraries is None:
        keyspace.libraries = Libraries(Stage())
    libraries: Libraries = keyspace.libraries
    return libraries


# ---- registering -----------------------------------------------------------------------------------


def _refuse_registration(arguments: tuple[Any, ...]) -> None:
    raise LuaError(script_errors.REGISTERED_OUTSIDE_LOAD, is_table=True)


def _register(library: Library, arguments: tuple[Any, ...]) -> None:
    """redis.register_function for a library that is being loaded."""
    function = _function_of(arguments)
    if not _NAME.match(function.name):
        raise LuaError(script_errors.BAD_LIBRARY_NAME, is_table=True)
    if function.name in library.functions:
        raise LuaError(script_errors.REGISTERED_TWICE, is_table=True)
    library.functions[function.name] = function


def _function_of(arguments: tuple[Any, ...]) -> Function:
    if not 1 <= len(arguments) <= 2:
        raise LuaError(script_errors.REGISTER_ARGUMENTS, is_table=True)
    if len(arguments) == 1:
        if not _is_table(arguments[0]):
            raise LuaError(script_errors.REGISTER_NOT_A_TABLE, is_table=True)
        return _named_function(arguments[0])
    name, callback = _word(arguments[0]), arguments[1]
    if name is None:
        raise LuaError(script_errors.REGISTER_NAME, is_table=True)
    if not _is_function(callback):
        raise LuaError(script_errors.REGISTER_CALLBACK, is_table=True)
    return Function(name, callback, 0, None)


def _named_function(table: Any) -> Function:
    name = description = callback = None
    flags = 0
    for key, value in table.items():
        if _word(key) is None:
            raise LuaError(script_errors.REGISTER_KEY, is_table=True)
        key = _word(key).lower()  # type: ignore[union-attr]
        if key == b"function_name":
            name = _word(value)
            if name is None:
                raise LuaError(script_errors.REGISTER_FUNCTION_NAME, is_table=True)
        elif key == b"description":
            description = _word(value)
            if description is None:
                raise LuaError(script_errors.REGISTER_DESCRIPTION, is_table=True)
        elif key == b"callback":
            if not _is_function(value):
                raise LuaError(script_errors.REGISTER_NAMED_CALLBACK, is_table=True)
            callback = value
        elif key == b"flags":
            flags = _flags(value)
        else:
            raise LuaError(script_errors.REGISTER_UNKNOWN, is_table=True)
    if name is None:
        raise LuaError(script_errors.REGISTER_WITHOUT_NAME, is_table=True)
    if callback is None:
        raise LuaError(script_errors.REGISTER_WITHOUT_CALLBACK, is_table=True)
    return Function(name, callback, flags, description)


def _flags(value: Any) -> int:
    if not _is_table(value):
        raise LuaError(script_errors.REGISTER_FLAGS, is_table=True)
    flags = 0
    place = 1
    while (word := value[place]) is not None:
        name = _word(word)
        if name is None or name.lower() not in FLAGS:
            raise LuaError(script_errors.REGISTER_UNKNOWN_FLAG, is_table=True)
        flags |= FLAGS[name.lower()]
        place += 1
    return flags


def _word(value: Any) -> bytes | None:
    """A string, or a number as Lua makes one of it."""
    if value.__class__ is bytes:
        return value
    return b"%.14g" % value if value.__class__ is int or value.__class__ is float else None


def _is_table(value: Any) -> bool:
    return bool(lupa.lua_type(value) == "table")


def _is_function(value: Any) -> bool:
    return bool(lupa.lua_type(value) == "function")
