"""Generated lines of FUNCTION's writing commands.

They stand apart from the mix of all commands: libraries are no keys, and each keyspace that
loads one makes a Lua of its own.
"""

from __future__ import annotations

from oracle_lines import APART, Argv, Lines, generator

from perdure.server.scripting.payload import dump

_NAMES = ("a", "b", "c")


def _library(lines: Lines) -> bytes:
    """A library's code, sometimes none."""
    rng = lines.rng
    name, function = rng.choice(_NAMES), rng.choice("fgh")
    body = f"redis.register_function('{function}', function() return {rng.randrange(9)} end)"
    if rng.random() < 0.15:
        body = rng.choice(("", "x", "error()", "redis.register_function()"))
    head = "#!lua name=" + (name if rng.random() < 0.95 else rng.choice(("", "x-y", "a name=b")))
    return f"{head}\n{body}".encode()


@generator("FUNCTION|LOAD")
def load_arguments(lines: Lines) -> Argv:
    return [*lines.maybe(0.6, "REPLACE"), *lines.maybe(0.03, "junk"), _library(lines)]


@generator("FUNCTION|DELETE")
def delete_arguments(lines: Lines) -> Argv:
    return [lines.rng.choice(_NAMES).encode()]


@generator("FUNCTION|FLUSH")
def flush_arguments(lines: Lines) -> Argv:
    return lines.maybe(0.6, "ASYNC", "SYNC", "junk")


@generator("FUNCTION|RESTORE")
def restore_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    payload = dump([_library(lines) for _ in range(rng.randint(0, 2))])
    if rng.random() < 0.1:
        payload = payload[:-1]
    return [payload, *lines.maybe(0.7, "FLUSH", "APPEND", "REPLACE", "junk")]


APART |= {b"FUNCTION|LOAD", b"FUNCTION|DELETE", b"FUNCTION|FLUSH", b"FUNCTION|RESTORE"}
