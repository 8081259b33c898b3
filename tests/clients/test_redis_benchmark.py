"""redis-benchmark 7.0 with all its default tests: every one of them is run to its end, and none gets an error.

How fast they are is measured elsewhere; here each runs a thousand times only.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator

import pytest
from server_harness import ServerProcess, stock_path

PASSWORD = "open sesame"
DEFAULT_TESTS = [
    "PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP", "ZADD",
    "ZPOPMIN", "LPUSH (needed to benchmark LRANGE)", "LRANGE_100 (first 100 elements)",
    "LRANGE_300 (first 300 elements)", "LRANGE_500 (first 500 elements)", "LRANGE_600 (first 600 elements)",
    "MSET (10 keys)",
]  # fmt: skip


@pytest.fixture
def guarded(server: ServerProcess) -> Iterator[ServerProcess]:
    """The server with a password."""
    with server.client() as client:
        client.config_set("requirepass", PASSWORD)
        try:
            yield server
        finally:
            client.config_set("requirepass", "")


def run(server: ServerProcess, *options: str, by_port: bool = False) -> list[str]:
    """Run redis-benchmark; the names of its tests, after it has been found well."""
    where = ["-h", "127.0.0.1", "-p", str(server.port)] if by_port else ["-s", server.socket_path]
    done = subprocess.run(
        [stock_path("redis-benchmark"), *where, "--csv", "-n", "1000", *options],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING: Keepalive disabled.")]
    assert (done.returncode, said) == (0, []), done.stdout
    header, *rows = csv.reader(done.stdout.splitlines())
    assert header[:2] == ["test", "rps"] and all(len(row) == len(header) for row in rows), done.stdout
    assert all(float(row[1]) > 0 for row in rows)
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-P", "16"],
        ["--threads", "2"],
        ["-r", "100"],
        ["-r", "100000", "-P", "8", "-d", "1000", "-c", "10"],
        ["-3"],
        ["--dbnum", "7"],
        ["--enable-tracking"],
        ["-k", "0", "-c", "5"],
    ],
    ids=" ".join,
)
def test_all_default_tests_run_without_an_error(server, options):
    assert run(server, *options, by_port="--threads" in options) == DEFAULT_TESTS


def test_it_says_what_the_server_is_set_to(server):
    """It asks for ``save`` and ``appendonly``, and says so where it is not told."""
    done = subprocess.run(
        [stock_path("redis-benchmark"), "-s", server.socket_path, "-n", "100", "-t", "ping,set", "-c", "2"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "host configuration \"save\":" in done.stdout and "host configuration \"appendonly\": yes" in done.stdout
    assert "WARNING" not in done.stdout and "100.000% <= " in done.stdout


def test_with_a_password(guarded):
    assert run(guarded, "-a", PASSWORD) == DEFAULT_TESTS
    assert run(guarded, "-a", PASSWORD, "--user", "default", "-P", "16") == DEFAULT_TESTS


def test_without_the_password_it_stops(guarded):
    done = subprocess.run(
        [stock_path("redis-benchmark"), "-s", guarded.socket_path, "-n", "100", "-t", "set", "-q"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0 and "NOAUTH" in done.stdout + done.stderr


def test_commands_of_ones_own(server):
    assert run(server, "-r", "50", "ZADD", "board", "__rand_int__", "player:__rand_int__") != []
    assert run(server, "XADD", "log", "*", "field", "__data__") != []
    script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    assert run(server, "EVAL", script, "1", "count", "2") != []
    with server.client() as client:
        assert client.zcard("board") <= 50 and int(client.get("count")) >= 2000
