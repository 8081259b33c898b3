"""What is installed, editable or as a wheel, is a server that keeps what it answered."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path

import pytest
from server_harness import PerdureServer

PACKAGES = ("store", "store.commands", "wal", "snapshot", "server", "server.commands", "tools")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_there(package):
    assert importlib.util.find_spec(f"perdure.{package}") is not None


def test_the_console_script_serves_and_keeps_what_it_answered(tmp_path):
    script = Path(sysconfig.get_path("scripts")) / "perdure-server"
    assert script.exists(), "the console script is not installed"
    with PerdureServer(tmp_path / "data", "--appendfsync", "always", tcp=True) as server:
        server.command = [str(script)]
        server.start()
        with server.client() as client:
            client.set("greeting", "hello")
            client.hset("ada", mapping={"born": 1815})
            pipe = client.pipeline(transaction=True)
            for _ in range(10):
                pipe.incr("counter")
            assert pipe.execute()[-1] == 10
        server.kill9()
        server.start()
        with server.client() as client:
            assert client.get("greeting") == b"hello"
            assert client.hgetall("ada") == {b"born": b"1815"}
            assert client.get("counter") == b"10"
        assert server.terminate() == 0
