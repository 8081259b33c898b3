"""A client: what the server remembers of one connection.

State bits that keep a client off the hot path are in ``state``; the engine has
bits of its own that concern everyone.  A command whose gate has a bit in common
with either goes the careful way (``engine.execute``).

``held`` is the client's answers in order that may not go yet: (number of the batch
that must be safe first, bytes); what follows a held answer waits behind it with
number 0 (ANSWER-AFTER).

It must not know: how commands work, what is in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.server.acl_user import User
    from perdure.server.blocking import Wait
    from perdure.server.connection import Connection
    from perdure.server.pubsub import Subscriptions
    from perdure.server.tracking import Tracking
    from perdure.store.command import Command

# Why a command may not take the hot path.  The client's reasons:
NEEDS_AUTH = 1 << 0
IN_MULTI = 1 << 1
REPLY_OFF = 1 << 2
CLOSING = 1 << 3
NO_TOUCH = 1 << 4
BLOCKED = 1 << 5
"""It waits for keys (``server.blocking``); what it sends meanwhile is kept."""
POSTPONED = 1 << 6
"""Its next command waits for the end of a pause (``server.pause``); what it sends meanwhile is kept."""
SUBSCRIBED = 1 << 7
TRACKING = 1 << 10
"""It is told of changes of keys that it has read (``server.tracking``)."""
MONITORING = 1 << 11
RESTRICTED = 1 << 15
"""Its user may not do everything, so it is looked at what each command does."""
SUSPENDED = 1 << 20
"""Its script takes long and runs in slices (``server.scripting``); what it sends meanwhile is kept."""
# The server's:
LOADING = 1 << 8
TRACK_DIRTY = 1 << 9
"""Answers may have to wait for a batch longer than this tick, so it is looked at who needs which."""
NOTIFYING = 1 << 12
"""Somebody may listen to keyspace events (``server.notifications``)."""
MONITORED = 1 << 13
PAUSED = 1 << 14
BUSY = 1 << 21
"""A script takes long: everybody else is told so (``server.scripting``)."""
# The server's, for writes only:
WATCHED = 1 << 16
LOG_REFUSES = 1 << 17
WAITED = 1 << 18
"""Somebody waits for keys (``server.blocking``)."""
TRACKED = 1 << 19
"""Some client is ``TRACKING``."""
# The server's again:
TIMED = 1 << 22
"""Each command is to be timed (``server.timings``)."""
MEMORY_FULL = 1 << 23
"""More memory is used than ``maxmemory`` allows (``server.max_memory``)."""

WRITES_ONLY = WATCHED | LOG_REFUSES | WAITED | TRACKED | MEMORY_FULL
EVERYTHING = (1 << 24) - 1

WAITING = BLOCKED | POSTPONED | SUSPENDED
"""It is not answered for now, and runs nothing."""
OBSERVED = NOTIFYING | MONITORED | TRACKED
"""Others are told what a command did (``server.observers``)."""

REPLY_ON, REPLY_NONE, REPLY_SKIP_NEXT, REPLY_SKIP = range(4)


class Client:
    """The state of one connection."""

    __slots__ = (
        "address",
        "authenticated",
        "caller",
        "connection",
        "created_s",
        "db_index",
        "fd",
        "flags_multi_error",
        "held",
        "held_bytes",
        "id",
        "interaction_ms",
        "last_command",
        "lib_name",
        "lib_version",
        "local_address",
        "name",
        "needed",
        "no_evict",
        "over_soft_ms",
        "pushed_bytes",
        "queue",
        "queue_bytes",
        "reply_mode",
        "resp3",
        "state",
        "subscriptions",
        "tracking",
        "unix",
        "user",
        "wait",
        "watched_dirty",
        "watching",
    )

    def __init__(self, number: int, connection: Connection | None, now_s: float) -> None:
        self.id = number
        self.connection = connection
        self.caller: Client | None = None
        """Whose script it runs, for the one client that scripts' commands run for."""
        self.address = b""
        self.local_address = b""
        self.unix = False
        self.fd = -1
        self.created_s = now_s
        self.interaction_ms = int(now_s * 1000)
        self.state = 0
        self.db_index = 0
        self.resp3 = False
        self.authenticated = True
        self.user: User | None = None
        """Who it speaks as; None, of which there is none among a server's clients, may do everything."""
        self.name = b""
        self.lib_name = b""
        self.lib_version = b""
        self.last_command: Command | None = None
        self.no_evict = False
        self.reply_mode = REPLY_ON
        # MULTI
        self.queue: list[tuple[Command, list[bytes]]] = []
        self.queue_bytes = 0
        self.flags_multi_error = False
        self.watching: dict[tuple[int, bytes], int] = {}
        self.watched_dirty = False
        self.wait: Wait | None = None
        # answers
        self.held: list[tuple[int, bytes]] = []
        self.held_bytes = 0
        self.needed = 0
        """The last batch that an answer to it had to wait for: what it says to others waits for that, too."""
        # what it is told unasked
        self.subscriptions: Subscriptions | None = None
        self.tracking: Tracking | None = None
        self.pushed_bytes = 0
        """What it was told in this tick, and has not been sent yet."""
        self.over_soft_ms = 0
        """Since when its unsent output is over the soft limit, in unix ms; 0 if it is not."""


CONFIRMED = frozenset(
    {b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE"}
)  # fmt: skip
"""Commands whose answers are messages, which nothing suppresses."""


def suppress_reply(client: Client, reply: bytes) -> bytes:
    """CLIENT REPLY OFF and SKIP: what of the answer is sent."""
    if client.reply_mode == REPLY_SKIP_NEXT:
        client.reply_mode = REPLY_SKIP
        return reply  # SKIP answers nothing itself; an EXEC that it ran in is answered
    if client.reply_mode == REPLY_SKIP:
        client.reply_mode = REPLY_ON
        client.state &= ~REPLY_OFF
    entry = client.last_command
    if entry is not None and entry.name in CONFIRMED and reply[:1] in (b"*", b">"):
        return reply
    return b""
