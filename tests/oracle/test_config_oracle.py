"""The same configuration on both: stock redis-server 7.0's defaults, CONFIG SET answers and start errors."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import redis

from perdure.server.config import Config, ConfigError, load
from perdure.server.config_file import parse_command_line
from perdure.server.options import BY_NAME, OPTIONS, OURS

SERVER = shutil.which("redis-server")
DEBIAN = "/etc/redis/redis.conf"
pytestmark = [pytest.mark.oracle, pytest.mark.skipif(SERVER is None, reason="redis-server 7.0 is not installed")]

#: Printed values that are not the default's but this run's.
OF_THIS_RUN = {"port", "dir", "unixsocket", "logfile"}

#: CONFIG SET that is not compared: what it does to the oracle, or where we differ on purpose.
NOT_COMPARED = {
    "port": "would move the oracle; see test_tls_oracle",
    "bind": "would move the oracle; see test_tls_oracle",
    "tls-port": "would move the oracle; see test_tls_oracle",
    "activedefrag": "refused by Debian's build; tuning without effect here, so accepted",
    "maxclients": "stock raises the limit of open files",
    "requirepass": "would lock the test out",
    "appendonly": "starts a rewrite on the oracle",
    "proc-title-template": "renames the oracle's process",
    "watchdog-period": "sends signals",
    "oom-score-adj": "changes the oracle's process",
    "oom-score-adj-values": "changes the oracle's process",
    "rdb-key-save-delay": "slows the oracle",
    "key-load-delay": "slows the oracle",
    "tls-protocols": "reconfigures TLS",
    "tls-cluster": "stock has no certificates to set it up with; here it is stored",
    "tls-replication": "stock has no certificates to set it up with; here it is stored",
}


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Iterator[redis.Redis]:
    """A stock server with its defaults, on a unix socket only: no port to choose."""
    directory = tmp_path_factory.mktemp("stock")
    path = str(directory / "s")
    process = subprocess.Popen(
        [str(SERVER), "--port", "0", "--unixsocket", path, "--dir", str(directory), "--logfile", "log"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200)
    client = redis.Redis(
        unix_socket_path=path, protocol=2, retry=retry, retry_on_error=[redis.ConnectionError, FileNotFoundError]
    )
    try:
        client.ping()
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(30)


def shown_by(client: redis.Redis, *patterns: str) -> dict[str, str]:
    client.response_callbacks.pop("CONFIG GET", None)
    answer = client.execute_command("CONFIG GET", *patterns)
    return {os.fsdecode(k): os.fsdecode(v) for k, v in zip(answer[::2], answer[1::2], strict=True)}


def test_every_stock_parameter_has_its_default(stock, tmp_path):
    theirs = shown_by(stock, "*")
    ours = {os.fsdecode(k): os.fsdecode(v) for k, v in Config(str(tmp_path)).get([b"*"])}
    assert set(ours) == set(theirs)
    assert len(ours) > 190
    differing = {name for name in theirs if theirs[name] != ours[name]}
    assert differing - OF_THIS_RUN == set(OURS)
    hidden = [option.name for option in OPTIONS if option.hidden]
    assert hidden
    for name in hidden:
        assert shown_by(stock, name) == {name: os.fsdecode(Config("/").get([name.encode()])[0][1])}


VALUES = (
    "", "yes", "no", "YES", "Local", "0", "1", "-1", "-0", "+1", "007", "1.5", " 1", "1 ", "99", "100", "101", "1000",
    "1001", "65535", "65536", "1024", "1048575", "1048576", "2147483647", "2147483648", "-2147483648", "-2147483649",
    "4294967295", "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "99999999999999999999", "1k", "1kb", "2MB", "1Gb", "1b", "1t", "kb", "k", "1k b", "%", "1%", "0%", "100%", "101%",
    "-5%", "zzz", "a/b", "a b", "everysec", "always", "debug", "normal 0 0 0", "normal 1 2", "pubsub 1k 2kb 3",
    "normal 1 2 -3", "NORMAL 1 1 1", "x 1 2 3", "slave 1 1 1 replica 2 2 2", "900 1", "900 1 300", "0 1", "1 -1",
    "900  1", "900 x", "KEA", "Kq", "AmK", "An", "Kn", "glK", "save", "save nosave", "now force", "default now", "a_b",
    "a-b.c", "x" * 300, "50 99", "50 101", "50 x", "-1 5", "1e1", "swapdb", "optional", "clients", "absolute",
    "allkeys-lru", "volatile-ttl", "hostname", "panic", "resetchannels", "10.0.0.1 1", "no one", "\xff", "K\x00q",
)  # fmt: skip


def both_set(stock: redis.Redis, config: Config, *pairs: tuple[str, str]) -> tuple[str, str]:
    flat = [text.encode("latin-1") for pair in pairs for text in pair]
    try:
        stock.execute_command("CONFIG SET", *flat)
        theirs = "OK"
    except redis.ResponseError as error:
        theirs = f"ERR {error}"
    try:
        config.set(list(zip(flat[::2], flat[1::2], strict=True)))
        ours = "OK"
    except ConfigError as error:
        ours = error.text
    config._check()
    return theirs, ours


#: Answers that differ on purpose: (option's kind, value) -> why.
ON_PURPOSE = {
    ("percent", "9223372036854775808"): "stock wraps it to a negative number, that is to a percentage",
    ("percent", "99999999999999999999"): "stock wraps it to a negative number, that is to a percentage",
    ("save", "1 "): "stock reads the missing number of changes as 0",
    ("text", "K\x00q"): "stock cuts the text at the NUL; here it is refused",
}


def test_config_set_answers_the_same_on_both(stock, tmp_path):
    config = Config(str(tmp_path))
    compared = 0
    wrong = []
    for name in [*BY_NAME, "nope", "include", "user", "rename-command"]:
        if name in NOT_COMPARED or (name in BY_NAME and BY_NAME[name].kind == "dir"):
            continue
        for value in VALUES:
            if name in BY_NAME and (BY_NAME[name].kind, value) in ON_PURPOSE and BY_NAME[name].mutable:
                continue
            theirs, ours = both_set(stock, config, (name, value))
            compared += 1
            if theirs != ours:
                wrong.append((name, value, theirs, ours))
            elif theirs == "OK":
                shown = shown_by(stock, name)[name], os.fsdecode(config.get([name.encode()])[0][1])
                if shown[0] != shown[1]:
                    wrong.append((name, value, *shown))
    assert wrong == []
    assert compared > 15_000


def test_config_set_of_several_pairs_answers_the_same_on_both(stock, tmp_path):
    """Which of several things that are wrong is named, and that nothing was set."""
    chance = random.Random(7)
    config = Config(str(tmp_path))
    names = ["timeout", "maxmemory", "MaxMemory", "databases", "DataBases", "Dir", "nope", "also-nope",
             "loglevel", "lua-time-limit", "busy-reply-threshold", "hz", "replicaof"]  # fmt: skip
    values = ["1", "zzz", "10", "notice", ""]
    watched = ("timeout", "maxmemory", "loglevel", "busy-reply-threshold", "hz")
    for name in watched:
        both_set(stock, config, (name, "notice" if name == "loglevel" else "10"))
    for _ in range(3000):
        pairs = [(chance.choice(names), chance.choice(values)) for _ in range(chance.randint(1, 4))]
        theirs, ours = both_set(stock, config, *pairs)
        assert theirs == ours, pairs
        for name in watched:
            assert shown_by(stock, name)[name] == os.fsdecode(config.get([name.encode()])[0][1]), pairs


PATTERNS = ("*", "port", "PORT", "p?rt", "*MAX*", "slave*", "*-[st]o-*", "[^a-z]*", "watch*", "watchdog-period", "",
            "\\port", "p\\ort*", "*[", "tls-*-file", "**ave**", "[a-b]*", "[b-a]*", "nope", "save*", "?")  # fmt: skip


def test_config_get_finds_the_same_names_on_both(stock, tmp_path):
    config = Config(str(tmp_path))
    for pattern in PATTERNS:
        ours = {os.fsdecode(name) for name, _ in config.get([pattern.encode()])}
        assert ours == set(shown_by(stock, pattern)), pattern


LINES = (
    "rename-command GET", "user", "loadmodule", "sentinel a b", "save 900", "save 0 1", 'save "" ""', "save x 1",
    "dir /nope", "dir /etc/passwd", 'dir ""', "dir", "port", "port 1 2", "port x", "port 65536", 'port "1',
    'requirepass "a"b', "requirepass 'a", "requirepass", "a b", "appendfilename a/b", "appenddirname a/b",
    'appendfilename ""', 'appenddirname ""', "dbfilename a/b", "unixsocketperm 800", "unixsocketperm 1000",
    "unixsocketperm -1", "databases 0", "io-threads 129", "supervised maybe", "syslog-facility local8",
    "client-output-buffer-limit normal 0 0", "client-output-buffer-limit x 0 0 0", "oom-score-adj-values 1 2",
    "oom-score-adj-values 1 2 2001", "notify-keyspace-events K E", "replicaof a", "replicaof a b", "replicaof a 65536",
    "bind a b c d e f g h i j k l m n o p q", "include a b", "enable-debug-command maybe", "proc-title-template {x}",
    "proc-title-template {", "cluster-announce-hostname a_b", "shutdown-on-sigterm save nosave",
    "latency-tracking-info-percentiles 50 101", "list-max-ziplist-entries 1 2", '"" 5', "tcp-backlog -1", "hz x",
    "lua-enable-deprecated-api maybe", "socket-mark-id 4294967296", "daemonize 1", "appendonly", "masterauth a b",
)  # fmt: skip


def test_wrong_line_gives_the_same_reason_on_both(tmp_path):
    for line in LINES:
        path = tmp_path / "redis.conf"
        path.write_text(f"timeout 5\n# comment\n{line}\n")
        done = subprocess.run([str(SERVER), str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        theirs = re.search(r"at line (\d+)\n>>> '(.*)'\n(.*)\n", done.stdout + done.stderr)
        assert theirs, (line, done.stdout)
        with pytest.raises(ConfigError) as caught:
            load(parse_command_line([str(path)], "0"), lambda size: b"", str(tmp_path))
        ours = re.search(r"at line (\d+)\n>>> '(.*)'\n([^\n]*)", caught.value.text)
        assert ours, line
        assert (ours[1], ours[3]) == (theirs[1], theirs[3]), line


@pytest.mark.skipif(not os.access(DEBIAN, os.R_OK), reason="Debian's redis.conf is not there or not readable")
def test_debians_redis_conf_loads_unchanged(tmp_path):
    with open(DEBIAN, "rb") as file:
        text = file.read()
    at = tmp_path / "redis.conf"
    at.write_bytes(text.replace(b"\ndir /var/lib/redis", b"\ndir ."))  # the user redis alone may enter that directory
    config = load(parse_command_line([str(at)], "0"), lambda size: b"", str(tmp_path))
    config._check()
    assert config["daemonize"] is True
    assert config["bind"] == ("127.0.0.1", "-::1")
    assert config["appendonly"] is False
    assert config.path("logfile") == "/var/log/redis/redis-server.log"
    assert config.warnings() == []
