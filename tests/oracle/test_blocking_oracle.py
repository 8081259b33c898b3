"""Clients that wait, and who wakes them: dialogs of several connections, held with stock and with us.

Steps of a dialog, between semicolons; ``N`` is a client's name, ``#N`` in a command its id:

=============  =======================================================================
``N command``  the client sends it and reads one reply
``N! command`` it sends what is to block, which INFO's blocked_clients shows
``N~ command`` it sends and reads nothing
``N<``         it reads one reply
``N-``         it leaves, while it is blocked
=============  =======================================================================

Nothing waits for time but what is about timeouts.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from oracle_harness import commands_of, plain, read_frame
from server_harness import PerdureServer, ServerProcess, StockServer

pytestmark = pytest.mark.oracle
Both = tuple[ServerProcess, ServerProcess]
_PATIENCE_S = 30.0
_STEP = re.compile(r"(\w+)([!~<-]?) ?(.*)", re.DOTALL)
_ID = re.compile(rb"(\$2\r\nid\r\n):\d+")
_BLOCKED = re.compile(rb"blocked_clients:(\d+)")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("blocking")
    with StockServer(folder / "stock") as stock, PerdureServer(folder / "ours") as ours:
        yield stock.start(), ours.start()


class Talk:
    """Connections to one server, each made when it first speaks; in the end nobody is blocked."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.stack = contextlib.ExitStack()
        self.lines: dict[str, tuple[socket.socket, Any]] = {}
        self.ids: dict[str, str] = {}
        self("watcher", "FLUSHALL")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *exc: object) -> None:
        for who in list(self.lines):
            if who != "watcher":
                self.leave(who)
        with self.stack:
            self.until_blocked(0)
            self.leave("watcher")

    def send(self, who: str, data: bytes) -> None:
        """Send raw bytes."""
        if who not in self.lines:
            sock = self.server.connect(_PATIENCE_S)
            self.lines[who] = (sock, sock.makefile("rb"))
            sock.sendall(b"CLIENT ID\r\n")
            self.ids[who] = str(plain(self.read(who)))
        self.lines[who][0].sendall(data)

    def read(self, who: str) -> bytes:
        """Read a raw reply."""
        return _ID.sub(rb"\1:ID", read_frame(self.lines[who][1]))

    def leave(self, who: str) -> None:
        """Close a connection."""
        sock, stream = self.lines.pop(who)
        stream.close()
        sock.close()

    def __call__(self, who: str, line: str) -> bytes:
        self.send(who, self._line(line))
        return self.read(who)

    def _line(self, line: str) -> bytes:
        for name, number in self.ids.items():
            line = line.replace(f"#{name}", number)
        return line.encode() + b"\r\n"

    def blocked(self) -> int:
        """How many clients are blocked."""
        found = _BLOCKED.search(self("watcher", "INFO clients"))
        assert found is not None
        return int(found[1])

    def until_blocked(self, count: int) -> None:
        """Look until so many clients are blocked."""
        end = time.monotonic() + _PATIENCE_S
        while (found := self.blocked()) != count:
            assert time.monotonic() < end, f"{found} blocked clients, not {count}"

    def step(self, step: str) -> bytes | None:
        """One step, as above; what was read."""
        match = _STEP.fullmatch(step)
        assert match is not None, step
        who, how, line = match.groups()
        if how == "<":
            return self.read(who)
        if how == "":
            return self(who, line)
        count = self.blocked() if how != "~" else 0
        if how == "-":
            self.leave(who)
            self.until_blocked(count - 1)
        else:
            self.send(who, self._line(line))
        if how == "!":
            self.until_blocked(count + 1)
        return None


def play(server: ServerProcess, dialog: str) -> list[bytes]:
    """Hold a dialog; what was read."""
    with Talk(server) as talk:
        return [reply for step in dialog.split("; ") if (reply := talk.step(step)) is not None]


def assert_alike(both: Both, dialog: str) -> None:
    """Both answer the same."""
    stock, ours = (play(server, dialog) for server in both)
    assert ours == stock


# ---- dialogs ---------------------------------------------------------------------------

DIALOGS = {
    "a push wakes": (
        "1! BLPOP a 0; 2 RPUSH a x y; 1<; 2 LRANGE a 0 -1; 1! BRPOP b 0; 2 RPUSH b x y; 1<; 2 LRANGE b 0 -1"
    ),
    "what is there is taken at once": (
        "2 RPUSH a x y z; 1 BLPOP n a 0; 1 BRPOP a 0; 1 BLMPOP 0 2 n a LEFT COUNT 5; 2 KEYS *"
    ),
    "first come, first served": (
        "1! BLPOP a 0; 2! BLPOP a 0; 3! BLPOP a 0; 4 RPUSH a x y; 1<; 2<; 4 RPUSH a z; 3<; 4 LLEN a"
    ),
    "each direction in its turn": (
        "1! BLPOP a 0; 2! BRPOP a 0; 3! BLMPOP 0 1 a RIGHT COUNT 2; 4! BLMOVE a b LEFT LEFT 0; "
        "5 RPUSH a 1 2 3 4 5 6; 1<; 2<; 3<; 4<; 5 LRANGE a 0 -1; 5 LRANGE b 0 -1"
    ),
    "the first key that is touched": (
        "1! BLPOP a b 0; 2 MULTI; 2 RPUSH b x; 2 RPUSH a y; 2 EXEC; 1<; 2 LRANGE a 0 -1; 2 LRANGE b 0 -1"
    ),
    "a key named twice": (
        "1! BLPOP a a 0; 2 RPUSH a x y; 1<; 2 LRANGE a 0 -1; 2 DEL a; 1! BLPOP a b a 0; 2 RPUSH a z; 1<"
    ),
    "behind the transaction": (
        "1! BLPOP a 0; 2 MULTI; 2 RPUSH a x; 2 DEL a; 2 RPUSH a y z; 2 LPUSH a w; 2 EXEC; 1<; 2 LRANGE a 0 -1"
    ),
    "what a transaction took back wakes nobody": (
        "1! BLPOP a 0; 2 MULTI; 2 RPUSH a x; 2 LPOP a; 2 EXEC; 2 RPUSH a y; 1<"
    ),
    "behind a command with several elements": "1! BLPOP a 0; 2 LPUSH a 1 2 3; 1<; 2 LRANGE a 0 -1",
    "inside of a transaction nobody waits": (
        "1 MULTI; 1 BLPOP a 0; 1 BRPOP a b 0; 1 BLMOVE a b LEFT LEFT 0; 1 BRPOPLPUSH a b 0; "
        "1 BLMPOP 0 1 a LEFT; 1 RPUSH a x y; 1 BLPOP a 0; 1 BLMOVE a b LEFT LEFT 0; 1 EXEC; 1 HELLO 3; "
        "1 MULTI; 1 BLPOP z 0; 1 BLMOVE z a LEFT LEFT 0; 1 EXEC"
    ),
    "a transaction's own push wakes another": (
        "1! BLPOP a 0; 2 MULTI; 2 RPUSH a x; 2 BLPOP a 0; 2 EXEC; 2 RPUSH a y; 1<"
    ),
    "moves go on from list to list": (
        "1! BLMOVE a b LEFT RIGHT 0; 2! BLMOVE b c LEFT RIGHT 0; 3! BLPOP c 0; 4 RPUSH a x; 1<; 2<; 3<; 4 KEYS *"
    ),
    "moves in a circle": (
        "1! BLMOVE a b LEFT RIGHT 0; 2! BRPOPLPUSH b a 0; 3 RPUSH a x; 1<; 2<; 3 LRANGE a 0 -1; 3 KEYS *"
    ),
    "a move onto itself": (
        "1! BLMOVE a a LEFT RIGHT 0; 2 RPUSH a x y; 1<; 2 LRANGE a 0 -1; 1! BRPOPLPUSH n n 0; 2 RPUSH n x; 1<"
    ),
    "a move to what is no list": (
        "1! BLMOVE a s LEFT RIGHT 0; 2! BLPOP a 0; 3 SET s text; 3 RPUSH a x; 1<; 2<; 3 LLEN a; 3 GET s; "
        "1! BRPOPLPUSH a s 0; 3 RPUSH a x; 1<; 3 LRANGE a 0 -1"
    ),
    "a key of another type is waited for in vain": (
        "1! BLPOP a 0; 2 SET a x; 2 APPEND a y; 2 HSET b f v; 2 RENAME b a; 2 DEL a; 2 RPUSH a z; 1<; 2 KEYS *"
    ),
    "what is of another type at once is an error": (
        "1 SET s x; 1 BLPOP s 0; 1 BLPOP n s 0; 1 BRPOP s n 0; 1 BLMOVE s a LEFT LEFT 0; 1 BRPOPLPUSH s a 0; "
        "1 BLMPOP 0 2 n s LEFT; 1 RPUSH a x; 1 BLMOVE a s LEFT LEFT 0; 1 BLPOP a s 0"
    ),
    "errors in stock's order": (
        "1 SET s x; 1 BLPOP s x; 1 BLPOP s -1; 1 BLMOVE s a UP LEFT x; 1 BLMOVE s a LEFT LEFT x; "
        "1 BRPOPLPUSH s a x; 1 BLMPOP x 1 s LEFT; 1 BLMPOP x 0 s LEFT; 1 BLMPOP x 2 s LEFT; 1 BLMPOP x 1 s UP; "
        "1 BLMPOP -1 1 s LEFT COUNT 0; 1 BLMPOP -1 1 s LEFT COUNT; 1 BLMPOP -1 1 s LEFT COUNT 1; "
        "1 BLPOP s inf; 1 BLPOP s -inf; 1 BLPOP s nan; 1 BLPOP s 9223372036854775; 1 BLPOP s 9223372036854776; "
        "1 BLPOP s 1e15; 1 BLPOP s 1e16; 1 BLPOP a"
    ),
    "of the own database": (
        "1 SELECT 3; 1! BLPOP a 0; 2 RPUSH a x; 2 SELECT 3; 2 RPUSH a y; 1<; 2 DBSIZE; 2 SELECT 0; 2 LLEN a"
    ),
    "renamed to it": (
        "1! BLPOP a 0; 2 RPUSH b x y; 2 RENAME b a; 1<; 2 LRANGE a 0 -1; 1! BLPOP c 0; 2 RENAMENX a c; 1<"
    ),
    "copied to it": "1! BLPOP a 0; 2 RPUSH b x y; 2 COPY b a; 1<; 2 LRANGE a 0 -1; 2 LRANGE b 0 -1",
    "copied and moved from another database": (
        "1! BLPOP a 0; 2 SELECT 5; 2 RPUSH a x; 2 MOVE a 0; 1<; 1! BLPOP b 0; 2 RPUSH a y; 2 COPY a b DB 0; "
        "1<; 2 KEYS *"
    ),
    "swapped to it": (
        "1! BLPOP a 0; 2 SELECT 5; 2 RPUSH a x y; 2 RPUSH b z; 2 SWAPDB 0 5; 1<; 2 KEYS *; 2 SELECT 0; 2 LRANGE a 0 -1"
    ),
    "swapped away from it": "1! BLPOP a 0; 2 SWAPDB 0 4; 2 SELECT 4; 2 RPUSH a x; 2 SELECT 0; 2 RPUSH a y; 1<",
    "moved to it by another's move": (
        "1! BLPOP a 0; 2 RPUSH b x y; 2 LMOVE b a RIGHT LEFT; 1<; 3! BRPOP a 0; 2 RPOPLPUSH b a; 3<"
    ),
    "flushed away": "1! BLPOP a b 0; 2 SET c 1; 2 FLUSHALL; 2 FLUSHDB; 2 RPUSH b x; 1<",
    "by insertion nobody can wake": (
        "1! BLPOP a 0; 2 LPUSHX a x; 2 RPUSHX a x; 2 LINSERT a BEFORE x y; 2 RPUSH a z; 1<"
    ),
    "far deadlines": (
        "1! BLPOP a 3600; 5! BLPOP z 9223372036854775; 2! BLPOP a 0; 3! BRPOP a 0.5e4; "
        "4 RPUSH a x y z; 1<; 2<; 3<; 4 CLIENT UNBLOCK #5; 5<"
    ),
    "time passes": (
        "1 BLPOP a 0.001; 1 BRPOP a b 0.01; 1 BLMOVE a b LEFT LEFT 0.002; 1 BRPOPLPUSH a b 0.001; "
        "1 BLMPOP 0.001 1 a LEFT; 1 HELLO 3; 1 BLPOP a 0.001; 1 BLMOVE a b LEFT LEFT 0.002; "
        "1 BLMPOP 0.01 2 a b LEFT; 1 PING"
    ),
    "time passes in order": "1! BLPOP a 0.3; 2! BLPOP a 0; 3 BLPOP a 0.01; 1<; 3 RPUSH a x; 2<",
    "who waits in RESP3": ("1 HELLO 3; 1! BLPOP a 0; 2 RPUSH a x; 1<; 1! BLMPOP 0 1 a LEFT COUNT 9; 2 RPUSH a x y; 1<"),
    "unblocked": (
        "1! BLPOP a 0; 2 CLIENT UNBLOCK #1; 1<; 1! BLPOP a 0; 2 CLIENT UNBLOCK #1 timeout; 1<; "
        "1! BLMOVE a b LEFT LEFT 0; 2 CLIENT UNBLOCK #1 ERROR; 1<; 2 CLIENT UNBLOCK #1; 2 RPUSH a x; 1 LLEN a"
    ),
    "unblocking's errors": (
        "1 CLIENT UNBLOCK; 1 CLIENT UNBLOCK x; 1 CLIENT UNBLOCK 999999; 1 CLIENT UNBLOCK -1; "
        "1 CLIENT UNBLOCK #1; 1 CLIENT UNBLOCK #1 x; 1 CLIENT UNBLOCK x x; 1 CLIENT UNBLOCK #1 ERROR x"
    ),
    "unblocked by a transaction": (
        "1! BLPOP a 0; 2 MULTI; 2 RPUSH a x; 2 CLIENT UNBLOCK #1 ERROR; 2 EXEC; 1<; 2 LLEN a"
    ),
    "who is unblocked may wait again": (
        "1! BLPOP a 0; 2! BLPOP a 0; 3 CLIENT UNBLOCK #1; 1<; 1! BLPOP a 0; 3 RPUSH a x y; 2<; 1<"
    ),
    "who left is passed over": "1! BLPOP a 0; 2! BLPOP a 0; 1-; 3 RPUSH a x; 2<; 3 LLEN a",
    "who is killed is passed over": (
        "1! BLPOP a 0; 2! BLPOP a 0; 3 CLIENT KILL ID #1; 3 RPUSH a x; 2<; 3 LLEN a; 3 CLIENT LIST ID #1"
    ),
    "killed in the transaction that pushes": (
        "1! BLPOP a 0; 2 MULTI; 2 RPUSH a x; 2 CLIENT KILL ID #1; 2 EXEC; 2 LRANGE a 0 -1"
    ),
    "what is sent behind waits": (
        "1! BLPOP a 0; 1~ PING 1; 1~ RPUSH b z; 2 EXISTS b; 2 RPUSH a x; 1<; 1<; 1<; 2 EXISTS b"
    ),
    "what is sent behind blocks in turn": ("1! BLPOP a 0; 1~ BLPOP a 0; 1~ PING; 2 RPUSH a x; 1<; 2 RPUSH a y; 1<; 1<"),
    "what is sent behind ends the connection": "1! BLPOP a 0; 1~ QUIT; 1~ PING; 2 RPUSH a x; 1<; 1<",
    "the state of who waits": "1! BLPOP a b 7; 2 CLIENT KILL TYPE pubsub; 2 CLIENT UNBLOCK #1; 1<",
    "watching who waits": "1 WATCH a; 2! BLPOP a 0; 3 RPUSH a x; 2<; 1 MULTI; 1 PING; 1 EXEC; 1 LLEN a",
    "a skipped answer": "1 PING; 1~ CLIENT REPLY SKIP; 1! BLPOP a 0; 2 RPUSH a x; 1 PING 2; 2 LLEN a",
    "no answers": "1~ CLIENT REPLY OFF; 1! BLPOP a 0; 1~ CLIENT REPLY ON; 2 RPUSH a x; 1<; 1 PING; 2 LLEN a",
    "a sorted set wakes": (
        "1! BZPOPMIN a 0; 2 ZADD a 2 x 1 y; 1<; 1! BZPOPMAX b 0; 2 ZADD b 1 x 2 y; 1<; 2 ZRANGE a 0 -1; "
        "1! BZMPOP 0 2 c d MAX COUNT 5; 2 ZINCRBY c 5 z; 1<; 2 ZCARD b; 2 EXISTS c"
    ),
    "sorted sets serve who came first": (
        "1! BZPOPMIN a 0; 2! BZPOPMAX a 0; 3! BZMPOP 0 1 a MIN COUNT 2; 4 ZADD a 1 p 2 q 3 r 4 s 5 t; 1<; 2<; 3<; "
        "4 ZRANGE a 0 -1; 1! BZPOPMIN z y 0; 4 MULTI; 4 ZADD y 1 p; 4 ZADD z 1 q; 4 EXEC; 1<; 4 ZCARD y; 4 ZCARD z"
    ),
    "made by other commands": (
        "1! BZPOPMIN a 0; 2 ZADD b 1 x 2 y; 2 ZUNIONSTORE a 1 b; 1<; 1! BZPOPMAX c 0; 2 ZRANGESTORE c b 0 -1; 1<; "
        "1! BZPOPMIN d 0; 2 GEOADD d 13 38 p; 1<; 1! BZPOPMIN e 0; 2 RENAME b e; 1<; 1! BZPOPMIN f 0; 2 COPY e f; 1<; "
        "1! BZPOPMIN g 0; 2 GEOADD h 13 38 p 13.1 38 q; 2 GEOSEARCHSTORE g h FROMMEMBER p BYRADIUS 90 km; 1<"
    ),
    "sorted sets and lists under one key": (
        "1! BZPOPMIN a 0; 2! BLPOP a 0; 3 RPUSH a x; 2<; 3 ZADD a 1 m; 1<; 1! BZPOPMIN a 0; 3 SET a x; 3 DEL a; "
        "3 ZADD a 1 m 2 n; 1<; 3 ZCARD a; 3 SET s x; 1 BZPOPMIN n s 0; 1 BZMPOP 0 2 n s MIN; 1 BZPOPMAX a s 0"
    ),
    "nobody waits for a sorted set inside of a transaction": (
        "1 MULTI; 1 BZPOPMIN a 0; 1 BZPOPMAX a b 0; 1 BZMPOP 0 1 a MIN; 1 ZADD a 1 x; 1 BZPOPMIN a 0; 1 EXEC; "
        "1 HELLO 3; 1 MULTI; 1 BZPOPMIN a 0; 1 BZMPOP 0 1 a MIN; 1 ZADD a 1 x 2 y; 1 BZMPOP 0 1 a MIN; "
        "1 BZPOPMAX a 0; 1 EXEC"
    ),
    "time passes without a sorted set": (
        "1 BZPOPMIN a 0.001; 1 BZPOPMAX a b 0.01; 1 BZMPOP 0.001 1 a MIN; 1 HELLO 3; 1 BZPOPMIN a 0.001; "
        "1 BZMPOP 0.001 2 a b MAX; 1! BZPOPMIN a 0; 2 CLIENT UNBLOCK #1 ERROR; 1<"
    ),
    "a sorted list": "1! BLPOP a 0; 2 RPUSH b 3 1 2; 2 SORT b STORE a; 1<; 2 LRANGE a 0 -1",
}


@pytest.mark.parametrize("name", DIALOGS)
def test_dialog_is_stocks(both: Both, name: str) -> None:
    assert_alike(both, DIALOGS[name])


def test_who_waits_is_listed_as_blocked(both: Both) -> None:
    told = []
    for server in both:
        with Talk(server) as talk:
            for step in ("1! BLPOP a 0", "2! BRPOP a b 100", "3 PING"):
                talk.step(step)
            lines = plain(talk("3", "CLIENT LIST")).split(b"\n")
            flags = {
                number: next(line for line in lines if line.startswith(b"id=%b " % number.encode()))
                for who, number in talk.ids.items()
                if who != "watcher"
            }
            told.append([re.findall(rb" (?:flags|cmd)=\S+", line) for line in flags.values()])
            told[-1].append(re.findall(rb"(?:blocked_clients|clients_in_timeout_table):\d+", talk("3", "INFO clients")))
    assert told[0] == told[1]


def logged(server: ServerProcess) -> list[list[bytes]]:
    """What the server's log has, without what only says where it belongs."""
    payload = b""
    for path in sorted(Path(server.directory).rglob("*.incr.aof")):
        payload += re.sub(rb"(?m)^#[^\n]*\n", b"", path.read_bytes())
    return [argv for argv in commands_of(payload) if argv[0].upper() not in (b"SELECT", b"MULTI", b"EXEC", b"FLUSHALL")]


def test_what_was_waited_for_is_logged_as_stock_logs_it(both: Both) -> None:
    dialog = (
        "1! BLPOP q 0; 2! BRPOP q 0; 3! BLMPOP 0 1 q LEFT COUNT 9; 4 RPUSH q 1 2 3 4; 1<; 2<; 3<; "
        "1! blmove q r left right 0; 2! BRPOPLPUSH r q 0; 3! BLMPOP 0 2 z q RIGHT; 4 RPUSH q 5; 1<; 2<; 3<; "
        "4 RPUSH q 6 7 8 9 10; 1 BLPOP q 0; 1 BRPOP q 0; 1 BLMOVE q r RIGHT LEFT 0; 1 BRPOPLPUSH q r 0; "
        "1 BLMPOP 0 1 q LEFT; 1 LMPOP 2 q r LEFT COUNT 10; 1 BLPOP r 0.001; "
        "1! BZPOPMIN z 0; 2! BZMPOP 0 1 z MAX COUNT 2; 4 ZADD z 1 a 2 b 3 c 4 d; 1<; 2<; 1 BZPOPMAX z 0; "
        "4 ZADD z 1 a 2 b; 1 ZMPOP 2 y z MIN COUNT 9; 1 BZPOPMIN z 0.001"
    )
    counts = [len(logged(server)) for server in both]
    assert_alike(both, dialog)
    stock, ours = (logged(server)[count:] for server, count in zip(both, counts, strict=True))
    assert [[argv[0].upper(), *argv[1:]] for argv in ours] == [[argv[0].upper(), *argv[1:]] for argv in stock]


# ---- by chance -------------------------------------------------------------------------


WAITING = (
    "BLPOP {a} {b} 0; BRPOP {a} 0; BLMOVE {a} {b} LEFT RIGHT 0; BRPOPLPUSH {a} {b} 0; BLMPOP 0 2 {a} {b} RIGHT COUNT 2"
)
WAKING = (
    "RPUSH {a} x y z; LPUSH {a} x; LPUSH {a} x y; DEL {a}; SET {a} s; RENAME {a} {b}; LMOVE {a} {b} LEFT LEFT; "
    "COPY {a} {b} REPLACE; LTRIM {a} 1 -1; SETNX {a} x"
)


def random_turns(rng: Random) -> list[tuple[str, str]]:
    """(client, command): four who wait and one, 0, who does what may wake them.

    No SWAPDB: in which order it serves several keys hangs on the hashes of stock's table.
    """
    turns = []
    for _ in range(60):
        who = rng.choice("12340000")
        line = rng.choice((WAKING if who == "0" else WAITING).split("; "))
        turns.append((who, line.format(a=rng.choice("abc"), b=rng.choice("abc"))))
    return turns


class Crowd:
    """Who of a talk's clients waits; each answer is taken as soon as it is there."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.waiting: dict[str, str] = {}

    def turn(self, who: str, line: str) -> list[bytes]:
        """A turn, unless its client is blocked; the answers that came of it."""
        if who == "0":
            return [self.talk("0", line), *self._answers()]
        if who not in self.waiting:
            self.talk.send(who, line.encode() + b"\r\n")
            self.waiting[who] = f" cmd={line.split()[0].lower()} "
        return self._answers()

    def _answers(self) -> list[bytes]:
        found = []
        for who, sent in sorted(self.waiting.items()):
            while sent not in (listed := self._listed(who)):
                pass  # its command has not come yet
            if " flags=b " not in listed and " flags=bU " not in listed:
                del self.waiting[who]
                found += [who.encode(), self.talk.read(who)]
                assert self.talk(who, "CLIENT ID")
        return found

    def _listed(self, who: str) -> str:
        listed: bytes = plain(self.talk("watcher", f"CLIENT LIST ID #{who}"))
        return listed.decode()


@pytest.mark.parametrize("seed", range(8))
def test_random_dialogs_are_stocks(both: Both, seed: int) -> None:
    told = []
    for server in both:
        with Talk(server) as talk:
            crowd = Crowd(talk)
            told.append([crowd.turn(*turn) for turn in random_turns(Random(seed))])
            told[-1].append([talk("0", f"LRANGE {key} 0 -1") for key in "abc"])
    assert told[0] == told[1]


# ---- where we are not stock, on purpose ------------------------------------------------


def test_a_list_that_takes_another_values_place_wakes(both: Both) -> None:
    """Stock overlooks a list that SORT ... STORE puts over a value of another type: who waits goes on waiting."""
    _, ours = both
    assert play(ours, "1! BLPOP a 0; 2 SET a s; 2 RPUSH b 1; 2 SORT b STORE a; 1<; 2 EXISTS a") == [
        b"+OK\r\n",
        b":1\r\n",
        b":1\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\n1\r\n",
        b":0\r\n",
    ]
