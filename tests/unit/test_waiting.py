"""WAIT beside stock, and WAITAOF, which stock 7.0 does not know: what counts as durable, and how waits end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oracle_harness import Oracle, words
from server_harness import PerdureServer
from server_in_process import InProcess

from perdure.server.durability import DurableWaits, durable_reply

AT_ONCE = [
    "WAIT", "WAIT 1", "WAIT x y", "WAIT x 0", "WAIT 0 y", "WAIT 0 -1", "WAIT 0 1.5", "WAIT -1 0", "WAIT 0 0",
    "WAIT 0 9223372036854775807", "WAIT 99999999999999999999 0", "WAIT 1 5", "WAIT 9223372036854775807 1",
]  # fmt: skip


@pytest.mark.oracle
def test_wait_answers_as_stock_without_replicas(tmp_path: Path) -> None:
    oracle = Oracle()
    try:
        with PerdureServer(tmp_path / "data").start() as server, server.connect() as ours:
            stream = ours.makefile("rb")
            for line in [*AT_ONCE, "MULTI", "WAIT 1 0", "EXEC"]:
                theirs = oracle(*words(line)[0])
                ours.sendall(line.encode() + b"\r\n")
                mine = stream.readline()
                while mine.count(b"\r\n") < theirs.count(b"\r\n"):
                    mine += stream.readline()
                assert mine == theirs, line
    finally:
        oracle.close()


@pytest.mark.parametrize(("line", "reply"), [
    ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
    ("WAITAOF -1 0 0", "-ERR value is out of range, value must between 0 and 1"),
    ("WAITAOF x 0 0", "-ERR value is not an integer or out of range"),
    ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive"),
    ("WAITAOF 1 x 0", "-ERR value is not an integer or out of range"),
    ("WAITAOF 1 0 x", "-ERR timeout is not an integer or out of range"),
    ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
    ("WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
    ("WAITAOF 0 0 0", "*2\r\n:0\r\n:0"),
    ("WAITAOF 0 1 0", "*2\r\n:0\r\n:0"),
])  # fmt: skip
def test_waitaof_says_what_it_cannot_do(tmp_path: Path, line: str, reply: str) -> None:
    server = InProcess(tmp_path, appendonly="no")
    assert server(*words(line)[0]) == reply.encode() + b"\r\n"
    server.close()


class FakeServer:
    """What ``DurableWaits`` sees of a server: a log, an open batch, a loop whose turns the test gives, and answers."""

    def __init__(self) -> None:
        self.rewriter = SimpleNamespace(starting=False)
        self.writer = SimpleNamespace(lsn=1000, durable_lsn=900)
        self.tx = SimpleNamespace(records=[b"x" * 50])
        self.jobs: list[Callable[[], object]] = []
        self.loop = SimpleNamespace(call_later=lambda seconds, job: self.jobs.append(job))
        self.answers: list[tuple[Any, bytes]] = []
        self.engine = SimpleNamespace(waits=SimpleNamespace(answer=self.answer))

    def answer(self, wait: Any, reply: bytes) -> None:
        wait.over = True
        self.answers.append((wait, reply))

    def turn(self) -> None:
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def a_wait() -> Any:
    return SimpleNamespace(over=False, empty=durable_reply(0))


def test_only_what_an_fsync_has_covered_counts(server: FakeServer) -> None:
    waits: Any = DurableWaits(server)  # type: ignore[arg-type]
    position = waits.position()
    assert position == 1050, "what is in the open batch is waited for, too"
    wait = a_wait()
    waits.add(wait, position, True)
    for written, durable in ((1050, 900), (1050, 1000), (1200, 1049)):
        server.writer.lsn, server.writer.durable_lsn = written, durable
        server.turn()
        assert not server.answers
        assert wait.empty == durable_reply(0)
    server.writer.durable_lsn = 1050
    server.turn()
    assert server.answers == [(wait, durable_reply(1))]
    assert not server.jobs, "nobody looks while nobody waits"


def test_who_waits_for_replicas_too_hears_of_the_disk_when_the_time_is_over(server: FakeServer) -> None:
    waits: Any = DurableWaits(server)  # type: ignore[arg-type]
    wait = a_wait()
    waits.add(wait, 1000, False)
    server.writer.durable_lsn = 1000
    server.turn()
    assert not server.answers
    assert wait.empty == durable_reply(1)


def test_waits_that_ended_otherwise_are_forgotten_and_many_share_one_look(server: FakeServer) -> None:
    waits: Any = DurableWaits(server)  # type: ignore[arg-type]
    some = [a_wait() for _ in range(100)]
    for n, wait in enumerate(some):
        waits.add(wait, 1000 + n, True)
    assert len(server.jobs) == 1
    for wait in some[:40]:
        wait.over = True
    server.writer.durable_lsn = 1089
    server.turn()
    assert [wait for wait, _ in server.answers] == some[40:90]
    assert len(server.jobs) == 1
    server.writer.durable_lsn = 2000
    server.turn()
    assert len(server.answers) == 60
    assert not server.jobs


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    with PerdureServer(tmp_path_factory.mktemp("running") / "data", "--appendfsync", "no").start() as server:
        yield server


@pytest.mark.parametrize(("policy", "reply"), [("always", [1, 0]), ("everysec", [1, 0]), ("no", [0, 0])])
def test_waitaof_ends_with_the_fsync_or_with_the_time(running: PerdureServer, policy: str, reply: list[int]) -> None:
    client = running.client()
    client.config_set("appendfsync", policy)
    client.set(policy, "x" * 100)
    written = client.info("persistence")["perdure_log_lsn"]
    timeout = "30" if policy == "no" else "0"
    assert client.execute_command("WAITAOF", "1", "0", timeout) == reply
    durable = client.info("persistence")["perdure_log_durable_lsn"]
    assert (durable >= written) == (reply == [1, 0])
    if policy != "no":
        assert client.execute_command("WAITAOF", "1", "0", "0") == reply
        assert client.execute_command("WAITAOF", "0", "1", "1") == reply
    assert client.execute_command("WAIT", "1", "1") == 0
    client.close()


def test_what_is_sent_behind_waitaof_is_answered_behind_it(running: PerdureServer) -> None:
    client = running.client()
    client.config_set("appendfsync", "always")
    with client.pipeline(transaction=False) as pipe:
        pipe.set("k", "v").execute_command("WAITAOF", "1", "0", "0")
        pipe.get("k")
        assert pipe.execute() == [True, [1, 0], b"v"]
    with client.pipeline(transaction=True) as pipe:
        pipe.set("k", "w").execute_command("WAITAOF", "1", "0", "0")
        assert pipe.execute()[0] is True, "nobody waits inside MULTI"
    client.close()


