"""Commands that ask for too much: memory, time, or a place where they may not stand.  Answered, and the server lives.

What they did stands in a log that replays: each test ends with a kill, a restart and the same keyspace.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from server_harness import PerdureServer, StockServer, read_state, state_differences

WAITING = 10_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PerdureServer]:
    with PerdureServer(tmp_path / "data") as running:
        running.start()
        with running.client() as client:
            client.set("canary", "sings")
        yield running
        assert running.alive(), running.log()[-3000:]
        assert "Traceback" not in running.log()
        before = read_state(running)
        running.kill9()
        running.start()
        assert not state_differences(before, read_state(running))
        assert before[0, b"canary"][1] == b"sings"


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockServer]:
    with StockServer(tmp_path_factory.mktemp("stock")) as running:
        yield running.start()


def errors_of(server: PerdureServer | StockServer, lines: list[list[object]]) -> list[str]:
    """The error that each line gets, or what it returns."""
    out = []
    with server.client() as client:
        for line in lines:
            try:
                out.append(str(client.execute_command(*line)))
            except redis.ResponseError as error:
                out.append(f"-{error}")
    return out


@pytest.mark.oracle
def test_what_would_take_a_gibibyte_is_refused_as_by_stock(server: PerdureServer, stock: StockServer) -> None:
    lines: list[list[object]] = [
        ["SETRANGE", "big", 1 << 30, "x"],
        ["SETRANGE", "big", (1 << 63) - 1, "x"],
        ["SETBIT", "bits", 1 << 33, 1],
        ["SETBIT", "bits", (1 << 32), 1],
        ["BITFIELD", "bits", "SET", "u8", 1 << 33, 1],
        ["EXISTS", "big", "bits"],
        ["STRLEN", "bits"],
    ]
    assert errors_of(server, lines) == errors_of(stock, lines)


@pytest.mark.oracle
def test_a_pattern_that_backtracks_is_answered_as_by_stock(server: PerdureServer, stock: StockServer) -> None:
    key = "a" * 3000
    lines: list[list[object]] = [
        ["SET", key, "x"],
        ["KEYS", "a*" * 12 + "b"],
        ["KEYS", "*" * 2000 + "b"],
        ["KEYS", "[^b]*" * 10 + "a"],
        ["SCAN", "0", "MATCH", "a*" * 12 + "b", "COUNT", "100"],
        ["DEL", key],
    ]
    assert errors_of(server, lines)[:4] == errors_of(stock, lines)[:4]


@pytest.mark.oracle
@pytest.mark.parametrize("protocol", [2, 3])
def test_subscribing_inside_a_transaction_is_answered_as_by_stock(
    server: PerdureServer, stock: StockServer, protocol: int
) -> None:
    lines = [b"HELLO %d" % protocol, b"MULTI", b"SUBSCRIBE a b", b"SET k v", b"PUBLISH a x", b"EXEC", b"PING"]
    talk = b"\r\n".join([*lines, b"UNSUBSCRIBE", b"PING", b""])
    heard = []
    for running in (server, stock):
        with running.connect() as sock:
            sock.sendall(talk)
            sock.shutdown(socket.SHUT_WR)
            data = b""
            while piece := sock.recv(1 << 16):
                data += piece
        heard.append(data[data.index(b"+OK") :])
    # The same lines; a message to the transaction's own client comes behind EXEC's answer here.
    assert sorted(heard[0].split(b"\r\n")) == sorted(heard[1].split(b"\r\n"))


def test_ten_thousand_clients_wait_for_one_key_and_are_served_in_order(server: PerdureServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(WAITING - 200, hard - 500)  # maxclients is 10,000
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 500)), hard))
    waiting: list[socket.socket] = []
    try:
        # One client throughout: another would find the listening queue full of those that come to wait.
        with server.client() as client:
            for number in range(count):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(server.socket_path)
                waiting.append(sock)
                sock.sendall(b"BLPOP queue 0\r\n")
                if number < 3 or number == count - 1:
                    while client.info("clients")["blocked_clients"] != number + 1:
                        pass
            assert client.ping()
            client.rpush("queue", "first", "second")
            pipe = client.pipeline(transaction=False)
            for _ in range(count - 2):
                pipe.rpush("queue", "x")
            pipe.execute()
            while client.info("clients")["blocked_clients"]:
                pass
            assert client.exists("queue") == 0
        assert waiting[0].recv(100) == b"*2\r\n$5\r\nqueue\r\n$5\r\nfirst\r\n"
        assert waiting[1].recv(100) == b"*2\r\n$5\r\nqueue\r\n$6\r\nsecond\r\n"
        assert all(sock.recv(100) == b"*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n" for sock in waiting[2:])
    finally:
        for sock in waiting:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
