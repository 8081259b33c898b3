"""ACL LOG: what was denied lately, the latest first.

What happens again within a minute of its entry (same reason, context, thing and
user) counts on that entry, if it is among the last ten, and brings it to the front.
At most ``acllog-max-len`` entries are kept.

It must not know: users' rights, the wire.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from perdure.server.acl_user import AUTH, CHANNEL, COMMAND, KEY

REASONS = {COMMAND: b"command", KEY: b"key", CHANNEL: b"channel", AUTH: b"auth"}
TOP_LEVEL, IN_TRANSACTION, IN_SCRIPT = b"toplevel", b"multi", b"lua"
"""Where it happened."""

_SAME_WITHIN_MS = 60_000
_LOOK_AT = 10


@dataclass(slots=True)
class Entry:
    """What was denied, as ACL LOG has it; ``last_ms``: unix time of the latest."""

    kind: int
    context: bytes
    thing: bytes
    user: bytes
    client: bytes
    last_ms: int
    count: int = 1

    def is_about(self, other: Entry) -> bool:
        """Is it the same that happened again?"""
        return (
            (self.kind, self.context, self.thing, self.user) == (other.kind, other.context, other.thing, other.user)
            and abs(self.last_ms - other.last_ms) <= _SAME_WITHIN_MS
        )  # fmt: skip


class AclLog:
    """The entries."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()

    def add(self, entry: Entry, most: int) -> None:
        """Something was denied; keep ``most`` entries.  O(1), and what ``most`` was lowered by."""
        entries = self.entries
        for at in range(min(_LOOK_AT, len(entries))):
            known = entries[at]
            if known.is_about(entry):
                del entries[at]
                known.client, known.last_ms = entry.client, entry.last_ms
                known.count += 1
                entries.appendleft(known)
                return
        entries.appendleft(entry)
        while len(entries) > most:
            entries.pop()

    def latest(self, count: int) -> list[Entry]:
        """At most ``count`` entries, the latest first."""
        return [self.entries[at] for at in range(min(max(count, 0), len(self.entries)))]
