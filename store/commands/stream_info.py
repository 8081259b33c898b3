"""XINFO: what is known of streams, their groups and consumers beside the entries.

What it tells of stock's radix tree is what stock's tree would be (``store.stream_nodes``).
"""

from __future__ import annotations

from perdure.store.command import LOADING, READONLY, STALE, KeySpec, command
from perdure.store.commands.streams import READS_SLOWLY, entries_reply, entry_reply, read_stream
from perdure.store.errors import NO_SUCH_KEY, CommandError, bad_subcommand, no_group_of_key
from perdure.store.numbers import parse_integer
from perdure.store.resp import array, array_head, bulk, integer, map_head, simple
from perdure.store.stream_groups import UNKNOWN, Consumer, Group, lag
from perdure.store.stream_ids import ID_MAX, print_id
from perdure.store.stream_nodes import radix_nodes, signed
from perdure.store.stream_value import Stream
from perdure.store.tx import Tx

_KEY = (KeySpec(("RO", "access"), ("index", 2), ("range", 0, 1, 0)),)
_SHOWN = 10
"""How many entries of each kind XINFO STREAM FULL shows, if COUNT does not say."""
_HELP = (
    b"XINFO <subcommand> [<argument> ...]. The subcommands:",
    b"CONSUMERS <key> <group>",
    b"    A group's consumers, what they have pending and when they were last seen.",
    b"GROUPS <key>",
    b"    A stream's groups, how far they have read and what they have pending.",
    b"STREAM <key> [FULL [COUNT <count>]]",
    b"    What a stream remembers, its ends; with FULL its entries, groups and consumers.",
    b"HELP",
    b"    These lines.",
)


@command(
    "XINFO",
    arity=-2,
    flags=0,
    group="stream",
    since="5.0.0",
    acl=("slow",),
    summary="Has subcommands that tell about streams.",
    complexity="See its subcommands",
)
def xinfo(tx: Tx, argv: list[bytes]) -> bytes:
    """XINFO HELP, for who asks the container itself"""
    return xinfo_help(tx, argv)


@command(
    "XINFO|HELP",
    arity=2,
    flags=LOADING | STALE,
    group="stream",
    since="5.0.0",
    acl=("stream", "slow"),
    summary="Tells about the subcommands.",
    complexity="O(1)",
)
def xinfo_help(tx: Tx, argv: list[bytes]) -> bytes:
    """XINFO HELP"""
    return array([simple(line) for line in _HELP])


def _existing(tx: Tx, key: bytes) -> Stream:
    stream = read_stream(tx, key)
    if stream is None:
        tx.lookups += 1
        raise CommandError(NO_SUCH_KEY)
    return stream


def _map(tx: Tx, *pairs: tuple[bytes, bytes]) -> bytes:
    """A map of names to replies."""
    return map_head(len(pairs), tx.resp3) + b"".join([bulk(name) + reply for name, reply in pairs])


def _id(entry_id: int) -> bytes:
    return bulk(print_id(entry_id))


def _known(tx: Tx, n: int | None) -> bytes:
    return tx.null if n is None else integer(signed(n))


def _read(group: Group) -> int | None:
    return None if group.entries_read == UNKNOWN else group.entries_read


@command(
    "XINFO|STREAM",
    arity=-3,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    group="stream",
    since="5.0.0",
    acl=READS_SLOWLY,
    history=(
        ("6.0.0", "`FULL`."),
        ("7.0.0", "`max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag`."),
    ),
    syntax="key [FULL [COUNT count]]",
    summary="Tells what a stream remembers, and its first and last entry or its entries and groups.",
    complexity="O(N) for N nodes of up to stream-node-max-entries entries, and what FULL shows",
)
def xinfo_stream(tx: Tx, argv: list[bytes]) -> bytes:
    """XINFO STREAM key [FULL [COUNT count]]"""
    stream = _existing(tx, argv[2])
    if len(argv) == 3:
        return _map(tx, *_facts(stream), (b"groups", integer(len(stream.groups))), *_ends(tx, stream))
    count = _SHOWN
    well = len(argv) in (4, 6) and argv[3].upper() == b"FULL"
    if not well or (len(argv) == 6 and argv[4].upper() != b"COUNT"):
        raise tx.refuse(bad_subcommand(argv[1], b"XINFO"))
    if len(argv) == 6:
        try:
            count = parse_integer(argv[5])
        except CommandError as error:
            raise tx.refuse(error.text) from None
        if count < 0:
            count = _SHOWN
    entries = entries_reply(*stream.collect(0, ID_MAX, count))
    groups = array([_full_group(tx, stream, name, group, count) for name, group in sorted(stream.groups.items())])
    return _map(tx, *_facts(stream), (b"entries", entries), (b"groups", groups))


def _facts(stream: Stream) -> list[tuple[bytes, bytes]]:
    firsts = stream.firsts()
    return [
        (b"length", integer(stream.length)),
        (b"radix-tree-keys", integer(len(firsts))),
        (b"radix-tree-nodes", integer(radix_nodes(firsts))),
        (b"last-generated-id", _id(stream.last_id)),
        (b"max-deleted-entry-id", _id(stream.max_deleted)),
        (b"entries-added", integer(signed(stream.added))),
        (b"recorded-first-entry-id", _id(stream.first_id())),
    ]


def _ends(tx: Tx, stream: Stream) -> list[tuple[bytes, bytes]]:
    ends = []
    for name, reverse in ((b"first-entry", False), (b"last-entry", True)):
        ids, items = stream.collect(0, ID_MAX, 1, reverse)
        ends.append((name, entry_reply(ids[0], items[0]) if ids else tx.null))
    return ends


def _full_group(tx: Tx, stream: Stream, name: bytes, group: Group, count: int) -> bytes:
    """A group with up to ``count`` of its pending entries (0: all), and its consumers."""
    shown = list(group.pending.items()[: count or None])
    pending = [
        b"*4\r\n" + _id(entry_id) + bulk(entry.consumer.name) + integer(entry.time_ms) + integer(entry.count)
        for entry_id, entry in shown
    ]
    return _map(
        tx,
        (b"name", bulk(name)),
        (b"last-delivered-id", _id(group.last_id)),
        (b"entries-read", _known(tx, _read(group))),
        (b"lag", _known(tx, lag(stream, group))),
        (b"pel-count", integer(len(group.pending))),
        (b"pending", array(pending)),
        (b"consumers", array([_full_consumer(tx, consumer, count) for consumer in group.listed()])),
    )


def _full_consumer(tx: Tx, consumer: Consumer, count: int) -> bytes:
    shown = list(consumer.pending.items()[: count or None])
    pending = [b"*3\r\n" + _id(entry_id) + integer(entry.time_ms) + integer(entry.count) for entry_id, entry in shown]
    return _map(
        tx,
        (b"name", bulk(consumer.name)),
        (b"seen-time", integer(consumer.seen_ms)),
        (b"pel-count", integer(len(consumer.pending))),
        (b"pending", array(pending)),
    )


@command(
    "XINFO|GROUPS",
    arity=3,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    group="stream",
    since="5.0.0",
    acl=READS_SLOWLY,
    history=(("7.0.0", "`entries-read` and `lag`."),),
    syntax="key",
    summary="Lists the groups of a stream.",
    complexity="O(N log N) for N groups",
)
def xinfo_groups(tx: Tx, argv: list[bytes]) -> bytes:
    """XINFO GROUPS key"""
    stream = _existing(tx, argv[2])
    members = [
        _map(
            tx,
            (b"name", bulk(name)),
            (b"consumers", integer(len(group.consumers))),
            (b"pending", integer(len(group.pending))),
            (b"last-delivered-id", _id(group.last_id)),
            (b"entries-read", _known(tx, _read(group))),
            (b"lag", _known(tx, lag(stream, group))),
        )
        for name, group in sorted(stream.groups.items())
    ]
    return array_head(len(members)) + b"".join(members)


@command(
    "XINFO|CONSUMERS",
    arity=4,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    group="stream",
    since="5.0.0",
    acl=READS_SLOWLY,
    tips=("nondeterministic_output",),
    syntax="key group",
    summary="Lists the consumers of a group.",
    complexity="O(N log N) for N consumers",
)
def xinfo_consumers(tx: Tx, argv: list[bytes]) -> bytes:
    """XINFO CONSUMERS key group"""
    stream = _existing(tx, argv[2])
    group = stream.groups.get(argv[3])
    if group is None:
        raise tx.refuse(no_group_of_key(argv[2], argv[3]))
    members = [
        _map(
            tx,
            (b"name", bulk(consumer.name)),
            (b"pending", integer(len(consumer.pending))),
            (b"idle", integer(max(tx.clock_ms - consumer.seen_ms, 0))),
        )
        for consumer in group.listed()
    ]
    return array(members)
