"""Where the log's slow calls run, and the time it goes by: both are passed in.

A job is a call that may block on the disk.  It touches nothing of its owner's; its
result comes back through ``done``, which runs on the owner's thread.  So the log
needs no lock.

It must not know: event loops, files.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

WORKERS = 2
"""A write must be able to pass a slow fsync."""


class Clock(Protocol):
    """Time.  Both methods are called from jobs, too."""

    def unix_ms(self) -> int:
        """Milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


class SystemClock:
    """This machine's time."""

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class Executor(Protocol):
    """Runs at least two jobs at once."""

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run ``job`` elsewhere, then ``done(result, error)`` on the owner's thread; one of the two is None.

        ``done`` may be called before ``submit`` returns.
        """

    def drain(self) -> None:
        """Block until every job that was submitted has ended and its ``done`` has returned."""


class InlineExecutor:
    """Runs each job at once, in place."""

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        try:
            result = job()
        except Exception as error:
            done(None, error)
        else:
            done(result, None)

    def drain(self) -> None:
        return None


class ManualExecutor:
    """Runs a job when it is told to: for tests, which choose the moment and the order."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = deque()

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        self.jobs.append((job, done))

    def run_next(self, index: int = 0) -> None:
        """Run the job that waits at ``index``; IndexError if there is none."""
        job, done = self.jobs[index]
        del self.jobs[index]
        InlineExecutor().submit(job, done)

    def drain(self) -> None:
        while self.jobs:
            self.run_next()


class ThreadExecutor:
    """Runs jobs on threads of its own.

    ``post`` brings a call to the owner's thread (``loop.call_soon_threadsafe``).  A
    result is queued first and then announced, so ``drain`` can take it where the
    owner blocks and no announcement would be heard.
    """

    def __init__(self, post: Callable[[Callable[[], None]], object]) -> None:
        self._post = post
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]] | None]
        self._jobs = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._open = 0
        self._threads = [threading.Thread(target=self._work, name=f"log-{n}", daemon=True) for n in range(WORKERS)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        self._open += 1
        self._jobs.put((job, done))

    def drain(self) -> None:
        while self._open:
            self._take(self._ended.get())

    def shutdown(self) -> None:
        """End the threads when the jobs that were submitted have ended."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result, error = None, None
            try:
                result = job()
            except BaseException as raised:
                error = raised
            self._ended.put(lambda done=done, result=result, error=error: done(result, error))  # type: ignore[misc]
            try:
                self._post(self._announced)
            except RuntimeError:
                # The owner's loop is closed: only drain() can fetch this result now.
                continue

    def _announced(self) -> None:
        try:
            end = self._ended.get_nowait()
        except queue.Empty:
            return
        self._take(end)

    def _take(self, end: Callable[[], None]) -> None:
        self._open -= 1
        end()
