"""What a file holds, one event after the other: what ``Reader`` yields.

A key and its value are an ``Entry``.  Its value by its type:

``b"string"``  bytes; a number in its decimal form
``b"list"``    a list of elements
``b"set"``     a list of distinct members
``b"zset"``    a dict from member to score; never NaN
``b"hash"``    a dict from field to value; ``FieldsWithExpiry`` if fields may have deadlines
``b"stream"``  a ``StreamValue``

Entry ids of streams are ints, ``ms << 64 | seq``.  Times are unix ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

UNKNOWN = -1
"""How many entries a group has read: nobody can say."""


class Entry(NamedTuple):
    """A key.

    ``db``          the number of its database
    ``type``        the name of its type, as TYPE has it
    ``value``       see above
    ``expires_ms``  when it expires, None for never; may be past
    ``idle_s``      seconds since it was last used, None if the file does not say
    ``freq``        how often it is used, stock's counter of 0 to 255, None if the file does not say
    ``code``        the type as the file has it, which tells the encoding
    ``offset``      where its type stands in the file
    """

    db: int
    key: bytes
    type: bytes
    value: Any
    expires_ms: int | None
    idle_s: int | None
    freq: int | None
    code: int
    offset: int


class FieldsWithExpiry(dict[bytes, bytes]):
    """A hash; ``expires_ms`` has the fields that expire, and when."""

    __slots__ = ("expires_ms",)

    def __init__(self, fields: Any, expires_ms: dict[bytes, int]) -> None:
        super().__init__(fields)
        self.expires_ms = expires_ms


@dataclass(slots=True)
class StreamNode:
    """A run of entries, as one listpack has it.

    ``first``    the id that it began with, there or not
    ``last``     the id of the last entry, deleted or not
    ``fields``   the fields of the entry that it began with
    ``entries``  ids, each with its fields and values one behind the other
    ``deleted``  how many entries were deleted
    ``size``     bytes of the listpack without its first two elements, the counts
    """

    first: int
    last: int
    fields: list[bytes]
    entries: list[tuple[int, list[bytes]]]
    deleted: int
    size: int


@dataclass(slots=True)
class StreamConsumer:
    """A consumer; ``active_ms`` is None where the version does not hold it, ``pending`` are ids."""

    name: bytes
    seen_ms: int
    active_ms: int | None
    pending: list[int]


@dataclass(slots=True)
class StreamGroup:
    """A group: ``pending`` are (id, delivery time in ms, number of deliveries).

    ``entries_read`` is UNKNOWN if nobody can say, None where the version does not hold it.
    """

    name: bytes
    last_id: int
    entries_read: int | None
    pending: list[tuple[int, int, int]]
    consumers: list[StreamConsumer]


@dataclass(slots=True)
class StreamValue:
    """A stream; None for what version 9 does not hold."""

    nodes: Iterable[StreamNode]
    node_count: int
    length: int
    last_id: int
    first_id: int | None = None
    max_deleted: int | None = None
    added: int | None = None
    groups: list[StreamGroup] = field(default_factory=list)


class Aux(NamedTuple):
    """A fact about the file or who wrote it."""

    key: bytes
    value: bytes


class SelectDb(NamedTuple):
    """What follows is in this database."""

    db: int


class ResizeDb(NamedTuple):
    """How many keys the database has, and how many of them expire."""

    keys: int
    expiring: int


class SlotInfo(NamedTuple):
    """How many keys a cluster's slot has, and how many of them expire."""

    slot: int
    keys: int
    expiring: int


class SlotImport(NamedTuple):
    """An import of slots that was going on (Valkey 9): its name, and first and last slot of each range."""

    job: bytes
    ranges: list[tuple[int, int]]


class Function(NamedTuple):
    """A library of functions: its source."""

    code: bytes


class SkippedModule(NamedTuple):
    """A module's value, skipped: its key, or None for data of the module itself (AUX)."""

    db: int
    key: bytes | None
    module: str
    expires_ms: int | None
    offset: int
    size: int


class End(NamedTuple):
    """The end: ``offset`` of what follows it; the stored checksum, None where there is none or it was not computed."""

    offset: int
    checksum: int | None


Event = Entry | Aux | SelectDb | ResizeDb | SlotInfo | SlotImport | Function | SkippedModule | End
