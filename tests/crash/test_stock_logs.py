"""STOCK: a log that redis-server 7.0 wrote is loaded as it is, whatever its form, with every type in it.

Contents are compared by DEBUG DIGEST, stock's sum over all keys and values, and whole.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_everything import digest, fill_everything
from server_harness import PerdureServer, StockServer, copied, files_of, read_state, state_differences

from perdure.wal.manifest import parse

LOG = "appendonlydir"
MANIFEST = f"{LOG}/appendonly.aof.manifest"
OPEN = ("--enable-debug-command", "yes")
EAGER = ("--appendfsync", "always", *OPEN)


def rewritten(stock):
    """Have a server rewrite its log, and wait until it has."""
    with stock.client() as client:
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            client.ping()


def of_stock(directory, *options):
    """A directory of stock's: a BASE by its rewrite, and commands behind it; with its digest and contents."""
    with StockServer(directory, *EAGER, *options) as stock:
        stock.start()
        fill_everything(stock, "first")
        rewritten(stock)
        fill_everything(stock, "second")
        found = digest(stock), read_state(stock)
        stock.kill9()
    return found


def base_of(directory):
    entries = parse((directory / MANIFEST).read_bytes(), "").entries
    return next(entry.name for entry in entries if entry.kind == "b")


def parts_of(directory):
    """The files of a log, one behind the other."""
    manifest = parse((directory / MANIFEST).read_bytes(), "")
    names = [e.name for kind in "bi" for e in manifest.entries if e.kind == kind]
    return b"".join((directory / LOG / name).read_bytes() for name in names)


def assert_ours_then_stock(directory, expected):
    """We load it, to the same contents, twice; then stock loads what we made of it."""
    checksum, contents = expected
    with PerdureServer(directory, *OPEN) as ours:
        for turn in range(2):
            ours.start()
            different = state_differences(contents, read_state(ours))
            assert not different, f"ours, turn {turn}:\n" + "\n".join(different)
            assert digest(ours) == checksum
            ours.kill9() if turn else ours.terminate()
    with StockServer(directory, *OPEN) as stock:
        stock.start()
        assert digest(stock) == checksum


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_what_stock_rewrote_is_loaded_to_the_same_digest(preamble, tmp_path):
    expected = of_stock(tmp_path / "data", "--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes")
    assert base_of(tmp_path / "data").endswith(".rdb" if preamble == "yes" else ".aof")
    assert_ours_then_stock(tmp_path / "data", expected)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_a_log_of_a_single_file_is_moved_into_the_directory(preamble, tmp_path):
    expected = of_stock(tmp_path / "stock", "--aof-use-rdb-preamble", preamble)
    data = tmp_path / "data"
    data.mkdir()
    (data / "appendonly.aof").write_bytes(parts_of(tmp_path / "stock"))
    assert_ours_then_stock(data, expected)
    assert not (data / "appendonly.aof").exists()
    assert base_of(data) == "appendonly.aof"


def test_an_rdb_preamble_inside_a_base_in_aof_form_is_loaded(tmp_path):
    expected = of_stock(tmp_path / "stock")
    log = tmp_path / "data" / LOG
    log.mkdir(parents=True)
    (log / "appendonly.aof.1.base.aof").write_bytes(parts_of(tmp_path / "stock"))
    (log / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.aof seq 1 type b\n")
    assert_ours_then_stock(tmp_path / "data", expected)


def test_what_expired_is_there_until_the_log_says_that_it_is_gone(tmp_path):
    """Were it left out of the BASE, what the log goes on to do with it would have another outcome."""
    with StockServer(tmp_path / "data", *EAGER) as stock:
        stock.start()
        with stock.client() as client:
            client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            client.rpush("list", "old")
            client.pexpire("list", 150)
            rewritten(stock)
            client.execute_command("DEBUG", "SLEEP", "0.2")
            client.rpush("list", "new")
        stock.kill9()
    with PerdureServer(tmp_path / "data") as ours, ours.start().client() as client:
        assert client.lrange("list", 0, -1) == [b"new"]


@pytest.mark.parametrize("pinned", [False, True])
def test_a_damaged_base_is_refused_with_its_place_and_left_alone(pinned, tmp_path):
    data = tmp_path / "data"
    of_stock(data)
    if pinned:  # from our first start on the manifest knows its checksum
        with PerdureServer(data) as ours:
            ours.start()
            ours.terminate()
    base = data / LOG / base_of(data)
    whole = base.read_bytes()
    at = whole.index(b"first:quick") + len(b"first:quick") + 2
    changed = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]
    for turn, damaged in enumerate((whole[:-20], changed, whole[: len(whole) // 2])):
        copy = copied(data, tmp_path / f"copy{turn}")
        (copy / LOG / base.name).write_bytes(damaged)
        before = files_of(copy)
        with PerdureServer(copy) as ours:
            status, log = ours.refused()
        assert status == 1
        assert base.name in log
        assert "offset" in log
        if not pinned:
            assert "opcode" in log
        assert files_of(copy) == before


def test_a_long_load_of_a_base_answers_that_it_is_loading(tmp_path):
    data = tmp_path / "data"
    with StockServer(data, *EAGER, "--appendfsync", "no") as stock:
        stock.start()
        with stock.client() as client:
            client.execute_command("DEBUG", "POPULATE", 300_000, "key", 100)
            rewritten(stock)
            size = Path(data, LOG, base_of(data)).stat().st_size
        stock.terminate()
    with PerdureServer(data, *OPEN) as ours:
        ours.start_to_any_answer()
        with ours.client() as client:
            seen = []
            while True:
                found = client.info("persistence")
                if not found["loading"]:
                    break
                seen.append(found["loading_loaded_bytes"])
            assert found["aof_base_size"] == size
            assert client.dbsize() == 300_000
        assert seen == sorted(seen)
        assert any(n > 0 for n in seen), "progress of the BASE was not shown"
