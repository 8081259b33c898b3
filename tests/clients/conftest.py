"""One server for all programs of a session: perdure, or stock with ``PERDURE_CLIENTS_SERVER=stock``.

The second shows that a test asks of a server what stock does.  Each test finds the server empty, and leaves it
alive and without a word of an internal error in its log.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from clients_harness import on_stock, ours_unless_stock, words_of_trouble
from server_harness import PerdureServer, ServerProcess, StockServer, copied


def pytest_report_header() -> str:
    """Which server the programs run on, if it is not ours."""
    return f"programs run on {os.environ.get('PERDURE_CLIENTS_SERVER', 'perdure')}"


@pytest.fixture(scope="session")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on a TCP port and a unix socket, for the whole session."""
    folder = tmp_path_factory.mktemp("clients")
    with ours_unless_stock()(folder / "data", tcp=True) as running:
        yield running.start()
        if running.alive() and not on_stock():
            _its_log_can_be_read(running, folder)


def _its_log_can_be_read(server: ServerProcess, folder: Path) -> None:
    """What all programs have written is read again by us and, where it is installed, by stock."""
    for index in range(16):
        with server.client(db=index) as client:
            for key in client.scan_iter():
                client.persist(key)  # so that nothing goes while we count
    held = _sizes(server)
    assert server.terminate() == 0, server.log()[-3000:]
    with PerdureServer(copied(server.directory, folder / "ours")) as again:
        assert _sizes(again.start()) == held
    if shutil.which("redis-server"):
        with StockServer(copied(server.directory, folder / "stock")) as stock:
            assert _sizes(stock.start()) == held


def _sizes(server: ServerProcess) -> dict[str, int]:
    with server.client() as client:
        return {name: facts["keys"] for name, facts in client.info("keyspace").items()}


@pytest.fixture
def server(one_server: ServerProcess) -> Iterator[ServerProcess]:
    """The session's server, empty, with its settings of the start, and with nobody left from the test before."""
    with one_server.client() as client:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)
        client.flushall()
        settings = client.config_get("*")
    yield one_server
    assert one_server.alive(), one_server.log()[-3000:]
    with one_server.client() as client:
        changed = {name: was for name, was in settings.items() if client.config_get(name).get(name) != was}
        for name, was in changed.items():
            client.config_set(name, was)
    trouble = words_of_trouble(one_server.log())
    assert not trouble, trouble


@pytest.fixture
def client(server: ServerProcess) -> Iterator[redis.Redis]:
    """redis-py on that server, as its defaults are."""
    with redis.Redis.from_url(server.url) as connected:
        yield connected


@pytest.fixture
def url(server: ServerProcess) -> str:
    """Where the server listens, as programs are told."""
    return server.url
