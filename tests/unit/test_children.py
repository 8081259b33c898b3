"""One child at a time: what a job in a forked child gives back, how it may end, and what it does not inherit."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.server import children as module
from perdure.server.children import MAX_RESULT_BYTES, Children, InPlace, Outcome, Report
from perdure.server.logfile import Log
from perdure.server.stats import Stats


class Nursery:
    """Children on a loop of their own."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.stats = Stats()
        self.samples: list[bytes] = []
        self.log_path = folder / "log"
        self.children = Children(
            self.loop, Log(str(self.log_path), role="M"), self.stats, lambda event, began_ns: self.samples.append(event)
        )
        self.outcomes: list[Outcome] = []

    def start(self, job: Callable[[Report], bytes]) -> module.Child:
        return self.children.start("test", job, self.outcomes.append)

    def wait(self) -> Outcome:
        """Turn the loop until the child has ended."""

        async def until_idle() -> None:
            while self.children.active is not None:
                self.children.tick()
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(until_idle(), 30))
        return self.outcomes[-1]


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    found = Nursery(tmp_path)
    yield found
    found.children.end("the test is over")
    found.loop.close()


def forever(report: Report) -> bytes:
    while True:
        signal.pause()


def test_a_job_gives_its_result_and_sees_memory_as_it_was(nursery: Nursery) -> None:
    data = [b"then"]
    nursery.start(lambda report: data[0])
    data[0] = b"now"
    outcome = nursery.wait()
    assert outcome.ok and outcome.result == b"then" and outcome.error == "" and outcome.cow_bytes > 0
    assert nursery.stats.total_forks == 1 and nursery.stats.latest_fork_us > 0 and nursery.samples == [b"fork"]


def test_a_result_of_the_greatest_size_passes_and_no_longer_one(nursery: Nursery) -> None:
    nursery.start(lambda report: b"x" * MAX_RESULT_BYTES)
    assert nursery.wait().result == b"x" * MAX_RESULT_BYTES
    nursery.start(lambda report: b"x" * (MAX_RESULT_BYTES + 1))
    assert nursery.wait().error == "the result is too long"


def test_what_a_job_raises_is_told_in_words_and_cut(nursery: Nursery) -> None:
    def fails(report: Report) -> bytes:
        raise OSError(28, os.strerror(28), "/data/file")

    nursery.start(fails)
    outcome = nursery.wait()
    assert (outcome.ok, outcome.error, outcome.signal) == (False, "/data/file: No space left on device", 0)

    def fails_at_length(report: Report) -> bytes:
        raise ValueError("x" * 100_000)

    nursery.start(fails_at_length)
    assert nursery.wait().error == "x" * module.MAX_ERROR_BYTES


def test_reports_reach_the_parent(nursery: Nursery) -> None:
    def job(report: Report) -> bytes:
        for done in range(101):
            report(done, 100)
        return b""

    child = nursery.start(job)
    nursery.wait()
    assert (child.keys_done, child.keys_total) == (100, 100)


def test_a_child_that_is_killed_by_somebody_is_a_failure_and_one_that_was_asked_for_is_none(nursery: Nursery) -> None:
    child = nursery.start(forever)
    os.kill(child.pid, signal.SIGKILL)
    outcome = nursery.wait()
    assert (outcome.ok, outcome.signal, outcome.killed, outcome.error) == (False, 9, False, "terminated by signal 9")
    nursery.start(forever)
    nursery.children.kill("nobody wants it")
    outcome = nursery.wait()
    assert (outcome.ok, outcome.signal, outcome.killed, outcome.error) == (False, 9, True, "nobody wants it")


def test_end_waits_for_the_child_without_the_loop(nursery: Nursery) -> None:
    child = nursery.start(forever)
    nursery.children.end("the server ends")
    assert nursery.children.active is None and nursery.outcomes[0].killed
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_child_that_gives_no_sign_of_life_is_killed_and_that_is_a_failure(nursery: Nursery) -> None:
    nursery.children.hangs_s = 0.05
    nursery.start(forever)
    outcome = nursery.wait()
    assert not outcome.ok and not outcome.killed and "no sign of life for 0.05 seconds" in outcome.error
    assert "no sign of life" in nursery.log_path.read_text()


def test_an_exit_without_a_word_is_a_failure(nursery: Nursery) -> None:
    nursery.start(lambda report: os._exit(7))
    assert nursery.wait().error == "exit status 7 and not a word why"


def test_a_child_has_no_descriptor_of_its_parent(nursery: Nursery, tmp_path: Path) -> None:
    with open(tmp_path / "log-file", "wb") as file:
        os.set_inheritable(file.fileno(), True)

        def job(report: Report) -> bytes:
            kept = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    kept.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
                except FileNotFoundError:
                    continue  # that of listdir
            return "\n".join(kept).encode()

        nursery.start(job)
        kept = nursery.wait().result.decode().splitlines()
    assert len(kept) == 4 and "pipe" in kept, "0, 1, 2 and the pipe"
    assert str(file.name) not in kept and "socket" not in kept and "anon_inode" not in kept


def test_signals_for_everybody_do_not_end_the_child(nursery: Nursery) -> None:
    def job(report: Report) -> bytes:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return b"%d" % signal.set_wakeup_fd(-1)

    nursery.loop.add_signal_handler(signal.SIGTERM, lambda: pytest.fail("the parent heard a signal of its child"))
    nursery.start(job)
    outcome = nursery.wait()
    nursery.loop.remove_signal_handler(signal.SIGTERM)
    assert outcome.ok and outcome.result == b"-1"


def test_a_fork_that_fails_leaves_nothing(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        nursery.start(forever)
    assert nursery.children.active is None and len(os.listdir("/proc/self/fd")) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_nothing_is_left_open_after_many_children(nursery: Nursery) -> None:
    nursery.start(lambda report: b"")
    nursery.wait()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        nursery.start(lambda report: b"")
        nursery.wait()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_parents_collector_leaves_old_objects_alone_while_a_child_lives(nursery: Nursery) -> None:
    before = gc.get_threshold()
    nursery.start(forever)
    assert gc.get_threshold()[:2] == before[:2] and gc.get_threshold()[2] > 1 << 20
    nursery.children.end("enough")
    assert gc.get_threshold() == before


def test_without_a_pidfd_the_clock_sees_the_end(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    child = nursery.start(lambda report: b"done")
    assert child.pidfd == -1 and nursery.wait().result == b"done"


def test_who_waits_for_a_turn_has_it_after_done(nursery: Nursery) -> None:
    order: list[str] = []
    nursery.children.when_idle.append(lambda: order.append(f"idle, {len(nursery.outcomes)} done"))
    nursery.start(lambda report: b"")
    nursery.wait()
    assert order == ["idle, 1 done"]


def test_in_place_the_job_is_done_at_once_and_its_end_comes_with_a_turn(nursery: Nursery) -> None:
    nursery.children.launch = InPlace()
    ran: list[int] = []

    def job(report: Report) -> bytes:
        report(3, 4)
        ran.append(os.getpid())
        return b"here"

    child = nursery.start(job)
    assert ran == [os.getpid()] and nursery.outcomes == [] and nursery.children.active is child
    assert nursery.wait().result == b"here" and (child.keys_done, child.keys_total) == (3, 4)

    def fails(report: Report) -> bytes:
        raise OSError(5, "Input/output error", "/data/x")

    nursery.start(fails)
    assert nursery.wait().error == "/data/x: Input/output error"
