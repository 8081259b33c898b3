"""The same commands on both: a stock redis-server 7.0 beside our store, compared as raw RESP.

``Oracle``     a stock server of its own in a temporary directory, on a unix socket
``Ours``       an executor in this process: argv -> table -> handler -> reply bytes, with a clock that stands still
``compare``    one command line's two replies, with what stock leaves open (orders, random choices) left open
``check_*``    LOG-FIRST, and that what was logged replays to the same keyspace, here and in stock

Command lines come from ``oracle_lines``; what may differ stands, with reasons, in ``oracle_differences``.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from server_harness import stock_path

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import errors, value_types
from perdure.store.command import TABLE, find
from perdure.store.database import Keyspace
from perdure.store.errors import CommandError
from perdure.store.replay import replay
from perdure.store.resp import OK, encode
from perdure.store.resp import error as error_reply
from perdure.store.tx import NoLog, Tx

SERVER = "redis-server"
Argv = list[bytes]

# ---- RESP, read back -----------------------------------------------------------------


def read_frame(stream: Any) -> bytes:
    """The raw bytes of the next reply in a binary stream."""
    line: bytes = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError(f"the stream ended inside a reply: {line!r}")
    kind, head = line[:1], line[1:-2]
    if kind in b"$=":
        n = int(head)
        return line if n < 0 else line + stream.read(n + 2)
    if kind in b"*~>%":
        n = int(head)
        return line + b"".join(read_frame(stream) for _ in range(max(n, 0) * (2 if kind == b"%" else 1)))
    return line


def tree(raw: bytes) -> Any:
    """A raw reply as Python data: (type, value) for scalars, (type, [members]) for aggregates."""
    stream = io.BytesIO(raw)
    out = _tree(stream)
    assert not stream.read(1), f"more than one reply: {raw[:200]!r}"
    return out


def _tree(stream: Any) -> Any:
    line = stream.readline()
    kind, head = line[:1], line[1:-2]
    if kind in b"$=":
        n = int(head)
        return (kind, None) if n < 0 else (kind, stream.read(n + 2)[:-2])
    if kind in b"*~>%":
        n = int(head)
        if n < 0:
            return kind, None
        return kind, [_tree(stream) for _ in range(n * (2 if kind == b"%" else 1))]
    return kind, head


def plain(raw: bytes) -> Any:
    """A raw reply as bytes, int, None and lists of them; types dropped."""
    return _plain(tree(raw))


def _plain(node: Any) -> Any:
    kind, value = node
    if kind in b":" and value is not None:
        return int(value)
    if kind == b"_":
        return None
    return [_plain(member) for member in value] if isinstance(value, list) else value


# ---- stock ---------------------------------------------------------------------------

ERROR_KEEPERS = {b"SORT", b"SORT_RO", b"XADD"}
"""Commands for which stock takes a range error that an earlier command left in C's ``errno`` for one of their own."""
_CLEAR = encode((b"SCAN", b"no cursor"))
"""Does nothing but to clear it."""


class Oracle:
    """A stock redis-server of our own.  ``aof`` is a log that it loads first."""

    def __init__(self, *options: str, aof: bytes | None = None) -> None:
        path = stock_path(SERVER)
        self.folder = tempfile.mkdtemp(prefix="oracle-")
        if aof is not None:
            log = Path(self.folder, "appendonlydir")
            log.mkdir()
            (log / "appendonly.aof.1.incr.aof").write_bytes(aof)
            (log / "appendonly.aof.manifest").write_bytes(b"file appendonly.aof.1.incr.aof seq 1 type i\n")
        self.path = os.path.join(self.folder, "s")
        self.output = open(os.path.join(self.folder, "log"), "wb")  # noqa: SIM115 - closed with the server
        self.process = subprocess.Popen(
            [path, "--port", "0", "--unixsocket", self.path, "--save", "", "--dir", self.folder,
             "--appendonly", "no" if aof is None else "yes", "--enable-debug-command", "yes", *options],
            stdout=self.output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.resp3 = False
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(60)
                self.socket.connect(self.path)
                self.stream = self.socket.makefile("rb")
                reply = self(b"PING")
                if reply == b"+PONG\r\n":
                    break
                assert reply.startswith(b"-LOADING"), reply
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            self.socket.close()
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{SERVER} did not start: {Path(self.folder, 'log').read_text()[-2000:]}")
            time.sleep(0.01)
        self(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0")  # so that DBSIZE does not hang on the time
        self.version = next(
            line[14:] for line in plain(self(b"INFO", b"server")).split(b"\r\n") if line.startswith(b"redis_version:")
        )

    def __call__(self, *argv: bytes) -> bytes:
        """Run one command; its raw reply."""
        self.socket.sendall(encode(argv))
        return read_frame(self.stream)

    def run(self, lines: Iterable[Argv]) -> list[bytes]:
        """Run command lines in one pipeline; their raw replies."""
        replies = []
        lines = list(lines)
        cleared = [argv[0].upper() in ERROR_KEEPERS for argv in lines]
        self.socket.sendall(b"".join([
            (_CLEAR + encode(argv)) if clear else encode(argv) for argv, clear in zip(lines, cleared, strict=True)
        ]))  # fmt: skip
        for clear in cleared:
            if clear:
                read_frame(self.stream)
            replies.append(read_frame(self.stream))
        return replies

    def feed(self, payload: bytes, count: int) -> list[bytes]:
        """Send raw bytes that hold ``count`` commands; the replies."""
        self.socket.sendall(payload)
        return [read_frame(self.stream) for _ in range(count)]

    def speak(self, resp3: bool) -> None:
        """Answer in RESP3 or RESP2 from now on."""
        self(b"HELLO", b"3" if resp3 else b"2")
        self.resp3 = resp3

    def reset(self, resp3: bool = False) -> None:
        """Empty, database 0, and the protocol asked for."""
        self.speak(resp3)
        self.run([[b"FLUSHALL"], [b"FUNCTION", b"FLUSH"], [b"SELECT", b"0"]])

    def close(self) -> None:
        """End the server, by its pid, and remove its folder."""
        self.process.kill()
        self.process.wait()
        self.output.close()
        if hasattr(self, "stream"):
            self.stream.close()
            self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# How a type's value reads out of stock as ``value_types.plain`` has it out of ours: the command's arguments
# around the key, and what to make of the reply.
READ_PLAIN: dict[bytes, tuple[Callable[[bytes], Argv], Callable[[Any], Any]]] = {
    b"string": (lambda key: [b"GET", key], lambda reply: reply),
    b"set": (lambda key: [b"SMEMBERS", key], frozenset),
    b"list": (lambda key: [b"LRANGE", key, b"0", b"-1"], tuple),
    b"zset": (
        lambda key: [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        lambda reply: frozenset(zip(reply[::2], map(float, reply[1::2]), strict=True)),
    ),
    b"hash": (lambda key: [b"HGETALL", key], lambda reply: frozenset(zip(reply[::2], reply[1::2], strict=True))),
}
LOOSE: dict[bytes, Callable[[Any], Any]] = {}
"""For types whose plain value has times in it: the same without them."""
State = dict[int, dict[bytes, tuple[bytes, Any, int]]]


def oracle_state(oracle: Oracle) -> State:
    """All databases of a stock server: key -> (type, plain value, deadline in unix ms or -1)."""
    was_resp3 = oracle.resp3
    oracle.speak(False)
    out: State = {}
    for index in range(16):
        keys = plain(oracle.run([[b"SELECT", b"%d" % index], [b"KEYS", b"*"]])[1])
        if not keys:
            continue
        types = [plain(raw) for raw in oracle.run([[b"TYPE", key] for key in keys])]
        deadlines = [plain(raw) for raw in oracle.run([[b"PEXPIRETIME", key] for key in keys])]
        values = oracle.run([READ_PLAIN[t][0](key) for key, t in zip(keys, types, strict=True)])
        out[index] = {
            key: (t, READ_PLAIN[t][1](plain(raw)), deadline)
            for key, t, deadline, raw in zip(keys, types, deadlines, values, strict=True)
        }
    oracle(b"SELECT", b"0")
    oracle.speak(was_resp3)
    return out


# ---- ours ----------------------------------------------------------------------------


class Sink:
    """A log that takes everything, or refuses everything; it is asked for every record."""

    def __init__(self) -> None:
        self.refuses = False

    def admit(self, nbytes: int) -> int:
        if self.refuses:
            raise CommandError(errors.log_refused(b"No space left on device"))
        return 0


class Ours:
    """The store in this process, as the engine would use it, with a clock that stands still."""

    def __init__(self, now_ms: int | None = None, seed: int = 1) -> None:
        self.sink = Sink()
        self.keyspace = Keyspace(16)
        self.tx = Tx(self.keyspace, self.sink, Random(seed), {})
        self.records: list[bytes] = []
        self.set_time(int(time.time() * 1000) if now_ms is None else now_ms)

    def set_time(self, now_ms: int) -> None:
        """Set the clock, in unix ms."""
        self.tx.now_ms = self.tx.clock_ms = now_ms

    def speak(self, resp3: bool) -> None:
        """Answer in RESP3 or RESP2 from now on."""
        self.tx.speak(resp3)

    def __call__(self, *argv: bytes) -> bytes:
        """Run one command; its raw reply.  What it logged is added to ``records``, a payload a command."""
        reply = self._execute(list(argv))
        payload = self.tx.take()
        if payload:
            self.records.append(payload)
        return reply

    def run(self, lines: Iterable[Argv]) -> list[bytes]:
        """Run command lines; their raw replies."""
        return [self(*argv) for argv in lines]

    def _execute(self, argv: Argv) -> bytes:
        if argv[0].upper() == b"SELECT":
            return self._select(argv)
        entry = TABLE.get(argv[0].upper())
        if entry is None:
            return error_reply(errors.unknown_command(argv))
        if entry.subcommands and len(argv) > 1:
            sub = entry.subcommands.get(argv[1].upper())
            if sub is None:
                return error_reply(errors.unknown_subcommand(argv[1], entry.name))
            entry = sub
        if not entry.arity_fits(len(argv)):
            return error_reply(errors.wrong_arity(entry.lower_name))
        try:
            reply = entry.handler(self.tx, argv)
        except CommandError as refused:
            return error_reply(refused.text)
        assert reply.__class__ is bytes, (argv, reply)
        return reply

    def _select(self, argv: Argv) -> bytes:
        if len(argv) != 2:
            return error_reply(errors.wrong_arity(b"select"))
        try:
            index = int(argv[1])
        except ValueError:
            return error_reply(errors.NOT_AN_INTEGER)
        if not 0 <= index < 16:
            return error_reply(errors.DB_INDEX_OUT_OF_RANGE)
        self.tx.select(index)
        return OK

    def state(self) -> State:
        """All databases as ``oracle_state`` shows stock's: what has expired is not there."""
        now_ms = self.tx.clock_ms
        out: State = {}
        for index, db in enumerate(self.keyspace.databases):
            shown = {}
            for key, value in db.items():
                deadline = db.expires.get(key, -1)
                if deadline < 0 or deadline > now_ms:
                    kind = value_types.of(value)
                    shown[key] = (kind.name, kind.plain(value), deadline)
            if shown:
                out[index] = shown
        return out

    def raw_state(self) -> list[tuple[dict[bytes, Any], dict[bytes, int]]]:
        """Everything, expired or not, copied: for "nothing changed"."""
        return [
            ({key: value_types.of(value).plain(value) for key, value in db.items()}, dict(db.expires))
            for db in self.keyspace.databases
        ]

    def check(self) -> None:
        """Assert the invariants of the whole keyspace."""
        self.keyspace._check()
        for db in self.keyspace.databases:
            for value in db.values():
                if hasattr(value, "_check"):
                    value._check()


# ---- comparing -----------------------------------------------------------------------

Comparer = Callable[[Argv, Any, Any], bool]
COMPARERS: dict[bytes, Comparer] = {}
"""By command name (``OBJECT|IDLETIME`` for subcommands): are these two reply trees the same for this command line?"""


def comparer(*names: str) -> Callable[[Comparer], Comparer]:
    """Register how replies of these commands are compared; raw bytes otherwise."""

    def register(function: Comparer) -> Comparer:
        for name in names:
            COMPARERS[name.upper().encode()] = function
        return function

    return register


def _freeze(node: Any) -> Any:
    kind, value = node
    return (kind, tuple(map(_freeze, value))) if isinstance(value, list) else node


def same_unordered(argv: Argv, theirs: Any, ours: Any) -> bool:
    """An array or set whose order stock does not promise."""
    if not isinstance(theirs[1], list) or not isinstance(ours[1], list):
        return bool(theirs == ours)
    return theirs[0] == ours[0] and sorted(map(repr, theirs[1])) == sorted(map(repr, ours[1]))


def same_pairs(argv: Argv, theirs: Any, ours: Any) -> bool:
    """A map, or a flat array of pairs, in any order."""
    if not isinstance(theirs[1], list) or not isinstance(ours[1], list):
        return bool(theirs == ours)
    mine, its = ([repr(pair) for pair in zip(t[1][::2], t[1][1::2], strict=True)] for t in (ours, theirs))
    return theirs[0] == ours[0] and sorted(mine) == sorted(its)


def same_within(tolerance: int) -> Comparer:
    """Integers that hang on the time."""

    def compare_integers(argv: Argv, theirs: Any, ours: Any) -> bool:
        if theirs[0] != b":" or ours[0] != b":":
            return bool(theirs == ours)
        a, b = int(theirs[1]), int(ours[1])
        return abs(a - b) <= tolerance and (a < 0) == (b < 0)

    return compare_integers


def same_shape(argv: Argv, theirs: Any, ours: Any) -> bool:
    """A random choice: the same types and the same number of members."""
    if isinstance(theirs[1], list) and isinstance(ours[1], list):
        return (
            theirs[0] == ours[0]
            and len(theirs[1]) == len(ours[1])
            and all(same_shape(argv, a, b) for a, b in zip(theirs[1], ours[1], strict=True))
        )
    if theirs[0] == b"-":
        return bool(theirs == ours)
    return theirs[0] == ours[0] and (theirs[1] is None) == (ours[1] is None)


COMPARERS.update({
    b"KEYS": same_unordered,
    b"HKEYS": same_unordered,
    b"HVALS": same_unordered,
    b"HGETALL": same_pairs,
    b"RANDOMKEY": same_shape,
    b"TTL": same_within(2),
    b"PTTL": same_within(2000),
    b"EXPIRETIME": same_within(2),
    b"PEXPIRETIME": same_within(2000),
    b"OBJECT|IDLETIME": same_within(100),
})  # fmt: skip


def compare(argv: Argv, theirs: bytes, ours: bytes) -> str:
    """Empty if the raw replies are the same as far as stock promises, otherwise what differs."""
    if theirs == ours:
        return ""
    name = argv[0].upper()
    function = COMPARERS.get(name)
    if function is None and len(argv) > 1:
        function = COMPARERS.get(name + b"|" + argv[1].upper())
    if function is not None and function(argv, tree(theirs), tree(ours)):
        return ""
    from oracle_differences import allowed

    if allowed(argv, theirs, ours):
        return ""
    shown = b" ".join(repr(arg[:80]).encode() for arg in argv[:30]).decode()
    return f"{shown}\n    stock: {theirs[:400]!r}\n    ours:  {ours[:400]!r}"


def differences(oracle: Oracle, ours: Ours, lines: list[Argv], chunk: int = 500) -> list[str]:
    """Run command lines on both; everything that differs, with the lines' numbers."""
    found: list[str] = []
    for start in range(0, len(lines), chunk):
        part = lines[start : start + chunk]
        theirs = oracle.run(part)
        ours.set_time(int(time.time() * 1000))
        for i, (argv, its) in enumerate(zip(part, theirs, strict=True), start):
            difference = compare(argv, its, ours(*argv))
            if difference:
                found.append(f"line {i}: {difference}")
    return found


def assert_same(oracle: Oracle, lines: list[Argv], *, protocols: tuple[bool, ...] = (False, True)) -> None:
    """The lines, from empty, give the same replies on both, in each protocol, and leave the same keyspace."""
    for resp3 in protocols:
        oracle.reset(resp3)
        ours = Ours()
        ours.speak(resp3)
        found = differences(oracle, ours, lines)
        assert not found, f"{len(found)} differences (RESP{3 if resp3 else 2}):\n" + "\n".join(found[:12])
        assert_same_state(oracle_state(oracle), ours.state())
        ours.check()


def words(*lines: str | bytes) -> list[Argv]:
    """Command lines written as text, split at blanks; ``''`` is an empty argument."""
    out = []
    for line in lines:
        raw = line.encode() if isinstance(line, str) else line
        out.append([b"" if word == b"''" else word for word in raw.split()])
    return out


def assert_same_state(theirs: State, ours: State, tolerance_ms: int = 3000) -> None:
    """Two keyspaces are the same; deadlines may differ by ``tolerance_ms``, times in values by any if that is not 0."""
    assert sorted(theirs) == sorted(ours)
    for index in theirs:
        a, b = theirs[index], ours[index]
        assert set(a) == set(b), f"db {index}: {sorted(set(a) ^ set(b))[:10]}"
        for key in a:
            loose = LOOSE.get(a[key][0]) if tolerance_ms and a[key][0] == b[key][0] else None
            its, mine = (loose(a[key][1]), loose(b[key][1])) if loose else (a[key][1], b[key][1])
            same = a[key][0] == b[key][0] and its == mine
            assert same, f"db {index} key {key!r}: stock {a[key]!r:.300} ours {b[key]!r:.300}"
            assert (a[key][2] < 0) == (b[key][2] < 0), f"db {index} key {key!r}: {a[key][2]} {b[key][2]}"
            assert abs(a[key][2] - b[key][2]) <= tolerance_ms, f"db {index} key {key!r}: {a[key][2]} {b[key][2]}"


# ---- LOG-FIRST and replay ------------------------------------------------------------


def check_log_first(ours: Ours, argv: Argv) -> None:
    """Run a command with a log that refuses: nothing may change, and a write that would change something is refused.

    Then run it for real: what changed memory has logged, and the record names as changed the keys that are, and none
    that is not there (WATCH and the set of dirty keys read them out of it).
    """
    before = ours.raw_state()
    rng_state = ours.tx.rng.getstate()
    ours.sink.refuses = True
    refused = ours(*argv)
    ours.sink.refuses = False
    assert ours.raw_state() == before, f"changed although the log refused: {argv!r:.300}"
    ours.tx.rng.setstate(rng_state)
    logged = len(ours.records)
    ours(*argv)
    after = ours.raw_state()
    if after != before:
        assert len(ours.records) == logged + 1, f"changed memory and logged nothing: {argv!r:.300}"
        # A read is answered all the same; PFCOUNT is one that keeps what it found out, if the log lets it.
        expired_only = not refused.startswith(b"-MISCONF") and argv[0].upper() != b"PFCOUNT"
        assert not expired_only or _only_expired(before, after), f"a log that refuses did not stop {argv!r:.300}"
    if len(ours.records) > logged:
        _check_keys_named(argv, before, after, commands_of(ours.records[-1]))


def check_all_log_first(setup: Iterable[Argv], lines: Iterable[Argv]) -> None:
    """``check_log_first`` for each of ``lines``, on a keyspace that ``setup`` made."""
    ours = Ours()
    ours.run(setup)
    for argv in lines:
        check_log_first(ours, argv)
    ours.check()


def _check_keys_named(argv: Argv, before: Any, after: Any, record: list[Argv]) -> None:
    named: set[bytes] = set()
    for logged in record:
        entry = find(logged)
        if entry is not None:
            keys = entry.written_keys(logged)
            if not keys:
                return  # the whole database, such as FLUSHALL
            named.update(keys)
    changed: set[bytes] = set()
    there: set[bytes] = set()
    for (b, b_expires), (a, a_expires) in zip(before, after, strict=True):
        there.update(a, b)
        changed |= {
            key for key in {*a, *b} if a.get(key) != b.get(key) or a_expires.get(key) != b_expires.get(key)
        }
    assert changed <= named, f"{argv!r:.300} changed {changed - named!r:.200} and logged {record!r:.300}"
    assert named <= there, f"{argv!r:.300} logged keys that never were: {named - there!r:.200}"


def _only_expired(before: Any, after: Any) -> bool:
    return all(
        set(b) <= set(a) and all(a[key] == b[key] for key in b) for (a, _), (b, _) in zip(before, after, strict=True)
    )


def commands_of(payload: bytes) -> list[Argv]:
    """The commands of a log's payload."""
    stream = io.BytesIO(payload)
    out = []
    while stream.tell() < len(payload):
        out.append(_plain(_tree(stream)))
    return out


def replayed(payload: bytes, clock_ms: int) -> Ours:
    """A keyspace made of a log's payload."""
    fresh = Ours(clock_ms)
    fresh.tx = Tx(fresh.keyspace, NoLog(), Random(2), {})
    fresh.tx.now_ms, fresh.tx.clock_ms = 0, clock_ms
    replay(fresh.tx, commands_of(payload))
    fresh.tx.take()
    return fresh


def check_replay(ours: Ours, oracle: Oracle | None = None) -> None:
    """What ``ours`` has logged makes the same keyspace: replayed here, and loaded by stock as an AOF."""
    payload = b"".join(ours.records)
    later_ms = ours.tx.clock_ms + 600_000
    mine = replayed(payload, later_ms)
    mine.check()
    assert mine.raw_state() == ours.raw_state()
    if oracle is not None:
        stock = Oracle("--hz", "1", aof=payload)
        try:
            assert_same_state(oracle_state(stock), ours.state(), tolerance_ms=0)
        finally:
            stock.close()
