"""Snapshots beside stock: replies, what INFO says, files of each in the hands of the other."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from polling import until
from server_harness import PerdureServer, ServerProcess, StockServer

OPTIONS = ("--enable-debug-command", "yes", "--enable-protected-configs", "yes", "--appendonly", "no")
FIELDS = (
    "rdb_changes_since_last_save", "rdb_bgsave_in_progress", "rdb_last_bgsave_status", "rdb_saves",
    "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded",
)  # fmt: skip


class Pair:
    """Both servers without a log; what is said to one is said to the other, and they answer the same."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.stock = StockServer(folder / "stock", *OPTIONS, *options).start()
        self.ours = PerdureServer(folder / "ours", *OPTIONS, *options).start()
        self.both: tuple[ServerProcess, ServerProcess] = (self.stock, self.ours)

    def __call__(self, *words: str) -> Any:
        theirs, mine = (said(server, words) for server in self.both)
        assert mine == theirs, words
        return mine

    def info(self, *names: str) -> dict[str, Any]:
        theirs, mine = ({name: persistence(server)[name] for name in names or FIELDS} for server in self.both)
        assert mine == theirs
        return mine

    def wait(self) -> None:
        """Until no save is under way."""
        for server in self.both:
            until(lambda server=server: not persistence(server)["rdb_bgsave_in_progress"])  # type: ignore[misc]

    def folder(self, name: str) -> None:
        """A folder where a file is to be: no snapshot of that name can be put in place."""
        for server in self.both:
            (server.directory / name).mkdir()

    def close(self) -> None:
        for server in self.both:
            server.close()


def said(server: ServerProcess, words: tuple[str, ...]) -> Any:
    with server.client() as client:
        try:
            return client.execute_command(*words)
        except redis.ConnectionError:
            return "closed"
        except redis.ResponseError as error:
            return repr(error)


def persistence(server: ServerProcess) -> dict[str, Any]:
    with server.client() as client:
        found: dict[str, Any] = client.info("persistence")
        return found


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    found = Pair(tmp_path, "--save", "3600 1000")
    yield found
    found.close()


def test_replies_and_facts_of_saves_are_those_of_stock(pair: Pair) -> None:
    for words in ("SAVE", "SAVE x", "BGSAVE x", "BGSAVE SCHEDULE x", "MSET a 1 b 2"):
        pair(*words.split())
    assert pair.info()["rdb_changes_since_last_save"] == 2
    pair("BGSAVE")
    pair.wait()
    pair.info()
    pair("EVAL", "return redis.pcall('SAVE').err", "0")
    pair("CONFIG", "RESETSTAT")
    pair.info()


CHANGES = (
    "SET a 1", "SET a 1", "SETEX a 100 1", "GET a", "MSET a 1 b 2 a 3", "DEL a b x", "DEL x", "SADD s 1 2 3",
    "SADD s 1", "SADD s 3 4 5", "SREM s 1 2 9", "SMOVE s t 3", "SMOVE s t 9", "HSET h a 1 b 2", "HSET h a 1",
    "HSET h c 1 d 2 a 3", "HDEL h a b x", "HMSET h x 1 y 2", "HINCRBY h n 1", "RPUSH l 1 2 3 4 5 6 7 8", "RPUSH l 1",
    "LPUSH l 1 1", "LPOP l 2", "LPOP l", "LREM l 0 1", "LTRIM l 1 2", "LINSERT l BEFORE 4 x", "ZADD z 1 a 2 b 3 c",
    "ZADD z 1 a 5 b 6 d", "ZREM z a b x", "ZINCRBY z 1 c", "APPEND a x", "INCR n", "EXPIRE n 100", "PERSIST n",
    "RENAME n m", "COPY m k", "SETRANGE a 1 xyz", "SET e 1 PX 1", "XADD x 1-1 a b", "SETBIT q 3 1", "FLUSHDB",
    "SADD s 1 2 3 4 5 6 7 8", "SADD s 1 2 3", "SADD u 2 3 4", "SINTERSTORE d s u", "SUNIONSTORE d s u",
    "SDIFFSTORE d s s", "RPUSH l 1 2 3 4 5 6", "LMPOP 1 l LEFT COUNT 2", "LMOVE l m LEFT RIGHT", "RPOPLPUSH l l",
    "LSET l 0 x", "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", "ZPOPMIN z", "ZPOPMIN z 2", "ZMPOP 1 z MAX COUNT 2",
    "ZADD z 1 a 2 b 3 c 4 d", "ZREMRANGEBYRANK z 0 1", "ZREMRANGEBYSCORE z 3 3", "ZRANGESTORE y z 0 -1",
    "ZUNIONSTORE y 2 z z", "XADD x 1-1 a b", "XADD x 2-1 a b", "XADD x 3-1 a b", "XADD x 4-1 a b",
    "XDEL x 1-1 2-1 9-9", "XADD x MAXLEN 1 5-1 a b", "XADD x 6-1 a b", "XTRIM x MAXLEN 0", "XADD x 7-1 a b",
    "XGROUP CREATE x g 0", "XGROUP CREATECONSUMER x g d", "XGROUP DELCONSUMER x g d", "XSETID x 9-1",
    "XGROUP DESTROY x g", "BITOP AND c b b", "SETNX n 1", "SETNX n 1", "MSETNX o 1 r 2", "GETSET n 2", "GETDEL n",
    "GETEX o EX 100", "GETEX o PERSIST", "SET o 1 KEEPTTL", "SET o 1 NX", "INCRBYFLOAT f 1.5",
    "HINCRBYFLOAT hh f 1.5", "HSETNX hh g 1", "EXPIRE o -1", "MOVE f 3", "SWAPDB 0 3", "SWAPDB 0 3", "RPUSH so 3 1 2",
    "SORT so STORE so2", "SORT nosuch STORE so2", "RENAMENX b bb", "UNLINK e1 e2", "TOUCH u", "COPY u v",
    "PEXPIREAT u 1", "DEL u", "APPEND a x", "LINSERT l BEFORE x y", "LPUSHX nosuch 1", "RPUSHX l 1 2",
    "LREM l 0 nosuch", "LTRIM l 0 -1", "LTRIM l 5 2", "HSET hd a 1 b 2", "HDEL hd a b", "SADD big 1 2 3 4",
    "SPOP big 9", "FLUSHALL", "FLUSHALL",
)  # fmt: skip


def test_changes_are_counted_as_stock_counts_them(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "--save", "")
    try:
        for line in CHANGES:
            pair(*line.split())
            found = [persistence(server)["rdb_changes_since_last_save"] for server in pair.both]
            assert found[0] == found[1], line
    finally:
        pair.close()


def test_a_save_under_way_excludes_others(pair: Pair) -> None:
    pair("MSET", *(word for n in range(50) for word in (f"k{n}", "v")))
    pair("CONFIG", "SET", "rdb-key-save-delay", "10000000")
    pair("BGSAVE")
    for words in ("SAVE", "BGSAVE", "BGSAVE SCHEDULE"):
        pair(*words.split())
    assert pair.info("rdb_bgsave_in_progress", "current_save_keys_total")["current_save_keys_total"] == 50
    assert persistence(pair.ours)["rdb_current_bgsave_time_sec"] >= 0
    pair("CONFIG", "SET", "rdb-key-save-delay", "0")
    pair("FLUSHALL")  # ends it, and saves
    pair.wait()
    assert pair.info()["rdb_last_bgsave_status"] == "ok"
    assert {name for server in pair.both for name in os.listdir(server.directory)} == {"dump.rdb", "perdure.lock"}


def test_in_a_transaction_a_background_save_is_scheduled(pair: Pair) -> None:
    def scheduled(server: ServerProcess) -> list[Any]:
        with server.client() as client:
            pipe = client.pipeline(transaction=True)
            pipe.execute_command("SET", "k", "v")
            pipe.execute_command("BGSAVE")
            return list(pipe.execute())

    theirs, mine = map(scheduled, pair.both)
    assert mine == theirs
    for server in pair.both:
        until(lambda server=server: persistence(server)["rdb_saves"] == 1)  # type: ignore[misc]
    pair.wait()
    pair.info()


def test_what_a_failed_save_stops_and_what_not(pair: Pair) -> None:
    pair("SET", "k", "v")
    pair.folder("taken")
    pair("CONFIG", "SET", "dbfilename", "taken")
    pair("SAVE")
    pair("BGSAVE")
    pair.wait()
    assert pair.info()["rdb_last_bgsave_status"] == "err"
    lines: tuple[tuple[str, ...], ...] = (
        ("SET", "k", "2"), ("GET", "k"), ("PING",), ("DEL", "nosuch"), ("PUBLISH", "a", "b"), ("FLUSHALL",),
        ("EVAL", "return redis.call('GET','k')", "0"), ("EVAL", "return redis.pcall('SET','k','1').err", "0"),
        ("EVAL", "#!lua\nreturn redis.call('SET','k','1')", "0"), ("DEBUG", "RELOAD"), ("SHUTDOWN",),
        ("EVAL", "#!lua flags=no-writes\nreturn redis.call('GET','k')", "0"), ("SHUTDOWN", "SAVE"),
        ("SHUTDOWN", "NOSAVE", "SAVE"), ("SHUTDOWN", "ABORT"), ("CONFIG", "SET", "stop-writes-on-bgsave-error", "no"),
        ("SET", "k", "3"), ("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"), ("SET", "k", "4"),
        ("CONFIG", "SET", "save", ""), ("SET", "k", "5"), ("PING",), ("CONFIG", "SET", "save", "1 1000000"),
        ("PING",), ("CONFIG", "SET", "dbfilename", "dump.rdb"), ("SAVE",), ("SET", "k", "6"), ("PING",),
    )  # fmt: skip
    for words in lines:
        pair(*words)
    pair.info()


def test_a_child_that_is_killed_is_a_failure_that_leaves_nothing_behind(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "ours", *OPTIONS, "--rdb-key-save-delay", "10000000", "--save", "3600 1") as server:
        server.start()
        with server.client() as client:
            child = begun_save(server, client)
            os.kill(child, signal.SIGKILL)
            until(lambda: not persistence(server)["rdb_bgsave_in_progress"])
            facts = persistence(server)
            assert facts["rdb_last_bgsave_status"] == "err" and "signal 9" in facts["perdure_rdb_last_error"]
            assert "signal 9" in server.log()
            assert os.listdir(server.directory) == ["perdure.lock"]
            with pytest.raises(redis.ResponseError, match="Redis is configured to save RDB snapshots"):
                client.set("k", "v")
            client.config_set("rdb-key-save-delay", 0)
            assert client.save()
            assert client.set("k", "v")


def children_of(server: ServerProcess) -> list[int]:
    found = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    until(lambda: bool(found.read_text().split()))
    return [int(pid) for pid in found.read_text().split()]


def begun_save(server: ServerProcess, client: redis.Redis) -> int:
    """The child that saves 100 keys, slowly, and has begun to."""
    client.mset({f"k{n}": "v" for n in range(100)})
    client.execute_command("BGSAVE")
    child = children_of(server)[0]
    until(lambda: (server.directory / f"temp-{child}.rdb").exists())
    return child


def test_a_server_that_is_killed_in_a_save_starts_again_at_once_and_its_child_is_gone(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "ours", "--rdb-key-save-delay", "10000000") as server:
        server.start()
        with server.client() as client:
            child = begun_save(server, client)
        server.kill9()
        server.start()
        with server.client() as client:
            assert client.dbsize() == 100
        until(lambda: not Path(f"/proc/{child}").exists())
        assert sorted(os.listdir(server.directory)) == ["appendonlydir", "perdure.lock"]
        assert "unfinished snapshots" in server.log()


def fill(client: redis.Redis, seed: int) -> None:
    """Keys of all types, some with deadlines, in two databases, and a library."""
    rng = random.Random(seed)
    pipe = client.pipeline(transaction=False)
    for n in range(120):
        if n == 60:
            pipe.execute_command("SELECT", 9)
        pipe.set(f"s{n}", rng.randbytes(rng.choice((1, 30, 3000))))
        pipe.rpush(f"l{n}", *(rng.randbytes(20) for _ in range(rng.randint(1, 200))))
        pipe.sadd(f"i{n}", *(rng.getrandbits(20) for _ in range(rng.randint(1, 600))))
        pipe.hset(f"h{n}", mapping={str(m): rng.randbytes(rng.choice((5, 80))) for m in range(rng.randint(1, 150))})
        pipe.zadd(f"z{n}", {str(m): rng.random() for m in range(rng.randint(1, 150))})
        pipe.xadd(f"x{n}", {"field": rng.randbytes(10)}, id=f"{n + 1}-1")
        pipe.pexpireat(f"s{n}", 4_000_000_000_000 + n)
    pipe.execute_command("SELECT", 0)
    pipe.execute_command("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
    pipe.execute()


def digest(server: ServerProcess) -> tuple[Any, ...]:
    with server.client() as client:
        return client.execute_command("DEBUG", "DIGEST"), client.dbsize(), client.execute_command("FCALL", "f", 0)


@pytest.mark.parametrize("save", ["SAVE", "BGSAVE", "SHUTDOWN"])
def test_each_loads_the_others_snapshot_to_the_same_digest(tmp_path: Path, save: str) -> None:
    makers: tuple[Callable[..., ServerProcess], ...] = (PerdureServer, StockServer)
    points = ("--save", "3600 1") if save == "SHUTDOWN" else ()
    for first, second in (makers, makers[::-1]):
        folder = tmp_path / first.__name__
        with first(folder, *OPTIONS, *points) as server:
            server.start()
            with server.client() as client:
                fill(client, 7)
                before = digest(server)
                if save == "SHUTDOWN":
                    client.shutdown()
                else:
                    client.execute_command(save)
                    until(lambda server=server: not persistence(server)["rdb_bgsave_in_progress"])  # type: ignore[misc]
        with second(folder, *OPTIONS) as server:
            assert digest(server.start()) == before
            facts = persistence(server)
            assert (facts["rdb_last_load_keys_loaded"], facts["rdb_last_load_keys_expired"]) == (720, 0)


def test_reload_gives_what_was_there(pair: Pair) -> None:
    for server in pair.both:
        with server.client() as client:
            fill(client, 3)
    before = [digest(server) for server in pair.both]
    pair("SET", "due", "v", "PX", "1")
    for words in ("RELOAD", "RELOAD NOSAVE", "RELOAD NOSAVE NOFLUSH MERGE", "RELOAD other", "RELOAD MERGE x"):
        pair("DEBUG", *words.split())
        assert [digest(server) for server in pair.both] == before
    pair("SET", "new", "v")
    pair("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE")
    pair("GET", "new")
    pair("DEBUG", "RELOAD", "NOSAVE")
    pair("GET", "new")
    assert [digest(server) for server in pair.both] == before


# ---- what a start makes of it -------------------------------------------------------------------


def test_a_snapshot_without_a_log_becomes_the_base_of_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with StockServer(folder, *OPTIONS) as stock:
        stock.start()
        with stock.client() as client:
            fill(client, 5)
            before = digest(stock)
            client.set("due", "v", px=30)
            client.save()
            client.shutdown(nosave=True)
    with PerdureServer(folder, "--enable-debug-command", "yes") as ours:
        ours.start()
        assert digest(ours) == before
        assert "keys from the snapshot" in ours.log() and "BASE of a new log" in ours.log()
        with ours.client() as client:
            assert client.execute_command("SET", "due", "mine", "NX")
            client.set("more", "v")
            more = digest(ours)
        ours.kill9()
        (folder / "dump.rdb").unlink()
        ours.start()
        assert digest(ours) == more
        assert "Unverified" not in ours.log()
        ours.terminate()
    with StockServer(folder, "--enable-debug-command", "yes") as stock:
        assert digest(stock.start()) == more


def test_with_both_the_log_counts_and_without_appendonly_the_snapshot(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "data") as server:
        server.start()
        with server.client() as client:
            client.set("k", "old")
            client.save()
            client.set("k", "new")
        server.terminate()
        with server.start().client() as client:
            assert client.get("k") == b"new"
        server.terminate()
        server.options += ["--appendonly", "no"]
        with server.start().client() as client:
            assert client.get("k") == b"old"
        assert "is not read" in server.log()


@pytest.mark.parametrize("log", ["yes", "no"])
def test_a_damaged_snapshot_refuses_the_start_and_changes_nothing(tmp_path: Path, log: str) -> None:
    folder = tmp_path / "data"
    with StockServer(folder, *OPTIONS) as stock, stock.start().client() as client:
        client.rpush("some-list", *range(100))
        client.save()
        client.shutdown(nosave=True)
    data = bytearray((folder / "dump.rdb").read_bytes())
    at = data.index(b"some-list")
    data[at + 9] = 0x7F
    (folder / "dump.rdb").write_bytes(data)
    with PerdureServer(folder, "--appendonly", log) as ours:
        status, text = ours.refused()
    assert status == 1
    assert "dump.rdb" in text and "offset" in text and "opcode 18" in text and "some-list" in text
    assert os.listdir(folder) == ["dump.rdb"] and (folder / "dump.rdb").read_bytes() == data


def test_loading_is_answered_and_its_progress_told(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "data", *OPTIONS) as server:
        with server.start().client() as client:
            client.mset({f"k{n}": "v" for n in range(2000)})
            client.save()
        server.terminate()
        server.options += ["--key-load-delay", "1000"]
        server.start_to_any_answer()
        with server.client() as client:
            with pytest.raises(redis.exceptions.BusyLoadingError):
                client.get("k1")
            until(lambda: client.info("persistence").get("loading_rdb_used_mem", 0) > 0)
            facts = client.info("persistence")
            assert facts["loading"] == 1 and 0 < facts["loading_loaded_perc"] < 100
            assert facts["loading_total_bytes"] == (server.directory / "dump.rdb").stat().st_size
            client.shutdown()  # without a save: nothing is loaded yet
        until(lambda: not server.alive())
        assert (server.directory / "dump.rdb").exists()


def test_sigterm_saves_where_there_are_save_points_and_fails_where_that_does(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "data", *OPTIONS, "--save", "3600 1") as server:
        with server.start().client() as client:
            client.set("k", "v")
            (server.directory / "taken").mkdir()
            client.config_set("dbfilename", "taken")
            os.kill(server.pid, signal.SIGTERM)
            until(lambda: "errors trying to shut down" in server.log())
            assert client.ping()
            client.config_set("dbfilename", "dump.rdb")
        assert server.terminate() == 0
        with server.start().client() as client:
            assert client.get("k") == b"v"
