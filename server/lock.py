"""One process a data directory: the lock ``<dir>/perdure.lock``.

The lock is ``flock`` on that file, so it ends with the process however that
ends, and a file that is left behind means nothing.  It belongs to the open file:
a fork shares it (daemonize keeps it), and it is free only when the last process
that holds the file is gone; a child that may outlive the server closes
``fileno()``.

Protocol (HANDS-OFF: a start that is refused later has changed no byte):

1. ``take``: open or create, flock without waiting, and look whether the name
   still means this file (the holder before us may have removed it); else again.
   Nothing is written.
2. ``sign``: once the start is certain, write ``<pid>\\n``, which the refusal of
   the next start names.
3. ``release``: remove the file if we created or signed it, then unlock.

Who is refused finds the holder in /proc/locks, which knows it between 1 and 2 as
well, and else in the file: after a fork the kernel still names the parent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Final

NAME: Final = "perdure.lock"
_MAX_PID_BYTES: Final = 32


class LockError(Exception):
    """The directory cannot be locked.  ``pid`` is the holder's, 0 if it is not known or there is none."""

    def __init__(self, text: str, pid: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.pid = pid


class DirectoryLock:
    """A lock that this process holds, from ``take`` on."""

    def __init__(self, path: str, fd: int, created: bool) -> None:
        self.path = path
        self._fd = fd
        self._ours = created

    def fileno(self) -> int:
        """The locked file's descriptor, close-on-exec; -1 once released."""
        return self._fd

    def sign(self) -> None:
        """Write our pid into the file; again after a fork.  OSError is passed on (a full disk)."""
        data = b"%d\n" % os.getpid()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))
        self._ours = True

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        if self._fd < 0:
            return
        if self._ours and _same_file(self.path, self._fd):
            with contextlib.suppress(OSError):  # what is left behind means nothing
                os.unlink(self.path)
        os.close(self._fd)
        self._fd = -1


def take(directory: str) -> DirectoryLock:
    """Lock a data directory; LockError if another process has it or the directory cannot be written."""
    path = os.path.join(directory, NAME)
    while True:
        try:
            fd, created = _open(path)
        except OSError as error:
            raise LockError(f"Can't open {path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _holder(fd)
            os.close(fd)
            who = f"the process with pid {pid}" if pid else "another process"
            raise LockError(f"The data directory {directory} is in use by {who} (it holds {NAME})", pid) from None
        except OSError as error:
            os.close(fd)
            raise LockError(f"Can't lock {path}: {error.strerror}") from None
        if _same_file(path, fd):
            return DirectoryLock(path, fd, created)
        os.close(fd)


def _open(path: str) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags), False
    except FileNotFoundError:
        pass
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
    except FileExistsError:
        return _open(path)  # another process created it in between


def _same_file(path: str, fd: int) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _holder(fd: int) -> int:
    """The pid of the process that holds the lock, as well as it can be known."""
    for pid in (_kernel_pid(os.fstat(fd).st_ino), _written_pid(fd)):
        if pid and _alive(pid):
            return pid
    return 0


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(4096).rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])
    except OSError:
        return False


def _kernel_pid(inode: int) -> int:
    # 1: FLOCK  ADVISORY  WRITE 1234 08:01:567 0 EOF
    try:
        with open("/proc/locks") as file:
            for line in file:
                words = line.split()
                if len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
                    return int(words[4]) if words[4].isdigit() else 0
    except OSError:
        pass
    return 0


def _written_pid(fd: int) -> int:
    text = os.pread(fd, _MAX_PID_BYTES, 0).strip()
    return int(text) if text.isdigit() else 0
