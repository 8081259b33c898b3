"""ACL categories: which commands belong to each, by the one command table.

Commands are named by their own names (``CONFIG|GET``), whatever ``rename-command``
made of them, so that rules mean the same on every server.

It must not know: users, rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from perdure.store import command as table
from perdure.store.command import LOGGED, Command

CATEGORIES = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
    "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
)  # fmt: skip
"""In the order in which ACL CAT and COMMAND INFO list them."""

_IMPLIED = (
    (table.WRITE, "write"),
    (table.READONLY, "read"),
    (table.ADMIN, "admin"),
    (table.ADMIN, "dangerous"),
    (table.PUBSUB, "pubsub"),
    (table.BLOCKING, "blocking"),
)


def categories(entry: Command) -> list[str]:
    """A command's ACL categories, those that its flags imply included, in stock's order."""
    found = set(entry.acl)
    if "scripting" not in found:
        found |= {name for flag, name in _IMPLIED if entry.flags & flag}
    found.add("fast" if entry.flags & table.FAST else "slow")
    return [name for name in CATEGORIES if name in found]


def own_commands() -> Iterator[Command]:
    """Every command by its own name, containers right before their subcommands, sorted."""
    for _, entry in sorted(LOGGED.items()):
        yield entry
        for _, sub in sorted(entry.subcommands.items()):
            yield sub


def command_named(name: bytes) -> Command | None:
    """The command of an own name in any case: ``get``, ``config|get``."""
    container, bar, sub = name.upper().partition(b"|")
    entry = LOGGED.get(container)
    if entry is None or not bar:
        return entry
    return entry.subcommands.get(sub)


def with_subcommands(entry: Command) -> list[bytes]:
    """What a rule about a command is about: the command, and all of a container's."""
    return [entry.name, *(sub.name for sub in entry.subcommands.values())]


@cache
def every_name() -> frozenset[bytes]:
    """The names of all commands."""
    return frozenset(entry.name for entry in own_commands())


@cache
def members(category: str) -> frozenset[bytes]:
    """The commands of a category."""
    return frozenset(entry.name for entry in own_commands() if category in categories(entry))


@cache
def reach(category: str) -> frozenset[bytes]:
    """What ``+@category`` is about: its commands, and all that the containers among them hold."""
    found: set[bytes] = set()
    for entry in own_commands():
        if category in categories(entry):
            found.update(with_subcommands(entry))
    return frozenset(found)
