"""SLOWLOG, LATENCY, DEBUG and what a server without replicas, cluster and modules answers, beside stock."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import oracle_generators  # noqa: F401 - plugs in every generator of lines
import pytest
from oracle_harness import Oracle, Ours, plain, read_frame, tree
from oracle_lines import Lines
from server_in_process import InProcess, info_of

from perdure.server import digest
from perdure.server.histogram import cumulative, percentile, record
from perdure.store import value_types
from perdure.store.resp import encode

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    server = InProcess(tmp_path_factory.mktemp("ours"), enable_debug_command="yes")
    yield server
    server.close()


ASKED = """
CLUSTER|CLUSTER INFO|CLUSTER FOO|CLUSTER KEYSLOT|CLUSTER KEYSLOT a|CLUSTER HELP|CLUSTER HELP x|CLUSTER SLOTS
CLUSTER NODES x|CLUSTER SETSLOT 1 STABLE|READONLY|READONLY x|READWRITE|ASKING|ASKING x|ROLE|ROLE x
REPLICAOF NO ONE|REPLICAOF no one|SLAVEOF NO ONE|REPLICAOF a|REPLICAOF NO TWO|REPLICAOF localhost abc
REPLICAOF localhost 70000|SLAVEOF localhost -1|REPLICAOF NO
FAILOVER|FAILOVER TO a 1|FAILOVER ABORT|FAILOVER ABORT x|FAILOVER TIMEOUT 0|FAILOVER TIMEOUT x|FAILOVER TIMEOUT 10
FAILOVER FOO|FAILOVER TO a|FAILOVER TO a b|FAILOVER TO a 1 FORCE|FAILOVER TO a 1 TIMEOUT 5 FORCE|FAILOVER FORCE
FAILOVER TIMEOUT 1 TIMEOUT 2|FAILOVER TO a 1 TO a 1|FAILOVER ABORT ABORT|FAILOVER TO a 99999999999
REPLCONF|REPLCONF a|REPLCONF foo bar|REPLCONF listening-port x|REPLCONF listening-port 1|REPLCONF listening-port 100000
REPLCONF ip-address a|REPLCONF capa eof|REPLCONF capa psync2 capa eof|REPLCONF rdb-only 0|REPLCONF rdb-only x
REPLCONF rdb-filter-only foo|REPLCONF capa|REPLCONF version 7|PSYNC a|SYNC x
MODULE|MODULE LIST|MODULE LIST x|MODULE LOAD x|MODULE LOADEX x|MODULE UNLOAD x|MODULE FOO|MODULE UNLOAD
LOLWUT VERSION x|LOLWUT VERSION 5 x|LASTSAVE x|MULTI|PSYNC ? -1|SYNC|EXEC
SLOWLOG|SLOWLOG GET x|SLOWLOG GET -2|SLOWLOG GET 1 2|SLOWLOG FOO|SLOWLOG LEN x|SLOWLOG RESET|SLOWLOG GET|SLOWLOG LEN
SLOWLOG GET -1|SLOWLOG HELP x|LATENCY|LATENCY FOO|LATENCY LATEST|LATENCY LATEST x|LATENCY HISTORY|LATENCY HISTORY foo
LATENCY GRAPH foo|LATENCY GRAPH|LATENCY RESET|LATENCY RESET a b|LATENCY HISTOGRAM nosuch lpush|LATENCY DOCTOR x
LATENCY HELP x|SET k v|SET n 12|HSET h f v|RPUSH l a|SADD s a b
DEBUG OBJECT nosuch|DEBUG OBJECT|DEBUG OBJECT k fast|DEBUG SDSLEN l|DEBUG SDSLEN n|DEBUG SDSLEN nosuch|DEBUG LISTPACK k
DEBUG LISTPACK nosuch|DEBUG ZIPLIST h|DEBUG QUICKLIST k|DEBUG QUICKLIST nosuch|DEBUG HTSTATS 99|DEBUG HTSTATS x
DEBUG HTSTATS 0 full|DEBUG HTSTATS-KEY h|DEBUG HTSTATS-KEY k|DEBUG HTSTATS-KEY nosuch|DEBUG DIGEST|DEBUG DIGEST x
DEBUG DIGEST-VALUE k nosuch l h s n|DEBUG DIGEST-VALUE|DEBUG CHANGE-REPL-ID|DEBUG CHANGE-REPL-ID x
DEBUG QUICKLIST-PACKED-THRESHOLD 100b|DEBUG QUICKLIST-PACKED-THRESHOLD x|DEBUG QUICKLIST-PACKED-THRESHOLD 0
DEBUG QUICKLIST-PACKED-THRESHOLD 5gb|DEBUG QUICKLIST-PACKED-THRESHOLD 4294967295|DEBUG QUICKLIST-PACKED-THRESHOLD -1
DEBUG QUICKLIST-PACKED-THRESHOLD|DEBUG JMAP|DEBUG ERROR foo|DEBUG ERROR|DEBUG ERROR -foo|DEBUG LOG hi|DEBUG LOG a b
DEBUG STRINGMATCH-LEN 1 a*|DEBUG PROTOCOL string|DEBUG PROTOCOL integer|DEBUG PROTOCOL double|DEBUG PROTOCOL null
DEBUG PROTOCOL array|DEBUG PROTOCOL set|DEBUG PROTOCOL map|DEBUG PROTOCOL bignum|DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true|DEBUG PROTOCOL false|DEBUG PROTOCOL foo|DEBUG PROTOCOL|DEBUG POPULATE 3|DEBUG POPULATE 3 pre
DEBUG POPULATE 5 pre 10|DEBUG POPULATE 3 long 3|DEBUG POPULATE x|DEBUG POPULATE -3|DEBUG POPULATE 3 a b c|GET key:2
GET pre:1|GET pre:4|GET long:2|DEBUG SET-ACTIVE-EXPIRE x|DEBUG SET-ACTIVE-EXPIRE 0|DEBUG RELOAD foo|DEBUG HELP x
DEBUG DIGEST|FLUSHALL|DEBUG DIGEST|DBSIZE
"""


@pytest.mark.parametrize("resp3", [False, True])
def test_what_is_asked_is_answered_as_by_stock(stock: Oracle, ours: InProcess, resp3: bool) -> None:
    stock.reset(resp3)
    ours.speak(resp3)
    ours(b"FLUSHALL")
    for server in (stock, ours):
        server(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"10000000")
        server(b"CONFIG", b"RESETSTAT")
    for line in ASKED.strip().replace("\n", "|").split("|"):
        argv = [word.encode() for word in line.split()]
        assert (line, ours(*argv)) == (line, stock(*argv))
    stock(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"10000")


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        "SLOWLOG HELP", "LATENCY HELP", "MODULE HELP", "DEBUG HELP", "OBJECT HELP", "CLIENT HELP", "ACL HELP",
        "PUBSUB HELP", "XGROUP HELP", "XINFO HELP", "LATENCY HISTOGRAM", "LATENCY DOCTOR", "LOLWUT", "LASTSAVE",
        "LOLWUT VERSION 5", "DEBUG OBJECT k", "DEBUG SDSLEN k", "DEBUG HTSTATS 0", "DEBUG HTSTATS-KEY big",
        "DEBUG LISTPACK h", "DEBUG QUICKLIST l", "INFO latencystats",
    ],
)  # fmt: skip
def test_answers_that_must_differ_have_stocks_shape(stock: Oracle, ours: InProcess, line: str, resp3: bool) -> None:
    stock.reset(resp3)
    ours.speak(resp3)
    ours(b"FLUSHALL")
    shapes = []
    for server in (stock, ours):
        for setup in ("SET k v", "HSET h f v", "RPUSH l a", "SADD big " + " ".join(map(str, "abcdefghij"))):
            server(*setup.encode().split())
        kind, value = tree(server(*line.encode().split()))
        shapes.append((kind, {member[0] for member in value} if isinstance(value, list) else None))
    assert shapes[0] == shapes[1]


def test_debug_object_has_the_fields_that_clients_read(stock: Oracle, ours: InProcess) -> None:
    stock.reset()
    ours.speak(False)
    fields = []
    for server in (stock, ours):
        for line in ("SET k v", "SET n 5", "HSET h f v"):
            server(*line.encode().split())
        texts = [server(b"DEBUG", b"OBJECT", key).decode() for key in (b"k", b"n", b"h")]
        fields.append([(re.findall(r"(\w+):", text), re.search(r"encoding:(\w+)", text)[1]) for text in texts])  # type: ignore[index]
    assert fields[0] == fields[1]


# ---- SLOWLOG -------------------------------------------------------------------------------------

SLOW = [
    "SET k v", "GET k", "NOSUCH a", "GET", "HSET k f v", "AUTH foo bar", "HELLO 2 AUTH a b",
    "CONFIG SET masterauth sec", "CONFIG SET masterauth sec maxclients 1000 masteruser x", "ACL SETUSER u >pw on",
    "ACL DELUSER u", "MULTI", "PING", "GET k", "EXEC", "CLIENT ID", "MSET " + "a 1 " * 20, "SET k " + "x" * 150,
    "RPUSH l " + "x " * 30, "RPUSH l " + "x " * 31, "SLOWLOG LEN", "LRANGE l 0 1", "KEYS *", "INFO server",
    "EVAL redis.call('get','k') 0", "EVAL redis.call('nosuch') 0", "BLPOP no 0.01",
]  # fmt: skip


def test_the_same_commands_are_logged_in_the_same_form(stock: Oracle, ours: InProcess) -> None:
    stock.reset()
    ours.speak(False)
    ours(b"FLUSHALL")
    entries = []
    for server in (stock, ours):
        server(b"CLIENT", b"SETNAME", b"joe")
        server(b"SLOWLOG", b"RESET")
        server(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0")
        for line in SLOW:
            server(*line.encode().split())
        server(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"10000")
        found = plain(server(b"SLOWLOG", b"GET", b"-1"))
        assert [entry[0] for entry in found] == list(range(found[0][0], found[0][0] - len(found), -1))
        assert all(abs(entry[1] - time.time()) < 100 and entry[2] >= 0 for entry in found)
        entries.append([(entry[3], entry[5]) for entry in found])
    ran_blocked = {b"BLPOP"}  # nobody can wait in a server without sockets, so it is no command that waited
    ours_entries = [entry for entry in entries[1] if entry[0][0] not in ran_blocked]
    assert ours_entries == entries[0]
    stock(b"CONFIG", b"SET", b"masterauth", b"", b"masteruser", b"", b"maxclients", b"10000")


# ---- distributions ---------------------------------------------------------------------------------


def test_distributions_and_percentiles_are_stocks_for_the_same_durations(stock: Oracle) -> None:
    """Stock's own durations of DEBUG SLEEP, as its slow log tells them, in our distribution."""
    stock.reset()
    rng = Random(3)
    stock(b"CONFIG", b"SET", b"latency-tracking-info-percentiles", b"0 10 50 90 99 99.9 100")
    stock(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0")
    stock(b"CONFIG", b"RESETSTAT")
    stock(b"SLOWLOG", b"RESET")
    for _ in range(60):
        stock(b"DEBUG", b"SLEEP", b"%.6f" % (rng.random() * rng.choice((0.0001, 0.001, 0.01))))
    stock(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"10000")
    cells: dict[int, int] = {}
    for entry in plain(stock(b"SLOWLOG", b"GET", b"-1")):
        if entry[3][0] == b"DEBUG":
            record(cells, entry[2] * 1000)
    facts = plain(stock(b"LATENCY", b"HISTOGRAM", b"debug"))[1]
    assert facts[1] == sum(cells.values())
    assert list(zip(facts[3][::2], facts[3][1::2], strict=True)) == cumulative(cells)
    line = info_of(stock(b"INFO", b"latencystats"))["Latencystats"]["latency_percentiles_usec_debug"]
    mine = [f"p{p:g}={percentile(cells, p) / 1000:.3f}" for p in (0, 10, 50, 90, 99, 99.9, 100)]
    assert line == ",".join(mine)
    stock(b"CONFIG", b"SET", b"latency-tracking-info-percentiles", b"50 99 99.9")


@pytest.mark.parametrize("percentiles", ["50 99 99.9", "", "0 50 99.99 100"])
def test_latencystats_name_the_percentiles_as_stock_does(stock: Oracle, ours: InProcess, percentiles: str) -> None:
    stock.reset()
    ours.speak(False)
    names = []
    for server in (stock, ours):
        server(b"CONFIG", b"SET", b"latency-tracking-info-percentiles", percentiles.encode())
        server(b"SET", b"k", b"v")
        value = info_of(server(b"INFO", b"latencystats"))["Latencystats"]["latency_percentiles_usec_set"]
        names.append(re.sub(r"=\d+\.\d{3}\b", "=", value))
        server(b"CONFIG", b"SET", b"latency-tracking", b"no")
        assert info_of(server(b"INFO", b"latencystats")) == {"Latencystats": {}}
        server(b"CONFIG", b"SET", b"latency-tracking", b"yes", b"latency-tracking-info-percentiles", b"50 99 99.9")
    assert names[0] == names[1]


def test_events_are_told_as_stock_tells_them(stock: Oracle, ours: InProcess) -> None:
    stock.reset()
    ours.speak(False)
    told: list[list[Any]] = []
    for server in (stock, ours):
        server(b"LATENCY", b"RESET")
        server(b"CONFIG", b"SET", b"latency-monitor-threshold", b"20")
        server(b"DEBUG", b"SLEEP", b"0.001")
        server(b"DEBUG", b"SLEEP", b"0.03")
        latest = plain(server(b"LATENCY", b"LATEST"))
        assert plain(server(b"LATENCY", b"HISTORY", b"command")) == [latest[0][1:3]]
        assert latest[0][2] == latest[0][3] >= 30
        drawn = plain(server(b"LATENCY", b"GRAPH", b"command")).decode()
        graph = re.sub(r"\d+ ms", "n ms", drawn)
        report = plain(server(b"LATENCY", b"DOCTOR")).decode()
        figures = re.findall(r"command: (\d+ latency spikes) \(average \d+ms, mean deviation (\d+)ms, period", report)
        told.append([[event[0] for event in latest], graph, figures, server(b"LATENCY", b"RESET", b"x", b"command")])
        server(b"CONFIG", b"SET", b"latency-monitor-threshold", b"0")
    assert told[0] == told[1]


# ---- DEBUG DIGEST ------------------------------------------------------------------------------------


def test_digests_of_all_types_are_stocks(stock: Oracle) -> None:
    """Stock is sent what we logged, so both have the same ids and random choices."""
    here = Ours()
    lines = Lines(700)
    kinds: set[bytes] = set()
    stock.reset()
    for _ in range(20):
        here.records.clear()
        here.run(lines.many(300))
        payload = b"".join(here.records)
        stock.socket.sendall(payload + encode((b"SELECT", b"0")) + encode((b"ECHO", b"end")))
        while read_frame(stock.stream) != b"$3\r\nend\r\n":
            pass
        theirs = plain(stock(b"DEBUG", b"DIGEST")).decode()
        assert digest.of_keyspace(here.keyspace.databases).hex() == theirs
        kinds |= {value_types.of(value).name for db in here.keyspace.databases for value in db.values()}
    assert kinds == {b"string", b"list", b"set", b"zset", b"hash", b"stream"}


def test_a_digest_tells_databases_deadlines_and_values_apart(ours: InProcess) -> None:
    found = []
    for line in ("FLUSHALL", "SET k v", "EXPIRE k 100", "PERSIST k", "MOVE k 1", "SET k w", "FLUSHALL"):
        ours(*line.encode().split())
        found.append(ours(b"DEBUG", b"DIGEST"))
    assert found[0] == found[6] == b"+" + b"0" * 40 + b"\r\n"
    assert found[1] == found[3]
    assert len({found[at] for at in (0, 1, 2, 4, 5)}) == 5
