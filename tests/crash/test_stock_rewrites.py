"""STOCK while the log is rewritten: stock starts on what is there at any moment, and so do we, to the same data.

One half takes the disk of a simulated run, as it is before and behind each call of a rewrite, out into
real files; the other kills real processes.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from crash_everything import digest, fill_everything
from crash_writers import STYLES, Progress, Writer, open_accounts
from rewrite_model import filled
from server_harness import PerdureServer, StockServer, copied, read_state, state_differences
from server_model import load, time_of

from perdure.server import digest as digests
from perdure.wal.manifest import parse
from perdure.wal.simulated import MUTATING, SimulatedFilesystem

LOG = "appendonlydir"
OPEN = ("--enable-debug-command", "yes")


def written_out(fs: SimulatedFilesystem, folder: Path) -> Path:
    """The disk's files as real ones."""
    for path, data in fs.files().items():
        target = folder / path.removeprefix("/data/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


@pytest.mark.parametrize("rdb", [True, False])
def test_stock_loads_what_each_step_of_a_rewrite_leaves(rdb, tmp_path):
    life = filled("always")
    disks: list[SimulatedFilesystem] = []
    seen = set()

    def keep(call) -> None:
        files = tuple(life.fs.files().items())
        if call.name in MUTATING and files not in seen:
            seen.add(files)
            disks.append(life.fs.kill())

    with time_of(life.clock):
        life.fs.on_call = keep
        life.rewrite(rdb)
        for turn in range(6):
            life.clients[1].send(f"SET a {turn}", "INCR n", "HSET h f x", "MULTI", "INCR n", "RPUSH l v", "EXEC")
            life.turn()
        life.finish()
        life.fs.on_call = None
    assert life.server.rewriter.ok
    assert len(disks) > 20
    for number, fs in enumerate(disks):
        folder = written_out(fs, tmp_path / str(number))
        server, _ = load(fs)
        expected = digests.of_keyspace(server.keyspace.databases).hex().encode()
        with StockServer(folder, *OPEN) as stock, stock.start().client() as client:
            assert client.execute_command("DEBUG", "DIGEST") == expected, f"step {number}: {sorted(fs.files())}"


def rewrite_until(server, progress, count):
    """Have it rewrite again and again while others write."""
    with server.client() as client:
        done = 0
        while done < count:
            if not client.info("persistence")["aof_rewrite_in_progress"]:
                client.config_set("aof-use-rdb-preamble", "no" if done % 2 else "yes")
                client.bgrewriteaof()
                done += 1
    return progress


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_while_the_log_is_rewritten_under_load(seed, tmp_path):
    rng = Random(seed)
    with PerdureServer(tmp_path / "ours", *OPEN, "--appendfsync", ("always", "everysec")[seed % 2]) as ours:
        ours.start()
        fill_everything(ours, "x")
        open_accounts(ours)
        progress = Progress()
        writers = [Writer(ours, f"w{i}", Random(rng.random()), style, progress) for i, style in enumerate(STYLES)]
        for writer in writers:
            writer.start()
        assert progress.wait_for(100, 60.0), ours.log()
        rewrite_until(ours, progress, 1 + seed)
        ours.kill9()
        for writer in writers:
            writer.join(60.0)
        copy = copied(ours.directory, tmp_path / "copy")
        with StockServer(copy, *OPEN) as stock:
            theirs = read_state(stock.start()), digest(stock)
        different = state_differences(theirs[0], read_state(ours.start()))
        assert not different, "\n".join(different)
        assert digest(ours) == theirs[1]
        assert "Unverified" not in ours.log()


def test_stock_goes_on_with_a_log_that_we_rewrote_and_we_with_one_that_it_rewrote(tmp_path):
    shared = tmp_path / "shared"
    with PerdureServer(shared, *OPEN) as ours, StockServer(shared, *OPEN, "--appendfsync", "always") as stock:
        for turn, form in enumerate(("yes", "no", "yes")):
            for server, tag in ((ours, "ours"), (stock, "stock")):
                server.start()
                fill_everything(server, f"{tag}{turn}")
                with server.client() as client:
                    client.config_set("aof-use-rdb-preamble", form)
                    client.bgrewriteaof()
                    client.incr("during")
                    while client.info("persistence")["aof_rewrite_in_progress"]:
                        client.incr("during")
                    assert client.info("persistence")["aof_last_bgrewrite_status"] == "ok"
                    client.incr("after")
                before = digest(server)
                server.kill9()
                other = stock if server is ours else ours
                assert digest(other.start()) == before, f"{tag}, turn {turn}"
                other.terminate()
        kinds = [e.kind for e in parse((shared / LOG / "appendonly.aof.manifest").read_bytes(), "").entries]
        assert kinds[0] == "b"
