"""redis-cli 7.0 by hand: the same command lines on ours and on stock print the same.

What hangs on the time, on addresses or on memory is made equal first (``plain``) or compared by its shape.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clients_harness import PATIENCE_S, on_stock
from server_harness import ServerProcess, StockServer, stock_path

from perdure.store.resp import encode

SAMPLE = [
    "SET name ada", "SET number 17", "SET long " + "x" * 900, "HSET hash a 1 b 2 c 3", "RPUSH list a b c d e",
    "SADD set m n", "ZADD zset 1 one 2.5 two 3 three", "XADD stream 1-1 f v", "XADD stream 2-1 f w g x",
    "SET quoted \"a\\tb\\x00\\xff\"", "EXPIRE number 1000", "SET empty \"\"", "HSET other field value",
]  # fmt: skip


class Cli:
    """redis-cli on one server."""

    def __init__(self, server: ServerProcess) -> None:
        self.path = stock_path("redis-cli")
        self.server = server
        self.environment = {k: v for k, v in os.environ.items() if k != "REDISCLI_AUTH"} | {"TERM": "xterm"}

    def argv(self, *argv: str) -> list[str]:
        return [self.path, "-s", self.server.socket_path, *argv]

    def __call__(self, *argv: str, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
        """Run it to its end: status, output, errors."""
        done = subprocess.run(
            self.argv(*argv), input=stdin, capture_output=True, timeout=60, env=self.environment | environment
        )
        return done.returncode, self.plain(done.stdout), self.plain(done.stderr)

    def plain(self, raw: bytes) -> str:
        """Output without what names the server or the moment."""
        text = raw.decode("utf-8", "backslashreplace").replace(self.server.socket_path, "SOCKET")
        return re.sub(r"\bid \d+", "id N", text)

    @contextlib.contextmanager
    def started(self, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start what does not end by itself; it is ended here."""
        process = subprocess.Popen(
            self.argv(*argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment, bufsize=0
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def on_terminal(self, *argv: str, typed: bytes = b"", until: bytes) -> str:
        """Run it on a terminal, type, and read until ``until`` (a pattern) has been printed."""
        child, terminal = pty.fork()
        if child == 0:
            os.execve(self.path, self.argv(*argv), self.environment)
        try:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
            seen = b""
            if typed:
                seen = _read_until(terminal, rb"> $", seen)  # what is typed before the prompt is thrown away
                os.write(terminal, typed)
            return _read_until(terminal, until, seen).decode("utf-8", "backslashreplace")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(terminal)


def _read_until(terminal: int, pattern: bytes, seen: bytes) -> bytes:
    end = time.monotonic() + PATIENCE_S
    plain = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
    while not re.search(pattern, plain.sub(b"", seen)):
        ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
        assert ready, f"waited in vain: {seen!r}"
        seen += os.read(terminal, 4096)
    return plain.sub(b"", seen)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The stock server beside ours."""
    with StockServer(tmp_path_factory.mktemp("redis-cli") / "data", "--appendonly", "no", tcp=True) as running:
        yield running.start()


@pytest.fixture
def ours(server: ServerProcess) -> Cli:
    return Cli(server)


@pytest.fixture
def stock(beside: ServerProcess) -> Iterator[Cli]:
    with beside.client() as client:
        client.flushall()
        client.script_flush()
        client.config_set("maxmemory-policy", "noeviction")
    yield Cli(beside)


@pytest.fixture
def both(ours: Cli, stock: Cli) -> Any:
    """Run a command line on both; what it printed, after it has been found equal."""

    def run(*argv: str, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
        theirs, mine = stock(*argv, stdin=stdin, **environment), ours(*argv, stdin=stdin, **environment)
        assert mine == theirs, argv
        return mine

    return run


@pytest.fixture
def sample(both: Any) -> None:
    """A few keys of every type, the same on both."""
    status, _, errors = both("-e", stdin="\n".join(SAMPLE).encode() + b"\n")
    assert (status, errors) == (0, "")


READS = [
    "GET name", "GET nothing", "GET quoted", "STRLEN empty", "HGETALL hash", "LRANGE list 0 -1", "SMISMEMBER set m q",
    "ZRANGE zset 0 -1 WITHSCORES", "XRANGE stream - +", "XINFO STREAM stream", "TYPE zset", "EXISTS name list nothing",
    "OBJECT ENCODING hash", "INCR name", "LPUSH name x", "NOSUCH command", "GET", "TIME now", "MGET name nothing empty",
    "EVAL 'return {1,2,{3,\"x\"},false,nil}' 0", "ACL WHOAMI", "CLIENT GETNAME", "CONFIG GET maxmemory-policy",
    "XREAD STREAMS stream 0", "GEOPOS nothing x", "ZMSCORE zset one nobody", "COMMAND INFO get", "PING 'two words'",
]  # fmt: skip


@pytest.mark.parametrize(
    "style",
    [[], ["--no-raw"], ["--raw"], ["-3", "--no-raw"], ["--csv"], ["--json"], ["-2", "--json"], ["--quoted-json"]],
    ids="-".join,
)  # fmt: skip
def test_replies_are_printed_the_same(both, sample, style):
    both(*style, stdin="\n".join(READS).encode() + b"\n")
    for line in READS[:8] + READS[13:16]:
        both(*style, *line.split())
    both(*style, "-e", "INCR", "name")


def test_options_that_change_what_is_sent(both, sample):
    assert both("-x", "SET", "from stdin", stdin=b"words\n\xff") == (0, "OK\n", "")
    both("GET", "from stdin")
    both("-X", "tag", "SET", "by tag", "tag", stdin=b"value")
    both("-n", "3", "SET", "three", "1")
    assert both("-n", "3", "DBSIZE")[1] == "1\n"
    both("-n", "99", "DBSIZE")
    both("-r", "3", "-i", "0.001", "INCR", "count")
    both("-d", ";", "-D", "|", "MGET", "name", "count", "nothing")
    both("--quoted-input", "SET", '"\\x01\\n"', '"\\xfe"')
    both("--quoted-input", "GET", '"\\x01\\n"')
    both("-c", "GET", "name")
    both("2", "INCR", "count")
    both("-e", "LPUSH", "name", "x")


def test_sessions_from_standard_input(both):
    """MULTI, SELECT and subscriptions change the session; comments of other tools, quotes and empty lines do not."""
    both(stdin=b"MULTI\nSET a 1\nINCR a\nEXEC\nDISCARD\nMULTI\nNOSUCH\nEXEC\n\nSELECT 2\nSET b 1\nDBSIZE\nSELECT 77\n")
    both(stdin=b"HELLO 3 SETNAME cli\nCLIENT GETNAME\nHGETALL nothing\nRESET\nCLIENT GETNAME\nECHO \"unbalanced\n")
    both(stdin=b"SET k v\nWATCH k\nMULTI\nGET k\nEXEC\nPUBLISH ch x\nRESET\nPING\nQUIT\nPING\n")
    both("--no-raw", stdin=b"3 INCR n\nCLIENT REPLY ON\nCLIENT NO-EVICT on\nOBJECT NOSUCH n\nCONFIG SET nosuch 1\n")


def test_scripts_by_eval(both, tmp_path):
    script = tmp_path / "script.lua"
    script.write_text("redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], redis.call('GET', KEYS[1]), #ARGV, 1.5}")
    assert both("--eval", str(script), "k1", ",", "a", "b")[1] == "k1\na\n2\n1\n"
    script.write_text("return redis.call('LPUSH', KEYS[1], 1)")
    both("--eval", str(script), "k1")
    script.write_text("return redis.nosuch(")
    both("--eval", str(script))


def test_a_password_is_given_in_each_way(ours, stock, both):
    for cli in (ours, stock):
        with cli.server.client() as client:
            client.acl_setuser("ada", enabled=True, passwords=["+secret"], commands=["+@all"], keys=["a*"])
            client.config_set("requirepass", "open sesame")
    try:
        assert both("PING")[1].startswith("NOAUTH")
        assert both("-a", "open sesame", "PING")[1:] == (
            "PONG\n",
            "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.\n",
        )
        both("-a", "wrong", "PING")
        both("--no-auth-warning", "-a", "open sesame", "-3", "PING")
        assert both("PING", REDISCLI_AUTH="open sesame")[1] == "PONG\n"
        assert both("--user", "ada", "--pass", "secret", "--no-auth-warning", stdin=b"SET ax 1\nSET x 1\n")[1] == (
            "OK\nNOPERM this user has no permissions to access one of the keys used as arguments\n\n"
        )
        both("--user", "ada", "--pass", "no", "--no-auth-warning", "ACL", "WHOAMI")
    finally:
        for cli in (ours, stock):
            with cli.server.client(password="open sesame") as client:
                client.config_set("requirepass", "")
                client.acl_deluser("ada")


def test_a_server_by_host_port_and_uri(server, both, ours):
    both("SET", "k", "v")
    port = str(server.port)
    for where in (["-h", "127.0.0.1", "-p", port], ["-u", f"redis://127.0.0.1:{port}/0"]):
        done = subprocess.run([ours.path, *where, "GET", "k"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "v\n", ""), where


def test_masses_are_inserted_through_a_pipe(both):
    commands = b"".join(encode((b"SET", b"key:%d" % n, b"v")) for n in range(20_000))
    status, said, errors = both("--pipe", stdin=commands)
    assert (status, errors) == (0, "") and said.endswith("errors: 0, replies: 20000\n")
    assert both("DBSIZE")[1] == "20000\n"
    status, said, errors = both("--pipe", stdin=b"SET x 1\r\nLPUSH x 1\r\nNOSUCH\r\nSET y 1\r\n")
    assert status == 1 and said.endswith("errors: 2, replies: 4\n")


def test_scanning_finds_every_key_once(ours, stock, both):
    keys = b"".join(b"SET user:%d:name x\r\nSET page:%d x\r\n" % (n, n) for n in range(800))
    both("--pipe", stdin=keys)
    for options in ([], ["--pattern", "user:1*"], ["--quoted-pattern", '"page:\\x31*"']):
        (status, theirs, _), (_, mine, errors) = stock("--scan", *options), ours("--scan", *options)
        assert (status, errors) == (0, "")
        assert sorted(mine.splitlines()) == sorted(theirs.splitlines()) != [], options
    both("--scan", "--pattern", "nothing*")


def summary_of(said: str) -> list[str]:
    """The lines of a report that do not hang on the order of the scan."""
    _, _, after = said.partition("-------- summary -------")
    assert after, said
    return after.splitlines()


def test_big_keys_are_found(ours, stock, sample):
    (_, theirs, _), (status, mine, errors) = stock("--bigkeys"), ours("--bigkeys")
    assert (status, errors) == (0, "") and summary_of(mine) == summary_of(theirs)
    assert "Biggest string found '\"long\"' has 900 bytes" in mine and "Biggest   list found '\"list\"'" in mine


def test_keys_that_take_much_memory_are_found(ours, stock, sample):
    """The same keys; the sizes are each server's own."""
    sizes = re.compile(r"\d+(\.\d+)?( (bytes|\(avg)|\))|avg size [\d.]+")
    for options in ([], ["--memkeys-samples", "0"]):
        (_, theirs, _), (status, mine, errors) = stock("--memkeys", *options), ours("--memkeys", *options)
        assert (status, errors) == (0, "")
        told = [[sizes.sub("N", line) for line in summary_of(each) if "hash" not in line] for each in (mine, theirs)]
        assert told[0] == told[1]
        assert "Biggest string found '\"long\"'" in mine


def test_hot_keys_are_found_under_an_lfu_policy(ours, stock, both, sample):
    assert both("--hotkeys")[2].startswith("Error: ERR An LFU maxmemory policy is not selected")
    both("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    both("SET", "hot", "1")
    both("--raw", stdin=b"GET hot\n" * 2000)
    for cli in (ours, stock):
        status, said, errors = cli("--hotkeys")
        first = next(line for line in summary_of(said) if "hot key found" in line)
        assert (status, errors) == (0, "") and first.endswith('keyname: "hot"')
        assert int(re.search(r"counter: (\d+)", first)[1]) > 10


def test_the_monitor_shows_what_is_run(ours, stock):
    shown = []
    for cli in (ours, stock):
        with cli.started("MONITOR") as monitor:
            assert monitor.stdout.readline() == b"OK\n"
            cli(stdin=b'SET k "a b\\x00"\nEVAL "return redis.call(\'GET\', KEYS[1])" 1 k\nSELECT 2\nGET k\nNOSUCH\n')
            lines = [monitor.stdout.readline().decode() for _ in range(6)]  # COMMAND DOCS is redis-cli's own
            shown.append([re.sub(r"^\d+\.\d{6} ", "TIME ", cli.plain(line.encode())) for line in lines])
    assert shown[0] == shown[1] and shown[0][1] == 'TIME [0 unix:SOCKET] "SET" "k" "a b\\x00"\n'


@pytest.mark.parametrize("style", [[], ["--no-raw"], ["-3", "--no-raw"], ["--csv"], ["--json"]], ids="-".join)
def test_subscribers_hear_what_is_published(ours, stock, style):
    heard = []
    for cli in (ours, stock):
        with cli.started(*style, "PSUBSCRIBE", "n*", "m*") as listener, cli.server.client() as client:
            end = time.monotonic() + PATIENCE_S
            while client.pubsub_numpat() != 2:
                assert time.monotonic() < end
            cli(stdin=b'PUBLISH news "rain, and\\nsun"\nPUBLISH more 2\nPUBLISH nlast end\n')
            said = b""
            while b"end" not in said:
                said += os.read(listener.stdout.fileno(), 65536)
            heard.append(said.strip())
    assert heard[0] == heard[1]


def test_help_comes_out_of_the_command_table(ours):
    """The words are our own; names, arguments, versions and groups are compared in the oracle tests."""
    _, said, errors = ours(stdin=b"help lpush\nhelp @stream\nhelp getex\nhelp xautoclaim\nhelp set\n")
    assert errors == ""
    for words in ("LPUSH", "key element [element ...]", "since:", "group:", "XAUTOCLAIM", "[NX|XX] [GET]"):
        assert words in said


def test_hints_stand_beside_what_is_typed(ours, stock):
    for cli in (ours, stock):
        cli.on_terminal(typed=b"lpush ", until=rb"key element \[element \.\.\.\]")
        cli.on_terminal(typed=b"set k v ", until=rb"\[NX\|XX\] \[GET\]")
    if not on_stock():
        ours.on_terminal(typed=b"hexpire ", until=rb"key seconds")  # since 7.4: redis-cli has it from the server


def test_rolling_statistics(ours, stock):
    for cli in (ours, stock):
        said = cli.on_terminal("--stat", "-i", "0.01", until=rb"(\n\d+ .*){3}\n")
        header = next(line for line in said.splitlines() if line.startswith("keys"))
        assert header.split() == ["keys", "mem", "clients", "blocked", "requests", "connections"]
        row = said.splitlines()[-1]
        assert re.match(r"\d+ +[\d.]+[BKMG] +\d+ +\d+ +\d+ \(\+\d+\) +\d+ *$", row), row


def test_latency_is_sampled_for_a_bounded_time(ours):
    for style in ("--raw", "--csv"):
        status, said, errors = ours("--latency", style, "-i", "0.05")
        assert (status, errors) == (0, "")
        least, most, average, samples = re.split("[ ,]", said.strip())
        assert int(least) <= float(average) <= int(most) and int(samples) >= 1


@pytest.mark.skipif(on_stock(), reason="stock can do it")
def test_what_a_replica_would_ask_for_is_refused_clearly(ours, tmp_path):
    target = tmp_path / "dump.rdb"
    status, said, errors = ours("--rdb", str(target))
    assert status != 0 and "SYNC" in said + errors, (said, errors)
    assert not target.exists() or target.stat().st_size == 0
    status, _, _ = ours("--replica")
    assert status != 0
