"""The slow log: the latest commands that took longer than ``slowlog-log-slower-than``.

An entry is made of what a client may see: at most 32 arguments of at most 128 bytes,
without secrets (``server.secrets``), so that the log's size is bounded by its length.
Who times commands, and which of them, is told in ``server.timings``.

It must not know: clocks, how commands run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

MOST_ARGUMENTS = 32
MOST_BYTES = 128
ENDLESS = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """One slow command; ``unix_s`` is when it had ended."""

    number: int
    unix_s: int
    us: int
    arguments: list[bytes]
    address: bytes
    client_name: bytes


def trimmed(argv: list[bytes]) -> list[bytes]:
    """A command line as an entry keeps it: what is left out is said in its place."""
    shown = argv if len(argv) <= MOST_ARGUMENTS else argv[: MOST_ARGUMENTS - 1]
    out = [
        word if len(word) <= MOST_BYTES else b"%b... (%d more bytes)" % (word[:MOST_BYTES], len(word) - MOST_BYTES)
        for word in shown
    ]
    if len(shown) < len(argv):
        out.append(b"... (%d more arguments)" % (len(argv) - len(shown)))
    return out


class SlowLog:
    """The entries, the latest first.  They are numbered since the start, whatever is dropped."""

    def __init__(self) -> None:
        self.most = 128
        self._entries: deque[Entry] = deque()
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, argv: list[bytes], us: int, unix_s: int, address: bytes, client_name: bytes) -> None:
        """A command took so long; nothing if the log is to have no entries."""
        if self.most <= 0:
            return
        self._entries.appendleft(Entry(self._next, unix_s, us, trimmed(argv), address, client_name))
        self._next += 1
        self.set_most(self.most)

    def set_most(self, most: int) -> None:
        """Keep so many entries from now on."""
        self.most = most
        while len(self._entries) > most:
            self._entries.pop()

    def latest(self, count: int) -> list[Entry]:
        """The latest ``count`` entries, all for ``ENDLESS``."""
        return list(self._entries if count == ENDLESS else islice(self._entries, count))

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()
