"""HELP of every command that has subcommands tells of each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oracle_harness import plain
from server_in_process import InProcess

import perdure.server.commands  # noqa: F401 - fills the command table
from perdure.store.command import TABLE, Command

REFUSED = {b"CLUSTER": "there is none, and its HELP is refused as in stock"}
CONTAINERS = [entry for _, entry in sorted(TABLE.items()) if entry.subcommands and entry.name not in REFUSED]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    server = InProcess(tmp_path_factory.mktemp("helps"))
    yield server
    server.close()


@pytest.mark.parametrize("entry", CONTAINERS, ids=lambda entry: entry.name.decode())
def test_every_subcommand_is_in_the_help(server: InProcess, entry: Command) -> None:
    lines = plain(server(entry.name, b"HELP"))
    told = {line.split()[0] for line in lines[1:] if not line.startswith(b" ")}
    assert lines[0].startswith(entry.name + b" ")
    assert set(entry.subcommands) <= told
    assert all(len(line) <= 100 for line in lines)
