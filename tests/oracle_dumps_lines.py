"""Generators and comparers of DUMP and RESTORE; importing this plugs them in, and the two commands into the table."""

from __future__ import annotations

from random import Random
from typing import Any

from oracle_harness import LOOSE, comparer
from oracle_lines import APART, Argv, Lines, generator

import perdure.server.commands.dumping
import perdure.server.commands.migrating  # noqa: F401 - the commands
from perdure.snapshot.rdb import payload as payloads
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import StreamNode, StreamValue
from perdure.snapshot.rdb.packing import string_of
from perdure.snapshot.store_values import MAKERS
from perdure.store import value_types
from perdure.store.database import Keyspace

DUMPS_GROUP = [b"DUMP", *[b"RESTORE"] * 3, b"RESTORE-ASKING"]


def plain_of_payload(payload: bytes) -> Any:
    """(type, plain value) of a payload."""
    found = payloads.load(payload)
    value = MAKERS[found.type](found.value, found.code, Keyspace(), dict(value_types.DEFAULT_LIMITS))
    plain = value_types.of(value).plain(value)
    return found.type, LOOSE.get(found.type, lambda same: same)(plain)


@comparer("DUMP")
def same_value(argv: Argv, theirs: Any, ours: Any) -> bool:
    """Stock's order of members is its own: the values are the same, and both are of stock's version."""
    if theirs[0] != b"$" or theirs[1] is None or ours[1] is None:
        return bool(theirs == ours)
    try:
        return theirs[1][-10:-8] == ours[1][-10:-8] and bool(plain_of_payload(theirs[1]) == plain_of_payload(ours[1]))
    except RdbError:
        return False


def stream_of(count: int, deleted: int = 0) -> StreamValue:
    """A stream of one node with entries 1-1, 2-1 ...; its first ``deleted`` ones are tombstones."""
    entries = [(n << 64 | 1, [b"f", b"%d" % n]) for n in range(1 + deleted, count + 1)]
    node = StreamNode(1 << 64 | 1, count << 64 | 1, [b"f"], entries, deleted, 0)
    return StreamValue([node], 1, len(entries), count << 64 | 1, entries[0][0], deleted << 64 | 1, count)


def _good() -> list[bytes]:
    rng = Random(5)
    values: list[tuple[bytes, Any]] = [
        (b"string", b""), (b"string", b"12"), (b"string", b"-70000"), (b"string", b"a" * 300),
        (b"string", rng.randbytes(70)), (b"list", [b"a", b"1", b"", b"b" * 70]), (b"list", [b"x" * 9000, b"y"]),
        (b"set", [b"1", b"-5", b"70000"]), (b"set", [b"f1", b"f2", b"1"]), (b"zset", {b"f1": 1.0, b"f2": -2.5}),
        (b"zset", {b"f%d" % n: n / 3 for n in range(100)}), (b"hash", {b"f1": b"1", b"f2": b"two"}),
        (b"hash", {b"f1": b"x" * 70}), (b"stream", stream_of(3)), (b"stream", stream_of(5, 2)),
    ]  # fmt: skip
    found = [payloads.dump(kind, value, Encoder()) for kind, value in values]
    old = Encoder(9)
    found += [payloads.dump(kind, value, old) for kind, value in values if kind != b"stream"]
    return found


GOOD = _good()
EMPTY = [payloads.finished(code, b"\0", 10) for code in (1, 2, 3, 4, 5, 14, 18)]
BAD_DATA = [
    *EMPTY, payloads.finished(99, b"", 10), payloads.finished(0, b"\x3fabc", 10), payloads.finished(8, b"\0", 10),
    payloads.finished(4, b"\1\1a\x3f", 10), payloads.finished(1, b"\2\1a\x3f", 10), payloads.finished(0, b"\x3f", 10),
    payloads.finished(2, b"\2\1a\1a", 10),
    payloads.finished(5, b"\1" + string_of(b"a", False) + b"\0\0\0\0\0\0\xf8\x7f", 10),
]  # fmt: skip
BAD_SUM = [b"", b"x", b"123456789", GOOD[0][:-1], GOOD[3][:-1] + b"x", payloads.finished(0, b"\1a", 81)]


def payload(lines: Lines) -> bytes:
    """A payload, mostly a good one."""
    rng = lines.rng
    roll = rng.random()
    return rng.choice(GOOD if roll < 0.85 else BAD_DATA if roll < 0.93 else BAD_SUM)


generator("DUMP")(lambda lines: [lines.key()])


@generator("RESTORE", "RESTORE-ASKING")
def restore_arguments(lines: Lines) -> Argv:
    rng = lines.rng
    absolute = rng.random() < 0.3
    ttl = b"0" if rng.random() < 0.4 else lines.moment(1000) if absolute else lines.span(1000)
    options = [
        lines.maybe(0.6, "REPLACE"),
        [lines.word("ABSTTL")] if absolute else [],
        [lines.word("IDLETIME"), rng.choice((b"0", b"7", b"60", b"-1", b"x"))] if rng.random() < 0.2 else [],
        [lines.word("FREQ"), rng.choice((b"0", b"255", b"256", b"-1", b"x"))] if rng.random() < 0.2 else [],
        lines.maybe(0.03, "IDLETIME", "FREQ", "junk"),
    ]
    rng.shuffle(options)
    return [lines.key(), ttl, payload(lines), *(word for option in options for word in option)]


@generator("MIGRATE")
def _migrate(lines: Lines) -> Argv:
    """To where nobody listens."""
    many = lines.rng.random() < 0.3
    line = [b"127.0.0.1", b"0", b"" if many else lines.key(), lines.small(), lines.integer()]
    line += lines.maybe(0.2, "COPY", "REPLACE") + lines.maybe(0.05, "AUTH", "BAD")
    return line + ([b"KEYS", *lines.keys()] if many else [])


APART.add(b"MIGRATE")
"""It needs a server."""
