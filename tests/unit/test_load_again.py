"""DEBUG LOADAOF: what the log holds is what memory holds; and SHUTDOWN while the log takes nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import oracle_generators  # noqa: F401 - plugs in every generator of lines
import pytest
import redis
from oracle_lines import Lines
from server_harness import PerdureServer
from server_in_process import InProcess

from perdure.wal.writer import LogRefused


@pytest.fixture(scope="module", params=["everysec", "always"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    options = ("--enable-debug-command", "yes", "--appendfsync", request.param)
    with PerdureServer(tmp_path_factory.mktemp(request.param), *options) as server:
        yield server.start()


def digest(client: redis.Redis) -> object:
    return client.execute_command("DEBUG DIGEST")


def test_all_data_comes_back_out_of_the_log(server: PerdureServer) -> None:
    with server.client() as client:
        client.flushall()
        pipe = client.pipeline(transaction=False)
        for line in Lines(11).many(1500):
            if line[0].upper() not in (b"SELECT", b"SWAPDB", b"FLUSHALL", b"FLUSHDB"):
                pipe.execute_command(*line)
        pipe.execute(raise_on_error=False)
        before = client.dbsize(), digest(client)
        assert before[0] > 10
        assert client.execute_command("DEBUG LOADAOF") == b"OK"
        assert (client.dbsize(), digest(client)) == before
        assert client.set("after", "x") and client.get("after") == b"x"
        assert client.execute_command("DEBUG LOADAOF") == b"OK"
        assert client.get("after") == b"x"


def test_what_was_written_in_the_same_moment_is_in_it(server: PerdureServer) -> None:
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        pipe.set("now", 1).execute_command("DEBUG LOADAOF").get("now").incr("now").execute_command("DEBUG LOADAOF")
        answers = pipe.execute(raise_on_error=False)
        loaded = [answer for answer in (answers[1], answers[4]) if answer == b"OK"]
        assert loaded or b"busy" in str(answers[1]).encode()
        assert (answers[0], answers[2], answers[3]) == (True, b"1", 2)
        assert client.get("now") == b"2"


def test_a_transaction_that_has_written_is_not_torn(server: PerdureServer) -> None:
    with server.client() as client:
        pipe = client.pipeline()
        pipe.set("in", 1).execute_command("DEBUG LOADAOF")
        answers = pipe.execute(raise_on_error=False)
        assert answers[0] is True
        assert "a transaction is open" in str(answers[1])
        assert client.get("in") == b"1"


def test_a_log_that_is_damaged_changes_nothing_in_memory(tmp_path: Path) -> None:
    with PerdureServer(tmp_path, "--enable-debug-command", "yes", "--appendfsync", "always") as server:
        server.start()
        with server.client() as client:
            for n in range(50):
                client.set(f"k{n}", n)
            (file,) = tmp_path.glob("appendonlydir/*.incr.aof")
            with open(file, "r+b") as log:
                log.seek(400)
                log.write(b"\xff\xfe")
            with pytest.raises(redis.ResponseError, match="the log cannot be read back"):
                client.execute_command("DEBUG LOADAOF")
            assert client.dbsize() == 50 and client.get("k7") == b"7"


def test_without_a_log_there_is_nothing_to_load(tmp_path: Path) -> None:
    server = InProcess(tmp_path, enable_debug_command="yes")
    assert b"appendonly is off" in server(b"DEBUG", b"LOADAOF")
    server.close()


@pytest.mark.parametrize("words", [(), (b"NOSAVE",), (b"NOW",)])
def test_shutdown_is_refused_while_the_log_takes_nothing(tmp_path: Path, words: tuple[bytes, ...]) -> None:
    server = InProcess(tmp_path)
    server.server.engine.log.refusing = LogRefused(errno.ENOSPC)  # type: ignore[misc]
    assert server(b"SHUTDOWN", *words) == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
    assert not server.stopped
    assert "The log takes no writes" in server.log()
    assert server(b"SHUTDOWN", *words, b"FORCE") == b""
    assert server.stopped == [("User requested shutdown", 0)]
    server.close()
