"""Keyspace events: what a command tells of what it did, for ``notify-keyspace-events``.

A command calls ``tx.notify`` behind its change, in the order in which stock
publishes; while nobody wants events ``tx.notifying`` is 0 and it does not call::

    if tx.notifying:
        tx.notify_write(LIST, b"lpush", key, is_new)

where a key that was not there is told of as ``new`` first; ``tx.missed`` tells of a key
that a read did not find, and ``tx.lookup`` of one that it found expired.

The classes are the letters of the option.  It must not know: who listens, channels.
"""

from __future__ import annotations

GENERIC = 1 << 0  # g
STRING = 1 << 1  # $
LIST = 1 << 2  # l
SET = 1 << 3  # s
HASH = 1 << 4  # h
ZSET = 1 << 5  # z
EXPIRED = 1 << 6  # x
EVICTED = 1 << 7  # e
STREAM = 1 << 8  # t
KEY_MISS = 1 << 9  # m
MODULE = 1 << 10  # d
NEW = 1 << 11  # n

LETTERS = {
    "g": GENERIC, "$": STRING, "l": LIST, "s": SET, "h": HASH, "z": ZSET, "x": EXPIRED, "e": EVICTED, "t": STREAM,
    "m": KEY_MISS, "d": MODULE, "n": NEW,
}  # fmt: skip
