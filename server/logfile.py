"""The log: what the server tells its operator, in redis's form.

A line is ``<pid>:<role> <day> <month> <year> <time> <mark> <text>``, for
example ``1234:M 23 Nov 2026 22:33:01.123 * Ready to accept connections``.
Roles: C starting up or a child, M master, S replica, X sentinel.  Marks are
the levels: ``.`` debug, ``-`` verbose, ``*`` notice, ``#`` warning.  A line is
written if its level is at least ``level``.  Times are local, month names
English whatever the locale.

The file is opened for each line, as stock does: it is rare enough not to
matter, and a log that was renamed away continues in a new file without a
signal.  A line that cannot be written is dropped: a server does not stop over
its log.  ``open_error`` is how a start finds out beforehand.

Control characters in a text are shown as escapes, so that no client writes
lines of its own into the log; a text is cut at 4 KiB.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Final

LEVELS: Final = ("debug", "verbose", "notice", "warning")
MAX_TEXT: Final = 4096

_MARKS = ".-*#"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Log:
    """The log of this process.  ``path`` "" is stdout; relative paths are the caller's to resolve."""

    def __init__(
        self,
        path: str = "",
        level: str = "notice",
        *,
        role: str = "C",
        clock: Callable[[], float] = time.time,
        stdout: int = 1,
    ) -> None:
        """``clock``: unix seconds.  ``stdout``: the file descriptor that "" means."""
        self.path = path
        self.role = role
        self._clock = clock
        self._stdout = stdout
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """One of ``LEVELS``; a hook for CONFIG SET loglevel."""
        self._threshold = LEVELS.index(level)

    def open_error(self) -> str:
        """Why the log file cannot be written, in stock's words; "" if it can (and then it exists)."""
        if self.path:
            try:
                os.close(_open(self.path))
            except OSError as error:
                return f"Can't open the log file: {error.strerror}"
        return ""

    def debug(self, text: str) -> None:
        """A level for development."""
        self._line(0, text)

    def verbose(self, text: str) -> None:
        """Much, and rarely of use."""
        self._line(1, text)

    def notice(self, text: str) -> None:
        """What an operator wants to know."""
        self._line(2, text)

    def warning(self, text: str) -> None:
        """What an operator must know."""
        self._line(3, text)

    def banner(self, text: str) -> None:
        """Lines as they are, without time and mark, at the level of a notice."""
        if self._threshold <= 2:
            self._write(text.rstrip("\n") + "\n")

    def _line(self, level: int, text: str) -> None:
        if level < self._threshold:
            return
        text = _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", text[:MAX_TEXT])
        now_ms = int(self._clock() * 1000)
        t = time.localtime(now_ms // 1000)
        stamp = f"{t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
        self._write(f"{os.getpid()}:{self.role} {stamp}.{now_ms % 1000:03d} {_MARKS[level]} {text}\n")

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            fd = _open(self.path) if self.path else self._stdout
        except OSError:
            return
        try:
            while data:
                data = data[os.write(fd, data) :]
        except OSError:
            pass
        finally:
            if self.path:
                os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
