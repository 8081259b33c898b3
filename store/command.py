"""The command table: one entry for each command, and everything that is known of it.

``@command`` registers a handler ``(tx, argv) -> reply``.  Arity, flags, key
positions, ACL categories, group, version, complexity and summary stand in the
decorator and nowhere else: dispatch, COMMAND INFO / DOCS / GETKEYS, ACL CAT and
the documentation come out of this table.

Invariants (``_check``): names are upper case, a container's subcommands have
names ``CONTAINER|SUB``; a write command has key positions or says that it has
none on purpose (FLUSHALL ...); every command has a summary.

It must not know: connections, configuration, the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Handler = Callable[[Any, list[bytes]], bytes]
KeyFinder = Callable[[list[bytes]], list[bytes]]

# Flags are plain ints: the engine tests them for every command.  The order is that
# in which COMMAND INFO lists their names.
WRITE = 1 << 0
READONLY = 1 << 1
DENYOOM = 1 << 2
ADMIN = 1 << 3
PUBSUB = 1 << 4
NOSCRIPT = 1 << 5
BLOCKING = 1 << 6
LOADING = 1 << 7
"""Allowed while the keyspace loads."""
STALE = 1 << 8
SKIP_MONITOR = 1 << 9
SKIP_SLOWLOG = 1 << 10
ASKING = 1 << 11
FAST = 1 << 12
NO_AUTH = 1 << 13
"""Allowed before authentication."""
MAY_REPLICATE = 1 << 14
"""Not a write, but kept back with the writes (CLIENT PAUSE WRITE); COMMAND INFO does not show it."""
NO_MANDATORY_KEYS = 1 << 15
NO_ASYNC_LOADING = 1 << 16
NO_MULTI = 1 << 17
MOVABLE_KEYS = 1 << 18
ALLOW_BUSY = 1 << 19
RUNS_LUA = 1 << 20
"""Of our own, shown to nobody: the command may take long in the middle of its run, see ``server.scripting``."""
PROTECTED = 1 << 21
"""Shown to nobody, as in stock: the command runs only if the configuration allows it, see ``server.protected``."""

FLAG_NAMES: dict[int, bytes] = {
    WRITE: b"write",
    READONLY: b"readonly",
    DENYOOM: b"denyoom",
    ADMIN: b"admin",
    PUBSUB: b"pubsub",
    NOSCRIPT: b"noscript",
    BLOCKING: b"blocking",
    LOADING: b"loading",
    STALE: b"stale",
    SKIP_MONITOR: b"skip_monitor",
    SKIP_SLOWLOG: b"skip_slowlog",
    ASKING: b"asking",
    FAST: b"fast",
    NO_AUTH: b"no_auth",
    NO_MANDATORY_KEYS: b"no_mandatory_keys",
    NO_ASYNC_LOADING: b"no_async_loading",
    NO_MULTI: b"no_multi",
    MOVABLE_KEYS: b"movablekeys",
    ALLOW_BUSY: b"allow_busy",
}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where a command's keys stand, and what it does to them (stock's key specifications).

    ``begin`` is ("index", n), ("keyword", word, start) or ("unknown",); ``find`` is
    ("range", lastkey, step, limit), ("keynum", numkeys_index, first, step) or ("unknown",).
    """

    flags: tuple[str, ...]
    begin: tuple[Any, ...]
    find: tuple[Any, ...]
    notes: str = ""


@dataclass(slots=True)
class Command:
    """One entry of the table.

    ``arity`` as in stock: the number of arguments with the name, negative for "at least".
    ``first_key, last_key, key_step`` as in stock: (0, 0, 0) for no keys, a negative
    ``last_key`` counts from the end.  ``find_keys`` finds them where positions do not say it.
    ``syntax`` is the arguments behind the name, as the documentation prints them:
    ``key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]``, ``key [key ...]``;
    COMMAND DOCS makes its argument tree of it.
    The counters are the engine's.
    """

    name: bytes
    handler: Handler
    arity: int
    flags: int
    keys_at: tuple[int, int, int] = (0, 0, 0)
    find_keys: KeyFinder | None = None
    key_specs: tuple[KeySpec, ...] = ()
    group: str = "generic"
    since: str = "1.0.0"
    summary: str = ""
    complexity: str = ""
    acl: tuple[str, ...] = ()
    syntax: str = ""
    history: tuple[tuple[str, str], ...] = ()
    tips: tuple[str, ...] = ()
    doc_flags: tuple[str, ...] = ()
    replaced_by: str = ""
    deprecated_since: str = ""
    subcommands: dict[bytes, Command] = field(default_factory=dict)
    calls: int = 0
    nanoseconds: int = 0
    rejected_calls: int = 0
    failed_calls: int = 0
    durations: dict[int, int] = field(default_factory=dict)

    @property
    def lower_name(self) -> bytes:
        """The full name as error texts and INFO have it: ``config|get``."""
        return self.name.lower()

    def arity_fits(self, n: int) -> bool:
        """May a command line of ``n`` arguments, the name included, be this command?"""
        return n == self.arity if self.arity > 0 else n >= -self.arity

    def keys(self, argv: list[bytes]) -> list[bytes]:
        """The keys named on a command line whose arity fits."""
        if self.find_keys is not None:
            return self.find_keys(argv)
        first, last, step = self.keys_at
        if not first:
            return []
        if last < 0:
            last += len(argv)
        return argv[first : last + 1 : step]

    @property
    def reads_beyond_keys(self) -> bool:
        """Does it read keys that no look at the command line finds (SORT BY)?"""
        return any(spec.begin[0] == "unknown" and "RO" in spec.flags for spec in self.key_specs)

    def written_keys(self, argv: list[bytes]) -> list[bytes]:
        """Those of ``keys`` that the command line can change: not the sources of COPY and SUNIONSTORE."""
        specs = self.key_specs
        if all("RO" not in spec.flags for spec in specs) or any(
            "RO" not in spec.flags and (spec.begin[0] != "index" or spec.find[0] != "range") for spec in specs
        ):
            return self.keys(argv)
        found: list[bytes] = []
        for spec in specs:
            if "RO" not in spec.flags:
                first, (last, step) = spec.begin[1], spec.find[1:3]
                found += argv[first : (last + len(argv) if last < 0 else first + last) + 1 : step]
        return found or self.keys(argv)


TABLE: dict[bytes, Command] = {}
"""Top-level commands by the upper-case name that clients call them by (``rename``)."""

LOGGED: dict[bytes, Command] = {}
"""The same by the name that the log knows them by, whatever clients call them."""


def command(name: str, *, arity: int, flags: int, **facts: Any) -> Callable[[Handler], Handler]:
    """Register a handler as ``NAME`` or as the subcommand ``CONTAINER|NAME``; see ``Command`` for the facts."""

    def register(handler: Handler) -> Handler:
        entry = Command(name.upper().encode(), handler, arity, flags, **facts)
        container, bar, sub = entry.name.partition(b"|")
        table = LOGGED[container].subcommands if bar else LOGGED
        key = sub if bar else entry.name
        if key in table:
            raise ValueError(f"command {name} is registered twice")
        table[key] = entry
        if not bar:
            TABLE[key] = entry
        return handler

    return register


def rename(name: bytes, new_name: bytes) -> str:
    """Have clients call a command by ``new_name``, or not at all (b""); the reason why not, or ""."""
    entry = TABLE.pop(name.upper(), None)
    if entry is None:
        return "No such command in rename-command"
    if new_name:
        if new_name.upper() in TABLE:
            return "Target command name already exists"
        TABLE[new_name.upper()] = entry
    return ""


def find(argv: list[bytes], table: dict[bytes, Command] = TABLE) -> Command | None:
    """The entry for a command line, the subcommand's where there is one; None if unknown.

    A container with an unknown or missing subcommand gives the container itself.
    """
    entry = table.get(argv[0].upper())
    if entry is not None and entry.subcommands and len(argv) > 1:
        return entry.subcommands.get(argv[1].upper(), entry)
    return entry


def every_command() -> list[Command]:
    """All entries, containers before their subcommands, by name."""
    out: list[Command] = []
    for name in sorted(TABLE):
        out.append(TABLE[name])
        out += [sub for _, sub in sorted(TABLE[name].subcommands.items())]
    return out


def _check() -> None:
    """Assert the table's invariants."""
    for entry in every_command():
        assert entry.name == entry.name.upper(), entry.name
        assert entry.summary and entry.summary.endswith("."), entry.name
        assert entry.complexity or entry.subcommands, entry.name
        assert entry.arity != 0 or entry.subcommands, entry.name
        assert not (entry.flags & WRITE and entry.flags & READONLY), entry.name
        for name, sub in entry.subcommands.items():
            assert sub.name == entry.name + b"|" + name
