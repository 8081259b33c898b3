"""The compiled hot path does what the plain one does: the same bytes to both, and everything comes out the same."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from random import Random

import oracle_keys_lines  # noqa: F401 - plugs in its generators
import pytest
from oracle_lines import Lines
from server_harness import PerdureServer, read_state

from perdure.store.resp import encode

pytest.importorskip("perdure.server.native", reason="the compiled hot path is not built here")
Pair = tuple[PerdureServer, PerdureServer]

FEW = [b"SET", b"GET"]
MANY = [b"SET", b"GET", b"MGET", b"DEL", b"HSET", b"HGET", b"EXPIREAT", b"GETEX", b"APPEND", b"TYPE", b"RENAME"]
ODD = [
    b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"\r\n", b"*0\r\n", b"*-1\r\n", b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
    b"*2\r\n$3\r\nget\r\n$1\r\naXX", b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\nbXX", b"*1\r\n$-1\r\n", b"*1\r\n+PING\r\n",
    b"*1\r\n:5\r\n", b"*01\r\n$4\r\nPING\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999999\r\n", b"*x\r\n", b"$3\r\n",
    b"*5000\r\n$1\r\n", b"set a 7\r\nGET a\r\nPING\r\nping\r\nping x\r\n", b"SET  a 7\r\n", b" GET a\r\n", b"GET a\n",
    b"GET \"a\"\r\n", b"MGET a b c d e f g h i j\r\n", b"GET a \r\n", b"ECHO \xff\r\n", b"PING\rx\r\n", b"PING",
    b"*3\r\n$3\r\nSeT\r\n$1\r\nk\r\n$2\r\nvv\r\n", b"*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n", b"*1025\r\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("native")
    with PerdureServer(folder / "compiled") as compiled, PerdureServer(folder / "plain") as plain:
        plain.environment = {**os.environ, "PERDURE_NATIVE": "no"}
        compiled.environment = {name: value for name, value in os.environ.items() if name != "PERDURE_NATIVE"}
        yield compiled.start(), plain.start()


def answer(server: PerdureServer, pieces: list[bytes]) -> bytes:
    """What comes back for these pieces, up to the end of the connection, which we ask for behind them."""
    out = b""
    with server.connect() as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(1 << 16):
                out += data
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed behind what broke the protocol
    return out


def cut(rng: Random, data: bytes) -> list[bytes]:
    places = sorted(rng.sample(range(len(data)), min(len(data), rng.randrange(8))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


def test_each_path_is_the_one_it_should_be(pair: Pair) -> None:
    paths = []
    for server in pair:
        with server.client() as client:
            paths.append(client.info("server")["perdure_hot_path"])
    assert paths == ["compiled", "python"]


@pytest.mark.parametrize("seed", range(40))
def test_the_same_bytes_get_the_same_answers_however_they_are_cut(pair: Pair, seed: int) -> None:
    rng = Random(seed)
    lines = Lines(seed)
    names = FEW if seed % 2 else MANY
    parts = [encode(line) for line in lines.many(rng.randrange(1, 120), names)]
    parts += [encode([b"set", b"k%d" % n, rng.randbytes(rng.choice((3, 300, 20_000)))]) for n in range(5)]
    parts += [encode([word]) for word in (b"MULTI", b"EXEC", b"PING")]
    rng.shuffle(parts)
    if seed % 3 == 0:
        parts.append(rng.choice(ODD))
    data = b"".join([encode([b"FLUSHALL"]), *parts])
    answers = [answer(server, cut(Random(seed), data)) for server in pair]
    assert answers[0] == answers[1]
    states = [read_state(server) for server in pair]
    assert states[0].keys() == states[1].keys()
    assert [value[:2] for value in states[0].values()] == [value[:2] for value in states[1].values()]


@pytest.mark.parametrize("part", ODD)
def test_odd_requests_behind_good_ones_are_answered_the_same(pair: Pair, part: bytes) -> None:
    good = encode([b"SET", b"a", b"1"]) + encode([b"GET", b"a"])
    for data in (part, good + part, good + part + good):
        assert answer(pair[0], [data]) == answer(pair[1], [data])


def test_calls_and_look_ups_are_counted_the_same(pair: Pair) -> None:
    counted = []
    for server in pair:
        with server.client() as client:
            client.flushall()
            client.config_resetstat()
            pipe = client.pipeline(transaction=False)
            for n in range(300):
                pipe.set(f"k{n % 7}", n).get(f"k{n % 9}").incr("n")
            pipe.execute()
            stats = client.info("commandstats")
            info = client.info("stats")
            counted.append(
                [stats[f"cmdstat_{name}"]["calls"] for name in ("set", "get", "incrby")]
                + [info[name] for name in ("keyspace_hits", "keyspace_misses", "total_commands_processed")]
            )
            assert all(stats[f"cmdstat_{name}"]["usec"] > 0 for name in ("set", "get", "incrby"))
    assert counted[0] == counted[1]


def test_a_value_of_many_reads_arrives_whole(pair: Pair) -> None:
    value = Random(5).randbytes(3_000_000)
    with pair[0].client() as client:
        pipe = client.pipeline(transaction=False)
        pipe.set("small", 1).set("big", value).get("small").get("big")
        assert pipe.execute() == [True, True, b"1", value]


def test_a_time_to_live_is_seen_on_the_short_way(pair: Pair) -> None:
    with pair[0].client() as client:
        client.set("gone", "x", pxat=1)
        client.set("stays", "x", ex=1000)
        assert client.get("gone") is None
        assert client.get("stays") == b"x"
        client.set("stays", "y")
        assert client.ttl("stays") == -1


def test_a_killed_client_is_closed_before_the_killer_is_answered(pair: Pair) -> None:
    """A pool that looks at its connections before it uses them sees which are gone, as with stock."""
    with pair[0].client(protocol=2) as killer:
        for _ in range(20):
            with pair[0].connect() as victim:
                victim.sendall(b"CLIENT ID\r\n")
                number = int(victim.recv(64)[1:-2])
                assert killer.client_kill_filter(_id=str(number)) == 1
                victim.setblocking(False)
                assert victim.recv(1) == b""
