"""STOCK: stock redis-server 7.0 opens our directory at any moment, and we open its.

Everything is on copies where both must look at the same files: stock repairs and
appends in place.  Values are compared whole, deadlines to the millisecond.
"""

from __future__ import annotations

import subprocess
from random import Random

import pytest
from crash_writers import STYLES, Progress, Writer, open_accounts
from server_harness import PerdureServer, StockServer, copied, read_state, state_differences, stock_path

FAR_MS = 4_000_000_000_000
MANIFEST = "appendonlydir/appendonly.aof.manifest"
# Stock keeps answered writes in memory while an fsync of everysec runs; what is tested here is the files.
EAGER = ("--appendfsync", "always")


def fill(server, tag):
    """Keys of every type that there is so far, binary, large, with deadlines, in several databases."""
    for index in (0, 3, 15):
        with server.client(db=index) as client:
            client.set(f"{tag}:text", f"grüße aus {index}")
            client.set(f"{tag}:only{index}", index)
            client.set(b"%b:\x00\r\n\xff" % tag.encode(), bytes(range(256)))
            client.set(f"{tag}:empty", "")
            client.set(f"{tag}:large", b"*3\r\n$3\r\nSET\r\n" * 20_000)
            client.set(f"{tag}:annotation", "\r\n#END 0 00000000 00000000\r\n")
            client.set(f"{tag}:number", -(2**63))
            client.incr(f"{tag}:counter", 41)
            client.incrbyfloat(f"{tag}:float", 10.5)
            client.append(f"{tag}:counter", "0")
            client.setrange(f"{tag}:padded", 10, "x")
            client.set(f"{tag}:mortal", "x", pxat=FAR_MS + index)
            client.set(f"{tag}:persists", "x", ex=1000)
            client.persist(f"{tag}:persists")
            client.expire(f"{tag}:counter", 100_000)
            client.hset(f"{tag}:hash", mapping={f"field{i}": i * 1.5 for i in range(300)})
            client.hset(f"{tag}:hash", b"\x00\xff", b"\r\n")
            client.hincrby(f"{tag}:hash", "n", 7)
            client.hdel(f"{tag}:hash", "field1", "field2")
            client.set(f"{tag}:gone", 1)
            client.delete(f"{tag}:gone")
            client.set(f"{tag}:old", 1)
            client.rename(f"{tag}:old", f"{tag}:new")
            pipe = client.pipeline(transaction=True)
            pipe.mset({f"{tag}:m{i}": i for i in range(10)})
            pipe.getdel(f"{tag}:m3")
            pipe.copy(f"{tag}:m4", f"{tag}:m5", replace=True)
            pipe.execute()
    with server.client() as client:
        client.swapdb(0, 3)


def checked_by_stock(directory):
    """What redis-check-aof says of the log; it changes nothing."""
    command = [stock_path("redis-check-aof"), str(directory / MANIFEST)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def assert_same(expected, found, what):
    different = state_differences(expected, found)
    assert not different, f"{what}:\n" + "\n".join(different)


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_stock_shows_what_we_had_when_we_were_killed(policy, tmp_path):
    with PerdureServer(tmp_path / "ours", "--appendfsync", policy) as ours:
        ours.start()
        fill(ours, "a")
        before = read_state(ours)
        ours.kill9()
        copy = copied(ours.directory, tmp_path / "copy")
        status, said = checked_by_stock(copy)
        assert status == 0, said
        assert "valid" in said.lower(), said
        with StockServer(copy) as stock:
            assert_same(before, read_state(stock.start()), "stock, on our directory")
        assert_same(before, read_state(ours.start()), "ours, after the kill")


@pytest.mark.parametrize("seed", range(6))
def test_stock_and_we_recover_the_same_from_a_kill_under_load(seed, tmp_path):
    rng = Random(seed)
    with PerdureServer(tmp_path / "ours", "--appendfsync", ("always", "everysec", "no")[seed % 3]) as ours:
        ours.start()
        open_accounts(ours)
        progress = Progress()
        writers = [Writer(ours, f"w{i}", Random(rng.random()), style, progress) for i, style in enumerate(STYLES)]
        for writer in writers:
            writer.start()
        assert progress.wait_for(rng.randrange(100, 2000), 60.0), ours.log()
        ours.kill9()
        for writer in writers:
            writer.join(60.0)
        copy = copied(ours.directory, tmp_path / "copy")
        with StockServer(copy) as stock:
            theirs = read_state(stock.start())
        assert_same(theirs, read_state(ours.start()), f"seed {seed}: ours beside stock")


@pytest.mark.parametrize("stock_ends", ["terminate", "kill9"])
@pytest.mark.parametrize("we_end", ["terminate", "kill9"])
def test_we_and_stock_take_turns_on_one_directory(we_end, stock_ends, tmp_path):
    shared = tmp_path / "shared"
    with PerdureServer(shared, "--appendfsync", "everysec") as ours, StockServer(shared, *EAGER) as stock:
        expected = {}
        for turn in range(3):
            assert_same(expected, read_state(ours.start()), f"ours, turn {turn}")
            fill(ours, f"ours{turn}")
            expected = read_state(ours)
            getattr(ours, we_end)()
            assert_same(expected, read_state(stock.start()), f"stock, turn {turn}")
            fill(stock, f"stock{turn}")
            expected = read_state(stock)
            getattr(stock, stock_ends)()
            status, said = checked_by_stock(shared)
            assert status == 0, said
        assert_same(expected, read_state(ours.start()), "ours, at the end")
        assert "unverified" in ours.log().lower(), "what stock appended has no checksums: that must be said"


def rewrite_log(stock):
    """Have stock rewrite its log, and wait until it has."""
    with stock.client() as client:
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            client.ping()


def test_a_log_that_only_stock_wrote_is_loaded(tmp_path):
    options = ("--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", "yes")
    with StockServer(tmp_path / "data", *EAGER, *options) as stock:
        stock.start()
        fill(stock, "first")
        rewrite_log(stock)
        fill(stock, "second")
        expected = read_state(stock)
        stock.kill9()
    with PerdureServer(tmp_path / "data") as ours:
        assert_same(expected, read_state(ours.start()), "ours, on stock's directory")


def test_the_old_single_file_log_is_loaded(tmp_path):
    with StockServer(tmp_path / "stock", *EAGER, "--aof-use-rdb-preamble", "no") as stock:
        stock.start()
        fill(stock, "old")
        expected = read_state(stock)
        stock.kill9()
    (tmp_path / "data").mkdir()
    parts = sorted((tmp_path / "stock" / "appendonlydir").glob("*.aof"))
    (tmp_path / "data" / "appendonly.aof").write_bytes(b"".join(part.read_bytes() for part in parts))
    with PerdureServer(tmp_path / "data") as ours:
        assert_same(expected, read_state(ours.start()), "ours, on a log from before Redis 7")
        ours.kill9()
        assert_same(expected, read_state(ours.start()), "ours, once more")
        ours.kill9()
    with StockServer(tmp_path / "data") as stock:
        assert_same(expected, read_state(stock.start()), "stock, after us")
