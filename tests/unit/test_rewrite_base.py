"""The BASE of a rewrite: what is written is read back, in both forms, and what differs is found."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from crash_everything import LIBRARY, lines_of_everything

import perdure.server.commands  # noqa: F401 - registers every command
from perdure.server.touched import commands_of
from perdure.snapshot.base import load_base
from perdure.snapshot.digest import of_keyspace
from perdure.snapshot.rewrite import BaseForm, BaseWrong, write_base
from perdure.store import value_types
from perdure.store.database import Keyspace
from perdure.store.replay import replay
from perdure.store.resp import encode
from perdure.store.tx import NoLog, Tx
from perdure.wal.simulated import Call, SimulatedFilesystem

PATH = "/data/temp-rewriteaof-bg-1.aof"
CODE = LIBRARY.format(name="one").encode()
PAST_MS = 1_000_000_000_000


def filled() -> Keyspace:
    """Everything, fields that expire, what is due, and keys whose order does not matter."""
    keyspace = Keyspace(16)
    tx = Tx(keyspace, NoLog(), Random(1), {})
    lines = [line for line in lines_of_everything("k") if line[0] != "FUNCTION"]
    lines += [
        ["HPEXPIREAT", "k:hash", 4_000_000_000_000, "FIELDS", 1, "a"],
        ["HPEXPIREAT", "k:hash", PAST_MS, "FIELDS", 1, "b"],
        ["PEXPIREAT", "k:plain", PAST_MS],
        ["SELECT", 5],
        ["SET", "k:plain", "in another database"],
        ["HSET", "all due", "f", "v"],
        ["HPEXPIREAT", "all due", PAST_MS, "FIELDS", 1, "f"],
        ["XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", ">"],
    ]
    lines[-1:-1] = [["XADD", "s", "1-1", "a", "b"], ["XADD", "s", "2-1", "a", "b"], ["XGROUP", "CREATE", "s", "g", 0]]
    lines.append(["XDEL", "s", "1-1"])
    replay(tx, [[str(word).encode() if not isinstance(word, bytes) else word for word in line] for line in lines])
    return keyspace


def contents(keyspace: Keyspace) -> Any:
    return [
        {key: (value_types.of(v).plain(v), db.expires.get(key)) for key, v in dict.items(db)}
        for db in keyspace.databases
    ]


def nothing(done: int, total: int) -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize("rdb", [True, False])
def test_what_is_written_is_what_is_loaded(rdb: bool) -> None:
    keyspace, fs = filled(), SimulatedFilesystem()
    written = write_base(fs, PATH, keyspace, [CODE], BaseForm(rdb=rdb, unix_s=1_700_000_000), nothing)
    assert (written.bytes, written.keys) == (fs.size(PATH), keyspace.key_count())
    twin = Keyspace(16)
    tx = Tx(twin, NoLog(), Random(1), {})
    if rdb:
        assert load_base(fs, PATH, twin, tx.limits, lambda done: None).functions == [CODE]
    else:
        data = fs.content(PATH)
        assert data.startswith(b"#TS:1700000000\r\n")
        commands = commands_of(data.partition(b"\n")[2])
        assert commands[0] == [b"FUNCTION", b"LOAD", CODE]
        assert max(len(argv) for argv in commands) <= 2 * 64 + 2
        replay(tx, commands[1:])
    assert contents(twin) == contents(keyspace)
    assert not fs.crash(Random(1)).exists(PATH) or fs.crash(Random(2)).content(PATH) == fs.content(PATH)


@pytest.mark.parametrize("rdb", [True, False])
def test_every_changed_byte_of_the_file_is_found(rdb: bool) -> None:
    keyspace = Keyspace(4)
    tx = Tx(keyspace, NoLog(), Random(1), {})
    replay(tx, [line.encode().split() for line in ("SET k value", "ZADD z -1 m", "HSET h f v", "RPUSH l 1")])
    size = write_base(SimulatedFilesystem(), PATH, keyspace, [], BaseForm(rdb=rdb, checksum=False), nothing).bytes
    for at in range(size):
        fs = SimulatedFilesystem()

        def rot(call: Call, fs: SimulatedFilesystem = fs, at: int = at) -> None:
            if call.name == "close":
                fs._node(PATH).data[at] ^= 1

        fs.on_call = rot  # type: ignore[assignment]
        with pytest.raises(BaseWrong, match="temp-rewriteaof"):
            write_base(fs, PATH, keyspace, [], BaseForm(rdb=rdb, checksum=False), nothing)


def test_digests_differ_where_anything_does() -> None:
    def digest_after(*lines: tuple[Any, ...]) -> tuple[int, int]:
        keyspace = Keyspace(4)
        tx = Tx(keyspace, NoLog(), Random(1), {})
        replay(tx, [[str(word).encode() for word in line] for line in lines])
        found = of_keyspace(keyspace, [])
        return found.sum, found.keys

    different = [
        [("SET", "k", "v")],
        [("SET", "k", "w")],
        [("SET", "v", "k")],
        [("SELECT", 1), ("SET", "k", "v")],
        [("SET", "k", "v"), ("PEXPIREAT", "k", 5)],
        [("SET", "k", "v"), ("PEXPIREAT", "k", 6)],
        [("RPUSH", "k", "a", "b")],
        [("RPUSH", "k", "b", "a")],
        [("SADD", "k", "a", "b")],
        [("ZADD", "k", -1, "a")],
        [("ZADD", "k", -2, "a")],
        [("HSET", "k", "a", "b")],
        [("HSET", "k", "b", "a")],
        [("HSET", "k", "a", "b"), ("HPEXPIREAT", "k", 7, "FIELDS", 1, "a")],
        [("XADD", "k", "1-1", "a", "b")],
        [("XADD", "k", "1-1", "a", "b"), ("XADD", "k", "1-2", "a", "b"), ("XDEL", "k", "1-2")],
    ]
    assert len({digest_after(*lines) for lines in different}) == len(different)
    one, other = ("SADD", "k", "a", "b"), ("SET", "x", 1)
    assert digest_after(one, other) == digest_after(other, ("SADD", "k", "b", "a"))


def test_a_value_of_many_members_is_built_by_commands_of_bounded_size() -> None:
    keyspace, fs = Keyspace(1), SimulatedFilesystem()
    tx = Tx(keyspace, NoLog(), Random(1), {})
    replay(tx, [[b"SADD", b"s", *(b"%d" % i for i in range(5000))], [b"RPUSH", b"l", *[b"x" * 100_000] * 50]])
    write_base(fs, PATH, keyspace, [], BaseForm(rdb=False), nothing)
    assert max(len(encode(argv)) for argv in commands_of(fs.content(PATH))) < 2 << 20
