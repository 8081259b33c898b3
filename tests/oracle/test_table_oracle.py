"""The whole command table, each command in every situation, on both servers, in both protocols.

A command's least line is made of its syntax (``store.syntax``).  It is sent on a key of
every type and on one that is not there, with arguments missing and with one too many, in
MULTI, from a script, by a user who may not run it and by one who may not touch its keys.
Before each line the data is made anew, behind it RESET ends whatever it began, so
everything up to RESET's answer is the line's.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import oracle_generators  # noqa: F401 - plugs in what of replies is left open
import pytest
from oracle_differences import NEWER_ARITY
from oracle_harness import COMPARERS, Comparer, compare, read_frame, tree
from server_harness import PerdureServer, ServerProcess, StockServer

import perdure.server.commands  # noqa: F401 - fills the command table
from perdure.store.command import Command, every_command
from perdure.store.resp import encode
from perdure.store.syntax import Argument, arguments_of

pytestmark = pytest.mark.oracle
Line = list[bytes]

KEYS = (b"string", b"list", b"set", b"zset", b"hash", b"stream", b"none")
DATA = [
    line.encode().split()
    for line in (
        "FLUSHALL", "SET string 10", "RPUSH list 1 2 a", "SADD set a b", "ZADD zset 1 a 2 b", "HSET hash a 1 f x",
        "XADD stream 1-1 f v", "XGROUP CREATE stream x 0",
    )
]  # fmt: skip
KEY_OF_GROUP = {
    "hash": b"hash", "list": b"list", "set": b"set", "sorted-set": b"zset", "geo": b"zset", "stream": b"stream",
}  # fmt: skip
SAMPLES = {
    "id": b"5-1", "start": b"0", "stop": b"1", "end": b"1", "min": b"0", "max": b"9", "member": b"a", "field": b"a",
    "timeout": b"0.01", "milliseconds": b"9999999", "unix-time-seconds": b"9999999999", "script": b"return 1",
    "unix-time-milliseconds": b"9999999999999", "min-idle-time": b"0", "numreplicas": b"0", "index1": b"1",
    "protover": b"2", "destination-db": b"1", "cursor": b"0", "numlocal": b"0",
}  # fmt: skip
SAMPLES_OF_TYPES = {"integer": b"1", "double": b"1", "pattern": b"*", "unix-time": b"9999999999"}

NEVER = {
    b"QUIT": "ends the connection",
    b"SHUTDOWN": "ends the server",
    b"RESET": "is what ends each line here",
    b"MONITOR": "has no end of its answer",
    b"SYNC": "stock begins to replicate",
    b"CLIENT|REPLY": "takes the answers away",
}
NOT_WHOLE = {
    b"PSYNC": "stock begins to replicate",
    b"REPLICAOF": "stock begins to replicate",
    b"SLAVEOF": "stock begins to replicate",
    b"CLIENT|PAUSE": "everybody waits",
    b"CONFIG|REWRITE": "there is no file",
    b"SCRIPT|DEBUG": "stock refuses it where more was sent behind it",
}
"""Commands whose least line is not sent."""
LOOSE = frozenset({
    b"COMMAND", b"COMMAND|LIST", b"COMMAND|COUNT", b"COMMAND|DOCS", b"COMMAND|INFO", b"CONFIG|GET", b"INFO", b"TIME",
    b"LASTSAVE", b"HELLO", b"LOLWUT", b"CLIENT|ID", b"CLIENT|INFO", b"CLIENT|LIST", b"ACL|GENPASS", b"ACL|LOG",
    b"MEMORY|USAGE", b"MEMORY|STATS", b"MEMORY|DOCTOR", b"MEMORY|MALLOC-STATS", b"SLOWLOG|GET", b"SLOWLOG|LEN",
    b"LATENCY|HISTOGRAM", b"LATENCY|DOCTOR", b"LATENCY|LATEST", b"FUNCTION|DUMP",
    b"FUNCTION|STATS",
})  # fmt: skip
"""Commands whose answers only have stock's type; so has every HELP."""


def same_type(argv: Line, theirs: Any, ours: Any) -> bool:
    """An answer that must differ: the same type, and the same error if it is one."""
    return bool(theirs[0] == ours[0] and (theirs[0] != b"-" or theirs == ours))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Talk, Talk]]:
    folder = tmp_path_factory.mktemp("table")
    with StockServer(folder / "stock") as stock, PerdureServer(folder / "ours") as ours:
        talks = Talk(stock.start()), Talk(ours.start())
        yield talks
        for talk in talks:
            talk.close()


class Talk:
    """A connection on which lines are sent with their surroundings."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.sock: socket.socket = server.connect()
        self.stream = self.sock.makefile("rb")

    def answers(self, dialogs: list[list[Line]], resp3: bool) -> list[list[bytes]]:
        """What comes back for each dialog, of which the data and a protocol are set up before."""
        hello = [b"HELLO", b"3" if resp3 else b"2"]
        for dialog in dialogs:
            self.sock.sendall(b"".join(map(encode, [*DATA, hello, *dialog, [b"RESET"]])))
        found = []
        for _ in dialogs:
            for _ in range(len(DATA) + 1):
                read_frame(self.stream)
            frames = []
            while (frame := read_frame(self.stream)) != b"+RESET\r\n":
                frames.append(frame)
            found.append(frames)
        return found

    def close(self) -> None:
        self.stream.close()
        self.sock.close()


# ---- lines ---------------------------------------------------------------------------------------


def words_of(argument: Argument, key: bytes) -> Line:
    """The least that may stand for an argument; nothing for an optional one."""
    if argument.optional:
        return []
    token = [argument.token.encode()] if argument.token else []
    if argument.type == "pure-token":
        return token
    if argument.type == "oneof":
        return token + words_of(argument.arguments[0], key)
    if argument.type == "block":
        return token + [word for part in argument.arguments for word in words_of(part, key)]
    if argument.type == "key":
        return [*token, key]
    return [*token, SAMPLES.get(argument.name) or SAMPLES_OF_TYPES.get(argument.type, b"x")]


def least_line(entry: Command, key: bytes) -> Line:
    """A command line with as few arguments as may be."""
    line = entry.name.split(b"|")
    for argument in arguments_of(entry):
        line += words_of(argument, key)
    return [b"5-1" if word == b"*" and entry.name == b"XADD" else word for word in line]


def in_stock(entry: Command) -> bool:
    """Does stock 7.0 know it?"""
    return entry.since <= "7.0.15" and entry.name not in NEWER_ARITY


COMMANDS = [entry for entry in every_command() if in_stock(entry) and entry.name not in NEVER]
WHOLE = [entry for entry in COMMANDS if entry.name not in NOT_WHOLE and not entry.subcommands]


def usual_line(entry: Command) -> Line:
    """The least line on a key of the type that the command is for."""
    return least_line(entry, KEY_OF_GROUP.get(entry.group, b"string"))


# ---- comparing -------------------------------------------------------------------------------------


def comparer_of(argv: Line) -> Comparer | None:
    name = argv[0].upper()
    full = name + b"|" + argv[1].upper() if len(argv) > 1 else name
    for each in (full, name):
        if each in LOOSE or each.endswith(b"|HELP"):
            return same_type
        if each in COMPARERS:
            return COMPARERS[each]
    return None


def difference(argv: Line, theirs: list[bytes], ours: list[bytes]) -> str:
    """Empty if the frames are the same as far as stock promises; ``argv`` is the command that they answer."""
    function = comparer_of(argv)
    if len(theirs) == len(ours):
        for its, mine in zip(theirs, ours, strict=True):
            if its != mine and not (function and function(argv, tree(its), tree(mine))) and compare(argv, its, mine):
                break
        else:
            return ""
    return f"{b' '.join(argv[:12])!r}\n    stock: {b''.join(theirs)[:300]!r}\n    ours:  {b''.join(ours)[:300]!r}"


def check(
    both: tuple[Talk, Talk],
    lines: list[Line],
    resp3: bool,
    around: tuple[list[Line], list[Line]] = ([], []),
    script: bool = False,
) -> None:
    """Send the lines to both, each with lines before and behind it; whatever differs fails."""
    before, behind = around
    pcall = [b"EVAL", b"return redis.pcall(unpack(ARGV))", b"0"] if script else []
    dialogs = [[*before, [*pcall, *line], *behind] for line in lines]
    found: list[str] = []
    for at in range(0, len(dialogs), 40):
        part = dialogs[at : at + 40]
        theirs, ours = (talk.answers(part, resp3) for talk in both)
        found += filter(None, map(difference, lines[at : at + 40], map(_inner, theirs), map(_inner, ours)))
    assert not found, f"{len(found)} of {len(lines)} differ:\n" + "\n".join(found[:25])


def _inner(frames: list[bytes]) -> list[bytes]:
    """The frames, EXEC's array of one as its member, so that it is compared as the command's own answer."""
    if frames and frames[-1].startswith(b"*1\r\n"):
        return [*frames[:-1], frames[-1][4:]]
    return frames


STRICTER = {
    b"PFMERGE": "without a source stock finds no key at all, and lets everybody at the destination",
}
"""Commands that ask for rights where stock forgets to."""

BOTH_PROTOCOLS = pytest.mark.parametrize("resp3", [False, True], ids=["resp2", "resp3"])


# ---- situations --------------------------------------------------------------------------------------


@BOTH_PROTOCOLS
def test_with_arguments_missing_or_one_too_many(both: tuple[Talk, Talk], resp3: bool) -> None:
    lines: list[Line] = []
    for entry in COMMANDS:
        line = usual_line(entry)
        least = entry.name.count(b"|") + 1
        lines += [line[:n] for n in range(least, abs(entry.arity))]
        if entry in WHOLE:
            lines.append([*line, b"x"])
        elif entry.arity > 0:
            lines.append([*line, *[b"x"] * (entry.arity - len(line) + 1)])
    check(both, lines, resp3)


@BOTH_PROTOCOLS
@pytest.mark.parametrize("key", KEYS)
def test_on_a_key_of_every_type(both: tuple[Talk, Talk], key: bytes, resp3: bool) -> None:
    check(both, [least_line(entry, key) for entry in WHOLE if arguments_of(entry)], resp3)


@BOTH_PROTOCOLS
def test_subcommands_in_any_case_and_unknown_ones(both: tuple[Talk, Talk], resp3: bool) -> None:
    containers = [entry for entry in COMMANDS if entry.subcommands]
    lines = [[entry.name, b"nosuch"] for entry in containers]
    lines += [[entry.name.lower(), b"hElP"] for entry in containers if b"HELP" in entry.subcommands]
    check(both, lines, resp3)


@BOTH_PROTOCOLS
def test_in_a_transaction(both: tuple[Talk, Talk], resp3: bool) -> None:
    check(both, [usual_line(entry) for entry in WHOLE], resp3, around=([[b"MULTI"]], [[b"EXEC"]]))


@BOTH_PROTOCOLS
def test_in_a_script(both: tuple[Talk, Talk], resp3: bool) -> None:
    check(both, [usual_line(entry) for entry in WHOLE], resp3, script=True)


@BOTH_PROTOCOLS
def test_without_the_right_to_the_command(both: tuple[Talk, Talk], resp3: bool) -> None:
    for entry in WHOLE:
        rules = [b"reset", b"on", b"nopass", b"~*", b"&*", b"+@all", b"-" + entry.lower_name]
        user = [[b"ACL", b"SETUSER", b"u", *rules], [b"AUTH", b"u", b"x"]]
        check(both, [usual_line(entry)], resp3, around=(user, []))


@BOTH_PROTOCOLS
def test_without_a_right_to_any_key_or_channel(both: tuple[Talk, Talk], resp3: bool) -> None:
    user = [b"ACL", b"SETUSER", b"u", b"reset", b"on", b"nopass", b"resetkeys", b"resetchannels", b"+@all"]
    lines = [usual_line(entry) for entry in WHOLE if entry.name not in STRICTER]
    check(both, lines, resp3, around=([user, [b"AUTH", b"u", b"x"]], []))
