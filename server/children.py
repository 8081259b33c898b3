"""One child at a time: a job that wants the data as it is now, while the server goes on.

A save and a rewrite of the log are such jobs.  The process forks, so the child has the
whole memory at one moment, shared with the parent page by page until one of the two
writes to it.

::

    children.start(SAVE, job, done)     # OSError: it could not be begun
    job(report) -> bytes                # in the child; report(keys done, keys in all) at every few thousand keys
    done(outcome)                       # in the parent, on the loop, when the child is reaped, however it ended

Who does the forking is the ``Launcher``: ``fork_child``, or ``InPlace`` which runs the job at
once in this process (the simulated disk, whose every call is a crash point, is not the kernel's).

What holds of a forked child:

- Signals are blocked over the fork, and ignored in the child: those of a terminal, a supervisor or a
  container go to all processes, and it is the parent that decides.  It ends by SIGKILL.
- Every descriptor is closed but 0, 1, 2 and its end of the pipe.  With that the sockets, the
  epolls, the log's files and the lock on the data directory are the parent's alone.
- It dies with its parent (PR_SET_PDEATHSIG), and where there is no such thing at its next report.
- It returns to no caller: ``os._exit``, whatever is raised.
- No thread but the one that forks is there any more, so nothing may be waited for that another
  thread holds: no ``logging``, no ``print``, no executor.  What jobs use (``os``, the codecs) has no locks.
- Its collector of cycles is off.  That of the parent leaves old objects alone as long as the child
  lives: a look at them writes to them, which is a copy of each page.  (``gc.freeze`` would do that,
  too, but for good: what cycles there are at the time of a save would never be freed.)

The pipe has messages of a kind (one byte), a length (u32) and so many bytes: ``P`` progress,
``R`` the result, ``E`` why it failed.  A child is alive as long as it reports, uses CPU time or
moves bytes; if it does none of these for ``HANGS_S`` it is killed, and that is its error.

It must not know: what jobs do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import os
import select
import signal
import struct
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from perdure.server import latency, process_stats

if TYPE_CHECKING:
    from perdure.server.logfile import Log
    from perdure.server.stats import Stats

Report = Callable[[int, int], None]
"""So many keys are done, of so many."""
Job = Callable[[Report], bytes]
"""What is done; its result is small (``MAX_RESULT_BYTES``)."""

MAX_RESULT_BYTES: Final = 1 << 20
MAX_ERROR_BYTES: Final = 2048
HANGS_S: Final = 600.0
"""So long a child may give no sign of life."""
END_S: Final = 5.0
"""So long the parent waits for a child that it has killed before it ends itself."""
_REPORT_EVERY_S = 0.5
_COW_DUTY = 100
"""Copied pages are counted when so many times what the last count took has passed."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_NEVER_OLD = 1 << 30
"""A threshold of the collector that is not reached: old objects are left alone."""
_FATAL = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT})
_BLOCKED = signal.valid_signals() - _FATAL
_head = struct.Struct("<cI")
_progress = struct.Struct("<QQQ")
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    ``ok``         the job returned ``result``
    ``error``      why not, "" if it is ``ok``; without the pid
    ``signal``     what ended it, 0 for nothing
    ``killed``     was it asked for (``Children.kill``)?  That is no failure
    ``seconds``    from its start to its end
    ``cow_bytes``  of memory that was copied, on either side
    """

    pid: int
    ok: bool
    result: bytes = b""
    error: str = ""
    signal: int = 0
    killed: bool = False
    seconds: float = 0.0
    cow_bytes: int = 0


@dataclass(slots=True, eq=False)
class Child:
    """The job that is under way.  Times: ``began_s`` unix seconds, the others monotonic seconds."""

    kind: str
    name: str
    done: Callable[[Outcome], None]
    pid: int = 0
    began_s: float = 0.0
    began: float = 0.0
    keys_done: int = 0
    keys_total: int = 0
    cow_bytes: int = 0
    cow_peak: int = 0
    cow_at: float = 0.0
    killed: str = ""
    """Why it was killed, "" if it was not."""
    on_purpose: bool = False
    pipe: int = -1
    pidfd: int = -1
    unread: bytearray = field(default_factory=bytearray)
    result: bytes | None = None
    error: str = ""
    alive_at: float = 0.0
    signs: tuple[bytes, bytes] = (b"", b"")


NO_CHILD: Final = Child("", "", lambda outcome: None)


class Launcher(Protocol):
    """Begins a child's job."""

    def __call__(self, children: Children, child: Child, job: Job) -> None:
        """OSError: it was not begun."""


class Children:
    """The child of a server, if it has one.

    ``active``     it, or None
    ``sample``     is told how long a fork took: (kind of event, when it began in ns of ``perf_counter_ns``)
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        stats: Stats,
        sample: Callable[[bytes, int], None],
    ) -> None:
        self.loop = loop
        self.log = log
        self.stats = stats
        self.sample = sample
        self.launch: Launcher = fork_child
        self.active: Child | None = None
        self.hangs_s = HANGS_S
        self.when_idle: list[Callable[[], None]] = []
        """Called whenever a child has ended and ``done`` has returned: who waits for a turn may begin now."""
        self._thresholds = (0, 0, 0)

    def start(self, kind: str, job: Job, done: Callable[[Outcome], None]) -> Child:
        """Begin; nothing else may be under way.  ``kind``: short, for titles and logs."""
        assert self.active is None, "one child at a time"
        now = time.monotonic()
        child = Child(kind, f"perdure-{kind}"[:15], done, began_s=time.time(), began=now, alive_at=now, cow_at=now)
        self.launch(self, child, job)
        return child

    def is_active(self, kind: str) -> bool:
        """Is a job of this kind under way?"""
        return self.active is not None and self.active.kind == kind

    # ---- ending it -------------------------------------------------------------------------

    def kill(self, why: str) -> None:
        """End it on purpose; its ``done`` comes in time, with ``killed``.  Nothing if there is none."""
        child = self.active
        if child is not None and not child.killed:
            child.on_purpose = True
            self._kill(child, why)

    def end(self, why: str, timeout_s: float = END_S) -> None:
        """End it and wait for its end, ``done`` included: for who ends the process.

        If the kernel does not let it go in time (a disk that does not answer) it is left alone: it is
        dead as soon as the disk answers.
        """
        self.kill(why)
        child = self.active
        deadline = time.monotonic() + timeout_s
        while child is not None and child is self.active:
            if not child.pid:
                self.ended(child)
                return
            left = deadline - time.monotonic()
            if left <= 0:
                self.log.warning(f"Child {child.pid} does not end: the disk does not answer")
                return
            if child.pidfd >= 0:
                select.select([child.pidfd], [], [], min(left, 0.1))
            else:
                time.sleep(0.001)
            self._look(child)

    def _kill(self, child: Child, why: str) -> None:
        child.killed = why
        if child.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    # ---- hearing of it -----------------------------------------------------------------------

    def tick(self) -> None:
        """The clock's turn: where the kernel has no pidfd the end is seen here, and everywhere a child that hangs."""
        child = self.active
        if child is None or not child.pid:
            return
        if child.pidfd < 0 and self._look(child):
            return
        now = time.monotonic()
        if now - child.alive_at < self.hangs_s or child.killed:
            return
        signs = _signs_of_life(child.pid)
        if signs != child.signs:
            child.signs, child.alive_at = signs, now
            return
        why = f"it gave no sign of life for {self.hangs_s:g} seconds"
        self.log.warning(f"Child {child.pid} ({child.kind}) is killed: {why}")
        self._kill(child, why)

    def begun(self, child: Child) -> None:
        """A launcher has begun the job."""
        self.active = child
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*self._thresholds[:2], _NEVER_OLD)
        if child.pipe >= 0:
            os.set_blocking(child.pipe, False)
            self.loop.add_reader(child.pipe, self._hear, child)
        if child.pidfd >= 0:
            self.loop.add_reader(child.pidfd, self._look, child)

    def _hear(self, child: Child) -> None:
        """Take what is in the pipe."""
        while child.pipe >= 0:
            try:
                data = os.read(child.pipe, 1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close_pipe(child)
                return
            child.alive_at = time.monotonic()
            child.unread += data
            self._understand(child)

    def _understand(self, child: Child) -> None:
        unread = child.unread
        while len(unread) >= _head.size:
            kind, length = _head.unpack_from(unread)
            if length > MAX_RESULT_BYTES:
                self._kill(child, "it does not speak as it should")
                unread.clear()
                return
            if len(unread) < _head.size + length:
                return
            data = bytes(unread[_head.size : _head.size + length])
            del unread[: _head.size + length]
            if kind == b"P":
                self.progressed(child, *_progress.unpack(data))
            elif kind == b"R":
                child.result = data
            else:
                child.error = data.decode("utf-8", "replace")

    def progressed(self, child: Child, keys_done: int, keys_total: int, cow_bytes: int) -> None:
        """A report."""
        child.keys_done, child.keys_total = keys_done, keys_total
        if cow_bytes:
            child.cow_bytes, child.cow_at = cow_bytes, time.monotonic()
            child.cow_peak = max(child.cow_peak, cow_bytes)

    def _close_pipe(self, child: Child) -> None:
        if child.pipe >= 0:
            self.loop.remove_reader(child.pipe)
            os.close(child.pipe)
            child.pipe = -1

    def _look(self, child: Child) -> bool:
        """Has it ended?  Then reap it and tell its owner."""
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = child.pid, 0  # somebody else has reaped it: what came through the pipe decides
        if not pid:
            return False
        self._hear(child)
        self._close_pipe(child)
        if child.pidfd >= 0:
            self.loop.remove_reader(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.ended(child, number, 0 if number else os.waitstatus_to_exitcode(status))
        return True

    def ended(self, child: Child, number: int = 0, status: int = 0) -> None:
        """It is gone, by a signal or with an exit status.  A second call does nothing."""
        if self.active is not child:
            return
        error = child.error
        ok = child.result is not None and not number and not status and not child.killed
        if not ok:
            if child.killed:
                error = child.killed
            elif number:
                error = f"terminated by signal {number}"
            elif not error:
                error = f"exit status {status} and not a word why"
        outcome = Outcome(
            child.pid, ok, child.result or b"", "" if ok else error, number, child.on_purpose,
            time.monotonic() - child.began, child.cow_peak,
        )  # fmt: skip
        self.active = None
        gc.set_threshold(*self._thresholds)
        child.done(outcome)
        for job in list(self.when_idle):
            if self.active is None:
                job()


def _signs_of_life(pid: int) -> tuple[bytes, bytes]:
    """What changes while a process works: its CPU time, and the bytes that it has moved."""
    stat = process_stats.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return b" ".join(stat[11:13]), process_stats.read(f"/proc/{pid}/io")


# ---- in this process ------------------------------------------------------------------------


class InPlace:
    """Runs the job at once, here; ``done`` comes with a turn of the loop, as it would from a child."""

    def __call__(self, children: Children, child: Child, job: Job) -> None:
        """As ``Launcher``."""
        children.begun(child)
        try:
            child.result = job(lambda done, total: children.progressed(child, done, total, 0))
        except Exception as error:
            child.error = describe(error)
        except BaseException:
            children.active = None  # the machine has stopped
            raise
        children.loop.call_soon(lambda: children.ended(child))


# ---- forked -----------------------------------------------------------------------------------


def fork_child(children: Children, child: Child, job: Job) -> None:
    """As ``Launcher``."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    began_ns = time.perf_counter_ns()
    parent = os.getpid()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads: see above
            child.pid = os.fork()
            if not child.pid:
                _in_child(children, child, job, writing, parent)
    except OSError:
        os.close(reading)
        raise
    finally:
        took_ns = time.perf_counter_ns() - began_ns
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
    children.stats.total_forks += 1
    children.stats.latest_fork_us = took_ns // 1000
    children.sample(latency.FORK, began_ns)
    child.pipe = reading
    with contextlib.suppress(OSError, AttributeError):
        child.pidfd = os.pidfd_open(child.pid)
    children.begun(child)


def _in_child(children: Children, child: Child, job: Job, pipe: int, parent: int) -> NoReturn:
    """The child's whole life."""
    status = 1
    try:
        gc.disable()
        gc.freeze()
        _separate(pipe, child.name, parent)
        children.log.role = "C"
        reporter = _Reporter(pipe)
        try:
            result = job(reporter)
            if len(result) > MAX_RESULT_BYTES:
                raise ValueError("the result is too long")
            reporter.last()
            reporter.send(b"R", result)
            status = 0
        except BaseException as error:
            reporter.send(b"E", describe(error).encode("utf-8", "replace")[:MAX_ERROR_BYTES])
    finally:
        os._exit(status)


def _separate(pipe: int, name: str, parent: int) -> None:
    """Let go of everything that is the parent's."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before it could be asked for
    for number in signal.valid_signals() - _FATAL - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for fd in _open_descriptors():
        if fd > 2 and fd != pipe:
            with contextlib.suppress(OSError):
                os.close(fd)


def _open_descriptors() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    return list(range(3, os.sysconf("SC_OPEN_MAX")))


class _Reporter:
    """The child's end of the pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._last = 0.0
        self._cow_at = 0.0
        self._cow_took = 0.0
        self._keys = (0, 0)

    def __call__(self, done: int, total: int) -> None:
        """Progress; OSError (EPIPE) if the parent is gone."""
        self._keys = done, total
        now = time.monotonic()
        if now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._report(now - self._cow_at > self._cow_took * _COW_DUTY)

    def last(self) -> None:
        """Progress at the end."""
        self._report(True)

    def _report(self, count_pages: bool) -> None:
        cow_bytes = 0
        if count_pages:
            began = time.monotonic()
            cow_bytes = process_stats.private_dirty()
            self._cow_at = time.monotonic()
            self._cow_took = self._cow_at - began
        self.send(b"P", _progress.pack(*self._keys, cow_bytes))

    def send(self, kind: bytes, data: bytes) -> None:
        """A message, whole."""
        rest = memoryview(_head.pack(kind, len(data)) + data)
        while rest:
            rest = rest[os.write(self._pipe, rest) :]


def describe(error: BaseException) -> str:
    """An error in a line: what a person needs."""
    if isinstance(error, OSError) and error.errno is not None:
        names = [str(name) for name in (error.filename, error.filename2) if name]
        where = f"{' -> '.join(names)}: " if names else ""
        return f"{where}{error.strerror or errno.errorcode.get(error.errno, error.errno)}"
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{error}" if str(error) else type(error).__name__
