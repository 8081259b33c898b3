"""``docs/commands.md``: the command table as a page to read, made by ``make docs``.

``python -m perdure.server.command_page`` prints it.  Everything on it stands in the
table (``store.command``) or in ``server.differences``; the same table gives the same page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import perdure.server.commands  # noqa: F401  registers every command
from perdure.server import differences
from perdure.server.acl_categories import categories
from perdure.server.version import REDIS_VERSION
from perdure.store.command import FLAG_NAMES, LOGGED, Command

GROUPS: dict[str, str] = {
    "generic": "Keys",
    "string": "Strings",
    "bitmap": "Bits",
    "hash": "Hashes",
    "list": "Lists",
    "set": "Sets",
    "sorted-set": "Sorted sets",
    "geo": "Places",
    "stream": "Streams",
    "hyperloglog": "HyperLogLogs",
    "pubsub": "Publish and subscribe",
    "transactions": "Transactions",
    "scripting": "Scripts and functions",
    "connection": "Connections",
    "server": "Server",
    "cluster": "Cluster",
}
"""Groups in the order of the page, and their titles."""

_HEAD = f"""\
# Commands

Made by `make docs` from the command table; do not edit. Semantics are those of redis-server {REDIS_VERSION}, which the
tests compare with, except for what is listed here and at the commands as *Differs*.

In a syntax line `[...]` is optional, `<...>` is not, `|` chooses, and what ends with `...` may be repeated.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## Differences from stock", "\n".join(f"- {text}" for text in differences.GENERAL)]
    absent = differences.absent()
    if absent:
        parts.append("Commands of stock that are not here:")
        parts.append("\n".join(f"- {name}: {why}." for name, why in sorted(absent.items())))
    parts += ["## By group", "\n".join(_index())]
    for group, title in GROUPS.items():
        parts += [f"## {title}", *map(_described, _members(group))]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _members(group: str) -> list[Command]:
    """A group's commands, by name; the subcommands of one right behind it."""
    found: list[Command] = []
    for _, entry in sorted(LOGGED.items()):
        if entry.group == group:
            found += [entry, *(sub for _, sub in sorted(entry.subcommands.items()))]
    return found


def _index() -> Iterator[str]:
    for group, title in GROUPS.items():
        links = [f"[{_title(entry)}](#{_anchor(entry)})" for entry in _members(group) if b"|" not in entry.name]
        yield f"- **{title}**: {' '.join(links)}"


def _title(entry: Command) -> str:
    return entry.name.decode().replace("|", " ")


def _anchor(entry: Command) -> str:
    return _title(entry).lower().replace(" ", "-")


def _described(entry: Command) -> str:
    """One command."""
    name = _title(entry)
    lines = [f"### {name}", ""]
    if not entry.subcommands:
        lines += ["```", f"{name} {entry.syntax}".rstrip(), "```", ""]
    lines.append(entry.summary)
    lines.append("")
    facts = [f"since {entry.since}"]
    if entry.complexity and not entry.subcommands:
        facts.append(entry.complexity)
    lines.append(f"- {'; '.join(facts)}")
    flags = [text.decode() for bit, text in FLAG_NAMES.items() if entry.flags & bit]
    rights = " ".join(f"@{category}" for category in categories(entry))
    lines.append(f"- {' '.join(flags) or 'no flags'}; {rights}")
    if entry.deprecated_since:
        lines.append(f"- deprecated since {entry.deprecated_since}: {entry.replaced_by} does the same")
    lines += [f"- {since}: {change}" for since, change in entry.history]
    difference = differences.COMMANDS.get(entry.name.decode())
    if difference:
        lines += ["", f"*Differs*: {difference}"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())
